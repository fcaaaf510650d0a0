"""Feast without the rewriting of its code.

Feast has typeguard rewrite its classes as they are loaded, to check arguments when they are called: most of
what importing it costs, paid by every command that builds or trains. What we hand to Feast is checked by
tests against it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchecked() -> Iterator[None]:
    """While it is open, `typeguard.typechecked` leaves what it decorates as it is."""
    import typeguard

    def kept(target: Any = None, **_: object) -> Any:
        return (lambda given: given) if target is None else target

    checked: Callable[..., Any] = typeguard.typechecked
    typeguard.typechecked = kept
    try:
        yield
    finally:
        typeguard.typechecked = checked
