"""What the detector sees of a pair of models: a token per layer and one for the pair, from the stored measures alone.

Every number is even (it is the same for (a, b) and for (b, a)) or odd (it changes its sign, to the last bit: logarithms
are subtracted, never ratios taken). Weights are not read again, and no feature names an architecture: layers come with
their kind, depth, shape and share of the parameters. What was not measured is 0 behind a flag that says so.

The pair's token has the sums over layers, how steadily layers speak for a direction (`lineage.direction`), and the
family's context: a model that lies between the two speaks against an edge, and relatives on one side for a parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import THRESHOLD, compared_layers, relative_distance, trunk_sums
from lineage.detector_steady import STEADY, Logs, steadiness_of_all
from lineage.direction import UNLIKE
from lineage.family import FamilyMeasures, LayerKind

Floats = NDArray[np.float64]
Pairs = Sequence[tuple[int, int]]

TOKEN_EVEN = (
    *("log_relative", "cosine", "movement", "rank_share", "rank_unknown", "equal", "equal_unknown", "same", "lost"),
    *("zeros", "form", "kurtosis", "trunk", "vector", "head", "depth", "aspect", "share"),
)
TOKEN_ODD = (
    *("slope", "slope_sign", "slope_of_step", "gain", "norm", "norm_of_step", "kurtosis", "kurtosis_of_step"),
    *("variance", "start", "zeros", "form", "lost", "outliers"),
)
PAIR_EVEN = (
    *("log_relative", "cosine", "low_rank", "same", "equal", "zeros", "form", "missing", "layers", "estimated"),
    *(f"steady_{name}" for name in STEADY),
)
PAIR_ODD = (*STEADY, "zeros", "form", "missing", "forms_same_zeros")
CONTEXT_EVEN = ("known", "between", "beyond", "nearer", "rank_between", "relatives")
CONTEXT_ODD = ("side", "nearer", "central", "beyond", *(f"relatives_{name}" for name in STEADY))

_FLOOR = 1e-30
_LOW_RANK = 0.5
_KINDS = (LayerKind.TRUNK, LayerKind.VECTOR, LayerKind.HEAD)


@dataclass(frozen=True)
class PairFeatures:
    """The features of p pairs over t layers."""

    even: Floats  # (p, t, len(TOKEN_EVEN))
    odd: Floats  # (p, t, len(TOKEN_ODD))
    there: NDArray[np.bool_]  # (p, t) whether both models have the layer
    pair_even: Floats  # (p, len(PAIR_EVEN))
    pair_odd: Floats  # (p, len(PAIR_ODD))
    context_even: Floats  # (p, len(CONTEXT_EVEN))
    context_odd: Floats  # (p, len(CONTEXT_ODD))

    def take(self, rows: NDArray[np.intp] | slice) -> PairFeatures:
        """Some of the pairs."""
        return PairFeatures(*(getattr(self, one.name)[rows] for one in fields(self)))


def comparable(measures: FamilyMeasures) -> NDArray[np.bool_]:
    """(N, N) pairs with a distance in some layer of a kind that is trained."""
    found = np.zeros((len(measures.members),) * 2, dtype=bool)
    for layer in token_layers(measures):
        found |= np.isfinite(measures.squared_distance[layer])
    return found


def token_layers(measures: FamilyMeasures) -> NDArray[np.intp]:
    """The layers that become tokens: all that are trained, in their order."""
    return np.flatnonzero([layer.kind in _KINDS for layer in measures.layers])


class FeatureTable:
    """The features of any pairs of a family; what all pairs share is computed once, in O(N³) for its context."""

    def __init__(self, measures: FamilyMeasures) -> None:
        self._measures = measures
        self._layers = token_layers(measures)
        self._logs = Logs.of(measures, self._layers)
        self._steady = steadiness_of_all(measures, self._layers, self._logs)
        sums = trunk_sums(measures, related=THRESHOLD, kindred_share=0.0)
        self._squared = sums.squared_distance
        self._norms = sums.squared_norms
        self._relative = relative_distance(sums)
        self._related = self._relative < THRESHOLD
        np.fill_diagonal(self._related, val=False)
        self._ranks = _rank_sums(measures)
        self._positions = np.arange(len(measures.members))
        relatives = np.maximum(self._related.sum(axis=1), 1)
        self._pull = np.stack([np.where(self._related, one, 0.0).sum(axis=1) / relatives for one in self._steady])

    def features(self, pairs: Pairs, layers: NDArray[np.intp] | None = None) -> PairFeatures:
        """The features of some pairs of positions; `layers` are indices into `token_layers`, all by default."""
        i, j = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        rows = np.arange(len(self._layers)) if layers is None else layers
        even, odd, there = self._tokens(i, j, rows)
        pair_even, pair_odd = self._pair(i, j)
        context_even, context_odd = self._context(i, j)
        return PairFeatures(even, odd, there, pair_even, pair_odd, context_even, context_odd)

    def _tokens(
        self, i: NDArray[np.intp], j: NDArray[np.intp], rows: NDArray[np.intp]
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        measures, logs = self._measures, self._logs
        layers = self._layers[rows]
        at, a, b = layers[:, None], i[None, :], j[None, :]
        squared = measures.squared_distance[at, a, b]
        na, nb = measures.squared_norm[at, a], measures.squared_norm[at, b]
        there = np.isfinite(squared) & (measures.count[at, a] > 0) & (measures.count[at, b] > 0)
        both = na + nb
        step = np.sqrt(np.maximum(squared / np.maximum(both, _FLOOR), 1e-12))
        sizes = np.array([measures.layers[layer].size for layer in layers], dtype=np.float64)
        all_sizes = np.array([measures.layers[layer].size for layer in self._layers], dtype=np.float64)
        moved = np.where(there, squared, 0.0)
        total = np.maximum(moved.sum(axis=0), _FLOOR)
        rank = measures.rank[at, a, b].astype(np.float64)
        full = np.maximum(measures.full_rank[layers], 1)[:, None]
        equal = measures.equal[at, a, b].astype(np.float64)
        zero_a, zero_b = logs.zeros[rows][:, i], logs.zeros[rows][:, j]
        form_a, form_b = (logs.form[at, one] for one in (a, b))
        lost_a, lost_b = (
            (np.zeros_like(squared), np.zeros_like(squared))
            if measures.lost is None
            else (measures.lost[at, a, b].astype(np.float64), measures.lost[at, b, a].astype(np.float64))
        )
        distance = np.maximum(squared, _FLOOR)
        slope = measures.slope[at, a, b].astype(np.float64)
        columns = {
            "log_relative": np.log(np.maximum(squared / np.maximum(both, _FLOOR), 1e-12)),
            "cosine": (both - squared) / np.maximum(2 * np.sqrt(na * nb), _FLOOR),
            "movement": np.log(np.maximum(moved / total, 1e-12)) - np.log(sizes / sizes.sum())[:, None],
            "rank_share": np.where(rank >= 0, rank / full, 0.0),
            "rank_unknown": rank < 0,
            "equal": equal,
            "equal_unknown": ~np.isfinite(equal),
            "same": squared == 0,
            "lost": (lost_a + lost_b) / distance,
            "zeros": zero_a + zero_b,
            "form": form_a + form_b,
            "kurtosis": logs.kurtosis[rows][:, i] + logs.kurtosis[rows][:, j],
            **{
                kind.value: np.array([float(measures.layers[layer].kind is kind) for layer in layers])[:, None]
                for kind in _KINDS
            },
            "depth": (rows / max(1, len(self._layers) - 1))[:, None],
            "aspect": _aspect(measures, layers)[:, None],
            "share": np.log(sizes / all_sizes.sum())[:, None],
        }
        differences = {name: getattr(logs, name)[rows] for name in ("norm", "kurtosis", "variance", "start")}
        change = {name: one[:, j] - one[:, i] for name, one in differences.items()}
        odd = {
            "slope": np.arcsinh(100 * slope),
            "slope_sign": np.sign(slope),
            "slope_of_step": np.arcsinh(slope / step),
            "gain": np.arcsinh((nb - na) / distance),
            "norm": np.arcsinh(100 * change["norm"]),
            "norm_of_step": np.arcsinh(change["norm"] / step),
            "kurtosis": np.arcsinh(100 * change["kurtosis"]),
            "kurtosis_of_step": np.arcsinh(change["kurtosis"] / step),
            "variance": np.arcsinh(change["variance"] / step),
            "start": np.arcsinh(change["start"] / step),
            "zeros": zero_b - zero_a,
            "form": form_b - form_a,
            "lost": (lost_b - lost_a) / distance,
            "outliers": logs.outliers[rows][:, j] - logs.outliers[rows][:, i],
        }
        still = squared == 0
        odd = {name: np.where(still, 0.0, one) for name, one in odd.items()}
        return _stacked(columns, TOKEN_EVEN, there), _stacked(odd, TOKEN_ODD, there), there.T

    def _pair(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> tuple[Floats, Floats]:
        measures, logs = self._measures, self._logs
        relative = np.where(np.isfinite(self._relative[i, j]), self._relative[i, j], 1.0)
        norms = np.maximum(self._norms[i, j], _FLOOR)
        here = measures.count[self._layers] > 0
        both = (here[:, i] & here[:, j]).sum(axis=0)
        lacks_a, lacks_b = (here[:, j] & ~here[:, i]).sum(axis=0), (here[:, i] & ~here[:, j]).sum(axis=0)
        either = np.maximum(both + lacks_a + lacks_b, 1)
        zeros, form = logs.all_zeros, logs.mean_form
        low, same, equal = self._shares(i, j)
        steady = self._steady[:, i, j]
        more = zeros[j] - zeros[i]
        even = {
            "log_relative": np.log(np.maximum(relative, 1e-6)),
            "cosine": 1 - np.where(np.isfinite(self._squared[i, j]), self._squared[i, j], norms) / norms,
            "low_rank": low,
            "same": same,
            "equal": equal,
            "zeros": zeros[i] + zeros[j],
            "form": form[i] + form[j],
            "missing": (lacks_a + lacks_b) / either,
            "layers": np.log(np.maximum(both, 1)),
            "estimated": np.zeros(len(i)) if measures.estimated is None else measures.estimated[i, j],
            **{f"steady_{name}": np.abs(one) for name, one in zip(STEADY, steady, strict=True)},
        }
        odd = {
            **dict(zip(STEADY, steady, strict=True)),
            "zeros": more,
            "form": form[j] - form[i],
            "missing": (lacks_b - lacks_a) / either,
            "forms_same_zeros": np.where(np.abs(more) > UNLIKE, np.sign(more), 0.0),
        }
        return _table(even, PAIR_EVEN), _table(odd, PAIR_ODD)

    def _shares(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> tuple[Floats, Floats, Floats]:
        """Of the trunk layers of each pair: the share of low rank among those that moved, of equal ones, of values."""
        measures = self._measures
        trunk = np.flatnonzero([layer.kind is LayerKind.TRUNK for layer in measures.layers])
        low, moved, same, known = (np.zeros(len(i)) for _ in range(4))
        equal, told = np.zeros(len(i)), np.zeros(len(i))
        for layer in trunk:
            squared, rank = measures.squared_distance[layer, i, j], measures.rank[layer, i, j]
            share = measures.equal[layer, i, j].astype(np.float64)
            moved += (squared > 0) & (rank >= 0)
            low += (squared > 0) & (rank >= 0) & (rank < _LOW_RANK * measures.full_rank[layer])
            known += np.isfinite(squared)
            same += squared == 0
            equal += np.nan_to_num(share)
            told += np.isfinite(share)
        return low / np.maximum(moved, 1), same / np.maximum(known, 1), equal / np.maximum(told, 1)

    def _context(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> tuple[Floats, Floats]:
        """What the relatives of a pair say; nothing where there are none. One pair at a time: N numbers each."""
        even, odd = np.zeros((len(i), len(CONTEXT_EVEN))), np.zeros((len(i), len(CONTEXT_ODD)))
        squared, ranks = self._squared, self._ranks
        for row, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
            own = squared[a, b]
            others = np.flatnonzero(
                (self._related[a] | self._related[b]) & (self._positions != a) & (self._positions != b)
            )
            to_a, to_b = squared[a, others], squared[b, others]
            told = np.isfinite(to_a) & np.isfinite(to_b) & (to_a > 0) & (to_b > 0)
            others, to_a, to_b = others[told], to_a[told], to_b[told]
            if not len(others) or not np.isfinite(own) or own <= 0:
                continue
            between = np.log(((to_a + to_b) / own).min())
            # Squares of independent steps add up: b lies between c and a where D²(c, a) = D²(c, b) + D²(b, a).
            past_b = np.exp(-np.abs(np.log(to_a / (to_b + own))) * _ADDS_UP)
            past_a = np.exp(-np.abs(np.log(to_b / (to_a + own))) * _ADDS_UP)
            near_a, near_b = float((to_a < own).sum()), float((to_b < own).sum())
            on_a, on_b = float((to_a < to_b).sum()), float((to_b < to_a).sum())
            via = ranks[a, others] + ranks[b, others]
            by_rank = np.log((via.min() + 1) / (ranks[a, b] + 1)) if np.isfinite(ranks[a, b]) else 0.0
            beyond_a, beyond_b = np.log1p(past_a.sum()), np.log1p(past_b.sum())
            even[row] = (
                *(1.0, between, beyond_a + beyond_b, np.log1p(near_a) + np.log1p(near_b)),
                *(float(np.clip(by_rank, -5, 5)), np.log(len(others))),
            )
            pull = self._pull[:, a] - self._pull[:, b]
            central = float(np.mean(np.log(to_b) - np.log(to_a)))
            odd[row] = (
                *(np.log1p(on_a) - np.log1p(on_b), np.log1p(near_a) - np.log1p(near_b), central),
                *(beyond_a - beyond_b, *pull),
            )
        return even, odd


_ADDS_UP = 20.0


def _rank_sums(measures: FamilyMeasures) -> Floats:
    """(N, N) ranks of differences over the trunk, full where unknown; what merged adapters leave adds up."""
    everyone = range(len(measures.members))
    used = compared_layers(measures, list(everyone)).any(axis=1)
    found = np.zeros((len(measures.members),) * 2)
    for layer in np.flatnonzero(used):
        rank = measures.rank[layer]
        found += np.where(rank >= 0, rank, measures.full_rank[layer])
    return found


def _aspect(measures: FamilyMeasures, layers: NDArray[np.intp]) -> Floats:
    shapes = [measures.layers[layer].shape for layer in layers]
    return np.array(
        [np.log(max(1, shape[0]) * shape[0] / max(1, int(np.prod(shape)))) if shape else 0.0 for shape in shapes]
    )


def _stacked(
    columns: dict[str, NDArray[np.generic]] | dict[str, Floats], names: tuple[str, ...], there: NDArray[np.bool_]
) -> Floats:
    """(p, t, f) from (t, p) columns: 0 where a layer is missing or a number is none."""
    found = np.zeros((*there.T.shape, len(names)))
    for place, name in enumerate(names):
        column = np.broadcast_to(columns[name], there.shape).astype(np.float64)
        found[:, :, place] = np.where(there & np.isfinite(column), column, 0.0).T
    return found


def _table(columns: dict[str, Floats], names: tuple[str, ...]) -> Floats:
    return np.stack([np.nan_to_num(np.asarray(columns[name], dtype=np.float64)) for name in names], axis=1)
