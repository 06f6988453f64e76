"""What inference knows of one family: numbers computed from weights, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class LayerKind(StrEnum):
    """What part of a network a tensor is."""

    TRUNK = "trunk"  # two or more dimensions, shared by the family: what distances are measured on
    VECTOR = "vector"  # biases and normalisation parameters
    HEAD = "head"  # task heads and unembeddings: often new for a child
    BUFFER = "buffer"  # integers, running statistics, constant tables: compared for equality only


@dataclass(frozen=True)
class Layer:
    """One canonical tensor of a family."""

    name: str
    shape: tuple[int, ...]
    kind: LayerKind

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class FamilyMeasures:
    """The stored measures of one family of N members and L layers, as arrays.

    Where a member lacks a layer, `count` is 0, `digest` is b"", and its other numbers and its pairs' numbers are NaN.
    """

    members: tuple[int, ...]  # N opaque ids, ascending
    layers: tuple[Layer, ...]  # L
    count: NDArray[np.int64]  # (L, N) elements
    squared_norm: NDArray[np.float64]  # (L, N)
    variance: NDArray[np.float64]  # (L, N)
    kurtosis: NDArray[np.float64]  # (L, N) fourth central moment over squared variance, not the excess
    zeros: NDArray[np.int64]  # (L, N) elements equal to zero
    outliers: NDArray[np.int64]  # (L, N) elements beyond six standard deviations of their stride of 4,096
    form: NDArray[np.int8]  # (L, N) the narrowest of `lineage.digest.FORMS` that holds all values; -1: none
    digest: tuple[tuple[bytes, ...], ...]  # L x N: hash of the values, whatever their dtype
    squared_distance: NDArray[np.float64]  # (L, N, N) symmetric, zero diagonal
    slope: NDArray[np.float32]  # (L, N, N) antisymmetric: [l, i, j] > 0 says "i is the parent of j"; NaN: not measured
    rank: NDArray[np.int32]  # (L, N, N) symmetric numerical rank of the difference of matrices; -1: not measured
    equal: NDArray[np.float32]  # (L, N, N) share of the window of `lineage.slope` that is equal in two; NaN: no window
    # (L, N, N) [l, i, j]: squares of i where j is exactly zero; 0 where they are, both ways together, at most a
    # thousandth of the squared distance. None: they are so everywhere.
    lost: NDArray[np.float32] | None = None
    # (N, N) pairs whose squared distances are estimates from sketches, slopes and ranks unknown; None: there are none.
    estimated: NDArray[np.bool_] | None = None
    # (L,) the standard error of an estimated squared distance, over that distance, at most.
    estimate_error: NDArray[np.float64] | None = None

    @cached_property
    def full_rank(self) -> NDArray[np.int64]:
        """(L,) the largest rank that a difference can have in each layer (tensors are seen as rows x the rest)."""
        shapes = [layer.shape if len(layer.shape) > 1 else (1, *layer.shape) for layer in self.layers]
        return np.array([min(shape[0], math.prod(shape[1:])) for shape in shapes], dtype=np.int64)
