"""All that is measured of one model's numbers alone, stride by stride of 4,096 elements, in one compiled pass.

Of every stride: sums of powers about its mean, extremes, zeros, outliers, and the two linear hashes of
`lineage.digest`. A stride stays in the processor's first cache while all of it is taken. Strides begin at multiples of
4,096 elements of the tensor, so that nothing here depends on blocks, shards or threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lineage.compiled import compiled
from lineage.decoding import I64, decode, width_of
from lineage.moments import Moments, together
from lineage.products import LARGEST
from lineage.stream import STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lineage.decoding import Rows

    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]

OUTLIER = 6.0  # standard deviations of its stride from its stride's mean, beyond which a number is an outlier
_FAR = 4.0  # squared means above so many variances lose digits: two at this one
_SHORT = 256  # numbers that are counted before the count is added to a wider one
_SEED = 20_261_107


def _coefficients() -> tuple[Words, Words]:
    random = np.random.Generator(np.random.Philox(_SEED)).integers(0, 1 << 64, (2, STRIDE), dtype=np.uint64)
    random |= np.uint64(1)
    return random[0], random[1]


_STRAIGHT, _TURNED = _coefficients()


@dataclass(frozen=True, eq=False)
class Strides:
    """What the strides of n models hold, s strides each."""

    moments: Moments  # (n,) of all strides together
    hashes: NDArray[np.uint64]  # (n, s, 2)


def measured(rows: Rows, members: int) -> Strides:
    """Of the first `members` of some rows. Where numbers are none, the moments are none either."""
    strides = -(-rows.count // STRIDE)
    numbers = np.empty((members, strides, 7))
    counts = np.zeros((members, 2), dtype=np.int64)
    hashes = np.empty((members, strides, 2), dtype=np.uint64)
    for row in range(members):
        _measure(
            rows.data,
            rows.at[row],
            rows.code[row],
            rows.count,
            _STRAIGHT,
            _TURNED,
            numbers[row],
            counts[row],
            hashes[row],
        )
    sizes = np.full(strides, STRIDE)
    sizes[-1:] = rows.count - STRIDE * (strides - 1)
    columns = [numbers[:, :, column].T for column in range(numbers.shape[2])]
    return Strides(together(sizes, columns, counts[:, 0], counts[:, 1]), hashes)


def hashed(rows: Rows) -> Words:
    """(n, s, 2) hashes of all rows, of any form."""
    hashes = np.empty((len(rows.at), -(-rows.count // STRIDE), 2), dtype=np.uint64)
    words = np.empty(STRIDE, dtype=np.uint64)
    for row, into in enumerate(hashes):
        _hash_row(rows.data, rows.at[row], rows.code[row], rows.count, _STRAIGHT, _TURNED, words, into)
    return hashes


@compiled
def _measure(
    data: NDArray[np.uint8],
    at: int,
    code: int,
    count: int,
    straight: Words,
    turned: Words,
    numbers: Floats,
    counts: NDArray[np.int64],
    hashes: Words,
) -> None:
    """Of one row: (s, 7) mean, m2, m3, m4, squares, least and greatest; (2,) zeros and outliers; (s, 2) hashes."""
    values = np.empty(STRIDE)
    words = np.empty(STRIDE, dtype=np.uint64)
    edges, extremes = np.zeros(16, dtype=np.uint8), np.empty(2)
    width = width_of(code)
    for stride in range(len(numbers)):
        size = min(STRIDE, count - stride * STRIDE)
        first = at + stride * STRIDE * width
        decode(data, first, code, size, values)
        stored = data[first : first + size * width]
        zeros, negative = _of_bits(stored, code, edges)
        decode(edges, 0, code, 2, extremes)
        counts[0] += zeros
        counts[1] += _sums(values[:size], extremes, numbers[stride])
        _hash(_words(stored, width, negative, words), straight, turned, hashes[stride])


@compiled
def _hash_row(
    data: NDArray[np.uint8], at: int, code: int, count: int, straight: Words, turned: Words, words: Words, hashes: Words
) -> None:
    width = width_of(code)
    edges = np.zeros(16, dtype=np.uint8)
    for stride in range(len(hashes)):
        size = min(STRIDE, count - stride * STRIDE)
        first = at + stride * STRIDE * width
        stored = data[first : first + size * width]
        negative = _of_bits(stored, code, edges)[1]
        _hash(_words(stored, width, negative, words), straight, turned, hashes[stride])


@compiled
def _words(stored: NDArray[np.uint8], width: int, negative: bool, words: Words) -> Words:
    """A stride as 64-bit words, filled up with zeros, of which none is negative: -0 equals 0."""
    if len(stored) % 8 == 0 and not negative:
        return stored.view(np.uint64)
    words[:] = 0
    words.view(np.uint8)[: len(stored)] = stored
    if negative:
        _without_sign(words, width)
    return words[: -(-len(stored) // 8)]


@compiled
def _sums(values: Floats, extremes: Floats, into: Floats) -> int:
    """Write mean, m2, m3, m4, squares, least and greatest of a stride; return the number of its outliers."""
    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
    for i in range(len(values)):
        value = values[i]
        square = value * value
        s1 += value
        s2 += square
        s3 += square * value
        s4 += square * square
    least, greatest = extremes
    if not np.isfinite(s2) or max(-least, greatest) > LARGEST:
        into[:] = np.nan
        return 0
    count = len(values)
    mean = least if least == greatest else s1 / count  # the rounding of a constant's mean would pass for its deviation
    m2 = s2 - s1 * mean
    m3 = s3 - mean * (3 * s2 - 2 * s1 * mean)
    m4 = s4 - mean * (4 * s3 - mean * (6 * s2 - 3 * s1 * mean))
    if mean * mean * count > _FAR * abs(m2):
        m2, m3, m4 = _about(values, mean)
    into[0], into[1], into[2], into[3], into[4], into[5], into[6] = mean, m2, m3, m4, s2, least, greatest
    limit = OUTLIER * np.sqrt(m2 / count)
    # The squares of numbers below 1e-162 are 0: their deviation is not known to be any.
    return _beyond(values, mean, limit) if limit > 0 and max(greatest - mean, mean - least) > limit else 0


@compiled
def _about(values: Floats, mean: float) -> tuple[float, float, float]:
    """Sums of the second, third and fourth powers of deviations from the mean."""
    m2, m3, m4 = 0.0, 0.0, 0.0
    for i in range(len(values)):
        deviation = values[i] - mean
        square = deviation * deviation
        m2 += square
        m3 += square * deviation
        m4 += square * square
    return m2, m3, m4


@compiled
def _beyond(values: Floats, mean: float, limit: float) -> int:
    """How many are farther from the mean than the limit."""
    found = 0
    for i in range(len(values)):
        found += 1 if abs(values[i] - mean) > limit else 0
    return found


@compiled
def _of_bits(stored: NDArray[np.uint8], code: int, into: NDArray[np.uint8]) -> tuple[int, bool]:
    """How many zeros of either sign there are, and whether any of them is negative; the bits of the extremes."""
    width = width_of(code)
    if code == I64:
        return _of_numbers(stored.view(np.int64), into.view(np.int64)), False
    if width == 2:
        return _of_integers(stored.view(np.int16), into[: 2 * width].view(np.int16), np.int16(15), np.int16(0x7FFF))
    if width == 4:
        return _of_integers(stored.view(np.int32), into[: 2 * width].view(np.int32), np.int32(31), np.int32(0x7FFFFFFF))
    magnitude = np.int64(0x7FFFFFFFFFFFFFFF)
    return _of_integers(stored.view(np.int64), into[: 2 * width].view(np.int64), np.int64(63), magnitude)


@compiled
def _of_integers(
    stored: NDArray[Any], extremes: NDArray[Any], sign: np.signedinteger, magnitude: np.signedinteger
) -> tuple[int, bool]:
    """Floating-point numbers keep their order as integers, with what is behind the sign turned over where it is set."""
    keys = np.empty(_SHORT, dtype=stored.dtype)  # as narrow as the numbers: as many are taken at a time
    extremes[0] = extremes[1] = stored[0] ^ ((stored[0] >> sign) & magnitude)
    zeros, positive = 0, 0
    for first in range(0, len(stored), _SHORT):
        here = stored[first : first + _SHORT]
        some: Any = np.int16(0)
        most: Any = np.int16(0)
        for i in range(len(here)):
            some = np.int16(some + np.int16((here[i] & magnitude) == 0))
            most = np.int16(most + np.int16(here[i] == 0))
            keys[i] = here[i] ^ ((here[i] >> sign) & magnitude)
        zeros += some
        positive += most
        least, greatest = extremes[0], extremes[1]
        for i in range(len(here)):
            least = min(least, keys[i])
            greatest = max(greatest, keys[i])
        extremes[0], extremes[1] = least, greatest
    for i in range(2):
        extremes[i] ^= (extremes[i] >> sign) & magnitude
    return zeros, zeros != positive


@compiled
def _of_numbers(stored: NDArray[np.int64], extremes: NDArray[np.int64]) -> int:
    """The number of zeros among integers, and their extremes."""
    zeros, least, greatest = 0, stored[0], stored[0]
    for i in range(len(stored)):
        zeros += 1 if stored[i] == 0 else 0
        least = min(least, stored[i])
        greatest = max(greatest, stored[i])
    extremes[0], extremes[1] = least, greatest
    return zeros


@compiled
def _without_sign(words: Words, width: int) -> None:
    """Turn negative zeros into zeros."""
    if width == 2:
        shorts = words.view(np.uint16)
        shorts[shorts == 0x8000] = 0
    elif width == 4:
        singles = words.view(np.uint32)
        singles[singles == 0x80000000] = 0
    else:
        words[words == 0x8000000000000000] = 0


@compiled
def _hash(words: Words, straight: Words, turned: Words, into: Words) -> None:
    """Linear hashes modulo 2**64 of the words, and of the words with their halves exchanged."""
    one, another = np.uint64(0), np.uint64(0)
    half = np.uint64(32)
    for i in range(len(words)):
        word = words[i]
        one += word * straight[i]
        another += ((word << half) | (word >> half)) * turned[i]
    into[0], into[1] = one, another
