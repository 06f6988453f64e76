"""Training the detector: labels follow the truth, splits do not leak, and numpy says what torch says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import train_detector_network
from benchmarks.train_detector import folds, main, one_run, parts, separated, trained_with, write
from benchmarks.train_detector_data import LabelledPairs, optimisers, relation, relations, root_name
from benchmarks.train_detector_network import examples, logits_of, scales, temperatures, train, weights_of
from lineage.detector_features import (
    CONTEXT_EVEN,
    CONTEXT_ODD,
    PAIR_EVEN,
    PAIR_ODD,
    TOKEN_EVEN,
    TOKEN_ODD,
    PairFeatures,
)
from lineage.detector_network import CLASSES, EXCHANGED, feature_names, read_network

#   a    x
#   ├ b ─ c ─ d ─ e
#   └ f ─ g
PARENTS = {
    "a": (),
    "b": ("a",),
    "c": ("b",),
    "d": ("c",),
    "e": ("d",),
    "f": ("a",),
    "g": ("f",),
    "x": (),
    "m": ("b", "x"),
}


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        ("ab", "parent"),
        ("ba", "child"),
        ("ac", "ancestor at distance 2"),
        ("da", "descendant at distance 3 or more"),
        ("ae", "ancestor at distance 3 or more"),
        ("bf", "siblings"),
        ("cm", "siblings"),
        ("cg", "other relatives"),
        ("bg", "other relatives"),
        ("ax", "unrelated"),
        ("xm", "parent"),
        ("am", "ancestor at distance 2"),
    ],
)
def test_a_pair_is_labelled_by_its_nearest_relation(pair: str, name: str) -> None:
    above = relations(PARENTS)
    assert CLASSES[relation(above, pair[0], pair[1])] == name
    assert relation(above, pair[1], pair[0]) == EXCHANGED[CLASSES.index(name)]


def test_a_root_has_one_name_whatever_its_architecture() -> None:
    for family, name in (("vit", "zoo/vit-2c03d90ed94d"), ("llama", "zoo/llama-2c03d90ed9")):
        assert root_name({name: 0}, family) == "2c03d90ed"


def test_optimisers_are_those_of_a_model_and_of_all_that_it_came_from() -> None:
    models = {"a": {"recipe": {"optimiser": "adamw"}}, "b": {"recipe": {"optimiser": "sgd"}}, "c": {"recipe": None}}
    assert optimisers(models, ["a", "b", "c", "initialisation 3"]) == {"adamw", "sgd"}
    assert optimisers(models, ["c"]) == set()


def test_pairs_are_parted_by_the_optimiser_that_had_a_part_in_them() -> None:
    zoo = replace(labelled(1, 4, 3), optimisers=tuple(map(frozenset, (["adamw"], ["sgd"], ["adamw", "sgd"], []))))
    (without,), (only,) = (trained_with([zoo], "sgd", by_it=by_it) for by_it in (False, True))
    np.testing.assert_array_equal(without.label, zoo.label[[0, 3]])
    np.testing.assert_array_equal(only.features.even, zoo.features.even[[1, 2]])
    assert (only.roots, only.optimisers) == (zoo.roots[1:3], zoo.optimisers[1:3])
    assert trained_with([zoo], "lion", by_it=True) == []


def labelled(seed: int, pairs: int, layers: int, zoo: str = "ft-1") -> LabelledPairs:
    """Pairs whose direction one odd feature tells, and whose relation one even feature."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, len(CLASSES), pairs)
    there = rng.random((pairs, layers)) < 0.9
    shapes = ((pairs, layers, len(TOKEN_EVEN)), (pairs, layers, len(TOKEN_ODD)))
    even, odd = (rng.normal(size=shape) * there[:, :, None] for shape in shapes)
    tables = [rng.normal(size=(pairs, len(names))) for names in (PAIR_EVEN, PAIR_ODD, CONTEXT_EVEN, CONTEXT_ODD)]
    tables[0][:, 0] = np.minimum(label, np.array(EXCHANGED)[label])
    tables[1][:, 0] = np.sign(np.array(EXCHANGED)[label] - label)
    roots = tuple((f"r{n % 17}", f"r{n % 17}") for n in range(pairs))
    return LabelledPairs(zoo, "vit", PairFeatures(even, odd, there, *tables), label, roots)


def test_no_root_is_on_two_sides_of_a_split() -> None:
    zoos = [labelled(1, 400, 5), labelled(2, 300, 3)]
    fold = folds(zoos)
    tested: list[str] = []
    for run in range(5):
        seen: dict[str, set[str]] = {}
        for zoo in zoos:
            for name, rows in parts(zoo, fold, run).items():
                seen.setdefault(name, set()).update(root for row in rows for root in zoo.roots[row])
        assert not seen["training"] & seen["validation"]
        assert not (seen["training"] | seen["validation"]) & seen["test"]
        tested += seen["test"]
    assert sorted(tested) == sorted(fold)  # each root is tested on in one run


def test_few_roots_that_architectures_number_alike_are_counted_by_architecture() -> None:
    three = tuple((f"r{n % 3}", f"r{n % 3}") for n in range(90))
    zoos = [replace(labelled(n, 90, 3), architecture=name, roots=three) for n, name in enumerate("abcd")]
    apart = separated(zoos)
    assert len(folds(zoos)) == 3
    assert len(folds(apart)) == 12
    for run in range(5):
        found = [parts(zoo, folds(apart), run) for zoo in apart]
        assert all(any(len(one[name]) for one in found) for name in ("training", "validation", "test"))
    many = [labelled(1, 400, 5)]
    assert separated(many) == many
    with pytest.raises(ValueError, match="run 3 has no validation pairs: 3 roots are too few to split"):
        one_run(zoos, 2, 1)


def test_what_is_trained_in_torch_is_what_numpy_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_detector_network, "BATCH", 64)
    torch.set_num_threads(1)
    zoos = [labelled(3, 150, 4), labelled(4, 100, 3, "mixed-1")]
    scale = {name: values.astype(np.float32).astype(np.float64) for name, values in scales(zoos).items()}
    data = examples(zoos, [np.arange(len(zoo.label)) for zoo in zoos], scale)
    net = train(data, scale, 40, seed=0)
    logits = logits_of(net, data, scale, alone=False)
    label = data.label.numpy()
    direct = np.isin(label, (1, 2))
    assert np.mean((logits[direct, 1] > logits[direct, 2]) == (label[direct] == 1)) > 0.9
    temperature = temperatures(logits, data).astype(np.float32).astype(np.float64)
    path = tmp_path / "small.safetensors"
    write([weights_of(net, scale, temperature)] * 2, {"features": feature_names()}, path)
    stored = read_network(path)
    assert len(stored.runs) == 2
    other = logits[:, list(EXCHANGED)]
    expected = (logits + other) / 2 / temperature[0] + (logits - other) / 2 / temperature[1]
    found = np.concatenate([stored.logits(zoo.features) for zoo in zoos])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_zoos_that_are_learnt_from_are_not_reported_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--learn", str(tmp_path), "--report", str(tmp_path)])
    assert "learnt from and reported on" in capsys.readouterr().err


def test_weights_are_read_only_where_nothing_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--learn", str(tmp_path), "--weights", str(tmp_path / "w.safetensors")])
    assert "leave --learn out" in capsys.readouterr().err
    assert main(["--report", str(tmp_path), "--weights", str(tmp_path / "w.safetensors")]) == 2
    assert "w.safetensors" in capsys.readouterr().err


def test_a_folder_that_is_no_zoo_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--learn", str(tmp_path / "nothing")]) == 2
    assert "is no finished zoo" in capsys.readouterr().err
