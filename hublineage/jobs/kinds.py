"""The kinds of jobs: their names, queues, priorities, and the keys under which the same work is queued once; states.

What comes earlier in the flow goes first, so that later stages see more at once. Help names all of these, so that
nothing is imported here that takes time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crawler.source import Query

QUEUES = ("crawl", "measure", "infer")

CRAWL, SWEEP, DESCRIBE, SETTLE = "crawl", "sweep", "describe", "settle"
PLAN, MEASURE, INFER, COMPARE = "plan", "measure", "infer", "compare"
INFERENCE, RETENTION = "inference", "retention"

# task -> (queue, priority)
PLACES = {
    CRAWL: ("crawl", 80),
    SWEEP: ("crawl", 80),
    DESCRIBE: ("crawl", 70),
    SETTLE: ("crawl", 60),
    PLAN: ("measure", 50),
    MEASURE: ("measure", 40),
    INFER: ("infer", 30),
    COMPARE: ("infer", 20),
    INFERENCE: ("infer", 10),
    RETENTION: ("infer", 10),
}

STATES = ("waiting", "doing", "succeeded", "failed", "parked", "cancelled", "aborted")
UNFINISHED = ("waiting", "doing", "failed", "parked")


@dataclass(frozen=True)
class Deferred:
    """A job that is to be queued. `key` names its work: the same is neither queued twice nor done by two at once."""

    task: str
    queue: str
    priority: int
    key: str
    args: dict[str, Any] = field(default_factory=dict)
    wait: float = 0.0  # seconds


def query_of(words: Mapping[str, Any]) -> Query:
    """The query of which these are the `words`."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in words.items()}
    return Query(**values)


def crawl(
    source: str,
    query: Query,
    *,
    increment: bool,
    list_only: bool = False,
    retry_failed: bool = False,
    since: str | None = None,
    page: int = 0,
) -> Deferred:
    """A crawl of a query: an increment, or a full pass, which is the sweep of what an increment cannot see."""
    words = query.words
    args: dict[str, Any] = {"source": source, "query": words}
    optional = {"list_only": list_only, "retry_failed": retry_failed, "since": since, "page": page}
    args |= {name: value for name, value in optional.items() if value}
    task = CRAWL if increment else SWEEP
    more = "".join(f" {name}" for name in ("list_only", "retry_failed") if optional[name])  # other work: less, or more
    return _deferred(task, f"{task} {source} {_digest(words)}{more}", args)


def describe(source: str, query: Query, repositories: Sequence[int], **options: Any) -> Deferred:
    """A batch of repositories, by their ids."""
    wait = float(options.pop("wait", 0.0))
    args = {"source": source, "query": query.words, "repositories": list(repositories)}
    args |= {name: value for name, value in options.items() if value}
    return _deferred(DESCRIBE, f"describe {source} {_digest(list(repositories))}", args, wait)


def settle(source: str, *, look: bool = True, wait: float = 0.0) -> Deferred:
    """Families and declared parents of a source."""
    key = f"settle {source}" + ("" if look else " list_only")
    return _deferred(SETTLE, key, {"source": source, "look": look}, wait)


def plan(source: str, family: int, *, retry_failed: bool = False, wait: float = 0.0) -> Deferred:
    """Which members of a family are measured next, and in which blocks."""
    args = {"source": source, "family": family, **({"retry_failed": True} if retry_failed else {})}
    return _deferred(PLAN, f"plan {family}" + (" retry_failed" if retry_failed else ""), args, wait)


def measure(source: str, family: int, batch: int, block: int, layers: Sequence[int]) -> Deferred:
    """A block of layers of a family's batch."""
    args = {"source": source, "family": family, "batch": batch, "block": block, "layers": list(layers)}
    return _deferred(MEASURE, f"measure {batch} {block}", args)


def infer(source: str, family: int, *, wait: float = 0.0) -> Deferred:
    """The trees of a family."""
    return _deferred(INFER, f"infer {family}", {"source": source, "family": family}, wait)


def compare(source: str, *, wait: float = 0.0) -> Deferred:
    """The verdicts of a source."""
    return _deferred(COMPARE, f"compare {source}", {"source": source}, wait)


def upkeep(task: str) -> Deferred:
    """INFERENCE or RETENTION."""
    return _deferred(task, task, {})


def _deferred(task: str, key: str, args: dict[str, Any], wait: float = 0.0) -> Deferred:
    queue, priority = PLACES[task]
    return Deferred(task, queue, priority, key, args, wait)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
