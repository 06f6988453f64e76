"""The table of quotas, by PostgreSQL's own clock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from db import quotas
from db.engine import transaction
from db.quotas import Key, QuotaStatus, status_rows

KEY = Key("https://hub.example", "anonymous", "resolvers")


def lease(engine: Engine, key: Key = KEY, wanted: int = 10, share: float = 0.5) -> int:
    with engine.connect() as connection, connection.begin():
        return quotas.lease(connection, key, share=share, wanted=wanted, default=(100, 300.0)).permits


def test_leases_at_the_same_time_never_give_more_than_the_share(engine: Engine) -> None:
    with ThreadPoolExecutor(8) as pool:
        granted = list(pool.map(lambda _: lease(engine), range(100)))
    assert sum(granted) == 50
    assert max(granted) <= 10
    with transaction(engine) as session:
        assert [row.used for row in status_rows(session)] == [50]


def test_a_lease_looks_at_the_clock_when_it_has_the_row_not_when_it_began_to_wait(engine: Engine) -> None:
    lease(engine, wanted=1)
    with engine.connect() as other, ThreadPoolExecutor(1) as pool:
        with other.begin():
            other.execute(text("UPDATE quotas SET used = 50, resets_at = clock_timestamp() + interval '0.2 s'"))
            waiting = pool.submit(lease, engine)
            other.execute(text("SELECT pg_sleep(0.4)"))
        assert waiting.result(10) > 0


def test_status_shows_every_quota_as_it_is_now(engine: Engine) -> None:
    api = Key("https://hub.example", "0123456789ab", "api")
    lease(engine)
    lease(engine, api, wanted=3)
    with engine.begin() as connection:
        quotas.learn(connection, api, quota=500, window_s=300.0, remaining=400, reset_s=100.0, blocked_s=7.0)
    with transaction(engine) as session:
        first, second = status_rows(session)
    assert first == QuotaStatus(
        endpoint="https://hub.example",
        account="0123456789ab",
        bucket="api",
        quota=500,
        window_s=300.0,
        learnt=True,
        share=0.5,
        allowed=250,
        used=3,
        remaining=400,
        resets_s=first.resets_s,
        blocked_s=first.blocked_s,
    )
    assert 99 < first.resets_s <= 101
    assert 5 < first.blocked_s <= 7
    assert (second.bucket, second.learnt, second.used, second.remaining, second.blocked_s) == (
        "resolvers", False, 6, None, 0,
    )  # fmt: skip


def test_status_shows_a_window_that_is_over_as_unused(engine: Engine) -> None:
    lease(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE quotas SET resets_at = now() - interval '1 s', remaining = 3"))
    with transaction(engine) as session:
        [row] = status_rows(session)
    assert (row.used, row.remaining, row.resets_s) == (0, None, 0)


def test_the_wall_clock_of_this_machine_plays_no_part(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    with engine.connect() as connection, connection.begin():
        grant = quotas.lease(connection, KEY, share=0.5, wanted=1, default=(100, 300.0))
    assert 0.9 < grant.valid <= 1
    assert 300 < grant.wait <= 301
