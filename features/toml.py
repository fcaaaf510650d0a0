"""Reads shop.toml strictly: a wrong type, a missing or a misspelt key is named, with what was expected."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from difflib import SequenceMatcher, get_close_matches
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import SettingsError

_REQUIRED = object()
NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Of what a shop declares: small letters, digits and _."""
_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), 'a text such as "shop"'),
    "boolean": ((bool,), "true or false, without quotes"),
    "whole": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "day": ((date,), "a date such as 2017-01-31, without quotes"),
    "table": ((dict,), "a table: [...] or {...}"),
    "tables": ((list,), "tables: [[...]]"),
    "list": ((list,), 'a list of texts: ["a", "b"]'),
    "texts": ((str, list), 'a text, or a list of texts: ["a", "b"]'),
}


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` for a name that is probably misspelt, else `.`: what ends a sentence.

    >>> nearest("Invoice", ["InvoiceNo", "Country"])
    "; did you mean 'InvoiceNo'?"
    >>> nearest("onse", ["zone", "once"])  # as near; a slip is seldom in the first letter
    "; did you mean 'once'?"
    """
    by_lower = {n.lower(): n for n in names}
    close = get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not close:
        return "."
    near = [(SequenceMatcher(None, c, name.lower()).ratio(), c[0] == name[0].lower(), c) for c in close]
    return f"; did you mean {by_lower[max(near)[-1]]!r}?"


class Entry:
    """One table: `take` its keys, then `close` it, which refuses what was not taken.

    where: what an error calls it, such as `myshop/shop.toml: mapping.web`; the top is `myshop/shop.toml:`.
    """

    def __init__(self, where: str, raw: object) -> None:
        if not isinstance(raw, dict):
            raise SettingsError(f"{where} is {raw!r}: expected {_KINDS['table'][1]}")
        self.where = where
        self.raw: Mapping[str, Any] = raw
        self.taken: set[str] = set()

    def take(self, key: str, kind: str, default: Any = _REQUIRED, choices: Iterable[str] = ()) -> Any:
        """The key's value, of that kind. SettingsError says what is wrong with it."""
        self.taken.add(key)
        if key not in self.raw:
            if default is _REQUIRED and kind == "table":  # it is no value that is missing
                named = f"[{self.name(key).rpartition(': ')[2]}]"
                raise SettingsError(
                    f"{self.where} lacks the table {named}: expected that line, and its keys below it"
                    f"{self._meant(key)}"
                )
            if default is _REQUIRED:
                raise SettingsError(f"{self.where} lacks {key}: expected {_KINDS[kind][1]}{self._meant(key)}")
            return default
        value = self.raw[key]
        types, expected = _KINDS[kind]
        wrong = not isinstance(value, types)
        wrong |= isinstance(value, bool) and bool not in types  # a bool is an int to Python
        wrong |= kind == "day" and isinstance(value, datetime)
        if isinstance(value, list) and kind in ("list", "texts"):
            wrong = not value or not all(isinstance(text, str) for text in value)
        if wrong:
            raise self.error(key, expected)
        if choices and value not in choices:
            raise self.error(key, f"one of {', '.join(choices)}", nearest(str(value), choices))
        if kind in ("list", "texts"):
            return (value,) if isinstance(value, str) else tuple(value)
        return value

    def entry(self, key: str, default: object = _REQUIRED) -> "Entry":
        """A table inside this one."""
        return Entry(self.name(key), self.take(key, "table", default))

    def entries(self, key: str, default: object = _REQUIRED) -> list["Entry"]:
        """The tables of a list inside this one."""
        given = self.take(key, "tables", default)
        return [Entry(f"{self.name(key)}[{place}]", raw) for place, raw in enumerate(given, start=1)]

    def name(self, key: str) -> str:
        """What an error calls a key of this table."""
        return f"{self.where}{' ' if self.where.endswith(':') else '.'}{key}"

    def share(self, key: str, default: Any = _REQUIRED) -> Any:
        """A number from 0 to 1, or the default."""
        value = self.take(key, "number", default)
        if key not in self.raw:
            return value
        if not 0 <= value <= 1:
            raise self.error(key, "a share between 0 and 1")
        return float(value)

    def error(self, key: str, expected: str, hint: str = "") -> SettingsError:
        """What to raise for a value that cannot be used."""
        value = self.raw.get(key)
        told = value.isoformat() if isinstance(value, date | time) else repr(value)  # as it was written
        return SettingsError(f"{self.name(key)} is {told}: expected {expected}{hint}")

    def close(self) -> None:
        """SettingsError for a key that nobody asked for."""
        for key in self.raw:
            if key not in self.taken:
                meant = nearest(key, self.taken - set(self.raw))
                takes = ", ".join(sorted(self.taken))
                raise SettingsError(f"{self.where} has an unknown key {key!r}{meant} It takes: {takes}")

    def _meant(self, key: str) -> str:
        spare = [k for k in self.raw if k not in self.taken]
        close = get_close_matches(key, spare, n=1, cutoff=0.6)
        return f"; it has {close[0]!r}, which is no key" if close else ""


def zone_named(entry: Entry, name: str) -> str:
    """The name of an IANA zone. SettingsError for another one."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise entry.error("zone", 'an IANA time zone such as "Europe/London"') from None
