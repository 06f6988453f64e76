"""Bytes of the members' tensors, from any source that has them.

Large layers are read a block at a time. Of small ones there are many, next to each other in their files: a run of them
is read at once for all members, so that a source can ask for neighbours together, and held until it was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lineage.stored_tensor import StoredTensor

SMALL = 1 << 20  # bytes per member: requests for more are few enough, and worth reading ahead block by block
PER_TENSOR = 2 << 10  # bytes that a tensor costs in memory beside its own while it is read and held


@dataclass(frozen=True, eq=False)
class Part:
    """Bytes that are wanted of a repository's file at a commit: from `start` on, as many as the buffer takes."""

    name: str
    sha: str
    path: str
    start: int
    buffer: memoryview


class Unread(Protocol):
    """Why bytes could not be had, as the source says it; the tensor's name is written into it."""

    tensor: str | None


Why = TypeVar("Why", bound=Unread)
Why_co = TypeVar("Why_co", bound=Unread, covariant=True)


class ByteSource(Protocol[Why_co]):
    """What `crawler` sources offer."""

    @property
    def request_bytes(self) -> int:
        """The least that is worth a request of its own."""

    def read_many(self, parts: Sequence[Part]) -> Sequence[Why_co | None]:
        """Fill the buffers; for each part, in order, why that failed, or None. One part's failure stops no other."""


class Revision(Protocol):
    """A member as far as its bytes are concerned."""

    @property
    def revision_id(self) -> int:
        """Its id in the catalogue."""

    @property
    def name(self) -> str:
        """The repository."""

    @property
    def sha(self) -> str:
        """The commit."""


class MemberReader(Generic[Why]):
    """Reads for a LayerStream, and remembers which members cannot be read, and why.

    `members` are those of the layer that is being read, `failed` says by their number why they could not be read;
    revisions in `lost` are not read any more.
    """

    def __init__(self, source: ByteSource[Why], lost: Iterable[int]) -> None:
        self._source = source
        self._held: dict[tuple[int, str, int], tuple[Part, Why | None]] = {}  # by revision, file and first byte
        self.lost = set(lost)
        self.members: Sequence[Revision] = []
        self.failed: dict[int, Why] = {}

    def begin(self, members: Sequence[Revision]) -> None:
        """A new layer that these members have."""
        self.members, self.failed = members, {}

    def hold(self, tensors: Iterable[tuple[Revision, StoredTensor]]) -> None:
        """Read whole tensors at once and keep their bytes, or why there are none, instead of those held before."""
        self._held.clear()
        wanted = [
            (who, tensor, Part(who.name, who.sha, tensor.file, tensor.start, _room(tensor)))
            for who, whole in tensors
            for tensor in whole.pieces
            if who.revision_id not in self.lost
        ]
        found = self._source.read_many([part for _, _, part in wanted]) if wanted else []
        for (who, tensor, part), why in zip(wanted, found, strict=True):
            self._held[who.revision_id, tensor.file, tensor.start] = part, why

    def __call__(self, member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        """Fill `buffer` from byte `start` of the file on; False where the member cannot be read."""
        who = self.members[member]
        if who.revision_id in self.lost or member in self.failed:
            return False
        held = self._held.get((who.revision_id, tensor.file, tensor.start))
        if held is not None:
            part, why = held
            buffer[:] = part.buffer[start - part.start : start - part.start + len(buffer)]
        else:
            (why,) = self._source.read_many([Part(who.name, who.sha, tensor.file, start, buffer)])
        if why is not None:
            why.tensor = tensor.name
            self.failed[member] = why
        return why is None


def held_bytes(tensors: Sequence[StoredTensor]) -> int | None:
    """What holding a layer takes in memory; None where a member's tensor is too large for that."""
    sizes = [piece.stop - piece.start for tensor in tensors for piece in tensor.pieces]
    return None if max(sizes, default=0) > SMALL else sum(sizes) + PER_TENSOR * len(sizes)


def _room(tensor: StoredTensor) -> memoryview:
    return memoryview(bytearray(tensor.stop - tensor.start))
