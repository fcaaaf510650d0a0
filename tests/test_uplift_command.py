"""`propensity uplift`: a trial from a plain table, judged."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from trials import trial_by_hand

import propensity
from features.errors import UsageError
from training.uplift_table import trial_of


def table_by_hand(effects: str = "varies", rows: int = 4_000) -> pa.Table:
    """The trial as a shop would export it: numbers with gaps, a region in words, ids, dates."""
    trial, _ = trial_by_hand(effects, rows)
    random = np.random.default_rng(5)
    columns = {
        name: pa.array(values, from_pandas=True)
        for name, values in zip(trial.names, trial.matrix.T, strict=True)
    }
    columns["region"] = pa.array(random.choice(["north", "south", "west"], rows))
    columns["email"] = pa.array([f"{i}@example.com" for i in range(rows)])
    columns["since"] = pa.array(np.datetime64("2020-01-01") + random.integers(0, 900, rows))
    columns["group"] = pa.array([trial.arms[place] for place in trial.arm])
    columns["chance"] = pa.array(trial.given)
    columns["profit"] = pa.array(trial.outcomes["profit"])
    return pa.table(columns)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "trial.parquet"
    pq.write_table(table_by_hand(), path)
    return path


def run(path: Path, *arguments: str) -> Result:
    asked = ["uplift", "--trial", str(path), "--arm", "group", "--outcome", "profit", *arguments]
    return CliRunner().invoke(propensity.main, asked)


def test_a_trial_is_judged_in_one_command(file: Path) -> None:
    """Else: a shop with a trial in a table has to learn our code to know what it says."""
    done = run(file, "--propensity", "chance")
    assert done.exit_code == 0, done.output
    assert "Best for everyone: coupon" in done.output
    assert "Personal uplift is proven, if every column was known before the decision" in done.output
    assert "Columns left out, of too many values: email" in done.output
    page = file.with_suffix(".uplift.html").read_text()
    assert "个性化增益已证实" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert run(file, "--propensity", "chance").output == done.output


def test_programs_read_the_same_figures(file: Path) -> None:
    """Else: a nightly job parses a table that was made for people."""
    done = run(file, "--propensity", "chance", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert (said["best"], said["personal"], said["better"], said["version"]) == ("coupon", True, True, None)
    assert [arm["arm"] for arm in said["arms"]] == ["nothing", "coupon", "mail"]
    assert sum(arm["of_the_policy"] for arm in said["arms"]) == pytest.approx(1)
    assert said["rankings"] == [], "money has no Qini coefficient"
    assert file.with_suffix(".uplift.html").exists()
    table = pq.read_table(file)
    bought = pc.cast(pc.greater(table["profit"], 5.0), pa.float64())
    pq.write_table(table.set_column(table.schema.get_field_index("profit"), "profit", bought), file)
    mail = json.loads(run(file, "--propensity", "chance", "--json").output)["rankings"][1]
    assert mail["arm"] == "mail"
    assert mail["qini"] > mail["qini_response"]
    assert mail["more"]["low"] > 0
    page = file.with_suffix(".uplift.html").read_text()
    assert "Ranking by effect, beside a response model" in page
    assert "与响应模型对照" in page


def test_a_version_says_over_which_days(file: Path) -> None:
    """Else: what came in a week is decided by as if it were a month."""
    assert "--register needs --days" in run(file, "--propensity", "chance", "--register").output
    assert run(file, "--propensity", "chance", "--days", "7").exit_code == 2


def test_csv_says_the_same_and_a_dry_run_keeps_nothing(file: Path, tmp_path: Path) -> None:
    """Else: the same table in another format gives another verdict."""
    path = tmp_path / "as.csv"
    pyarrow.csv.write_csv(pq.read_table(file), path)
    done = run(path, "--propensity", "chance", "--dry-run")
    assert done.exit_code == 0, done.output
    verdict = done.output.splitlines()[0]
    assert verdict == run(file, "--propensity", "chance").output.splitlines()[0]
    assert not path.with_suffix(".uplift.html").exists()


def test_a_broken_trial_exits_3_and_claims_nothing(tmp_path: Path) -> None:
    """Else: a nightly job publishes the figures of a broken lottery."""
    table = table_by_hand()
    kept = np.random.default_rng(1).random(len(table)) > 0.2 * (np.array(table["group"]) == "mail")
    path = tmp_path / "lost.parquet"
    pq.write_table(table.filter(pa.array(kept)), path)
    shares = [f"--share={arm}={share}" for arm, share in (("nothing", 0.4), ("mail", 0.3), ("coupon", 0.3))]
    done = run(path, *shares, "--ignore", "chance", "--dry-run")
    assert done.exit_code == 3, done.output
    assert done.output.startswith("No uplift is claimed: the trial cannot be believed. sample ratio")
    zh = run(path, *shares, "--ignore", "chance", "--dry-run", "--language", "zh")
    assert "样本比例不符" in zh.output


@pytest.mark.parametrize("how", ["--propensity=chance", "--randomised", "--seed=1"])
def test_without_overlap_nothing_is_proven_and_no_interval_shown(tmp_path: Path, how: str) -> None:
    """Else: a coupon that half of the customers could never have had is proven for all, to two digits."""
    table = table_by_hand("constant", 2_000)
    random = np.random.default_rng(7)
    can = np.nan_to_num(np.array(table["visits"]), nan=-1.0) > 0
    drawn = can & (random.random(len(table)) < 0.5)
    arm = np.where(drawn, "coupon", "nothing")
    for name, values in (("group", arm), ("chance", np.where(can, 0.5, 1.0))):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    profit = np.where(drawn, 1.0, 0.0) + random.normal(size=len(table))
    table = table.set_column(table.schema.get_field_index("profit"), "profit", pa.array(profit))
    path = tmp_path / "half.parquet"
    pq.write_table(table, path)
    done = run(path, how, *(() if "chance" in how else ("--ignore", "chance")), "--json")
    assert done.exit_code == 3, done.output
    said = json.loads(done.output)
    assert said["verdict"]["en"].startswith("No uplift is claimed")
    (overlap,) = [of for of in said["checks"] if of["name"] == "overlap"]
    assert overlap["holds"] is False
    assert "to get coupon" in overlap["words"]["en"]
    coupon = said["arms"][1]
    withheld = ("reach", "mean", "effect", "best_over")
    assert {name: coupon[name] for name in withheld} == dict.fromkeys(withheld), "nor was it possible for all"
    assert coupon["arm"] == "coupon"
    page = path.with_suffix(".uplift.html").read_text()
    assert "not known" in page
    assert "No effect can be told." in page


def test_shares_are_taken_as_people_write_thirds(tmp_path: Path) -> None:
    """Else: who splits a trial in three cannot say so, as no three decimals sum to 1."""
    path = tmp_path / "thirds.parquet"
    pq.write_table(table_by_hand(rows=600), path)
    thirds = [f"--share={arm}=.33" for arm in ("nothing", "mail", "coupon")]
    done = run(path, *thirds, "--dry-run")
    assert "the shares of --share sum to 0.99: taken in proportion" in done.stderr, done.output
    exact = run(path, *(f"--share={arm}={1 / 3!r}" for arm in ("nothing", "mail", "coupon")), "--dry-run")
    assert (done.exit_code, done.stdout, exact.stderr) == (exact.exit_code, exact.stdout, "")
    wrong = run(path, *thirds[:2], "--share=coupon=.3", "--dry-run")
    assert (wrong.exit_code, "with shares that sum to 1" in wrong.output) == (2, True)


def test_a_column_left_out_is_still_a_witness_of_the_draw(tmp_path: Path) -> None:
    """Else: who leaves out the column by which a lottery was wrong reads its bias as a proven uplift."""
    trial, _ = trial_by_hand("none", 2_000)
    random = np.random.default_rng(3)
    loyal = random.normal(size=2_000)
    arm = (random.random(2_000) < 1 / (1 + np.exp(-loyal))).astype(int)
    profit = trial.outcomes["profit"] + loyal
    columns = {"visits": trial.matrix[:, 0], "loyal": loyal, "tall": random.normal(size=2_000)}
    said = {"group": [("nothing", "mail")[k] for k in arm], "chance": np.full(2_000, 0.5), "profit": profit}
    path = tmp_path / "wrong.parquet"
    pq.write_table(pa.table(columns | said), path)
    assert run(path, "--propensity=chance", "--dry-run").exit_code == 3
    done = run(path, "--propensity=chance", "--ignore=loyal", "--ignore=tall", "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert said["only_if"]["en"] == "loyal was written after the decision"
    assert "All of this rests on your word that loyal was written after" in said["verdict"]["en"]
    first = said["verdict"]["en"].partition(".")[0]
    assert "is shown, if loyal was written after the decision, to bring more" in first
    assert "shown on that condition" in said["verdict"]["en"]
    assert "proven." not in said["verdict"]["en"]
    assert "已证实" not in said["verdict"]["zh"]
    (left,) = [of for of in said["checks"] if of["name"].startswith("columns left out")]
    assert left["holds"] is None
    assert "loyal (p < .0001)" in left["words"]["en"]
    pq.write_table(pq.read_table(path).drop_columns(["loyal"]), path)
    same = json.loads(run(path, "--propensity=chance", "--ignore=tall", "--dry-run", "--json").output)
    assert same["only_if"] is None, "and a column that is spread alike asks for no word of anybody"
    assert "proven" in same["verdict"]["en"]


def test_without_a_lottery_the_evidence_is_named(file: Path) -> None:
    """Else: whoever forgets --randomised, or has no trial at all, reads a claim."""
    done = run(file, "--ignore", "chance", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "No uplift is claimed: nobody drew lots. The evidence is observational" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--randomised", "--ignore", "colour"), "no column colour"),
        (("--randomised", "--control", "letter"), "--control with one of: coupon, mail, nothing"),
        (("--share", "mail=0.5"), "--share must name each of"),
        (("--share", "mail"), "expected ARM=SHARE with a number"),
        (("--propensity", "region"), "the column region holds string"),
    ],
)
def test_wrong_usage_says_what_is_expected(file: Path, arguments: tuple[str, ...], said: str) -> None:
    """Else: a typo ends in a stack trace, or in another trial than was meant."""
    done = run(file, *arguments)
    assert done.exit_code == 2
    assert said in done.output


def test_columns_become_numbers_without_guessing() -> None:
    """Else: a missing value counts as 0, or an e-mail address is learnt from."""
    table = pa.table({
        "arm": ["control", "mail"] * 60,
        "y": [0, 1, 1] * 40,
        "yes": [True, None] * 60,
        "channel": ["web", "shop", None] * 40,
        "city": [f"city {i}" for i in range(120)],
    })  # fmt: skip
    trial = trial_of(table, "arm", ["y"])
    assert trial.names == ("yes", "channel = web")
    assert trial.unread == ("city",)
    assert trial.arms == ("control", "mail")
    assert np.array_equal(trial.matrix[:3], np.array([[1, 1], [np.nan, 0], [1, np.nan]]), equal_nan=True)
    with pytest.raises(UsageError, match="which arm of arm is the control"):
        trial_of(table.set_column(0, "arm", pa.array(["a", "b"] * 60)), "arm", ["y"])


def test_in_a_pipe_a_row_is_a_line_whose_words_are_whole(file: Path) -> None:
    """Else: who searches a log for `Womens E-Mail`, or for what a check says, does not find it."""
    table = pq.read_table(file)
    names = pc.replace_substring(table["group"], "mail", "Mail by post to everybody who ordered something")
    pq.write_table(table.set_column(table.schema.get_field_index("group"), "group", names), file)
    done = run(file, "--propensity", "chance", "--dry-run")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert any(line.startswith("Mail by post to everybody who ordered something ") for line in lines)
    (overlap,) = [line for line in lines if line.startswith("overlap ")]
    assert "effective customers: nothing" in overlap
    assert overlap.count("smallest propensity known: nothing 0.400") == 1
    assert not any(line.endswith(" ") for line in lines), "and no blanks that wrap to empty lines"


def test_a_table_that_shows_groups_of_one_arm_each_is_no_lottery_of_customers() -> None:
    """Else what 120 stores happen to do alike is proven by their six thousand customers."""
    random, n = np.random.default_rng(2), 6_000
    store = random.integers(0, 120, n)
    arm = np.where(random.permutation(120) < 60, "none", "sms")[store]
    table = pa.table({"arm": arm, "y": random.normal(size=n), "spend": random.normal(size=n), "store": store})
    for text in (False, True):
        given = table.set_column(3, "store", pa.array([f"s{one}" for one in store])) if text else table
        with pytest.raises(UsageError, match=r"120 values of store came with one arm only.*--cluster store"):
            trial_of(given, "arm", ["y"])
        assert len(np.unique(trial_of(given, "arm", ["y"], cluster="store").customer)) == 120
        assert trial_of(given, "arm", ["y"], ignore=["store"]).names == ("spend",)
    alone = table.set_column(0, "arm", pa.array(random.choice(["none", "sms"], n)))
    assert "store" in trial_of(alone, "arm", ["y"]).names, "drawn one by one"
