"""Which of a repository's files hold its weights."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from db.errors import WeightsMissing

_NAMES = ("model", "diffusion_pytorch_model", "pytorch_model", "adapter_model")
_SHARD = re.compile(r"(?P<stem>[^/]+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})\.safetensors")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".pkl", ".joblib")
_STATE = ("training_args", "optimizer", "scheduler", "rng_state", "scaler", "trainer_state")


@dataclass(frozen=True)
class WeightFiles:
    """Either an index, whose shards must be read from it, or the files themselves."""

    index: str | None
    files: tuple[str, ...]


def weight_files(paths: Collection[str]) -> WeightFiles:
    """The weights among a repository's paths: one safetensors file or an index at the top, as in transformers.

    Raises WeightsMissing, saying what is there instead; the pickle formats are not loaded.
    """
    present = set(paths)
    for name in _NAMES:
        if f"{name}.safetensors" in present:
            return WeightFiles(None, (f"{name}.safetensors",))
        if f"{name}.safetensors.index.json" in present:
            return WeightFiles(f"{name}.safetensors.index.json", ())
    top = sorted(path for path in present if path.endswith(".safetensors") and "/" not in path)
    if len(top) == 1 and not _SHARD.fullmatch(top[0]):
        return WeightFiles(None, tuple(top))
    if top:
        return WeightFiles(None, _whole_set(top))
    others = sorted(path for path in present if path.endswith(_PICKLES))
    nested = sorted(path for path in present if path.endswith(".safetensors"))
    if nested:
        raise WeightsMissing(f"no safetensors at the top, only {nested[0]} and the like")
    if others:
        raise WeightsMissing(f"no safetensors, only {others[0]}, a format that is not loaded")
    raise WeightsMissing("the repository holds no weights")


def likely_weights(paths: Collection[str]) -> set[str]:
    """The weights by their names alone: safetensors at the top, else all files of any format, loaded by us or not.

    The state of a training is none.
    """
    found = {path for path in paths if path.endswith((".safetensors", *_PICKLES))}
    found = {path for path in found if not path.rpartition("/")[2].startswith(_STATE)}
    top = {path for path in found if path.endswith(".safetensors") and "/" not in path}
    return top or found


def _whole_set(top: list[str]) -> tuple[str, ...]:
    """Shards without an index: all of one numbered set, or nothing."""
    matches = [match for path in top if (match := _SHARD.fullmatch(path))]
    sets = {(match["stem"], match["count"]) for match in matches}
    if len(matches) != len(top) or len(sets) != 1:
        raise WeightsMissing(
            f"{len(top)} safetensors files ({top[0]}, ...) and no index that says which belong together"
        )
    stem, count = sets.pop()
    expected = {
        f"{stem}-{number:0{len(count)}d}-of-{count}.safetensors" for number in range(1, min(int(count), 9999) + 1)
    }
    missing = sorted(expected - set(top))
    if missing:
        raise WeightsMissing(f"{missing[0]} is not there, expected {int(count)} shards", file=missing[0])
    return tuple(sorted(expected))
