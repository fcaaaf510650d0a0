"""The front door: the command line, and what joins the four packages."""

from propensity.cli import main

from propensity.commands import log, features, tags, targets, online, models, service, proof  # isort: skip  # as one works

__all__ = ["features", "log", "main", "models", "online", "proof", "service", "tags", "targets"]
