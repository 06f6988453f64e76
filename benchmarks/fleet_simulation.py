"""Discrete events of a fleet: workers, their links and processors, one database and the quota that they share.

Work comes as tasks. A task stands for many like jobs at once (thousands of repositories, or a stretch of a batch's
layers), which keeps a simulation of years at some ten thousand events: what it takes of each resource is their sum. On
a worker it takes permits of the Hub, then reads, computes and waits for replies side by side (as blocks are read ahead
of the computation), then the database writes. What a task leads to is queued when it is done.

Everything is deterministic: no chance is drawn, and those who wait are served in the order in which they came.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import simpy

from crawler.rate_limit import BUCKETS
from db.quotas import DEAD, ROUNDING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from crawler.rate_limit import Bucket

    Steps = Generator[simpy.Event, Any, None]

Queue = Literal["crawl", "measure"]
Resource = Literal["api quota", "resolvers quota", "link", "processor", "replies", "database"]
RESOURCES: tuple[Resource, ...] = ("api quota", "resolvers quota", "link", "processor", "replies", "database")
_QUOTA: dict[Bucket, Resource] = {"api": "api quota", "resolvers": "resolvers quota"}


@dataclass(frozen=True)
class Fleet:
    """The machines, and what a Hub grants the one account that they share. Rates are per second."""

    workers: int = 1
    cores: float = 8.0  # of a worker, all of them used by what is computed
    link: float = 100e6  # bytes a worker takes in: a line of 1 Gbit/s, used to four fifths
    lanes: int = 2  # tasks of a queue that a worker has under way: one reads while the other is written
    database: int = 8  # cores of the server
    quota: tuple[int, int] = (1_000, 5_000)  # requests of the API and of the resolvers in a window
    window: float = 300.0  # seconds
    share: float = 0.5  # of the quota that is ours


@dataclass(frozen=True)
class Task:
    """Like jobs of one stage together, as the sums of what they take."""

    stage: str
    queue: Queue
    api: int = 0  # requests
    resolvers: int = 0
    bytes: float = 0.0
    processor: float = 0.0  # core seconds of a worker
    replies: float = 0.0  # seconds that the Hub takes to answer, those asked side by side counted once
    database: float = 0.0  # core seconds of the server
    then: Callable[[], Iterable[Task]] | None = field(default=None, compare=False)
    """What this task leads to, asked once when it is done."""


@dataclass
class Stage:
    """When the first task of a stage began and the last ended, and how long each resource was at work for it."""

    begun: float
    ended: float = 0.0
    tasks: int = 0
    spent: float = 0.0  # by all tasks together, waits for permits and resources among it
    busy: dict[Resource, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(frozen=True)
class Outcome:
    """What a simulation found; `leases` are (moment, permits) by bucket, as they were taken."""

    seconds: float
    stages: dict[str, Stage]
    leases: dict[Bucket, list[tuple[float, int]]]
    capacity: dict[Resource, float]  # of each resource in a second, in the unit of Stage.busy

    def use(self, stage: str, resource: Resource) -> float:
        """Share of a resource's capacity that a stage used from its beginning to its end."""
        one = self.stages[stage]
        return one.busy[resource] / (self.capacity[resource] * max(one.ended - one.begun, 1e-9))


class Quota:
    """One bucket as the ledger keeps it (db/quotas.py): fixed windows that end ROUNDING late, the last DEAD shut."""

    def __init__(self, env: simpy.Environment, fleet: Fleet, quota: int) -> None:
        self.allowed = max(1, int(quota * fleet.share))
        self.length = fleet.window + ROUNDING
        self.leases: list[tuple[float, int]] = []
        self._env = env
        self._turn = simpy.Resource(env, 1)
        self._resets_at = 0.0
        self._used = 0

    def take(self, permits: int) -> Steps:
        """Returns when so many permits were had, in as many windows as they need; who came first is served first."""
        with self._turn.request() as turn:
            yield turn
            while permits:
                now = self._env.now
                if now >= self._resets_at:
                    self._resets_at, self._used = now + self.length, 0
                    if whole := (permits - 1) // self.allowed:  # windows that are used up, one after another
                        self.leases += [(now + number * self.length, self.allowed) for number in range(whole)]
                        permits -= whole * self.allowed
                        self._resets_at = now + whole * self.length
                        yield self._env.timeout(whole * self.length)
                        continue
                free = 0 if now > self._resets_at - DEAD else min(permits, self.allowed - self._used)
                if free:
                    self.leases.append((now, free))
                    self._used += free
                    permits -= free
                if permits:
                    yield self._env.timeout(self._resets_at - now)


class _Worker:
    """A machine: one link, whose transfers follow each other, and processors that compute one task after another."""

    def __init__(self, env: simpy.Environment) -> None:
        self.link = simpy.Resource(env, 1)
        self.processor = simpy.Resource(env, 1)


class _Run:
    """A simulation under way."""

    def __init__(self, fleet: Fleet) -> None:
        self.env = simpy.Environment()
        self.fleet = fleet
        self.stages: dict[str, Stage] = {}
        self.quotas = {
            bucket: Quota(self.env, fleet, quota) for bucket, quota in zip(BUCKETS, fleet.quota, strict=True)
        }
        self._queues: dict[Queue, simpy.Store] = {"crawl": simpy.Store(self.env), "measure": simpy.Store(self.env)}
        self._database = simpy.Resource(self.env, fleet.database)
        for _ in range(fleet.workers):
            worker = _Worker(self.env)
            for queue in self._queues:
                for _ in range(fleet.lanes):
                    self.env.process(self._lane(worker, queue))

    def put(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._queues[task.queue].put(task)

    def _lane(self, worker: _Worker, queue: Queue) -> Steps:
        while True:
            task: Task = yield self._queues[queue].get()
            yield from self._work(worker, task)
            if task.then is not None:
                self.put(task.then())

    def _work(self, worker: _Worker, task: Task) -> Steps:
        begun = self.env.now
        stage = self.stages.setdefault(task.stage, Stage(begun))
        for bucket, permits in zip(BUCKETS, (task.api, task.resolvers), strict=True):
            yield from self.quotas[bucket].take(permits)
            stage.busy[_QUOTA[bucket]] += permits
        side_by_side = [
            self.env.process(self._hold(stage, "link", worker.link, task.bytes / self.fleet.link)),
            self.env.process(self._hold(stage, "processor", worker.processor, task.processor / self.fleet.cores)),
            self.env.timeout(task.replies),
        ]
        yield self.env.all_of(side_by_side)
        stage.busy["replies"] += task.replies
        yield from self._hold(stage, "database", self._database, task.database)
        stage.tasks += 1
        stage.ended = self.env.now
        stage.spent += stage.ended - begun

    def _hold(self, stage: Stage, name: Resource, resource: simpy.Resource, seconds: float) -> Steps:
        if seconds > 0:
            with resource.request() as turn:
                yield turn
                yield self.env.timeout(seconds)
            stage.busy[name] += seconds


def simulate(fleet: Fleet, tasks: Iterable[Task]) -> Outcome:
    """Run tasks, and what they lead to, on a fleet until nothing is left.

    Raises ValueError where the fleet has no worker, core, link or share to work with.
    """
    least = (fleet.workers, fleet.cores, fleet.link, fleet.lanes, fleet.database, fleet.window, fleet.share)
    if min(least) <= 0 or fleet.share > 1 or min(fleet.quota) < 1:
        raise ValueError(f"a fleet needs something of everything, and a share of at most 1: {fleet}")
    run = _Run(fleet)
    run.put(tasks)
    run.env.run()
    per_window = {bucket: quota.allowed / quota.length for bucket, quota in run.quotas.items()}
    capacity: dict[Resource, float] = {
        "api quota": per_window["api"],
        "resolvers quota": per_window["resolvers"],
        "link": fleet.workers,
        "processor": fleet.workers,
        "replies": fleet.workers * fleet.lanes,
        "database": fleet.database,
    }
    leases = {bucket: quota.leases for bucket, quota in run.quotas.items()}
    ended = max((stage.ended for stage in run.stages.values()), default=0.0)
    return Outcome(ended, run.stages, leases, capacity)
