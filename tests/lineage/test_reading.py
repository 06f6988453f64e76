"""Reading members' tensors, small ones together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from db.errors import Failure, SourceUnreachable, Transient
from lineage.reading import PER_TENSOR, SMALL, MemberReader, Part, held_bytes
from lineage.stored_tensor import StoredTensor

BYTES = bytes(range(256))


@dataclass(frozen=True)
class Revision:
    """A member."""

    revision_id: int
    name: str
    sha: str = "0"


@dataclass
class Source:
    """Every file holds BYTES."""

    calls: list[list[tuple[str, str, int]]] = field(default_factory=list)
    broken: tuple[str, int] | None = None  # a repository, and the byte that no part of it may hold
    gone: bool = False

    def read_many(self, parts: Sequence[Part]) -> list[Failure | None]:
        if self.gone:
            raise SourceUnreachable
        self.calls.append([(part.name, part.path, part.start) for part in parts])
        return [self.fill(part) for part in parts]

    def fill(self, part: Part) -> Failure | None:
        stop = part.start + len(part.buffer)
        if self.broken is not None and part.name == self.broken[0] and part.start <= self.broken[1] < stop:
            return Transient("reset", model=part.name, file=part.path)
        part.buffer[:] = BYTES[part.start : stop]
        return None


A, B = Revision(1, "org/a"), Revision(2, "org/b")
FIRST, SECOND = StoredTensor("f", "one", "U8", 10, 20), StoredTensor("f", "two", "U8", 20, 50)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def reader(source: Source) -> MemberReader[Failure]:
    return MemberReader(source, [])


def read(reader: MemberReader[Failure], member: int, tensor: StoredTensor, start: int, stop: int) -> bytes | None:
    buffer = bytearray(stop - start)
    return bytes(buffer) if reader(member, tensor, start, memoryview(buffer)) else None


def test_what_is_held_is_not_asked_for_again(source: Source, reader: MemberReader[Failure]) -> None:
    reader.hold([(A, FIRST), (B, FIRST), (A, SECOND)])
    reader.begin([A, B])
    assert read(reader, 1, FIRST, 10, 20) == BYTES[10:20]
    assert read(reader, 0, SECOND, 25, 31) == BYTES[25:31]
    assert len(source.calls) == 1
    assert read(reader, 1, SECOND, 20, 50) == BYTES[20:50]
    assert source.calls[1:] == [[("org/b", "f", 20)]]
    reader.hold([])
    assert read(reader, 1, FIRST, 12, 14) == BYTES[12:14]
    assert len(source.calls) == 3


def test_a_tensor_that_could_not_be_read_fails_when_its_layer_comes_and_names_it(
    source: Source, reader: MemberReader[Failure]
) -> None:
    source.broken = ("org/b", 30)
    reader.hold([(who, tensor) for tensor in (FIRST, SECOND) for who in (A, B)])
    reader.begin([A, B])
    assert read(reader, 1, FIRST, 10, 20) == BYTES[10:20]
    assert reader.failed == {}
    reader.begin([B, A])
    assert read(reader, 0, SECOND, 20, 25) is None
    assert read(reader, 1, SECOND, 20, 25) == BYTES[20:25]
    assert str(reader.failed[0]).startswith("org/b f two: ")
    source.broken = None
    assert read(reader, 0, SECOND, 25, 30) is None  # what failed once in a layer has failed in all of it


def test_members_that_are_lost_are_not_read(source: Source, reader: MemberReader[Failure]) -> None:
    reader.lost.add(B.revision_id)
    reader.hold([(A, FIRST), (B, FIRST)])
    reader.begin([A, B])
    assert read(reader, 1, FIRST, 10, 20) is None
    assert reader.failed == {}
    assert source.calls == [[("org/a", "f", 10)]]
    reader.hold([(B, SECOND)])
    assert len(source.calls) == 1


def test_a_source_that_is_gone_is_raised(source: Source, reader: MemberReader[Failure]) -> None:
    source.gone = True
    with pytest.raises(SourceUnreachable):
        reader.hold([(A, FIRST)])
    reader.begin([A])
    with pytest.raises(SourceUnreachable):
        read(reader, 0, FIRST, 10, 20)


def test_layers_are_held_where_no_member_has_a_large_tensor() -> None:
    small, large = StoredTensor("f", "w", "F32", 0, SMALL), StoredTensor("f", "w", "F32", 0, SMALL + 4)
    assert held_bytes([small, FIRST]) == SMALL + 10 + 2 * PER_TENSOR
    assert held_bytes([small, large]) is None
    assert held_bytes([]) == 0
