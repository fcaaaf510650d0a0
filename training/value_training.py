"""Train, judge and register a value model: `propensity train value`."""

import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import msgspec
import numpy as np

from features.compute.builds import Build
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, iso, midnight
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving import value as served
from serving.cards import ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.summaries import Orders
from training import kinds_page, page, registry, value
from training.evaluate import DIGITS
from training.figures import missed, misses, shown
from training.fit import Progress, Trained
from training.past import Past
from training.targets import text
from training.value_figures import Figures, by_group, judged

NAME = "value"
HORIZON_DAYS = 365
RECIPE = 5  # raise when the same settings would give another model
LEAST_DAYS = 28  # that a model is judged on: a quarter of the log, or this
STEPS = 3


def train(settings: Settings, as_of: datetime, seed: int = 1, progress: Progress = None) -> Trained:
    """A value model as of a moment, judged on the last quarter of the log; it becomes the challenger.

    What is registered is what was judged: fitted on the three quarters before. The same data, recipe and
    seed are the same version. NotEnoughData if the log is too short or too small.
    """
    shop, build = shop_of(settings), Build.open(settings)
    log = Log.at(settings.home / "log" / build.log)
    known_by, days, moment = _timeline(log, as_of)
    recipe = {
        "recipe": RECIPE, "log": log.fingerprint, "build": build.id, "seed": seed, "test": iso(moment),
        "known_by": iso(known_by), "days": days, "horizon_days": HORIZON_DAYS, "trees": value.TREES,
        "rounds": value.ROUNDS, "discount": shop.discount, "margin": shop.margin_rate,
        "currency": shop.currency, "lightgbm": lightgbm.__version__, "numpy": np.__version__,
    }  # fmt: skip
    key = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    with registry.registering(settings, NAME) as door:
        if (found := door.find(key)) is not None:
            card = served.load(found.folder).card
            return Trained(found.run_id, found.version, card, found.folder, verdict(card), True)
        _say(progress, "fitting", 0)
        orders = Orders.of(log, shop.zone)
        fitted = value.fit(orders, moment, HORIZON_DAYS, shop.margin_rate, shop.discount, seed)
        past = Past.of(orders, moment, days, known_by)
        _say(progress, f"judging on {len(past.known):,} customers", 1)
        model = fitted.model(None, seed)
        figures, baselines = judged(model, past, seed)
        groups = by_group(model, past, seed)
        card = card_of(shop, log, build, past, moment, figures, baselines, groups, door.next_version(), seed)
        with TemporaryDirectory(prefix="propensity-") as scratch:
            folder = Path(scratch) / "model"
            served.save(folder, card, fitted.file, fitted.booster, seed)
            _say(progress, f"registering version {card.version}", 2)
            kept = door.register(folder, [page.write(Path(scratch) / "card.html", folder)], card, key, recipe)
    _say(progress, f"version {card.version} registered", STEPS)
    return Trained(kept.run_id, kept.version, card, kept.folder, verdict(card))


def plan(settings: Settings, as_of: datetime) -> str:
    """When it would be fitted and judged, in words. NotEnoughData as `train`."""
    log = Log.at(settings.home / "log" / Build.open(settings).log)
    _, days, moment = _timeline(log, as_of)
    return (
        f"would train {NAME}: fitted on the orders of {log.starts_at:%Y-%m-%d} to {moment:%Y-%m-%d}, judged "
        f"on the {days} days after"
    )


def _timeline(log: Log, as_of: datetime) -> tuple[datetime, int, datetime]:
    """(what is known by when, the days that judge, the moment before them)."""
    known_by = min(as_of, log.complete_until)
    days = min(HORIZON_DAYS, (known_by - log.starts_at) // DAY // 4)
    if days < LEAST_DAYS:
        raise NotEnoughData(
            f"the log holds {(known_by - log.starts_at) // DAY} days by {iso(known_by)}: a value model needs "
            f"{4 * LEAST_DAYS}, of which the last quarter judges it"
        )
    return known_by, days, midnight(known_by - days * DAY)


def card_of(
    shop: Shop, log: Log, build: Build, past: Past, moment: datetime, figures: Figures,
    baselines: dict[str, Figures], groups: tuple[dict[str, Any], ...], version: str, seed: int,
) -> ModelCard:  # fmt: skip
    """The card of a judged model. It reads no feature, only orders of the build's log."""
    card = ModelCard(
        name=NAME,
        version=version,
        kind=served.KIND,
        currency=shop.currency,
        target=TargetCard(
            name=NAME,
            horizon_days=HORIZON_DAYS,
            population=kinds_page.WITH_AN_ORDER.en,
            label="profit",
            words=Text(f"Profit of the next {HORIZON_DAYS} days", f"未来{HORIZON_DAYS}天的利润"),
            higher_is="good",
            score=Text("value", "价值"),
        ),
        features=(),
        trained_on=TrainedOn(
            build=build.id, log=log.fingerprint, start=log.starts_at, end=moment, rows=len(past.known),
            base_rate=round(float((past.known.histories.repeats > 0).mean()), DIGITS), seed=seed,
        ),
        tested_on=TestedOn(
            moment=moment, rows=len(past.known), base_rate=round(float((past.came > 0).mean()), DIGITS),
            days=past.days,
        ),
        metrics=figures,
        baselines=baselines,
        segments=groups,
        notes=(
            Text(
                "Orders here are days with an order: two orders of one customer on one day are one, and a "
                "return is none. Counts of orders elsewhere (orders_90d) can be higher.",
                "此处的订单指下单日：同一客户同一天的两笔订单计为一次，退货不计。"
                "其他处的订单数（如orders_90d）可能更高。",
            ),
            Text(
                "The next order's date is the whole day by which half of such customers have ordered. The "
                "chance by which it is told is learnt at earlier moments, by bands of silence over the "
                "customer's own mean gap. Judged is the very day that is told, where it lies within the days "
                "that judge.",
                "下次下单日期为此类客户中一半已下单的整日：按沉默时长与自身平均间隔之比分组，由更早时点学得；"
                "此处评估的正是所给出的日期（限评估期内）。",
            ),
            Text(
                f"Judged on the {past.days} days after {moment:%Y-%m-%d}; what lies beyond them, up to "
                f"{HORIZON_DAYS} days, is extrapolated. P(alive) is not given: it is 1 after one order.",
                f"用{moment:%Y-%m-%d}之后的{past.days}天评估；其后至{HORIZON_DAYS}天为外推。"
                "不提供存活概率：仅下单一次者该值恒为1。",
            ),
            Text(
                f"Profit is {shop.margin_rate:.1%} of money, discounted by {shop.discount:.1%} a year: what "
                "comes later counts less. Both are [value] of shop.toml (margin_rate, discount).",
                f"利润按金额的{shop.margin_rate:.1%}计，并按每年{shop.discount:.1%}折现，越晚到账计入越少。"
                "两者均在shop.toml的[value]中设置（margin_rate、discount）。",
            ),
        ),
    )  # fmt: skip
    return msgspec.structs.replace(card, notes=(text(verdict(card)), *card.notes))


def verdict(card: ModelCard) -> Words:
    """What the figures of a judged card say: whether the pace helps, the total holds, of whom it does
    not, and what missed."""
    ratio, gain = card.metrics["orders_ratio"], card.baselines["bgnbd"]["poisson_deviance_gain"]
    came = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    less = f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
    holds, beats = not missed("orders_ratio", ratio), gain["low"] > 0
    others = {name: one for name, one in card.metrics.items() if name != "orders_ratio"}
    every = (levels_off(card), pattern(card), misses(others), dates_off(card))
    parts = [words for words in every if words is not None]
    return Words(
        f"{card.name} {'beats' if beats else 'does not beat'} BG/NBD (Poisson deviance lower by {less}). "
        f"Its total {'holds' if holds else 'is off'}: orders that came / expected {came}."
        + "".join(f" {words.en}" for words in parts),
        f"{card.name}{'优于' if beats else '未优于'}BG/NBD（泊松偏差降低 {less}）。"
        f"总量{'可信' if holds else '有偏差'}：实际订单/预期 {came}。" + "".join(words.zh for words in parts),
    )


def levels_off(card: ModelCard) -> Words | None:
    """The groups of customers whose orders are off beyond chance, by name, and those that may be off; None:
    of none."""
    judged = [one for one in card.segments if "level_off" in one]
    off = [one for one in judged if one["level_off"]]
    unsure = [one for one in judged if not one["level_off"] and missed("orders_ratio", one["orders_ratio"])]
    said = []
    if off:
        named, n = _named(off), len(off)
        said.append(
            Words(
                f"Its level is off in {n} group{'s' * (n > 1)}: {named.en}.",
                f"在{n}个客户分组中水平有偏差：{named.zh}。",
            )
        )
    if unsure:
        named, n = _named(unsure), len(unsure)
        said.append(
            Words(
                f"It may be off in {n} of {len(judged)} groups, whose own interval lies beside 1, as that of "
                f"one in twenty does by chance: {named.en}.",
                f"{len(judged)}个分组中有{n}个水平可能有偏差（其自身区间偏离1，偶然情况下约二十分之一）：{named.zh}。",
            )
        )
    if not said:
        return None
    said.append(
        Words(
            "Above 1 more came than it said, below 1 less.",
            "大于1表示实际多于预测，小于1表示少于预测。",
        )
    )
    return Words(" ".join(words.en for words in said), "".join(words.zh for words in said))


def pattern(card: ModelCard) -> Words | None:
    """In which way of dividing customers the level differs beyond chance, all its groups taken together;
    None: in none.

    The z of disjoint groups are independent, so the sum of their squares is a chi-square on as many degrees
    of freedom: many small misses in a row show where no single group does. Bonferroni over the ways.
    """
    from scipy.stats import chi2  # half a second, which those who read a card need not spend

    judged = [one for one in card.segments if "z" in one]
    kinds = dict.fromkeys(one["kind"] for one in judged)
    said = []
    for kind in kinds:
        of = [one for one in judged if one["kind"] == kind]
        p = float(chi2.sf(sum(one["z"] ** 2 for one in of), len(of)))
        if p < 0.05 / len(kinds):
            said.append((of[0]["words"], len(of), f"{p:.2g}" if p >= 1e-4 else "<.0001"))
    if not said:
        return None
    en = ", ".join(f"{words['en']} (all {n} groups together, p {p})" for words, n, p in said)
    zh = "、".join(f"{words['zh']}（{n}个分组合并检验，p {p}）" for words, n, p in said)
    return Words(f"Its level differs beyond chance by: {en}.", f"水平随以下分组而不同，超出偶然：{zh}。")


def _named(groups: list[dict[str, Any]]) -> Words:
    en, zh = (
        sep.join(
            f"{one['words'][of]} {one['group'][of]} {shown(one['orders_ratio'])} (n {one['rows']:,})"
            for one in groups
        )
        for of, sep in (("en", ", "), ("zh", "、"))
    )
    return Words(en, zh)


def dates_off(card: ModelCard) -> Words | None:
    """The groups of customers in which the next order's date missed, by name; None: in none."""
    off = [one for one in card.segments if one.get("off")]
    if not off:
        return None
    shares = [f"{one['came_by_next_order_date']['value']:.2f}" for one in off]
    en, zh = (
        sep.join(f"{one['words'][of]} {one['group'][of]} ({s})" for one, s in zip(off, shares, strict=True))
        for of, sep in (("en", ", "), ("zh", "、"))
    )
    return Words(
        f"The date misses beyond chance (share that had ordered by it, .5 is right): {en}.",
        f"日期存在超出偶然的偏差（在该日期前已下单的占比，0.5为准确）：{zh}。",
    )


def _say(progress: Progress, what: str, done: int) -> None:
    if progress:
        progress(f"{NAME}: {what}", done, STEPS)
