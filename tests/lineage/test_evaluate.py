"""Scores of small trees, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.evaluate import (
    Edge,
    MergeScore,
    adjusted_rand,
    components,
    equal_groups,
    score,
    score_merges,
    true_trees,
    verdicts,
)

TRUTH: dict[str, set[str]] = {"r": set(), "a": {"r"}, "b": {"r"}, "c": {"a"}, "lone": set()}
EDGES: list[Edge] = [("r", "a"), ("r", "b"), ("a", "c")]
TREES = [("r", ["r", "a", "b", "c"])]


def test_a_perfect_recovery_scores_one_everywhere() -> None:
    found = score(TRUTH, TREES, EDGES)
    assert (found.true_edges, found.inferred_edges, found.strangers, found.false_parents) == (3, 3, 1, 0)
    assert {found.directed, found.undirected, found.precision, found.roots, found.adjusted_rand} == {1.0}
    assert {found.decided, found.decided_right} == {1.0}


def test_controls_say_what_a_random_root_would_have_scored() -> None:
    found = score(TRUTH, TREES, EDGES)
    assert found.random_roots == 1 / 4
    # r - a has 2 of 4 on r's side, r - b has 3, a - c has 3.
    assert found.random_root_directed == pytest.approx((2 / 4 + 3 / 4 + 3 / 4) / 3)


def test_a_wrong_root_turns_the_edges_on_the_way_to_it() -> None:
    found = score(TRUTH, [("a", ["r", "a", "b", "c"])], [("a", "r"), ("r", "b"), ("a", "c")])
    assert found.directed == pytest.approx(2 / 3)
    assert found.undirected == 1
    assert found.roots == 0
    assert found.adjusted_rand == 1


def test_a_parent_given_to_a_stranger_is_false() -> None:
    found = score(TRUTH, [("r", ["r", "a", "b", "c", "lone"])], [*EDGES, ("c", "lone")])
    assert found.false_parents == 1
    assert found.precision == 3 / 4
    assert found.directed == 1
    assert found.adjusted_rand < 1


def test_undecided_edges_are_inferred_but_not_decided() -> None:
    edges = [("r", "a"), ("b", "r"), ("a", "c")]
    found = score(TRUTH, TREES, edges, undecided=[("b", "r")])
    assert found.directed == pytest.approx(2 / 3)
    assert found.decided == pytest.approx(2 / 3)
    assert found.decided_right == 1


def test_an_edge_at_a_copy_counts_as_an_edge_at_the_model() -> None:
    truth = {**TRUTH, "copy of a": {"a"}, "copy of r": {"r"}}
    copies = [["a", "copy of a"], ["copy of r", "r"]]
    edges = [("copy of r", "copy of a"), ("r", "b"), ("copy of a", "c"), ("a", "copy of a")]
    found = score(truth, [("copy of r", [*TREES[0][1], "copy of a"])], edges, copies=copies)
    assert (found.true_edges, found.inferred_edges) == (3, 3)
    assert {found.directed, found.precision, found.roots, found.adjusted_rand} == {1.0}
    assert found.random_roots == 1 / 4


def test_a_merge_has_several_parents_to_be_found() -> None:
    truth = {"p": set(), "q": set(), "m": {"p", "q"}}
    found = score(truth, [("p", ["p", "m"]), (None, ["q"])], [("p", "m")])
    assert (found.true_edges, found.directed, found.precision) == (2, 0.5, 1.0)
    assert found.roots == 0.5
    assert found.random_roots == (1 / 2 + 1) / 2


def test_an_inferred_tree_without_root_has_no_right_root() -> None:
    assert score(TRUTH, [(None, TREES[0][1])], []).roots == 0


def test_nothing_inferred_scores_nothing_and_every_model_is_a_tree_of_its_own() -> None:
    found = score(TRUTH, [], [])
    assert (found.directed, found.undirected, found.inferred_edges, found.false_parents) == (0, 0, 0, 0)
    assert math.isnan(found.precision)
    assert math.isnan(found.decided)
    assert found.adjusted_rand == 0


def test_a_single_stranger_has_nothing_to_find() -> None:
    found = score({"lone": set()}, [("lone", ["lone"])], [])
    assert math.isnan(found.directed)
    assert math.isnan(found.roots)
    assert (found.adjusted_rand, found.strangers) == (1.0, 1)


def test_two_models_have_an_even_chance() -> None:
    found = score({"p": set(), "c": {"p"}}, [("p", ["p", "c"])], [("p", "c")])
    assert (found.roots, found.random_roots, found.random_root_directed) == (1.0, 0.5, 0.5)


def test_a_model_that_the_truth_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="ghost"):
        score(TRUTH, TREES, [("r", "ghost")])
    with pytest.raises(ValueError, match="ghost"):
        score(TRUTH, [("ghost", [])], [])


def test_a_parent_may_be_named_without_an_entry_of_its_own() -> None:
    assert score({"a": ["r"]}, [("r", ["a", "r"])], [("r", "a")]).roots == 1


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), models=st.integers(1, 15))
def test_random_trees_score_between_nothing_and_all_whatever_the_models_are_called(seed: int, models: int) -> None:
    rng = np.random.default_rng(seed)
    parents = [None if i == 0 or rng.random() < 0.2 else int(rng.integers(i)) for i in range(models)]
    guesses = [None if i == 0 or rng.random() < 0.2 else int(rng.integers(i)) for i in range(models)]

    def scored(names: list[str]) -> list[float]:
        truth = {names[i]: set() if p is None else {names[p]} for i, p in enumerate(parents)}
        edges = [(names[p], names[i]) for i, p in enumerate(guesses) if p is not None]
        label = components(names, edges)
        trees = [
            (names[i], [name for name in names if label[name] == label[names[i]]])
            for i, p in enumerate(guesses)
            if p is None
        ]
        return [getattr(score(truth, trees, edges), field) for field in ("directed", "undirected", "roots")] + [
            score(truth, trees, edges).random_root_directed
        ]

    plain = scored([f"m{i}" for i in range(models)])
    renamed = scored([f"m{i}" for i in rng.permutation(models)])
    np.testing.assert_allclose(plain, renamed)
    assert all(math.isnan(value) or 0 <= value <= 1 for value in plain)
    assert math.isnan(plain[0]) or plain[0] <= plain[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=20))
def test_adjusted_rand_agrees_with_counting_pairs_and_is_symmetric(labels: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in labels], [b for _, b in labels]
    table = np.zeros((2, 2))
    for i in range(len(labels)):
        for j in range(i):
            table[int(first[i] == first[j]), int(second[i] == second[j])] += 1
    (neither, only_second), (only_first, both) = table
    most = (both + only_first) * (only_first + neither) + (both + only_second) * (only_second + neither)
    expected = 2 * (both * neither - only_first * only_second) / most if most else 1.0
    assert adjusted_rand(first, second) == pytest.approx(expected)
    assert adjusted_rand(second, first) == pytest.approx(expected)


def test_adjusted_rand_of_equal_clusterings_is_one_whatever_their_labels() -> None:
    assert adjusted_rand([0, 0, 1, 2], [7, 7, 3, 1]) == 1
    assert adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]) < 0
    with pytest.raises(ValueError, match="shorter"):
        adjusted_rand([0, 1], [0])


def test_children_of_an_absent_parent_have_no_right_parent_and_no_right_root() -> None:
    truth = {"a": {"gone"}, "b": {"gone"}, "c": {"a"}}
    edges = [("a", "b"), ("a", "c")]
    found = score(truth, [("a", ["a", "b", "c"])], edges, absent={"gone"})
    assert (found.true_edges, found.directed, found.precision) == (1, 1.0, 0.5)
    assert (found.orphans, found.orphans_decided, found.strangers, found.false_parents) == (2, 1, 0, 0)
    assert math.isnan(found.roots)
    assert found.adjusted_rand == 1
    hedged = score(truth, [("a", ["a", "b", "c"])], edges, undecided=[("a", "b")], absent={"gone"})
    assert (hedged.orphans_decided, hedged.decided_right) == (0, 1.0)


def test_an_absent_model_may_not_be_inferred() -> None:
    with pytest.raises(ValueError, match="gone"):
        score({"a": {"gone"}}, [], [("gone", "a")], absent={"gone"})


def test_nothing_at_all_scores_nothing() -> None:
    assert score({}, [], []).true_edges == 0


def test_a_merge_of_one_tree_belongs_to_it_and_one_of_two_to_neither() -> None:
    edges = [("p", "a"), ("p", "b"), ("q", "c"), ("a", "m"), ("b", "m"), ("a", "x"), ("c", "x"), ("x", "y")]
    tree = true_trees(set("pqabcmxy"), edges)
    assert {tree[one] for one in "pabm"} != {tree[one] for one in "qc"}
    assert len({tree[one] for one in "pabm"}) == len({tree[one] for one in "qc"}) == 1
    assert not {"x", "y"} & set(tree)


def test_a_merge_of_merges_belongs_to_their_tree() -> None:
    edges = [("p", "a"), ("p", "b"), ("a", "m"), ("b", "m"), ("m", "n"), ("a", "n")]
    assert len(set(true_trees(set("pabmn"), edges).values())) == 1


def test_verdicts_tell_right_from_reversed_and_wrong_and_leave_copies_out() -> None:
    edges = [("r", "a"), ("b", "r"), ("b", "c"), ("a", "twin of a"), ("twin of a", "c")]
    found = verdicts({**TRUTH, "twin of a": {"a"}}, edges, copies=[["a", "twin of a"]])
    assert found == {
        ("r", "a"): "right",
        ("b", "r"): "reversed",
        ("b", "c"): "wrong",
        ("twin of a", "c"): "right",
    }


def test_a_merge_is_found_if_all_its_parents_are_and_no_other() -> None:
    truth = {"m": {"p": 0.4, "q": 0.6}}
    assert score_merges(truth, {"m": {"p": 0.43, "q": 0.57}}) == MergeScore(1, 1, 1, 0)
    assert score_merges(truth, {"m": {"p": 0.5, "q": 0.5}}) == MergeScore(1, 1, 0, 0)
    assert score_merges(truth, {"m": {"p": math.nan, "q": math.nan}}) == MergeScore(1, 1, 0, 0)
    assert score_merges(truth, {"m": {"p": 0.4, "q": 0.5, "x": 0.1}}) == MergeScore(1, 0, 0, 0)
    assert score_merges(truth, {"x": {"p": 0.4, "q": 0.6}}) == MergeScore(1, 0, 0, 1)


def test_the_base_of_task_arithmetic_is_neither_asked_for_nor_wrong() -> None:
    truth, bases = {"m": {"p": 0.7, "q": 0.7}}, {"m": "base"}
    assert score_merges(truth, {"m": {"p": 0.7, "q": 0.7}}, bases=bases) == MergeScore(1, 1, 1, 0)
    assert score_merges(truth, {"m": {"p": 0.7, "q": 0.7, "base": -0.4}}, bases=bases) == MergeScore(1, 1, 1, 0)


def test_a_copy_of_a_parent_stands_for_it_in_a_merge() -> None:
    found = score_merges({"m": {"p": 0.4, "q": 0.6}}, {"m": {"twin": 0.4, "q": 0.6}}, copies=[["p", "twin"]])
    assert found == MergeScore(1, 1, 1, 0)


def test_groups_of_copies_count_only_where_they_are_exact() -> None:
    assert equal_groups([["a", "b"], ["c", "d", "e"]], [["b", "a"], ["c", "d"]]) == (2, 1, 1)
