"""Horizons for churn and repurchase that a log's own rhythm suggests, each with its reason and base rate."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import isnan

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.definitions import WINDOWS
from features.moments import DAY, midnight
from features.words import Words
from training import samples
from training.labels import labels
from training.populations import buyers
from training.rhythm import Rhythm
from training.targets import TARGETS, Target

HORIZONS = (7, 14, 28, 56, 90, 180)  # days that people plan in: weeks, a month, two, a season, half a year
UNUSUAL = 0.1  # of gaps, and of repeat customers: a silence that so few outlast is news
USUAL = 0.5  # of repeat customers: what half of them usually keep to is the shop's rhythm
LOST = 0.5  # of silences: if fewer end, whoever was silent so long is more likely lost than late
SELDOM = 0.01  # of gaps: whoever was silent for longer is not missed in a population
COLUMNS = ("customer_id", "at", "known_at", "ref")


@dataclass(frozen=True)
class Proposal:
    """A proposed target. declared: it is one of the catalogue's already, under this name.

    base_rate: the share of ones among the `members` of its population at `moment`, the last whose label is
    mature; nan without members. needed_days: length of log that training needs.
    """

    target: Target
    declared: bool
    reason: Words
    moment: datetime
    members: int
    base_rate: float
    needed_days: int


def proposals(
    rhythm: Rhythm, orders: pa.Table, until: datetime, declared: Mapping[str, Target]
) -> list[Proposal]:
    """Churn and repurchase at the horizons that the rhythm suggests. orders: the log's, COLUMNS.

    Where a log is too short to train one, the longest horizon that it can train follows.
    """
    found = []
    for kind, horizon, reason in (("churn", *_churn(rhythm)), ("repurchase", *_repurchase(rhythm))):
        best = _proposal(kind, horizon, reason, rhythm, orders, until, declared)
        found.append(best)
        if best.needed_days > rhythm.days:
            shorter = (
                _proposal(kind, h, _at_most(rhythm, h), rhythm, orders, until, declared)
                for h in reversed(HORIZONS)
                if h < horizon
            )
            found += [one for one in shorter if one.needed_days <= rhythm.days][:1]
    return found


def _churn(rhythm: Rhythm) -> tuple[int, Words]:
    """The shortest horizon whose silence is unusual, of gaps and of customers."""

    def unusual(days: int) -> bool:
        return rhythm.longer(days) <= UNUSUAL and rhythm.usually_longer(days) <= UNUSUAL

    horizon = next((h for h in HORIZONS if unusual(h)), HORIZONS[-1])
    longer, usually = f"{rhythm.longer(horizon):.0%}", f"{rhythm.usually_longer(horizon):.0%}"
    return horizon, Words(
        f"A silence of {horizon} days is news: {longer} of the gaps are longer, and {usually} of repeat "
        "customers usually stay away longer.",
        f"沉默{horizon}天属于异常：仅{longer}的间隔更长，仅{usually}的复购客户通常间隔更长。",
    )


def _repurchase(rhythm: Rhythm) -> tuple[int, Words]:
    """The shortest horizon within which half of the repeat customers usually come."""
    horizon = next((h for h in HORIZONS if 1 - rhythm.usually_longer(h) >= USUAL), HORIZONS[-1])
    usual = f"{1 - rhythm.usually_longer(horizon):.0%}"
    return horizon, Words(
        f"The shop's rhythm: {usual} of repeat customers usually come again within {horizon} days.",
        f"本店的购物节奏：{usual}的复购客户通常在{horizon}天内再次下单。",
    )


def _at_most(rhythm: Rhythm, horizon: int) -> Words:
    longer = f"{rhythm.longer(horizon):.0%}"
    return Words(
        f"The longest horizon that this log can train; {longer} of the gaps are longer.",
        f"此日志可训练的最长预测期；{longer}的间隔更长。",
    )


def _population(rhythm: Rhythm) -> tuple[int, Words]:
    """Days: the shortest of the features' windows after which hardly anybody, or no half, comes back."""

    def lost(days: int) -> bool:
        return rhythm.longer(days) <= SELDOM or rhythm.back(days) < LOST

    window = next((w for w in WINDOWS if lost(w)), WINDOWS[-1])
    longer, back = f"{rhythm.longer(window):.1%}", rhythm.back(window)
    after = "" if isnan(back) else f"；沉默满{window}天者，{back:.0%}在之后{rhythm.followed}天内回归"
    told = (
        ""
        if isnan(back)
        else (f"; of those silent for {window} days, {back:.0%} came back within {rhythm.followed} more")
    )
    return window, Words(
        f"It speaks of the buyers of the last {window} days: only {longer} of the gaps are longer{told}.",
        f"适用于近{window}天的买家：仅{longer}的间隔更长{after}。",
    )


def _proposal(
    kind: str,
    horizon: int,
    reason: Words,
    rhythm: Rhythm,
    orders: pa.Table,
    until: datetime,
    declared: Mapping[str, Target],
) -> Proposal:
    days, about = _population(rhythm)
    reason = Words(f"{reason.en} {about.en}", reason.zh + about.zh)
    like = next(target for target in TARGETS if target.name.startswith(kind))
    target = replace(
        like,
        name=f"{kind}_{horizon}d",
        horizon_days=horizon,
        population=buyers(days),
        words=Words(*(text.replace(str(like.horizon_days), str(horizon)) for text in like.words)),
        reason=reason,
    )
    same = [t for t in declared.values() if t.asks == target.asks]
    if not same and target.name in declared:
        target = replace(target, name=f"{kind}_of_{days}d_buyers_{horizon}d")
    target = same[0] if same else target
    moment, members, base_rate = _base_rate(target, orders, until)
    return Proposal(target, bool(same), reason, moment, members, base_rate, _needed_days(target))


def _needed_days(target: Target) -> int:
    """Of log, for `samples.timeline`: what lies before the first moment, weeks to learn from, two labels."""
    weeks = (samples.FIT_MOMENTS[0] - 1) * samples.STEP // DAY
    return max(target.population.days, samples.WARM_UPS[-1][0]) + weeks + 2 * target.horizon_days


def _base_rate(target: Target, orders: pa.Table, until: datetime) -> tuple[datetime, int, float]:
    """The last moment with a mature label, the members of the population then, and their share of ones."""
    moment = midnight(until - target.horizon_days * DAY)
    since = moment - target.population.days * DAY
    known = (pc.field("at") > since) & (pc.field("at") <= moment) & (pc.field("known_at") <= moment)
    ids = pc.unique(orders.filter(known & pc.field("ref").is_null())["customer_id"])
    if not len(ids):
        return moment, 0, float("nan")
    spine = pa.table(
        {"customer_id": ids, "moment": pa.repeat(pa.scalar(moment, orders["at"].type), len(ids))}
    )
    label = labels({"orders": orders}, spine, target, {moment: until})
    return moment, len(ids), float(np.mean(label))


def source(target: Target) -> str:
    """The target as an entry of TARGETS in shop.py."""

    def quoted(*texts: str) -> str:
        return ", ".join(json.dumps(text, ensure_ascii=False) for text in texts)

    return f"""\
Target(
    name={quoted(target.name)},
    horizon_days={target.horizon_days},
    population=buyers({target.population.days}),
    label={quoted(target.label)},
    words=Words({quoted(*target.words)}),
    score=Words({quoted(*target.score)}),
    higher_is={quoted(target.higher_is)},
    reason=Words({quoted(*target.why)}),
),"""
