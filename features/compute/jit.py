"""How loops over rows are compiled."""

from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Any:
    """Compiled by numba, without Python's lock; kept beside the code, or in the user's cache.

    Where neither may be written, as on a read-only file system, every process compiles anew.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(**options)(function)
