"""How loops over rows are compiled: kept beside the code, or in the user's cache.

Where neither may be written, as on a read-only file system, every process compiles anew.
"""

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Any:
    """Compiled by numba, without Python's lock."""
    return _kept(lambda **cache: numba.njit(nogil=True, error_model="numpy", **cache)(function))


def ufunc(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """A function of numbers as one of arrays, compiled for that signature."""
    return lambda function: _kept(lambda **cache: numba.vectorize([signature], **cache)(function))


def _kept(compile: Callable[..., Any]) -> Any:
    try:
        return compile(cache=True)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return compile()
