"""Large families from the database: the same numbers in pieces, and the same trees."""

from __future__ import annotations

import numpy as np
from house import House, network

from db import lineage as rows
from db.engine import transaction
from lineage.infer import infer_family
from lineage.measure_options import Options
from lineage.pair_store import AllPairs, PairStore, members_of
from lineage.parameters import Parameters
from lineage.stored import load_measures
from lineage.stored_pairs import load_pair_store

FEW = Options(memory=1 << 26, exact_members=4, exact_neighbours=2)
PAIRS = ("squared_distance", "slope", "rank", "equal", "lost", "estimated", "estimate_error")
SINGLES = ("count", "squared_norm", "variance", "kurtosis", "zeros", "outliers", "form")


def totals(store: PairStore) -> np.ndarray:
    """What blocks say of all pairs, summed over layers; NaN where none says anything."""
    members = len(store.family.members)
    found = np.full((len(store.family.layers), members, members), np.nan)
    for block in store.blocks(range(len(store.family.layers))):
        for layer, strips in block.layers:
            for strip, pairs in zip(block.strips, strips, strict=True):
                i, j = np.broadcast_arrays(strip.first, strip.second)
                told = ~np.isnan(pairs.squared_distance) & (i != j)
                found[layer, i[told], j[told]] = found[layer, j[told], i[told]] = pairs.squared_distance[told]
    return found


def test_a_store_gives_what_is_loaded_whole_in_blocks_and_in_pieces(house: House) -> None:
    models = {"root": network(0), "stranger": network(99)}
    for number in range(7):
        models[f"child-{number}"] = network(number + 1, models["root"])
    for name, tensors in models.items():
        house.write(name, tensors)
    house.measure(FEW)
    for name, parent in (("late", "child-3"), ("later", "stranger")):
        house.write(name, network(len(name), models[parent]))
    house.measure(FEW)
    family = house.crawl()
    with transaction(house.engine) as session:
        whole, store = load_measures(session, family), load_pair_store(session, family, equal=True)
        assert whole.estimated is not None
        assert store.family.members == whole.members
        for name in SINGLES:
            np.testing.assert_array_equal(getattr(store.family, name), getattr(whole, name), err_msg=name)
        groups = [(0, 1, 2), (2, 5, 8, 9, 10), tuple(range(11))]
        for group, piece in zip(groups, store.pieces(groups), strict=True):
            expected = members_of(whole, group)
            assert piece.digest == expected.digest
            for name in PAIRS:
                found, own = getattr(piece, name), getattr(expected, name)
                if own is None or (name in {"estimated", "estimate_error"} and found is None):
                    assert found is None
                    assert expected.estimated is not None
                    assert own is None or not expected.estimated.any()
                else:
                    np.testing.assert_allclose(found, own, rtol=1e-12, err_msg=name)  # estimates are rounded anew
        np.testing.assert_array_equal(totals(store), totals(AllPairs(whole)))


def test_a_large_family_is_inferred_from_the_database_in_pieces(house: House) -> None:
    models = {"root": network(0)}
    for number in range(11):
        models[f"child-{number:02}"] = network(number + 1, models["root"])
    for name, tensors in models.items():
        house.write(name, tensors)
    house.measure(Options(memory=1 << 26))
    family = house.crawl()
    whole = infer_family(house.engine, family, Parameters(merges=0), weights_only=True)
    pieces = infer_family(house.engine, family, Parameters(merges=0, whole=4, piece=6), weights_only=True)
    assert whole != pieces
    with transaction(house.engine) as session:
        one, other = (
            {(edge.parent_id, edge.child_id, edge.decided) for edge in rows.edges(session, run)}
            for run in (whole, pieces)
        )
    assert len(one) == 11
    assert one == other
