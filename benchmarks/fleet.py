"""How long a fleet takes for the whole Hub, and for one popular architecture, and what limits it.

    python -m benchmarks.fleet              simulate 1, 10 and 50 workers and print the tables (under two minutes)
    python -m benchmarks.fleet --measure    first measure on this machine what the work costs (about a minute)
    python -m benchmarks.fleet --write      put the tables into docs/scale.md, between its markers

A discrete-event simulation (benchmarks.fleet_simulation) of what the pipeline does (benchmarks.fleet_plan), with
costs that were measured (benchmarks/fleet_costs.json), the Hub's documented quotas at a share of a half, and
assumptions about what is on the Hub. The tables change one of these at a time; docs/scale.md says what they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.fleet_costs import FILE, read_costs, read_sources, write_costs
from benchmarks.fleet_tables import NAME, document
from benchmarks.pages import between_markers

PAGE = Path("docs/scale.md")


def main() -> int:
    """Simulate, after measuring where that is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--measure", action="store_true", help=f"measure the costs here and write {FILE.name}")
    parser.add_argument("--costs", type=Path, default=FILE, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE}")
    parser.add_argument("--page", type=Path, default=PAGE, help="default: %(default)s")
    asked = parser.parse_args()
    try:
        if asked.write:
            between_markers(asked.page.read_text(), NAME, "")  # before the work is done
        if asked.measure:
            from benchmarks.fleet_measure import calibrated  # noqa: PLC0415  # torch takes seconds to import

            write_costs(calibrated(), asked.costs)
        begun = time.perf_counter()
        text = document(read_costs(asked.costs), read_sources(asked.costs))
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    print(text)
    print(f"\nsimulated in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if asked.write:
        asked.page.write_text(between_markers(asked.page.read_text(), NAME, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
