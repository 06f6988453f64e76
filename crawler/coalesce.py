"""Which requests fetch which bytes: neighbours together, what is large in several pieces. Pure.

A request costs a round trip, so that parts of a file that lie close together are cheaper in one, with the bytes
between them wasted; a large part comes sooner in several requests at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Span:
    """Bytes [start, stop) of a file that are wanted."""

    file: Hashable
    start: int
    stop: int


@dataclass(frozen=True)
class Piece:
    """Bytes [start, stop) of the file that a request brings and that belong to span number `span`."""

    span: int
    start: int
    stop: int


@dataclass(frozen=True)
class Request:
    """Bytes [start, stop) of a file to be asked for at once, and whose they are; pieces are ordered by their start."""

    file: Hashable
    start: int
    stop: int
    pieces: tuple[Piece, ...]


def coalesce(spans: Sequence[Span], gap: int, largest: int) -> list[Request]:
    """Requests of at most `largest` bytes that bring every byte of every span once, file by file, in order.

    At most `gap` bytes in a row are asked for that no span wants. Spans may overlap, be equal or be empty. Raises
    ValueError where `gap` is negative, `largest` is not positive or a span ends before it starts.
    """
    if gap < 0 or largest < 1 or any(span.start > span.stop for span in spans):
        raise ValueError("a gap of at least 0, requests of at least 1 byte and spans that end after they start")
    files: dict[Hashable, list[int]] = defaultdict(list)
    for number, span in enumerate(spans):
        if span.start < span.stop:
            files[span.file].append(number)
    requests = []
    for file, numbers in files.items():
        numbers.sort(key=lambda number: (spans[number].start, spans[number].stop))
        bounds = list(_bounds((spans[number] for number in numbers), gap, largest))
        starts = [start for start, _ in bounds]
        pieces: list[list[Piece]] = [[] for _ in bounds]
        for number in numbers:
            span = spans[number]
            at = bisect_right(starts, span.start) - 1
            while at < len(bounds) and bounds[at][0] < span.stop:
                start, stop = bounds[at]
                pieces[at].append(Piece(number, max(start, span.start), min(stop, span.stop)))
                at += 1
        requests += [
            Request(file, start, stop, tuple(sorted(own, key=lambda piece: piece.start)))
            for (start, stop), own in zip(bounds, pieces, strict=True)
        ]
    return requests


def _bounds(spans: Iterable[Span], gap: int, largest: int) -> Iterator[tuple[int, int]]:
    """Disjoint [start, stop) in order that cover the union of the spans, which come ordered by their start."""
    start = stop = -1
    for span in spans:
        begin = max(span.start, stop)  # what lies before has been covered by the spans before
        if begin >= span.stop:
            continue
        if start >= 0 and begin - stop <= gap and span.stop - start <= largest:
            stop = span.stop
            continue
        if start >= 0:
            yield start, stop
        count = -(-(span.stop - begin) // largest)
        cuts = [begin + (span.stop - begin) * n // count for n in range(count + 1)]
        *whole, (start, stop) = pairwise(cuts)
        yield from whole
    if start >= 0:
        yield start, stop
