"""What looks wrong with a log although no row breaks a contract must be said: half of it may be lost."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from dirty import bring_in, write_shop

from features.describe import measure
from features.describe.verdict import judge
from features.settings import Settings
from propensity import main

READ = """
[[mapping.{source}.read]]
table = "orders"
files = "{files}"
[mapping.{source}.read.columns]
order_id = "no"
customer_id = {who}
at = "when"
amount = "paid"
channel = {{ value = "web" }}
"""
SCORES = """
[[mapping.web.read]]
table = "scores"
files = "risk.csv"
delivered = 2023-01-02
scores = ["risk"]
[mapping.web.read.columns]
customer_id = "who"
"""
HEAD = "no,who,when,paid\n"


def _mapping(source: str, files: str, who: str = '"who"', more: str = "") -> str:
    return f"[mapping.{source}]\n{more}\n" + READ.format(source=source, files=files, who=who)


def _rows(first: date, days: int, who: str = "c{n}", name: str = "") -> str:
    return "".join(f"{name}{n},{who.format(n=n)},{first + timedelta(n)},5\n" for n in range(days))


def _ingest(settings: Settings, *more: str) -> tuple[int, str]:
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    result = CliRunner().invoke(main, ["ingest", *more], env=here)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result.exit_code, " ".join(result.output.split())


def _looks(settings: Settings) -> list[str]:
    return [f"{f.what.en} {f.do.en}" for f in judge(measure(settings)).findings if f.weight == "look"]


def _shop(folder: Path, mapping: str, files: Mapping[str, str]) -> Settings:
    return write_shop(folder, mapping, files)


def test_a_source_that_ends_early_is_said_to_end_the_log(tmp_path: Path) -> None:
    """The log's end went back by a year and a half, exit code 0, and then there was not enough to model."""
    mapping = _mapping("web", "web.csv") + _mapping("till", "till.csv")
    files = {
        "web.csv": HEAD + _rows(date(2023, 1, 1), 150, name="w"),
        "till.csv": HEAD + _rows(date(2023, 1, 1), 60),
    }
    settings = _shop(tmp_path, mapping, files)
    for words in (["--dry-run"], [], []):
        code, text = _ingest(settings, *words)
        assert (code, "till ends the log" in text) == (3, True), text
        assert "[mapping.till]: complete_until = 2023-05-31" in text
    assert any("till ends the log" in look for look in _looks(settings))
    toml = settings.shop / "shop.toml" if settings.shop else tmp_path
    meant = toml.read_text().replace("[mapping.till]\n", "[mapping.till]\ncomplete_until = 2023-05-31\n")
    toml.write_text(meant)
    code, text = _ingest(settings)
    assert (code, "ends the log" in text, "complete until 2023-05-30" in text) == (0, False, True), text


def test_sources_that_end_days_apart_are_in_order(tmp_path: Path) -> None:
    mapping = _mapping("web", "web.csv") + _mapping("till", "till.csv")
    files = {
        "web.csv": HEAD + _rows(date(2023, 1, 1), 60, name="w"),
        "till.csv": HEAD + _rows(date(2023, 1, 1), 40),
    }
    assert _ingest(_shop(tmp_path, mapping, files))[0] == 0


@pytest.mark.parametrize(
    ("rows", "gap", "warns"),
    [(150, 700, True), (150, 50, False), (50, 700, False)],
    ids=["a slip", "a pause", "too few rows to tell"],
)
def test_a_row_that_stands_alone_at_the_end_is_said_to_move_it(
    tmp_path: Path, rows: int, gap: int, warns: bool
) -> None:
    """One mistyped year added two empty years to the log, and nothing was said."""
    late = date(2022, 1, 1) + timedelta(rows - 1 + gap)
    files = {"web.csv": HEAD + f"late,x,{late},5\n" + _rows(date(2022, 1, 1), rows)}
    settings = _shop(tmp_path, _mapping("web", "web.csv"), files)
    code, text = _ingest(settings)
    assert (code, "stand alone" in text) == ((3, True) if warns else (0, False)), text
    if warns:
        assert f"700 days after all others (web.csv, row 1: {late})" in text
        assert any("stand alone" in look for look in _looks(settings))
        remedy = "complete_until = 2022-05-31"
        assert remedy in text
        shop = tmp_path / "shop" / "shop.toml"
        shop.write_text(shop.read_text().replace("[mapping.web]\n", f"[mapping.web]\n{remedy}\n"))
        assert _ingest(settings)[0] == 0


@pytest.mark.parametrize(
    ("bought", "scored", "remedy", "of"),
    [
        ("{n}", "{n}.0", 'clean = ["trim", "whole"] }', "risk.csv"),
        ("{n}.0", "{n}", 'clean = ["trim", "whole"] }', "web.csv"),
        ("{n:05d}", "{n}", 'clean = ["trim", "whole"], pad = 5 }', "risk.csv"),
        ("{n}", " {n} ", 'clean = ["trim"] }', "risk.csv"),
        ("{n}", "{n}", "", ""),
        ("a{n}", "b{n}", "", ""),
    ],
)
def test_ids_that_are_written_otherwise_are_told_with_the_line_that_mends_them(
    tmp_path: Path, bought: str, scored: str, remedy: str, of: str
) -> None:
    """Else one person is two: a buyer without a score, and a score without orders."""
    files = {
        "web.csv": HEAD + _rows(date(2023, 1, 1), 40, bought),
        "risk.csv": "who,risk\n" + "".join(f"{scored.format(n=n)},0.5\n" for n in range(60)),
    }
    settings = _shop(tmp_path, _mapping("web", "web.csv") + SCORES, files)
    code, text = _ingest(settings)
    assert (code, "one person is two" in text) == ((3, True) if remedy else (0, False)), text
    if remedy:
        assert "60 of 60 customer ids for scores" in text
        assert "40 would be somebody's" in text
        assert f'In the reading of {of}: customer_id = {{ column = "...", {remedy}' in text
        assert any("one person is two" in look for look in _looks(settings))


def test_a_few_ids_without_their_zeros_hide_no_file_that_meets_nobody(tmp_path: Path) -> None:
    """Of a till that wrote 6 of 40 ids by hand, none of the others met its scores, and nothing was said."""
    bought = _rows(date(2023, 1, 1), 40, "{n:05d}")
    for n in (7, 13, 22, 28, 31, 36):
        bought = bought.replace(f"{n:05d}", str(n))
    scored = "".join(f"{n},0.5\n" for n in range(60))
    files = {"web.csv": HEAD + bought, "risk.csv": "who,risk\n" + scored}
    code, text = _ingest(_shop(tmp_path, _mapping("web", "web.csv") + SCORES, files))
    assert (code, "one person is two" in text) == (3, True), text
    assert 'customer_id = { column = "...", clean = ["trim", "whole"], pad = 5 }' in text


@pytest.mark.parametrize("erased", [False, True])
def test_one_id_without_its_zeros_is_told(tmp_path: Path, erased: bool) -> None:
    """One person is two, and of all rows nobody sees the one; or somebody who was erased is back unseen."""
    bought = _rows(date(2023, 1, 1), 40, "{n:05d}")
    settings = _shop(tmp_path, _mapping("web", "web.csv"), {"web.csv": HEAD + bought})
    assert _ingest(settings)[0] == 0
    if erased:
        here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
        assert CliRunner().invoke(main, ["erase", "00007"], env=here).exit_code == 0
        assert _ingest(settings)[0] == 0
    one = bought.splitlines()[7].replace(",00007,", ",7,")
    assert ",7," in one
    (settings.shop / "web.csv").write_text(HEAD + bought + "900" + one[one.index(",") :] + "\n", "utf-8")
    code, text = _ingest(settings)
    assert code == 3, text
    said = "who was erased: this brings the person back" if erased else "in the log: one person is two now"
    assert f"such as 7; as 00007 it is a customer {said}" in text
    assert 'clean = ["trim", "whole"], pad = 5' in text


def test_files_that_no_mapping_reads_are_named_if_they_are_like_those_that_are(tmp_path: Path) -> None:
    """A mapping that names one file ignores the next one without a word."""
    files = {
        "web_1.csv": HEAD + _rows(date(2023, 1, 1), 10),
        "web_2.csv": HEAD + _rows(date(2023, 1, 11), 10, name="w"),
        "other.csv": "colour,shape\nred,round\n",
        "till.csv": HEAD + _rows(date(2023, 1, 11), 10, name="t"),
    }
    mapping = _mapping("web", "web_1.csv") + _mapping("till", "till.csv")
    code, text = _ingest(_shop(tmp_path, mapping, files), "web")
    assert code == 0
    assert "note: web_2.csv has the columns of web_1.csv, and no mapping reads it" in text
    assert "till.csv has" not in text
    assert "other.csv" not in text


def _described(settings: Settings, *more: str) -> str:
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    done = CliRunner().invoke(main, ["log", "describe", *more], env=env)
    assert done.exit_code in (0, 3), done.output
    return done.output


def _findings(text: str) -> str:
    """The cells of the table of findings, column after column: in the terminal their words wrap."""
    lines = text[text.index("What to look at") :].split("\n\n")[0].splitlines()[1:]
    starts = [0, lines[0].index("what"), lines[0].index("what to do"), None]
    cells = [[line[a:b] for line in lines] for a, b in zip(starts, starts[1:], strict=False)]
    return " ".join(" ".join(word for cell in column for word in cell.split()) for column in cells)


@pytest.mark.parametrize(("earlier", "said"), [(40, True), (20, False)])
def test_a_source_that_ends_forty_days_before_the_other_is_said_in_the_page_and_in_the_table(
    tmp_path: Path, earlier: int, said: bool
) -> None:
    """Forty days of the other's orders count for no model: whoever looks must see which source took them."""
    files = {
        "web.csv": HEAD + _rows(date(2023, 1, 1), 150, name="w"),
        "till.csv": HEAD + _rows(date(2023, 1, 1), 150 - earlier),
    }
    settings = _shop(tmp_path, _mapping("web", "web.csv") + _mapping("till", "till.csv"), files)
    bring_in(settings)
    page = tmp_path / "log.html"
    table = _findings(_described(settings, "--out", str(page)))
    html = " ".join(re.sub(r"<[^>]+>", " ", page.read_text("utf-8")).split())
    end, last = date(2023, 1, 1) + timedelta(150 - earlier), date(2023, 1, 1) + timedelta(150)
    what = f"till ends the log: it is complete until {end}, while web goes on until {last}, {earlier} days"
    do = f"say so in [mapping.till]: complete_until = {last}"
    for told in (table, html):
        assert (what in told, do in told) == (said, said), told
    assert ("till使日志提前结束" in _described(settings, "--language", "zh")) == said
