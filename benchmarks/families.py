"""Families of random networks on disk, for benchmarks of measuring, and how their figures are printed."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lineage.family import Layer, LayerKind
from lineage.stored_tensor import DTYPES, StoredTensor

Shapes = Mapping[str, tuple[int, ...]]
GIB = 1 << 30
_PIECE = 1 << 20  # elements written at once


@dataclass(frozen=True)
class Family:
    """Members on disk, `folder/family/member-000/model.safetensors`, with the same layers at the same places."""

    folder: Path
    members: int
    dtype: str
    layers: tuple[Layer, ...]
    places: tuple[StoredTensor, ...]

    @property
    def names(self) -> list[str]:
        """The members' repositories."""
        return [f"family/member-{number:03}" for number in range(self.members)]

    @property
    def files(self) -> list[Path]:
        """The members' weight files."""
        return [self.folder / name / "model.safetensors" for name in self.names]

    @property
    def parameters(self) -> int:
        """Of one member."""
        return sum(layer.size for layer in self.layers)

    @property
    def size(self) -> int:
        """Bytes of all members' tensors."""
        return self.members * self.parameters * DTYPES[self.dtype].itemsize


def write(folder: Path, shapes: Shapes, members: int, dtype: str = "F16", step: float = 0.01) -> Family:
    """Write one random root and its children, near it; members that are there already are left alone.

    A child is the root plus `step` of noise of its own. Random numbers are the slow part, so one stretch of them is
    used over and over, at offsets that differ from piece to piece.
    """
    header, places, at = {}, [], 0
    for name, shape in shapes.items():
        end = at + DTYPES[dtype].itemsize * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        places.append((name, at, end))
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    family = Family(
        folder,
        members,
        dtype,
        tuple(Layer(n, s, LayerKind.TRUNK if len(s) > 1 else LayerKind.VECTOR) for n, s in shapes.items()),
        tuple(StoredTensor("model.safetensors", name, dtype, start + a, start + b) for name, a, b in places),
    )
    noise = torch.randn(2 * _PIECE, generator=torch.Generator().manual_seed(0))
    for member, path in enumerate(family.files):
        if path.exists() and path.stat().st_size == start + at:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            for first in range(0, family.parameters, _PIECE):
                count = min(_PIECE, family.parameters - first)
                piece = 0.02 * _stretch(noise, first // _PIECE * 7_919, count)
                if member:
                    piece += 0.02 * step * _stretch(noise, first // _PIECE * 104_729 + member * 31_337, count)
                stream.write(piece.to(DTYPES[dtype]).view(torch.uint8).numpy().tobytes())
            stream.flush()
            os.fsync(stream.fileno())  # only what is on the disk can be dropped from memory
        part.rename(path)
    return family


def decoder(
    parameters: int, vocabulary: int = 32_768, width: int = 1_024, deep: int = 4_096
) -> dict[str, tuple[int, ...]]:
    """The shapes of a decoder of at least so many parameters."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
    }
    block: dict[str, tuple[int, ...]] = {
        **{f"self_attn.{name}_proj.weight": (width, width) for name in "qkvo"},
        "mlp.up_proj.weight": (deep, width),
        "mlp.gate_proj.weight": (deep, width),
        "mlp.down_proj.weight": (width, deep),
        "input_layernorm.weight": (width,),
        "post_attention_layernorm.weight": (width,),
    }
    left = parameters - sum(map(math.prod, shapes.values()))
    for number in range(max(1, math.ceil(left / sum(map(math.prod, block.values()))))):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in block.items()}
    return shapes


def vision_transformer(blocks: int, width: int = 768) -> dict[str, tuple[int, ...]]:
    """The shapes of ViT-B's encoder (12 blocks of width 768)."""
    block: dict[str, tuple[int, ...]] = {
        **{f"attention.{name}.weight": (width, width) for name in ("query", "key", "value", "output")},
        **{f"attention.{name}.bias": (width,) for name in ("query", "key", "value", "output")},
        "intermediate.weight": (4 * width, width),
        "intermediate.bias": (4 * width,),
        "output.weight": (width, 4 * width),
        "output.bias": (width,),
        **{f"norm_{side}.{part}": (width,) for side in ("before", "after") for part in ("weight", "bias")},
    }
    return {f"encoder.{number}.{name}": shape for number in range(blocks) for name, shape in block.items()}


def drop_from_memory(files: Sequence[Path]) -> bool:
    """Let the next read come from the disk, as far as the system lets a program ask for that; whether it does."""
    if not hasattr(os, "posix_fadvise"):
        return False
    for file in files:
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True


def spread(values: Sequence[float], digits: str = ".2f") -> str:
    """Median (least-greatest)."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:{digits}} ({ordered[0]:{digits}}-{ordered[-1]:{digits}})"


def machine() -> str:
    """What else matters for the figures: cores, and how busy they were before."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    python = ".".join(map(str, sys.version_info[:2]))
    when = time.strftime("%Y-%m-%d %H:%M")
    return f"{os.cpu_count()} cores, load {load:.1f}, Python {python}, torch {torch.__version__}, {when}"


def _stretch(noise: torch.Tensor, start: int, count: int) -> torch.Tensor:
    first = start % _PIECE
    return noise[first : first + count]
