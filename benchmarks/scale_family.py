"""Synthetic families for `benchmarks.scale`, and their measures on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from db.layer_measures import PairRow
from db.models import MeasureBatch
from lineage.digest import FORMS
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.pair_store import FewPairs, Ints
from lineage.stored import MemberArrays, Shelf
from lineage.stored_pairs import StoredPairs

TREES = 5
SIDE = 1024  # of every layer
_STEP = 0.05  # length of a child's step; a root's is 1
_DIMENSIONS = 128  # of each layer
_BLOCK = 1024
_APART = 2.0  # squared distance of members of different trees


def parents(members: int, seed: int) -> Ints:
    """(n,) parents, -1 for the roots, which come first: hubs have many children, and few of these have any."""
    rng = np.random.default_rng(seed)
    number = np.arange(members)
    older = (rng.random(members) ** 3 * (number // TREES)).astype(np.intp)
    found: Ints = older * TREES + number % TREES
    found[:TREES] = -1
    return found


def points(parent: Ints, seed: int) -> NDArray[np.float32]:
    """(n, dimensions) every member of one layer, less its root."""
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((len(parent), _DIMENSIONS), dtype=np.float32) * np.float32(_STEP / _DIMENSIONS**0.5)
    found[:TREES] = 0
    for child in range(TREES, len(parent)):
        found[child] += found[parent[child]]
    return found


def singles(members: int, layers: int, seed: int) -> dict[str, NDArray[np.float64]]:
    """(layers, members) numbers of single members, by column of `layer_measures`. Roots see steps at right angles."""
    shape = (layers, members)
    parent = parents(members, seed)
    norms = [
        1.0 + np.square(points(parent, seed + layer + 1).astype(np.float64)).sum(axis=1) for layer in range(layers)
    ]
    return {
        "count": np.full(shape, SIDE * SIDE),
        "zeros": np.zeros(shape),
        "outliers": np.zeros(shape),
        "form": np.full(shape, FORMS.index("F32")),
        "squared_norm": np.array(norms),
        "variance": np.full(shape, 1 / SIDE**2),
        "kurtosis": np.full(shape, 3.0),
    }


def digests(members: int, layer: int) -> list[bytes]:
    """No two members are equal."""
    return [f"{layer}.{member}".encode() for member in range(members)]


def dense_rows(members: int, layer: int, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float32]]]:
    """Squared distances and slopes of each member with all after it; members of different trees are far apart."""
    parent, tree = parents(members, seed), np.arange(members) % TREES
    at = points(parent, seed + layer + 1)
    squares = (at * at).sum(axis=1)
    rng = np.random.default_rng((seed, layer))
    for start in range(0, members, _BLOCK):
        stop = min(members, start + _BLOCK)
        found = squares[start:stop, None] + squares - 2 * at[start:stop] @ at.T
        found[tree[start:stop, None] != tree] = _APART
        np.maximum(found, 1e-12, out=found)
        for row in range(start, stop):  # members are numbered by age
            slope = rng.standard_normal(members - row - 1, dtype=np.float32) + 1
            yield found[row - start, row + 1 :].astype(np.float64), slope


def write_dense(folder: Path, members: int, layers: int, seed: int) -> None:
    """One file for each column of each layer, as `layer_measures` has them of one batch of all members."""
    for layer in range(layers):
        with (
            (folder / f"{layer}.squared_distance").open("wb") as squared,
            (folder / f"{layer}.slope").open("wb") as slope,
        ):
            for distances, slopes in dense_rows(members, layer, seed):
                squared.write(distances.astype("<f8").tobytes())
                slope.write(slopes.astype("<f4").tobytes())
        pairs = members * (members - 1) // 2
        np.full(pairs, -1, dtype="<i2").tofile(folder / f"{layer}.rank")
    _write_singles(folder, members, layers, seed)


def _write_singles(folder: Path, members: int, layers: int, seed: int) -> None:
    np.savez(folder / "singles.npz", **singles(members, layers, seed))  # type: ignore[arg-type]  # numpy's stub has one keyword


def _family(folder: Path) -> FamilyMeasures:
    with np.load(folder / "singles.npz") as stored:
        columns = {name: stored[name] for name in stored.files}
    layers, members = columns["count"].shape
    return FamilyMeasures(
        members=tuple(range(members)),
        layers=tuple(Layer(f"h.{n}", (SIDE, SIDE), LayerKind.TRUNK) for n in range(layers)),
        digest=tuple(tuple(digests(members, layer)) for layer in range(layers)),
        count=columns["count"].astype(np.int64),
        zeros=columns["zeros"].astype(np.int64),
        outliers=columns["outliers"].astype(np.int64),
        form=columns["form"].astype(np.int8),
        squared_norm=columns["squared_norm"],
        variance=columns["variance"],
        kurtosis=columns["kurtosis"],
        **_no_pairs(layers, members),  # type: ignore[arg-type]  # fields by name
    )


def _no_pairs(layers: int, members: int) -> dict[str, object]:
    nothing = MemberArrays(layers, range(members)).measures(())
    shape = (layers, members, members)
    pairs = ("squared_distance", "slope", "rank", "equal")
    return {
        name: np.broadcast_to(getattr(nothing, name).dtype.type(-1 if name == "rank" else np.nan), shape)
        for name in pairs
    }


def pieces_of_disk(folder: Path) -> StoredPairs:
    """What `write_dense` wrote, read as the database's rows are."""
    family = _family(folder)
    layers = list(range(len(family.layers)))
    batch = MeasureBatch(id=0, family_id=0, metric_version=0, members=list(family.members), against=[], lost=[])
    shelf = Shelf(family.members, family.layers, {one: one for one in layers}, {0: batch}, {0: layers})

    def read(place: tuple[int, int], columns: Sequence[str]) -> PairRow:
        files = {column: folder / f"{place[1]}.{column}" for column in columns}
        return PairRow(**{column: file.read_bytes() for column, file in files.items() if file.exists()})

    return StoredPairs(shelf, family, read, equal=False)


def write_few(folder: Path, members: int, layers: int, each: int, seed: int) -> None:
    """Of every member its parent, and members near that."""
    parent, rng = parents(members, seed), np.random.default_rng(seed)
    by_parent = np.argsort(parent, kind="stable")
    start, stop = (np.searchsorted(parent[by_parent], parent, side=side) for side in ("left", "right"))
    siblings = by_parent[start[:, None] + (rng.random((members, each - 1)) * (stop - start)[:, None]).astype(np.intp)]
    near = np.column_stack([np.where(parent < 0, np.arange(members), parent), siblings])
    pairs = np.sort(np.column_stack([np.repeat(np.arange(members), each), near.ravel()]), axis=1)
    pairs = np.unique(pairs[(pairs[:, 0] != pairs[:, 1]) & (parent[pairs[:, 1]] >= 0)], axis=0)
    shape = (layers, len(pairs))
    squared = np.lib.format.open_memmap(folder / "squared.npy", "w+", np.dtype(np.float64), shape)
    slope = np.lib.format.open_memmap(folder / "slope.npy", "w+", np.dtype(np.float32), shape)
    for layer in range(layers):
        at = points(parent, seed + layer + 1)
        for first in range(0, len(pairs), 1 << 17):
            a, b = pairs[first : first + (1 << 17)].T
            squared[layer, first : first + len(a)] = ((at[a] - at[b]) ** 2).sum(axis=1)
        slope[layer] = rng.standard_normal(len(pairs), dtype=np.float32) + 1
    np.save(folder / "pairs.npy", pairs)
    _write_singles(folder, members, layers, seed)


def few_pairs(folder: Path) -> FewPairs:
    """What `write_few` wrote."""
    squared, slope, pairs = (np.load(folder / f"{name}.npy") for name in ("squared", "slope", "pairs"))
    return FewPairs(_family(folder), pairs, squared, slope, np.broadcast_to(np.int16(-1), squared.shape))
