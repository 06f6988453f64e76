"""Numbers of pairs as bytes, as they are stored: what a batch measured of a layer, without the half that mirrors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def pack(pairs: NDArray[Any]) -> bytes:
    """(m, m + n) pair numbers as bytes: m x n against the old members row by row, then the upper triangle of m x m."""
    new = pairs.shape[0]
    own = pairs[:, :new][np.triu_indices(new, 1)]
    little = pairs.dtype.newbyteorder("<")
    return bytes(np.concatenate([pairs[:, new:].ravel(), own]).astype(little).tobytes())


def unpack(data: bytes, new: int, old: int, dtype: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The inverse of `pack`: (m, n) against the old members, and the condensed upper triangle among the new."""
    flat = np.frombuffer(data, dtype=dtype)
    return flat[: new * old].reshape(new, old), flat[new * old :]


def unpack_sketches(data: bytes, members: int) -> NDArray[np.float64]:
    """(m, k) sketches of a batch's members; k is 0 for buffers."""
    return np.frombuffer(data, "<f8").reshape(members, -1)


_EDGE = np.dtype([("one", "<i8"), ("other", "<i8"), ("squared", "<f4")])


def pack_tree(edges: NDArray[np.integer[Any]], squared: NDArray[np.float32], revisions: Sequence[int]) -> bytes:
    """(e, 2) positions of revisions and (e,) squared relative distances as bytes that name revisions."""
    names = np.array(revisions, dtype=np.int64)
    packed = np.empty(len(edges), dtype=_EDGE)
    packed["one"], packed["other"] = names[edges[:, 0]], names[edges[:, 1]]
    packed["squared"] = squared
    return packed.tobytes()


def unpack_tree(data: bytes, revisions: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The inverse of `pack_tree`, of those edges both of whose ends are among `revisions`."""
    packed = np.frombuffer(data, dtype=_EDGE)
    names = np.array(revisions, dtype=np.int64)
    order = np.argsort(names)
    ends = np.column_stack([packed["one"], packed["other"]])
    place = order[np.minimum(np.searchsorted(names[order], ends), len(names) - 1)]
    there = (names[place] == ends).all(axis=1)
    return place[there], packed["squared"][there].astype(np.float32)


def fill_upper(square: NDArray[Any], condensed: NDArray[Any]) -> None:
    """Write the condensed upper triangle of (n, n) into it; what is not above the diagonal is left."""
    first = 0
    for row in range(len(square) - 1):  # a slice at a time: much faster than by an index of all pairs
        length = len(square) - row - 1
        square[row, row + 1 :] = condensed[first : first + length]
        first += length


def condensed_place(members: int, i: NDArray[np.integer[Any]], j: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where pairs i < j of so many members stand in a condensed upper triangle."""
    i, j = i.astype(np.int64), j.astype(np.int64)
    place: NDArray[np.int64] = i * (2 * members - i - 1) // 2 + j - i - 1
    return place


def spread(
    pairs: NDArray[Any],
    packed: tuple[NDArray[Any], NDArray[Any]],
    new: Sequence[tuple[int, int]],
    old: Sequence[tuple[int, int]],
    sign: int,
) -> None:
    """Write packed pair numbers into a symmetric (sign 1) or antisymmetric (sign -1) matrix over all members.

    `new` and `old` are, of a batch's members that are wanted, the numbers in the batch and the rows of the matrix.
    """
    against, own = packed
    size = against.shape[0]
    rows, here = (np.array([one[part] for one in new], dtype=np.intp) for part in (0, 1))
    if old:
        columns, there = np.array(old, dtype=np.intp).T
        block = against[np.ix_(rows, columns)]
        pairs[np.ix_(here, there)] = block
        pairs[np.ix_(there, here)] = sign * block.T
    if len(rows) < size:  # of a large batch a few are wanted
        order = np.argsort(rows)
        rows, here = rows[order], here[order]
        i, j = np.triu_indices(len(rows), 1)
        values = own[condensed_place(size, rows[i], rows[j])]
        pairs[here, here] = 0
        pairs[here[i], here[j]], pairs[here[j], here[i]] = values, sign * values
        return
    square = np.zeros((size, size), dtype=own.dtype)
    fill_upper(square, own)
    square += sign * square.T
    if size > 0 and (np.diff(here) == 1).all():
        pairs[here[0] : here[0] + size, here[0] : here[0] + size] = square
    else:
        pairs[np.ix_(here, here)] = square[np.ix_(rows, rows)]


def directed(
    pairs: NDArray[Any],
    to: tuple[NDArray[Any], NDArray[Any]],
    back: tuple[NDArray[Any], NDArray[Any]],
    new: Sequence[tuple[int, int]],
    old: Sequence[tuple[int, int]],
) -> None:
    """As `spread`, for numbers that are not the same both ways: `to` from new members on, `back` from the others."""
    forward, backward = np.zeros_like(pairs), np.zeros_like(pairs)
    spread(forward, to, new, old, 1)
    spread(backward, back, new, old, 1)
    here = [place for _, place in new]
    onward = np.zeros(pairs.shape, dtype=np.bool_)
    onward[np.ix_(here, [place for _, place in old])] = True
    onward[np.ix_(here, here)] = np.less.outer(*[np.array([number for number, _ in new], dtype=np.intp)] * 2)
    pairs[onward] = forward[onward]
    pairs[onward.T] = backward[onward.T]
