"""`propensity models`: what is trained and released, and the card of each."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cards_by_hand import WHOM, figures_by_hand, model_by_hand, registered
from click.testing import CliRunner, Result
from logs import empty_shop

import propensity
from features.errors import TrainingError
from features.settings import Settings
from propensity import tables
from propensity.compared import named_sides, same_model, show_means
from propensity.steps import promote_target
from serving import folders, kinds, releases
from serving.releases import Release
from training import comparison, describe, gates, registry, versions
from training import registered as registered_versions
from training.fit import Trained


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Versions 1, 2 and 3 of churn_28d; 1 was in force before 2, 3 is the challenger."""
    folder = tmp_path_factory.mktemp("models")
    settings = Settings(home=folder / "home")
    for version in ("1", "2", "3"):
        changes = figures_by_hand(int(version), logistic_rfm=0.0125)
        kept = registered(settings, model_by_hand(folder / version, version, **changes))
        if version != "3":
            releases.publish(settings, kept.folder, "churn_28d", version)
    return settings


def run(settings: Settings, *arguments: str) -> Result:
    environment = {"PROPENSITY_HOME": str(settings.home)}
    return CliRunner().invoke(propensity.main, ["models", *arguments], env=environment)


def test_list_says_of_every_version_how_good_it_is_and_whether_it_is_in_force(home: Settings) -> None:
    """Else: nobody can tell which version answers, or whether the next one is better."""
    done = run(home, "list")
    assert done.exit_code == 0, done.output
    title, _, newest, second, first = done.output.splitlines()[:5]
    assert title.strip() == "churn_28d: No order in the next 28 days"
    assert re.match(r" +3 +challenger +", newest)
    assert "in force" in second
    assert "earlier" in first
    assert not any(released in newest for released in ("in force", "earlier"))
    for version, row in zip("321", (newest, second, first), strict=True):
        figures = figures_by_hand(int(version), logistic_rfm=0.0125)["backtest"]
        auc, gain = figures["metrics"]["model"]["auc"], figures["gains"]["logistic_rfm"]["auc_gain"]
        assert f"{auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]" in row
        assert f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]  logistic rfm " in row
        assert re.search(r"\d{4}-\d\d-\d\d", row)


def test_card_writes_the_page_of_what_is_asked_for_and_prints_its_path(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: the page that is handed on is that of another version, or lies wherever one happened to be."""
    monkeypatch.chdir(tmp_path)
    done = run(home, "card", "churn_28d")
    written = home.home / "reports" / "churn_28d-2.html"
    assert (done.exit_code, done.output) == (0, f"{written}\n"), "the one in force"
    assert WHOM.zh in written.read_text("utf-8"), "its population, as declared, in Chinese"
    assert list(tmp_path.glob("*.html")) == []
    for wanted, version in (("churn_28d:1", "1"), ("churn_28d:challenger", "3")):
        done = run(home, "card", wanted, "--out", str(tmp_path / "page.html"))
        assert done.output == f"{tmp_path / 'page.html'}\n"
        assert f"churn_28d, version {version}:" in (tmp_path / "page.html").read_text("utf-8")


def test_the_last_origin_is_not_taken_for_all_of_them_nor_one_interval_for_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else: the AUC of one moment stands beside gains over three, and reads as their sum."""
    made = model_by_hand(tmp_path / "1", "1", **figures_by_hand(1, logistic_rfm=0.0125))
    card = versions.card_of(made)
    verdict = describe.verdict_of(card)
    assert re.search(r"^churn_28d \(AUC 0\.\d{3}, at the last origin alone\)", verdict.en)
    assert "the gains are means over 3 origins" in verdict.en
    assert "仅最后时点" in verdict.zh
    tables.show_trained(Trained("run", "1", card, tmp_path / "1", verdict))
    show_means(card, None)
    told = " ".join(capsys.readouterr().out.split())
    assert "the last of the 3 origins alone" in told
    assert "95 % bootstrap intervals over this moment's customers" in told
    assert "by each row's influence (of AUC DeLong's)" in told


def test_a_model_that_does_not_rank_is_listed_with_the_gain_that_judges_it(tmp_path: Path) -> None:
    """Else: of the value model nobody sees whether it is better than four parameters; or its own deviance, a
    loss, is read as what it gained."""
    settings = Settings(home=tmp_path / "home")
    figure = {"value": 0.634, "low": 0.344, "high": 1.161}
    changes = {
        "metrics": {
            "auc": {"value": 0.8, "low": 0.7, "high": 0.9},
            "poisson_deviance": {"value": 2.959, "low": 2.7, "high": 3.2},
        },
        "baselines": {
            "bgnbd": {"poisson_deviance": {**figure, "value": 3.593}, "poisson_deviance_gain": figure},
            "run_rate": {"poisson_deviance_gain": {**figure, "value": 2.0}},
        },
        "backtest": {},
    }  # fmt: skip
    registered(settings, model_by_hand(tmp_path / "1", "1", **changes))
    told = run(settings, "list").output
    assert "+0.634 [+0.344, +1.161] poisson deviance" in told
    assert re.search(r"poisson deviance +bgnbd ", told)
    assert "2.959" not in told
    assert "Of churn_28d: at the test alone, the gain in what judges such a model" in told


def test_the_card_tells_how_it_did_against_what_is_in_force(home: Settings, tmp_path: Path) -> None:
    """Else: the gate knows over how many moments a challenger was compared, and nobody who reads the card."""
    folder = registered_versions.folder_of(home, "churn_28d", "3")
    force = versions.card_of(registered_versions.folder_of(home, "churn_28d", "2"))
    auc = {"value": 0.0125, "low": 0.0013, "high": 0.0237}
    level = {"observed_over_expected": 1.01, "z": 0.3, "calibration_slope": 0.97}
    figures = {"auc": auc, "log_loss": auc}
    found = comparison.Comparison(
        "churn_28d", force.tested_on.moment, 2_000, 0.1, (figures, figures), (level, level),
        {"auc_gain": auc, "log_loss_gain": auc},
        (comparison.Segment("orders_90d", 1, 4, 912, auc),), 6, 2,
    )  # fmt: skip
    with registry.opened(home) as client:
        client.set_registered_model_alias("churn_28d", "champion", "2")
    try:
        comparison.keep(folder, comparison.Contest("2", force.trained_on, found))
        done = run(home, "card", "churn_28d:3", "--out", str(tmp_path / "page.html"))
        text = (tmp_path / "page.html").read_text("utf-8")
        for words in (
            "Against version 2, in force when it was compared: 6 moments",
            "版本2对比：6个时点",
            "At 2 of them the version in force scored itself; at the 4 before",
            "+0.013 [+0.001",
            "over 1 to 4",
            "大于1至4",
        ):
            assert words in text, (words, done.output)
    finally:
        with registry.opened(home) as client:
            client.delete_registered_model_alias("churn_28d", "champion")
        shutil.rmtree(folder.parent / "contest")


def test_what_is_registered_is_read_as_mlflow_tells_it_without_loading_it(home: Settings) -> None:
    """Else: `models list` takes many seconds; or shows what MLflow has deleted, or other aliases."""
    with registry.opened(home) as client:
        known = client.search_model_versions("name = 'churn_28d'")
        aliases = {alias: str(v) for alias, v in client.get_registered_model("churn_28d").aliases.items()}
    ours = registered_versions.registered(home)
    assert [(one.version, one.run_id, one.tags, one.created) for one in ours] == [
        (str(one.version), one.run_id, one.tags, one.creation_timestamp)
        for one in sorted(known, key=lambda one: -int(one.version))
    ]
    assert registered_versions.aliases(home, "churn_28d") == aliases
    asked = (
        "import sys; from click.testing import CliRunner; import propensity; "
        "done = CliRunner().invoke(propensity.main, ['models', 'list']); assert done.exit_code == 0; "
        "sys.exit(bool({'mlflow', 'feast', 'sklearn', 'pandas', 'lightgbm'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PROPENSITY_HOME": str(home.home)}
    assert subprocess.run([sys.executable, "-c", asked], env=environment, timeout=120).returncode == 0


def test_json_is_the_card_as_it_was_registered(home: Settings, tmp_path: Path) -> None:
    done = run(home, "card", "churn_28d:3", "--json")
    assert json.loads(done.output)["version"] == "3"
    assert done.output == (versions.folder_of(home, "churn_28d", "3") / "card.json").read_text("utf-8")
    both = run(home, "card", "churn_28d:3", "--json", "--out", str(tmp_path / "no.html"))
    assert both.exit_code == 2
    assert not (tmp_path / "no.html").exists()


def test_what_is_not_there_is_told(home: Settings, tmp_path: Path) -> None:
    """Else: a typo ends in a stack trace, or asking writes a database."""
    done = run(home, "card", "churn_28d:9")
    assert (done.exit_code, "it has 1, 2, 3" in done.output) == (1, True)
    assert run(home, "card", "churn").exit_code == 2
    empty = Settings(home=tmp_path / "empty")
    assert "run `propensity train`" in run(empty, "list").output
    assert run(empty, "card", "churn_28d").exit_code == 1
    assert not empty.home.exists()


def test_a_version_that_was_edited_is_named_and_its_figures_are_not_shown(home: Settings) -> None:
    """Else: better numbers than were measured stand in the table; or one bad folder hides all the others."""
    card = versions.folder_of(home, "churn_28d", "1") / "card.json"
    before = card.read_bytes()
    try:
        card.write_bytes(before.replace(b"0.8", b"0.9"))
        done = run(home, "list")
        assert done.exit_code == 0
        assert re.search(r" 1 +not readable", done.output)
        assert re.search(r"WARNING: churn_28d 1: .*card.json was changed", done.output)
        assert run(home, "card", "churn_28d:1").exit_code == 1
    finally:
        card.write_bytes(before)


def test_before_anything_is_released_the_card_is_the_challengers(home: Settings) -> None:
    elsewhere = home.home / "releases"
    aside = elsewhere.rename(home.home / "aside")
    try:
        assert registry.resolve(home, "churn_28d") == "3"
        assert json.loads(run(home, "card", "churn_28d", "--json").output)["version"] == "3"
        assert {one.released for one in versions.versions(home)} == {""}
    finally:
        aside.rename(elsewhere)


def test_a_release_against_the_gate_is_marked_and_its_card_says_why(home: Settings, tmp_path: Path) -> None:
    """Else: a model that lost to a baseline is listed like any other, and nobody knows why."""
    tags = {registered_versions.FORCED: "the <board> wants it", registered_versions.OVERRULED: "it loses"}
    with registry.opened(home) as client:
        for tag, value in tags.items():
            client.set_model_version_tag("churn_28d", "2", tag, value)
    try:
        (forced,) = (one.version for one in versions.versions(home) if one.forced)
        assert (forced, "in force, forced" in run(home, "list").output) == ("2", True)
        page = tmp_path / "page.html"
        run(home, "card", "churn_28d:2", "--out", str(page))
        assert "which objected: it loses. The reason given: the &lt;board&gt; wants it" in page.read_text(
            "utf-8"
        )
        run(home, "card", "churn_28d:1", "--out", str(page))
        assert "against the gate" not in page.read_text("utf-8")
    finally:
        with registry.opened(home) as client:
            for tag in tags:
                client.delete_model_version_tag("churn_28d", "2", tag)


@pytest.mark.parametrize("reason", ["", "  "])
def test_force_without_a_reason_is_told_that_it_needs_one(home: Settings, reason: str) -> None:
    """Else: whoever forces reads why the gate objects, and not why forcing did nothing."""
    environment = {"PROPENSITY_HOME": str(home.home)}
    done = CliRunner().invoke(propensity.main, ["promote", "churn_28d", "--force", reason], env=environment)
    assert done.exit_code == 2
    assert "--force needs a reason" in done.output


def test_nothing_is_released_unseen_while_its_target_is_declared_wrongly(
    home: Settings, tmp_path: Path
) -> None:
    """Else: a slip in shop.py takes the comparison with what is in force away, and a worse one passes."""
    slip = "from training.targets import TARGETS as BUILT_IN\nTARGETS = [BUILT_IN[0]]\n"
    settings = replace(home, shop=empty_shop(tmp_path / "shop", shop_py=slip))
    folder = registered_versions.folder_of(home, "churn_28d", "3")
    release = Release("churn_28d", "3", kinds.load(folder))
    with pytest.raises(TrainingError, match="target churn_28d is declared twice"):
        gates.objections(settings, release, folder, champion=release)


def test_the_very_model_that_is_in_force_is_named_as_that(tmp_path: Path) -> None:
    """Else: "not better beyond chance, -0.0000 [-0.0000, +0.0000]", and somebody looks for the difference."""
    settings = Settings(home=tmp_path / "home")
    figures = figures_by_hand(1)
    made = [
        registered(settings, model_by_hand(tmp_path / version, version, **changes))
        for version, changes in (("1", figures), ("2", figures), ("3", figures_by_hand(3)))
    ]
    one, two, _ = (Release("churn_28d", kept.version, kinds.load(kept.folder)) for kept in made)
    (said,) = gates.objections(settings, two, made[1].folder, champion=one)
    assert "it is the same model as version 1, the champion (same files)" in said.en
    assert "版本1是同一个模型" in said.zh
    assert same_model(settings, "churn_28d:1", "churn_28d:2")
    assert not same_model(settings, "churn_28d:1", "churn_28d:3")
    assert not same_model(settings, "churn_28d:1", "scores.csv")
    assert not folders.alike(made[2].folder, made[0].folder), "another card"


def test_a_damaged_release_in_force_is_said_to_be_repaired_before_and_after(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Else: a rehearsal says that nothing would change, and the real thing replaces files and tells to do
    what it has just done."""
    settings = Settings(home=tmp_path / "home")
    registered(settings, kept := model_by_hand(tmp_path / "1", "1", **figures_by_hand(1)))
    releases.publish(settings, kept, "churn_28d", "1")
    with registry.opened(settings) as client:
        client.set_registered_model_alias("churn_28d", registry.CHAMPION, "1")

    def promoted(*arguments: str) -> str:
        said = promote_target(settings, "churn_28d", None, dry_run="--dry-run" in arguments)
        assert "Promote the version again" not in said + caplog.text, "it is being done"
        return said.partition("\n")[0]

    assert promoted("--dry-run") == "churn_28d version 1 is in force already: nothing would change"
    file = settings.home / "releases" / "churn_28d" / "1" / "card.json"
    whole = file.read_bytes()
    file.write_bytes(whole + b" ")
    would = "its files are damaged, and would be repaired from the registry"
    assert promoted("--dry-run") == f"churn_28d version 1 is in force already: {would}"
    assert file.read_bytes() != whole
    was = "its files were damaged, and are repaired from the registry"
    assert promoted() == f"churn_28d version 1 was in force already: {was}"
    assert file.read_bytes() == whole
    assert promoted() == "churn_28d version 1 was in force already: nothing changes"


def test_a_comparison_says_which_versions_it_compared(home: Settings) -> None:
    """Else: `compare churn_28d FILE` judges the challenger, and is read as being about the one in force."""
    assert named_sides(home, "churn_28d", "churn_28d:2") == ("churn_28d:3", "churn_28d:2")
    assert named_sides(home, "churn_28d:2", "scores.csv") == ("churn_28d:2", "scores.csv")
    asked = ["compare", "churn_28d", "churn_28d:challenger"]
    done = CliRunner().invoke(propensity.main, asked, env={"PROPENSITY_HOME": str(home.home)})
    assert done.exit_code == 2
    assert "both sides are churn_28d:3: name another version" in done.output
