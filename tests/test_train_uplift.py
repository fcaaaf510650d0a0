"""`propensity train uplift`: from the ledger to a release, and no further than the evidence goes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from deliveries import deliver, order
from ledgers import write_ledger
from trials import ARMS, trial_by_hand

from features.compute.builds import Build
from features.compute.engine import build
from features.ingestion.ingest import take
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.words import Words
from propensity import main
from serving import effects
from serving.actions import Action, Effect
from serving.evidence import shown
from serving.following import Releases

AT = parse_moment("2017-01-20")
TODAY = AT + 35 * DAY
UNTIL = "SELECT TIMESTAMPTZ '2017-03-01T00:00:00Z'"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a few orders and its features; 1,200 decisions of a lottery that read five of them."""
    folder = tmp_path_factory.mktemp("uplift")
    settings = Settings(home=folder / "home", as_of=TODAY)
    orders = [order(f"o{i}", f"c{i:06}", "2017-01-02") for i in range(40)]
    take(settings, [deliver(folder / "till", "till", {"orders": orders}, UNTIL)])
    build(settings, [AT, TODAY])
    features = dict(list(Build.open(settings).features.items())[:5])
    trial, _ = trial_by_hand("constant", rows=1_200)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    trial = replace(trial, names=tuple(features), outcomes={"profit": y})
    write_ledger(settings, trial, AT, hashes=features)
    return settings.home


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PROPENSITY_HOME", str(home))
    monkeypatch.setenv("PROPENSITY_AS_OF", f"{TODAY:%Y-%m-%d}")

    def typed(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return typed


def test_effects_become_a_version_and_a_release_that_decisions_can_read(run: Any, home: Path) -> None:
    """The same decisions are the same version; what it learnt from, it is not judged on."""
    dry = run("train", "uplift", "--dry-run")
    assert "would train uplift: coupon, mail against nothing, from 1,200 of 1,200 decisions" in dry.output
    first = run("train", "uplift")
    assert first.exit_code == 0, first.output
    assert "margin coupon" in first.output
    assert "Best for everyone: coupon" in first.output
    again = run("train", "uplift")
    assert "version 1" in again.output
    before = run("promote", "uplift", "--dry-run")
    released = run("promote", "uplift")
    assert released.exit_code == 0
    assert "the learnt effect on retention (an order within the horizon) is told and not valued" in (
        released.output
    ), "else it stands in the report, and who reads that waits for it in decisions"
    release = Releases(Settings(home=home, as_of=TODAY)).get("uplift")
    model = release.model
    assert isinstance(model, effects.EffectsModel)
    assert model.file.evidence == "randomised"
    assert [one.name for one in model.file.outcomes] == ["margin", "retention", "opt_out"]
    assert any("told and not valued" in note.en for note in model.card.notes)
    assert model.card.notes[0].en in before.output, "else its verdict is read when it is in force already"
    needed, words = dict(model.card.needs), Words("Text a coupon", "短信发券")
    coupon = Action(name="coupon", channel="sms", words=words, goal=words,
                    effect=Effect(0.0, 0.0, 0.0, "prior", words))  # fmt: skip
    (of,) = shown(release, np.zeros((1, 5), np.float32), needed, [coupon], 28, "USD")
    assert of.keys() == {"coupon"}, "what a decision reads of it, of the actions that the shop has"
    assert 0 < of["coupon"][1] < of["coupon"][0] < of["coupon"][2]
    told = run("evaluate", "policy", "--policy", "uplift")
    assert told.exit_code == 3, told.output
    assert "The model has learnt from decisions until 2017-01-20" in told.output


@pytest.mark.parametrize(
    ("lots", "why"), [(0, "nobody drew lots"), (48, "48 of 600 decisions with a final outcome were drawn by")]
)
def test_a_guess_is_not_released(
    run: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lots: int, why: str
) -> None:
    """Else: what a salesman chose becomes what everybody is sent, as if it had been tried; or who explored a
    little reads that nobody did."""
    import shutil

    mine = tmp_path / "home"
    shutil.copytree(home, mine, ignore=shutil.ignore_patterns("ledger", "releases", "mlflow*", "mlruns"))
    settings = Settings(home=mine, as_of=TODAY)
    features = dict(list(Build.open(settings).features.items())[:5])
    trial, _ = trial_by_hand("constant", rows=600)
    chosen = np.digitize(trial.matrix[:, 1], [-0.4, 0.4])
    y = {"profit": np.maximum(trial.outcomes["profit"] + 20, 0.0)}
    trial = replace(trial, names=tuple(features), outcomes=y, arm=chosen)
    trial = replace(trial, given=np.where(np.arange(600) < lots, 1 / 3, 1.0))
    write_ledger(settings, trial, AT, hashes=features)
    monkeypatch.setenv("PROPENSITY_HOME", str(mine))
    done = run("train", "uplift")
    assert done.exit_code == 0, done.output
    assert f"No uplift is claimed: {why}" in " ".join(done.output.split())
    refused = run("promote", "uplift")
    assert refused.exit_code != 0
    assert "its evidence is prior, a guess" in refused.output


def test_a_trial_of_features_becomes_a_release_and_another_table_does_not(
    run: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: a trial that proved something stays a page, or columns that nobody can look up decide."""
    import shutil

    mine = tmp_path / "home"
    shutil.copytree(home, mine, ignore=shutil.ignore_patterns("ledger", "releases", "mlflow*", "mlruns"))
    monkeypatch.setenv("PROPENSITY_HOME", str(mine))
    settings = Settings(home=mine, as_of=TODAY)
    names = list(Build.open(settings).features)[:5]
    trial, _ = trial_by_hand("constant", rows=400)
    rest = {"arm": [ARMS[k] for k in trial.arm], "p": trial.given, "margin": trial.outcomes["profit"]}
    told = ("--arm", "arm", "--outcome", "margin", "--propensity", "p", "--register", "--days", "28")
    file, other = tmp_path / "trial.parquet", tmp_path / "other.parquet"
    for path, columns in ((other, trial.names), (file, names)):
        known = dict(zip(columns, map(pa.array, trial.matrix.T), strict=True))
        pq.write_table(pa.table({**known, **rest}), path)
        done = run("uplift", "--trial", str(path), *told)
        assert done.exit_code == 0, done.output
    assert "registered: uplift version 2" in done.output
    assert "registered: uplift version 2" in run("uplift", "--trial", str(file), *told).output, "the same one"
    refused = run("promote", "uplift", "--version", "1")
    assert refused.exit_code != 0
    assert "visits" in refused.output
    assert run("promote", "uplift").exit_code == 0
    model = Releases(settings).get("uplift").model
    assert isinstance(model, effects.EffectsModel)
    assert (model.card.target.horizon_days, model.file.arms) == (28, ("nothing", "coupon", "mail"))
