"""What a proposed reading took each column for, how sure and why: read back from its lines, so that none is left out."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from features.sources.guesses import EPOCHS, Column
from features.tables import TABLES

_DECIDE = r"# DECIDE: (.*)"
# Keys of a reading, and of a declaration, that name no column of a file.
_OF_FILES = ("table", "files", "format", "encoding", "separator", "decimal", "null", "values", "prefix")
_OF_VALUES = (*_OF_FILES, "value", "map")


def reasons(lines: Sequence[str], columns: Iterable[Column], known: Mapping[str, str]) -> list[str]:
    """A line for each column of the tables. known: those whose reason was found where they were.

    >>> reasons(["[[mapping.a.read]]", 'table = "cases"', "[mapping.a.read.columns]", 'change = { value = "opened" }'],
    ...         [], {})
    ['  change       <- "opened" in every row']
    """
    by_name = {column.name: column for column in columns}
    asked = {
        line.split(" = ")[0]: m[1] for line in lines if (m := re.search(_DECIDE, line)) and " = " in line
    }
    said: dict[str, None] = {}
    for place, reading in enumerate(_readings(lines)):
        if place:
            said[f"  and read again{', where ' + reading['where'] if 'where' in reading else ''}:"] = None
        types = {name: of.type for name, of in TABLES[reading["table"]].columns.items()}
        rules = " ".join(rule for _, rule in TABLES[reading["table"]].rules)
        for name, declared in reading.get("columns", {}).items():
            words = re.search(rf"\b{name} in \(([^)]*)\)", rules)
            allowed = re.findall(r"'([^']*)'", words[1]) if words else None
            why = known.get(name) or _why(declared, by_name, types.get(name, "text"), allowed)
            decide = f"; DECIDE: {asked[name]}" if name in asked and name not in known else ""
            said[f"  {name:12} <- {why}{decide}"] = None
        for key in ("attributes", "scores"):
            for name in reading.get(key, ()):
                kind = "real" if key == "scores" and by_name[name].number > 0.5 else "text"
                said[f"  {key:12} <- {_of(by_name[name], kind, None)}"] = None
    return list(said)


def mentioned(lines: Iterable[str]) -> set[str]:
    """The columns of files that lines name, also where they are comments."""
    plain = [line.removeprefix("# ") for line in lines]
    return {
        name
        for line in plain
        for key, value in _parsed(line).items()
        if key not in _OF_FILES
        for name in _names(value)
    }


def _readings(lines: Sequence[str]) -> list[dict[str, Any]]:
    ((mapping),) = tomllib.loads("\n".join(lines)).get("mapping", {"": {}}).values()
    return [reading for reading in mapping.get("read", []) if reading.get("table") in TABLES]


def _parsed(line: str) -> dict[str, Any]:
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:  # words for people
        return {}


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _OF_VALUES:
                yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
    elif isinstance(value, str):
        yield value
        yield from (name.replace('""', '"') for name in re.findall(r'"((?:[^"]|"")+)"', value))


def _why(declared: Any, by_name: Mapping[str, Column], type: str, allowed: list[str] | None) -> str:
    if isinstance(declared, dict):
        if "value" in declared:
            return f"{json.dumps(declared['value'], ensure_ascii=False)} in every row"
        if "column" not in declared:
            named = [name for name in _names(declared) if name in by_name]
            return f"made of {' and '.join(dict.fromkeys(named))}"
        allowed = list(declared["map"]) if "map" in declared else allowed
        declared = declared["column"]
    column = by_name.get(declared)
    return _of(column, type, allowed) if column else f"column {declared!r}"


def _of(column: Column, type: str, words: list[str] | None) -> str:
    """What its values say for it, and its name."""
    if words is not None:
        share = sum(n for value, n in column.top if str(value) in words) / max(1, column.rows)
        seen = ", ".join(str(value) for value, _ in column.top if str(value) in words)
        said = f"{share:.1%} of its values are words that are known ({seen})"
    elif type == "moment" and column.times:
        format, share = column.times[0]
        read = {"": "ISO times", **dict.fromkeys(EPOCHS, "seconds or milliseconds since 1970")}
        said = f"{share:.1%} of its values read as {read.get(format, format)}"
    elif type in ("integer", "real", "money"):
        said = f"{column.number:.1%} of its values are numbers"
    else:
        each = (
            "another in every row"
            if column.distinct == column.rows
            else f"each {column.rows / max(1, column.distinct):.1f} times"
        )
        said = f"{column.distinct:,} different values, {each}" if column.distinct > 1 else "one value"
    empty = f", {1 - column.filled:.1%} of the rows have none" if column.filled < 0.9995 else ""
    return f"{said}{empty}; column {column.name!r}"
