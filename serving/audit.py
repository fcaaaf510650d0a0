"""Who changed what, and when: a line a write, an erasure, a change of a key. No customer is in it.

    audit/2026-11.jsonl    {"at", "client", "action", "request_id", "outcomes"}, appended to

A line is there before the caller has the answer. By the machine's clock, also over a log of the past.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from features.moments import iso
from features.settings import Settings, clock
from serving.problems import encode

HERE = "command line"  # the client of what is done without the service


class Line(Struct, frozen=True, omit_defaults=True):
    """One line. action: a route with its method, or a command. outcomes: of what, how many."""

    at: str
    client: str
    action: str
    request_id: str | None = None
    outcomes: Mapping[str, int] = {}


def record(
    settings: Settings,
    client: str,
    action: str,
    request_id: str | None = None,
    outcomes: Mapping[str, int] | None = None,
) -> Path:
    """Append a line, which outlives this process; the file it went to. OSError if it cannot be written."""
    now = clock()
    path = settings.home / "audit" / f"{now:%Y-%m}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    line = encode(Line(iso(now), client, action, request_id, dict(outcomes or {}))) + b"\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
    try:
        os.write(file, line)  # at once: the lines of several workers never mix
    finally:
        os.close(file)
    return path
