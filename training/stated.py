"""Price sets and the declared policy as registered versions: numbered by MLflow, released as plain files.

The same content is the same version. Nothing judges them: they are an operator's word, and going back is
`propensity rollback prices`, one version each time, from the first ones to none.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct

from features.compute.builds import Build
from features.moments import iso
from features.policy import PERIODS
from features.settings import Settings
from features.shop import shop_of
from serving import prices, releases, rulebook, stated
from serving.cards import ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.prices import BudgetLeft, PriceSet
from serving.releases import Release
from serving.rulebook import Rulebook
from training import kinds_page, page, registry
from training.registry import Kept

CardOf = Callable[[str], ModelCard]  # of the version's number


def register_policy(settings: Settings, book: Rulebook) -> Kept:
    """A version of what is declared; the same again is the version that it was."""
    starts = datetime.combine(book.policies[0].starts, time(), UTC)
    since = book.policies[-1].starts
    recipe = {
        "actions": ", ".join(action.name for action in book.actions),
        "scenarios": ", ".join(scenario.name for scenario in book.scenarios),
        "policies": ", ".join(policy.version for policy in book.policies),
    }
    of = Text("Contact policy and catalogue, as declared", "按声明的触达策略与行动目录")
    note = Text(
        f"{len(book.actions) - 1} actions beside nothing, {len(book.scenarios)} scenarios; the last policy "
        f"holds from {since}; content {stated.hash_of(book)}.",
        f"除不行动外共{len(book.actions) - 1}个行动、{len(book.scenarios)}个场景；最新策略自{since}起生效；"
        f"内容{stated.hash_of(book)}。",
    )

    def card(version: str) -> ModelCard:
        learnt = TrainedOn(build="", log="", start=starts, end=starts, rows=0, base_rate=0.0, seed=0)
        return _card(rulebook.KIND, version, book.currency, book.horizon_days, of, note, learnt)

    return _registered(settings, rulebook.KIND, book, card, recipe)


def release_policy(settings: Settings, book: Rulebook) -> Release:
    """Register what is declared, and release it: the ledger names its version from the next decision on."""
    kept = register_policy(settings, book)
    return registry.promote(settings, rulebook.KIND, kept.version)


def release_prices(settings: Settings, found: PriceSet) -> tuple[Release, Release | None]:
    """Put prices in force; what is in force now, and what was before if that was another.

    ReleaseCorrupt if what is in force cannot be read.
    """
    before, build = in_force(settings), Build.open(settings, found.build.partition("@")[0])
    release = _release_prices(settings, found, build.id, build.log)
    return release, before if before is not None and before.version != release.version else None


def withdraw_prices(settings: Settings) -> Release:
    """Put prices in force that charge nothing, in place of the first there were: a version like any other, so
    that decisions name it. ReleaseError if none are in force."""
    was = releases.load(settings, prices.KIND)
    learnt = was.model.card.trained_on
    found = PriceSet(
        as_of=settings.now(), build=prices.set_of(was).build, policy=prices.set_of(was).policy, customers=0,
        budget=None, capacity={}, spent=0.0, value=0.0, bound=0.0, prices=prices.NONE,
    )  # fmt: skip
    return _release_prices(settings, found, learnt.build, learnt.log)


def none_in_force(settings: Settings) -> bool:
    """Whether what is in force stands for no prices, as `withdraw_prices` put it there."""
    release = in_force(settings)
    return release is None or not (of := prices.set_of(release)).customers and of.prices == prices.NONE


def _release_prices(settings: Settings, found: PriceSet, build: str, log: str) -> Release:
    shop = shop_of(settings)
    recipe = {
        "as_of": iso(found.as_of), "budget": found.budget, "capacity": found.capacity, "policy": found.policy,
        "budgets": {of.name: of.left for of in found.budgets},
        "spent": found.spent, "value": found.value, "bound": found.bound, "prices": found.prices.duals,
    }  # fmt: skip
    of = Text("Prices of what is short", "稀缺资源的影子价格")

    def card(version: str) -> ModelCard:
        learnt = TrainedOn(
            build=build, log=log, start=found.as_of, end=found.as_of, rows=found.customers,
            base_rate=0.0, seed=0,
        )  # fmt: skip
        note = limits_of(found)
        return _card(prices.KIND, version, shop.currency, shop.value_horizon_days, of, note, learnt)

    kept = _registered(settings, prices.KIND, found, card, recipe)
    return registry.promote(settings, prices.KIND, kept.version)


def in_force(settings: Settings) -> Release | None:
    """The prices that are released now, if any are."""
    if prices.KIND not in releases.names(settings):
        return None
    return releases.load(settings, prices.KIND)


def limits_of(found: PriceSet) -> Text:
    """What a price set was found for, and what it charges."""
    budget = [] if found.budget is None else [f"{found.budget:,.2f}"]
    given = [*budget, *(f"{name}={most:,}" for name, most in found.capacity.items())]
    left = [left_in_words(of) for of in found.budgets]
    en, zh = ", ".join([*given, *(of.en for of in left)]), "、".join([*given, *(of.zh for of in left)])
    duals = ", ".join(f"{name} {price:.4g}" for name, price in found.prices.duals.items())
    moment = iso(found.as_of)
    return Text(
        f"As of {moment}, limits: {en or 'none'}; charges: {duals or 'nothing'}.",
        f"截至{moment}，限额：{zh or '无'}；价格：{duals or '无'}。",
    )


def left_in_words(budget: BudgetLeft) -> Text:
    """What is left of a budget of the policy, by the name that its price has."""
    left, amount, name = f"{budget.left:,.2f}", f"{budget.amount:,.2f}", budget.name
    return Text(
        f"{left} left of {amount} a {budget.per} ({name})",
        f"{PERIODS[budget.per]}预算{amount}余{left}（{name}）",
    )


def _registered(
    settings: Settings, name: str, states: Struct, card_of: CardOf, recipe: Mapping[str, Any]
) -> Kept:
    key = stated.hash_of(states)
    with registry.registering(settings, name) as door:
        if (known := door.find(key)) is not None:
            return known
        card = card_of(door.next_version())
        with TemporaryDirectory(prefix="propensity-") as scratch:
            folder = Path(scratch) / "model"
            stated.save(folder, card, states)
            return door.register(folder, [page.write(Path(scratch) / "card.html", folder)], card, key, recipe)


def _card(
    kind: str, version: str, currency: str, horizon_days: int, words: Text, note: Text, learnt: TrainedOn
) -> ModelCard:
    return ModelCard(
        name=kind,
        version=version,
        kind=kind,
        currency=currency,
        target=TargetCard(
            name=kind, horizon_days=horizon_days, population=kinds_page.EVERYBODY.en, label=kind,
            words=words, higher_is="good",
        ),
        features=(),
        trained_on=learnt,
        tested_on=TestedOn(moment=learnt.end, rows=learnt.rows, base_rate=0.0),
        metrics={},
        baselines={},
        notes=(note,),
    )  # fmt: skip
