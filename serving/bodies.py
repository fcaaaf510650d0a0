"""Bodies of requests: JSON into the types of `api`, or the problem that names the place."""

import re
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from serving.api import DecisionRequest, Identity, ScoreRequest
from serving.problems import Offender, Problem

T = TypeVar("T", bound=Struct)
UNKNOWN_FIELD = "Object contains unknown field"
_QUOTES = "Invalid value", "Invalid enum value"  # msgspec's messages that repeat what was sent
_OF_IDENTITY = re.compile(r" - at `(\$\.customer|\$\.customers\[\d{1,3}\])`$")


def worded(message: str) -> tuple[str, str]:
    """(path, what was expected there) of msgspec's words; of an unknown field not to be shown as they are."""
    if message.startswith(UNKNOWN_FIELD):
        return "$", message
    # The path is ours and comes last; a value that is quoted before may look like one.
    expected, found, path = message.rpartition(" - at `")
    expected, path = (expected, path.rstrip("`")) if found else (message, "$")
    return path, "expected another value" if expected.startswith(_QUOTES) else expected


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
            path, expected = worded(str(error))
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
