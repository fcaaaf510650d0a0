"""What `propensity evaluate holdout` shows and writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from features.describe.say import words
from features.describe.sheets import Sheet
from features.log import Log
from features.pages import bullets
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.evaluated import UNSURE, interval, number, write_page
from propensity.sheets import show, told
from propensity.tables import say
from training.realised import Effect, Realised, realised


def evaluate_holdout(
    settings: Settings, since: datetime, days: int | None, language: str, out: Path | None
) -> int:
    """Show what marketing brought against the holdout; the exit code: 3 if the groups cannot be compared."""
    shop = shop_of(settings)
    found = realised(Log.open(settings), shop.policy(since), since, days or shop.value_horizon_days)
    sheet = realised_sheet(found)
    for warning in found.warnings:
        say(f"- {told(warning, language)}")
    show(sheet, language)
    if out is not None:
        parts = [bullets(found.warnings)] if found.warnings else []
        write_page(out, Words("Against the holdout", "与对照组比较"), parts, [sheet], language)
    return UNSURE if found.warnings else 0


def realised_sheet(found: Realised) -> Sheet:
    """Both groups, and the difference with its interval."""

    def state(effect: Effect) -> Words:
        if effect.difference.low <= 0 <= effect.difference.high:
            return Words("no difference is shown", "未显示差异")
        if found.warnings:
            return Words("not comparable", "不可比")
        better = (effect.difference.value > 0) != effect.harm
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
            (of.name, number(of.treated.mean), number(of.held_out.mean), f"{of.difference.value:+.4g}",
             interval(of.difference.low, of.difference.high), state(of))
            for of in found.effects
        ),
        right=(1, 2, 3, 4),
        note=Words(
            "By intention to treat: everybody known at the beginning, whatever was sent. 95 % intervals of "
            "one look.",
            "按意向处理：包含期初已知的所有客户，无论实际是否触达。95%区间，仅看一次。",
        ),
    )  # fmt: skip
