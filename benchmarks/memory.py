"""Peak memory of the whole job against the setting, for families of few and of many models.

    python -m benchmarks.memory [--members 8 64 256] [--memory 64MiB 256MiB 1GiB] [--gib 1]

Each family is `gib` GiB of float16 files, all members together, with embeddings too large for any block. It is crawled
and measured in a process of its own whose resident memory is sampled; what a process takes that does the same with two
models of a few numbers is subtracted: interpreter, torch, connections, libraries' own buffers. The embedded server is
a process beside it and not counted. Exits with 1 where the setting was exceeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks import families
from crawler.folder import FolderSource
from db import embedded, schema
from db.engine import connect
from hublineage import job
from hublineage.progress import Reporter
from hublineage.settings_values import parse_memory
from lineage.measure_options import Options

_SAMPLE_SECONDS = 0.005
MIB = 1 << 20


@dataclass(frozen=True)
class Watched:
    """What a child process printed, and what it took."""

    output: str
    peak: int  # bytes of resident memory


def main() -> int:
    """Run the benchmark; the exit code is 1 where the memory setting was exceeded."""
    arguments = _arguments()
    if arguments.child == "measure":
        print(json.dumps(_measure(arguments.folder, arguments.data, parse_memory(arguments.memory[0]))))
        return 0
    exceeded = 0
    with tempfile.TemporaryDirectory(prefix="hublineage-memory-tiny-") as tiny:
        families.write(Path(tiny), families.decoder(0, vocabulary=8, width=8, deep=8), 2)
        baseline = _job(Path(tiny), "64MiB").peak
    print(f"above {baseline / MIB:.0f} MiB for two models of a few numbers; {families.machine()}")
    print("| models | stored | setting | peak | share | measuring |")
    print("|---|---|---|---|---|---|")
    for members in arguments.members:
        folder = (arguments.folder or Path(tempfile.mkdtemp(prefix="hublineage-memory-"))) / str(members)
        try:
            parameters = int(arguments.gib * families.GIB) // members // 2
            family = families.write(folder, _shapes(parameters), members)
            for memory in arguments.memory:
                exceeded |= _line(family, memory, baseline)
        finally:
            if arguments.folder is None:
                shutil.rmtree(folder.parent, ignore_errors=True)
    return exceeded


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0, help="size of all files of a family together")
    parser.add_argument("--memory", nargs="+", default=["64MiB", "256MiB", "1GiB"], help="the settings that must hold")
    parser.add_argument("--members", type=int, nargs="+", default=[8, 64, 256])
    parser.add_argument("--folder", type=Path, help="where families are written, and reused; default: a temporary one")
    parser.add_argument("--child", choices=("measure",), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _shapes(parameters: int) -> dict[str, tuple[int, ...]]:
    """A decoder half of whose parameters are its embeddings."""
    width = 256
    vocabulary = max(1_000, parameters // 2 // width)
    return families.decoder(parameters, vocabulary=vocabulary, width=width, deep=4 * width)


def _line(family: families.Family, memory: str, baseline: int) -> int:
    """Measure a family with a setting, and print it; 1 where the setting was exceeded."""
    setting = parse_memory(memory)
    measured = _job(family.folder, memory)
    above = measured.peak - baseline
    seconds = json.loads(measured.output)["measure"]
    rate = family.size / seconds / 1e6
    print(f"| {family.members} | {family.size / families.GIB:.2f} GiB | {memory} | {above / MIB:.0f} MiB |"
          f" {above / setting:.0%} | {seconds:.1f} s, {rate:.0f} MB/s |", flush=True)  # fmt: skip
    return int(above > setting)


def _job(folder: Path, memory: str) -> Watched:
    """Crawl and measure a folder in another process, with an embedded server beside it."""
    with tempfile.TemporaryDirectory(prefix="hublineage-memory-db-", ignore_cleanup_errors=True) as data:
        embedded.start(Path(data))
        try:
            return _watched("--child", "measure", "--folder", str(folder), "--data", data, "--memory", memory)
        finally:
            embedded.stop(Path(data))


def _watched(*arguments: str) -> Watched:
    """Run this module in another process and sample its resident memory."""
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "benchmarks.memory", *arguments]
        child = psutil.Popen(command, stdout=output)
        peak = 0
        while child.poll() is None:
            try:
                peak = max(peak, child.memory_info().rss)
            except psutil.Error:
                break
            time.sleep(_SAMPLE_SECONDS)
        if child.wait() != 0:
            raise subprocess.CalledProcessError(child.returncode, command)
        output.seek(0)
        return Watched(output.read(), peak)


def _measure(folder: Path, data: Path, memory: int) -> dict[str, float]:
    engine = connect(embedded.start(data))
    schema.upgrade(engine)
    source = FolderSource(folder)
    work = job.Job(options=Options(memory=memory))
    report = Reporter(None)
    crawled = job.crawl(engine, source, work, report)
    start = time.perf_counter()
    layers = job.measure(engine, source, crawled.source_id, work, report)
    seconds = time.perf_counter() - start
    engine.dispose()
    return {"measure": seconds, "layers": layers}


if __name__ == "__main__":
    sys.exit(main())
