"""`propensity uplift` on tables as shops have them: ids, words, dates, gaps, several outcomes."""

import json
from collections.abc import Callable
from datetime import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import propensity

N = 1_600
Asked = Callable[..., Result]


def table(**more: object) -> pa.Table:
    """A trial of two arms in which the mail helps; `more`: columns instead, or beside."""
    random = np.random.default_rng(4)
    mail = random.random(N) < 0.5
    bought = random.random(N) < 0.2 + 0.15 * mail
    columns: dict[str, object] = {
        "visits": random.normal(size=N), "city": random.choice(["Bonn", "Rome", "Ulm"], N),
        "group": np.where(mail, "mail", "control"), "bought": bought.astype(int),
    }  # fmt: skip
    return pa.table(columns | more)


@pytest.fixture
def ask(tmp_path: Path) -> Asked:
    def run(given: pa.Table, *arguments: str, outcome: str = "bought") -> Result:
        path = tmp_path / "trial.parquet"
        pq.write_table(given, path)
        asked = [
            "uplift",
            "--trial",
            str(path),
            "--arm=group",
            f"--outcome={outcome}",
            "--dry-run",
            *arguments,
        ]
        return CliRunner().invoke(propensity.main, asked)

    return run


def test_columns_are_counted_as_people_count_them(ask: Asked) -> None:
    """Else: two columns are told as four, and the reader looks for those that are not there."""
    done = ask(table(), "--randomised")
    assert "the values of none of 2 columns are spread" in done.output, done.output
    after = np.where(np.array(table()["bought"]) == 1, np.array(table()["group"]), "none")
    done = ask(table(then=after), "--randomised")
    assert done.exit_code == 3
    assert "differ between arms that were drawn by lot: then (p < .0001)." in done.output
    assert done.output.count("what stands here is no effect to go by") == 3, "at every table of figures"


def test_what_to_do_comes_first(ask: Asked) -> None:
    """Else: an operations lead reads figures and conditions before learning what they are about."""
    assert ask(table(), "--randomised").output.startswith(
        "Give everyone mail: it is proven to bring more than control; that choosing for each customer brings "
        "still more is not. "
    )


@pytest.mark.parametrize("words", [("Yes", "No"), ("true", "false"), ("是", "否")])
def test_an_outcome_of_yes_and_no_is_one_of_1_and_0(ask: Asked, words: tuple[str, str]) -> None:
    """Else: a shop that writes `yes` has to make its table anew."""
    said = np.where(np.array(table()["bought"]) == 1, *words)
    assert (
        ask(table(bought=said), "--randomised", "--json").output
        == ask(table(), "--randomised", "--json").output
    )


def test_an_outcome_may_be_whether_a_column_has_a_value(ask: Asked) -> None:
    """Else: `status` in words cannot be judged, or is guessed at."""
    status = np.where(np.array(table()["bought"]) == 1, "purchased", "browsed")
    refused = ask(table(bought=status), "--randomised")
    assert refused.exit_code == 2
    assert "name it: --outcome bought=" in refused.output
    assert (
        "Give everyone mail" in ask(table(bought=status), "--randomised", outcome="bought=purchased").output
    )
    assert "no row has bought=gone" in ask(table(bought=status), "--randomised", outcome="bought=gone").output
    dated = np.where(np.array(table()["bought"]) == 1, np.datetime64("2024-01-01"), np.datetime64("NaT"))
    assert "bought holds dates" in ask(table(bought=dated), "--randomised").output
    assert "bought is the same in every row" in ask(table(bought=np.zeros(N)), "--randomised").output


def test_rows_without_an_outcome_are_told_by_arm_and_never_advised_away(ask: Asked) -> None:
    """Else: who follows the message drops those whom nobody asked, and reads their absence as an effect."""
    whole = table()
    control = np.array(whole["group"]) == "control"
    lost = control & (np.random.default_rng(2).random(N) < 0.3)
    gone = np.where(lost, np.nan, np.array(whole["bought"], float))
    done = ask(table(bought=gone), "--randomised")
    assert done.exit_code == 2
    of = f"{int(lost.sum())} of {int(control.sum())} ({lost.sum() / control.sum():.1%}) of control"
    assert f"{of}, 0 of {int((~control).sum())} (0.0%) of mail" in done.output
    assert "differs between arms by more than chance (p < .0001)" in done.output
    assert "leave them out, or" not in done.output
    alike = np.where(np.random.default_rng(3).random(N) < 0.1, np.nan, np.array(whole["bought"], float))
    assert "no more than by chance" in ask(table(bought=alike), "--randomised").output
    counted = ask(table(bought=gone), "--randomised", "--missing-outcome", "0", "--json")
    said = json.loads(counted.output)
    assert said["only_if"]["en"] == "rows without bought had 0", "what was assumed stays in the verdict"
    assert "if rows without bought had 0, to bring more" in said["verdict"]["en"]
    fine = json.loads(ask(table(bought=alike), "--randomised", "--missing-outcome", "0", "--json").output)
    assert fine["only_if"] is None


def test_other_outcomes_are_told_beside_the_first(ask: Asked) -> None:
    """Else: each asks for its own run, in which the others must be sworn to be from after the decision."""
    spend = np.array(table()["bought"]) * np.random.default_rng(1).gamma(2.0, 10.0, N)
    done = ask(table(spend=spend), "--randomised", "--outcome=spend")
    assert done.exit_code == 0, done.output
    assert "Other outcomes" in done.output
    assert "rests on your word" not in done.output
    both = json.loads(ask(table(spend=spend), "--randomised", "--outcome=spend", "--json").output)
    one = json.loads(
        ask(table(spend=spend), "--randomised", "--ignore=bought", "--json", outcome="spend").output
    )
    assert both["others"]["spend"]["mail"] == pytest.approx(one["arms"][1]["effect"])
    assert both["outcome"] == "bought"


def test_ids_line_numbers_times_and_lists_do_not_mislead(ask: Asked) -> None:
    """Else: a table sorted by arm fails by its line numbers, and one with a list ends in a stack trace."""
    given = table().sort_by("group")
    hours = [time(int(hour)) for hour in np.random.default_rng(6).integers(0, 24, N)]
    more = {
        "line": np.arange(N),
        "hour": pa.array(hours),
        "tags": pa.array([[1, 2]] * N),
        "country": ["DE"] * N,
    }
    for name, values in more.items():
        given = given.append_column(name, pa.array(values))
    done = ask(given, "--randomised")
    assert done.exit_code == 0, done.output
    assert "Columns left out, of too many values: line, tags." in done.output
    wrong = CliRunner().invoke(propensity.main, [
        "uplift", "--trial", str(Path(done.output.split()[-1]).with_name("trial.parquet")), "--arm=line",
        "--outcome=bought", "--randomised", "--dry-run",
    ])  # fmt: skip
    assert "line has 1,600 values" in wrong.output


def test_a_csv_of_another_country_is_read(tmp_path: Path) -> None:
    """Else: `the table has no column group`, of a file in which it stands; and an empty cell is a city."""
    path = tmp_path / "trial.csv"
    cities = pa.array(["", "Rome"] * (N // 2))
    written = pyarrow.csv.WriteOptions(delimiter=";")
    pyarrow.csv.write_csv(table(city=cities), path, written)
    asked = ["uplift", "--trial", str(path), "--arm=group", "--outcome=bought", "--randomised", "--dry-run"]
    done = CliRunner().invoke(propensity.main, asked)
    assert done.output.startswith("Give everyone mail"), done.output


def test_chances_in_percent_are_told_what_to_do(tmp_path: Path) -> None:
    """Else: who keeps chances in percent is told that they are wrong, and not how to mend them."""
    rows = ["x,p,arm,y", *(f"{i % 7},{60 if i % 2 else 40},{i % 2},{i % 3}" for i in range(400))]
    file = tmp_path / "percent.csv"
    file.write_text("\n".join(rows), "utf-8")
    asked = [
        "uplift",
        "--trial",
        str(file),
        "--arm",
        "arm",
        "--outcome",
        "y",
        "--propensity",
        "p",
        "--control",
        "0",
    ]
    said = CliRunner().invoke(propensity.main, asked)
    assert said.exit_code == 2
    assert "such as 40. If it is in percent, divide it by 100" in said.output


@pytest.mark.parametrize(
    ("encoding", "column", "arms"),
    [
        ("gb18030", "组别", ("对照", "短信")),
        ("cp1252", "größe", ("ohne", "später")),
        ("utf-16", "组别", ("对照", "短信")),
    ],
)
def test_a_table_as_a_spreadsheet_saves_it_is_read(
    tmp_path: Path, encoding: str, column: str, arms: tuple[str, str]
) -> None:
    """Else: a shop whose spreadsheet writes no UTF-8 meets a traceback."""
    lines = [f"visits,{column},bought"]
    lines += [f"{place % 7},{arms[place % 2]},{int(place % 5 < 1 + place % 2)}" for place in range(400)]
    path = tmp_path / "trial.csv"
    path.write_text("\n".join(lines), encoding)
    asked = ["uplift", "--trial", str(path), f"--arm={column}", "--outcome=bought", f"--control={arms[0]}"]
    done = CliRunner().invoke(propensity.main, [*asked, "--randomised", "--dry-run"])
    assert arms[1] in done.output
    path.write_bytes(b"visits,arm,bought\n1,\xff\xfe\x00,1\n" + "1,后,0\n".encode() * 3)
    done = CliRunner().invoke(propensity.main, [*asked, "--randomised", "--dry-run"])
    assert done.exit_code == 2
    assert isinstance(done.exception, SystemExit), done.exception
