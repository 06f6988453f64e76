"""How much memory measuring a family takes, and how fast it reads: `python -m benchmarks.streaming`.

Writes a family of safetensors files of several GiB, crawls and measures it in a process of its own whose resident
memory is sampled, and compares the peak, above that of a process that only imports what it needs, with the setting.
Exits with 1 where the setting is exceeded.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from crawler.folder import FolderSource
from db import embedded, schema
from db.engine import connect
from hublineage import job
from hublineage.progress import Reporter
from hublineage.settings import parse_memory
from lineage.measure import Options

GIB = 1 << 30
VOCABULARY, WIDTH, DEEP = 32_768, 1_024, 4_096
_PIECE = 1 << 20  # elements written at once
_SAMPLE_SECONDS = 0.005
_READ_AT_ONCE = 16 << 20

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Watched:
    """What a child process printed, and what it took."""

    output: str
    peak: int  # bytes of resident memory
    seconds: float


def main() -> int:
    """Run the benchmark; the exit code is 1 where the memory setting was exceeded."""
    options = _arguments()
    if options.child == "baseline":
        torch.zeros(1)
        return 0
    if options.child == "measure":
        print(json.dumps(_measure(options.folder, options.data, parse_memory(options.memory))))
        return 0
    if options.child == "read":
        print(json.dumps(_read_all(options.folder)))
        return 0
    own = options.folder is None
    folder = options.folder or Path(tempfile.mkdtemp(prefix="hublineage-streaming-"))
    try:
        write_family(folder, options.members, int(options.gib * GIB))
        return _compare(folder, options.memory)
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=4.0, help="size of all files together")
    parser.add_argument("--memory", default="1GiB", help="the setting that must hold")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the family is written, and reused; default: a temporary one")
    parser.add_argument("--child", choices=("baseline", "measure", "read"), help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _compare(folder: Path, memory: str) -> int:
    setting = parse_memory(memory)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    print(f"{size / GIB:.2f} GiB in {len(list(folder.rglob('*.safetensors')))} files, setting {setting / GIB:.3f} GiB")
    # Read before and after, so that both are warm, or both cold where the files exceed the memory of the machine.
    _watched("--child", "read", "--folder", str(folder))
    with tempfile.TemporaryDirectory(prefix="hublineage-streaming-db-", ignore_cleanup_errors=True) as data:
        embedded.start(Path(data))
        try:
            baseline = _watched("--child", "baseline")
            measured = _watched("--child", "measure", "--folder", str(folder), "--data", data, "--memory", memory)
        finally:
            embedded.stop(Path(data))
    plain = json.loads(_watched("--child", "read", "--folder", str(folder)).output)
    found = json.loads(measured.output)
    above = measured.peak - baseline.peak
    print(f"baseline   {baseline.peak / GIB:.3f} GiB   interpreter, torch, hublineage")
    print(
        f"measuring  {measured.peak / GIB:.3f} GiB   {above / GIB:.3f} GiB above: {above / setting:.0%} of the setting"
    )
    print(f"crawl {found['crawl']:.2f} s, measure {found['measure']:.1f} s for {found['layers']} layers")
    print(f"{size / found['measure'] / 1e6:.0f} MB/s measured, {size / plain['seconds'] / 1e6:.0f} MB/s only read:"
          f" {found['measure'] / plain['seconds']:.1f} times the reading")  # fmt: skip
    if above > setting:
        print("the setting was exceeded")
        return 1
    return 0


def _watched(*arguments: str) -> Watched:
    """Run this module in another process and sample its resident memory."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "benchmarks.streaming", *arguments]
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
        return Watched(output.read(), peak, time.perf_counter() - start)


def _measure(folder: Path, data: Path, memory: int) -> dict[str, float]:
    engine = connect(embedded.start(data))
    schema.upgrade(engine)
    source = FolderSource(folder)
    work = job.Job(options=Options(memory=memory))
    report = Reporter(None)
    start = time.perf_counter()
    crawled = job.crawl(engine, source, work, report)
    middle = time.perf_counter()
    layers = job.measure(engine, source, crawled.source_id, work, report)
    end = time.perf_counter()
    engine.dispose()
    return {"crawl": middle - start, "measure": end - middle, "layers": layers}


def _read_all(folder: Path) -> dict[str, float]:
    """Read all files once, into one buffer."""
    buffer = memoryview(bytearray(_READ_AT_ONCE))
    start = time.perf_counter()
    for file in sorted(folder.rglob("*.safetensors")):
        with file.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return {"seconds": time.perf_counter() - start}


def write_family(folder: Path, members: int, size: int) -> None:
    """Write one random root and its children, near it, in fp16; a folder that holds them already is left alone."""
    shapes = _shapes(size // members // 2)
    for member in range(members):
        path = folder / "family" / f"member-{member:02}" / "model.safetensors"
        total = 2 * sum(map(math.prod, shapes.values()))
        if path.exists() and path.stat().st_size >= total:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        _write(part, shapes, member)
        part.rename(path)


def _shapes(parameters: int) -> Shapes:
    """A decoder of at least so many parameters, with an embedding of 32k x 1024."""
    shapes: Shapes = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,)}
    block: Shapes = {
        **{f"self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"},
        "mlp.up_proj.weight": (DEEP, WIDTH),
        "mlp.gate_proj.weight": (DEEP, WIDTH),
        "mlp.down_proj.weight": (WIDTH, DEEP),
        "input_layernorm.weight": (WIDTH,),
        "post_attention_layernorm.weight": (WIDTH,),
    }
    left = parameters - sum(map(math.prod, shapes.values()))
    blocks = max(1, math.ceil(left / sum(map(math.prod, block.values()))))
    for number in range(blocks):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in block.items()}
    return shapes


def _write(path: Path, shapes: Shapes, member: int) -> None:
    """A member is the root plus, unless it is the root itself, a hundredth of noise of its own.

    Random numbers are the slow part, so one stretch of them is reused at offsets that differ from piece to piece.
    """
    header, at = {}, 0
    for name, shape in shapes.items():
        end = at + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = torch.randn(2 * _PIECE, generator=torch.Generator().manual_seed(0))
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for first in range(0, at // 2, _PIECE):
            count = min(_PIECE, at // 2 - first)
            piece = 0.02 * _stretch(noise, first // _PIECE * 7_919, count)
            if member:
                piece += 2e-4 * _stretch(noise, first // _PIECE * 104_729 + member * 31_337, count)
            stream.write(piece.half().numpy().tobytes())


def _stretch(noise: torch.Tensor, start: int, count: int) -> torch.Tensor:
    first = start % _PIECE
    return noise[first : first + count]


if __name__ == "__main__":
    sys.exit(main())
