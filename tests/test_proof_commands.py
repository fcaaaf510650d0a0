"""`propensity evaluate policy` and `propensity experiment plan`, as somebody types them."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from propensity import main
from training.sequential import of_look

COLUMNS = ["--arm", "did", "--propensity", "chance", "--outcome", "profit", "--customer", "who"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def decisions(tmp_path: Path) -> pa.Table:
    """2,000 decisions of a fair coin; a mail earns 1 more. The last ten have no outcome yet."""
    random = np.random.default_rng(0)
    mail = random.random(2_000) < 0.5
    profit = random.normal(size=2_000) + mail
    known = np.arange(2_000) < 1_990
    return pa.table(
        {
            "who": [f"c{j // 2}" for j in range(2_000)],
            "did": np.where(mail, "mail", "nothing"),
            "chance": np.full(2_000, 0.5),
            "profit": pa.array(profit, mask=~known),
            "all_mail": ["mail"] * 2_000,
            "half_mail": np.full(2_000, 0.5),
            "half_nothing": np.full(2_000, 0.5),
            "model_mail": np.ones(2_000),
            "model_nothing": np.zeros(2_000),
        }
    )


def test_a_policy_is_judged_from_a_table_and_told_in_both_languages(
    decisions: pa.Table, tmp_path: Path
) -> None:
    """CSV and parquet say the same; an outcome that is not there yet is left out, and never a zero."""
    pa.csv.write_csv(decisions, tmp_path / "log.csv")
    pq.write_table(decisions, tmp_path / "log.parquet")
    page = tmp_path / "page.html"
    told = [
        run(
            "evaluate",
            "policy",
            "--log",
            str(tmp_path / name),
            *COLUMNS,
            "--policy",
            "all_mail",
            "--out",
            str(page),
        )
        for name in ("log.csv", "log.parquet")
    ]
    assert [of.exit_code for of in told] == [0, 0], told[0].output
    assert told[0].output == told[1].output
    assert "Better than what was done" in told[0].output
    assert "without one yet, left out" in told[0].output
    assert "1,990" in told[0].output
    text = page.read_text("utf-8")
    for shown in (told[0].output, text):  # which of four estimates decides, and who cannot have the action
        assert "DR and SNIPS decide, by their gain over what was done: both whole intervals must lie" in shown
        assert "The policy is taken at its word" in shown
    assert "结论由DR与SNIPS相对实际执行的增益决定" in text
    assert "优于实际执行的策略" in text
    assert "default-src 'none'" in text


def test_chances_and_predictions_come_from_columns_by_arm(decisions: pa.Table, tmp_path: Path) -> None:
    """The policy that was logged, judged as a policy: no difference."""
    pq.write_table(decisions, tmp_path / "log.parquet")
    told = run(
        "evaluate", "policy", "--log", str(tmp_path / "log.parquet"), *COLUMNS, "--policy", "half",
        "--predicted", "model", "--language", "zh",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "未显示出与实际执行策略的差异" in told.output


def test_decisions_without_an_outcome_are_told_by_arm(decisions: pa.Table, tmp_path: Path) -> None:
    """Else: bad outcomes of one arm that nobody wrote down make it look better."""
    log, profit = tmp_path / "log.parquet", np.array(decisions["profit"].fill_null(0.0))
    pq.write_table(decisions, log)
    asked = ["evaluate", "policy", "--log", str(log), *COLUMNS, "--policy", "all_mail"]
    said = run(*asked)
    assert said.exit_code == 0
    each = r"\d of [\d,]+ \(0\.\d%\) of"
    told = rf"Without an outcome, and so left out: {each} mail, {each} nothing"
    assert re.search(told, said.output), said.output
    lost = (profit < 0) & (np.array(decisions["did"]) == "mail")
    place = decisions.schema.get_field_index("profit")
    pq.write_table(decisions.set_column(place, "profit", pa.array(profit, mask=lost)), log)
    said = run(*asked)
    assert said.exit_code == 3
    assert "The data cannot carry a verdict" in said.output
    assert "Outcomes are missing by arm more than chance explains" in said.output


def test_data_that_cannot_carry_a_verdict_are_a_warning(decisions: pa.Table, tmp_path: Path) -> None:
    """Else a script releases what nobody has tested."""
    pq.write_table(decisions.slice(0, 60), tmp_path / "log.parquet")
    told = run("evaluate", "policy", "--log", str(tmp_path / "log.parquet"), *COLUMNS, "--policy", "all_mail")
    assert told.exit_code == 3
    assert "The data cannot carry a verdict" in told.output
    assert "effective sample" in told.output
    assert "a verdict needs 100" in told.output
    assert "Steady:" not in told.output


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("--policy", "nobody"), "no column nobody with the policy's arm, and none nobody_<arm>"),
        (("--policy", "all_mail", "--predicted", "q"), "no column q_mail, q_nothing"),
        (("--policy", "all_mail", "--outcome", "who"), "column who holds what is no number"),
        (("--policy", "all_mail", "--arm", "done"), "no column done"),
    ],
)
def test_a_column_that_is_not_there_is_wrong_usage(
    decisions: pa.Table, tmp_path: Path, changes: tuple[str, ...], says: str
) -> None:
    """Else the remedy is in a traceback."""
    pq.write_table(decisions, tmp_path / "log.parquet")
    told = run("evaluate", "policy", "--log", str(tmp_path / "log.parquet"), *COLUMNS, *changes)
    assert told.exit_code == 2
    assert says in told.output


def test_an_experiment_is_planned(tmp_path: Path) -> None:
    """80 % power for two points of 20 % with a holdout of 5 %, by the formula on paper, at the width that the
    first look of `evaluate holdout` has; counted out, it takes a hundredth more."""
    z = of_look(1) + 0.841621234
    by_hand = int(np.ceil((z / 0.02) ** 2 * (0.22 * 0.78 / 0.95 + 0.2 * 0.8 / 0.05)))
    page = tmp_path / "plan.html"
    told = run("experiment", "plan", "--base-rate", ".2", "--effect", ".02", "--out", str(page))
    assert told.exit_code == 0, told.output
    (needed,) = re.findall("([0-9,]+) customers, 5.0% of them held out", told.output)
    assert 1 <= int(needed.replace(",", "")) / by_hand < 1.02
    assert f"需要{needed}位客户" in page.read_text("utf-8")
    assert "<svg" in page.read_text("utf-8")
    both = run("experiment", "plan", "--base-rate", ".2", "--effect", ".02", "--customers", "20000")
    some = run("experiment", "plan", "--base-rate", ".2", "--customers", "20000", "--out", str(page))
    assert some.exit_code == 0, some.output
    assert "能检出的最小效果" in page.read_text("utf-8"), "a picture that both languages read"
    assert "with a probability of 28%" in both.output
    assert run("experiment", "plan", "--base-rate", ".2").exit_code == 2


def test_what_is_not_known_is_said_so_and_what_rounding_left_is_0(
    decisions: pa.Table, tmp_path: Path
) -> None:
    """Else a page shows nan, and a gain of -7e-15 over what was done, to somebody who decides by it."""
    same = decisions.append_column("as_it_was", decisions["did"]).append_column(
        "never", pa.array(["call"] * 2_000)
    )
    pq.write_table(same, tmp_path / "log.parquet")
    for policy in ("as_it_was", "never"):
        page = tmp_path / f"{policy}.html"
        told = run(
            "evaluate", "policy", "--log", str(tmp_path / "log.parquet"), *COLUMNS, "--policy", policy,
            "--out", str(page),
        )  # fmt: skip
        assert not re.search(r"\bnan\b|e-1\d", told.output + page.read_text("utf-8")), told.output
    assert told.exit_code == 3
    assert "not known" in told.output
