"""A member's row of the blocks of a layer: read as it is stored, and decoded in the room that it was read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import scales

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lineage.stored_tensor import Reader, StoredTensor


@dataclass(frozen=True, eq=False)
class Row:
    """A member's row of the blocks of a layer of `size` elements."""

    member: int
    tensor: StoredTensor
    steps: NDArray[np.float32] | None  # of int8 with scales
    size: int

    @property
    def usable(self) -> bool:
        """Whether its values can be told once they are read."""
        return self.tensor.scale is None or self.steps is not None

    @property
    def read_at(self) -> int:
        """Where stored bytes begin in the row's room, in bytes per element: what is to be decoded lies at its end."""
        return self.tensor.itemsize - self.tensor.stored_itemsize

    def read(self, read: Reader, start: int, into: memoryview) -> bool:
        """Read what is stored from byte `start` of the file on, as many bytes as `into` takes.

        Of what lies transposed all is read, as every stretch of it is spread over the whole.
        """
        if not self.tensor.transposed or self.steps is None:
            return read(self.member, self.tensor, start, into)
        whole = np.empty(self.size, dtype=np.int8)
        if not read(self.member, self.tensor, self.tensor.start, whole.data.cast("B")):
            return False
        found = scales.stretch_of_transposed(whole, len(self.steps), start - self.tensor.start, len(into))
        into[:] = found.data.cast("B")
        return True

    def decode(self, room: torch.Tensor, step: int, start: int, count: int) -> None:
        """Decode what was read of elements [start, start + count) into a room for `step` elements."""
        if self.steps is not None:
            first = step * self.read_at
            stored = room[first : first + count].view(torch.int8).numpy().copy()
            out = room.view(torch.float32).numpy()[:count]
            if self.tensor.transposed:
                scales.decode_transposed(stored, start, self.steps, out)
            else:
                scales.decode(stored, start, self.size // len(self.steps), self.steps, out)
