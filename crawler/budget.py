"""Permits to ask the Hub: one budget per endpoint, account and bucket, for all threads, processes and machines.

Before each request a permit is taken, and after it what the reply said is learnt. Permits come from a ledger several
at a time, so that in a burst not every request costs a question there: one at first, twice as many whenever the last
were used up in time. Whoever waits holds no lock.

A resolve that fails counts in the API's bucket, which nobody can foresee: while it is under way a permit of the API is
held as well, and used up if it fails.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from sqlalchemy import Engine

from crawler.ledger import Ledger, OwnLedger, SharedLedger, account_of
from crawler.rate_limit import BUCKETS, LONGEST_WAIT, Bucket, Report, counts_on_api, reports, retry_after
from db.quotas import ROUNDING, Grant

DEFAULT_SHARE = 0.5
MOST_PERMITS = 10  # of one lease, and with it what a killed process loses
ASK_AGAIN = 10.0  # seconds: within a longer wait others may give back, or be told of a larger quota
FIRST_REPLY = 5.0  # seconds that the first request goes alone: its reply may tell of a much smaller quota
LEARN_EVERY = 1.0  # seconds between replies that are written down although they say nothing new
FIRST_BACK_OFF, LONGEST_BACK_OFF = 5.0, 60.0  # seconds after a 429 that says nothing, doubled from one to the next

OnWait = Callable[[float, Bucket], None]
"""Told seconds and bucket when a wait begins, once for all threads of this process that wait together."""


@dataclass
class _Lane:
    """What this process knows of one bucket; times are time.monotonic's."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    asking: bool = False  # somebody is asking the ledger
    permits: int = 0
    grant: Grant | None = None
    good_until: float = 0.0
    wanted: int = 1
    closed_until: float = 0.0
    told_until: float = 0.0  # up to when a wait was reported
    met: bool = False  # a reply has come
    alone_until: float = 0.0
    policy: tuple[int | None, float | None] = (None, None)
    learnt_at: float = -LEARN_EVERY
    refusals: int = 0  # 429s in a row that did not say for how long
    # Of the resolvers alone: permits of the API, one for each resolve under way, in case it fails and counts there.
    held: list[_Held] = field(default_factory=list)
    under_way: list[_Held] = field(default_factory=list)
    out_of_date: list[_Held] = field(default_factory=list)
    none_until: float = 0.0  # no more are to be had


@dataclass(frozen=True)
class _Held:
    grant: Grant
    good_until: float


class Budget:
    """The permits of one account at one endpoint. Close it, or use it in a `with`."""

    def __init__(self, ledger: Ledger, *, on_wait: OnWait | None = None) -> None:
        self._ledger = ledger
        self._on_wait = on_wait
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._closed = False
        self._lanes: dict[Bucket, _Lane] = {bucket: _Lane() for bucket in BUCKETS}

    @property
    def account(self) -> str:
        """Whose quota it is: "anonymous" or a digest of the token."""
        return self._ledger.account

    def take(self, bucket: Bucket) -> None:
        """Returns when one request may leave.

        Raises what SQLAlchemy raises where the database is gone, and RuntimeError once the budget is closed, also
        where it is closed while this waits.
        """
        if self._process != os.getpid():
            self._begin()  # after a fork: what was leased is the parent's
        lane = self._lanes[bucket]
        while (missing := self._missing(lane, bucket)) is not None:
            self._ask(lane, bucket, missing)

    def learn(self, bucket: Bucket, headers: Mapping[str, str], status: int, elapsed: float = 0.0) -> None:
        """Takes in the reply to a request of this bucket that left `elapsed` seconds ago; status 0: no reply came.

        Look-ups in `headers` ignore case or are lower. Raises as `take` does.
        """
        lane = self._lanes[bucket]
        try:
            if status:
                self._take_in(lane, bucket, headers, status, elapsed)
        finally:  # only now may others leave with what the first reply has told
            with lane.changed:
                self._settle(lane, bucket, headers, status)
                lane.met = lane.met or status > 0
                lane.alone_until = 0.0
                lane.changed.notify_all()

    def close(self) -> None:
        """Gives back what was leased and not used; nobody waits any longer."""
        if self._process != os.getpid():
            return
        self._closed = True
        for bucket, lane in self._lanes.items():
            with lane.changed:
                lane.out_of_date += lane.held
                lane.held = []
                lane.changed.notify_all()
            self._give_back(lane, bucket)
            self._give_back_held(lane)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _missing(self, lane: _Lane, bucket: Bucket) -> Bucket | None:
        """The bucket that this thread now asks the ledger for; None where it has, after whatever waiting, a permit."""
        with lane.changed:
            while True:
                if self._closed:
                    raise RuntimeError("the budget is closed")
                now = time.monotonic()
                closed = max(lane.closed_until, lane.alone_until) - now
                leased = lane.permits > 0 and now < lane.good_until
                covered = bucket == "api" or self._is_covered(lane, now)
                if closed > 0:
                    lane.changed.wait(closed)
                elif leased and covered:
                    lane.permits -= 1
                    lane.under_way += [lane.held.pop()] if bucket == "resolvers" else []
                    lane.alone_until = 0.0 if lane.met else now + FIRST_REPLY
                    return None
                elif lane.asking:
                    lane.changed.wait()
                elif not covered and lane.none_until > now:
                    lane.changed.wait(lane.none_until - now)
                else:
                    lane.asking = True
                    return bucket if covered else "api"

    def _is_covered(self, lane: _Lane, now: float) -> bool:
        """Whether a permit of the API is held in case a resolve fails."""
        while lane.held and lane.held[-1].good_until < now + ROUNDING:
            lane.out_of_date.append(lane.held.pop())
        return bool(lane.held)

    def _settle(self, lane: _Lane, bucket: Bucket, headers: Mapping[str, str], status: int) -> None:
        """The held permit of a resolve that succeeded covers the next one; without a reply nobody knows."""
        if bucket == "resolvers" and lane.under_way:
            held = lane.under_way.pop(0)
            if status and not counts_on_api(headers, status):
                lane.held.append(held)

    def _ask(self, lane: _Lane, bucket: Bucket, missing: Bucket) -> None:
        """Asks the ledger for permits of the bucket that is missing, or how long there will be none."""
        asked = time.monotonic()
        held = missing != bucket
        wanted = 1 if held else self._wanted(lane, asked)
        grant = None
        try:
            self._give_back_held(lane)
            grant = self._ledger.lease(missing, wanted, held=held)
        finally:
            with lane.changed:
                lane.asking = False
                if held and grant is not None:
                    self._hold(lane, grant, asked)
                elif not held:
                    self._fill(lane, grant, asked)
                lane.changed.notify_all()
        if not grant.permits:
            self._report(lane, bucket, asked, grant.wait)

    def _wanted(self, lane: _Lane, now: float) -> int:
        """Twice as many as the last time where those were used up in time, else as many as were."""
        if lane.grant is not None:
            in_time = lane.permits == 0 and now < lane.good_until
            lane.wanted = min(2 * lane.wanted, MOST_PERMITS) if in_time else max(lane.grant.permits - lane.permits, 1)
        return lane.wanted

    def _fill(self, lane: _Lane, grant: Grant | None, asked: float) -> None:
        lane.grant, lane.permits = grant, grant.permits if grant else 0
        if grant is not None:
            lane.good_until = asked + grant.valid
            lane.closed_until = lane.closed_until if grant.permits else asked + min(grant.wait, ASK_AGAIN)

    def _hold(self, lane: _Lane, grant: Grant, asked: float) -> None:
        if grant.permits:
            lane.held.append(_Held(grant, asked + grant.valid))
        else:
            lane.none_until = asked + min(grant.wait, ASK_AGAIN)

    def _give_back_held(self, lane: _Lane) -> None:
        with lane.changed:
            old, lane.out_of_date = lane.out_of_date, []
        for held in old:
            if time.monotonic() < held.good_until:
                self._ledger.give_back("api", 1, held.grant)

    def _take_in(self, lane: _Lane, bucket: Bucket, headers: Mapping[str, str], status: int, elapsed: float) -> None:
        said = reports(headers, bucket)
        if status == 429:
            blocked = self._blocked(lane, bucket, headers, said)
        else:
            blocked, lane.refusals = {}, 0
        for one in said.keys() | blocked.keys():
            report = said.get(one, Report())
            if one in blocked:
                self._give_back(self._lanes[one], one)
            if one in blocked or self._is_news(self._lanes[one], report):
                self._ledger.learn(one, report, blocked=blocked.get(one), elapsed=elapsed)

    def _report(self, lane: _Lane, bucket: Bucket, now: float, wait: float) -> None:
        if now + wait > lane.told_until + ROUNDING:
            lane.told_until = now + wait
            if self._on_wait is not None:
                self._on_wait(wait, bucket)

    def _give_back(self, lane: _Lane, bucket: Bucket) -> None:
        with lane.changed:
            permits, grant = lane.permits, lane.grant
            lane.permits = 0
            in_time = time.monotonic() < lane.good_until
        if permits and grant is not None and in_time:
            self._ledger.give_back(bucket, permits, grant)

    def _blocked(
        self, lane: _Lane, bucket: Bucket, headers: Mapping[str, str], said: Mapping[Bucket, Report]
    ) -> dict[Bucket, float]:
        """Seconds in which, after a 429, nobody asks: in the bucket that was asked and in those that are used up."""
        waits = {
            one: report.reset + ROUNDING
            for one, report in said.items()
            if report.remaining == 0 and report.reset is not None
        }
        asked = retry_after(headers)
        if asked is not None:
            waits[bucket] = max(waits.get(bucket, 0.0), asked + ROUNDING)
        if waits:
            lane.refusals = 0
            return {**waits, bucket: max(waits.values())}
        lane.refusals += 1
        return {bucket: min(FIRST_BACK_OFF * 2 ** min(lane.refusals - 1, 10), LONGEST_BACK_OFF, LONGEST_WAIT)}

    def _is_news(self, lane: _Lane, report: Report) -> bool:
        """Whether what a reply said is worth a question to the database."""
        now, policy = time.monotonic(), (report.quota, report.window)
        with lane.changed:
            low = report.remaining is not None and report.remaining <= MOST_PERMITS
            if policy == lane.policy and not low and now < lane.learnt_at + LEARN_EVERY:
                return False
            lane.policy, lane.learnt_at = policy, now
            return True


def shared_budget(
    engine: Engine, endpoint: str, token: str | None, *, share: float = DEFAULT_SHARE, on_wait: OnWait | None = None
) -> Budget:
    """The budget that all workers on this database have together. Raises ValueError unless 0 < share <= 1."""
    return Budget(SharedLedger(engine, endpoint.rstrip("/"), account_of(token), share), on_wait=on_wait)


def own_budget(token: str | None, *, share: float = DEFAULT_SHARE, on_wait: OnWait | None = None) -> Budget:
    """A budget of this process alone, where there is no database. Raises as `shared_budget` does."""
    return Budget(OwnLedger(account_of(token), share), on_wait=on_wait)
