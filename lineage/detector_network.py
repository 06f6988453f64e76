"""The detector's transformer, evaluated in numpy: float64, so that its answers are the same on every machine.

A token per layer and one for the pair go through pre-norm self-attention; the pair's token, beside its own features,
gives a logit per class. With e the even and o the odd features and P the exchange of classes that belongs to (b, a),

    logits(a, b) = f(e, o) + P f(e, -o),

so that logits(b, a) = P logits(a, b) whatever f is. Trained in torch by `python -m benchmarks.train_detector`; the file
holds several runs, on several splits, whose logits are averaged after each was scaled by its own two temperatures: one
for the even part, which says what relation it is, one for the odd part, which says in what direction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from lineage.detector_features import (
    CONTEXT_EVEN,
    CONTEXT_ODD,
    PAIR_EVEN,
    PAIR_ODD,
    TOKEN_EVEN,
    TOKEN_ODD,
    PairFeatures,
)

FILE = Path(__file__).with_name("detector.safetensors")
CLASSES = (
    *("unrelated", "parent", "child", "siblings", "ancestor at distance 2", "descendant at distance 2"),
    *("ancestor at distance 3 or more", "descendant at distance 3 or more", "other relatives"),
)  # of a, as seen from b: "parent" says that a is the parent of b
_UNRELATED = CLASSES.index("unrelated")
# Relative distances. On 19 zoos of seed 1 unrelated pairs were at .98 and above, relatives at .25 and below, but for
# pruned copies (.59), merges (.93) and steps over three decades (.97); unrelated real networks at .94 and above.
NEAR, FAR = 0.5, 0.95
EXCHANGED = (0, 2, 1, 3, 5, 4, 7, 6, 8)  # the class of (b, a)
HEADS = 4
CLIP = 5.0  # standard deviations
TOKENS = 64  # layers of a pair that are looked at, evenly spread over its depth
_AT_ONCE = 256
Floats = NDArray[np.float64]
Weights = dict[str, Floats]


@dataclass(frozen=True)
class Network:
    """Runs of the network, and what they came from."""

    runs: tuple[Weights, ...]
    provenance: dict[str, Any]

    def logits(self, features: PairFeatures) -> Floats:
        """(p, len(CLASSES)) logits, averaged over runs; the two orders of a pair are each other's exchange."""
        size = len(features.even)
        if size == 0:
            return np.zeros((0, len(CLASSES)))
        parts = [features.take(slice(first, first + _AT_ONCE)) for first in range(0, size, _AT_ONCE)]
        return np.concatenate([np.mean([_calibrated(run, part) for run in self.runs], axis=0) for part in parts])

    def probabilities(self, features: PairFeatures) -> Floats:
        """(p, len(CLASSES)), rows of sum 1. Whether two are related is not learnt where their distance says it."""
        return settled(softmax(self.logits(features), axis=1), features)


def settled(likely: Floats, features: PairFeatures) -> Floats:
    """Probabilities of pairs without "unrelated" below the relative distance NEAR, and with nothing else from FAR on.

    A network that learnt from few trees may take strangers for relatives, or relatives for strangers, where features
    are elsewhere than in training; distance means the same everywhere. Pairs without a trunk layer in common stay as
    they are.
    """
    trunk = (features.even[:, :, TOKEN_EVEN.index("trunk")] * features.there).any(axis=1)
    distance = np.exp(features.pair_even[:, PAIR_EVEN.index("log_relative")])
    found = likely.copy()
    found[trunk & (distance < NEAR), _UNRELATED] = 0.0
    found /= np.maximum(found.sum(axis=1, keepdims=True), 1e-300)
    far = trunk & (distance >= FAR)
    found[far] = 0.0
    found[far, _UNRELATED] = 1.0
    return found


@cache
def network() -> Network:
    """The network that is shipped."""
    return read_network(FILE)


def read_network(path: Path) -> Network:
    """The network of a safetensors file: tensors "run.name" of float32, and metadata "provenance", JSON.

    Raises ValueError for a file that is none, or one that was trained on other features.
    """
    content = path.read_bytes()
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        provenance = json.loads(header.pop("__metadata__")["provenance"])
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path.name} is no detector: {error}") from error
    runs: dict[int, Weights] = {}
    for key, told in header.items():
        run, _, name = key.partition(".")
        start, stop = (8 + length + offset for offset in told["data_offsets"])
        if told["dtype"] != "F32" or stop > len(content):
            raise ValueError(f"{path.name} is no detector: {key} is no whole tensor of float32")
        values = np.frombuffer(content[start:stop], dtype="<f4").astype(np.float64)
        runs.setdefault(int(run), {})[name] = values.reshape(told["shape"])
    from_features = provenance.get("features")
    if from_features != feature_names():
        raise ValueError(f"{path.name} was trained on other features than this version computes: train it anew")
    return Network(tuple(runs[number] for number in sorted(runs)), provenance)


def feature_names() -> dict[str, list[str]]:
    """The features by name, in the order in which the network takes them."""
    return {
        "token": [*TOKEN_EVEN, *TOKEN_ODD],
        "pair": [*PAIR_EVEN, *CONTEXT_EVEN, *PAIR_ODD, *CONTEXT_ODD],
    }


def normalised(weights: Weights, features: PairFeatures) -> tuple[Floats, Floats, Floats, Floats]:
    """Token even and odd, pair even and odd features, of the size of 1: the odd ones are scaled, not shifted."""

    def scaled(values: Floats, name: str) -> Floats:
        shift = weights.get(f"{name}.mean", np.zeros(1))
        return np.clip((values - shift) / weights[f"{name}.scale"], -CLIP, CLIP)

    pair_even = np.concatenate([features.pair_even, features.context_even], axis=1)
    pair_odd = np.concatenate([features.pair_odd, features.context_odd], axis=1)
    return (
        scaled(features.even, "token_even"),
        scaled(features.odd, "token_odd"),
        scaled(pair_even, "pair_even"),
        scaled(pair_odd, "pair_odd"),
    )


def _calibrated(weights: Weights, features: PairFeatures) -> Floats:
    even, odd, pair_even, pair_odd = normalised(weights, features)
    there = _forward(weights, even, odd, pair_even, pair_odd, features.there)
    back = _forward(weights, even, -odd, pair_even, -pair_odd, features.there)
    exchange = list(EXCHANGED)
    logits = there + back[:, exchange]
    same, other = (logits + logits[:, exchange]) / 2, (logits - logits[:, exchange]) / 2
    found: Floats = same / weights["temperature"][0] + other / weights["temperature"][1]
    return found


def _forward(
    weights: Weights, even: Floats, odd: Floats, pair_even: Floats, pair_odd: Floats, there: NDArray[np.bool_]
) -> Floats:
    tokens = np.concatenate([even, odd], axis=2) @ weights["token.weight"].T + weights["token.bias"]
    own = np.concatenate([pair_even, pair_odd], axis=1)
    first = own @ weights["pair.weight"].T + weights["pair.bias"]
    x = np.concatenate([first[:, None], tokens], axis=1)
    seen = np.concatenate([np.ones((len(there), 1), dtype=bool), there], axis=1)
    depth = 0
    while f"blocks.{depth}.qkv.weight" in weights:
        name = f"blocks.{depth}"
        wanted = x.shape[1] if f"blocks.{depth + 1}.qkv.weight" in weights else 1  # at last the pair's token alone
        x = x[:, :wanted] + _attention(weights, name, _norm(weights, f"{name}.norm1", x), seen, wanted)
        hidden = _linear(weights, f"{name}.up", _norm(weights, f"{name}.norm2", x))
        x = x + _linear(weights, f"{name}.down", np.maximum(hidden, 0.0))
        depth += 1
    summary = _norm(weights, "norm", x[:, 0])
    return _linear(weights, "head", np.concatenate([summary, own], axis=1))


def _attention(weights: Weights, name: str, x: Floats, seen: NDArray[np.bool_], wanted: int) -> Floats:
    """(p, wanted, width): what the first `wanted` of (p, t, width) tokens take from all of them."""
    pairs, tokens, width = x.shape
    qkv = _linear(weights, f"{name}.qkv", x).reshape(pairs, tokens, 3, HEADS, width // HEADS)
    q, k, v = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
    q = q[:, :, :wanted]
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(width // HEADS)
    share = softmax(np.where(seen[:, None, None, :], scores, -np.inf), axis=3)
    mixed = (share @ v).transpose(0, 2, 1, 3).reshape(pairs, wanted, width)
    return _linear(weights, f"{name}.out", mixed)


def _norm(weights: Weights, name: str, x: Floats) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)
    found: Floats = centred / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return found


def _linear(weights: Weights, name: str, x: Floats) -> Floats:
    found: Floats = x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    return found
