"""What `propensity evaluate holdout` and `today` show; it remembers how often an experiment was looked at."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from features.charts import Dot, dots
from features.describe.say import day as say_day
from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import NotEnoughData
from features.files import write_atomically
from features.log import Log
from features.moments import DAY, iso
from features.pages import Html, banner, bullets
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from monitoring.today import Held
from propensity.evaluated import PAGE, UNSURE, interval, number, write_page
from propensity.evaluated_groups import heard
from propensity.sheets import show, told
from propensity.tables import say
from serving.ledger import Ledger, exists
from training.realised import Effect, Realised, realised
from training.reported import Reports, reports_of


def evaluate_holdout(
    settings: Settings, since: datetime, days: int | None, language: str, out: Path | None
) -> int:
    """Show what marketing brought against the holdout; the exit code: 4 if it did more harm than is
    tolerated, 3 if the groups cannot be compared."""
    shop, log = shop_of(settings), Log.open(settings).known_by(settings.now())
    policy, length = shop.policy(since), days or shop.value_horizon_days
    look = _look(settings, policy.salt, since, length)
    reports = final_reports(settings, log, since, length)
    of = heard(settings, since, since + length * DAY)
    found = realised(log, policy, since, length, shop.margin_rate, look, reports, of)
    sheet, headline = realised_sheet(found), headline_of(found, shop.currency)
    say(told(headline, language))
    early = _early(settings, since, policy.starts)
    said = (*found.warnings, early, found.told_contacted, found.told_exposed)
    notes = [note for note in said if note is not None]
    for note in notes:
        say(f"- {told(note, language)}")
    show(sheet, language)
    if out is not None:
        good = found.reached and found.brought.low > 0 and not (found.warnings or found.broken)
        parts: list[Any] = [banner("good" if good else "bad", headline)]
        parts += [bullets(notes)] if notes else []
        parts += [_picture(found, shop.currency)] if found.reached else []
        write_page(out, Words("Against the holdout", "与对照组比较"), parts, [sheet], language)
    _remember(settings, policy.salt, since, length)
    if found.broken:
        return PAGE
    return UNSURE if found.warnings else 0


def matured(settings: Settings, remember: bool = True) -> Held:
    """What the last window proved that is final, of windows one after another since the policy's date, or the
    first decision, if that came later: whom other systems contacted before is no doing of the policy's.

    Each window is one look, however often it is shown; remember: it counts as one for later looks.
    """
    shop, now = shop_of(settings), settings.now()
    log = Log.open(settings).known_by(now)
    policy, days = shop.policy(now), shop.value_horizon_days
    if not policy.holdout:
        return Held(None, Words(
            "The policy holds nobody out, so what marketing brings is not known: set `holdout` in shop.toml.",
            "策略未设对照组，因此无法得知营销带来的效果：请在 shop.toml 中设置 `holdout`。",
        ))  # fmt: skip
    length, grace = days * DAY, shop.grace_days * DAY
    begins = _begins(settings, policy.starts)
    if begins is None:
        return Held(None, words(
            "Nothing was decided yet: the first window begins with the first decision, and what marketing "
            "brings can be known {n} days after it at the earliest.",
            "尚无决策：首个窗口自首次决策开始，营销效果最早在其{n}天后可知。", n=days + shop.grace_days,
        ))  # fmt: skip
    over = (min(now - grace, log.complete_until) - begins) // length  # windows that are final
    if over < 1:
        return Held(None, words(
            "The first window of {n} days since {since} is final on {day}; until then nothing is claimed.",
            "自{since}起的首个{n}天窗口于{day}成熟；在此之前不作任何结论。", n=days,
            since=say_day(begins.astimezone(shop.zone).date()),
            day=say_day((begins + length + grace).astimezone(shop.zone).date()),
        ))  # fmt: skip
    since = begins + (over - 1) * length
    try:
        reports = final_reports(settings, log, since, days)
        look = _look(settings, policy.salt, since, days)
        of = heard(settings, since, since + length)
        found = realised(log, policy, since, days, shop.margin_rate, look, reports, of)
    except NotEnoughData as error:
        return Held(None, Words(f"Nothing is claimed: {error}.", f"不作任何结论：{error}"))
    if remember:
        _remember(settings, policy.salt, since, days)
    return Held(found, headline_of(found, shop.currency))


def _begins(settings: Settings, starts: date) -> datetime | None:
    """When the policy of that date began to hold anybody out: with the first decision. None: not yet."""
    if not exists(settings):
        return None
    with closing(Ledger(settings)) as ledger:
        first = ledger.begins()
    if first is None or first > settings.now():
        return None
    return max(first, datetime.combine(starts, time(), shop_of(settings).zone).astimezone(UTC))


def _early(settings: Settings, since: datetime, starts: date) -> Words | None:
    """What is to be said of a window that begins before the first decision."""
    begins = _begins(settings, starts)
    if begins is None or begins <= since:
        return None
    return words(
        "The window begins before the first decision, of {at}: what was sent until then is no doing of the "
        "policy's. Ask with --since {at}",
        "窗口早于首次决策（{at}）：此前的发送与该策略无关。请使用 --since {at}", at=iso(begins),
    )  # fmt: skip


def final_reports(settings: Settings, log: Log, since: datetime, days: int) -> Reports:
    """What the ledger was told of the window. NotEnoughData while reports of it may still come."""
    until = since + days * DAY
    found, final = reports_of(settings, log, since, until), until + shop_of(settings).grace_days * DAY
    if found.any and settings.now() < final:
        raise NotEnoughData(
            f"outcomes of the window from {iso(since)} may be reported until {iso(final)}: nothing is known "
            "before. Ask again then, or about fewer --days"
        )
    return found


def headline_of(found: Realised, currency: str) -> Words:
    """What an operations lead should take away."""
    treated = found.effects[0].treated.n
    if not found.judged:  # what the groups differ by then is chance, or comes from elsewhere
        return words(
            "None of the {n} treated was contacted in this window: there was no marketing to persons to "
            "judge, and the difference is nothing that it did.",
            "本窗口内处理组{n}人均未被触达：没有面向个人的营销可供评估，差异并非营销所致。", n=treated,
        )  # fmt: skip
    if not found.reached:
        said = words(
            "None of the {n} treated is known to have been contacted in this window, so the difference is "
            "nothing that marketing is known to have done: nothing is claimed. Tell what became of the {m} "
            "contacts that were decided.",
            "本窗口内处理组{n}人均无已知触达，因此没有证据表明差异由营销所致：不作任何结论。"
            "请回报{m}次已决策触达的结果。", n=treated, m=found.untold,
        )  # fmt: skip
        if not found.broken:
            return said
        yet = words(
            " Yet among them the share of {harm} is higher by more than is tolerated: stop, and look why.",
            "但{harm}高于对照组，且超过容忍上限：请停止并查明原因。", harm=found.broken[0].name,
        )  # fmt: skip
        return Words(said.en + yet.en, said.zh + yet.zh)
    if found.broken:
        harm = found.broken[0].name
        return words(
            "Marketing raises the share of {harm} by more than is tolerated: stop, and look why.",
            "营销使{harm}的上升超过容忍上限：请停止并查明原因。", harm=harm,
        )  # fmt: skip
    if found.warnings:
        return Words("The groups cannot be compared: nothing is claimed.", "两组不可比：不作任何结论。")
    low, high, value = (f"{of:+,.0f}" for of in (found.brought.low, found.brought.high, found.brought.value))
    said = words(
        "Marketing brought {value} {c} of margin [{low} {high}] in this window",
        "本窗口内营销带来毛利{value} {c} [{low} {high}]", value=value, low=low, high=high, c=currency,
    )  # fmt: skip
    sure = found.brought.low > 0 or found.brought.high < 0
    state = Words("; that is proven.", "，已证实。") if sure else Words("; it is not proven.", "，尚未证实。")
    if not found.cost:
        return Words(said.en + state.en, said.zh + state.zh)
    returned = f"{(found.brought.value - found.cost) / found.cost:+.0%}"
    paid = words(
        " and cost {cost}: a return of {returned}", "，成本{cost}：回报率{returned}",
        cost=f"{found.cost:,.0f}", returned=returned,
    )  # fmt: skip
    return Words(said.en + paid.en + state.en, said.zh + paid.zh + state.zh)


def _picture(found: Realised, currency: str) -> Html:
    of = found.brought
    rows = [Dot(words("margin brought, {c}", "带来的毛利（{c}）", c=currency), of.value, of.low, of.high,
                f"{of.value:+,.0f}")]  # fmt: skip
    if found.cost is not None:
        rows.append(Dot(Words("its cost", "成本"), found.cost, shown=f"{found.cost:,.0f}"))
    return dots(rows, Words("What marketing brought, and cost", "营销带来的毛利与成本"), reference=0.0)


def _looks(settings: Settings) -> dict[str, list[list[Any]]]:
    path = settings.home / "reports" / "holdout-looks.json"
    try:
        found: dict[str, list[list[Any]]] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _look(settings: Settings, salt: str, since: datetime, days: int) -> int:
    """Which look at the experiment of that salt this is; the same window again is the same look."""
    known = _looks(settings).get(salt, [])
    this = [iso(since), days]
    return known.index(this) + 1 if this in known else len(known) + 1


def _remember(settings: Settings, salt: str, since: datetime, days: int) -> None:
    looks, this = _looks(settings), [iso(since), days]
    if this not in looks.setdefault(salt, []):
        looks[salt].append(this)
        path = settings.home / "reports" / "holdout-looks.json"
        write_atomically(path, json.dumps(looks, indent=1).encode())


def realised_sheet(found: Realised) -> Sheet:
    """Both groups, and the difference with its interval."""

    def state(effect: Effect) -> Words:
        if effect in found.broken:
            return Words("BROKEN: stop", "已突破：停止")
        if not found.reached:
            return Words("nothing is claimed", "不作结论")
        if effect.difference.low <= 0 <= effect.difference.high:
            return Words("no difference is shown", "未显示差异")
        if found.warnings:
            return Words("not comparable", "不可比")
        better = (effect.difference.value > 0) != (effect.guardrail is not None)
        return Words("better", "更好") if better else Words("worse", "更差")

    treated, held = found.effects[0].treated.n, found.effects[0].held_out.n
    return Sheet(
        words(
            "{n} treated, {m} held out, {since} to {until}", "处理组{n}人，对照组{m}人，{since}至{until}",
            n=treated, m=held, since=f"{found.since:%Y-%m-%d}", until=f"{found.until:%Y-%m-%d}",
        ),
        (Words("outcome", "结果"), Words("treated", "处理组"), Words("held out", "对照组"),
         Words("difference", "差异"), Words("interval", "区间"), Words("with marketing", "营销效果")),
        tuple(
            (of.name, number(of.treated.mean), number(of.held_out.mean), number(of.difference.value, "+"),
             interval(of.difference.low, of.difference.high), state(of))
            for of in found.effects
        ),
        right=(1, 2, 3, 4),
        note=words(
            "By intention to treat: everybody known at the beginning, whatever was sent. Look {look} at this "
            "experiment: the 95 % intervals of all looks hold together. A harm may rise by {most}.",
            "按意向处理：包含期初已知的所有客户，无论实际是否触达。本实验的第{look}次查看：所有查看的95%区间同时成立。"
            "负面影响的容忍上限为{most}。",
            look=found.look, most="0.5%",
        ),
    )  # fmt: skip
