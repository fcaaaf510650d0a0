"""What one run keeps for the next. It has NaN as a number, for which msgspec writes null and reads none."""

import json
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from features.files import write_atomically

T = TypeVar("T")


def write(path: Path, value: Any) -> None:
    """Keep a value, in place of what was kept there before."""
    write_atomically(path, json.dumps(msgspec.to_builtins(value, str_keys=True)).encode())


def read(path: Path, type: type[T]) -> T | None:
    """What was kept there; None: nothing was, or the file is no good and is made again."""
    try:
        return msgspec.convert(json.loads(path.read_bytes()), type, str_keys=True)
    except (FileNotFoundError, ValueError):  # msgspec's own errors are of the latter
        return None
