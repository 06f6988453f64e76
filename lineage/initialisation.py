"""Fake initialisations: what a network of an architecture might have begun with, tensor by tensor.

Neural Phylogeny Detection measures how far a model lies from such a draw R. For one that is independent of the weights,
E ||W - R||² = ||W||² + E ||R||²: were R drawn anew for each model, the score would order by norm and noise. So R is
one draw per tensor, decided by its name and shape (and with them by the family), and the term -2 <W, R> is the same
linear function for all models of a family.

R is never compared with weights that are read again: its CountSketch, by the same signs and buckets as the stored ones
of the weights (`lineage.sketch`), gives <W, R> without bias, with a standard error of at most
sqrt((||W||² ||R||² + <W, R>²) / k) for k buckets (Charikar, Chen, Farach-Colton 2002; Weinberger et al. 2009).

Schemes, by fan-in and fan-out (He et al. 2015, arXiv:1502.01852; Glorot and Bengio 2010; torch.nn.init's pages):

- kaiming: uniform within ± sqrt(6 / fan_in); kaiming-normal: deviation sqrt(2 / fan_in);
- xavier: uniform within ± sqrt(6 / (fan_in + fan_out)); xavier-normal: deviation sqrt(2 / (fan_in + fan_out));
- truncated: normal of deviation 0.02, cut at two deviations, as BERT's reference code has it;
- architecture: what the usual libraries do: normal of 0.02 in transformers, and 0.02 / sqrt(2 blocks) for GPT-2's
  projections into the residual stream; normal by fan-out for convolutions (torchvision); else uniform within
  ± 1 / sqrt(fan_in), torch's own for linear layers;
- fitted: normal, whose deviation is the least root mean square of that tensor among the members. Weights are a start
  plus updates that are nearly orthogonal to it, so training adds to their square: every member bounds the start's scale
  from above, and the least bound is the tightest that is consistent with all. Strong weight decay breaks that;
- centroid: the mean of the group's members, no draw. What all descendants share is the best guess of where they began;
  distances from it follow exactly from those among the members. Of two it says nothing (`lineage.phylogeny`: drawn).

Biases begin at 0 and normalisation scales at 1 under every scheme but the last.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from lineage.decoding import F64, Rows
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.sketch import CountSketch
from lineage.stream import STRIDE


class Scheme(StrEnum):
    """Where a network is taken to have begun."""

    ARCHITECTURE = "architecture"
    KAIMING = "kaiming"
    KAIMING_NORMAL = "kaiming-normal"
    XAVIER = "xavier"
    XAVIER_NORMAL = "xavier-normal"
    TRUNCATED = "truncated"
    FITTED = "fitted"
    CENTROID = "centroid"


class Law(StrEnum):
    """How the elements of a draw are distributed."""

    NORMAL = "normal"
    UNIFORM = "uniform"
    TRUNCATED = "truncated"


@dataclass(frozen=True)
class Start:
    """The distribution that a tensor of weights is taken to be drawn from; its mean is 0."""

    law: Law
    deviation: float  # of what is drawn, after any truncation


@dataclass(frozen=True)
class Draw:
    """What is kept of a draw R of one tensor."""

    sketch: NDArray[np.float64]  # (k,)
    squared_norm: float


SMALL = 0.02  # the deviation in transformers
_CUT = 2.0  # deviations at which a truncated normal ends
_LEFT = math.sqrt(1 - 2 * _CUT * math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi) / math.erf(_CUT / math.sqrt(2)))
_WHOLE = 1 << 20  # elements up to which a tensor is drawn; beyond, a bucket sums 256 and more
_SEED = 20_261_121
_ATTENTION = re.compile(r"attn|attention|query|q_proj|in_proj")
_EMBEDDING = re.compile(r"embed|(^|\.)w[tp]e\.")
_TRANSPOSED = re.compile(r"\.(c_attn|c_proj|c_fc|q_attn)\.weight$")  # GPT-2's Conv1D: (in, out)
_RESIDUAL = re.compile(r"\.c_proj\.weight$")
_BLOCK = re.compile(r"(?:^|\.)(?:h|layers?|blocks?)\.(\d+)\.")


def fans(layer: Layer) -> tuple[int, int]:
    """How many inputs each output of a weight has, and how many outputs each input.

    Of (out, in, *places); Conv1D is (in, out). An embedding, of which a row is looked up, counts by its width.
    """
    out, rest = layer.shape[0], layer.shape[1:]
    if _EMBEDDING.search(layer.name) and len(layer.shape) == 2:
        return layer.shape[1], layer.shape[1]
    if _TRANSPOSED.search(layer.name) and len(rest) == 1:
        return out, rest[0]
    places = math.prod(rest[1:])
    return max(1, (rest[0] if rest else 1) * places), max(1, out * places)


def start_of(layer: Layer, scheme: Scheme, layers: Sequence[Layer]) -> Start:
    """Where a trunk layer begins by a scheme that is not fitted; `layers` are all of the family.

    Raises ValueError for `fitted` and `centroid`, which ask the members.
    """
    fan_in, fan_out = fans(layer)
    match scheme:
        case Scheme.KAIMING:
            return Start(Law.UNIFORM, math.sqrt(2 / fan_in))
        case Scheme.KAIMING_NORMAL:
            return Start(Law.NORMAL, math.sqrt(2 / fan_in))
        case Scheme.XAVIER:
            return Start(Law.UNIFORM, math.sqrt(2 / (fan_in + fan_out)))
        case Scheme.XAVIER_NORMAL:
            return Start(Law.NORMAL, math.sqrt(2 / (fan_in + fan_out)))
        case Scheme.TRUNCATED:
            return Start(Law.TRUNCATED, _LEFT * SMALL)
        case Scheme.ARCHITECTURE:
            return _usual(layer, layers, fan_in, fan_out)
        case _:
            raise ValueError(f"{scheme.value} is fitted to members")


def _usual(layer: Layer, layers: Sequence[Layer], fan_in: int, fan_out: int) -> Start:
    if any(_ATTENTION.search(one.name) for one in layers):
        blocks = {match[1] for one in layers if (match := _BLOCK.search(one.name))}
        less = math.sqrt(2 * max(1, len(blocks))) if _RESIDUAL.search(layer.name) else 1.0
        return Start(Law.NORMAL, SMALL / less)
    if len(layer.shape) > 2:
        return Start(Law.NORMAL, math.sqrt(2 / fan_out))
    return Start(Law.UNIFORM, 1 / math.sqrt(3 * fan_in))


def fitted_start(measures: FamilyMeasures, layer: int, members: Sequence[int]) -> Start:
    """The least root mean square of a layer among those of the members that have it; 0 where none has."""
    count = measures.count[layer, list(members)]
    here = count > 0
    squares = measures.squared_norm[layer, list(members)][here] / count[here]
    return Start(Law.NORMAL, math.sqrt(float(squares.min())) if here.any() else 0.0)


def vector_start(measures: FamilyMeasures, layer: int, members: Sequence[int]) -> NDArray[np.float64]:
    """(n,) squared distances of a vector from where it begins, exactly, from its moments: 1 for scales, else 0.

    A vector whose mean is above a half in most members is taken for a scale. NaN where a member lacks it.
    """
    chosen = list(members)
    count = np.where(measures.count[layer, chosen] > 0, measures.count[layer, chosen], np.nan)
    spread = measures.variance[layer, chosen]
    mean = np.sqrt(np.maximum(measures.squared_norm[layer, chosen] / count - spread, 0.0))
    known = mean[np.isfinite(mean)]
    begins = 1.0 if len(known) and float(np.median(known)) > _SCALE else 0.0
    squared: NDArray[np.float64] = count * (spread + (mean - begins) ** 2)
    return squared


_SCALE = 0.5


def centroid_distances(measures: FamilyMeasures, layer: int, members: Sequence[int]) -> NDArray[np.float64]:
    """(n,) squared distances from the mean of the members that have the layer; NaN for the others.

    ||w_i - c||² = mean_j D_ij - mean_jk D_jk / 2, D the squared distances.
    """
    chosen = list(members)
    found = np.full(len(chosen), np.nan)
    here = np.flatnonzero(measures.count[layer, chosen] > 0)
    if not len(here):
        return found
    at = [chosen[index] for index in here]
    squared = measures.squared_distance[layer][np.ix_(at, at)]
    if np.isfinite(squared).all():
        found[here] = np.maximum(squared.mean(axis=1) - squared.mean() / 2, 0.0)
    return found


@lru_cache(maxsize=4096)
def draw(layer: Layer, start: Start, size: int) -> Draw:
    """The family's draw of one tensor, as a CountSketch of `size` buckets and a squared norm.

    Up to 2^20 elements are drawn one by one. Of a larger tensor the sketch itself is drawn: the sum of m independent
    elements under random signs is normal of variance m deviation² (exactly for a normal law; others sum 256 and more),
    and buckets are independent. So a large network costs no more than a small one, and nothing of its size is held.
    """
    key = f"{_SEED} {layer.name} {'x'.join(map(str, layer.shape))} {start.law.value}"
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little")
    random = np.random.Generator(np.random.Philox(key=seed))
    if layer.size > _WHOLE:
        filled = np.full(size, layer.size / size)
        sums = random.standard_normal(size) * np.sqrt(filled) * start.deviation
        return Draw(sums, layer.size * start.deviation**2)
    values = _elements(random, start, layer.size)
    sums = np.zeros((1, size))
    rows = Rows(values.view(np.uint8), np.zeros(1, dtype=np.int64), np.array([F64], dtype=np.int64), layer.size)
    CountSketch.of(layer, size).add(rows, 0, sums)
    return Draw(sums[0], float(values @ values))


def _elements(random: np.random.Generator, start: Start, count: int) -> NDArray[np.float64]:
    """`count` elements of the law, a stride at a time where some are drawn again."""
    if start.law is Law.UNIFORM:
        return random.uniform(-1.0, 1.0, count) * (math.sqrt(3) * start.deviation)
    values = random.standard_normal(count)
    if start.law is Law.TRUNCATED:
        for first in range(0, count, STRIDE):
            some = values[first : first + STRIDE]
            while (beyond := np.abs(some) > _CUT).any():
                some[beyond] = random.standard_normal(int(beyond.sum()))
        values /= _LEFT
    scaled: NDArray[np.float64] = values * start.deviation
    return scaled


def inner_products(sketches: NDArray[np.float64], drawn: Draw) -> NDArray[np.float64]:
    """(n,) estimates of <W, R> from (n, k) sketches of weights; 0, which is their mean over draws, where one is NaN."""
    return np.nan_to_num(sketches @ drawn.sketch, nan=0.0)


def distances(
    measures: FamilyMeasures,
    members: Sequence[int],
    scheme: Scheme,
    sketches: Sequence[NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """(L, n) squared distances of the members from a fake initialisation, by layer: ||W||² + ||R||² - 2 <W, R>.

    `sketches` are per layer the stored (N, k) CountSketches of all N members of the family, NaN where one has none;
    without them <W, R> is taken for 0 and draws order by norm alone. NaN where a member lacks a layer and in layers
    that are not compared (heads, buffers).
    """
    chosen = list(members)
    found = np.full((len(measures.layers), len(chosen)), np.nan)
    for number, layer in enumerate(measures.layers):
        if layer.kind not in {LayerKind.TRUNK, LayerKind.VECTOR} or not (measures.count[number, chosen] > 0).any():
            continue
        if scheme is Scheme.CENTROID:
            found[number] = centroid_distances(measures, number, chosen)
        elif layer.kind is LayerKind.VECTOR:
            found[number] = vector_start(measures, number, chosen)
        else:
            found[number] = _trunk(measures, number, chosen, scheme, None if sketches is None else sketches[number])
    return found


def _trunk(
    measures: FamilyMeasures, number: int, chosen: list[int], scheme: Scheme, sketches: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    layer = measures.layers[number]
    everybody = range(len(measures.members))  # a scale that is the family's own, whoever is asked for
    if scheme is Scheme.FITTED:
        start = fitted_start(measures, number, everybody)
    else:
        start = start_of(layer, scheme, measures.layers)
    norms = measures.squared_norm[number, chosen]
    if sketches is None or not sketches.shape[1]:
        squared: NDArray[np.float64] = norms + layer.size * start.deviation**2
        return squared
    drawn = draw(layer, start, sketches.shape[1])
    return np.maximum(norms + drawn.squared_norm - 2 * inner_products(sketches[chosen], drawn), 0.0)
