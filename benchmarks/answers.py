"""How fast questions are answered in SQL, on a synthetic catalogue of as many models as are asked for.

    python -m benchmarks.answers [--models 1000000] [--declared 2000000] [--samples 400] [--seed 0] [--data-dir DIR]

Models are drawn at random, all alike, so that a hub with very many descendants is as frequent as it is among models;
the largest hubs are asked for apart: a page of their nearest descendants (`at_most`), and all of them. The targets are
50 ms at the 95th percentile for a question about one model, and 5 s for the summary of all disagreements; where a
model is named no table of more than a few pages may be read from its beginning to its end, which the plan (of a view)
or the counters of the transaction (of a function) must show. Exit code 1 where a target is missed. Where others load
the machine, times are upper bounds; the CPU time of the server's process, which is printed beside them, is not.

With --data-dir the catalogue stays there, and is taken up again by the next call.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import psutil
import psycopg

from benchmarks.answers_catalogue import descendants_of_all, write
from benchmarks.answers_names import name_of
from benchmarks.answers_synthetic import synthetic
from db import embedded, schema
from db.engine import connect

TARGET_MS = 50.0
SUMMARY_S = 5.0
FEW_PAGES = 16  # such a table is read faster whole than by its index


@dataclass(frozen=True)
class Question:
    """A query about one model, with %s for its name."""

    name: str
    query: LiteralString
    targeted: bool = True


QUESTIONS = (
    Question("ancestors", "SELECT * FROM hublineage.ancestors(%s, strict => false)"),
    Question("ancestors, declared", "SELECT * FROM hublineage.ancestors(%s, 'declared')"),
    Question("ancestors, both", "SELECT * FROM hublineage.ancestors(%s, 'both')"),
    Question("descendants", "SELECT * FROM hublineage.descendants(%s, strict => false)"),
    Question("descendants, both", "SELECT * FROM hublineage.descendants(%s, 'both')"),
    Question("root", "SELECT * FROM hublineage.root(%s)"),
    Question("siblings, a page", "SELECT * FROM hublineage.siblings(%s, strict => false, at_most => 100)"),
    Question("verdict", "SELECT * FROM hublineage.verdicts WHERE model = %s"),
    Question("lineage", "SELECT * FROM hublineage.lineage WHERE model = %s"),
    Question("declared parents", "SELECT * FROM hublineage.declared_parents WHERE model = %s"),
    Question("inferred parents", "SELECT * FROM hublineage.inferred_parents WHERE model = %s"),
    Question("inferred children, a page", "SELECT * FROM hublineage.inferred_parents WHERE parent = %s LIMIT 100"),
    Question("declared children, a page", "SELECT * FROM hublineage.declared_parents WHERE parent = %s LIMIT 100"),
    Question("children by lineage, a page", "SELECT * FROM hublineage.lineage WHERE parent = %s LIMIT 100"),
    Question(
        "parents with their verdicts",
        "SELECT * FROM hublineage.verdicts JOIN hublineage.inferred_parents USING (model) WHERE model = %s",
    ),
    Question("place in its tree", "SELECT * FROM hublineage.trees WHERE model = %s"),
    Question("licence findings", "SELECT * FROM hublineage.licence_findings WHERE model = %s"),
    Question("licence and its ancestors'", "SELECT * FROM hublineage.licences WHERE model = %s"),
    Question("copies", "SELECT * FROM hublineage.copies WHERE model = %s"),
    Question("failures", "SELECT * FROM hublineage.failures WHERE model = %s"),
    Question("declared problems", "SELECT * FROM hublineage.declared_problems WHERE model = %s"),
)
HUB_PAGE = Question("descendants, a page", "SELECT * FROM hublineage.descendants(%s, at_most => 100)")
HUB_ALL = Question("descendants, all", "SELECT count(*) FROM hublineage.descendants(%s)", targeted=False)
UNKNOWN = Question("unknown name", "SELECT hublineage.find(%s || '-x')")
SUMMARIES: dict[str, LiteralString] = {
    "by verdict": "SELECT verdict, count(*) FROM hublineage.disagreements GROUP BY 1 ORDER BY 2 DESC",
    "by organisation and verdict": "SELECT organisation, verdict, count(*) FROM hublineage.disagreements"
    " GROUP BY 1, 2 ORDER BY 3 DESC",
    "the surest hundred": "SELECT * FROM hublineage.disagreements ORDER BY confidence DESC NULLS LAST, model LIMIT 100",
}


def milliseconds(
    connection: psycopg.Connection, question: Question, models: Sequence[str]
) -> tuple[list[float], list[float]]:
    """How long each answer took, and the CPU time of the server's process; an error, as of an unknown name, is one."""
    spent, busy = [], []
    for model in models:
        begun, worked = time.perf_counter(), _cpu_seconds(connection)
        with suppress(psycopg.errors.NoDataFound):
            connection.execute(question.query, [model]).fetchall()
        spent.append(1_000 * (time.perf_counter() - begun))
        busy.append(1_000 * (_cpu_seconds(connection) - worked))
    return spent, busy


def _cpu_seconds(connection: psycopg.Connection) -> float:
    """CPU time of the server's process: Linux counts it in nanoseconds, others in ticks."""
    number = connection.info.backend_pid
    try:
        return int(Path(f"/proc/{number}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        times = psutil.Process(number).cpu_times()
        return float(times.user + times.system)


def read_whole(connection: psycopg.Connection, question: Question, model: str) -> set[str]:
    """The tables, of more than a few pages, that answering reads from beginning to end."""
    scanned: set[str] = set()
    if "hublineage." in question.query and " WHERE " in question.query:
        (plan,) = connection.execute("EXPLAIN (FORMAT JSON) " + question.query, [model]).fetchone() or ([],)
        scanned |= _sequential(plan[0]["Plan"])
    with connection.transaction(force_rollback=True):
        connection.execute(question.query, [model]).fetchall()
        counted = connection.execute("SELECT relname FROM pg_stat_xact_user_tables WHERE seq_scan > 0").fetchall()
    scanned |= {str(row[0]) for row in counted}
    large = connection.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY (%s) AND relpages > %s", [list(scanned), FEW_PAGES]
    ).fetchall()
    return {str(row[0]) for row in large}


def _sequential(plan: dict[str, Any]) -> set[str]:
    own = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return own.union(*(_sequential(one) for one in plan.get("Plans", ())))


def main() -> int:
    """Fill, ask, and print a line for each question."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=1_000_000)
    parser.add_argument("--declared", type=int, help="declared edges; twice the models unless said")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path, help="keep the catalogue in this folder")
    arguments = parser.parse_args()
    machine = f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores"
    print(f"{arguments.models} models, seed {arguments.seed}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data_dir = (arguments.data_dir or Path(folder)).resolve()
        with embedded.serving(data_dir) as url:
            engine = connect(url)
            schema.upgrade(engine)
            engine.dispose()
            with psycopg.connect(url) as connection:
                return asked(connection, arguments)


def asked(connection: psycopg.Connection, arguments: argparse.Namespace) -> int:
    """Ask everything; 1 where a target was missed."""
    made = synthetic(arguments.models, arguments.seed)
    (there,) = connection.execute("SELECT count(*) FROM repositories").fetchone() or (0,)
    if there != made.models:
        if there:
            raise SystemExit(f"the folder holds a catalogue of {there} models: name another one")
        begun = time.perf_counter()
        write(connection, made, arguments.declared or 2 * made.models)
        print(f"written in {time.perf_counter() - begun:.0f} s")
    connection.rollback()  # nothing was changed: only to be between two transactions
    connection.autocommit = True
    below = descendants_of_all(made)
    sizes = {
        table: connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608  # our own names
        for table in ("repositories", "declared_parents", "edges", "clusters", "runs", "duplicates", "licence_findings")
    }
    print(", ".join(f"{count[0]:,} {table}" for table, count in sizes.items() if count))
    print(f"most descendants of one model: {below.max():,}; deepest tree: {_depth(made.parent):,}")
    draw = np.random.default_rng(arguments.seed + 1)
    some = [name_of(n) for n in draw.integers(0, made.models, arguments.samples).tolist()]
    hubs = [name_of(n) for n in np.argsort(below)[-10:].tolist()]
    missed = 0
    for question, models in (*((one, some) for one in QUESTIONS), (UNKNOWN, some), (HUB_PAGE, hubs), (HUB_ALL, hubs)):
        missed += told(connection, question, models)
    for name, query in SUMMARIES.items():
        begun, worked = time.perf_counter(), _cpu_seconds(connection)
        connection.execute(query).fetchall()
        seconds, busy = time.perf_counter() - begun, _cpu_seconds(connection) - worked
        missed += seconds > SUMMARY_S
        print(
            f"disagreements {name}: {seconds:.2f} s, of the server's CPU {busy:.2f} s"
            f"{'  MISSED' if seconds > SUMMARY_S else ''}"
        )
    return 1 if missed else 0


def told(connection: psycopg.Connection, question: Question, models: Sequence[str]) -> int:
    """Measure a question about these models, warm, and print a line; 1 where a target was missed."""
    milliseconds(connection, question, models[:10])
    spent, busy = milliseconds(connection, question, models)
    middle, late = np.percentile(spent, [50, 95])
    whole = set() if question is UNKNOWN else read_whole(connection, question, models[0])
    wrong = question.targeted and (late > TARGET_MS or bool(whole))
    scans = f", reads whole: {', '.join(sorted(whole))}" if whole else ""
    print(
        f"{question.name}: p50 {middle:.1f} ms, p95 {late:.1f} ms, max {max(spent):.1f} ms, "
        f"of the server's CPU p95 {np.percentile(busy, 95):.1f} ms{scans}{'  MISSED' if wrong else ''}",
        flush=True,
    )
    return int(wrong)


def _depth(parent: Any) -> int:
    """The longest way from a root, by first parents, which stand before their children."""
    depth = np.zeros(len(parent), dtype=np.int64)
    for n, above in enumerate(parent.tolist()):
        if above >= 0:
            depth[n] = depth[above] + 1
    return int(depth.max())


if __name__ == "__main__":
    sys.exit(main())
