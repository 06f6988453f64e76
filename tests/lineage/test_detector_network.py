"""The shipped network: small, whole, with its provenance; a file that is none is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lineage.detector_features import (
    CONTEXT_EVEN,
    CONTEXT_ODD,
    PAIR_EVEN,
    PAIR_ODD,
    TOKEN_EVEN,
    TOKEN_ODD,
    PairFeatures,
)
from lineage.detector_network import CLASSES, EXCHANGED, FAR, FILE, NEAR, network, read_network, settled


def random_features(seed: int, pairs: int = 9, layers: int = 6) -> PairFeatures:
    rng = np.random.default_rng(seed)
    there = rng.random((pairs, layers)) < 0.8
    return PairFeatures(
        rng.normal(size=(pairs, layers, len(TOKEN_EVEN))) * there[:, :, None],
        rng.normal(size=(pairs, layers, len(TOKEN_ODD))) * there[:, :, None],
        there,
        *(rng.normal(size=(pairs, len(names))) for names in (PAIR_EVEN, PAIR_ODD, CONTEXT_EVEN, CONTEXT_ODD)),
    )


def test_the_shipped_weights_are_small_and_say_where_they_come_from() -> None:
    assert FILE.stat().st_size < 5_000_000
    told = network().provenance
    assert {"command", "commit", "zoos", "steps", "runs", "features", "mix"} <= told.keys()
    assert all(name.endswith("-1") for name in told["zoos"])
    assert len(network().runs) == len(told["runs"]) == 5


def test_no_class_is_exchanged_into_one_that_is_not_exchanged_back() -> None:
    assert [EXCHANGED[one] for one in EXCHANGED] == list(range(len(CLASSES)))


def test_pairs_are_judged_apart_from_one_another() -> None:
    features = random_features(1)
    whole = network().logits(features)
    rows = np.array([4, 0, 7])
    np.testing.assert_allclose(network().logits(features.take(rows)), whole[rows], atol=1e-9)


def test_what_stands_in_missing_layers_changes_nothing() -> None:
    features = random_features(2)
    noise = np.where(features.there[:, :, None], features.even, 7.0)
    other = PairFeatures(noise, *(getattr(features, n) for n in list(vars(features))[1:]))
    np.testing.assert_allclose(network().logits(other), network().logits(features), atol=1e-9)


def test_odd_features_turned_exchange_the_logits() -> None:
    features = random_features(3)
    turned = PairFeatures(
        features.even, -features.odd, features.there, features.pair_even, -features.pair_odd,
        features.context_even, -features.context_odd,
    )  # fmt: skip
    np.testing.assert_allclose(network().logits(turned), network().logits(features)[:, list(EXCHANGED)], atol=1e-9)


def test_distance_alone_settles_whether_two_are_related() -> None:
    features = random_features(9, pairs=3, layers=4)
    features.there[:] = True
    features.even[:, :, TOKEN_EVEN.index("trunk")] = 1
    features.pair_even[:, PAIR_EVEN.index("log_relative")] = np.log([NEAR - 0.01, (NEAR + FAR) / 2, FAR])
    learnt = np.full((3, len(CLASSES)), 1 / len(CLASSES))
    near, between, far = settled(learnt, features)
    assert near.tolist() == pytest.approx([0.0] + [1 / (len(CLASSES) - 1)] * (len(CLASSES) - 1))
    assert between.tolist() == pytest.approx(learnt[1].tolist())
    assert far.tolist() == [1.0] + [0.0] * (len(CLASSES) - 1)
    features.there[:] = False  # no trunk layer in common: nothing is known of their distance
    np.testing.assert_allclose(settled(learnt, features), learnt)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"no safetensors at all, but text"])
def test_a_file_that_is_no_detector_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.safetensors is no detector"):
        read_network(path)


def test_weights_of_other_features_are_refused(tmp_path: Path) -> None:
    header = json.dumps({"__metadata__": {"provenance": json.dumps({"features": {"token": ["size"]}})}}).encode()
    path = tmp_path / "older.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match="train it anew"):
        read_network(path)


def test_a_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(FILE.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole tensor"):
        read_network(path)
