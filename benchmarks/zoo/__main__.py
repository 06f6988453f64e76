"""The command: python -m benchmarks.zoo sample | split NAME."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.zoo.growing import grow
from benchmarks.zoo.sample import sample_plan
from benchmarks.zoo.splits import SPLITS, split_plan


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    top = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description="Train networks of known lineage.")
    commands = top.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="make the sample Hub")
    sample.add_argument("--out", type=Path, default=Path("benchmarks/sample_hub"), help="the folder to fill")
    split = commands.add_parser(
        "split",
        help="make one of the named splits",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:22} {kind.summary}" for name, kind in SPLITS.items()),
    )
    split.add_argument("name", choices=SPLITS)
    split.add_argument("--seed", type=int, required=True, help="another seed is another zoo")
    split.add_argument("--out", type=Path, required=True, help="the folder to fill")
    split.add_argument("--trees", type=int, help="number of unrelated trees (the split's own: mostly 5)")
    split.add_argument("--branch", type=int, help="children of every inner node (the split's own: mostly 4)")
    split.add_argument("--depth", type=int, help="generations after the root (the split's own: mostly 2)")
    split.add_argument("--jobs", type=int, default=1, help="networks trained at a time, a process each (1)")
    split.add_argument("--store", type=Path, help="keep trained networks here, for zoos that share them")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 2 where the request makes no sense."""
    asked = parser().parse_args(arguments)
    try:
        if asked.command == "sample":
            grow(sample_plan(), asked.out)
        else:
            plan = split_plan(asked.name, asked.seed, asked.trees, asked.branch, asked.depth)
            grow(plan, asked.out, max(1, asked.jobs), asked.store)
    except ValueError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
