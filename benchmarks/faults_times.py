"""Clocks, schedulers and versions that do not agree with each other."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING
from unittest.mock import patch

import psycopg

from benchmarks import faults_scenario as scenario
from benchmarks.faults_clock import Clock
from benchmarks.faults_fleet import Member
from benchmarks.faults_outages import UNDER_LOAD, server
from benchmarks.faults_strikes import Place, Strikes
from benchmarks.faults_tables import tables
from db import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.faults_rounds import Bench, Outcome, Round

KNOWN, NEWER = schema.newest(), "9999"  # the versions of this program and of one to come
JUMPS = (3 * 3600, -5 * 3600, 40 * 86_400)
"""Seconds by which a clock is off, one after the other."""


def workers_clocks(bench: Bench) -> Outcome:
    """The clocks of the workers jump, forward and backward, while they are at work."""
    expected = bench.undisturbed
    clock = Clock(bench.folder / "workers-clock")
    with bench.round("the workers' clocks jump by hours", FAULTS_CLOCK=str(clock.path)) as one:
        last = datetime.now(UTC) + timedelta(seconds=JUMPS[-1])
        outcome = one.struck(UNDER_LOAD, expected, _jumping(clock))
        # Each of their words has their time.
        seen = f"{last:%Y-%m-}" in one.fleet.words()
        return outcome if seen else replace(outcome, missed=[*outcome.missed, "their clocks did not jump"])


def databases_clock(bench: Bench) -> Outcome:
    """The clock of the database jumps, forward and backward, while workers are at work and jobs wait for their time.

    Who waits for the rest of a crawl loses its patience then, and a family may be measured in more batches; the widths
    of its sketches, which say nothing here, are those that its first batch gave them.
    """
    expected = bench.undisturbed
    clock = Clock(bench.folder / "databases-clock")
    with (
        server(bench.folder / "clock-data", FAULTS_CLOCK=str(clock.path)) as (url, _),
        bench.round("the database's clock jumps by hours", url=url) as one,
    ):
        outcome = one.struck(UNDER_LOAD, expected, _jumping(clock), but=["sketches"])
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
        seen = row is not None and abs(row[0] - time.time() - JUMPS[-1]) < 60
        return outcome if seen else replace(outcome, missed=[*outcome.missed, "its clock did not jump"])


def _jumping(clock: Clock) -> Callable[[str], bool]:
    jumps = iter(JUMPS)

    def jump(_worker: str) -> bool:
        # A moment later: a server whose clock is set back would hold the worker at this place for as long.
        threading.Timer(1.0, clock.set, (next(jumps),)).start()
        return False

    return jump


# Often, and with what the harness queues itself.
_CRON = {"INCREMENTS": "*/2", "SWEEP": "*/5", "INFERENCE": "*/3", "RETENTION": "*/4"}
_TICKS = 8  # of the quickest, in each phase
_BEHIND = -7  # seconds that the clock of one scheduler is off
_NOTE_TICKS = """
    CREATE TABLE fault_ticks (task text, periodic_id text, tick bigint);
    CREATE FUNCTION fault_tick() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO fault_ticks VALUES (NEW.task_name, NEW.periodic_id, NEW.defer_timestamp);
        RETURN NEW;
    END $$;
    CREATE TRIGGER fault_tick AFTER INSERT ON procrastinate_periodic_defers
        FOR EACH ROW EXECUTE FUNCTION fault_tick();
"""


def two_schedulers(bench: Bench) -> Outcome:
    """Two schedulers at once, of which one is seconds behind, and the other is killed and started again."""
    expected = bench.undisturbed
    clock = Clock(bench.folder / "schedulers-clock")
    clock.set(_BEHIND)
    with bench.round("two schedulers, one seconds behind") as one:
        follow = json.dumps([{"endpoint": one.source, "everything": True}])
        around = {**one.fleet.around, "HUBLINEAGE_FOLLOW": follow}
        around |= {f"HUBLINEAGE_SCHEDULE__{name}": f"* * * * * {seconds}" for name, seconds in _CRON.items()}
        with psycopg.connect(one.url, autocommit=True) as connection:
            connection.execute(_NOTE_TICKS)
            for number, jobs in enumerate(scenario.phases(one.hub, one.source)):
                scenario.put(one.url, jobs)
                sure = Member(f"sure-{number}", one.folder, ["schedule"], around, None)
                late = Member(
                    f"late-{number}", one.folder, ["schedule"], {**around, "FAULTS_CLOCK": str(clock.path)}, None
                )
                for part in range(2):
                    one.fleet.until(partial(_have_come, connection, _ticks(connection) + _TICKS))
                    if part == 0:
                        sure.send(signal.SIGKILL)
                        sure = Member(f"again-{number}", one.folder, ["schedule"], around, None)
                for member in (sure, late):
                    member.send(signal.SIGTERM)
                    member.process.join(60)
                one.fleet.drain()
            one.fleet.stop()
            twice = connection.execute(
                "SELECT task || ' at ' || tick || ', ' || count(*) || ' times' FROM fault_ticks"
                " GROUP BY task, periodic_id, tick HAVING count(*) > 1"
            ).fetchall()
            count = _ticks(connection)
            connection.execute("DROP FUNCTION fault_tick CASCADE; DROP TABLE fault_ticks")
        with scenario.opened(one.url) as engine:
            found = tables(engine)
        missed = [f"queued twice: {row[0]}" for row in twice]
        return one.outcome(
            count, expected, found, missed, note=f"{count} ticks were queued, {len(twice)} of them twice"
        )


def _have_come(connection: psycopg.Connection[tuple[int, ...]], ticks: int) -> bool:
    return _ticks(connection) >= ticks


def _ticks(connection: psycopg.Connection[tuple[int, ...]]) -> int:
    row = connection.execute("SELECT count(*) FROM fault_ticks").fetchone()
    return row[0] if row else 0


_NEWER = '''
"""A version that this program does not know: columns have other names, and it takes its time."""

from alembic import op

revision, down_revision, branch_labels, depends_on = "{newer}", "{newest}", None, None


def upgrade() -> None:
    op.alter_column("layer_measures", "kurtosis", new_column_name="fourth_moment")
    op.alter_column("runs", "inputs_digest", new_column_name="inputs_hash")
    op.alter_column("files", "xet_hash", new_column_name="xet_digest")
    op.execute("SELECT pg_sleep(3)")


def downgrade() -> None:
    op.alter_column("files", "xet_digest", new_column_name="xet_hash")
    op.alter_column("runs", "inputs_hash", new_column_name="inputs_digest")
    op.alter_column("layer_measures", "fourth_moment", new_column_name="kurtosis")
'''


@dataclass
class _Migration:
    """A newer program that migrates the database under the workers' feet, and back once all of them have ended."""

    one: Round
    newer: Path
    workers: int
    thread: threading.Thread | None = None
    error: Exception | None = None
    wrong: list[str] = field(default_factory=list)

    def begin(self, _worker: str) -> bool:
        """Start the upgrade; it waits for whoever is in the midst of a transaction."""
        if self.thread is None:
            self.thread = threading.Thread(target=self._upgrade)
            self.thread.start()
        return False

    def look(self) -> None:
        """Once no worker is left: what they left behind; then those of the right version come."""
        if self.error is not None:
            raise RuntimeError("the newer program could not migrate") from self.error
        if self.thread is None or self.one.fleet.members:
            return
        self.thread.join()
        self.thread = None
        with psycopg.connect(self.one.url, autocommit=True) as connection:
            held = connection.execute(
                "SELECT task_name, status::text FROM procrastinate_jobs WHERE status IN ('doing', 'failed')"
            ).fetchall()
            workers = connection.execute("SELECT count(*) FROM procrastinate_workers").fetchall()
        self.wrong += [f"an older worker left {task} {status}" for task, status in held]
        self.wrong += [f"{count} workers are still registered" for (count,) in workers if count]
        self._migrate(False)
        self.one.fleet.start()

    def _upgrade(self) -> None:
        try:
            self._migrate(True)
        except Exception as error:  # in a thread: it is told where it is looked for
            self.error = error

    def _migrate(self, up: bool) -> None:
        with patch.object(schema, "MIGRATIONS", self.newer), scenario.opened(self.one.url) as engine:
            if up:
                with patch.object(schema, "newest", lambda: NEWER):
                    schema.upgrade(engine)
            else:
                schema.downgrade(engine, KNOWN)


def older_workers(bench: Bench, places: Sequence[Place] = UNDER_LOAD) -> Outcome:
    """A newer program migrates the schema while workers of this version are at work: they stop, and say why."""
    expected = bench.undisturbed
    newer = bench.folder / "newer"
    copytree(schema.MIGRATIONS, newer)
    (newer / "versions" / "9999_newer.py").write_text(_NEWER.format(newest=KNOWN, newer=NEWER))
    with bench.round("workers of an older version during a migration") as one:
        migration = _Migration(one, newer, bench.workers)
        with Strikes(one.url, places) as strikes:

            def look() -> None:
                if migration.thread is None:
                    strikes.look(migration.begin)
                migration.look()

            found = one.run(look)
        said = one.fleet.words().count("update the program")
        ended = one.fleet.exits[2]
        if said < ended or not ended:
            migration.wrong.append(f"{ended} workers ended for it, {said} times it was said why")
        note = f"{ended} workers ended with exit code 2"
        return one.outcome(strikes.struck.total(), expected, found, [*strikes.missed(), *migration.wrong], note=note)
