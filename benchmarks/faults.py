"""Faults for real: workers are killed, the database, the Hub and the disk fail: `python -m benchmarks.faults`.

Several worker processes serve the queue on a real PostgreSQL and crawl the local Hub over benchmarks/sample_hub, which
grows and shrinks between passes (benchmarks.faults_scenario). In each round one fault strikes, at moments when a worker
is in the midst of a task. Afterwards the final tables must equal those of an undisturbed run, row by row
(benchmarks.faults_tables), no job may be lost, and none done twice in effect. Exits with 1 where that does not hold.

`--hub` takes another folder of models, `--only` parts of faults' names.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import faults_kills as kills
from benchmarks import faults_outages as outages
from benchmarks import faults_times as times
from benchmarks.families import machine
from benchmarks.faults_clock import preload
from benchmarks.faults_rounds import Bench, Outcome
from benchmarks.recovery import commit
from db import embedded

Fault = Callable[[Bench], Outcome]

FAULTS: dict[str, Fault] = {
    "kills-amid": kills.kills_amid,
    "kills-at-end": kills.kills_at_end,
    "frozen": kills.freezes,
    "poison-measured": kills.poison_measured,
    "poison-described": kills.poison_described,
    "database-killed": outages.server_killed,
    "embedded-killed": outages.embedded_killed,
    "hub-gone": outages.hub_gone,
    "disk-full": outages.disk_full,
    "cache-full": outages.cache_full,
    "clock-of-workers": times.workers_clocks,
    "clock-of-database": times.databases_clock,
    "schedulers": times.two_schedulers,
    "migration": times.older_workers,
}
SAMPLE = Path(__file__).parent / "sample_hub"
_MOST_LINES = 20


def report(outcomes: list[Outcome]) -> str:
    """The table, in Markdown."""
    lines = [
        "| fault | times it struck | workers killed | jobs given back | tables equal | lost or twice | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        back = f"{one.lost_with_worker} of dead workers, {one.back} others"
        equal = "yes" if not one.differences else f"NO: {len(one.differences)} rows"
        wrong = "none" if not one.wrong else f"{len(one.wrong)}"
        lines.append(
            f"| {one.fault} | {one.struck} | {one.workers_killed} | {back} | {equal} | {wrong} | {one.seconds:.0f} |"
        )
    return "\n".join(lines)


def run(bench: Bench, names: list[str]) -> list[Outcome]:
    """These faults, one after the other; each is told when it is over."""
    outcomes = []
    for name in names:
        outcome = FAULTS[name](bench)
        outcomes.append(outcome)
        state = "well" if outcome.is_well else "NOT WELL"
        print(f"{name}: {state}, struck {outcome.struck}, {outcome.seconds:.0f} s. {outcome.note}", flush=True)
        for kind, found in (("missed", outcome.missed), ("wrong", outcome.wrong), ("tables", outcome.differences)):
            for line in found[:_MOST_LINES]:
                print(f"  {kind}: {line[:500]}", flush=True)
    return outcomes


def main() -> int:
    """Run the faults; the exit code is 1 where one of them left something behind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help=f"parts of names of: {', '.join(FAULTS)}")
    parser.add_argument("--hub", type=Path, default=SAMPLE, help="a folder of models")
    parser.add_argument("--workers", type=int, default=Bench.workers)
    parser.add_argument("--keep", type=Path, help="a new folder for databases and the workers' words")
    parser.add_argument("--json", type=Path, help="a file for the outcomes")
    options = parser.parse_args()
    names = [name for name in FAULTS if not options.only or any(part in name for part in options.only)]
    with tempfile.TemporaryDirectory(prefix="hublineage-faults-", ignore_cleanup_errors=True) as own:
        folder = (options.keep or Path(own)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        jumps = preload(folder)
        if jumps is None:
            print("no C compiler: clocks cannot be made to jump here", file=sys.stderr)
            names = [name for name in names if not name.startswith("clock")]
        else:
            os.environ["LD_PRELOAD"] = jumps  # of all processes that are started from here on
        server = embedded.start(folder / "data")
        try:
            outcomes = run(Bench(options.hub, folder, server, options.workers), names)
        finally:
            embedded.stop(folder / "data")
    print(report(outcomes))
    print(f"{machine()}, commit {commit()}")
    if options.json:
        options.json.write_text(json.dumps([vars(one) for one in outcomes], indent=1))
    return 0 if all(one.is_well for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
