"""The front door: the command line, and what joins the four packages."""

from propensity.cli import main

# In the order in which one works.
from propensity.commands import (  # isort: skip
    log, features, tags, targets, online, models, uplift, service, due, proof, groups,
)  # fmt: skip

__all__ = [
    "due",
    "features",
    "groups",
    "log",
    "main",
    "models",
    "online",
    "proof",
    "service",
    "tags",
    "targets",
    "uplift",
]
