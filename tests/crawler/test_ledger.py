"""The two ledgers keep the same rules: one in PostgreSQL by its clock, one in this process by the test's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from quota_database import database, emptied
from sqlalchemy import Engine, text

from crawler.ledger import ANONYMOUS, Ledger, OwnLedger, SharedLedger, account_of
from crawler.rate_limit import Bucket, Report
from db.quotas import DEAD, ROUNDING

ENDPOINT = "https://huggingface.co"
Pass = Callable[[float], None]


@pytest.fixture(scope="module")
def database_engine(server: str) -> Iterator[Engine]:
    with database(server, "ledgers") as engine:
        yield engine


@pytest.fixture
def engine(database_engine: Engine) -> Engine:
    return emptied(database_engine)


@pytest.fixture(params=["shared", "own"])
def kept(request: pytest.FixtureRequest) -> tuple[Ledger, Pass]:
    """A ledger with a share of one half, and what lets its time pass."""
    if request.param == "own":
        now = [1000.0]
        return OwnLedger(ANONYMOUS, 0.5, lambda: now[0]), lambda seconds: now.__setitem__(0, now[0] + seconds)
    engine: Engine = request.getfixturevalue("engine")
    return SharedLedger(engine, ENDPOINT, ANONYMOUS, 0.5), lambda seconds: pass_time(engine, seconds)


def pass_time(engine: Engine, seconds: float) -> None:
    """What lies ahead comes nearer."""
    with engine.begin() as connection:
        step = "make_interval(secs => :seconds)"
        connection.execute(
            text(f"UPDATE quotas SET resets_at = resets_at - {step}, blocked_until = blocked_until - {step}"),
            {"seconds": seconds},
        )


def tell(
    ledger: Ledger, bucket: Bucket = "api", *, blocked: float | None = None, ago: float = 0, **said: float
) -> None:
    ledger.learn(bucket, Report(**said), blocked=blocked, elapsed=ago)  # type: ignore[arg-type]


def drain(ledger: Ledger, bucket: Bucket = "api") -> int:
    taken = 0
    while permits := ledger.lease(bucket, 10).permits:
        assert 1 <= permits <= 10
        taken += permits
    return taken


def test_half_of_the_documented_quota_leaves_in_a_window_and_again_in_the_next(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    assert drain(ledger, "resolvers") == 1500
    assert drain(ledger) == 240  # ten are kept for resolves that fail
    grant = ledger.lease("api", 10)
    assert grant.permits == 0
    assert 300 < grant.wait <= 300 + ROUNDING
    pass_seconds(300.5)
    assert ledger.lease("api", 10).permits == 0
    pass_seconds(0.6)
    assert ledger.lease("api", 3).permits == 3


def test_what_the_hub_tells_replaces_the_documented_quota(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    assert ledger.lease("api", 1).permits == 1
    tell(ledger, quota=16, window=60, remaining=15, reset=20)
    assert drain(ledger) == 7
    assert 20 < ledger.lease("api", 1).wait <= 20 + ROUNDING
    pass_seconds(20.9)
    assert ledger.lease("api", 1).permits == 0
    pass_seconds(0.2)
    assert drain(ledger) == 8


def test_until_a_reply_tells_of_the_new_window_permits_come_one_by_one(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    ledger.lease("api", 1)
    tell(ledger, quota=500, window=300, remaining=499, reset=100)
    assert ledger.lease("api", 10).permits == 10
    pass_seconds(102)
    assert ledger.lease("api", 10).permits == 1
    tell(ledger, remaining=499, reset=299)
    assert ledger.lease("api", 10).permits == 10


def test_when_others_have_used_the_quota_a_part_is_left_to_them(kept: tuple[Ledger, Pass]) -> None:
    ledger, _ = kept
    ledger.lease("api", 1)
    tell(ledger, quota=100, window=300, remaining=14, reset=100)
    assert drain(ledger) == 4
    tell(ledger, remaining=90, reset=100)
    assert drain(ledger) == 0  # a reply that was overtaken


def test_after_a_429_nobody_gets_a_permit_before_its_time(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    ledger.lease("api", 1)
    tell(ledger, blocked=55)
    tell(ledger, blocked=5)
    grant = ledger.lease("api", 10)
    assert grant.permits == 0
    assert 54 < grant.wait <= 55
    assert ledger.lease("resolvers", 10).permits == 10
    pass_seconds(55.1)
    assert ledger.lease("api", 10).permits == 10


def test_no_permit_is_good_beyond_its_window_nor_given_out_at_its_very_end(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    assert 0.9 < ledger.lease("api", 1).valid <= 1
    pass_seconds(300 + ROUNDING - DEAD - 0.5)
    assert 0 < ledger.lease("api", 1).valid <= 0.5
    pass_seconds(0.6)
    assert ledger.lease("api", 1).permits == 0


def test_what_is_given_back_in_time_can_be_had_again(kept: tuple[Ledger, Pass]) -> None:
    ledger, _ = kept
    ledger.lease("api", 1)
    tell(ledger, quota=16, window=300, remaining=15, reset=100)
    grant = ledger.lease("api", 1)
    assert drain(ledger) == 6
    ledger.give_back("api", 1, grant)
    assert drain(ledger) == 1


def test_a_reply_to_a_request_of_the_window_before_says_nothing_of_this_one(kept: tuple[Ledger, Pass]) -> None:
    ledger, pass_seconds = kept
    ledger.lease("api", 1)
    pass_seconds(301.1)
    ledger.lease("api", 1)
    tell(ledger, remaining=0, reset=0, ago=5)
    grant = ledger.lease("api", 1)
    assert grant.permits == 1
    pass_seconds(250)
    assert drain(ledger) == 238


def test_what_is_spared_for_failed_resolves_can_be_held_and_for_longer(kept: tuple[Ledger, Pass]) -> None:
    ledger, _ = kept
    drain(ledger)
    grants = [ledger.lease("api", 1, held=True) for _ in range(11)]
    assert [grant.permits for grant in grants] == [1] * 10 + [0]
    assert 29 < grants[0].valid <= 30
    ledger.give_back("api", 1, grants[0])
    assert ledger.lease("api", 1).permits == 0
    assert ledger.lease("api", 1, held=True).permits == 1


STEPS = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["ask", "ask", "reply", "return"])), max_size=120)


@given(
    STEPS,
    st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.2, 0.9, 3.0, 40.0]), min_size=1, max_size=20),
    st.integers(1, 60),
    st.sampled_from([0.1, 0.5, 0.8, 1.0]),
    st.sampled_from([2, 7, 60]),
    st.floats(0, 60),
    st.sampled_from([math.floor, math.ceil]),
)
@example(
    [(0, "ask")] * 4, [0.9, 0.0], 20, 0.1, 2, 1.5, math.floor
)  # the Hub's window ends before ours: nothing leaves between
def test_whatever_the_interleaving_no_window_of_the_hub_sees_more_than_the_share(
    steps: list[tuple[int, str]],
    pauses: list[float],
    quota: int,
    share: float,
    window: int,
    phase: float,
    rounded: Callable[[float], int],
) -> None:
    now = 1000.0
    ledger = OwnLedger(ANONYMOUS, share, lambda: now)
    seen: Counter[int] = Counter()  # by the Hub's window
    leases: dict[int, tuple[int, float]] = {}
    replies: list[tuple[float, Report]] = []

    def send() -> None:
        number, into = divmod(now + phase, window)
        seen[int(number)] += 1
        left = Report(quota, window, max(quota - seen[int(number)], 0), rounded(window - into))
        replies.append((now, left))

    def hear(index: int) -> None:
        sent, report = replies.pop(index)
        ledger.learn("resolvers", report, blocked=None, elapsed=now - sent)

    ledger.lease("resolvers", 1)
    send()
    hear(0)
    for turn, (worker, action) in enumerate(steps):
        now += pauses[turn % len(pauses)]
        if action == "reply" and replies:
            hear(worker % len(replies))
        elif action == "ask":
            permits, good_until = leases.pop(worker, (0, 0.0))
            if now >= good_until or not permits:
                grant = ledger.lease("resolvers", 10)
                permits, good_until = grant.permits, now + grant.valid
            for _ in range(worker + 1):
                if permits:
                    permits -= 1
                    send()
            leases[worker] = permits, good_until
    assert max(seen.values()) <= max(1, math.floor(share * quota))


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="quota share"):
        OwnLedger(ANONYMOUS, share)


def test_an_account_is_a_digest_that_does_not_tell_the_token() -> None:
    assert account_of(None) == account_of("") == ANONYMOUS
    assert len(account_of("hf_secret")) == 12
    assert account_of("hf_secret") != account_of("hf_other")


def test_a_hub_that_tells_no_quota_has_none(engine: Engine) -> None:
    ledger = SharedLedger(engine, "https://mirror.example", ANONYMOUS, 0.5)
    for _ in range(60):
        assert ledger.lease("api", 10).permits == 10


def test_a_hub_that_tells_its_quota_late_is_believed(engine: Engine) -> None:
    ledger = SharedLedger(engine, "https://mirror.example", ANONYMOUS, 0.5)
    assert ledger.lease("api", 10).permits == 10
    ledger.learn("api", Report(quota=40, window=300.0, remaining=29, reset=200.0), blocked=None, elapsed=0.1)
    assert sum(ledger.lease("api", 10).permits for _ in range(20)) <= 10
