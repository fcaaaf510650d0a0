"""The front door: the command line, and what joins the four packages."""

from propensity.cli import main

# In the order in which one works.
from propensity.commands import (  # isort: skip
    log, features, tags, targets, online, models, uplift, service, pauses, ledger, proof,
)  # fmt: skip

__all__ = [
    "features", "ledger", "log", "main", "models", "online", "pauses", "proof", "service", "tags", "targets",
    "uplift",
]  # fmt: skip
