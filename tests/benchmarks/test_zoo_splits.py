"""The named splits of the zoo, as plans."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.zoo import forest
from benchmarks.zoo.__main__ import parser
from benchmarks.zoo.derivation import Merge
from benchmarks.zoo.spec import Plan
from benchmarks.zoo.splits import SPLITS, split_plan
from benchmarks.zoo.truth import truth_of

OWN_SIZE = {"versions", "gpt2-continued", "chains", "ragged", "thinned", "strangers", "folds", "resnet-folds"}
REPEATED = {"continued", "versions", "gpt2-continued", "same-recipe", "folds", "resnet-folds"}


def kinds(plan: Plan) -> Counter[str]:
    return Counter(node.recipe.kind for node in plan.nodes)


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_a_split_follows_from_its_seed_and_repeats_no_task(name: str) -> None:
    plan = split_plan(name, 1, trees=2, branch=3, depth=2)
    assert plan == split_plan(name, 1, trees=2, branch=3, depth=2)
    assert plan != split_plan(name, 2, trees=2, branch=3, depth=2)
    trained = [node for node in plan.nodes if node.derived is None]
    if name not in OWN_SIZE and "merges" not in name:
        assert len(trained) == 2 * (1 + 3 + 9)
    if name not in REPEATED and "similar" not in name:
        assert len({node.task for node in trained}) == len(trained)


def test_the_sizes_are_as_published_where_none_are_asked() -> None:
    sizes = {"ft": 105, "lora-v": 105, "lora-f": 105, "mixed": 105, "deep": 121, "resnet": 21, "versions": 25}
    assert {name: len(split_plan(name, 1).nodes) for name in sizes} == sizes
    assert len([node for node in split_plan("merges", 1).nodes if node.recipe.kind == "merge"]) >= 30


@given(seed=st.integers(0, 2**32), branch=st.integers(1, 5), depth=st.integers(1, 3))
def test_every_shape_hangs_each_node_on_an_earlier_one(seed: int, branch: int, depth: int) -> None:
    for shape in (forest.balanced, forest.chain, forest.star, forest.ragged, forest.versions):
        parents = shape(np.random.default_rng(seed), branch, depth)
        assert parents
        assert all(0 <= parent <= place for place, parent in enumerate(parents))


def test_versions_are_five_models_in_three_or_four_levels() -> None:
    shapes = {tuple(forest.versions(np.random.default_rng(seed), 4, 2)) for seed in range(20)}
    assert shapes == {(0, 1, 1, 1), (0, 1, 2, 1)}


def test_half_of_the_models_are_stored_in_other_forms_and_train_as_if_they_were_not() -> None:
    plain, half = split_plan("ft", 1), split_plan("half", 1)
    stored = [node.stored[0].name for node in half.nodes if node.stored]
    assert 35 <= len(stored) <= 70
    assert set(stored) == {"float16", "bfloat16", "int8"}
    assert [(n.name, n.recipe, n.task) for n in half.nodes] == [(n.name, n.recipe, n.task) for n in plain.nodes]


def test_pruned_splits_prune_children_all_models_or_copies() -> None:
    some, every = split_plan("pruned-90", 1).nodes, split_plan("all-pruned-90", 1).nodes
    assert not any(node.stored for node in some if not node.parents)
    assert 30 <= sum(bool(node.stored) for node in some) <= 70
    assert all(node.stored for node in every)
    beside = split_plan("pruned-copies-90", 1)
    assert kinds(beside)["pruned"] >= 15
    pruned = {node.name for node in beside.nodes if node.recipe.kind == "pruned"}
    children = [node for node in beside.nodes if node.parent in pruned and node.recipe.kind == "finetune"]
    assert children
    assert all(node.recipe.masked for node in children)


def test_casts_have_children_of_both_formats() -> None:
    plan = split_plan("casts", 1)
    copies = {node.name for node in plan.nodes if node.recipe.kind == "cast"}
    dtypes = {node.recipe.dtype for node in plan.nodes if node.parent in copies}
    assert dtypes == {"float32", "bfloat16"}


def test_merges_name_parents_of_one_tree_and_some_of_two() -> None:
    plan = split_plan("merges", 1)
    tree = {node.name: node.tree for node in plan.nodes}
    merges = [node.derived for node in plan.nodes if isinstance(node.derived, Merge)]
    assert {one.method for one in merges} == {"average", "slerp", "task arithmetic", "layer ranges"}
    across = [one for one in merges if len({tree[parent] for parent in one.parents}) > 1]
    assert len(across) == 4
    assert all(sum(one.weights) == pytest.approx(1) for one in merges if one.method in ("average", "slerp"))
    assert any(node.parent in {n.name for n in plan.nodes if n.recipe.kind == "merge"} for node in plan.nodes)


def test_thinned_trees_keep_their_roots_and_lose_leaves_and_branches() -> None:
    plan = split_plan("thinned", 1)
    assert 5 < len(plan.nodes) < 85
    assert kinds(plan)["pretrain"] == 5


def test_rootless_trees_name_their_roots_as_absent() -> None:
    plan = split_plan("rootless", 1)
    assert set(plan.absent) == {node.name for node in plan.nodes if node.parent is None}


def test_strangers_are_roots_of_their_own_with_other_tasks() -> None:
    alone = [node for node in split_plan("strangers", 1).nodes if node.stranger]
    assert len(alone) == len({node.tree for node in alone}) == len({node.task for node in alone}) == 12
    assert all(truth_of(node, {})["relation"] == "stranger" for node in alone)


def test_folds_share_an_initialisation_by_tree_and_have_a_child_each() -> None:
    plan = split_plan("folds", 1)
    folds = [node for node in plan.nodes if node.recipe.kind == "fold"]
    assert len(folds) == 20
    assert len({node.initialisation for node in folds}) == 5
    assert sorted(node.parent or "" for node in plan.nodes if node.parents) == sorted(node.name for node in folds)


def test_siblings_on_similar_texts_share_a_kind_and_often_the_very_text() -> None:
    plan = split_plan("decoder-similar", 1)
    siblings: dict[str, list[tuple[str, ...]]] = {}
    for node in plan.nodes[1:]:
        siblings.setdefault(node.parent or "", []).append(node.task.kinds)
    siblings.pop("", None)
    assert all(len(set(group)) == 1 for group in siblings.values())
    tasks = Counter(node.task for node in plan.nodes)
    assert max(tasks.values()) >= 2


def test_help_lists_every_split_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["split", "--help"])
    told = capsys.readouterr().out
    assert all(f"{name} " in told and split.summary in told for name, split in SPLITS.items())
