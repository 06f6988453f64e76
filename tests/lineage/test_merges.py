"""Merges, in families built exactly and of networks that were really trained."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.merges import Merge, find, relative_rounding

Model = dict[str, NDArray[np.float64]]

LAYERS = tuple(Layer(f"{number}.weight", (24, 20), LayerKind.TRUNK) for number in range(4))
BASE, A, B, C, GRANDCHILD, OTHER, FAR = range(7)


def drawn(rng: np.random.Generator, parent: Model | None = None, step: float = 0.1) -> Model:
    """A root, or a child."""
    return {
        layer.name: (parent[layer.name] if parent else 0) + (step if parent else 1.0) * rng.normal(size=layer.shape)
        for layer in LAYERS
    }


def family(seed: int = 0) -> list[Model]:
    """A base with three children, a grandchild, and an unrelated tree of two."""
    rng = np.random.default_rng(seed)
    base, other = drawn(rng), drawn(rng)
    a, b, c = (drawn(rng, base) for _ in range(3))
    return [base, a, b, c, drawn(rng, a), other, drawn(rng, other)]


def mixed(models: list[Model], weights: dict[int, float]) -> Model:
    found = {}
    for layer in LAYERS:
        parts = [weight * models[one][layer.name] for one, weight in weights.items()]
        found[layer.name] = np.sum(parts, axis=0).astype(np.float32).astype(np.float64)
    return found


def slerp(a: Model, b: Model, shares: list[float]) -> Model:
    found = {}
    for layer, share in zip(LAYERS, shares, strict=True):
        x, y = a[layer.name], b[layer.name]
        angle = np.arccos((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
        found[layer.name] = (np.sin((1 - share) * angle) * x + np.sin(share * angle) * y) / np.sin(angle)
    return found


def merged(models: list[Model], child: Model, **options: Any) -> Merge:
    """The one merge that is found in a family and a child of it."""
    (found,) = find(builders.measured([*models, child], LAYERS), **options).found
    assert found.child == len(models)
    return found


def shares(found: Merge) -> dict[int, float]:
    return dict(zip(found.parents, found.weights, strict=True))


def test_a_tree_has_no_merges() -> None:
    models = family()
    rng = np.random.default_rng(1)
    models += [drawn(rng, models[BASE], 0.05) for _ in range(20)]  # whose mean is near the base
    assert find(builders.measured(models, LAYERS)).found == ()


@pytest.mark.parametrize(
    "weights",
    [
        {A: 0.5, B: 0.5},
        {A: 0.85, B: 0.15},
        {A: 0.3, FAR: 0.7},
        {A: 1 / 3, B: 1 / 3, C: 1 / 3},
        {BASE: 0.2, A: 0.4, B: 0.4},
        {GRANDCHILD: 0.6, C: 0.4},
    ],
)
def test_means_are_found_with_their_parents_and_weights(weights: dict[int, float]) -> None:
    models = family()
    found = merged(models, mixed(models, weights))
    assert shares(found) == pytest.approx(weights, abs=1e-3)
    assert found.exact
    assert found.kind == "linear"
    assert found.ratio < 1e-6
    assert np.allclose(found.layer_weights, found.weights, atol=1e-2)


@pytest.mark.parametrize("other", [B, FAR])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_slerp_gives_back_its_share_near_and_far(other: int, share: float) -> None:
    models = family()
    found = merged(models, slerp(models[A], models[other], [share] * 4))
    assert shares(found) == pytest.approx({A: 1 - share, other: share}, abs=0.01)
    assert found.exact
    assert found.kind == "slerp"


def test_weights_that_change_with_depth_are_found_in_each_layer() -> None:
    models = family()
    found = merged(models, slerp(models[A], models[FAR], [0.0, 0.3, 0.6, 1.0]))
    assert found.layer_weights[:, found.parents.index(FAR)] == pytest.approx([0, 0.3, 0.6, 1], abs=1e-6)


@pytest.mark.parametrize("size", [0.8, 1.5])
def test_task_arithmetic_of_large_weights_has_a_base_of_negative_weight(size: float) -> None:
    models = family()
    found = merged(models, mixed(models, {BASE: 1 - 2 * size, A: size, B: size}))
    assert shares(found) == pytest.approx({BASE: 1 - 2 * size, A: size, B: size}, abs=1e-3)
    assert found.kind == "task arithmetic"


@pytest.mark.parametrize("other", [B, FAR])
def test_layers_taken_whole_are_found(other: int) -> None:
    models = family()
    found = merged(models, {**models[A], **{layer.name: models[other][layer.name] for layer in LAYERS[2:]}})
    assert set(found.parents) == {A, other}
    assert found.kind == "layers"
    assert found.layer_weights[:, found.parents.index(A)].tolist() == [1, 1, 0, 0]


def test_a_chain_of_fine_tunes_that_moved_other_layers_is_no_merge() -> None:
    rng = np.random.default_rng(0)
    base = drawn(rng)
    first = {**base, **{layer.name: drawn(rng, base)[layer.name] for layer in LAYERS[:2]}}
    second = {**first, **{layer.name: drawn(rng, first)[layer.name] for layer in LAYERS[2:]}}
    models = [base, first, second, {**base, LAYERS[3].name: drawn(rng, base)[LAYERS[3].name]}]
    assert find(builders.measured(models, LAYERS)).found == ()


def test_the_descendants_of_a_merge_are_its_clade_and_no_merges() -> None:
    models = family()
    rng = np.random.default_rng(3)
    child = mixed(models, {A: 0.5, B: 0.5})
    trained = drawn(rng, child, 0.03)
    models += [child, trained, drawn(rng, trained, 0.03)]
    found = find(builders.measured(models, LAYERS))
    assert [one.child for one in found.found] == [7]
    assert found.clades == {7: (7, 8, 9)}


def test_a_merge_of_a_merge_has_that_for_a_parent() -> None:
    models = family()
    models.append(mixed(models, {A: 0.5, B: 0.5}))
    models.append(mixed(models, {7: 0.4, FAR: 0.6}))
    found = {one.child: shares(one) for one in find(builders.measured(models, LAYERS)).found}
    assert found == {7: pytest.approx({A: 0.5, B: 0.5}, abs=1e-3), 8: pytest.approx({7: 0.4, FAR: 0.6}, abs=1e-3)}


def test_two_merges_of_one_pair_do_not_explain_one_another() -> None:
    models = family()
    models += [mixed(models, {A: 0.5, B: 0.5}), mixed(models, {A: 0.25, B: 0.75})]
    models.append(mixed(models, {BASE: 0.2, A: 0.4, B: 0.4}))
    found = {one.child: set(one.parents) for one in find(builders.measured(models, LAYERS)).found}
    assert found == {7: {A, B}, 8: {A, B}, 9: {BASE, A, B}}


def test_rounded_merges_are_exact_where_the_format_is_known() -> None:
    models = family()
    child = mixed(models, {A: 0.5, B: 0.5})
    rounded = {name: torch.tensor(value).to(torch.bfloat16).double().numpy() for name, value in child.items()}
    form = np.full((4, 8), 3)
    form[:, 7] = 1
    found = merged(models, rounded, rounding=relative_rounding(form))
    assert found.exact
    assert not merged(models, rounded).exact
    both = builders.measured([*models, child, rounded], LAYERS)
    form = np.column_stack([form[:, :7], np.full(4, 3), form[:, 7]])
    for rounding in (None, relative_rounding(form)):
        assert [one.child for one in find(both, rounding=rounding).found] == [7]


def test_positions_follow_the_members() -> None:
    models = family()
    models.append(mixed(models, {A: 0.3, B: 0.7}))
    order = np.random.default_rng(5).permutation(len(models))
    (found,) = find(builders.measured([models[one] for one in order], LAYERS)).found
    assert order[found.child] == 7
    assert {int(order[one]): weight for one, weight in shares(found).items()} == pytest.approx(
        {A: 0.3, B: 0.7}, abs=1e-3
    )


def test_too_little_to_compare_gives_no_merges() -> None:
    assert find(builders.measured(family()[:2], LAYERS)).found == ()
    lost = [{layer.name: model[layer.name]} for model, layer in zip(family(), LAYERS * 2, strict=False)]
    assert find(builders.measured(lost, LAYERS)).found == ()
    assert find(builders.measured(family(), LAYERS), [BASE, A]).found == ()


def trained_family() -> tuple[FamilyMeasures, dict[str, Model]]:
    """Two roots, four fine-tunes of each, merges and a model that was trained on from one."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(512, 24, generator=generator)
    models: dict[str, torch.nn.Sequential] = {}

    def train(name: str, parent: str | None, steps: int, task: int) -> None:
        net = torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.ReLU(), torch.nn.Linear(48, 16))
        if parent:
            net.load_state_dict(models[parent].state_dict())
        goal = torch.randn(24, 16, generator=torch.Generator().manual_seed(task))
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3 if parent is None else 1e-3)
        for step in range(steps):
            batch = inputs[torch.randint(512, (32,), generator=torch.Generator().manual_seed(1000 * task + step))]
            loss = ((net(batch) - torch.sin(batch @ goal)) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        models[name] = net

    def mix(name: str, weights: dict[str, float]) -> None:
        net = torch.nn.Sequential(torch.nn.Linear(24, 48), torch.nn.ReLU(), torch.nn.Linear(48, 16))
        states = [(models[one].state_dict(), weight) for one, weight in weights.items()]
        net.load_state_dict({key: sum(weight * state[key] for state, weight in states) for key in states[0][0]})
        models[name] = net

    for root in ("x", "y"):
        train(root, None, 150, ord(root))
        for number in range(4):
            train(f"{root}{number}", root, 40, 10 * ord(root) + number)
    mix("average", {"x0": 0.5, "x1": 0.5})
    mix("linear", {"x2": 0.7, "y1": 0.3})
    train("trained on", "average", 20, 99)
    arrays = {
        name: {key: value.double().numpy() for key, value in net.state_dict().items() if value.ndim > 1}
        for name, net in models.items()
    }
    layers = tuple(Layer(key, value.shape, LayerKind.TRUNK) for key, value in arrays["x"].items())
    return builders.measured(list(arrays.values()), layers, slopes=True), arrays


def test_merges_of_trained_networks_are_found_and_nothing_else() -> None:
    measures, arrays = trained_family()
    names = list(arrays)
    found = find(measures)
    told = {names[one.child]: {names[p]: w for p, w in shares(one).items()} for one in found.found}
    assert told == {
        "average": pytest.approx({"x0": 0.5, "x1": 0.5}, abs=1e-3),
        "linear": pytest.approx({"x2": 0.7, "y1": 0.3}, abs=1e-3),
    }
    # A sibling of the parents may be among them: these share a drift, which an average of them holds as well.
    assert {"average", "trained on"} <= {names[one] for one in found.clades[names.index("average")]}
    assert not {"x", "x0", "x1", "y"} & {names[one] for one in found.clades[names.index("average")]}
