"""Releasing what is declared: the contact policy and the catalogue, as a version that the ledger names."""

from __future__ import annotations

from contextlib import closing

from features.errors import UsageError
from features.settings import Settings
from serving import rulebook
from serving.decision_context import DecisionContext
from serving.rulebook import Rulebook

BINDS = (
    "what shop.toml and shop.py declare binds, whatever is released: change them, then `propensity promote "
    f"{rulebook.KIND}`"
)


def declared(settings: Settings) -> tuple[Rulebook, str]:
    """What the shop declares now, and what a decision under it names: a version, or "#" and its hash.

    SettingsError for declarations that no decision could be taken under.
    """
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        _, named = context.policy_release()
        return context.declared(), named


def release_declared(settings: Settings) -> str:
    """Register and release it, unless it is released already; its version."""
    book, named = declared(settings)
    if not named.startswith("#"):
        return named
    from training.stated import release_policy  # loads MLflow, which takes seconds

    return release_policy(settings, book).version


def promote_policy(settings: Settings, version: str | None, dry_run: bool) -> str:
    """Release what is declared, and say so. UsageError for a version: only what is declared binds."""
    if version is not None:
        raise UsageError(f"an earlier version of {rulebook.KIND} cannot be put in force: {BINDS}")
    _, named = declared(settings)
    if not named.startswith("#"):
        return f"{rulebook.KIND} version {named} is what is declared: nothing to release"
    if dry_run:
        return f"would release what is declared, {named}, as a version of {rulebook.KIND}"
    return f"released {rulebook.KIND} version {release_declared(settings)}: what is declared now"
