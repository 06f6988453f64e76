"""Members that come one after another, in batches, give the numbers of one batch of all."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from house import SHAPES, House, Tensors, fill, network, same
from sqlalchemy import select

from db import lineage as rows
from db import measurements
from db.engine import transaction
from db.models import MeasureBatch
from lineage.digest import FORMS
from lineage.family import FamilyMeasures
from lineage.infer import infer_family
from lineage.measure_options import Options
from lineage.parameters import Parameters


def test_members_that_come_later_are_measured_among_themselves_and_against_the_old_ones(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure()
    late = {"0-first": network(7, models["a"]), "frozen": {**network(8, models["b"]), **same(models["a"])}}
    for name, tensors in late.items():
        house.write(name, tensors)
    assert house.measure() == len(SHAPES) + 1
    in_two = house.check(models | late)
    assert [(len(batch.members), len(batch.against)) for batch in house.batches()] == [(2, 0), (2, 2)]
    for name in ("slope", "rank"):
        values = getattr(in_two, name)
        np.testing.assert_array_equal(values, (-1 if name == "slope" else 1) * values.transpose(0, 2, 1))


def mixed() -> dict[str, Tensors]:
    """Children of one root: pruned, cast, equal in a layer, rounded to few values, and one that lacks a layer."""
    root = network(0)
    plain = network(1, root)
    pruned = {name: torch.where(values.abs() < 0.7, 0, values) for name, values in network(2, root).items()}
    alike = {**network(3, plain), **same(plain)}
    coarse = {name: (8 * values).round() / 8 for name, values in network(4, plain).items()}
    short = {name: values.half() for name, values in network(5, pruned).items() if name != "h.1.mlp.weight"}
    spiked = network(6, root)
    spiked["wte.weight"][3, 3] = 40
    cast = {name: values.to(torch.bfloat16) for name, values in pruned.items()}
    return {
        "root": root,
        "plain": plain,
        "pruned": pruned,
        "alike": alike,
        "coarse": {name: values.double() for name, values in coarse.items()},
        "short": short,
        "spiked": spiked,
        "cast": cast,
    }


@pytest.mark.parametrize(
    "batches",
    [
        [["root", "plain", "alike", "spiked"], ["pruned", "coarse", "short", "cast"]],
        [["pruned", "cast"], ["root"], ["short", "spiked"], ["plain"], ["alike", "coarse"]],
    ],
)
def test_several_batches_give_the_numbers_of_one(house: House, batches: list[list[str]]) -> None:
    models = mixed()
    for names in batches:
        for name in names:
            house.write(name, models[name])
        house.measure(Options())
    in_many, names_of_many = house.load()
    assert len(house.batches()) == len(batches)
    with transaction(house.engine) as session:
        for batch in session.scalars(select(MeasureBatch)):
            session.delete(batch)
    house.measure(Options())
    in_one, names_of_one = house.load()
    assert names_of_many == names_of_one
    check_equal(in_many, in_one)
    at = {name: number for number, name in enumerate(names_of_one)}
    (wte,) = [number for number, layer in enumerate(in_one.layers) if layer.name == "wte.weight"]
    assert in_one.lost is not None
    kept = models["pruned"]["wte.weight"].double() == 0
    gone = (models["root"]["wte.weight"].double()[kept] ** 2).sum().item()
    assert in_one.lost[wte, at["root"], at["pruned"]] == pytest.approx(gone, rel=1e-6)
    assert in_one.lost[wte, at["pruned"], at["root"]] == 0
    assert in_one.outliers[wte, at["spiked"]] == 1
    assert [FORMS[in_one.form[wte, at[name]]] for name in ("cast", "short", "coarse", "root")] == [
        "BF16 and F16",
        "F16",
        "BF16 and F16",
        "F32",
    ]


def check_equal(one: FamilyMeasures, another: FamilyMeasures) -> None:
    """All that is stored of two is equal, but for the order in which it was summed; layers may come in any order.

    Which pairs are worth a rank is asked from the side of new members, so one may have ranks that the other has not.
    """
    names = [layer.name for layer in one.layers]
    order = [names.index(layer.name) for layer in another.layers]
    assert tuple(one.layers[number] for number in order) == another.layers
    assert tuple(one.digest[number] for number in order) == another.digest
    assert one.lost is not None
    assert another.lost is not None
    for name in ("count", "zeros", "outliers", "form", "equal"):
        np.testing.assert_array_equal(getattr(one, name)[order], getattr(another, name), err_msg=name)
    for name in ("squared_norm", "variance", "kurtosis", "squared_distance"):
        np.testing.assert_allclose(getattr(one, name)[order], getattr(another, name), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(one.lost[order], another.lost, rtol=1e-6)
    both = (one.rank[order] >= 0) & (another.rank >= 0)
    np.testing.assert_array_equal(one.rank[order][both], another.rank[both])
    assert both.sum() > 2 * len(one.layers) * len(one.members)
    np.testing.assert_allclose(one.slope[order], another.slope, atol=1e-5)


def test_models_with_equal_files_are_measured_once_and_inferred_as_duplicates(house: House) -> None:
    models = fill(house, "a", "b")
    shutil.copytree(house.folder / "org" / "a", house.folder / "org" / "z")
    house.write("same-numbers", models["b"], note="another file")
    house.measure()
    assert house.load()[1] == ["a", "b", "same-numbers"]
    with transaction(house.engine) as session:
        ids = {one.name.removeprefix("org/"): one.revision_id for one in measurements.members(session, house.crawl())}
    run = infer_family(house.engine, house.crawl(), Parameters(), weights_only=True)
    with transaction(house.engine) as session:
        groups = rows.duplicate_groups(session, run)
        (tree,) = rows.clusters(session, run)
        edges = {(edge.parent_id, edge.child_id) for edge in rows.edges(session, run) if edge.relation == "duplicate"}
    assert {frozenset(group) for group in groups} == {
        frozenset((ids["a"], ids["z"])),
        frozenset((ids["b"], ids["same-numbers"])),
    }
    assert set(tree[1]) == set(ids.values())
    assert edges == {(ids["a"], ids["z"]), (ids["b"], ids["same-numbers"])}


def test_a_copy_is_measured_once_its_original_is_gone(house: House) -> None:
    models = fill(house, "a", "b")
    shutil.copytree(house.folder / "org" / "a", house.folder / "org" / "z")
    house.measure()
    shutil.rmtree(house.folder / "org" / "a")
    house.measure()
    house.check({"b": models["b"], "z": models["a"]})


def test_a_new_commit_is_measured_anew_and_the_old_one_is_left_out(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure()
    models["a"] = network(11, models["b"])
    house.write("a", models["a"])
    house.measure()
    house.check(models)
