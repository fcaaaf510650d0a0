"""Bodies of requests: JSON into the types of `api`, or the problem that names the place."""

import re
from types import UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, StructMeta

from serving.api import DecisionRequest, Identity, ScoreRequest
from serving.events import PATTERNS
from serving.problems import Offender, Problem

T = TypeVar("T", bound=Struct)
UNKNOWN_FIELD = "Object contains unknown field"
_NO_CHOICE = "Invalid enum value"
_QUOTES = "Invalid value", _NO_CHOICE  # msgspec's messages that repeat what was sent
MISSING = re.compile(r"Object missing required field `(\w+)`")  # whose name is ours
_EXPECTED = re.compile(r"Expected `([a-z0-9| ]+)`(?:(?: of length)? (>=|<=) ([\d.e+]+))?(?:, got `(\w+)`)?")
_JSON = {
    "str": "text", "int": "a whole number", "float": "a number", "bool": "true or false",
    "object": "an object", "array": "a list",
}  # fmt: skip
_COUNTED = {"str": " characters", "array": " entries", "object": " fields"}
_TIME = "with its offset, such as 2017-12-31T09:30:00+08:00"
_WORDS = {f"Expected `str` matching regex {pattern!r}": words for pattern, words in PATTERNS.items()} | {
    "Invalid RFC3339 encoded datetime": f"expected a time {_TIME}",
    "Expected `datetime` with a timezone component": f"expected a time {_TIME}",
}
_OF_IDENTITY = re.compile(r" - at `(\$\.customer|\$\.customers\[\d{1,3}\])`$")


def worded(message: str, of: Any = None) -> tuple[str, str]:
    """(path, what was expected there) of msgspec's words, in JSON's own; of an unknown field not to be shown
    as they are. of: the type that was expected, which has the values that may stand at a path."""
    if message.startswith(UNKNOWN_FIELD):
        return "$", message
    # The path is ours and comes last; a value that is quoted before may look like one.
    expected, found, path = message.rpartition(" - at `")
    expected, path = (expected, path.rstrip("`")) if found else (message, "$")
    if expected.startswith(_QUOTES):
        choices = _choices(of, path) if expected.startswith(_NO_CHOICE) else []
        many = "one of " if len(choices) > 1 else ""
        return path, f"expected {many}{', '.join(choices) or 'another value'}"
    place, inside, _ = path.partition("[...]")  # what is named there is the caller's
    return place, ("of each of its fields " if inside else "") + _plain(expected)


def _plain(expected: str) -> str:
    """As somebody says it who knows JSON, and not Python."""
    if missing := MISSING.fullmatch(expected):
        return f"expected the field {missing[1]}: it is required"
    told = _EXPECTED.fullmatch(expected)
    if told is None:
        return _WORDS.get(expected, expected)
    what, limit, most, got = told.groups()
    *others, last = [_JSON.get(name, name) for name in what.split(" | ")]
    said = f"expected {', '.join(others)} or {last}" if others else f"expected {last}"
    if limit is not None:
        unit = _COUNTED.get(what, "") if " of length" in expected else ""
        said += f" of {most}{unit} or {'more' if limit == '>=' else 'fewer' if unit else 'less'}"
    return said + (f", got {_JSON.get(got, got)}" if got else "")


def _choices(type: Any, path: str) -> list[str]:
    """The values that may stand at a path of ours, such as `$.kind`; empty where any may."""
    for name in path.split(".")[1:]:
        type = get_type_hints(type).get(name) if isinstance(type, StructMeta) else None
    found, left = list[Any](), [type]
    while left:
        one = left.pop(0)
        found += get_args(one) if get_origin(one) is Literal else ()
        left += get_args(one) if get_origin(one) in (Union, UnionType) else ()
    return [str(value) for value in found]


class Body(Generic[T]):
    """Decodes one type of body; compiled once."""

    def __init__(self, type: type[T]) -> None:
        self._type = type
        self._decoder = msgspec.json.Decoder(type)

    def decode(self, body: bytes) -> T:
        """Raise Problem 400 if it is not JSON in UTF-8, 422 with the JSON path if it does not fit."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            path, expected = worded(str(error), self._type)
            if expected.startswith(UNKNOWN_FIELD):
                # The field's name is the caller's and may look like a path: only ours are taken from it.
                found = _OF_IDENTITY.search(str(error))
                path, of = (found[1], Identity) if found else ("$", self._type)
                expected = f"expected only the fields {', '.join(of.__struct_fields__)}"
            detail = f"{path}: {expected}"
            raise Problem(422, "invalid_request", detail, [Offender(path, expected)]) from None
        except msgspec.DecodeError as error:
            raise Problem(400, "malformed_json", f"the body is not valid JSON: {error}") from None
        except UnicodeDecodeError as error:
            raise Problem(400, "malformed_json", f"the body is not UTF-8: {error.reason}") from None
        except RecursionError:
            raise Problem(400, "malformed_json", "the body is nested too deeply") from None


SCORES = Body(ScoreRequest)
DECISIONS = Body(DecisionRequest)
