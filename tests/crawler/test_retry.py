"""Retry policies, with a clock that never really waits."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.retry import Policy, TryAgain, asked_wait, check_transient_status, transport_error
from db.errors import Transient


class Failing:
    """Raises the errors one after the other, then returns "done"."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_waits_double_up_to_a_limit() -> None:
    waits: list[float] = []
    call = Failing(*[TryAgain("x")] * 7)
    assert Policy(tries=9, sleep=waits.append).run(call) == "done"
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_the_servers_wait_is_honoured_up_to_a_limit() -> None:
    waits: list[float] = []
    assert Policy(sleep=waits.append).run(Failing(TryAgain("x", wait=55), TryAgain("x", wait=9e9))) == "done"
    assert waits == [55, 330]


def test_the_last_error_is_raised_when_tries_are_used_up() -> None:
    call = Failing(*[TryAgain("x", model="o/p")] * 9)
    with pytest.raises(Transient, match="o/p"):
        Policy(tries=4, sleep=lambda _: None).run(call)
    assert call.calls == 4


def test_an_unreachable_server_is_given_up_sooner_and_other_errors_at_once() -> None:
    unreachable, other = Failing(*[TryAgain("x", unreachable="host")] * 9), Failing(ValueError("other"))
    with pytest.raises(TryAgain):
        Policy(sleep=lambda _: None).run(unreachable)
    with pytest.raises(ValueError, match="other"):
        Policy(sleep=lambda _: None).run(other)
    assert (unreachable.calls, other.calls) == (3, 1)


NOW = datetime(2026, 10, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 56),
        ({"ratelimit": '"api";r=12;t=55'}, None),
        ({"ratelimit": '"api";r=12;t=55', "retry-after": "3"}, 4),
        ({"ratelimit": '"api";r=4;t=99, "resolvers"; t=30; R=0, "pages";r=0;t=20'}, 31),
        ({"ratelimit": '"api";r=0;t=soon', "retry-after": "3"}, 4),
        ({"retry-after": "120"}, 121),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT"}, 31),
        ({"retry-after": "Thu, 01 Oct 2026 11:00:00 GMT"}, 1),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT", "date": "Thu, 01 Oct 2026 12:00:10 GMT"}, 21),
        ({"retry-after": "Sun, 01 Oct 2006 00:00:30 GMT", "date": "Sun, 01 Oct 2006 00:00:00 GMT"}, 31),
        ({"retry-after": "Thu, 01 Oct 2026 12:00:30 GMT", "date": "today"}, 31),
        ({"retry-after": "120", "date": "Sun, 01 Oct 2006 00:00:00 GMT"}, 121),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
    ],
)
def test_a_replys_wait_is_read_from_every_header_that_may_hold_it(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked_wait(headers, NOW) == seconds


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_arbitrary_headers_never_raise(limit: str, after: str, date: str) -> None:
    wait = asked_wait({"ratelimit": limit, "retry-after": after, "date": date})
    assert wait is None or wait >= 0


@pytest.mark.parametrize(("status", "transient"), [(408, True), (429, True), (503, True), (200, False), (404, False)])
def test_statuses_are_told_apart(status: int, transient: bool) -> None:
    response = httpx2.Response(status, headers={"Retry-After": "7"}, request=httpx2.Request("GET", "http://h/x"))
    if not transient:
        check_transient_status(response)
        return
    with pytest.raises(TryAgain) as caught:
        check_transient_status(response)
    assert caught.value.wait == (None if status == 408 else 8)


def test_only_a_failure_to_connect_means_that_nobody_is_there() -> None:
    assert transport_error(httpx2.ConnectError("refused"), "h").unreachable == "h"
    assert transport_error(httpx2.ReadTimeout(""), "h").unreachable is None
    assert "no reply in time" in str(transport_error(httpx2.ReadTimeout(""), "h"))
