"""The main job on the sample Hub, served on a loopback port: `make demo`.

    python -m benchmarks.demo [--data-dir DIR] [--picture FILE.svg]

Weights alone are evidence. The score against truth.json is computed here, apart from the program that inferred.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hublineage.hub.server import HubServer
from hublineage.render import print_result
from lineage.evaluate import Score, score

SAMPLE = Path(__file__).parent / "sample_hub"
PORT = 18_765  # fixed: a source is named by its address, and the second run is to find what the first one stored
FAULTS = {"root", "wrong", "missing", "malformed", "local path", "list"}


def port() -> int:
    """The demo's own port, or 0 for any free one where something else listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


def infer(endpoint: str, data_dir: Path, method: str) -> dict[str, Any]:
    """Run the main job through the command that users have."""
    command = [sys.executable, "-m", "hublineage", "run", "--endpoint", endpoint, "--limit", "1000", "--json"]
    command += ["--weights-only", "--method", method, "--data-dir", str(data_dir)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)  # noqa: S603  # our own program
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def scored(result: dict[str, Any], models: dict[str, dict[str, Any]]) -> Score:
    """The score of a result against the models' true parents; adapters have no weights of their own to place."""
    placed = {model for family in result["families"] for model in family["models"]}
    truth = {name: one["parents"] for name, one in models.items() if name in placed}
    trees = [(tree["root"], tree["models"]) for family in result["families"] for tree in family["trees"]]
    edges = [(e["parent"], e["child"]) for f in result["families"] for t in f["trees"] for e in t["edges"]]
    return score(truth, trees, edges, copies=result["duplicates"])


def verdicts_right(result: dict[str, Any], models: dict[str, dict[str, Any]]) -> tuple[list[str], int, int]:
    """A line for every wrong verdict, and how many of the faulty cards got the right one, of how many."""
    given = {row["model"]: row["verdict"] for row in result["verdicts"]}
    expected = {name: one["verdict"] for name, one in models.items() if one.get("verdict")}
    wrong = [
        f"{name}: {given.get(name)}, expected {verdict}"
        for name, verdict in expected.items()
        if given.get(name) != verdict
    ]
    faulty = [name for name in expected if models[name].get("card") in FAULTS]
    return wrong, sum(given.get(name) == expected[name] for name in faulty), len(faulty)


def score_table(scores: dict[str, Score]) -> Table:
    """Ours beside the paper's method."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in (
        "method",
        "true edges found",
        "ignoring direction",
        "roots",
        "trees (adjusted Rand)",
        "false parents",
    ):
        table.add_column(column)
    for method, one in scores.items():
        table.add_row(
            method,
            f"{one.directed:.1%} of {one.true_edges} (random roots: {one.random_root_directed:.1%})",
            f"{one.undirected:.1%}",
            f"{one.roots:.1%} (random: {one.random_roots:.1%})",
            f"{one.adjusted_rand:.3f}",
            f"{one.false_parents} of {one.strangers} strangers",
        )
    return table


def main() -> int:
    """Serve, run both methods, print ours, and score both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path("build/demo"))
    parser.add_argument("--picture", type=Path, help="write what is printed as an SVG, too")
    arguments = parser.parse_args()
    data_dir: Path = arguments.data_dir.resolve()
    models: dict[str, dict[str, Any]] = json.loads((SAMPLE / "truth.json").read_text())["models"]
    console = Console(width=None if sys.stdout.isatty() else 150, record=arguments.picture is not None)
    with HubServer(SAMPLE, port=port()) as hub:
        print(f"The sample Hub ({len(models)} repositories) is at {hub.url}.", file=sys.stderr)
        mother = infer(hub.url, data_dir, "mother")
        ours = infer(hub.url, data_dir, "recover")
    print_result(console, ours)
    scores = {"recover (ours)": scored(ours, models), "mother (the paper's)": scored(mother, models)}
    console.print("\n[bold underline]against the truth, which the inference did not see[/]")
    console.print(score_table(scores))
    wrong, faults, faulty = verdicts_right(ours, models)
    console.print(
        f"faulty cards named rightly: {faults} of {faulty}; wrong verdicts in all: {len(wrong)}", highlight=False
    )
    for line in wrong:
        console.print(f"  {line}", highlight=False, markup=False)
    if arguments.picture is not None:
        console.save_svg(str(arguments.picture), title="make demo")
    model = next(tree["models"][-1] for family in ours["families"] for tree in family["trees"])
    print_hints(console, model, data_dir)
    return 0


def print_hints(console: Console, model: str, data_dir: Path) -> None:
    """Say what to try next."""
    console.print(
        f"""
[bold underline]what to try next[/]
  .venv/bin/hublineage tree {model} --data-dir {data_dir}
  .venv/bin/hublineage show {model} --data-dir {data_dir}
  .venv/bin/hublineage db psql --data-dir {data_dir} -c 'TABLE hublineage.verdicts'
  .venv/bin/hublineage run --folder ./checkpoints                    # a folder of org/name/ model folders
  .venv/bin/hublineage run --author google-bert --architecture 'Bert*'   # the real Hub""",
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
