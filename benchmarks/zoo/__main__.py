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
        epilog="\n".join(f"{name:15} {kind.summary}" for name, kind in SPLITS.items()),
    )
    split.add_argument("name", choices=SPLITS)
    split.add_argument("--seed", type=int, required=True, help="another seed is another zoo")
    split.add_argument("--out", type=Path, required=True, help="the folder to fill")
    split.add_argument("--trees", type=int, default=5, help="number of unrelated trees (5)")
    split.add_argument("--branch", type=int, default=4, help="children of every inner node (4)")
    split.add_argument("--depth", type=int, default=2, help="generations after the root (2)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 2 where the request makes no sense."""
    asked = parser().parse_args(arguments)
    try:
        if asked.command == "sample":
            plan = sample_plan()
        else:
            plan = split_plan(asked.name, asked.seed, asked.trees, asked.branch, asked.depth)
        grow(plan, asked.out)
    except ValueError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
