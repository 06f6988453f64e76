"""How fast stored bytes go through the measures of a layer, against a plain sequential read.

    python -m benchmarks.streaming [--gib 1] [--dtype F16] [--members 8] [--repeat 5] [--no-hub] [--probes 160]

Moments, outliers, hashes, CountSketches, the Gram matrix, what zeros lose and slopes, from local files and from the
loopback Hub (served by another process), against reading the same bytes file by file into one buffer. Ranks are left
out unless probes are asked for: so many multiplications and additions for every number of a matrix are a load of their
own, which the processor's matrix rate limits. Cold: the files are dropped from memory before. Every round takes one
reading of each, so that all saw the same machine. Busy cores are the processor time of measuring per second of it:
where they are as many as the machine has, the processor is the limit, and else the source is.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import families
from crawler.folder import FolderSource
from crawler.hub import HubSource
from lineage.layer import measure_layer
from lineage.projection import Probes
from lineage.reading import MemberReader
from lineage.sketch import CountSketch, buckets
from lineage.sketching import LayerSketches
from lineage.stream import layer_stream

MEMORY = 1 << 30
_READ_AT_ONCE = 4 << 20


@dataclass(frozen=True)
class Revision:
    """A member as its reader knows it."""

    revision_id: int
    name: str
    sha: str


def main() -> int:
    """Run the benchmark."""
    arguments = _arguments()
    own = arguments.folder is None
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="hublineage-streaming-"))
    try:
        parameters = int(arguments.gib * families.GIB) // arguments.members // 2
        family = families.write(folder, families.decoder(parameters), arguments.members, arguments.dtype)
        print(
            f"{arguments.members} members, {family.dtype}, {family.size / families.GIB:.2f} GiB; {families.machine()}"
        )
        _compare("files", FolderSource(folder), family, arguments)
        if not arguments.no_hub:
            with served(folder) as url, HubSource(url) as hub:
                _compare("the loopback Hub", hub, family, arguments)
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=1.0, help="size of all files together, were they of two bytes")
    parser.add_argument("--dtype", default="F16", choices=("F16", "BF16", "F32"))
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--probes", type=int, default=0, help="of projections for ranks; 0: none are taken")
    parser.add_argument("--folder", type=Path, help="where the family is written, and reused; default: a temporary one")
    parser.add_argument("--no-hub", action="store_true", help="from files only")
    return parser.parse_args()


def _compare(title: str, source: Any, family: families.Family, arguments: argparse.Namespace) -> None:
    """Print a line of the table for cold and for warm reads."""
    revisions = [Revision(number, name, source.details(name).sha) for number, name in enumerate(family.names)]
    rates: dict[str, list[float]] = defaultdict(list)
    measure = partial(_measure, probes=arguments.probes)
    for _ in range(arguments.repeat):
        for state in ("cold", "warm"):
            for way, work in (("read", _read), ("measured", measure)):
                if state == "cold":
                    families.drop_from_memory(family.files)
                wall, busy = _timed(partial(work, source, family, revisions))
                rates[f"{state} {way}"].append(family.size / wall / 1e6)
                rates[f"{state} {way} cores"].append(busy / wall)
    for state in ("cold", "warm"):
        shares = [a / b for a, b in zip(rates[f"{state} measured"], rates[f"{state} read"], strict=True)]
        columns = [families.spread(rates[f"{state} {way}"], ".0f") for way in ("read", "measured")]
        cores = families.spread(rates[f"{state} measured cores"], ".1f")
        print(
            f"| {title}, {family.dtype}, {state} | {columns[0]} | {columns[1]} | {families.spread(shares)} | {cores} |"
        )


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds that passed, and that this process's threads computed."""
    start, before = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - before


def _read(source: Any, family: families.Family, revisions: list[Revision]) -> None:
    """Read all tensors, one member after the other, into one buffer."""
    buffer = memoryview(bytearray(_READ_AT_ONCE))
    first, last = family.places[0].start, family.places[-1].stop
    for revision in revisions:
        for start in range(first, last, _READ_AT_ONCE):
            into = buffer[: min(_READ_AT_ONCE, last - start)]
            source.read_into(revision.name, revision.sha, family.places[0].file, start, into)


def _measure(source: Any, family: families.Family, revisions: list[Revision], probes: int) -> None:
    """Measure all layers."""
    reader: MemberReader[Any] = MemberReader(source, ())
    members = range(len(revisions))
    sizes = buckets([layer.size for layer in family.layers])
    with layer_stream(reader, request=source.request_bytes) as stream:
        for layer, place, size in zip(family.layers, family.places, sizes, strict=True):
            reader.begin(revisions)
            tensors, shape = [place] * len(members), (layer.shape[0], layer.size // layer.shape[0])
            sketches = LayerSketches(
                CountSketch.of(layer, size),
                tensors,
                count=members,
                shape=shape,
                probes=Probes(shape[1], probes),
                project=members if 0 < probes < min(shape) else (),
            )
            with closing(sketches):
                watched = sketches.watch(stream)
                found = measure_layer(watched, layer, tensors, len(members), MEMORY, with_ranks=False)
            assert not found.unusable
            assert not reader.failed


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The local Hub in a process of its own."""
    code = "import sys\nfrom hublineage.hub.server import HubServer\n"
    code += "with HubServer(sys.argv[1]) as hub:\n    print(hub.url, flush=True)\n    sys.stdin.read()\n"
    command = [sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # our own program
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        assert server.stdin is not None
        server.stdin.close()


if __name__ == "__main__":
    sys.exit(main())
