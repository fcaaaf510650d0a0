"""Decide for everybody at once within a budget and capacities, and put the prices found in force.

Everybody is in the situation that an online decision would find: the published rows with fresh events, what
they said since, what the ledger reserved. What is left of the policy's budgets limits the plan as what is
given for it does. Whoever's draw is to explore gets what was drawn, whoever is owed a service gets it, and
both use up the limits first; the rest is allocated among the others. A plan records and reserves nothing.
"""

from __future__ import annotations

import hmac
import io
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from features import online
from features.compute.builds import Build
from features.errors import UsageError
from features.files import write_atomically
from features.moments import DAY, from_us, iso
from features.online import PRESENT, Published
from features.settings import Settings
from propensity.fair import Alone, gaps_of, refuse_unfair, unfair_of
from propensity.plan_limits import DIGITS, budgets_left, drawn_within, given_left
from propensity.plan_shown import show
from propensity.stated import release_declared
from propensity.tables import say
from serving import offers, rulebook
from serving.actions import Action
from serving.contacts import longest
from serving.decide import Decisions, Situation, decide, reason
from serving.decision_context import DecisionContext
from serving.decisions import effects_model, general_actions, order_model, order_probabilities
from serving.evidence import OPT_OUT, Shown, shown
from serving.exported import seen
from serving.ledger import Ledger
from serving.lifetime import lifetimes, release_of
from serving.offers import Measured
from serving.prices import BUDGET, Prices, PriceSet, set_of
from serving.scores import answerable
from serving.situation import Inputs, Rules, limits_of, situation_of
from serving.standing import Told
from training import stated
from training.allocate import Allocation, allocate

_CHUNK = 4_096  # customers read at a time


@dataclass(frozen=True)
class Plan:
    """open: what a lot could have drawn for each [n, A]. chosen: column numbers of `actions` [n].
    allocation: of those who were not drawn to explore.

    explore: share that is drawn. most: the largest expected net of one whom it was allocated among. found:
    limits, what they were used for, and the prices. block: unfair differences between like customers forbid
    it; alone: as `gaps_of` has it. unpaid: how many were drawn to explore what
    the limits did not carry any more, and then among what they did.
    """

    customers: list[str]
    actions: Sequence[Action]
    decisions: Decisions
    open: NDArray[np.bool_]
    chosen: NDArray[np.intp]
    holdout: NDArray[np.bool_]
    explore: float
    most: float
    allocation: Allocation
    found: PriceSet
    block: bool
    alone: Alone | None
    unpaid: int = 0


def plan(settings: Settings, budget: float | None, capacity: Mapping[str, int]) -> Plan:
    """Decide for everybody who is published. UsageError if what is owed alone is above a limit."""
    context = DecisionContext.open(settings)
    zero = [BUDGET] * (budget == 0) + [name for name, most in capacity.items() if most == 0]
    closed = Prices(closed=tuple(zero))
    with closing(context.ledger):
        as_of = settings.now()
        # What is blocked as unfair is measured as if it was not: else it could never be cleared.
        rules = replace(context.rules(as_of), unfair={}, prices=closed)
        published = context.rows.current()
        answerable(published, settings, as_of)
        inputs, matrix = everybody(context, rules, published, as_of)
    rows = dict(zip(published.features, matrix.T.astype(np.float64), strict=True))
    situation, actions = situation_of(rules, inputs, rows), rules.actions
    limits = limits_of(rules)
    general = general_actions(context)
    cost, channels = np.array([a.cost for a in actions]), [a.channels for a in actions]
    pays = np.array([a.cost if a.purpose == "marketing" else 0.0 for a in actions])  # a budget of the policy
    budgets = budgets_left(rules.policy, inputs[0].spent if inputs else (), as_of, context.shop.zone)

    def taken(of: NDArray[np.bool_], by: Decisions) -> tuple[float, list[str]]:
        chosen = by.chosen[of]
        return float(cost[chosen].sum()), [name for a in chosen.tolist() for name in channels[a]]

    def deciding(of: Situation) -> Decisions:
        return decide(actions, limits, of, general)

    at_first = deciding(situation)
    money, contacts = given_left(budget, capacity, *taken(~at_first.eligible[:, 0], at_first))
    uses = [] if money is None else [cost]
    uses += [np.array([of.count(name) for of in channels], float) for name in contacts]
    carried = [*([] if money is None else [money]), *contacts.values()]
    free = np.array([a.goal_kind == "service" for a in actions])  # what is owed is taken off already
    situation, made, opened, unpaid = drawn_within(
        deciding,
        situation,
        pays,
        min((of.left for of in budgets), default=math.inf),
        np.reshape([np.where(free, 0.0, of) for of in uses], (len(uses), len(actions))).T,
        np.array(carried, float),
        _seed(rules.policy.salt, as_of, ""),
    )
    settled = made.explored | ~made.eligible[:, 0]  # drawn, or owed
    drawn = made.chosen[settled]
    left = given_left(budget, capacity, *taken(settled, made))
    net = np.where(made.eligible & ~settled[:, None], made.net, -np.inf)
    net[:, 0] = 0.0
    funds = {of.name: (pays, max(round(of.left - pays[drawn].sum(), DIGITS), 0.0)) for of in budgets}
    allocation = allocate(net, cost, channels, *left, funds)
    prices = Prices(
        allocation.budget_price, allocation.channel_prices, closed.closed, allocation.fund_prices
    )  # fmt: skip
    decisions = decide(actions, limits, situation, general, prices=prices.of(actions))
    chosen = np.where(settled, made.chosen, allocation.chosen)
    ids = [of.customer_id for of in inputs]
    everyone = np.arange(len(chosen))
    gaps, alone = gaps_of(context, published, ids, matrix, made, chosen, rules)
    found = PriceSet(
        as_of=as_of,
        build=published.id,
        policy=dict(rules.released)[rulebook.KIND],
        customers=len(inputs),
        budget=budget,
        capacity=dict(capacity),
        spent=float(cost[chosen].sum()),
        value=float(decisions.net[everyone, chosen].sum()),
        bound=float(decisions.net[everyone, chosen][settled].sum()) + allocation.bound,
        prices=prices,
        fairness=gaps,
        budgets=budgets,
    )
    block = rules.policy.price_fairness == "block"
    holdout = situation.holdout
    most, explore = float(net.max(initial=0.0)), limits.explore
    return Plan(
        ids, actions, decisions, opened, chosen, holdout, explore, most, allocation, found, block, alone,
        unpaid,
    )  # fmt: skip


def everybody(
    context: DecisionContext, rules: Rules, published: Published, as_of: datetime
) -> tuple[list[Inputs], NDArray[np.float32]]:
    """Inputs and rows of all who are published, or known since, and can be answered, in the order of ids."""
    snapshot = Build.open(context.settings, published.build).read(published.moment, ["customer_id"])
    known_since = online.overlays(context.settings, published)
    ids = sorted({*snapshot["customer_id"].to_pylist(), *known_since})
    release, learnt, policy = order_model(context, rules.horizon_days), effects_model(context), rules.policy
    since = as_of - longest(policy, [action.suppress_days for action in rules.actions]) * DAY
    worth = release_of(context.releases, context.shop)
    held = context.ledger.held_by_all(since, as_of, seen(context.settings, published))
    spent = context.ledger.spent(policy.budgets, as_of.astimezone(context.shop.zone).date(), as_of)
    inputs, parts = list[Inputs](), [np.empty((0, len(published.features)), np.float32)]
    for first in range(0, len(ids), _CHUNK):
        some = ids[first : first + _CHUNK]
        told = context.standings.told_of(some)
        now, rows = context.rows.latest(some)
        if now.id != published.id:
            raise UsageError("another snapshot was published meanwhile: run it again")
        here = np.flatnonzero(rows.status == PRESENT)
        matrix = rows.matrix[here]
        chance = np.full(len(here), np.nan)
        if release is not None:
            chance = order_probabilities(release, matrix, published.features)
        effects: list[Shown] = [{} for _ in here]
        optouts = effects
        if learnt is not None:
            of = learnt, matrix, published.features, rules.actions, rules.horizon_days, rules.currency
            effects, optouts = shown(*of), shown(*of, OPT_OUT)
        found = [some[place] for place in here.tolist()]
        lives = lifetimes(context.settings, context.shop, worth, published, found)
        each = zip(here.tolist(), chance.tolist(), effects, optouts, lives, strict=True)
        for place, p, effect, optout, life in each:
            who, known_at = some[place], from_us(int(rows.known_at[place]))
            standing = context.standings.standing(
                told.get(who, Told([], ("", 0))), published, rows.consents(place), known_at
            )
            inputs.append(
                Inputs(
                    customer_id=who,
                    candidates=None,
                    as_of=as_of,
                    known_at=known_at,
                    stale=as_of - known_at > context.settings.stale_after,
                    order_probability=None if p != p else p,
                    order_model=None if release is None else f"{release.name}@{release.version}",
                    seed=_seed(rules.policy.salt, as_of, who),
                    standing=standing,
                    effects=effect,
                    effects_model=f"{learnt.name}@{learnt.version}"
                    if learnt and (effect or optout)
                    else None,
                    optouts=optout,
                    lifetime=life,
                    held=held.get(who, ()),
                    spent=spent,
                )
            )
        parts.append(matrix)
    return inputs, np.concatenate(parts)


def _seed(salt: str, as_of: datetime, customer_id: str) -> int:
    """63 bits, the same for the same run: planned twice, the same customers explore."""
    digest = hmac.digest(f"plan:{salt}:{iso(as_of)}".encode(), customer_id.encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def plan_everyone(
    settings: Settings,
    budget: float | None,
    capacity: Mapping[str, int],
    out: Path | None,
    dry_run: bool,
    force: bool = False,
) -> None:
    """Plan, show it, write it to `out`, and put its prices in force; a dry run only shows it.

    What is declared is released first, if nobody did: prices are found under a policy that has a version.
    UsageError, before anything is done, for an `out` that is there; force: replace it.
    """
    if out is not None and out.exists() and not force and not dry_run:
        raise UsageError(f"{out} is there already: name another file, or replace it with --force")
    if not dry_run:
        release_declared(settings)
    made = plan(settings, budget, capacity)
    show(made)
    if dry_run:
        say(f"dry run: nothing was changed or written; {stated.limits_of(made.found).en}")
        say(f"in force {_in_force(settings)}")
        return
    if (unfair := unfair_of(made.alone)) is not None:
        with closing(Ledger(settings)) as ledger:
            offers.measured(ledger, Measured(made.found.as_of, made.found.build, unfair))
        for name, attributes in unfair.items():
            what = "not made any more" if made.block else "made, and told as unequal"
            say(
                f"{name}: by itself unequal by {', '.join(attributes)}, as its own table shows; in single "
                f"decisions it is {what} from now on"
            )
    if made.block:
        refuse_unfair(made.found.fairness)
    was = _in_force(settings)
    release, before = stated.release_prices(settings, made.found)
    if out is not None:
        _write(made, out)
        say(f"plan: {out}")
    if before is None:
        say(
            f"prices {release.version}, charged in decisions from now on; before: {was} "
            "`propensity rollback prices` withdraws them"
        )
    else:
        say(
            f"prices {release.version}, charged in decisions from now on, in place of {was} "
            "`propensity rollback prices` goes back to them"
        )


def _in_force(settings: Settings) -> str:
    """The prices in force, in words."""
    release = stated.in_force(settings)
    if release is None:
        return "no prices."
    return f"prices {release.version}. {stated.limits_of(set_of(release)).en}"


def _write(made: Plan, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n, d = len(made.chosen), made.decisions
    everyone, prices = np.arange(n), made.found.prices.of(made.actions)

    def named(names: Sequence[str | None], codes: NDArray[Any]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(names, pa.string()))

    columns = {
        "customer_id": pa.array(made.customers, pa.string()),
        "action": named([a.name for a in made.actions], made.chosen),
        "channel": named([a.channel for a in made.actions], made.chosen).cast(pa.string()),
        "net": np.where(made.chosen == 0, 0.0, d.net[everyone, made.chosen]),
        "offer": np.array([a.incentive for a in made.actions])[made.chosen],
        "cost": np.array([a.cost for a in made.actions])[made.chosen],
        "price": prices[made.chosen],
        "low": d.low[everyone, made.chosen],
        "high": d.high[everyone, made.chosen],
        "propensity": _propensity(made),
        "explored": d.explored,
        "holdout": made.holdout,
    }
    codes = [reason(code) for code in range(int(d.reject.max(initial=0)) + 1)]
    columns |= {
        f"rejected_{a.name}": named(codes, d.reject[:, j]).cast(pa.string())
        for j, a in enumerate(made.actions)
        if j
    }
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    write_atomically(out, sink.getvalue())


def _propensity(made: Plan) -> NDArray[np.float64]:
    """Chance of what was chosen, over the draw to explore; what is allocated is not left to chance.

    Whoever explored would else have got the best at the prices.
    """
    d = made.decisions
    else_chosen = np.where(d.explored, d.best, made.chosen)
    chance: NDArray[np.float64] = made.explore / made.open.sum(axis=1)
    chance += (1 - made.explore) * (else_chosen == made.chosen)
    return chance
