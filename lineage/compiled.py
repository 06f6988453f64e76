"""Compiling to machine code: loops over the elements of weights, with numba.

Compiled functions let go of the interpreter's lock, so that threads run them side by side, and are kept on disk for the
next process where a folder for that can be written to. They loop over numbers of elements, not over the elements
themselves: only such loops are taken several elements at a time.

What is kept on disk is made anew when the file changes that a function is in, not when one that it calls does in
another file: whoever edits such a function (`decoding.decode`, `products.dot`) removes lineage/__pycache__/*.nb*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be taken in any order, which is what lets them be taken four at a time. NaN and infinity keep their meaning.
_ANY_ORDER = {"reassoc", "nsz", "contract", "arcp"}


def compiled(function: Function) -> Function:
    """A function of numpy arrays and numbers as machine code, compiled when it is first called with such types."""
    try:
        return cast("Function", njit(function, cache=True, nogil=True, fastmath=_ANY_ORDER, error_model="numpy"))
    except RuntimeError:  # no folder for the cache can be written to
        return cast("Function", njit(function, nogil=True, fastmath=_ANY_ORDER, error_model="numpy"))
