"""Who keeps count of a Hub's quota: PostgreSQL for all workers together, or one process for itself."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine

from crawler.rate_limit import Bucket, Report
from db import quotas
from db.quotas import DEAD, HELD_SECONDS, KEPT_FOR_OTHERS, LEASE_SECONDS, MOST_SPARE, ROUNDING, UNLIMITED, Grant

ANONYMOUS = "anonymous"
_WINDOW = 300.0  # seconds
PUBLIC_HUB = "huggingface.co"
# Of the public Hub, by whether there is a token (https://huggingface.co/docs/hub/rate-limits); other Hubs have none
# until they tell one.
_DEFAULTS: dict[bool, dict[Bucket, int]] = {
    False: {"api": 500, "resolvers": 3_000},
    True: {"api": 1_000, "resolvers": 5_000},
}


def account_of(token: str | None) -> str:
    """What stands for a token where it is stored: a digest too short to test guesses against, else "anonymous"."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else ANONYMOUS


class Ledger(Protocol):
    """Keeps count of the quotas of one account at one endpoint; safe to use from many threads."""

    @property
    def account(self) -> str:
        """As of `account_of`."""

    def lease(self, bucket: Bucket, wanted: int, *, held: bool = False) -> Grant:
        """Up to `wanted` permits, as db.quotas.lease."""

    def give_back(self, bucket: Bucket, permits: int, grant: Grant) -> None:
        """Returns what was not used of a lease."""

    def learn(self, bucket: Bucket, report: Report, *, blocked: float | None, elapsed: float) -> None:
        """Takes in what a reply said; `blocked`: nobody asks for so many seconds."""


class SharedLedger:
    """The count in the table `quotas`; each call is a short transaction on a connection of its own."""

    def __init__(self, engine: Engine, endpoint: str, account: str, share: float) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._endpoint = endpoint
        self._account = account
        self._share = checked_share(share)

    @property
    def account(self) -> str:
        """As of `account_of`."""
        return self._account

    def lease(self, bucket: Bucket, wanted: int, *, held: bool = False) -> Grant:
        """As the protocol says. Raises what SQLAlchemy raises where the database is gone."""
        public = urlsplit(self._endpoint).hostname == PUBLIC_HUB
        default = _DEFAULTS[self._account != ANONYMOUS][bucket] if public else UNLIMITED, _WINDOW
        with self._connection() as connection:
            return quotas.lease(
                connection, self._key(bucket), share=self._share, wanted=wanted, default=default, held=held
            )

    def give_back(self, bucket: Bucket, permits: int, grant: Grant) -> None:
        """As the protocol says."""
        with self._connection() as connection:
            quotas.give_back(connection, self._key(bucket), permits, grant)

    def learn(self, bucket: Bucket, report: Report, *, blocked: float | None, elapsed: float) -> None:
        """As the protocol says."""
        with self._connection() as connection:
            quotas.learn(
                connection,
                self._key(bucket),
                quota=report.quota,
                window_s=report.window,
                remaining=report.remaining,
                reset_s=report.reset,
                blocked_s=blocked,
                elapsed_s=elapsed,
            )

    def _connection(self) -> Connection:
        return self._engine.connect()

    def _key(self, bucket: Bucket) -> quotas.Key:
        return quotas.Key(self._endpoint, self._account, bucket)


@dataclass
class _Window:
    """A row of `quotas` in memory; times are those of the ledger's clock."""

    quota: int
    window: float
    resets_at: float
    learnt: bool = False
    used: int = 0
    remaining: int | None = None
    blocked_until: float = 0.0

    @property
    def dead(self) -> float:
        return min(DEAD, (self.window + ROUNDING) * 0.75)


class OwnLedger:
    """The count of one process for itself, by the rules of db.quotas, where there is no database."""

    def __init__(self, account: str, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = account
        self._share = checked_share(share)
        self._clock = clock
        self._lock = threading.Lock()
        self._windows = {
            bucket: _Window(quota, _WINDOW, clock() + _WINDOW + ROUNDING)
            for bucket, quota in _DEFAULTS[account != ANONYMOUS].items()
        }

    @property
    def account(self) -> str:
        """As of `account_of`."""
        return self._account

    def lease(self, bucket: Bucket, wanted: int, *, held: bool = False) -> Grant:
        """As the protocol says."""
        with self._lock:
            window, now = self._windows[bucket], self._clock()
            if window.resets_at <= now:
                window.used, window.remaining, window.resets_at = 0, None, now + window.window + ROUNDING
            allowed = max(1, math.floor(window.quota * self._share))
            free = allowed - window.used - (min(MOST_SPARE, allowed // 10) if bucket == "api" and not held else 0)
            if window.remaining is not None and not held:
                kept = math.floor(window.quota * (1 - self._share) * KEPT_FOR_OTHERS)
                free = min(free, window.remaining - kept)
            valid_until = min(window.resets_at - window.dead, now + (HELD_SECONDS if held else LEASE_SECONDS))
            if (window.blocked_until > now and not held) or valid_until <= now or free < 1:
                permits = 0
            else:
                permits = 1 if window.learnt and window.remaining is None else min(wanted, max(1, free // 8))
            window.used += permits
            if window.remaining is not None:
                window.remaining -= min(permits, window.remaining)
            until = window.blocked_until if window.blocked_until > now else window.resets_at
            return Grant(permits, valid_until - now, until - now, valid_until)

    def give_back(self, bucket: Bucket, permits: int, grant: Grant) -> None:
        """As the protocol says."""
        with self._lock:
            window = self._windows[bucket]
            if isinstance(grant.valid_until, float) and self._clock() < grant.valid_until:
                window.used = max(window.used - permits, 0)
                if window.remaining is not None:
                    window.remaining += permits

    def learn(self, bucket: Bucket, report: Report, *, blocked: float | None, elapsed: float) -> None:
        """As the protocol says."""
        with self._lock:
            window, now = self._windows[bucket], self._clock()
            fresh = (
                now - elapsed >= window.resets_at - window.window - ROUNDING and now < window.resets_at - window.dead
            )
            if report.quota is not None:
                window.quota, window.learnt = report.quota, True
            if report.window is not None:
                window.window = report.window
            if fresh and report.remaining is not None:
                known = window.remaining
                window.remaining = report.remaining if known is None else min(known, report.remaining)
            if fresh and report.reset is not None:
                window.resets_at = now + report.reset + ROUNDING
            if blocked is not None:
                window.blocked_until = max(window.blocked_until, now + blocked)


def checked_share(share: float) -> float:
    """The share itself. Raises ValueError unless 0 < share <= 1."""
    if not 0 < share <= 1:
        raise ValueError(f"quota share {share}: expected more than 0 and at most 1")
    return share
