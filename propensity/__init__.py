"""The front door: the command line, and what joins the four packages."""

from propensity.cli import main

from propensity.commands import log, features, tags, online, models, service  # isort: skip  # in the order of the work

__all__ = ["features", "log", "main", "models", "online", "service", "tags"]
