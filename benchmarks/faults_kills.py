"""Workers that are killed: from outside at the worst moments, by a model, or for a while only."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.faults_fleet import Member
from benchmarks.faults_scenario import LATE
from benchmarks.faults_strikes import AMID, ENDS, Place, Strikes
from benchmarks.faults_tables import without
from crawler.hub import HubSource
from hublineage.jobs import kinds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.faults_rounds import Bench, Outcome, Round

DEATHS = 3  # of workers, before a job is given up
_FROZEN = 6.0  # seconds: twice as long as a heart may stand still


def kills(bench: Bench, name: str, places: Sequence[Place]) -> Outcome:
    """Kill -9 of a worker at each of these places."""
    expected = bench.undisturbed
    with bench.round(name) as one:
        return one.struck(places, expected, one.fleet.kill)


def kills_amid(bench: Bench) -> Outcome:
    """Kill -9 of a worker in every kind of task, in the midst of storing its result, and while it rescues a job."""
    return kills(bench, "kill -9 amid each task", AMID)


def kills_at_end(bench: Bench) -> Outcome:
    """Kill -9 of a worker in every kind of task, when its result is stored and the queue does not know."""
    return kills(bench, "kill -9 at each task's end", ENDS)


def freezes(bench: Bench, tasks: Sequence[str] = (kinds.DESCRIBE, kinds.MEASURE, kinds.INFER)) -> Outcome:
    """A worker stands still until others have taken its job over, and then goes on with it, beside them."""
    expected = bench.undisturbed
    places = [place for place in AMID if place.name in tasks]
    frozen: dict[str, float] = {}  # name -> when it thaws
    with bench.round("a worker frozen and thawed", stalled_after="3") as one:

        def freeze(worker: str) -> bool:
            _send(one, worker, signal.SIGSTOP)
            frozen[worker] = time.monotonic() + _FROZEN
            return False

        with Strikes(one.url, places) as strikes:

            def look() -> None:
                strikes.look(freeze)
                for worker in [name for name, until in frozen.items() if time.monotonic() >= until]:
                    del frozen[worker]
                    _send(one, worker, signal.SIGCONT)

            found = one.run(look)
        return one.outcome(strikes.struck.total(), expected, found, strikes.missed())


def _send(one: Round, worker: str, number: int) -> None:
    for member in one.fleet.members:
        if member.name == worker:
            member.send(number)


def poison(bench: Bench, call: str, number: int, name: str) -> Outcome:
    """Every worker that makes this call of a source for one model dies of a signal.

    What does not speak of that model must be as on a Hub that never had it.
    """
    model = _leaf(bench.models)
    with bench.round(f"undisturbed without a model, {call}", without=model) as one:
        expected = one.run()
    with bench.round(name, workers_lost=str(DEATHS)) as one:
        one.fleet.first = partial(_die_of, model, call, number)
        found = one.run()
        status = Member("status", one.folder, ["status"], one.fleet.around, None)
        status.process.join()
        named = model in status.words()
        note = f"{model}: {'named' if named else 'NOT NAMED'} in status; workers ended with {dict(one.fleet.exits)}"
        missed = [] if named and one.fleet.exits[-number] >= DEATHS else [note]
        allowed = (model, "describe failed")
        struck = one.fleet.exits[-number]
        return one.outcome(struck, without(expected, model), without(found, model), missed, allowed=allowed, note=note)


def poison_measured(bench: Bench) -> Outcome:
    """A model whose weights make each worker crash that reads them, as a fault of a library would (SIGSEGV)."""
    return poison(bench, "read_many", signal.SIGSEGV, "a model that crashes who measures it")


def poison_described(bench: Bench) -> Outcome:
    """A model whose description ends each worker, as the kernel does where memory runs out (SIGKILL)."""
    return poison(bench, "details", signal.SIGKILL, "a model that ends who describes it")


def _leaf(models: Path) -> str:
    """A model with weights that no other one declares as its parent, and that is there from the first pass to the last.

    The last one by name, so that its family goes by the same first name without it.
    """
    names = sorted(str(path.relative_to(models)) for path in models.glob("*/*") if path.is_dir())
    cards = "".join(path.read_text() for path in models.glob("*/*/README.md"))
    chosen = (name for name in reversed(names[1:-LATE]) if name not in cards)
    return next(name for name in chosen if (models / name / "model.safetensors").exists())


def _die_of(model: str, call: str, number: int) -> None:
    usual: Any = getattr(HubSource, call)

    def deadly(self: HubSource, asked: Any) -> Any:
        names = [asked] if isinstance(asked, str) else [part.name for part in asked]
        if model in names:
            os.kill(os.getpid(), number)
            time.sleep(60)
        return usual(self, asked)

    setattr(HubSource, call, deadly)
