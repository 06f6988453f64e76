"""Blocks of layers give what the whole gives, in whatever order and by however many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from house import SHAPES, SMALL, House, fill, network
from sqlalchemy import Engine, select

from db import measurements
from db.engine import connect, transaction
from db.errors import WorkerLost
from db.models import LayerMeasures
from lineage.blocks import blocks, finish_batch, lose_member, measure_layers, try_members
from lineage.measure import open_batch


def opened(house: House) -> int:
    batch = open_batch(house.engine, house.crawl(), house.source, options=SMALL)
    assert batch is not None
    return batch


def measured(engine: Engine) -> dict[int, str]:
    """What is stored of each layer, as text: no number equals NaN."""
    columns = [one for one in LayerMeasures.__table__.columns if one.name not in {"measured_at", "batch_id"}]
    with transaction(engine) as session:
        return {row.layer_id: repr(tuple(row)) for row in session.execute(select(*columns))}


def test_the_blocks_of_a_batch_are_its_layers_in_order(house: House) -> None:
    fill(house, "a", "b", "c")
    batch = opened(house)
    (whole,) = blocks(house.engine, batch, SMALL, size=1 << 30)
    single = blocks(house.engine, batch, SMALL, size=1)
    assert [one.number for one in single] == list(range(len(SHAPES) + 1))
    assert whole.layers == tuple(layer for one in single for layer in one.layers)
    assert whole.nbytes == sum(one.nbytes for one in single)
    some = blocks(house.engine, batch, SMALL, size=15_000)
    assert 1 < len(some) < len(single)
    assert all(one.nbytes <= 15_000 or len(one.layers) == 1 for one in some)
    assert blocks(house.engine, batch, SMALL, size=15_000) == some


def test_blocks_measured_at_once_give_what_one_process_gives(house: House, engine: Engine, database_url: str) -> None:
    models = fill(house, "a", "b", "c", "d")
    batch = opened(house)
    cut = blocks(engine, batch, SMALL, size=1)

    def measure(block: Any) -> int:
        own = connect(database_url)
        try:
            return measure_layers(own, batch, block.layers, house.source, SMALL)
        finally:
            own.dispose()

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(measure, [*reversed(cut), cut[0]])) >= len(cut)
    assert finish_batch(engine, batch, SMALL.buckets)
    found = measured(engine)
    house.check(models)
    with transaction(engine) as session:
        session.query(LayerMeasures).delete()
    assert measure_layers(engine, batch, None, house.source, SMALL) == len(cut)
    assert measured(engine) == found


def test_a_batch_is_finished_with_its_last_block_and_only_then(house: House) -> None:
    fill(house, "a", "b")
    batch = opened(house)
    first, *rest = blocks(house.engine, batch, SMALL, size=1)
    measure_layers(house.engine, batch, first.layers, house.source, SMALL)
    assert not finish_batch(house.engine, batch, SMALL.buckets)
    assert [one.is_measured for one in blocks(house.engine, batch, SMALL, size=1)] == [True, *(False for _ in rest)]
    for one in rest:
        measure_layers(house.engine, batch, one.layers, house.source, SMALL)
    assert finish_batch(house.engine, batch, SMALL.buckets)
    assert finish_batch(house.engine, batch, SMALL.buckets)
    assert open_batch(house.engine, house.crawl(), house.source, options=SMALL) is None


def test_large_families_are_taken_in_batches_of_a_size(house: House) -> None:
    models = fill(house, "a", "b", "c", "d", "e")
    family = house.crawl()
    for count in (2, 2, 1):
        batch = open_batch(house.engine, family, house.source, options=SMALL, most=2)
        assert batch is not None
        assert len(house.batches()[-1].members) == count
        measure_layers(house.engine, batch, None, house.source, SMALL)
        assert finish_batch(house.engine, batch, SMALL.buckets)
    house.check(models)


def test_a_member_that_is_lost_between_blocks_is_left_out(house: House) -> None:
    models = fill(house, "a", "b", "c")
    batch = opened(house)
    cut = blocks(house.engine, batch, SMALL, size=1)
    measure_layers(house.engine, batch, cut[0].layers, house.source, SMALL)
    with transaction(house.engine) as session:
        (lost,) = [one for one in house.batches()[0].members if measurements.member(session, one).name == "org/b"]
    lose_member(house.engine, batch, lost, WorkerLost("workers died"))
    measure_layers(house.engine, batch, None, house.source, SMALL)
    assert finish_batch(house.engine, batch, SMALL.buckets)
    del models["b"]
    house.check(models)
    assert house.failures() == [("b", "WorkerLost", None, False)]


def test_members_are_tried_one_by_one_and_nothing_is_stored(house: House) -> None:
    fill(house, "a", "b", "c")
    batch = opened(house)
    layers = [layer for one in blocks(house.engine, batch, SMALL, size=1) for layer in one.layers]
    tried: list[str] = []
    try_members(house.engine, batch, layers, house.source, SMALL, lambda _, name: tried.append(name))
    assert tried == ["org/a", "org/b", "org/c"]
    assert measured(house.engine) == {}


def test_an_error_of_progress_ends_the_work_between_layers(house: House) -> None:
    fill(house, "a", "b")
    batch = opened(house)

    def stop(_layer: str, done: int, _layers: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_layers(house.engine, batch, None, house.source, SMALL, stop)
    assert len(measured(house.engine)) == 2


def test_members_that_wait_for_another_try_are_not_taken(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure()
    models["c"] = network(9, models["a"])
    house.write("c", models["c"])
    family = house.crawl()
    with transaction(house.engine) as session:
        new = [one.revision_id for one in measurements.members(session, family) if one.name == "org/c"]
    again = partial(open_batch, house.engine, family, house.source, options=SMALL)
    assert again(left_out=new) is None
    assert again() is not None
