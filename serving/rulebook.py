"""The contact policy and the catalogue as they are declared: what the ledger names as a version.

What shop.toml and shop.py declare binds decisions from when they are opened on, released or not. A release of
kind `policy` is that content, named and kept: a decision under it is recorded with its version, and under
what nobody has released yet, with the hash of its content (`#3f0c...`), which finds it all the same.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from features.policy import Policy
from features.shop import Shop
from serving import stated
from serving.actions import Action
from serving.conditions import Live
from serving.scenarios import Scenario

if TYPE_CHECKING:
    from serving.releases import Release

KIND = "policy"


class Rulebook(Struct, frozen=True, kw_only=True):
    """What a shop's decisions are taken under, whoever they are about and whenever."""

    policies: tuple[Policy, ...]
    actions: tuple[Action, ...]
    scenarios: tuple[Scenario, ...]
    context: tuple[Live, ...]  # fields beside the built-in ones
    consent: dict[str, bool]
    margin_rate: float
    horizon_days: int
    grace_days: int
    currency: str
    zone: str


load = stated.loader(Rulebook, KIND)


def declared(shop: Shop, actions: tuple[Action, ...], scenarios: tuple[Scenario, ...]) -> Rulebook:
    """What a shop declares now, with its catalogue as `actions.catalogue` has it."""
    return Rulebook(
        policies=shop.policies,
        actions=actions,
        scenarios=scenarios,
        context=shop.declared("CONTEXT"),
        consent=dict(shop.consent_default),
        margin_rate=shop.margin_rate,
        horizon_days=shop.value_horizon_days,
        grace_days=shop.grace_days,
        currency=shop.currency,
        zone=shop.zone.key,
    )


def book_of(release: "Release") -> Rulebook:
    """What a release of a policy states."""
    assert isinstance(release.model, stated.Stated)
    found: Rulebook = release.model.states
    return found


def named(hash: str, release: "Release | None") -> tuple[str, str]:
    """(KIND, version) of what has that hash: the release's if it is that, else "#" and the hash."""
    if release is not None and stated.hash_of(book_of(release)) == hash:
        return KIND, release.version
    return KIND, f"#{hash}"
