"""MLflow's door and promotion. If it fails, the service answers with a model that nobody chose."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from cards_by_hand import model_by_hand, registered
from copies import copy_of, trained_copy_of
from mlflow import MlflowClient

from features.compute.builds import Build
from features.errors import FeatureMismatch, ReleaseCorrupt, TrainingError, UsageError
from features.files import sha256
from features.log import Log
from features.moments import iso, parse_moment
from features.online import OnlineRows
from features.settings import Settings
from propensity.scoring import score_everyone
from propensity.steps import promote_target
from serving import batch, models, releases
from training import registry
from training.fit import Trained, train

WHY = "a test of the door, not of the gate"


@pytest.fixture(scope="module")
def home(trained_twice: tuple[Settings, Trained], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with versions 1 and 2 of churn, nothing released."""
    return trained_copy_of(trained_twice[0], tmp_path_factory.mktemp("registry") / "home")


@pytest.fixture(scope="module", params=["files", "postgres"])
def either(
    request: pytest.FixtureRequest, home: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    """That home; and one of a team, whose MLflow has the same two versions in PostgreSQL."""
    if request.param == "files":
        return home
    url = request.getfixturevalue("postgres").new_database()
    team = replace(copy_of(home, tmp_path_factory.mktemp("team") / "home"), database=url)
    shutil.copytree(home.home / "online", team.home / "online")
    known = client_of(home)
    for number in ("1", "2"):
        version = known.get_model_version("churn_28d", number)
        kept = home.home / "mlartifacts" / version.run_id / "artifacts"
        recipe = known.get_run(version.run_id).data.params
        card = models.load(kept / "model").card
        with registry.registering(team, "churn_28d") as door:
            assert door.next_version() == number
            door.register(
                kept / "model", [*(kept / "plots").iterdir()], card, version.tags["recipe_key"], recipe
            )
    return team


def client_of(settings: Settings) -> MlflowClient:
    with registry.opened(settings) as client:
        assert isinstance(client, MlflowClient)
        return client


def test_a_version_is_tracked_with_what_made_it(trained_home: Settings, churn: Trained) -> None:
    """Else: a year later nobody knows what data and settings a release came from."""
    run = client_of(trained_home).get_run(churn.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["build"] == Build.open(trained_home).id
    assert run.data.params["seed"] == "1"
    assert run.data.metrics["auc"] == churn.card.metrics["auc"]["value"]
    assert run.data.metrics["logistic_rfm.auc_gain_low"] > 0
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == churn.card.trained_on.build
    plots = trained_home.home / "mlartifacts" / churn.run_id / "artifacts" / "plots"
    assert sorted(path.stem for path in plots.iterdir()) == ["calibration", "card", "gain", "importance"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.glob("*.png"))
    assert "churn_28d" in (plots / "card.html").read_text("utf-8")


def test_versions_go_from_challenger_to_champion_and_back(either: Settings) -> None:
    """Else: there is no way back from a bad release."""
    name, versions = "churn_28d", sorted(p.name for p in (either.home / "releases").glob("*/*"))
    assert versions == []
    newest = registry.resolve(either, name)
    assert registry.aliases(either, name) == {"challenger": newest}

    assert registry.promote(either, name, "1").version == "1"
    assert registry.aliases(either, name) == {"champion": "1", "challenger": newest}
    released = registry.promote(either, name, force=WHY)
    assert released.version == releases.current(either, name) == newest
    told = promote_target(either, name, None, dry_run=False, force=WHY)
    assert "Released against the gate, which objected: it " in told
    assert f"The reason given: {WHY}" in told
    assert "it was judged at 1 moment only" in told
    assert registry.aliases(either, name) == {"champion": newest, "rollback": "1"}
    assert registry.promote(either, name).version == newest
    assert registry.aliases(either, name) == {"champion": newest, "rollback": "1"}

    assert registry.promote(either, name, "rollback").version == releases.current(either, name) == "1"
    assert registry.aliases(either, name) == {"champion": "1", "rollback": newest}
    train(either, name, either.now(), seed=1)  # what is released already is no challenger
    assert registry.aliases(either, name) == {"champion": "1", "rollback": newest}


def test_a_promoted_release_is_the_registered_folder_and_has_scores(either: Settings) -> None:
    """Else: the service gives other scores than were judged, or no percentiles."""
    release = registry.promote(either, "churn_28d", "1")
    released = either.home / "releases" / "churn_28d" / "1"
    run = client_of(either).get_model_version("churn_28d", "1").run_id
    kept = either.home / "mlartifacts" / run / "artifacts" / "model"
    assert sha256(released / models.SUMS) == sha256(kept / models.SUMS)
    build = OnlineRows.open(either).current().build
    assert batch.percentile(either, release, build, either.now()) is not None


@pytest.mark.parametrize("published", [True, False])
def test_promotion_needs_the_features_as_they_were(home: Settings, published: bool) -> None:
    """Else: a release goes into force that every request will be refused by, or that is silently wrong."""
    newest = str(max(int(v) for v in registry.aliases(home, "churn_28d").values()))
    other = "1" if releases.current(home, "churn_28d") == newest else newest
    before = registry.aliases(home, "churn_28d"), releases.current(home, "churn_28d")
    build = Build.open(home)
    manifest, online = build.folder / "manifest.json", home.home / "online"
    text = manifest.read_text()
    aside = online if published else online.rename(home.home / "aside")
    try:
        features = {**build.features, "overdue": "0" * 16}
        manifest.write_text(json.dumps(json.loads(text) | {"features": features}))
        with pytest.raises(FeatureMismatch, match="overdue"):
            registry.promote(home, "churn_28d", other)
    finally:
        manifest.write_text(text)
        aside.rename(online)
    assert (registry.aliases(home, "churn_28d"), releases.current(home, "churn_28d")) == before


def test_before_anything_is_published_a_model_can_be_released(home: Settings) -> None:
    """Else: a newcomer who promotes before publishing is stuck, or is told of scores that nobody has."""
    aside = (home.home / "online").rename(home.home / "aside")
    try:
        newest = str(max(int(v) for v in registry.aliases(home, "churn_28d").values()))
        assert registry.promote(home, "churn_28d", newest, force=WHY).version == newest
    finally:
        aside.rename(home.home / "online")
    registry.promote(home, "churn_28d", "1")


def test_what_is_not_there_is_told(either: Settings, tmp_path: Path) -> None:
    """Else: a typo in a version releases something else, or ends in MLflow's stack trace."""
    with pytest.raises(TrainingError, match="no version 99: it has 1, 2"):
        registry.promote(either, "churn_28d", "99")
    with pytest.raises(TrainingError, match="propensity train repurchase_7d"):
        registry.resolve(either, "repurchase_7d")
    empty = Settings(home=tmp_path / "empty")
    with pytest.raises(TrainingError, match="propensity train churn_28d"):
        registry.resolve(empty, "churn_28d")
    assert not empty.home.exists()


def test_a_version_whose_files_were_changed_is_not_reused(home: Settings) -> None:
    """Else: retraining hands out a model that was edited by hand."""
    run = client_of(home).get_model_version("churn_28d", "1").run_id
    sums = home.home / "mlartifacts" / run / "artifacts" / "model" / models.SUMS
    content = sums.read_bytes()
    try:
        sums.write_bytes(content + b"\n")
        with pytest.raises(TrainingError, match="is not what churn_28d 1 was registered with"):
            train(home, "churn_28d", home.now(), seed=1)
    finally:
        sums.write_bytes(content)


def test_a_damaged_release_is_put_right_by_promoting_it_again_as_its_error_says(home: Settings) -> None:
    """Else: the remedy of the error is a dead end, on the day when the service is down."""
    released = home.home / "releases" / "churn_28d" / "1"
    registry.promote(home, "churn_28d", "1")
    before = (released / "card.json").read_bytes()
    (released / "card.json").write_bytes(before + b" ")
    with pytest.raises(ReleaseCorrupt):
        releases.load(home, "churn_28d", "1")
    registry.promote(home, "churn_28d", "1")
    assert (released / "card.json").read_bytes() == before
    assert releases.load(home, "churn_28d", "1").version == "1"


def test_what_the_store_lost_of_what_is_in_force_is_put_there_by_promoting_it_again(
    home: Settings, tmp_path: Path
) -> None:
    """Else: a new pod cannot take it, its error says to promote it again, and that changes nothing."""
    settings = replace(home, releases=str(tmp_path / "store"))
    registry.promote(settings, "churn_28d", "1")
    lost = tmp_path / "store" / "churn_28d" / "1" / "card.json"
    before = lost.read_bytes()
    again = "churn_28d version 1 was in force already: nothing changes"
    assert promote_target(settings, "churn_28d", "1", dry_run=False).startswith(again)
    lost.unlink()
    for dry_run, said in ((True, "would be put there again"), (False, "are put there again")):
        told = promote_target(settings, "churn_28d", "1", dry_run=dry_run)
        assert "its files in PROPENSITY_RELEASES" in told
        assert said in told
        assert lost.exists() is not dry_run
    assert lost.read_bytes() == before
    told = promote_target(settings, "churn_28d", "1", dry_run=True)
    assert told == "churn_28d version 1 is in force already: nothing would change"


def test_a_registered_model_whose_figures_were_edited_is_not_promoted(home: Settings) -> None:
    """Else: somebody's better numbers are released as if they had been measured."""
    run = client_of(home).get_model_version("churn_28d", "2").run_id
    folder = home.home / "mlartifacts" / run / "artifacts" / "model"
    before = {name: (folder / name).read_bytes() for name in ("card.json", models.SUMS)}
    old = sha256(folder / "card.json")
    try:
        (folder / "card.json").write_bytes(before["card.json"].replace(b"0.8", b"0.9"))
        sums = before[models.SUMS].decode().replace(old, sha256(folder / "card.json"))
        (folder / models.SUMS).write_text(sums, "utf-8")
        with pytest.raises(TrainingError, match="not what churn_28d 2 was registered with"):
            registry.promote(home, "churn_28d", "2")
    finally:
        for name, data in before.items():
            (folder / name).write_bytes(data)


def test_a_version_that_somebody_registered_by_hand_is_refused(either: Settings) -> None:
    """Else: a model that was never judged is released, or promotion ends in a stack trace."""
    client = client_of(either)
    client.create_registered_model("by_hand_28d")
    run = client.get_model_version("churn_28d", "1").run_id
    client.create_model_version("by_hand_28d", source="anywhere", run_id=run)
    with pytest.raises(TrainingError, match="not what by_hand_28d 1 was registered with"):
        registry.promote(either, "by_hand_28d", "1")


@pytest.mark.parametrize("name", ["a'b", "churn 28d", "../churn_28d", "", "churn_29d"])
def test_a_name_that_is_no_target_is_answered_with_those_that_are(home: Settings, name: str) -> None:
    """Else: a typo ends in MLflow's stack trace, or in advice to train what cannot be trained."""
    with pytest.raises(UsageError, match="no target .*; there are: churn_28d, repurchase_7d"):
        registry.promote(home, name)


def test_a_release_keeps_what_was_judged_of_it(home: Settings, churn: Trained) -> None:
    """Else: a model that beats nothing is in force, and nothing about it says so."""
    card = registry.promote(home, "churn_28d", "1").model.card
    assert (card.notes[0].en, card.notes[0].zh) == tuple(churn.verdict)
    assert (card.metrics, card.baselines) == (churn.card.metrics, churn.card.baselines)


def test_the_gate_keeps_out_what_is_no_better_unless_somebody_says_why(
    home: Settings, tmp_path: Path
) -> None:
    """Else: chance decides what the service answers with, or nobody knows who overruled the figures."""
    settings = gateless(home, tmp_path)
    registry.promote(settings, "churn_28d", "1")
    assert registry.objections(settings, "churn_28d", "2")
    assert registry.objections(settings, "churn_28d", "1") == []  # in force
    with pytest.raises(TrainingError, match="churn_28d 2 is not released: .*champion.*--force REASON"):
        registry.promote(settings, "churn_28d", "2")
    assert releases.current(settings, "churn_28d") == "1"
    registry.promote(settings, "churn_28d", "2", force="the level of 1 is off since the move")
    tags = client_of(settings).get_model_version("churn_28d", "2").tags
    assert tags["forced_because"] == "the level of 1 is off since the move"
    assert "champion" in tags["gate_objected"]
    assert registry.promote(settings, "churn_28d", "rollback").version == "1"  # the way back has no gate


def test_a_champion_that_cannot_be_compared_does_not_lock_the_door(home: Settings, tmp_path: Path) -> None:
    """Else: after a feature's definition changed nothing can ever be released again, not even by force."""
    settings = gateless(home, tmp_path)
    with registry.opened(settings) as client:
        number = 1 + max(int(v.version) for v in client.search_model_versions("name = 'churn_28d'"))
    build, learnt = Build.open(settings).id, parse_moment("2017-12-01")
    registered(settings, model_by_hand(tmp_path / "starved", str(number), build))  # by features of old
    registered(settings, model_by_hand(tmp_path / "later", str(number + 1), build, learnt))
    client = client_of(settings)
    client.set_registered_model_alias("churn_28d", "champion", str(number))
    assert registry.objections(settings, "churn_28d", "1") == []
    client.set_registered_model_alias("churn_28d", "champion", str(number + 1))
    (against,) = registry.objections(settings, "churn_28d", "1")
    assert "cannot be compared with the champion" in against.en
    assert registry.promote(settings, "churn_28d", "1", force=WHY).version == "1"


def test_a_challenger_is_scored_beside_the_champion_with_its_reasons(home: Settings, tmp_path: Path) -> None:
    """Else: what a promotion would change is known only after it."""
    settings = gateless(home, tmp_path)
    registry.promote(settings, "churn_28d", "1", force=WHY)
    client_of(settings).set_registered_model_alias("churn_28d", "challenger", "2")
    out = tmp_path / "everyone.parquet"
    told = score_everyone(settings, "churn_28d:challenger", out, dry_run=False, reasons=2)
    assert "scored with churn_28d 2" in told
    assert "beside churn_28d 1, which is in force: rank correlation" in told
    rows = pq.read_table(out).to_pylist()
    inside = [row for row in rows if row["probability"] is not None]
    assert all(row["reasons"] is None for row in rows if row["probability"] is None)
    assert all(len(row["reasons"]) == 2 and row["reasons"][0]["zh"] for row in inside)
    assert len(inside) < len(rows)
    assert "beside" not in score_everyone(settings, "churn_28d", out, dry_run=False)


def test_scores_of_a_night_that_the_log_does_not_reach_are_of_what_was_built(
    home: Settings, tmp_path: Path
) -> None:
    """Else `features build` finds the night's moment by itself, and `score` after it fails; but a moment that
    somebody names is not another one."""
    settings = gateless(home, tmp_path)
    registry.promote(settings, "churn_28d", "1", force=WHY)
    night = Log.open(settings).complete_until + timedelta(hours=2)
    said = score_everyone(replace(settings, as_of=night), "churn_28d", None, dry_run=True)
    assert f"as of {iso(Build.open(settings).moments[-1])}" in said
    with pytest.raises(UsageError, match="would be guesses"):
        score_everyone(replace(settings, as_of=night), "churn_28d", None, dry_run=False, as_of=night)


def gateless(home: Settings, folder: Path) -> Settings:
    """A copy of the home in which nothing is released and no version has an alias."""
    settings = copy_of(home, folder / "copy")
    for name in ("online", "mlartifacts"):
        shutil.copytree(home.home / name, settings.home / name)
    shutil.copyfile(home.home / "mlflow.db", settings.home / "mlflow.db")
    for alias in registry.aliases(settings, "churn_28d"):
        client_of(settings).delete_registered_model_alias("churn_28d", alias)
    return settings
