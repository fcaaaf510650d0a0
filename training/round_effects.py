"""What messages to everyone brought: rounds with one against those that the lot left quiet (a switchback).

Nobody can be held out of a message that reaches everyone, so a round is the unit: it was drawn, with a logged
chance. An outcome of a round is what all customers known at the beginning of the first did in it, a customer.
Each arm's mean is weighted by 1 over the chance of what was drawn (Hajek), its variance is the jackknife's
over rounds (`clusters`): that the week has its days and the year its seasons widens the interval, and biases
nothing, as rounds were drawn one by one. What a message brings after its round is not seen; what it takes
from the next, or adds to it, is taken for the next one's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import NotEnoughData
from features.log import Log
from features.moments import iso
from features.words import Words
from training import realised
from training.clusters import arm, between, of_harm
from training.sequential import Difference

FEW = 10  # rounds in an arm below which no verdict is given
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DrawnRound:
    """since: its beginning; it ends before `until`. sent: something was decided to be said to everyone.
    silence: chance that nothing was."""

    since: datetime
    until: datetime
    sent: bool
    silence: float


@dataclass(frozen=True)
class RoundEffect:
    """An outcome a customer and round. harm: more of it is worse. difference: None with too few rounds."""

    name: Words
    harm: bool
    loud: float
    quiet: float
    difference: Difference | None


@dataclass(frozen=True)
class RoundEffects:
    """loud, quiet: rounds of each arm. undrawn: in which nothing was left to chance, beside these."""

    since: datetime
    until: datetime
    customers: int
    loud: int
    quiet: int
    undrawn: int
    effects: tuple[RoundEffect, ...]
    verdict: Words
    warnings: tuple[Words, ...]


def round_effects(log: Log, rounds: Sequence[DrawnRound], never: int = 0) -> RoundEffects:
    """Compare rounds. never: how many that were to be heard were not sent.

    NotEnoughData if none that was drawn is over, or one arm has none.
    """
    over = sorted((of for of in rounds if of.until <= log.complete_until), key=lambda of: of.since)
    drawn = [of for of in over if 0 < of.silence < 1]
    sent = np.array([of.sent for of in drawn], np.bool_)
    if not sent.any() or sent.all():
        raise NotEnoughData(
            f"of {len(rounds)} rounds of everyone {len(over)} are over in the log, known until "
            f"{iso(log.complete_until)}; {sent.sum()} of them were drawn to be heard and {(~sent).sum()} to "
            "be quiet: both are needed. Ask again later, or declare more `quiet_rounds` in shop.toml"
        )
    customers = log.read("customers", ["customer_id", "known_at"]).to_pylist()
    ids = {row["customer_id"] for row in customers if row["known_at"] <= drawn[0].since}
    if not ids:
        raise NotEnoughData(f"the log knew no customer on {iso(drawn[0].since)}")
    silence = np.array([of.silence for of in drawn])
    weight = 1 / np.where(sent, 1 - silence, silence)
    enough = min(sent.sum(), (~sent).sum()) >= FEW
    effects = []
    for name, harm, totals in _outcomes(log, drawn, ids):
        y, each = totals / len(ids), np.arange(len(drawn))
        loud, quiet = (float(np.average(y[of], weights=weight[of])) for of in (sent, ~sent))
        gap = None
        if enough:
            one, other = (arm(y[of], each[of], weight[of]) for of in (sent, ~sent))
            if harm:
                one, other = of_harm(one, len(ids)), of_harm(other, len(ids))
            found = between(one, other)
            gap = Difference(found.value, found.low, found.high)
        effects.append(RoundEffect(name, harm, loud, quiet, gap))
    arms = int(sent.sum()), int((~sent).sum())
    verdict, warnings = _verdict(effects, sum(arms)), []
    if not enough:
        warnings.append(Words(
            f"{arms[0]} rounds with a message and {arms[1]} quiet ones: no verdict is given before there are "
            f"{FEW} of each. More `quiet_rounds` in shop.toml are sooner enough",
            f"有消息{arms[0]}轮、静默{arms[1]}轮：每组满{FEW}轮之前不作结论。"
            "在 shop.toml 中调高 `quiet_rounds` 可更快满足",
        ))  # fmt: skip
    if never:
        warnings.append(Words(
            f"{never} messages to everyone were decided and never sent: the difference is of decisions",
            f"有{never}条全员消息已决策但未发送：差异反映的是决策而非实际发送",
        ))  # fmt: skip
    return RoundEffects(
        drawn[0].since, drawn[-1].until, len(ids), *arms, len(over) - len(drawn), tuple(effects), verdict,
        tuple(warnings),
    )  # fmt: skip


def _verdict(effects: Sequence[RoundEffect], rounds: int) -> Words:
    gap, value = effects[0].difference, effects[1].difference
    if gap is None or value is None:
        return Words(
            f"What messages to everyone bring cannot be told from {rounds} rounds: nothing is claimed.",
            f"仅凭{rounds}轮无法判断全员消息的效果：不作任何结论。",
        )
    sure = value.low > 0 or value.high < 0
    en, zh = ("that is proven", "已证实") if sure else ("it is not proven", "尚未证实")
    shown = f"{value.value:+.4g} [{value.low:+.4g} {value.high:+.4g}]"
    return Words(
        f"A message to everyone changed the order value by {shown} a customer in its round; {en}.",
        f"全员消息使本轮人均订单金额变化{shown}，{zh}。",
    )


def _outcomes(log: Log, rounds: Sequence[DrawnRound], ids: set[str]) -> list[tuple[Words, bool, Numbers]]:
    """(what, whether it is a harm, of each round [n]): as `realised.outcomes`, by the log alone, which is
    read once."""
    begins, ends = (np.array([at.timestamp() for at in of]) for of in zip(
        *((of.since, of.until) for of in rounds), strict=True
    ))  # fmt: skip

    def place(row: dict[str, Any]) -> int | None:
        at = row["at"].timestamp()
        r = int(np.searchsorted(begins, at, side="right")) - 1
        return r if r >= 0 and at < ends[r] and row["customer_id"] in ids else None

    def who(rows: Sequence[dict[str, Any]]) -> Numbers:
        """In how many customers' rounds any of these rows is."""
        pairs = {(r, row["customer_id"]) for row in rows if (r := place(row)) is not None}
        return np.bincount([r for r, _ in pairs], minlength=len(rounds)).astype(np.float64)

    since, until = rounds[0].since, max(of.until for of in rounds)
    sales = list(realised.sales(log, since, until))
    money = np.zeros(len(rounds))
    for row in sales:
        if (r := place(row)) is not None:
            money[r] += row["amount"]
    found = [
        (realised.ORDERED, False, who([row for row in sales if row["ref"] is None])),
        (realised.VALUE, False, money),
    ]
    if "consents" in log.tables:
        rows = realised.within(log, "consents", ["status"], since, until)
        found.append((realised.WITHDREW.name, True, who([r for r in rows if r["status"] == "withdrawn"])))
    if "cases" in log.tables:
        rows = realised.within(log, "cases", ["kind", "change"], since, until)
        told = [row for row in rows if (row["kind"], row["change"]) == ("complaint", "opened")]
        found.append((realised.COMPLAINED.name, True, who(told)))
    return found
