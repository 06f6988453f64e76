"""Kills that strike where they are meant to: a trigger holds a worker amid a transaction until it is dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psycopg

from hublineage.jobs import kinds

# ruff: noqa: S608  # constants of this file


@dataclass(frozen=True)
class Place:
    """Where a worker is killed: when it writes such a row, inside of its transaction."""

    name: str
    table: str
    event: str = "INSERT"
    condition: str = "true"  # of NEW or OLD
    times: int = 1


_IS_AT = "(SELECT task_name FROM procrastinate_jobs WHERE id = NEW.job_id) = '{}' AND NEW.done IS NOT NULL"
RESCUE = "rescue"
AMID = (
    Place(kinds.SWEEP, "crawl_pages", condition="(SELECT kind FROM crawls WHERE id = NEW.crawl_id) = 'full'"),
    Place(kinds.CRAWL, "crawl_pages", condition="(SELECT kind FROM crawls WHERE id = NEW.crawl_id) = 'increment'"),
    Place(kinds.DESCRIBE, "files"),
    Place(kinds.SETTLE, "families"),
    Place(kinds.PLAN, "measure_batches"),
    Place(kinds.MEASURE, "layer_measures"),
    Place(kinds.INFER, "edges"),
    Place(kinds.COMPARE, "verdicts"),
    Place(kinds.INFERENCE, "job_records", "INSERT", _IS_AT.format(kinds.INFERENCE)),
    Place(kinds.RETENTION, "runs", "DELETE"),
    Place(RESCUE, "job_records", "INSERT", "NEW.killed > 0"),
)
"""In the midst of the transaction that stores what the task is for."""


def at_end(task: str) -> Place:
    """When all that the task does is stored, and the queue is told so: the job is done again."""
    condition = f"OLD.status = 'doing' AND NEW.status = 'succeeded' AND NEW.task_name = '{task}'"
    return Place(f"{task}, done", "procrastinate_jobs", "UPDATE", condition)


ENDS = tuple(at_end(task) for task in kinds.PLACES)


Act = Callable[[str], bool]
"""Strikes, given a worker's name; whether its transaction is to end."""


class Strikes:
    """Kills one worker at each of these places. Use it in a `with`; the database is as before at the end."""

    def __init__(self, url: str, places: Iterable[Place]) -> None:
        self._url = url
        self._places = list(places)
        self.struck: Counter[str] = Counter()

    def __enter__(self) -> Strikes:
        self._connection = psycopg.connect(self._url, autocommit=True)
        self._execute("CREATE TABLE fault_places (place text PRIMARY KEY, times integer NOT NULL)")
        for number, place in enumerate(self._places):
            self._execute(f"INSERT INTO fault_places VALUES ('{place.name}', {place.times})")
            # One worker at a time sleeps at a place, and says in its name where it does.
            self._execute(
                f"""
                CREATE FUNCTION fault_{number}() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF {place.condition}
                       AND EXISTS (SELECT FROM fault_places WHERE place = '{place.name}' AND times > 0)
                       AND pg_try_advisory_xact_lock(hashtextextended('fault {place.name}', 0)) THEN
                        PERFORM set_config('application_name',
                            current_setting('application_name') || ' at {place.name}', true);
                        WHILE EXISTS (SELECT FROM fault_places WHERE place = '{place.name}' AND times > 0) LOOP
                            PERFORM pg_sleep(0.5);
                        END LOOP;
                    END IF;
                    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
                    RETURN NEW;
                END $$;
                CREATE TRIGGER fault_{number} BEFORE {place.event} ON {place.table}
                    FOR EACH ROW EXECUTE FUNCTION fault_{number}();
                """
            )
        return self

    def look(self, act: Act) -> None:
        """Let `act` strike who sleeps at a place now, by its name; if that says True its transaction ends there.

        Else it goes on in a moment, if it lives.

        A database that does not answer is asked again the next time.
        """
        try:
            if self._connection.closed:
                self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=2)
            rows = self._connection.execute(
                "SELECT pid, application_name FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event = 'PgSleep' AND application_name LIKE '% at %'"
            ).fetchall()
            for backend, name in rows:
                worker, _, place = str(name).partition(" at ")
                if self._is_over(place):
                    continue
                self.struck[place] += 1
                if act(worker):
                    self._connection.execute("SELECT pg_terminate_backend(%s)", [backend])
        except psycopg.OperationalError:
            self._connection.close()

    def _is_over(self, place: str) -> bool:
        """Count one strike off; whether there was none left. The sleeper goes on in a moment, by itself."""
        row = self._connection.execute(
            "UPDATE fault_places SET times = times - 1 WHERE place = %s AND times > 0 RETURNING 1", [place]
        ).fetchone()
        return row is None

    def missed(self) -> list[str]:
        """Places that nobody came by."""
        return [place.name for place in self._places if self.struck[place.name] < place.times]

    def __exit__(self, *_: object) -> None:
        for number in range(len(self._places)):
            self._execute(f"DROP FUNCTION fault_{number} CASCADE")
        self._execute("DROP TABLE fault_places")
        self._connection.close()

    def _execute(self, statements: str) -> None:
        self._connection.execute(statements.encode())
