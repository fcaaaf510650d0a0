"""`propensity uplift` on tables as people type them: spaces, commas, names given twice, copied rows."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import propensity
from training.qini import auuc, qini

N = 800
SMS = np.random.default_rng(3).random(N) < 0.5
SPENT = np.random.default_rng(4).gamma(2.0, 2.0, N) + 0.4 * SMS


def ask(
    path: Path, arm: Sequence[str], outcome: Sequence[str], *more: str, head: str = "id,x,arm,y"
) -> Result:
    """Judge a CSV of these columns, parted by semicolons."""
    rows = [f"{i};{i % 7};{a};{y}" for i, (a, y) in enumerate(zip(arm, outcome, strict=True))]
    path.write_text("\n".join([head.replace(",", ";"), *rows]), "utf-8")
    asked = ["uplift", "--trial", str(path), "--arm=arm", "--outcome=y", "--control=none", "--dry-run"]
    return CliRunner().invoke(propensity.main, [*asked, "--customer=id", *(more or ["--randomised"])])


ARM = ["sms" if of else "none" for of in SMS]
PLAIN = [f"{y:.2f}" for y in SPENT]


def test_an_arm_typed_with_spaces_is_the_same_arm_and_it_is_said(tmp_path: Path) -> None:
    """Else: "sms " is a third arm of a few rows, and half of what the sms does goes to it."""
    path = tmp_path / "t.csv"
    typed = [f"\u3000{of} " if i % 3 == 0 else of for i, of in enumerate(ARM)]
    shares = ("--share=none =.5", "--share= sms\u3000=.5", "--json", "--control=none ")
    said, plain = (json.loads(ask(path, arm, PLAIN, *shares).output) for arm in (typed, ARM))
    assert said["arms"] == plain["arms"]
    assert plain["notes"] == []
    assert "arm (267 rows, such as “\u3000sms ”)" in said["notes"][0]["en"]
    assert "267行" in said["notes"][0]["zh"]
    assert "Spaces before or after a text were taken off: arm (267 rows" in ask(path, typed, PLAIN).output
    twice = ask(path, ARM, PLAIN, "--share=sms=.5", "--share=sms =.25", "--share=none=.25")
    assert twice.exit_code == 2
    assert "--share names sms more than once" in twice.output
    nothing = ask(path, [" " if i == 5 else of for i, of in enumerate(ARM)], PLAIN)
    assert "1 rows have no arm" in nothing.output


def test_a_store_typed_with_spaces_is_the_same_store(tmp_path: Path) -> None:
    """Else: one store counts as two that happened to draw the same arm."""
    random, path = np.random.default_rng(1), tmp_path / "t.csv"
    drawn = random.permutation(np.repeat(["none", "sms"], 20))
    rows = [f"{i % 7},s{i % 40}{' ' * (i % 3)},{drawn[i % 40]},{random.normal():.3f}" for i in range(N)]
    path.write_text("\n".join(["x,store ,arm,y", *rows]))
    asked = ["uplift", "--trial", str(path), "--arm=arm", "--outcome=y", "--control=none", "--randomised"]
    done = CliRunner().invoke(propensity.main, [*asked, "--cluster=store ", "--dry-run"])
    assert "over its 40 values" in done.output, done.output


@pytest.mark.parametrize("head", ["x,x,arm,y", "x,x ,arm,y"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_name_given_twice_is_told_with_its_file(tmp_path: Path, head: str, kind: str) -> None:
    """Else: a table in which two exports were joined ends in a stack trace."""
    path = tmp_path / f"t.{kind}"
    ask(tmp_path / "t.csv", ARM, PLAIN, head=head)
    if kind == "parquet":
        columns = [pa.array(np.arange(N)), pa.array(np.arange(N)), pa.array(ARM), pa.array(SPENT)]
        pq.write_table(pa.Table.from_arrays(columns, head.split(",")), path)
    done = CliRunner().invoke(propensity.main, [
        "uplift", "--trial", str(path), "--arm=arm", "--outcome=y", "--randomised", "--dry-run",
    ])  # fmt: skip
    assert isinstance(done.exception, SystemExit), done.exception
    assert f"{path} has 2 columns named x" in done.output
    assert "columns 1 and 2. Rename one, or leave it out" in done.output


def test_an_outcome_that_is_the_arm_written_again_is_refused(tmp_path: Path) -> None:
    """Else: `yes` of all who got it and `no` of all others ends in a stack trace."""
    done = ask(tmp_path / "t.csv", ARM, ["yes" if of else "no" for of in SMS])
    assert isinstance(done.exception, SystemExit), done.exception
    assert "y is the same in every row of an arm (0 of none, 1 of sms)" in done.output
    one = ask(tmp_path / "t.csv", ARM, ["yes" if of and i % 2 else "no" for i, of in enumerate(SMS)])
    assert one.exit_code == 0, "nobody bought without it, and half did with it: that is an effect"


def test_where_no_order_finds_more_than_another_a_ranking_is_worth_nothing() -> None:
    """Else: of three arms, one that all bought by stops the page of the others."""
    score, bought = np.random.default_rng(1).random(N), SMS.astype(float)
    assert auuc(bought, score, SMS) == 0
    assert np.isfinite(qini(bought, score, SMS))


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("{:.2f}", "with a decimal comma, or one between thousands: write plain numbers, such as 4.86"),
        ("¥{:.2f}", "with a currency or percent sign: write plain numbers"),
        ("{:.2f} €", "with a decimal comma, or one between thousands and a currency or percent sign"),
    ],
)
def test_amounts_as_people_write_them_are_told_from_names(tmp_path: Path, written: str, what: str) -> None:
    """Else: whoever exports 4,86 is told to ask for the outcome `y=4,86`."""
    comma = "¥" not in written
    values = [written.format(y).replace(".", "," if comma else ".") for y in SPENT]
    done = ask(tmp_path / "t.csv", ARM, values)
    assert done.exit_code == 2
    assert what in done.output
    assert "--outcome y=" not in done.output
    some = ask(tmp_path / "t.csv", ARM, ["none", *values[1:]])
    assert "what is none, such as none, as an empty cell" in some.output
    names = ask(tmp_path / "t.csv", ARM, [("q1", "won", "lost")[i % 3] for i in range(N)])
    assert "name it: --outcome y=q1" in names.output


def test_rows_that_came_twice_are_counted(tmp_path: Path) -> None:
    """Else: an export that was appended to itself weighs some customers double, and nothing says so."""
    path = tmp_path / "t.csv"
    ask(path, ARM, PLAIN)
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines, *lines[1:51]]), "utf-8")
    asked = ["uplift", "--trial", str(path), "--arm=arm", "--outcome=y", "--control=none", "--dry-run"]
    done = CliRunner().invoke(propensity.main, [*asked, "--customer=id", "--randomised"])
    assert "50 of 850 rows are copies of others in every column, id as well" in done.output
    assert "copies" not in ask(path, ARM, PLAIN).output
