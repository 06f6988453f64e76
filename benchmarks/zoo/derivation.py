"""How weights are computed from weights without training, as data; derive.py and merge.py do it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Form = Literal["float16", "bfloat16", "int8"]
MergeMethod = Literal["average", "slerp", "task arithmetic", "layer ranges"]


@dataclass(frozen=True)
class Prune:
    """The smallest matrix elements become 0: a share `sparsity` of every tensor, or of all trunk tensors together."""

    sparsity: float
    scope: Literal["tensor", "network"] = "tensor"

    @property
    def name(self) -> str:
        """For truth.json."""
        return f"pruned {self.sparsity:g} per {self.scope}"


@dataclass(frozen=True)
class Cast:
    """Another number format: a narrower float, or bitsandbytes' int8 by rows (the rest in float16)."""

    form: Form

    @property
    def name(self) -> str:
        """For truth.json."""
        return self.form


@dataclass(frozen=True)
class Backbone:
    """The head, and the name of the backbone before all others, are left out, as a bare AutoModel is saved."""

    @property
    def name(self) -> str:
        """For truth.json."""
        return "backbone"


@dataclass(frozen=True)
class Merge:
    """Several networks made one.

    `weights` belong to the parents in their order and sum to 1, save for task arithmetic, where `base` weighs 1 less
    their sum. For layer ranges `starts` gives the first layer of each parent's range, ascending from 0; embeddings are
    the first parent's, and what follows the layers is the last one's. The head is always the first parent's.
    """

    method: MergeMethod
    parents: tuple[str, ...]
    weights: tuple[float, ...] = ()
    base: str | None = None
    starts: tuple[int, ...] = ()
