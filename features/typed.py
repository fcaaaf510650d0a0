"""Holds what a shop declares to its annotations, so that no field is found wrong in the first answer.

A declaration is a frozen dataclass whose fields are a text, a number, a flag, one of a `Literal`, Words, a
tuple, a function or a smaller dataclass (an effect, a step, a condition), which is looked into. What decides
is the annotation alone: a new field is held to it by itself. Types are exact, as the ledger writes no others:
a number of numpy is none. A number is finite, unless its annotation says `Endless`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from features.toml import nearest
from features.words import Words

Endless = Annotated[float, "may be infinite"]
_LONG = 60  # characters of a value in a message
_PLAIN: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    int: ((int,), "a whole number"),
    float: ((float, int), "a number"),
    Endless: ((float, int), "a number"),
    bool: ((bool,), "True or False"),
    NoneType: ((NoneType,), "None"),
}
_INF = float("inf")


def misfits(declared: object) -> list[str]:
    """What of a dataclass is not as its fields are annotated, each with what was expected; empty if all is.

    A list where a tuple belongs becomes one: what was meant is plain.
    """
    return [*_inside(declared, "")]


def _inside(declared: object, where: str) -> Iterator[str]:
    of: Any = type(declared)
    for name, hint, plain, numbers, choices in _hints(of):
        value = getattr(declared, name)
        kind = type(value)
        quick = kind in plain or (kind is float and numbers and -_INF < value < _INF)
        if not (quick or (kind is str and value in choices)):
            if kind is list and any(get_origin(of) is tuple for of in _either(hint)):
                value = tuple(value)
                object.__setattr__(declared, name, value)
            yield from _misfit(value, hint, f"{where}{name}")


@cache
def _hints(of: type) -> tuple[tuple[str, Any, frozenset[type], bool, frozenset[str]], ...]:
    """(field, its annotation; what needs no second look: types, finite numbers, and choices).

    A record of decisions is read with every action in it, so most fields must cost next to nothing.
    """
    hints = get_type_hints(of, include_extras=True)
    found = []
    for name in (field.name for field in fields(of)):
        options = _either(hints[name])
        plain = frozenset(one for one in options if one in (str, int, bool, NoneType))
        found.append((name, hints[name], plain, float in options, frozenset(_choices(options))))
    return tuple(found)


def _choices(options: Iterable[Any]) -> list[str]:
    return [choice for of in options if get_origin(of) is Literal for choice in get_args(of)]


def _misfit(value: Any, hint: Any, path: str) -> Iterator[str]:
    options = _either(hint)
    fitting = next((of for of in options if _fits(value, of)), None)
    if get_origin(fitting) is tuple:
        for place, one in enumerate(value):
            yield from _misfit(one, get_args(fitting)[0], f"{path}[{place}]")
    elif is_dataclass(value) and fitting is not None:
        yield from _inside(value, f"{path}.")
    if fitting is not None:
        return
    shown = repr(value)
    shown = shown if len(shown) <= _LONG else f"{shown[:_LONG]}..."
    choices = _choices(options)
    meant = nearest(value, choices)[2:] if isinstance(value, str) and choices else ""
    yield f"{path} is {shown}{f' ({meant})' * bool(meant)}: expected {' or '.join(map(_expected, options))}"


def _either(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    """Whether it is of that kind; of a dataclass and a tuple, whatever is in it."""
    if hint in _PLAIN:
        number = hint is float or hint == Endless
        return type(value) in _PLAIN[hint][0] and (not number or _counts(value, hint == Endless))
    origin = get_origin(hint)
    if origin is Literal:
        return type(value) is str and value in get_args(hint)
    if origin is tuple:
        return type(value) is tuple
    if origin is Callable or hint is Callable:
        return callable(value)
    if hint is Words:
        return type(value) is Words and all(type(text) is str for text in value)
    return isinstance(value, hint)


def _counts(value: float, endless: bool) -> bool:
    return value == value and (endless or -_INF < value < _INF)  # noqa: PLR0124  # not of nan


def _expected(hint: Any) -> str:
    if hint in _PLAIN:
        return _PLAIN[hint][1]
    origin = get_origin(hint)
    if origin is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if origin is tuple:
        inner = _either(get_args(hint)[0])
        return f"a tuple, with a comma: ({_written(inner[0])},)"
    if hint is Words:
        return 'Words("in English", "in Chinese")'
    return "a function" if origin is Callable else f"{_article(hint)} {hint.__name__}: {hint.__name__}(...)"


def _written(hint: Any) -> str:
    return "'...'" if hint is str or get_origin(hint) is Literal else f"{hint.__name__}(...)"


def _article(of: type) -> str:
    return "an" if of.__name__[0] in "AEIOU" else "a"
