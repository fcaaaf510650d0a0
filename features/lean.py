"""Imports without what they would load for nobody's use."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace


@contextmanager
def lean() -> Iterator[None]:
    """Inside, pandas and scipy are as if not installed.

    Wherever these two are installed, pyarrow and numba load them, which costs as much as all the rest.
    """

    def absent(name: str, *_: object) -> None:
        if name in ("pandas", "scipy"):
            raise ModuleNotFoundError(f"{name} is not needed here", name=name)

    finder = SimpleNamespace(find_spec=absent)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
