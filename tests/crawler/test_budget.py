"""Budgets of threads and of processes: nothing leaves beyond the share, and whoever waits is told."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from quota_database import database, emptied
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from crawler.budget import Budget, own_budget, shared_budget
from crawler.ledger import ANONYMOUS, OwnLedger, account_of
from crawler.rate_limit import Bucket
from db.engine import transaction
from db.quotas import Grant, QuotaStatus, status_rows

ENDPOINT = "https://huggingface.co"
ROOT = Path(__file__).parent.parent.parent
# A worker: takes permits until it has to wait, and prints how many it got.
WORKER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from crawler.budget import shared_budget
from db.engine import connect

class Full(Exception):
    pass

def full(seconds, bucket):
    raise Full

budget = shared_budget(connect(sys.argv[1]), "https://huggingface.co", None, on_wait=full)
taken = 0
print("ready", flush=True)
sys.stdin.readline()
try:
    for _ in range(int(sys.argv[2])):
        budget.take("resolvers")
        budget.learn("resolvers", {}, 200)
        taken += 1
except Full:
    pass
print(taken, flush=True)
sys.stdin.readline()
"""


def said(quota: int, remaining: int, reset: float = 300, window: float = 300, name: str = "api") -> dict[str, str]:
    return {
        "ratelimit": f'"{name}";r={remaining};t={reset}',
        "ratelimit-policy": f'"fixed window";"{name}";q={quota};w={window}',
    }


def rows(engine: Engine) -> dict[str, QuotaStatus]:
    with transaction(engine) as session:
        return {row.bucket: row for row in status_rows(session)}


class Waits:
    """Collects the waits that are reported; `first` is set with the first of them."""

    def __init__(self) -> None:
        self.all: list[tuple[float, Bucket]] = []
        self.first = threading.Event()

    def __call__(self, seconds: float, bucket: Bucket) -> None:
        self.all.append((seconds, bucket))
        self.first.set()


@pytest.fixture(scope="module")
def database_engine(server: str) -> Iterator[Engine]:
    with database(server, "budgets") as engine:
        yield engine


@pytest.fixture
def engine(database_engine: Engine) -> Engine:
    return emptied(database_engine)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture(params=["shared", "own"])
def budget(request: pytest.FixtureRequest, waits: Waits) -> Iterator[Budget]:
    engine = request.getfixturevalue("engine") if request.param == "shared" else None
    with shared_budget(engine, ENDPOINT, None, on_wait=waits) if engine else own_budget(None, on_wait=waits) as made:
        yield made


def start(work: Callable[[], None]) -> threading.Thread:
    """Starts what may wait for minutes, until the budget is closed."""

    def run() -> None:
        with suppress(RuntimeError):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def ask(budget: Budget, bucket: Bucket, times: int, status: int = 200) -> None:
    for _ in range(times):
        budget.take(bucket)
        budget.learn(bucket, {}, status)


def test_threads_together_get_exactly_the_share_and_one_wait_is_reported(budget: Budget, waits: Waits) -> None:
    taken = []

    def work() -> None:
        while True:
            budget.take("api")
            taken.append(1)
            budget.learn("api", said(60, 60 - len(taken)), 200)

    for _ in range(8):
        start(work)
    assert waits.first.wait(10)
    time.sleep(0.3)
    assert len(taken) == 27  # of 30, three are kept for resolves that fail
    assert [bucket for _, bucket in waits.all] == ["api"]
    assert 290 < waits.all[0][0] < 302


def test_the_first_request_goes_alone_since_its_reply_may_tell_of_a_small_quota(budget: Budget, waits: Waits) -> None:
    taken = []

    def work() -> None:
        budget.take("api")
        taken.append(1)

    for _ in range(6):
        start(work)
    time.sleep(0.2)
    assert len(taken) == 1
    budget.learn("api", said(4, 3), 200)
    assert waits.first.wait(10)
    assert len(taken) == 2


def test_a_lost_first_request_lets_the_next_one_go(budget: Budget) -> None:
    budget.take("api")
    budget.learn("api", {}, 0)
    start(lambda: budget.take("api")).join(2)
    budget.learn("api", {}, 200)
    thread = start(lambda: ask(budget, "api", 20))
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("headers", [said(2, 0), said(40, 40)])
def test_waiting_in_one_bucket_stops_nobody_in_the_other(budget: Budget, waits: Waits, headers: dict[str, str]) -> None:
    budget.take("api")
    budget.learn("api", headers, 200)
    start(lambda: ask(budget, "api", 18))
    assert waits.first.wait(10)
    thread = start(lambda: ask(budget, "resolvers", 30))
    thread.join(0.5 if headers == said(2, 0) else 5)
    assert thread.is_alive() is (headers == said(2, 0))  # where the one permit is gone a failure would be too much


def test_closing_wakes_those_who_wait(budget: Budget, waits: Waits) -> None:
    budget.take("api")
    budget.learn("api", {"retry-after": "100"}, 429)
    thread = start(lambda: budget.take("api"))
    assert waits.first.wait(10)
    budget.close()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError, match="closed"):
        budget.take("resolvers")


def test_the_next_window_opens_by_itself(waits: Waits) -> None:
    budget = own_budget(None, on_wait=waits)
    budget.take("resolvers")
    budget.learn("resolvers", said(4, 3, 0.4, 0.4, "resolvers"), 200)
    begun = time.monotonic()
    ask(budget, "resolvers", 3)
    assert 0.5 < time.monotonic() - begun < 6
    assert waits.all


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        (said(500, 0, 55), 55, 56),
        ({"retry-after": "20"}, 20, 21),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30, 31),
        ({**said(500, 400, 55), "retry-after": "20"}, 20, 21),
        ({**said(500, 0, 5), "retry-after": "20"}, 20, 21),
        ({}, 4, 5),
    ],
)
def test_after_a_429_all_wait_as_long_as_it_says(
    budget: Budget, waits: Waits, headers: dict[str, str], low: float, high: float
) -> None:
    budget.take("api")
    budget.learn("api", {}, 200)
    budget.take("api")
    budget.learn("api", headers, 429)
    start(lambda: budget.take("api"))
    assert waits.first.wait(10)
    assert low < waits.all[0][0] <= high


def test_429s_that_say_nothing_are_waited_for_longer_and_longer() -> None:
    ledger = OwnLedger(ANONYMOUS, 0.5)
    budget = Budget(ledger)
    waited = []
    for status in (429, 429, 429, 429, 429, 429, 200, 429):
        budget.learn("api", {}, status)
        waited.append(round(ledger.lease("api", 1).wait))
    assert waited == [5, 10, 20, 40, 60, 60, 60, 60]
    assert budget._lanes["api"].refusals == 1


def test_resolves_that_fail_count_on_the_api_and_stop_when_its_share_is_gone(budget: Budget, waits: Waits) -> None:
    budget.take("api")
    budget.learn("api", said(6, 5), 200)
    failed = []

    def work() -> None:
        while True:
            budget.take("resolvers")
            failed.append(1)
            budget.learn("resolvers", {}, 404)

    start(work)
    assert waits.first.wait(10)
    time.sleep(0.1)
    assert waits.all[0][1] == "resolvers"
    assert len(failed) == 2


def test_two_processes_share_one_budget_and_a_killed_one_loses_its_lease_at_most(
    engine: Engine,
) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO quotas (endpoint, account, bucket, quota, window_s, share, resets_at, remaining)"
                f" VALUES ('{ENDPOINT}', 'anonymous', 'resolvers', 600, 300, 0.1, now() + interval '300 s', 600)"
            )
        )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, engine.url.render_as_string(False), limit],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for limit in ("50", "1000", "1000")
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        counts = []
        killed, *others = processes
        for process in (killed, *others):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
            if process is killed:
                assert process.stdout is not None
                counts.append(int(process.stdout.readline()))
                process.kill()
        for process in others:
            assert process.stdout is not None
            counts.append(int(process.stdout.readline()))
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert counts[0] == 50
    assert 300 - 10 <= sum(counts) <= 300
    assert all(counts)
    assert (rows(engine)["resolvers"].used, rows(engine)["resolvers"].share) == (300, 0.5)


def test_threads_of_several_budgets_on_one_database_get_no_more_than_the_share(engine: Engine) -> None:
    class Full(Exception):  # noqa: N818
        pass

    def full(seconds: float, bucket: Bucket) -> None:
        raise Full

    def work(budget: Budget) -> int:
        taken = 0
        with suppress(Full):
            while True:
                ask(budget, "resolvers", 1)
                taken += 1
        return taken

    budgets = [shared_budget(engine, ENDPOINT, "hf_token", share=0.1, on_wait=full) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, budgets)) == 500
    assert rows(engine)["resolvers"].account == account_of("hf_token")


def test_in_a_burst_ten_requests_cost_one_question_and_a_slow_worker_loses_nothing(engine: Engine) -> None:
    budget = shared_budget(engine, ENDPOINT, None)
    questions = []
    lease = budget._ledger.lease

    def counted(bucket: Bucket, wanted: int, *, held: bool = False) -> Grant:
        questions.append((bucket, wanted))
        return lease(bucket, wanted, held=held)

    budget._ledger.lease = counted  # type: ignore[method-assign]
    ask(budget, "resolvers", 105)
    assert questions == [("api", 1), *[("resolvers", n) for n in (1, 2, 4, 8, *[10] * 9)]]
    assert rows(engine)["resolvers"].used == 105
    ask(budget, "resolvers", 1)
    assert rows(engine)["resolvers"].used == 115
    budget.close()
    assert rows(engine)["resolvers"].used == 106


def test_another_share_counts_from_the_next_run_on(engine: Engine) -> None:
    waits = Waits()
    with shared_budget(engine, ENDPOINT, None, share=0.01, on_wait=waits) as budget:
        start(lambda: ask(budget, "resolvers", 31))
        assert waits.first.wait(10)
    assert rows(engine)["resolvers"].used == rows(engine)["resolvers"].allowed == 30
    with shared_budget(engine, ENDPOINT, None, share=0.02) as budget:
        ask(budget, "resolvers", 30)
    assert rows(engine)["resolvers"].used == rows(engine)["resolvers"].allowed == 60


def test_a_fork_does_not_spend_its_parents_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = OwnLedger(ANONYMOUS, 0.5)
    budget = Budget(ledger)
    ask(budget, "api", 2)  # and one more is leased
    monkeypatch.setattr("os.getpid", lambda: -1)
    budget.close()
    ask(budget, "api", 1)
    assert ledger._windows["api"].used == 4


def test_without_its_database_a_budget_raises_what_sqlalchemy_raises(server: str) -> None:
    with database(server, "gone") as engine:
        budget = shared_budget(engine, ENDPOINT, None)
        ask(budget, "api", 1)
        with psycopg.connect(server, autocommit=True) as control:
            control.execute("ALTER DATABASE gone ALLOW_CONNECTIONS false")
            control.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gone'")
        with pytest.raises(OperationalError):
            ask(budget, "api", 11)
