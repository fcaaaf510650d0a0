"""The command line: what a newcomer types first, and what a scheduler relies on."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from copies import copy_of
from logs import ROOT, empty_shop

import propensity
from features.compute.builds import Build
from features.files import write_atomically
from features.settings import Settings, clock
from monitoring import closer


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(propensity.main, list(arguments), env=environment)


COMMANDS = [
    ("init",), ("simulate",), ("ingest",), ("log", "describe"), ("features",), ("features", "build"),
    ("features", "list"), ("features", "page"), ("features", "backfill"), ("tags",), ("tags", "list"),
    ("tags", "build"), ("portraits",), ("targets",), ("targets", "list"), ("targets", "suggest"),
    ("online", "status"), ("online", "show"), ("online", "rollback"), ("train",), ("promote",),
    ("models", "list"), ("models", "card"),
    ("serve",), ("score",), ("export",), ("decide",), ("monitor", "run"),
    ("monitor", "alerts"), ("monitor", "ack"), ("monitor", "silence"), ("monitor", "send"),
    ("monitor", "rules"), ("monitor", "runbook"), ("today",), ("check",), ("demo",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    first = result.output.splitlines()[2].strip()
    assert len(first) > 20, "the first line of the help says what the command does"


MONITOR = sorted(propensity.main.commands["monitor"].commands)


@pytest.mark.parametrize("name", MONITOR)
def test_every_command_of_the_monitoring_shows_its_use(name: str) -> None:
    """Else: whoever is woken reads the source to learn what to type."""
    command = propensity.main.commands["monitor"].commands[name]
    help = command.help or ""
    lines = [line.strip() for line in help.splitlines()]
    examples = [line for line in lines if line.startswith(f"propensity monitor {name}")]
    assert examples, "an example to copy"
    for example in examples:
        given = shlex.split(example.partition(" > ")[0])[3:]
        command.make_context(name, list(given))  # which refuses what it does not take
    options = [one for one in command.params if isinstance(one, click.Option)]
    assert all(one.help for one in options), "what each option does"
    defaulted = [
        one for one in options if not one.is_flag and isinstance(one.default, str | int) and one.default
    ]
    assert all(one.show_default for one in defaulted), "what is so without it"
    ends_otherwise = {"run": "34", "alerts": "34", "send": "3"}
    for code in ends_otherwise.get(name, ""):
        assert re.search(rf"\b{code}: ", help), f"what exit code {code} means"


def test_the_monitoring_says_what_its_exit_codes_mean() -> None:
    """A scheduler acts on them."""
    shown = " ".join(run("monitor", "--help").output.split())
    assert "0 done or quiet, 1 failed, 2 wrong usage; of `run` and `alerts` 3 a warning, 4 a page" in shown


def test_help_loads_none_of_the_heavy_libraries() -> None:
    """A help that takes seconds is not asked for twice."""
    heavy = ("numpy", "pandas", "pyarrow", "duckdb", "mlflow", "feast", "bentoml", "rich")
    code = (
        "import sys, propensity; propensity.main(['--help'], standalone_mode=False);"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_usage_is_2_and_a_failure_is_1_each_with_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    empty = {"PROPENSITY_HOME": str(tmp_path)}
    wrong = run("features", "build", "--as-of", "yesterday", **empty)
    assert (wrong.exit_code, wrong.output) == (
        2,
        "error: 'yesterday' is not a moment: write 2017-12-03 or 2017-12-03T00:00:00+00:00\n",
    )
    failed = run("features", "build", **empty)
    assert failed.exit_code == 1
    assert "run `propensity ingest`" in failed.output
    assert run("decide").exit_code == 2
    assert run("ingest", PROPENSITY_HOME=str(tmp_path), PROPENSITY_SHOP=str(tmp_path / "no")).exit_code == 2


def test_init_writes_a_shop_that_check_accepts_and_never_overwrites(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    dry = run("init", str(shop), "--dry-run")
    assert (dry.exit_code, shop.exists()) == (0, False)
    assert run("init", str(shop)).exit_code == 0
    checked = run("check", PROPENSITY_SHOP=str(shop), PROPENSITY_HOME=str(tmp_path / "home"))
    assert checked.exit_code == 0, checked.output
    (shop / "shop.toml").write_text("# mine\n", "utf-8")
    again = run("init", str(shop))
    assert again.exit_code == 0
    assert (shop / "shop.toml").read_text("utf-8") == "# mine\n"


def test_check_names_a_feature_that_breaks_its_contract(journey: Settings, tmp_path: Path) -> None:
    """Its own declarations are a shop's first mistake; `check` must find them before a model learns them."""
    shop = empty_shop(
        tmp_path,
        shop_py="""
from features.definitions import Feature
from features.words import Words
FEATURES = [
    Feature(name="odd", words=Words("Odd", ""), unit="apples", measure="count", table="orders", window=7),
]
""",
    )
    result = run("check", "--customers", "3", PROPENSITY_HOME=str(journey.home), PROPENSITY_SHOP=str(shop))
    assert result.exit_code == 1
    place = f"problem: {shop / 'shop.py'}, line 5: feature odd: "
    assert f"{place}its Chinese words are ''" in result.output
    assert f"{place}unit 'apples'" in result.output


def test_check_tells_every_broken_declaration_with_its_line(tmp_path: Path) -> None:
    """It stopped at the first, without file or line: ten mistakes took ten runs and ten searches."""
    shop = empty_shop(
        tmp_path,
        shop_py="""from features.definitions import Feature
from features.tags import Tag
from features.words import Words
TWO = {"words": Words("Some", "一些"), "unit": "orders"}
FEATURES = [
    Feature(name="orders_30d", measure="count", table="orders", window=7, **TWO),
    Feature(name="mine", measure="expression", expression="nonexist / orders_7d", **TWO),
    Feature(name="more", measure="expression", expression="mine + orders_7d", **TWO),
    Feature(name="round_a", measure="expression", expression="round_b + 1", **TWO),
    Feature(name="round_b", measure="expression", expression="round_a + 1", **TWO),
]
SAY = {"words": Words("Some", "一些"), "meaning": Words("Some.", "一些。")}
TAGS = [
    Tag(name="new_arrival", when="tenure <= 3", **SAY),
    Tag(name="lost", when="absent_30d > 1", **SAY),
    Tag(name="fine", when="mine > 1", **SAY),
]
""",
    )
    result = run("check", PROPENSITY_HOME=str(tmp_path / "home"), PROPENSITY_SHOP=str(shop))
    assert result.exit_code == 1, result.output
    told = [line for line in result.output.splitlines() if line.startswith("problem: ")]
    line = f"problem: {shop / 'shop.py'}, line"
    assert told == [
        f"{line} 6: orders_30d is declared twice: give one of them another name",
        f"{line} 7: mine reads nonexist, which is not declared",
        f"{line} 9: computed from itself: round_a <- round_b <- round_a",
        f"{line} 14: tag new_arrival is declared twice: give one of them another name",
        f"{line} 15: tag lost reads absent_30d, which is not declared",
    ]


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("orders_30d >", "line 4: tag often: 'orders_30d >' is no rule"),
        ("order_30d > 4", "tag often reads order_30d, which is not declared"),
    ],
)
def test_check_says_where_a_tag_is_wrong(tmp_path: Path, when: str, said: str) -> None:
    shop = empty_shop(
        tmp_path / "shop",
        shop_py=f"""from features.tags import Tag
from features.words import Words
TAGS = [
    Tag(name="often", words=Words("Often", "常来"), meaning=Words("Often", "常来"), when="{when}"),
]
""",
    )
    result = run("check", PROPENSITY_HOME=str(tmp_path / "home"), PROPENSITY_SHOP=str(shop))
    assert result.exit_code == 1
    assert str(shop / "shop.py") in result.output
    assert said in result.output


def test_a_feature_of_a_shops_own_is_backfilled_and_customers_are_tagged_and_listed(
    journey: Settings, tmp_path: Path
) -> None:
    """The commands of one who adds a feature and a portrait, in their order."""
    own = """from features.definitions import Feature
from features.tags import Tag
from features.words import Words
FEATURES = [Feature(name="big_orders_90d", words=Words("Big orders", "大额订单数"), unit="orders",
                    measure="count", table="orders", where="amount > 50", window=90)]
TAGS = [Tag(name="big_spender", portrait=True, words=Words("Big spender", "大客户"),
            meaning=Words("Big orders", "大单"), when="big_orders_90d >= 6")]
"""
    home = copy_of(journey, tmp_path / "home").home
    shop = empty_shop(tmp_path / "shop", shop_py=own)
    here = {"PROPENSITY_HOME": str(home), "PROPENSITY_SHOP": str(shop), "PROPENSITY_AS_OF": "2017-12-31"}
    assert "absent: big_spender, the build lacks big_orders_90d" in run("portraits", **here).output
    dry = run("features", "backfill", "--dry-run", **here)
    assert "would compute 1 new feature at 48 snapshots: big_orders_90d" in dry.output
    assert run("features", "backfill", "--no-publish", **here).exit_code == 0
    tagged = run("tags", "build", **here)
    assert (tagged.exit_code, "48 snapshots evaluated" in tagged.output) == (0, True), tagged.output
    assert "The changes are in the log already" in tagged.output
    assert "already" not in run("tags", "build", **here).output, "again, nothing changes"
    assert "大客户" in run("portraits", "--language", "zh", **here).output
    out = tmp_path / "big.csv"
    listed = run("portraits", "--list", "big_spender", "--out", str(out), **here)
    assert listed.exit_code == 0, listed.output
    number = int(listed.output.split(" customers", 1)[0].replace(",", ""))
    assert len(out.read_text().splitlines()) == number + 1 > 10
    assert f"big_spender: {number} customers have it" in tagged.output
    assert run("portraits", "--list", "nobody", **here).exit_code == 2


def test_check_passes_on_the_real_log(journey: Settings) -> None:
    result = run("check", "--customers", "5", PROPENSITY_HOME=str(journey.home))
    assert result.exit_code == 0, result.output
    assert "values of 161 features for 5 customers at 3 moments" in result.output


def test_features_list_speaks_both_languages_and_json(tmp_path: Path) -> None:
    plain = run("features", "list", "--language", "zh")
    assert "距上次下单天数" in plain.output
    rows = [json.loads(line) for line in run("features", "list", "--json").output.splitlines()]
    assert len(rows) >= 60
    assert {"name", "hash", "en", "zh", "unit", "source"} <= set(rows[0])


def test_dry_runs_write_nothing(journey: Settings, tmp_path: Path) -> None:
    before = sorted(str(p) for p in journey.home.rglob("*"))
    here = {"PROPENSITY_HOME": str(journey.home), "PROPENSITY_AS_OF": "2017-12-31"}
    assert "would have 68 snapshots" in run("features", "build", "--every", "5", "--dry-run", **here).output
    late = run("features", "build", "--as-of", "2019-01-01", "--dry-run", **here)
    assert (late.exit_code, "complete until" in late.output) == (2, True), "a dry run must refuse as the run"
    planned = run("train", "churn_28d", "value", "--origins", "1", "--dry-run", **here).output
    assert "judged as of 2017-12-03, and by a backtest at 1 origin from" in planned
    assert planned.index("would train churn_28d") < planned.index("would train value"), "as asked for"
    assert "search" in run("train", "churn_28d", "--tune", "--dry-run", **here).output
    assert run("train", "--tune", "churn_28d", "--dry-run", **here).exit_code == 2, "no number of minutes"
    assert run("train", "nothing_28d", "--dry-run", **here).exit_code == 2
    assert sorted(str(p) for p in journey.home.rglob("*")) == before


def test_nothing_is_trained_if_the_build_is_of_other_declarations(journey: Settings, tmp_path: Path) -> None:
    """Else: half of what was asked for is registered before it is said, with advice that misleads."""
    copied = copy_of(journey, tmp_path / "home")
    build = Build.open(copied)
    manifest = build.folder / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"features": {**build.features, "orders_30d": "0" * 16}}
    write_atomically(manifest, json.dumps(changed).encode())
    here = {"PROPENSITY_HOME": str(copied.home), "PROPENSITY_AS_OF": "2017-12-31"}
    for more in ((), ("--dry-run",)):
        done = run("train", "value", "churn_28d", *more, **here)
        assert done.exit_code == 1
        assert "orders_30d (defined differently)" in done.output
        assert "`propensity features backfill`" in done.output
        assert "release" not in done.output
    assert not (copied.home / "mlflow.db").exists()


@pytest.mark.parametrize(
    "command", [("monitor", "run"), ("monitor", "report"), ("monitor", "backfill"), ("today",)], ids=" ".join
)
def test_a_year_that_has_not_come_is_a_slip_unless_the_environment_says_so(
    journey: Settings, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """Else: 2031 for 2021 pages that features are 4,749 days old, and later runs are not taken."""
    home = copy_of(journey, tmp_path / "home").home
    here = {"PROPENSITY_HOME": str(home)}
    dry = ["--dry-run"] if command != ("monitor", "report") else []
    ahead = f"{clock() + timedelta(days=400):%Y-%m-%d}"
    for now in ({}, {"PROPENSITY_AS_OF": "2017-12-31"}):
        refused = run(*command, *dry, "--as-of", ahead, **here, **now)
        assert refused.exit_code == 2, refused.output
        assert f"--as-of: {ahead}T00:00:00Z has not come yet, now is {clock():%Y-%m-%d}" in refused.output
        assert "PROPENSITY_AS_OF" in refused.output
    simulated = run(*command, *dry, "--as-of", ahead, **here, PROPENSITY_AS_OF=ahead)
    assert "has not come yet" not in simulated.output


def test_what_is_trained_as_of_a_moment_that_the_log_does_not_reach_is_said(
    journey: Settings, tmp_path: Path
) -> None:
    """Else: a model is registered as of 2031, or on a log that ended a month ago, without a word."""

    def planned(as_of: str) -> Result:
        at_home = {"PROPENSITY_HOME": str(journey.home)}
        return run("train", "churn_28d", "--as-of", as_of, "--dry-run", **at_home)

    future = f"{clock() + timedelta(days=400):%Y-%m-%d}"
    refused = planned(future)
    assert refused.exit_code == 2, refused.output
    assert f"{future}T00:00:00Z has not come yet" in refused.output
    assert "would train" not in refused.output
    late, fresh = planned("2018-02-01"), planned("2018-01-05")
    assert (late.exit_code, fresh.exit_code) == (0, 0)
    assert "the log is complete until 2018-01-01T05:00:00Z, 30 days before 2018-02-01" in late.output
    assert "complete until" not in fresh.output, "as a log of a few days ago is"
    assert fresh.output.strip() in late.output, "the same training"


def test_a_target_that_cannot_be_trained_does_not_keep_the_others_from_it(
    journey: Settings, tmp_path: Path
) -> None:
    """Else: hours of fitting end in one line about another target, and what was trained is not shown."""
    home = copy_of(journey, tmp_path / "home").home
    here = {"PROPENSITY_HOME": str(home), "PROPENSITY_AS_OF": "2017-12-31"}
    done = run("train", "first_order_28d", "segmentation", **here)
    assert done.exit_code == 1
    assert "segmentation version 1" in done.output
    assert "error: first_order_28d has 0 ones" in done.output
    told = run("train", "segmentation", "opt_out_28d", **here)  # a plan can tell, so nothing is fitted before
    assert "error: opt_out_28d cannot be told: there are no opt-outs among the log's responses" in told.output
    assert "no version of churn_7d was ever released" in run("rollback", "churn_7d", **here).output


def test_a_mistake_in_a_condition_is_one_line_that_names_its_place(journey: Settings, tmp_path: Path) -> None:
    """Else: a shop's first own feature ends in the traceback of a database that it never heard of."""
    own = """from features.definitions import Feature
from features.words import Words
FEATURES = [Feature(
    name="big_90d", words=Words("Big orders", "大额订单数"), unit="orders",
    measure="count", table="orders", where="amonut > 50", window=90)]
"""
    shop = empty_shop(tmp_path / "shop", shop_py=own)
    home = copy_of(journey, tmp_path / "home").home
    here = {"PROPENSITY_HOME": str(home), "PROPENSITY_SHOP": str(shop), "PROPENSITY_AS_OF": "2017-12-31"}
    said = f"{shop / 'shop.py'}, line 4: the `where` of feature big_90d cannot be read: Binder Error"
    for command in (
        ("features", "backfill", "--no-publish"), ("check", "--customers", "1"), ("train", "--dry-run"),
    ):  # fmt: skip
        done = run(*command, **here)
        assert done.exit_code == 1, done.output
        assert said in done.output
        assert "Traceback" not in done.output
        assert done.output.count("cannot be read") == 1


def test_training_on_an_old_build_says_which_declarations_it_passes_over(
    journey: Settings, tmp_path: Path
) -> None:
    """Else: a shop's new feature is trained without for weeks, and everybody thinks that it brings nothing;
    or a model is released beside a declaration that `propensity check` refuses."""
    own = """from dataclasses import replace
from features.definitions import Feature
from features.words import Words
from training.targets import catalogue
FEATURES = [Feature(
    name="big_90d", words=Words("Big orders", "大额订单数"), unit="orders",
    measure="count", table="orders", where="amount > 50", window=90)]
TARGETS = [replace(catalogue()["category_repurchase_28d"], name="own_28d", categories=("CHEEZE",))]
"""
    here = {"PROPENSITY_HOME": str(journey.home), "PROPENSITY_AS_OF": "2017-12-31"}
    shop = empty_shop(tmp_path / "shop", shop_py=own)
    done = run("train", "churn_28d", "--dry-run", PROPENSITY_SHOP=str(shop), **here)
    assert done.exit_code == 0, done.output
    assert "no model learns from them: big_90d. `propensity features backfill` computes" in done.output
    assert "WARNING: 1 other target is declared wrongly: own_28d. `propensity check` says how" in done.output
    assert "CHEEZE" not in done.output
    shop = empty_shop(tmp_path / "broken", shop_py=own.replace("大额订单数", "Big"))
    told = run("train", "churn_28d", "--dry-run", PROPENSITY_SHOP=str(shop), **here)
    checked = run("check", "--customers", "1", PROPENSITY_SHOP=str(shop), **here)
    said = f"{shop / 'shop.py'}, line 6: feature big_90d: its Chinese words are 'Big'"
    assert told.exit_code == checked.exit_code == 1
    assert said in told.output
    assert said in checked.output


NUMBER = re.compile(r"[+-]?\d+\.\d+")


def _figures(readme: str) -> list[str]:
    """The rows of the README's table of figures."""
    lines = readme.split("model's gain", 1)[1].split("```", 1)[0].splitlines()[1:]
    assert len(lines) == 5
    return lines


def _trained(printed: str) -> str:
    """What the demo says of its training."""
    return printed.split("3/7 Train", 1)[1].split("\n\n4/7", 1)[0]


def test_the_whole_journey_end_to_end(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a newcomer runs first: it must end by itself, with answers, and be repeatable at once."""
    first = (demo / "printed.txt").read_text("utf-8")
    home = tmp_path / "home"
    shutil.copytree(demo / "home", home)
    for told in (
        "rejected: neither quantity nor money", "churn_28d", "recency", "unknown_customer", "evidence: prior",
        "What to type next",
    ):  # fmt: skip
        assert told in first, f"{told!r} is missing from what the demo prints"
    for line in _figures((ROOT / "README.md").read_text("utf-8")):
        (printed,) = (p for p in first.splitlines() if p.split("  ")[0] == line.split("  ")[0] and "[" in p)
        stated, measured = (np.array(NUMBER.findall(text), float) for text in (line, printed))
        # Another processor may round LightGBM's sums otherwise.
        np.testing.assert_allclose(stated, measured, atol=0.003, err_msg="the README claims other figures")
    environment = {**os.environ, "PROPENSITY_HOME": str(home), "PYTHONWARNINGS": "default"}
    command = [sys.executable, "-m", "propensity", "demo", "--quick"]
    second = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "0 computed now" in second.stdout
    again, reused, _ = _trained(second.stdout).partition("churn_28d version 1 was there")
    assert (again.strip(), reused != "") == (_trained(first).strip(), True), "the same, and found"

    here = {"PROPENSITY_HOME": str(home), "PROPENSITY_AS_OF": "2017-12-31"}
    out = tmp_path / "december.parquet"
    scored = run("score", "--release", "churn_28d", "--as-of", "2017-12-04", "--out", str(out), **here)
    assert scored.exit_code == 0, scored.output
    table = pq.read_table(out)
    assert table["probability"].null_count > 0, "those outside the population have no score"
    assert min(table["probability"].drop_null().to_pylist()) > 0

    decided = run("decide", "900", "--json", **here)
    assert decided.exit_code == 0, decided.output
    id = json.loads(decided.output)["decision_id"]
    assert run("replay", id, **here).output.strip() == f"{id}: equal"
    monkeypatch.setattr(closer, "TIMEOUT", 0.01)  # what Evidently draws is asked of a smaller shop
    watched = run("monitor", "run", **here)
    assert watched.exit_code in (0, 3, 4)
    assert watched.output.strip(), "a verdict in words"

    # Another zone means other days: the release must not answer from features that it never learned.
    shop = empty_shop(tmp_path / "shop")
    text = (shop / "shop.toml").read_text("utf-8").replace("America/New_York", "Asia/Shanghai")
    (shop / "shop.toml").write_text(text, "utf-8")
    there = {**here, "PROPENSITY_SHOP": str(shop)}
    assert run("features", "build", **there).exit_code == 1, "first the log must be of that zone"
    assert run("ingest", **there).exit_code == 0
    built = run("features", "build", "--every", "100", **there)
    assert (built.exit_code, "NOT SCORED: release churn_28d" in built.output) == (3, True)
    assert run("monitor", "run", "--no-page", **there).exit_code == 4
