"""Sketches of a layer's models, taken while the layer is measured: one pass over the bytes gives both.

Of each model a CountSketch is taken (`lineage.sketch`), and of matrices that are large a projection, rows x k, with the
rounding error of each row: what `lineage.rank` needs for the rank of any later difference.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lineage import rank
from lineage.decoding import rows_of
from lineage.projection import Probes, Projection, RowsPiece, row_noise
from lineage.stored_tensor import Part, StoredTensor
from lineage.stream import LayerStream, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from lineage.sketch import CountSketch
    from lineage.stored_tensor import Block


@dataclass(frozen=True)
class Piece:
    """What a block adds to the sketches of its models, by their number."""

    counted: dict[int, NDArray[np.float64]]  # (k,)
    projected: dict[int, RowsPiece]


class LayerSketches:
    """The sketches of one layer of several models, taken as the layer is measured.

    Of the models in `count` CountSketches are taken, of those in `project` projections, each once, however often the
    layer passes. Projections are written to a file without a name in `folder`, as they may be larger than the memory;
    `close` gives it back.
    """

    def __init__(
        self,
        counting: CountSketch,
        tensors: Sequence[StoredTensor],
        *,
        count: Iterable[int],
        shape: tuple[int, int] = (1, 1),
        probes: Probes | None = None,
        project: Iterable[int] = (),
        folder: Path | None = None,
    ) -> None:
        self._counting = counting
        self.tensors = tensors
        self._shape = shape
        self._probes = probes
        self._count = set(count)
        self._rolls = {model: _Roll(shape[0]) for model in project}
        if probes is not None and self._rolls:
            probes.draw()
        self._number = {model: number for number, model in enumerate(self._rolls)}
        self._begun: set[int] = set()
        self._done: set[int] = set()
        self._steps: dict[int, NDArray[np.float32]] = {}
        self.counted = np.full((len(tensors), counting.size), np.nan)
        self._file = tempfile.TemporaryFile(dir=folder) if self._rolls else None  # noqa: SIM115  # closed by `close`

    def close(self) -> None:
        """Projections cannot be read any more."""
        if self._file is not None:
            self._file.close()

    def watch(self, stream: LayerStream) -> LayerStream:
        """The same stream, whose blocks are sketched by whatever measures them."""
        return _Watched(stream, self)

    def projection(self, model: int) -> Projection | None:
        """The projection of a model, once the layer has passed; None where none was asked for."""
        roll = self._rolls.get(model)
        if roll is None or model not in self._done or self._probes is None:
            return None
        if model in self._steps:
            noise = rank.step_noise(self._steps[model])
            return Projection(partial(self._read, model), noise, self._probes.columns, self._probes.count, rank.INT8)
        dtype = self.tensors[model].dtype
        bits = rank.significand(roll.mantissas, dtype) if dtype in rank.SIGNIFICAND else 0
        noise = row_noise(roll.powers, self._probes.columns, bits)
        return Projection(partial(self._read, model), noise, self._probes.columns, self._probes.count, bits)

    def wanted(self, models: Iterable[int]) -> set[int]:
        """Those of the models that were not sketched yet and are to be."""
        return (self._count | self._rolls.keys()).intersection(models) - self._done

    def look(self, block: Block, models: Sequence[int], wanted: set[int]) -> Piece:
        """What a block of these models adds. Changes nothing, so that several threads can look at blocks at once."""
        counted: dict[int, NDArray[np.float64]] = {}
        projected: dict[int, RowsPiece] = {}
        for part in block.parts:
            here = {models[part.rows.start + row]: row for row in range(len(part.values))}
            count = [model for model in here if model in wanted & self._count]
            if count:
                values = part.values if len(count) == len(here) else part.values[[here[model] for model in count]]
                sums = np.zeros((len(count), self._counting.size))
                whole = Part(slice(0, len(count)), part.dtype, values)
                self._counting.add(rows_of([whole], block.count), block.start, sums)
                counted |= dict(zip(count, sums, strict=True))
            for model in (wanted & self._rolls.keys()).intersection(here):
                assert self._probes is not None  # noqa: S101  # asked for with the projections
                projected[model] = self._probes.project(part.values[here[model]], part.dtype, block.start)
        return Piece(counted, projected)

    def take(self, piece: Piece) -> None:
        """Add what a block adds; blocks come in order."""
        for model, sums in piece.counted.items():
            self.counted[model] = self.counted[model] + sums if model in self._begun else sums
            self._begun.add(model)
        for model, rows in piece.projected.items():
            self._write(model, self._rolls[model].take(rows))

    def finish(self, models: set[int], steps: Mapping[int, NDArray[np.float32]]) -> None:
        """These models have passed whole; `steps` are those of the rows of models in int8."""
        for model in models & self._rolls.keys():
            self._write(model, self._rolls[model].last())
        self._done |= models
        self._steps |= {model: steps[model] for model in models & steps.keys()}

    def _kept(self, model: int) -> np.dtype[Any]:
        return np.dtype(np.float64 if self.tensors[model].dtype == "F64" else np.float32)

    def _place(self, model: int) -> int:
        assert self._probes is not None  # noqa: S101  # asked for with the projections
        return self._number[model] * self._shape[0] * self._probes.count * 8

    def _write(self, model: int, found: tuple[int, NDArray[Any]] | None) -> None:
        if found is None or self._file is None:
            return
        first, rows = found
        kept = self._kept(model)
        at = self._place(model) + first * rows.shape[1] * kept.itemsize
        data = memoryview(rows.astype(kept).tobytes())
        while data:
            written = os.pwrite(self._file.fileno(), data, at)
            data, at = data[written:], at + written

    def _read(self, model: int, first: int, stop: int) -> NDArray[Any]:
        assert self._file is not None  # noqa: S101  # it was written to
        assert self._probes is not None  # noqa: S101  # asked for with the projections
        kept, count = self._kept(model), self._probes.count
        rows = min(stop, self._shape[0]) - first
        found = np.empty((rows, count), dtype=kept)
        room, at = found.data.cast("B"), self._place(model) + first * count * kept.itemsize
        while room:
            read = os.preadv(self._file.fileno(), [room], at)
            if read == 0:
                raise EOFError("a projection was not written whole")
            room, at = room[read:], at + read
        return found


class _Roll:
    """The rows of one model's projection, which come in order; the last may go on in the next block."""

    def __init__(self, rows: int) -> None:
        self.powers = np.zeros(rows)
        self.mantissas = 0
        self._open: tuple[int, NDArray[Any]] | None = None  # the row that may go on

    def take(self, piece: RowsPiece) -> tuple[int, NDArray[Any]] | None:
        """The first row that is whole now, and it and those behind it."""
        self.mantissas |= piece.mantissas
        self.powers[piece.first : piece.first + len(piece.powers)] += piece.powers
        first, rows = piece.first, piece.values.numpy()
        if self._open is not None:
            row, open_ = self._open
            if row == first:
                rows[0] += open_
            else:
                first, rows = row, np.concatenate([open_[None], rows])
        self._open = first + len(rows) - 1, rows[-1]
        return (first, rows[:-1]) if len(rows) > 1 else None

    def last(self) -> tuple[int, NDArray[Any]] | None:
        """The last row."""
        return None if self._open is None else (self._open[0], self._open[1][None])


class _Watched(LayerStream):
    """A stream whose blocks are sketched on the way."""

    def __init__(self, stream: LayerStream, sketches: LayerSketches) -> None:
        self._stream = stream
        self._sketches = sketches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def each(
        self,
        tensors: Sequence[StoredTensor],
        size: int,
        step: int,
        plan: Callable[[Block | None], Callable[[Block], Result]],
        *,
        order: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """As the stream's; results of blocks are yielded when their sketches were taken."""
        models = range(len(tensors)) if order is None else order
        wanted = self._sketches.wanted(models)

        def watched(first: Block | None) -> Callable[[Block], tuple[Result, Piece]]:
            work = plan(first)

            def both(block: Block) -> tuple[Result, Piece]:
                piece = self._sketches.look(block, models, wanted)
                return work(block), piece

            return both

        for result, piece in self._stream.each(tensors, size, step, watched, order=order):
            self._sketches.take(piece)
            yield result
        self._sketches.finish(wanted, self._stream.steps)


def sketch_only(stream: LayerStream, sketches: LayerSketches, size: int, memory: int) -> None:
    """Let a layer of `size` elements of all the models pass, within `memory` bytes, for its sketches alone."""
    tensors = sketches.tensors
    order = sorted(range(len(tensors)), key=lambda model: (tensors[model].form, model))
    step = stream.step(tensors, size, memory // 4)
    for _ in sketches.watch(stream).each(
        [tensors[model] for model in order], size, step, lambda _: lambda _: None, order=order
    ):
        pass
