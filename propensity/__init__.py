"""The front door: the command line, and what joins the four packages."""

from propensity.cli import main

# In the order in which one works.
from propensity.commands import (  # isort: skip
    log, rejects, features, tags, targets, online, models, monitor, uplift, segments, service, exports, keys,
    pauses, due, pushes, groups, ledger, proof, today,
)  # fmt: skip

__all__ = [
    "due", "exports", "features", "groups", "keys", "ledger", "log", "main", "models", "monitor",
    "online", "pauses", "proof", "pushes", "rejects", "segments", "service", "tags", "targets",
    "today", "uplift",
]  # fmt: skip
