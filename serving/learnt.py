"""What every process does before its threads decode: let msgspec learn the fields of all our records.

msgspec learns a Struct's fields when it first decodes one, and a second thread that decodes the same while it
does so ends the process: two first questions at one time would kill a worker. Once learnt, any thread may.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress

import msgspec

_learning = threading.Lock()
_learnt: set[type] = set()


def learn() -> None:
    """Learn every Struct that is imported by now, once. Call it before there are threads that decode."""
    with _learning:
        for struct in _below(msgspec.Struct):
            if struct not in _learnt and not getattr(struct, "__parameters__", ()):
                with suppress(TypeError):  # it is only ever written
                    msgspec.json.Decoder(struct)
                _learnt.add(struct)


def _below(struct: type) -> Iterator[type]:
    of: type
    for of in struct.__subclasses__():
        yield of
        yield from _below(of)
