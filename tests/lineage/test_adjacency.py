"""Adjacency: an edge is likely where nothing could replace it and it stands at right angles to the others."""

from __future__ import annotations

from itertools import pairwise
from math import isnan, log, nan

import builders
import numpy as np
from numpy.typing import NDArray

from lineage.adjacency import LARGEST_MARGIN, Signs, core_signs, edge_angles, logs_elsewhere
from lineage.family import Layer, LayerKind
from lineage.learnt import learnt
from lineage.skeleton import skeleton

LAYERS = (Layer("w", (40, 50), LayerKind.TRUNK), Layer("v", (40, 50), LayerKind.TRUNK))


def squared(points: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ((points[:, None] - points) ** 2).sum(axis=2)
    return found


def test_steeper_angles_make_an_edge_less_likely_and_margins_have_no_say() -> None:
    weights = learnt().adjacency
    by_margin = {Signs(margin, 0.1, 0.1).probability(weights) for margin in (0.0, 0.1, 1.0, LARGEST_MARGIN)}
    obtuse = [Signs(0.5, angle, 0.0).probability(weights) for angle in (0.0, 0.1, 0.5, 1.0)]
    acute = [Signs(0.5, angle, angle).probability(weights) for angle in (0.0, 0.1, 0.5, 1.0)]
    elsewhere = [Signs(0.5, 0.1, 0.1, log(other)).probability(weights) for other in (0.02, 0.1, 0.5, 1.0)]
    assert len(by_margin) == 1
    assert all(low > high for low, high in pairwise(obtuse))
    assert all(low >= high - 1e-4 for low, high in pairwise(acute))
    assert all(low > high for low, high in pairwise(elsewhere))
    assert min(by_margin) > 0.95
    assert Signs(0.5, 0.3, 0.0).probability(weights) < Signs(0.5, 0.3, 0.3).probability(weights)
    assert Signs(0.0, 0.5, 0.0, beside=-2.0).probability(weights) < 0.7


def test_an_edge_without_others_beside_it_is_taken_for_a_usual_one() -> None:
    weights = learnt().adjacency
    alone = Signs(LARGEST_MARGIN, nan, nan).probability(weights)
    assert (
        Signs(LARGEST_MARGIN, 0.5, 0.0).probability(weights)
        < alone
        < Signs(LARGEST_MARGIN, 0.0, 0.0).probability(weights)
    )


def test_the_others_are_all_edges_but_one_and_those_without_angles_do_not_count() -> None:
    found = logs_elsewhere(np.array([0.1, 0.3, nan]))
    np.testing.assert_allclose(found, [log(0.32), log(0.12), (log(0.12) + log(0.32)) / 2])
    assert np.isnan(logs_elsewhere(np.array([0.1, nan]))[0])


def test_angles_are_those_between_an_edge_and_the_others_at_either_end() -> None:
    # 1 - 0 - 2 at 60 degrees, and 2 - 3 at a right angle to 0 - 2.
    points = np.array([[0.0, 0.0], [0.5, np.sqrt(0.75)], [1.0, 0.0], [1.0, 2.0]])
    edges = np.array([(0, 1), (0, 2), (2, 3)])
    np.testing.assert_allclose(edge_angles(squared(points), edges), [(0.5, 0.5), (0.5, 0.5), (0.0, 0.0)], atol=1e-12)
    points[3] = [1.5, np.sqrt(0.75)]  # 120 degrees at 2
    np.testing.assert_allclose(edge_angles(squared(points), edges), [(0.5, 0.5), (0.5, 0.5), (0.5, 0.0)], atol=1e-12)


def test_an_edge_alone_and_distances_that_are_not_known_have_no_angle() -> None:
    assert np.isnan(edge_angles(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([(0, 1)]))).all()
    unknown = squared(np.eye(3))
    unknown[1, 2] = unknown[2, 1] = np.inf
    assert np.isnan(edge_angles(unknown, np.array([(0, 1), (0, 2)]))).all()


def test_siblings_that_drift_alike_make_their_edges_less_likely() -> None:
    rng = np.random.default_rng(0)

    def likely(drift: float) -> float:
        parent = {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}
        way = {layer.name: drift * rng.normal(size=layer.shape) for layer in LAYERS}
        children = [
            {name: parent[name] + 0.1 * (way[name] + rng.normal(size=way[name].shape)) for name in parent}
            for _ in range(4)
        ]
        found = skeleton(builders.measured([parent, *children], LAYERS), range(5))
        return float(np.mean([one.probability(learnt().adjacency) for one in core_signs(found).values()]))

    assert likely(0.0) > 0.97
    assert likely(0.7) < likely(0.0) - 0.05


def test_signs_have_no_direction_and_a_member_alone_has_none() -> None:
    rng = np.random.default_rng(1)
    models = [{layer.name: rng.normal(size=layer.shape) for layer in LAYERS}]
    models += [{name: values + 0.1 * rng.normal(size=values.shape) for name, values in models[0].items()}]
    pair = core_signs(skeleton(builders.measured(models, LAYERS), range(2)))
    assert set(pair) == {(0, 1), (1, 0)}
    assert pair[0, 1].margin == pair[1, 0].margin == LARGEST_MARGIN
    assert isnan(pair[0, 1].angle)
    assert core_signs(skeleton(builders.measured(models[:1], LAYERS), range(1))) == {}
