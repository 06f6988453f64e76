"""safetensors headers and indices: bytes in, tensor specs with absolute byte ranges out.

The format is 8 bytes of header length N (little endian), N bytes of JSON, then the data; `data_offsets` count from the
data's beginning, so absolute = 8 + N + offset (https://huggingface.co/docs/safetensors, "Format"). What is accepted is
what the reference library (safetensors 0.8) accepts, holes and overlaps refused like there, save four things that it
reads and the format or our catalogue does not allow: duplicate keys, names that hold a NUL, more than 64 dimensions,
dimensions of 2^63 and more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NoReturn

from db.errors import ConfigMalformed, HeaderMalformed, TensorUnusable, WeightsMissing

HEADER_LIMIT = 100_000_000  # bytes; the format's own limit
FIRST_READ = 64 * 1024  # bytes asked for at first: most headers of up to 500 tensors fit
MAX_NAME = 1000  # bytes of UTF-8; the catalogue's indices hold no longer ones
MAX_DIMENSIONS = 64
MAX_DIMENSION = 2**63 - 1

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
"""Bits per element of every dtype of safetensors 0.8."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a file: [start, stop) are absolute byte offsets in that file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def byte_count(self) -> int:
        """Length in bytes."""
        return self.stop - self.start


@dataclass(frozen=True)
class Header:
    """A whole safetensors header; `specs` ascend by offset, `data_start` is the first byte behind the header."""

    specs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = field(hash=False)
    data_start: int


@dataclass(frozen=True)
class Index:
    """A model.safetensors.index.json: the shards in order of name, and which of them holds which tensor."""

    shards: tuple[str, ...]
    weight_map: Mapping[str, str] = field(hash=False)  # tensor -> shard, as a path in the repository


class _DuplicateKeyError(ValueError):
    """A JSON object names one key twice."""


def header_length(prefix: bytes, file_size: int, *, file: str) -> int:
    """N, read from the first 8 bytes of a file of `file_size` bytes.

    Raises HeaderMalformed where the file is too short for it or N is beyond the format's limit.
    """
    if file_size < 8 or len(prefix) < 8:
        raise HeaderMalformed(f"the file has {file_size} bytes, expected at least 8 for the header's length", file=file)
    length = int.from_bytes(prefix[:8], "little")
    if length > HEADER_LIMIT:
        raise HeaderMalformed(f"the header says it is {length} bytes long, expected at most {HEADER_LIMIT}", file=file)
    if 8 + length > file_size:
        raise HeaderMalformed(
            f"the header says it is {length} bytes long, expected at most {file_size - 8} "
            f"in a file of {file_size} bytes",
            file=file,
        )
    return length


def read_header(read: Callable[[int, int], bytes], file_size: int, *, file: str) -> Header:
    """The header of a file of which `read(start, stop)` gives the bytes; one read where FIRST_READ is enough, else two.

    Raises what `read` raises, HeaderMalformed and TensorUnusable.
    """
    head = read(0, min(file_size, FIRST_READ)) if file_size else b""
    end = 8 + header_length(head, file_size, file=file)
    if end > len(head):
        head += read(len(head), end)
    return parse_header(head, file_size, file=file)


def parse_header(data: bytes, file_size: int, *, file: str) -> Header:
    """The header at the beginning of `data`, checked against itself and the size of its file.

    Raises HeaderMalformed, naming the tensor where there is one, and TensorUnusable for a dtype that is not known,
    which leaves its bytes and hence the file unchecked. Memory stays within a small multiple of the header's length.
    """
    length = header_length(data, file_size, file=file)
    if len(data) < 8 + length:
        raise HeaderMalformed(f"{len(data)} bytes were given, expected the header's {8 + length}", file=file)
    document = _json_object(data[8 : 8 + length], file)
    metadata = _metadata(document.pop("__metadata__", None), file)
    data_start = 8 + length
    specs = [_spec(name, entry, data_start, file) for name, entry in document.items()]
    specs.sort(key=lambda spec: (spec.start, spec.stop, spec.name))
    _check_layout(specs, data_start, file_size, file)
    return Header(tuple(specs), metadata, data_start)


def _json_object(raw: bytes, file: str) -> dict[str, Any]:
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise HeaderMalformed(f"the header is not UTF-8 at its byte {error.start}", file=file) from None
    except RecursionError:
        raise HeaderMalformed("the header is nested too deeply, expected one object of objects", file=file) from None
    except _DuplicateKeyError as error:
        raise HeaderMalformed(f"the header names {error} twice", file=file) from None
    except ValueError as error:
        raise HeaderMalformed(f"the header is not JSON: {str(error)[:200]}", file=file) from None
    if not isinstance(document, dict):
        raise HeaderMalformed(f"the header is a JSON {type(document).__name__}, expected an object", file=file)
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateKeyError(repr(name[:200]))
            seen.add(name)
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _metadata(value: Any, file: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise HeaderMalformed("__metadata__ is not an object of strings", file=file)
    return value


def _spec(name: str, entry: Any, data_start: int, file: str) -> TensorSpec:
    def malformed(detail: str) -> HeaderMalformed:
        return HeaderMalformed(detail, file=file, tensor=_printable(name))

    if "\0" in name or _printable(name) != name or len(name.encode()) > MAX_NAME:
        raise malformed(f"the tensor's name is not text of at most {MAX_NAME} bytes")
    if not isinstance(entry, dict):
        raise malformed(f"the entry is a JSON {type(entry).__name__}, expected an object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str):
        raise malformed(f"dtype is {_short(dtype)}, expected a string")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise malformed(
            f"shape is {_short(shape)}, expected a list of at most {MAX_DIMENSIONS} whole numbers from 0 to 2^63 - 1"
        )
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise malformed(f"data_offsets is {_short(offsets)}, expected two whole numbers")
    begin, end = offsets
    if dtype not in DTYPE_BITS:
        known = ", ".join(DTYPE_BITS)
        raise TensorUnusable(f"dtype {_short(dtype)} is not known, expected one of {known}", file=file, tensor=name)
    bits = DTYPE_BITS[dtype]
    for size in shape:
        bits *= size
    if bits != 8 * (end - begin):
        described = f"{bits // 8} bytes" if bits % 8 == 0 else f"{bits} bits"
        raise malformed(f"{dtype} of shape {_short(shape)} is {described}, data_offsets hold {end - begin} bytes")
    return TensorSpec(name, dtype, tuple(shape), data_start + begin, data_start + end)


def _check_layout(specs: list[TensorSpec], data_start: int, file_size: int, file: str) -> None:
    """The tensors must lie one behind the other, from the header's end to the file's end, as the library demands."""
    described = max((spec.stop for spec in specs), default=data_start)
    if described > file_size:
        worst = max(specs, key=lambda spec: spec.stop).name
        raise HeaderMalformed(
            f"the file has {file_size} bytes, the header describes {described}: it is truncated or its offsets are out "
            "of range",
            file=file,
            tensor=worst,
        )
    end = data_start
    for spec in specs:
        if spec.start != end:
            fault = "overlaps the tensor before it" if spec.start < end else "leaves a hole before it"
            raise HeaderMalformed(
                f"begins at byte {spec.start} and {fault}, expected {end}", file=file, tensor=spec.name
            )
        end = spec.stop
    if described != file_size:
        raise HeaderMalformed(f"the file has {file_size} bytes, the header describes {described}", file=file)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_DIMENSION


def _printable(name: str) -> str:
    return name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore").replace("\0", "?")


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > MAX_DIMENSIONS:
        return f"a list of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return "a huge number"
    if isinstance(value, list):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    if isinstance(value, dict):
        return "an object"
    return _printable(repr(value))[:100]


def parse_index(data: bytes, *, file: str) -> Index:
    """The weight map of an index file; shards are given as paths in the repository.

    Raises ConfigMalformed where it is not a JSON object with a `weight_map` of strings, or a shard's path leaves the
    repository.
    """
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigMalformed(f"the index is not JSON: {str(error)[:200]}", file=file) from None
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise ConfigMalformed("the index has no weight_map that names tensors", file=file)
    folder = PurePosixPath(file).parent
    resolved: dict[str, str] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not shard.endswith(".safetensors") or not _is_inside(shard):
            raise ConfigMalformed(
                f"the shard is {_short(shard)}, expected a .safetensors file", file=file, tensor=_printable(name)
            )
        resolved[name] = str(folder / shard)
    return Index(tuple(sorted(set(resolved.values()))), resolved)


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in path and _printable(path) == path


def check_shards(index: Index, present: Collection[str], *, file: str) -> None:
    """Raises WeightsMissing, naming the first, where shards of an index are not among the repository's files."""
    missing = [shard for shard in index.shards if shard not in present]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise WeightsMissing(f"{file} names {missing[0]}{more}, which the repository does not hold", file=missing[0])


def join_shards(headers: Mapping[str, Header], index: Index | None = None) -> dict[str, tuple[str, TensorSpec]]:
    """Tensor -> (file, spec) over all files of a model, ordered by name.

    Raises HeaderMalformed where two files hold a tensor of one name, and WeightsMissing where the index places a tensor
    in a shard that does not hold it.
    """
    joined: dict[str, tuple[str, TensorSpec]] = {}
    for file in sorted(headers):
        for spec in headers[file].specs:
            if index is not None and index.weight_map.get(spec.name, file) != file:
                continue  # the index says which copy counts
            if spec.name in joined:
                raise HeaderMalformed(f"{joined[spec.name][0]} holds this tensor too", file=file, tensor=spec.name)
            joined[spec.name] = (file, spec)
    if index is not None:
        for name in sorted(index.weight_map):
            if name not in joined:
                raise WeightsMissing(
                    "the index places this tensor here, the file does not hold it",
                    file=index.weight_map[name],
                    tensor=_printable(name),
                )
    return dict(sorted(joined.items()))
