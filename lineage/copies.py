"""Casts, quantised and pruned copies: one node with the member that they were made from, attached at the end.

A cast differs from its source by rounding, a pruned copy by what was set to zero, and from the source's relatives by
as much as the source does: in a spanning tree the two would compete for the same neighbours, and two casts of different
models on one grid can seem nearer than their sources. So copies are taken out, the tree is made of sources, and then
each edge is given to the source or to the copy that its other end agrees with.

For a model c, its relative x and x's copy y: c descends from y if c - x holds y - x, that is if
<c - x, y - x> / ||y - x||² is near 1 and not near 0; halfway means ||c - y|| = ||c - x||. Layers that moved little tell
most, so each layer counts by its parameters over ||c - x||². Where c is pruned, only the elements that it kept tell,
and if all of them are alike in x and y, c came from y if it has y's zeros without exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from lineage.family import FamilyMeasures, LayerKind
from lineage.pruned import LOST_ROUNDING, lost_mass

# (largest ulp)² / 12 over the square of the value that is rounded, by `FamilyMeasures.form`: bf16 (twice), fp16.
ROUNDING = np.array([2.0**-14 / 12, 2.0**-14 / 12, 2.0**-20 / 12])
_BOTH, _BFLOAT16 = 0, 1  # forms: what both bf16 and fp16 hold, and bf16
_SUBNORMAL = 2.0**-50  # the largest square of what a bf16 number loses in fp16: half of the step of the smallest ones
# Int8 rounds to zero what lies within half a step: of normal numbers the share p = step / (2.5 deviations), so that its
# noise, step² / 12, is half of p² of their variance, and less of numbers with tails.
_ZEROED = (0.001, 0.05)  # such shares: a row's largest number is between a third of a deviation and sixteen
_NOISE = 0.7  # of p² of the squared norm, at the most
_LUCK = 2.0, 4.0  # standard deviations of the number of zeros: over all layers, and of one
_MOSTLY = 0.5  # of the numbers, which int8 rounds all but a few of
_FULL = 3  # the form of decoded int8: on no grid of a narrower format
_SEEN = 0.05  # of the largest rounding: what numbers that are not equal are rounded by is a quarter of it and more
_NOTHING = 1e-11  # of a squared norm: two sums of squares in float64 are equal
_EVEN = 1e-9


@dataclass(frozen=True)
class Copies:
    """The copies among some members, by positions in the family."""

    source: dict[int, int]  # of every copy
    pruned: frozenset[int]  # copies that have more zeros than their source

    def of(self, member: int) -> list[int]:
        """The copies of a source, ascending."""
        return sorted(copy for copy, source in self.source.items() if source == member)


def copies(measures: FamilyMeasures, members: Sequence[int]) -> Copies:
    """Find the casts and the pruned copies among members of one cluster (no two of them exact duplicates)."""
    chosen = list(members)
    made, quantised = _made_from(measures, chosen)
    if not made.any():
        return Copies({}, frozenset())
    sources = np.flatnonzero(~made.any(axis=1))
    squared = _sum_squared(measures, chosen)
    zeros = _trunk_zeros(measures, chosen)
    source: dict[int, int] = {}
    pruned = []
    for copy in np.flatnonzero(made.any(axis=1)):
        candidates = sources[made[copy, sources]]
        if len(candidates):
            origin = candidates[np.argmin(squared[copy, candidates])]
            source[chosen[copy]] = chosen[origin]
            if zeros[copy] > zeros[origin] and not quantised[copy, origin]:
                pruned.append(chosen[copy])
    return Copies(source, frozenset(pruned))


def _made_from(measures: FamilyMeasures, chosen: list[int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n, n): whether the first can be a copy of the second, and whether it is one in int8.

    A copy is coarser, and not farther than rounding and pruning go.
    """
    zeros = _trunk_zeros(measures, chosen)
    shares = measures.zeros[:, chosen] / np.maximum(measures.count[:, chosen], 1)
    rounded = np.ptp(shares[_trunk(measures)], axis=1).max(initial=0.0) >= _ZEROED[0]  # seldom, and else nobody is int8
    unmoved = _unmoved(measures, chosen) if rounded else np.zeros((len(chosen),) * 2, dtype=bool)
    forms, alike = np.zeros(len(chosen)), np.ones((len(chosen),) * 2, dtype=bool)
    moved, noise = np.zeros_like(alike), _Noise.none(len(chosen))
    for layer in _trunk(measures):
        here = measures.count[layer, chosen] > 0
        squared = measures.squared_distance[layer][np.ix_(chosen, chosen)]
        lost = lost_mass(measures, int(layer), chosen)
        norms = np.nan_to_num(measures.squared_norm[layer, chosen])
        own = measures.form[layer, chosen].astype(np.int64)
        forms += np.where(here, own, 0)
        rounding = _rounding(measures, layer, chosen)
        allowed = np.where(rounding.coarse, rounding.most, _NOTHING * norms[None, :])
        left = squared
        if lost is not None:  # less what the source alone has
            left, allowed = squared - lost.T, np.maximum(allowed, LOST_ROUNDING * lost.T)
        zeroed = shares[layer][:, None] - shares[layer][None, :]
        with np.errstate(invalid="ignore"):
            stepped = unmoved & (own[:, None] >= _FULL) & (zeroed >= _ZEROED[0]) & (zeroed <= _ZEROED[1])
            stepped &= rounding.unlike > _MOSTLY  # else zeros are all that was changed
            size = measures.layers[layer].size
            allowed = np.where(stepped, _noise(zeroed * size, _LUCK[1]) / size**2 * norms[None, :], allowed)
            noise.add(stepped, size, zeroed, squared / np.maximum(norms[None, :], 1e-300))
            fits = (left <= allowed) & ~(rounding.coarse & (left > 0) & (left < rounding.least))
            alike &= np.where(here[:, None] & here, fits, here[:, None] == here)
            moved |= squared > 0
    more_zeros, coarser = zeros[:, None] - zeros, forms[None, :] - forms[:, None]
    kept = zeros < measures.count[np.ix_(_trunk(measures), chosen)].sum(axis=0)
    quantised = noise.of_int8()
    alike &= quantised | (noise.count == 0)
    reduced = quantised | ((coarser >= 0) & ((more_zeros > 0) | (coarser > 0)))
    made: NDArray[np.bool_] = alike & moved & (more_zeros >= 0) & reduced & kept[:, None]
    return made, made & quantised


@dataclass
class _Noise:
    """Sums over layers that one member may hold in int8 steps of another's, (n, n)."""

    count: NDArray[np.float64]  # numbers
    zeroed: NDArray[np.float64]  # of them, by the steps
    relative: NDArray[np.float64]  # squared distances over squared norms, by numbers

    @staticmethod
    def none(members: int) -> _Noise:
        """Of no layer."""
        count, zeroed, relative = np.zeros((3, members, members))
        return _Noise(count, zeroed, relative)

    def add(
        self, here: NDArray[np.bool_], size: int, zeroed: NDArray[np.float64], relative: NDArray[np.float64]
    ) -> None:
        """Add a layer of so many numbers, for those pairs that it says something of."""
        self.count += here * size
        self.zeroed += here * size * zeroed
        self.relative += np.where(here, size * relative, 0.0)

    def of_int8(self) -> NDArray[np.bool_]:
        """Whether that much was zeroed as the distance asks for."""
        return (self.count > 0) & (self.relative * self.count <= _noise(self.zeroed, _LUCK[0]))


def _noise(zeroed: NDArray[np.float64], luck: float) -> NDArray[np.float64]:
    """The largest noise of so many numbers that were rounded to zero, times all numbers' square over their norm's."""
    likely = np.maximum(zeroed, 0.0)
    return _NOISE * (likely + luck * np.sqrt(likely)) ** 2


def _unmoved(measures: FamilyMeasures, chosen: Sequence[int]) -> NDArray[np.bool_]:
    """(n, n): whether the first's vectors are those of the second, in the same format or a narrower one.

    Files of int8 matrices hold all else as it was or in 16 bits.
    """
    unmoved = np.ones((len(chosen),) * 2, dtype=bool)
    for layer in (at for at, one in enumerate(measures.layers) if one.kind is LayerKind.VECTOR):
        here = measures.count[layer, chosen] > 0
        squared = measures.squared_distance[layer][np.ix_(chosen, chosen)]
        rounding = _rounding(measures, layer, chosen)
        with np.errstate(invalid="ignore"):
            fits = squared <= np.where(rounding.coarse, rounding.most, 0.0)
        unmoved &= np.where(here[:, None] & here, fits, here[:, None] == here)
    return unmoved


@dataclass(frozen=True)
class _Rounding:
    """What rounding of one layer to the narrower of two formats can make, (n, n): of the second to the first's."""

    coarse: NDArray[np.bool_]  # whether the first's is narrower
    most: NDArray[np.float64]  # squared distance
    least: NDArray[np.float64]  # less than this is a step that was smaller than rounding
    unlike: NDArray[np.float64]  # share of numbers that are not equal, 1 where it is not known


def _rounding(measures: FamilyMeasures, layer: int, chosen: Sequence[int]) -> _Rounding:
    own = measures.form[layer, chosen].astype(np.int64)
    norms = np.nan_to_num(measures.squared_norm[layer, chosen])
    most = ROUNDING[np.clip(own, 0, len(ROUNDING) - 1)][:, None] * norms[None, :]
    unlike = 1 - np.nan_to_num(measures.equal[layer][np.ix_(chosen, chosen)])
    # A bf16 model in fp16 is the same but for its smallest numbers, which lose the more the smaller they are.
    small = (own[:, None] == _BOTH) & (own[None, :] == _BFLOAT16)
    least = np.where(small, 0.0, _SEEN * most * unlike)
    most = np.where(small, measures.layers[layer].size * _SUBNORMAL, most)
    return _Rounding((own[:, None] >= 0) & (own[:, None] < own[None, :]), most, least, unlike)


@dataclass(frozen=True)
class Speakers:
    """Whom n sources would be joined to, of another one and its copies; both by [c, x], c and x as rows of sources."""

    who: NDArray[np.int64]  # (n, n) positions in the family: x or a copy of x
    share: NDArray[np.float64]  # (n, n) how likely it is that one, and no other of x and its copies


def stand_ins(measures: FamilyMeasures, sources: Sequence[int], found: Copies) -> Speakers:
    """Who of x and x's copies each source c was trained from, and how sure that is.

    With Gaussian steps, the log-likelihood of a parent y is -sum over layers of size ||c - y||² / (2 ||c - x||²), and
    a share is that of one likelihood in the sum of all. Which of two equally near ones it was, zeros say.
    """
    chosen = list(sources)
    place = {member: index for index, member in enumerate(chosen)}
    who = np.tile(np.array(chosen, dtype=np.int64), (len(chosen), 1))
    share = np.ones((len(chosen),) * 2)
    for source in sorted(set(found.source.values())):
        family = [source, *found.of(source)]
        distance, slack, kept_zeros = _weighed(measures, chosen, family)
        clear = distance + slack
        clear[0] = distance[0]
        nearest = clear.argmin(axis=0)
        even = distance <= distance[0] * (1 + _EVEN) + slack
        for index, copy in enumerate(family):
            if copy in found.pruned:
                nearest = np.where((nearest == 0) & even[index] & kept_zeros[index], index, nearest)
        own = place[source]
        who[:, own] = np.array(family)[nearest]
        who[own, own] = source
        share[:, own] = _share(distance, slack, nearest, np.array([one in found.pruned for one in family]))
        share[own, own] = 1.0
    return Speakers(who, share)


def _share(
    distance: NDArray[np.float64], slack: NDArray[np.float64], nearest: NDArray[np.intp], pruned: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n,) the likelihood of the chosen one of f over that of all; of a pruned one that is as near, zeros have told."""
    own = distance[nearest, np.arange(distance.shape[1])]
    told = (pruned[:, None] | pruned[nearest]) & (np.abs(distance - own) <= own * _EVEN + slack)
    log = np.where(told, -np.inf, (own - distance) / 2)
    log[nearest, np.arange(distance.shape[1])] = 0.0
    found: NDArray[np.float64] = np.exp(-logsumexp(log, axis=0))
    return found


def _weighed(
    measures: FamilyMeasures, chosen: list[int], family: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """(f, n) squared distances of a source (first) and its copies from others, their rounding, and who keeps all zeros.

    Over elements that the other has, and over layers by their parameters over the squared distance from the source.
    """
    distance = np.zeros((len(family), len(chosen)))
    slack, misses = np.zeros_like(distance), np.zeros_like(distance)
    sparse, missing = np.zeros(len(chosen), dtype=bool), np.zeros(distance.shape, dtype=bool)
    told = [at for at, layer in enumerate(measures.layers) if layer.kind in (LayerKind.TRUNK, LayerKind.VECTOR)]
    for layer in told:
        squared = measures.squared_distance[layer][np.ix_(family, chosen)]
        rounding = np.zeros(len(chosen))
        if measures.lost is not None:
            lost = np.nan_to_num(measures.lost[layer].astype(np.float64))
            squared = np.maximum(squared - lost[np.ix_(family, chosen)], 0.0)
            rounding = LOST_ROUNDING * lost[family[0], chosen]
            misses += lost[np.ix_(chosen, family)].T
            sparse |= measures.zeros[layer, chosen] > 0
        if (measures.count[layer, family] == 0).any():
            continue
        missing |= np.isnan(squared) & (measures.count[layer, chosen] > 0)
        squared = np.nan_to_num(squared)
        norm = float(measures.squared_norm[layer, family[0]])
        weight = measures.layers[layer].size / np.maximum(squared[0], max(_EVEN * norm, 1e-300))
        distance += squared * weight
        slack += 2 * rounding * weight
    # Whom another was not measured against it is not joined to, unless it was measured against none of them.
    few = missing.any(axis=0)
    distance[:, few] = np.where(missing & ~missing.all(axis=0), np.inf, 0.0)[:, few]
    slack[:, few] = 0.0
    return distance, slack, (misses == 0) & sparse


def _trunk(measures: FamilyMeasures) -> list[int]:
    return [at for at, layer in enumerate(measures.layers) if layer.kind is LayerKind.TRUNK]


def _trunk_zeros(measures: FamilyMeasures, chosen: list[int]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = measures.zeros[np.ix_(_trunk(measures), chosen)].sum(axis=0)
    return found


def _sum_squared(measures: FamilyMeasures, chosen: list[int]) -> NDArray[np.float64]:
    found = np.zeros((len(chosen),) * 2)
    for layer in _trunk(measures):
        found += np.nan_to_num(measures.squared_distance[layer][np.ix_(chosen, chosen)])
    return found
