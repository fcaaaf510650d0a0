"""What `propensity targets` shows and writes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from features.compute.builds import Build
from features.describe.say import words
from features.describe.sheets import Sheet
from features.errors import LogError, NoBuild
from features.files import write_atomically
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.sheets import show
from propensity.sheets import told as in_language
from propensity.tables import console, say
from training import rhythm_page, suggest
from training.happened import told
from training.rhythm import measure
from training.targets import LABELS, Target, chosen, lacking, of_shop

TOO_SHORT = WRONG = 3  # exit code: a warning
Events = Mapping[str, Mapping[str, int] | None]  # by target: how many the log has, by table; None: no log yet


def list_targets(settings: Settings, language: str, as_json: bool) -> int:
    """The declared targets, one a row, then those declared wrongly; or one JSON object a line, with the
    reason of each, and those declared wrongly on stderr. The exit code."""
    shop = shop_of(settings)
    declared = of_shop(shop)
    by_itself = {target.name for target in chosen(declared, (), shop.targets)}
    log = _log(settings)
    events = {name: told(target, log) if log else None for name, target in declared.items()}
    why = _absent(settings, declared, events)
    if as_json:
        for name, target in declared.items():
            row = _json(target, name in by_itself, events[name], why[name])
            console().out(json.dumps(row, ensure_ascii=False))
        for one in declared.wrong.values():
            say(f"WARNING: {one}", err=True)
        return WRONG if declared.wrong else 0
    show(_sheet(declared, by_itself, events, why), language)
    head = (Words("name", "名称"), Words("why", "理由"))
    reasons = tuple((one.name, one.why) for one in declared.values())
    show(Sheet(Words("Why", "理由"), head, reasons), language)
    if declared.wrong:
        say(in_language(Words("Declared wrongly, and so not predicted:", "声明有误，不会预测："), language))
    for one in declared.wrong.values():
        say(f"  {one}")
    return WRONG if declared.wrong else 0


def _sheet(
    targets: Mapping[str, Target], by_itself: Collection[str], events: Events,
    why: Mapping[str, Words | None],
) -> Sheet:  # fmt: skip
    """A row a target: in the words of `targets suggest`, which proposes some of them."""
    return Sheet(
        words("{n} targets", "{n}个目标", n=len(targets)),
        (
            Words("name", "名称"), Words("what is predicted", "预测内容"), Words("for whom", "适用客户"),
            Words("counts as 1", "何为1"), Words("days", "天数"), Words("trained", "训练方式"),
            Words("told by the log", "日志所载"),
        ),
        tuple(
            (
                one.name, one.words, one.population.words, one.counts, one.horizon_days,
                Words("by itself", "默认") if one.name in by_itself else Words("by name", "按名称"),
                why[name] or _counted(one, events[name] or {}),
            )
            for name, one in targets.items()
        ),
        right=(4,),
        note=Words(
            "Trained by itself: by `propensity train` without names. `propensity targets suggest` reads "
            "which horizons fit this log. `value` and `segmentation`, trained by name, are no targets.",
            "默认：运行`propensity train`且不指定名称时训练。`propensity targets suggest`给出适合此日志的"
            "预测期。`value`与`segmentation`亦按名称训练，不是目标。",
        ),
    )  # fmt: skip


def _counted(target: Target, events: Mapping[str, int]) -> Words:
    """Which events the log has, and how many, of all time."""
    number, called = sum(events.values()), LABELS[target.label].called
    return Words(f"{number:,} {called.en}", f"{number:,}{called.zh}")


def _log(settings: Settings) -> Log | None:
    with suppress(LogError):
        return Log.open(settings)
    return None


def _absent(settings: Settings, targets: Mapping[str, Target], events: Events) -> dict[str, Words | None]:
    """Name -> why the log cannot tell it, or that there is none yet; None if it can."""
    features: Mapping[str, str] = {}
    with suppress(NoBuild):
        features = Build.open(settings).features
    unknown = Words("no log yet", "尚无日志")
    return {
        name: unknown if (told := events[name]) is None else lacking(target, told, features)
        for name, target in targets.items()
    }


def _json(
    target: Target, by_itself: bool, events: Mapping[str, int] | None, why: Words | None
) -> dict[str, object]:
    return {
        "name": target.name,
        "en": target.words.en,
        "zh": target.words.zh,
        "population": target.population.words.en,
        "label": target.label,
        "categories": list(target.categories),
        "returned": target.returned,
        "horizon_days": target.horizon_days,
        "higher_is": target.higher_is,
        "reason": target.why.en,
        "reason_zh": target.why.zh,
        "by_itself": by_itself,
        "events": events,
        "absent": why.en if why else None,
    }


def suggest_targets(settings: Settings, language: str, out: Path | None, dry_run: bool) -> int:
    """Show the log's rhythm and the targets that it suggests, write the page; the exit code."""
    shop, log = shop_of(settings), Log.open(settings)
    until = log.latest(settings)
    orders = log.read("orders", suggest.COLUMNS)
    rhythm = measure(orders, str(log.shop["zone"]), until)
    declared = of_shop(shop)
    by_itself = {target.name for target in chosen(declared, (), shop.targets)}
    found = suggest.proposals(rhythm, orders, until, declared)
    say(in_language(rhythm_page.verdict(rhythm, found), language))
    for sheet in rhythm_page.sheets(rhythm, found, by_itself):
        show(sheet, language)
    if own := rhythm_page.declarations(found):
        say(in_language(Words("For TARGETS in shop.py:", "写入shop.py的TARGETS："), language))
        say(own)
    path = out or settings.home / "reports" / "targets.html"
    if not dry_run:
        write_atomically(path, rhythm_page.render(shop.name, rhythm, found, language, by_itself).encode())
    say(f"{'would write' if dry_run else 'the plot'}: {path}")
    return TOO_SHORT if any(one.needed_days > rhythm.days for one in found) else 0
