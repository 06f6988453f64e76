"""Requests made of spans: what must hold for any spans, and what is cheap."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.coalesce import Piece, Request, Span, coalesce

SPANS = st.lists(
    st.builds(
        lambda file, start, size: Span(file, start, start + size),
        st.sampled_from("ab"),
        st.integers(0, 300),
        st.integers(0, 120),
    ),
    max_size=12,
)


@given(spans=SPANS, gap=st.integers(0, 40), largest=st.integers(1, 150))
def test_every_byte_of_every_span_comes_once_within_all_bounds(spans: list[Span], gap: int, largest: int) -> None:
    requests = coalesce(spans, gap, largest)
    came: list[list[int]] = [[] for _ in spans]
    for request in requests:
        assert 0 < request.stop - request.start <= largest
        assert [piece.start for piece in request.pieces] == sorted(piece.start for piece in request.pieces)
        wanted = set()
        for piece in request.pieces:
            assert spans[piece.span].file == request.file
            assert request.start <= piece.start < piece.stop <= request.stop
            came[piece.span] += range(piece.start, piece.stop)
            wanted.update(range(piece.start, piece.stop))
        # It begins and ends with bytes that are wanted, so it never leaves the spans, and wastes no more than allowed.
        assert {request.start, request.stop - 1} <= wanted
        assert all(after - before <= gap + 1 for before, after in pairwise(sorted(wanted)))
    for span, bytes_ in zip(spans, came, strict=True):
        assert sorted(bytes_) == list(range(span.start, span.stop))


@given(spans=SPANS, gap=st.integers(0, 40), largest=st.integers(1, 150))
def test_no_byte_is_asked_for_twice(spans: list[Span], gap: int, largest: int) -> None:
    for one, other in pairwise(coalesce(spans, gap, largest)):
        assert one.file != other.file or one.stop <= other.start


def test_neighbours_share_a_request_and_strangers_do_not() -> None:
    spans = [Span("f", 0, 10), Span("f", 12, 20), Span("f", 100, 110), Span("g", 20, 30)]
    assert coalesce(spans, 2, 1000) == [
        Request("f", 0, 20, (Piece(0, 0, 10), Piece(1, 12, 20))),
        Request("f", 100, 110, (Piece(2, 100, 110),)),
        Request("g", 20, 30, (Piece(3, 20, 30),)),
    ]


def test_what_is_large_comes_in_pieces_of_about_one_size() -> None:
    (one, *_), sizes = (requests := coalesce([Span("f", 5, 1005)], 0, 300)), [r.stop - r.start for r in requests]
    assert one.start == 5
    assert sizes == [250] * 4


def test_nothing_is_asked_for_nothing() -> None:
    assert coalesce([], 0, 1) == coalesce([Span("f", 7, 7)], 0, 1) == []


@pytest.mark.parametrize(("gap", "largest", "stop"), [(-1, 1, 5), (0, 0, 5), (0, 1, 3)])
def test_bounds_that_make_no_sense_are_refused(gap: int, largest: int, stop: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        coalesce([Span("f", 4, stop)], gap, largest)
