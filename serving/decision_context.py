"""What decisions are taken with, opened once, and the rules that are in force at a moment."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import available_timezones

import msgspec

from features.definitions import Feature
from features.definitions import catalogue as feature_catalogue
from features.errors import ReleaseError, SettingsError
from features.online import OnlineRows
from features.policy import Policy, Send
from features.settings import Settings
from features.shop import Shop, shop_of
from features.toml import nearest
from serving import conditions, offers, prices, rulebook, stated
from serving.actions import Action, catalogue
from serving.conditions import Live
from serving.due import Known
from serving.following import Releases
from serving.in_force import InForce, Unfair
from serving.learnt import learn
from serving.ledger import Ledger
from serving.ledger_store import PATIENCE
from serving.pauses import Pauses
from serving.releases import Release
from serving.rulebook import Rulebook
from serving.scenarios import Scenario
from serving.scenarios import catalogue as scenario_catalogue
from serving.situation import Rules
from serving.standing import Standings

_Sources = tuple[Policy, prices.Prices, dict[str, str], Release | None, Release | None, Unfair]


@dataclass(frozen=True)
class DecisionContext:
    """What decisions are taken with; open it once."""

    settings: Settings
    shop: Shop
    actions: Mapping[str, Action]
    rows: OnlineRows
    releases: Releases
    ledger: Ledger
    standings: Standings
    pauses: Pauses
    zones: Mapping[str, tuple[str, ...]]  # a feature that knows a zone -> what its codes mean
    scenarios: Mapping[str, Scenario]
    features: Mapping[str, Feature]
    fields: Mapping[str, Live]  # of the live context
    known_due: Known
    in_force: InForce
    book: str  # names what is declared, by its content
    _kept: list[tuple[Rules, bytes, _Sources]] = field(default_factory=list)  # the last, encoded, and what of

    @classmethod
    def open(cls, settings: Settings, patience: float = PATIENCE) -> "DecisionContext":
        """Everything from the settings. SettingsError for an action that cannot be used as it is declared.
        patience: with the ledger, as of `open_store`."""
        learn()
        shop = shop_of(settings)
        features = feature_catalogue(shop.declared("FEATURES"))
        fields = shop.read("CONTEXT", conditions.catalogue)
        actions = shop.read("ACTIONS", catalogue, features, fields)
        zones = {}
        scenarios = shop.read("SCENARIOS", scenario_catalogue, actions, features, fields)
        problems = _policy_problems(shop, settings.now(), actions.values(), scenarios, features)
        if problems:
            raise SettingsError(problems[0])
        for policy in shop.policies:
            if policy.send is not None and policy.send.zone in features:  # one that is over may name another
                zones[policy.send.zone] = features[policy.send.zone].vocabulary or ()
        rows, releases = OnlineRows.open(settings), Releases(settings)
        ledger, standings = Ledger(settings, patience=patience), Standings(settings)
        try:
            pauses = Pauses(ledger)
            offers.former(ledger)
        except BaseException:
            ledger.close()
            raise
        book = stated.hash_of(_declared(shop, actions, scenarios))
        return cls(
            settings, shop, actions, rows, releases, ledger, standings, pauses, zones, scenarios, features,
            fields, Known(settings), InForce(ledger), book,
        )  # fmt: skip

    def rules(self, at: datetime) -> Rules:
        """The rules in force. ReleaseError if the prices in force cannot be read."""
        shop, policy = self.shop, self.shop.policy(at)
        found, known, now = self.releases.find(prices.KIND), self._book(), self.in_force.read()
        sources = (
            policy,
            prices.charged(found, at),
            now.paused,
            found,
            known,
            now.unfair,
        )
        for kept, _, of in self._kept:  # prices of which some have ended are made anew each time
            if all(a is b or (a is of[1] and a == b) for a, b in zip(of, sources, strict=True)):
                return kept
        channels = sorted({channel for a in self.actions.values() for channel in a.channels})
        consent = {channel: shop.consent_default.get(channel, False) for channel in channels}
        actions = tuple(self.actions.values())
        rules = Rules(
            policy,
            actions,
            consent,
            shop.margin_rate,
            shop.value_horizon_days,
            shop.currency,
            *sources[1:3],
            shop.zone.key,
            self.zones.get((policy.send.zone if policy.send else None) or "", ()),
            (rulebook.named(self.book, known), *_charging(sources[1], found)),
            {of.name: (of.eligible, of.suppressed_if) for of in self.scenarios.values() if of.conditional},
            sources[5],
            _waiting(self.scenarios),
        )
        self._kept[:] = [(rules, msgspec.json.encode(rules), sources)]
        return rules

    def declared(self) -> Rulebook:
        """What the shop declares."""
        return _declared(self.shop, self.actions, self.scenarios)

    def policy_release(self) -> tuple[str, str]:
        """Names what is declared, as a decision does."""
        return rulebook.named(self.book, self._book())

    def _book(self) -> Release | None:
        """The released policy; one that cannot be read names nothing, and what is declared binds."""
        with suppress(ReleaseError):
            return self.releases.find(rulebook.KIND)
        return None

    def encoded(self, rules: Rules) -> bytes:
        """As the ledger keeps them."""
        for kept, text, _ in self._kept:
            if kept is rules:
                return text
        return msgspec.json.encode(rules)


def _declared(shop: Shop, actions: Mapping[str, Action], scenarios: Mapping[str, Scenario]) -> Rulebook:
    return rulebook.declared(shop, tuple(actions.values()), tuple(scenarios.values()))


def _waiting(scenarios: Mapping[str, Scenario]) -> dict[str, tuple[str, ...]]:
    """Action -> the scenarios that it belongs to."""
    names = sorted({name for of in scenarios.values() for name in of.actions})
    return {name: tuple(of.name for of in scenarios.values() if name in of.actions) for name in names}


def _charging(charged: prices.Prices, found: Release | None) -> tuple[tuple[str, str], ...]:
    """The prices' version, if it charges yet."""
    return () if found is None or charged is prices.NONE else ((found.name, found.version),)


def policy_problems(shop: Shop, at: datetime, features: Mapping[str, Feature]) -> list[str]:
    """What would stop decisions under the policy in force and those to come, or leave a limit without effect.

    SettingsError for an action that cannot be used as it is declared.
    """
    actions = shop.read("ACTIONS", catalogue)
    scenarios = {getattr(of, "name", "") for of in shop.declared("SCENARIOS")}  # wrong ones, too
    return _policy_problems(shop, at, actions.values(), scenarios, features)


def _policy_problems(
    shop: Shop,
    at: datetime,
    actions: Collection[Action],
    scenarios: Collection[str],
    features: Mapping[str, Feature],
) -> list[str]:
    found = []
    for policy in shop.policies_from(at):
        where = f"{shop.folder / 'shop.toml'}: the policy from {policy.version}"
        found += [f"{where} {said}" for said in _problems(policy, actions, scenarios, features)]
    return found


def _problems(
    policy: Policy, actions: Collection[Action], scenarios: Collection[str], features: Mapping[str, Feature]
) -> list[str]:
    channels, names = {channel for a in actions for channel in a.channels}, {a.name for a in actions}
    problems = [
        f"has a {kind} on {of.channel}, a channel that no action has{nearest(of.channel, channels)} "
        f"There are: {', '.join(sorted(channels))}"
        for kind, limits in (("cap", policy.caps), ("cooldown", policy.cooldowns))
        for of in limits
        if of.channel is not None and of.channel not in channels
    ]
    problems += [
        f"has a budget of the scenario {of.scenario}, which is not declared, so it limits nothing"
        f"{nearest(of.scenario, scenarios)} There are: {', '.join(sorted(scenarios)) or 'none'}"
        for of in policy.budgets
        if of.scenario is not None and of.scenario not in scenarios
    ]
    problems += [
        f"has a cooldown of {of.action}, which is no action{nearest(of.action, names)}"
        for of in policy.cooldowns
        if of.action is not None and of.action not in names
    ]
    send = policy.send or Send()
    problems += [
        f"reads send.hours from {name}, which is no feature of an hour: name one whose unit is hour"
        for name in send.hours
        if name not in features or features[name].unit != "hour"
    ]
    if send.zone is not None:
        known = features[send.zone].vocabulary if send.zone in features else None
        if not known or not set(known) <= available_timezones():
            problems.append(
                f"reads send.zone from {send.zone}: name a feature whose vocabulary is IANA time "
                'zones, such as ("Asia/Shanghai", "Asia/Urumqi")'
            )
    return problems
