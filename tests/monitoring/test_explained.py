"""What an operator reads of a figure: in her language, whole, and never a number that is none."""

import re
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from watched import Shop, changed

import monitoring
from benchmarks.monitoring_shop import NAME
from features.errors import NoBuild, UsageError
from features.moments import parse_moment
from features.words import Words
from monitoring import panels
from monitoring.checks import BY_ITSELF, by_name
from monitoring.outcome_words import level, ranking
from monitoring.panels import Shift, Subject
from monitoring.performance import Estimate, Judged
from monitoring.received import Figure, Received
from propensity.watched import _day, backfill, explain, explained, runbook_of


def test_without_a_name_all_that_is_watched_is_listed(
    usual: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else: names are to be guessed."""
    explain(usual.settings, None, None, 14, "en")
    shown = capsys.readouterr().out
    for name in ("churn_28d", "log", "orders", "interaction_rate"):
        assert f"\n{name} " in shown
    with pytest.raises(
        UsageError, match=r"no figure or check is called nosuch; there are .*orders\.amount.* more"
    ):
        explain(usual.settings, "log", "nosuch", 14, "en")


def test_a_table_and_a_check_of_it_are_explained(usual: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Else: whoever types the two names that an alert has is told that there is no such figure."""
    explain(usual.settings, "orders", None, 14, "en")
    shown = capsys.readouterr().out
    for said in ("received", "fields", "indicators", "\norders."):
        assert said in shown, "the table and the indicator have one name"
    explain(usual.settings, "orders", "received", 14, "en")
    shown = capsys.readouterr().out
    assert "orders|received" in shown
    assert "orders: as usual" in shown
    assert "a warning from 1, urgent from 3" in shown
    assert "propensity monitor runbook received" in shown


BROKEN = """
from features.words import Words
from monitoring.checks import Check

CHECKS = [Check(name="own", words=Words("own", "own"), warning=1, page=2, reason="a test", measure=print)]
"""


def test_whatever_a_message_can_name_is_explained(
    steady: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else: whoever types what a message says is told that there is no such thing."""
    mine, folder = steady.copy(tmp_path), tmp_path / "shop"
    shutil.copytree(mine.settings.shop, folder, ignore=shutil.ignore_patterns("*.parquet"))
    with (folder / "shop.py").open("a") as declarations:
        declarations.write(BROKEN)
    mine.publish(changed("spend_90d", 100))
    settings = replace(mine.settings, shop=folder)
    shutil.copytree(settings.home / "releases" / NAME, settings.home / "releases" / "unreadable")
    verdict = monitoring.run(settings, html=False, keep=False)
    kinds = {(one.of, one.check) for one in verdict.findings}
    assert {check for _, check in kinds} >= {*by_name(), *BY_ITSELF}
    assert any(one.contributors for one in verdict.findings)
    for one in verdict.findings:
        assert one.asks is not None, "else a message that it is over names a check, in no language"
        explained(verdict, one.subject, one.check, 3, "en")
        explained(verdict, one.fingerprint, None, 3, "zh")
        assert capsys.readouterr().out.count(one.fingerprint) >= 2
        explained(verdict, one.topic, None, 3, "en")
        assert f"\n{one.check} " in capsys.readouterr().out
        for part in one.contributors:
            explained(verdict, one.subject, part.name, 3, "en")
            if one.of == "table":
                explained(verdict, part.name, None, 3, "en")
                assert capsys.readouterr().out.startswith(part.name) or "." not in part.name
    for name in verdict.shop.tables:
        explained(verdict, name, "event_unnamed", 3, "en")
        assert "log|event_unnamed" in capsys.readouterr().out, "its words name the table"
    with pytest.raises(UsageError, match="nothing is called nosuch; what is watched: "):
        explained(verdict, "nosuch|received", None, 3, "en")
    with pytest.raises(UsageError, match="no figure or check is called nosuch; there are readable"):
        explained(verdict, "unreadable", "nosuch", 3, "en")


def test_chinese_is_chinese(usual: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """Else: whoever does not read English guesses what a reason, a column or a heading means."""
    explain(usual.settings, "churn_28d", None, 14, "zh")
    explain(usual.settings, "log", "orders.amount", 3, "zh")
    shown = capsys.readouterr().out
    assert "检查" in shown
    assert "偏离预期最多的指标" in shown
    assert "订单的金额常见大小" in shown
    unjudged = [line for line in shown.splitlines() if "暂不判断" in line]
    assert unjudged
    for line in unjudged:
        assert not re.search(r"[a-z]{3,}", line.partition("暂不判断")[2]), line
    said = monitoring.run(usual.settings, html=False, keep=False).words.zh
    assert not re.search(r"[a-z]{3,}", said.partition("暂不判断")[2]), said


def test_a_check_that_there_is_not_is_wrong_usage_and_a_shops_own_has_the_section_for_any(
    usual: Shop,
) -> None:
    """Else: a typing error prints the advice of no check, and looks like an answer."""
    with pytest.raises(UsageError, match=r"no check is called nosuch: there are .*nulls.*received"):
        runbook_of(usual.settings, "nosuch")
    assert runbook_of(usual.settings, "nulls").name == "nulls"


def test_what_is_not_known_is_a_dash_and_no_nan() -> None:
    """Else: the report says "nan before", which reads like a fault of the report."""
    for kind in ("count", "share", "level", "size"):
        shift = Shift(Subject("x", kind, Words("x", "x")), 1.0, float("nan"), float("nan"), date(2024, 1, 1))
        assert "nan" not in "".join(shift.words)
    unknown = Estimate(*[float("nan")] * 4)
    for said in (level, ranking):
        assert "nan" not in "".join(said(Judged(10, 3, unknown, unknown, unknown, 20)))


def test_what_is_carried_on_is_no_value_of_a_day_without_rows() -> None:
    """Else: on a day with no order, half of the orders are from the shop."""
    values = np.zeros((3, 1))
    fresh = np.array([[True], [False], [True]])
    received = Received(
        0, (Figure("orders", "share", "channel", "web"),), values, np.ones((3, 1), np.int64), fresh
    )
    panel = panels.of_received(received, {})
    days = [_day(panel, 0, place) for place in range(3)]
    assert [day[1] for day in days] == ["0", None, "0"]
    assert days[1][3] == Words("nothing was counted", "当日无数据")


def test_brackets_are_shown(usual: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else: the [calendar] that is to be edited is missing from the advice."""
    from features.describe.sheets import Sheet
    from propensity.sheets import show

    show(Sheet(Words("[PAGE] a", "a"), (Words("[x]", "x"),), (("[calendar] of shop.toml",),)), "en")
    shown = capsys.readouterr().out
    assert "[PAGE] a" in shown
    assert "[calendar] of shop.toml" in shown
    assert "[x]" in shown


def test_days_are_not_counted_as_of_a_moment_that_knew_nothing_of_them(usual: Shop) -> None:
    """Else: a mistyped year is answered by days that were counted, and looks like a success."""
    with pytest.raises(NoBuild, match="later than 2021-01-01"):
        backfill(replace(usual.settings, as_of=parse_moment("2021-01-01")), 30, True, lambda *_: None)
    assert backfill(usual.settings, 30, True, lambda *_: None).startswith("would count ")
