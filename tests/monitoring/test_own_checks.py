"""A shop's own checks are asked like ours; what is wrong with one stops no other."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from watched import Shop, declaring, loud, own_check

import monitoring
from benchmarks.monitoring_shop import NAME
from features.errors import UsageError
from features.words import Words
from monitoring.checks import CHECKS, Check, Reading, by_name
from propensity.checked import check_everything
from propensity.shops import TEMPLATES


def test_a_shops_own_check_is_picked_up(usual: Shop, tmp_path: Path) -> None:
    """Else: adding a check takes an edit of the product."""
    shop = usual.copy(tmp_path)
    settings = declaring(shop, tmp_path, own_check("own", "Reading(1.5, Words('our own', '自定义'))"))
    verdict = monitoring.run(settings, html=False)
    assert loud(verdict) == {f"{NAME} own": "warning"}
    assert f"{NAME}: our own" in verdict.words.en
    assert verdict.exit_code == 3


def test_the_example_of_a_check_in_a_new_shop_is_asked(usual: Shop, tmp_path: Path) -> None:
    """Else: whoever takes it off its # learns that it is broken from the first run."""
    example = TEMPLATES["shop.py"].partition("# from monitoring.checks import")[2]
    code = re.sub(r"^( *)# ?", r"\1", f"# from monitoring.checks import{example}", flags=re.MULTILINE)
    settings = declaring(usual.copy(tmp_path), tmp_path)
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as declarations:
        declarations.write(code)
    verdict = monitoring.run(settings, html=False, keep=False)
    found = next(one for one in verdict.findings if one.check == "few_orders")
    assert (found.subject, found.status) == ("log", "ok")
    assert "orders on the last day" in found.words.en


def test_an_own_check_that_exits_ends_no_run(usual: Shop, tmp_path: Path) -> None:
    """Else: nothing is judged that night, nobody is told, and the run says nothing."""
    settings = declaring(usual.copy(tmp_path), tmp_path, own_check("own", "exit(5)"))
    verdict = monitoring.run(settings, html=False, keep=False)
    broken = next(one for one in verdict.findings if one.subject == "own")
    assert (broken.check, broken.status) == ("runs", "warning")
    assert "SystemExit" in broken.words.en


@pytest.mark.parametrize("name", ["few orders", "few|orders", "Few", "", "1st"])
def test_a_check_whose_alert_could_not_be_named_is_refused(name: str) -> None:
    """Else: what it raises can be neither acknowledged nor silenced."""
    with pytest.raises(UsageError, match="a name is of a-z, 0-9 and _"):
        replace(CHECKS[0], name=name)


def test_check_names_an_own_check_that_raises_before_the_night_does(usual: Shop, tmp_path: Path) -> None:
    """Else: it is accepted by day, and says nothing of the first outage."""
    asked = {"of_shop": "shop", "of_each": "table", "of_model": "release"}
    copy = usual.copy(tmp_path)
    settings = declaring(copy, tmp_path, *(own_check(name, "1 / 0", of) for name, of in asked.items()))
    problems, said = check_everything(settings, 5)
    for name in ("of_shop", "of_each"):
        line = (settings.shop / "shop.py").read_text("utf-8").split(f"name={name!r}")[0].count("\n") + 2
        place = f"ZeroDivisionError ({settings.shop / 'shop.py'}, line {line})"
        assert sum(f"own check {name} is broken" in one and place in one for one in problems) == 1
    assert "were not run: of_model" in said
    monitoring.run(settings, html=False)
    problems, said = check_everything(settings, 5)
    assert sum("own check of_model is broken" in one for one in problems) == 1
    assert "were not run" not in said
    _, said = check_everything(replace(settings, home=tmp_path / "none"), 5)
    assert "values and own checks not checked: no log yet" in said


def test_a_shops_own_check_that_fails_is_told_and_stops_no_other(
    fewer: Shop, undrawn: None, tmp_path: Path
) -> None:
    """Else: one slip in shop.py, and on the day of an outage nobody is told of it."""
    asked = {"of_shop": "shop", "of_each": "indicator", "of_model": "release"}
    settings = declaring(
        fewer.copy(tmp_path),
        tmp_path,
        *(own_check(name, "{}['li@example.com']", of) for name, of in asked.items()),
        own_check("of_nothing", "None", "shop"),
        own_check("of_words", "Reading(None, Words('a', 'b'))", "shop"),
        own_check("sound", "Reading(0, Words('fine', '正常'))", "shop"),
    )
    verdict = monitoring.run(settings)
    status = loud(verdict)
    assert f"{NAME} population" in status
    broken = {f.subject: f for f in verdict.findings if f.check == "runs" and f.status == "warning"}
    assert sorted(broken) == sorted((*asked, "of_nothing", "of_words"))
    lines = (settings.shop / "shop.py").read_text("utf-8").splitlines()
    for name in asked:
        line = next(n for n, text in enumerate(lines, 1) if f"name={name!r}" in text) + 1
        assert f"KeyError ({settings.shop / 'shop.py'}, line {line})" in broken[name].words.en
        assert sum(f.subject == name for f in verdict.findings) == 1
    assert "gives no Reading" in broken["of_nothing"].words.en
    assert "li@example.com" not in (verdict.folder / "verdict.json").read_text("utf-8")
    assert next(f for f in verdict.findings if f.subject == "sound").status == "ok"
    assert verdict.page is not None
    assert "the shop&#x27;s own check of_shop is broken" in verdict.page.read_text("utf-8")


def test_declarations_that_cannot_be_meant_are_refused() -> None:
    def nothing(_: object) -> Reading:
        return Reading(0, Words("", ""))

    with pytest.raises(UsageError, match="not above page"):
        Check(name="x", words=Words("a", "b"), warning=2, page=1, reason="because", measure=nothing)
    with pytest.raises(UsageError, match="declared twice"):
        by_name(CHECKS[:1])
