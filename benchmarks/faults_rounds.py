"""One round: a database, a Hub and workers of their own; the scenario while a fault strikes; and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from benchmarks import faults_scenario as scenario
from benchmarks.faults_fleet import Fleet, Started, environment
from benchmarks.faults_scenario import Hub
from benchmarks.faults_strikes import Place, Strikes
from benchmarks.faults_tables import Tables, differences
from db import schema
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer


@dataclass(frozen=True)
class Outcome:
    """What a fault did. All is well where `wrong` and `differences` are empty and it struck at all."""

    fault: str
    struck: int
    workers_killed: int
    lost_with_worker: int  # tries of jobs that ended with their worker
    back: int  # tries of jobs that ended otherwise and were followed by another
    seconds: float
    wrong: list[str]  # jobs that were lost, or done twice in effect
    differences: list[str]  # of the final tables from those of an undisturbed run
    missed: list[str]  # places where it was to strike and did not
    note: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, nothing done twice, and the final tables are equal."""
        return not (self.wrong or self.differences or self.missed)


@dataclass
class Bench:
    """Where rounds take place: a folder, and a server for those that need none of their own."""

    models: Path
    folder: Path
    server: str  # address of any database of it
    workers: int = 3
    _rounds: int = 0

    @cached_property
    def undisturbed(self) -> Tables:
        """What all must end with."""
        with self.round("undisturbed") as one:
            return one.run()

    @contextmanager
    def database(self) -> Iterator[str]:
        """The address of a fresh one."""
        self._rounds += 1
        name = f"faults_{self._rounds}"
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
            yield make_url(self.server).set(database=name).render_as_string(hide_password=False)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    @contextmanager
    def round(
        self,
        name: str,
        *,
        url: str | None = None,
        first: Started | None = None,
        without: str | None = None,
        **changed: str | None,
    ) -> Iterator[Round]:
        """A round with settings changed; `url`: on that database, else on a fresh one. See `scenario.copied`."""
        if url is None:
            with self.database() as fresh, self.round(name, url=fresh, first=first, without=without, **changed) as one:
                yield one
            return
        with scenario.opened(url) as engine:
            schema.upgrade(engine)
        folder = self.folder / name.replace(" ", "-")
        hub = scenario.copied(self.models, folder, without=without)
        around = environment(**{"DATABASE_URL": url, **changed})
        fleet = Fleet(folder / "words", url, around, self.workers, first)
        one = Round(name, hub, url, fleet, folder)
        try:
            one.serve()
            yield one
        finally:
            fleet.end()
            one.hide()


@dataclass
class Round:
    """What a fault has at hand."""

    name: str
    hub: Hub
    url: str
    fleet: Fleet
    folder: Path
    faults: Faults = field(default_factory=Faults)
    _server: HubServer | None = None
    _port: int = 0
    _begun: float = field(default_factory=time.monotonic)

    def serve(self) -> None:
        """Let the Hub answer; at the same address as before."""
        self._server = HubServer(self.hub.root, port=self._port, faults=self.faults)
        self._server.start()
        self._port = int(self._server.url.rpartition(":")[2])

    def hide(self) -> None:
        """Let connections to the Hub be refused."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def source(self) -> str:
        """The Hub's address."""
        return f"http://127.0.0.1:{self._port}"

    def run(self, meanwhile: Callable[[], object] = lambda: None) -> Tables:
        """The scenario; what the database holds in the end."""
        found = scenario.run(self.url, self.hub, self.source, lambda: self.fleet.drain(meanwhile))
        self.fleet.stop()
        return found

    def struck(
        self,
        places: Sequence[Place],
        expected: Tables,
        act: Callable[[str], bool],
        note: Callable[[], str] = str,
        *,
        but: Sequence[str] = (),
    ) -> Outcome:
        """The scenario, struck at these places. `but`: tables that may differ."""
        with Strikes(self.url, places) as strikes:
            found = self.run(lambda: strikes.look(act))
        ours, theirs = ({name: rows for name, rows in one.items() if name not in but} for one in (expected, found))
        return self.outcome(strikes.struck.total(), ours, theirs, strikes.missed(), note=note())

    def outcome(
        self,
        struck: int,
        expected: Tables,
        found: Tables,
        missed: Sequence[str] = (),
        *,
        allowed: Sequence[str] = (),
        note: str = "",
    ) -> Outcome:
        """What came of the fault. `allowed`: what may be wrong."""
        lost, back = scenario.given_back(self.url)
        wrong = [line for line in scenario.wrong(self.url) if not any(one in line for one in allowed)]
        killed = sum(count for code, count in self.fleet.exits.items() if code < 0)
        seconds = time.monotonic() - self._begun
        apart = differences(expected, found)
        return Outcome(self.name, struck, killed, lost, back, seconds, wrong, apart, list(missed), note)
