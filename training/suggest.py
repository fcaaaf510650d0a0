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
from training import dataset
from training.labels import labels
from training.populations import buyers
from training.rhythm import Rhythm
from training.targets import TARGETS, Target

HORIZONS = (7, 14, 28, 56, 90, 180)  # days that people plan in: weeks, a month, two, a season, half a year
UNUSUAL = 0.1  # of gaps: a silence that fewer outlast is news
USUAL = 0.5  # of repeat customers: what half of them usually keep to is the shop's rhythm
LOST = 0.5  # of silences: if fewer end, whoever was silent so long is more likely lost than late
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
    """Churn and repurchase at the horizons that the rhythm suggests. orders: the log's, COLUMNS."""
    return [
        _proposal("churn", *_churn(rhythm), rhythm, orders, until, declared),
        _proposal("repurchase", *_repurchase(rhythm), rhythm, orders, until, declared),
    ]


def _churn(rhythm: Rhythm) -> tuple[int, Words]:
    """The shortest horizon whose silence is unusual."""
    horizon = next((h for h in HORIZONS if rhythm.longer(h) <= UNUSUAL), HORIZONS[-1])
    longer = f"{rhythm.longer(horizon):.0%}"
    return horizon, Words(
        f"{longer} of the gaps between days with an order are longer than {horizon} days: such a silence is "
        "news.",
        f"仅{longer}的购物间隔超过{horizon}天：沉默如此之久属于异常。",
    )


def _repurchase(rhythm: Rhythm) -> tuple[int, Words]:
    """The shortest horizon within which half of the repeat customers usually come."""
    horizon = next((h for h in HORIZONS if (rhythm.own <= h).mean() >= USUAL), HORIZONS[-1])
    usual = f"{(rhythm.own <= horizon).mean():.0%}"
    return horizon, Words(
        f"{usual} of repeat customers usually come again within {horizon} days: it is the shop's rhythm.",
        f"{usual}的复购客户通常在{horizon}天内再次下单：这是本店的购物节奏。",
    )


def _population(rhythm: Rhythm, horizon: int) -> tuple[int, Words]:
    """Days: the shortest of the features' windows after which a silence seldom ends."""
    windows = [w for w in WINDOWS if w >= horizon]
    window = next((w for w in windows if not rhythm.back(w) >= LOST), windows[-1])
    back = rhythm.back(window)
    if isnan(back):
        return window, Words(
            f"The log shows no silence of {window} days and what followed.",
            f"日志中没有沉默{window}天及之后的记录。",
        )
    return window, Words(
        f"After {window} days of silence {back:.0%} come back within {rhythm.followed} more.",
        f"沉默{window}天后，{back:.0%}的客户在之后{rhythm.followed}天内回归。",
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
    days, about = _population(rhythm, horizon)
    reason = Words(f"{reason.en} {about.en}", reason.zh + about.zh)
    like = next(target for target in TARGETS if target.name.startswith(kind))
    target = replace(
        like,
        name=f"{kind}_{horizon}d",
        horizon_days=horizon,
        population=buyers(days),
        words=Words(*(text.replace(str(like.horizon_days), str(horizon)) for text in like.words)),
        reason=reason.en,
    )
    same = [t for t in declared.values() if _asks(t) == _asks(target)]
    if not same and target.name in declared:
        target = replace(target, name=f"{kind}_of_{days}d_buyers_{horizon}d")
    target = same[0] if same else target
    moment, members, base_rate = _base_rate(target, orders, until)
    return Proposal(target, bool(same), reason, moment, members, base_rate, _needed_days(target))


def _needed_days(target: Target) -> int:
    """Of log, for `dataset.plan`: what lies before the first moment, two embargoes, the parts, a label."""
    parts = (dataset.CALIBRATION_MOMENTS + dataset.FIT_MOMENTS[0] - 2) * dataset.STEP // DAY
    return max(target.population.days, dataset.WARM_UP) + 3 * target.horizon_days + parts


def _asks(target: Target) -> tuple[object, ...]:
    """What a target asks, without its words."""
    return (target.label, target.horizon_days, target.population, target.returned)


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
    reason={quoted(target.reason)},
),"""
