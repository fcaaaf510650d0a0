"""`train segmentation` on the real log: registered, the same again, released, everyone told since when."""

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from copies import untrained_copy_of

from features.compute.builds import Build
from features.errors import FeatureMismatch, NotEnoughData, UsageError
from features.log import Log
from features.moments import parse_moment
from features.online import publish
from features.settings import Settings
from features.shop import shop_of
from propensity import scoring, steps
from propensity.trained import show
from serving import kinds, releases, score_store, segmentation, segmentation_scores, value
from serving.purchases import BgNbd, GammaGamma
from serving.releases import Release
from serving.summaries import Orders, summarise
from serving.value import Draws, ValueFile, ValueModel
from training import gates, page, registry, segmentation_training
from training.fit import Trained
from training.segmentation_training import plan, train

CUT_OFF = parse_moment("2017-10-08")


@pytest.fixture(scope="module")
def home(journey: Settings, empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return untrained_copy_of(journey, empty_registry, tmp_path_factory.mktemp("segmentation") / "home")


@pytest.fixture(scope="module")
def trained(home: Settings) -> Trained:
    return train(home, home.now())


@pytest.fixture(scope="module")
def release(trained: Trained) -> Release:
    return Release("segmentation", trained.version, segmentation.load(trained.folder))


@pytest.fixture(scope="module")
def scored(home: Settings, release: Release) -> Path:
    return kinds.score(home, release, Build.open(home), home.now())


def test_a_version_is_registered_with_what_came_after_its_cut_off(home, trained):
    assert registry.aliases(home, "segmentation") == {"challenger": trained.version}
    card, model = trained.card, segmentation.load(trained.folder)
    assert card.trained_on.end == card.tested_on.moment == CUT_OFF
    rates = [card.metrics[f"orders_after_{stage}"]["value"] for stage in ("purchase", "use", "maintenance")]
    assert rates == sorted(rates)
    assert card.metrics["orders_after_maintenance"]["low"] > 0.85
    of_use = [f["value"] for name, f in card.metrics.items() if name.startswith("use_to_")]
    assert sum(of_use) == pytest.approx(1, abs=1e-5)
    assert card.baselines["before"].keys() & card.metrics.keys() >= {"use_to_use", "orders_after_use"}
    assert card.metrics["moved_otherwise"]["value"] < 0.05
    assert all(one["rows"] >= 30 for one in card.metrics.values())
    assert card.notes[0].en == trained.verdict.en
    assert trained.verdict.en.startswith("Stages mean what they say.")
    said = " ".join(note.en for note in card.notes)
    assert "Rules left out, because the log lacks what they read: cart, view, active" in said
    assert "Nobody with 1, 2, 3, 4 or more days with an order is in the stage exit" in said
    assert "no value model" in said
    assert "of shares Wilson's 95 % intervals" in said
    assert "Of a stage with fewer than 30 customers nothing is told" in said
    assert (model.file.potential, model.file.gone.gaps) == (None, None)


def test_the_same_again_is_found_and_elsewhere_is_the_same_bytes(
    home, trained, journey, empty_registry, tmp_path
):
    again = train(home, home.now())
    assert again.reused
    assert (again.version, again.run_id, again.verdict) == (trained.version, trained.run_id, trained.verdict)
    other = train(untrained_copy_of(journey, empty_registry, tmp_path / "home"), home.now())
    for path in trained.folder.iterdir():
        assert path.read_bytes() == (other.folder / path.name).read_bytes(), path.name


def test_what_a_dry_run_says_is_what_is_done(home, trained):
    assert plan(home, home.now()).startswith(f"would train segmentation: learnt as of {CUT_OFF:%Y-%m-%d}")


def test_everyone_is_told_and_since_when(home, release, scored):
    """By the slow way: back through every snapshot until the stage was another."""
    build, rows = Build.open(home), {row["customer_id"]: row for row in pq.read_table(scored).to_pylist()}
    then = {}
    for moment in build.moments:
        ids, segments = segmentation_scores.at(release.model, build, moment)
        names = [entry.gives for entry in release.model.file.tables["stage"].entries]
        then[moment] = dict(zip(ids.to_pylist(), [names[place] for place in segments.stage], strict=True))
    assert rows.keys() == then[home.now()].keys()
    for id, row in rows.items():
        assert row["stage"] == then[home.now()][id]
        run = home.now()
        for moment in reversed(build.moments):
            if then[moment].get(id) != row["stage"]:
                break
            run = moment
        assert row["since"] == (None if run == build.moments[0] else run)
    assert len({row["since"] for row in rows.values()}) > 20
    assert {row["tier"] for row in rows.values()} >= {"champions", "loyal", "at_risk", "lost"}
    assert all(row["tier"] is not None and 1 <= row["r"] <= 5 for row in rows.values())
    reasons = {row["churn_reason"] for row in rows.values()}
    assert reasons == {None, "unknown"}, "this log has no cases, no surveys and no returns"


def test_scoring_again_writes_the_same_bytes(home, release, scored):
    before = scored.read_bytes()
    assert kinds.score(home, release, Build.open(home), home.now()).read_bytes() == before


def test_released_it_is_in_force_and_everyone_of_the_published_snapshot_was_told(home, trained, tmp_path):
    """Else: it is registered, and nobody can ask it."""
    publish(home, Build.open(home), home.now())
    score_store.path(home, "segmentation", trained.version, home.now()).unlink(missing_ok=True)
    assert "released segmentation" in steps.promote_target(home, "segmentation", None, dry_run=False)
    assert releases.current(home, "segmentation") == trained.version
    assert score_store.path(home, "segmentation", trained.version, home.now()).is_file()
    said = scoring.score_everyone(home, "segmentation", tmp_path / "all.parquet", dry_run=False)
    assert said.startswith("2,469 of 2,469 customers scored with segmentation")
    # Another version is told beside it, by the names that it gives.
    train(home, home.now(), seed=2)
    said = scoring.score_everyone(home, "segmentation:challenger", tmp_path / "two.parquet", dry_run=False)
    assert f"beside segmentation {trained.version}, which is in force: 100% of the customers have" in said
    with pytest.raises(UsageError, match="gives no probability, so it has no reasons"):
        scoring.score_everyone(home, "segmentation", None, dry_run=True, reasons=2)
    scored, starved = steps.score_releases(home, Build.open(home), home.now())
    assert (scored, starved) == ((f"segmentation {trained.version}",), ())


def test_every_rate_is_told_with_how_many_it_is_of(trained, capsys):
    """Else: a rate of forty customers is weighed like one of two thousand."""
    show(trained)
    rows = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    page_of_it = unescape(page.render(trained.card)).partition("How good it is")[2]
    for name, one in trained.card.metrics.items():
        assert re.search(rf"\] +{one['rows']:,}( |$)", rows[name.replace("_", " ")]), name
    assert f"{trained.card.metrics['use_to_use']['rows']:,}</span>" in page_of_it
    assert "Brackets: of shares Wilson's intervals" in page_of_it
    head = page_of_it.partition("</thead>")[0]
    assert head.count(">客户数<") == 2, "of the model, and of four weeks earlier"
    worst = max(
        (one for name, one in trained.card.metrics.items() if name.startswith("moved_otherwise_")),
        key=lambda one: one["value"],
    )
    assert f"{worst['value']:.1%} [{worst['low']:.1%}, {worst['high']:.1%}] of {worst['rows']:,}." in (
        trained.verdict.en
    )


def test_its_page_is_written_and_says_whether_it_holds(trained, tmp_path):
    text = page.write(tmp_path / "card.html", trained.folder).read_text("utf-8")
    assert "Stages mean what they say" in text
    assert "阶段与后续购买相符" in text


def test_stages_that_promise_the_contrary_are_not_released(home, trained, release):
    card = trained.card
    upside = {**card.metrics, "orders_after_use": {"value": 0.99, "low": 0.98, "high": 1.0}}
    bad = replace(release.model, card=msgspec.structs.replace(card, metrics=upside))
    assert gates.objections(home, release, trained.folder, None) == []
    (against,) = gates.objections(home, Release("segmentation", "9", bad), trained.folder, None)
    assert against.en == "Maintenance is followed by fewer orders than use"


def test_a_build_that_lacks_a_feature_is_refused(home, release):
    lacking = replace(Build.open(home), features={"orders_30d": "0" * 16})
    with pytest.raises(FeatureMismatch, match=r"days_since_order \(absent\)"):
        segmentation_scores.score(home, release, lacking, home.now())


def test_a_log_too_short_to_be_judged_is_refused_with_what_it_needs(home):
    with pytest.raises(NotEnoughData, match="no snapshot lies 56 days or more after the log's start"):
        train(home, Log.open(home).starts_at + timedelta(days=80))


def test_the_potential_is_what_the_value_model_says_at_the_cut_off(home):
    """Else: high and low are parted by another day's value, and quadrants tip by themselves."""
    build, log = Build.open(home), Log.open(home)
    orders = Orders.of(log, shop_of(home).zone)
    file = ValueFile(
        value.FORMAT, value.KIND, 365, 0.1, 0.3, BgNbd(0.8, 20.0, 0.8, 4.0), GammaGamma(6.0, 4.0, 15.0), False
    )
    model = ValueModel(None, file, Draws.of(file.money, 1), None)
    learnt = segmentation_training._learned(build, orders, CUT_OFF, ("7", model))
    worth = model.score(summarise(orders, CUT_OFF)).value
    assert learnt.potential == np.quantile(worth, 0.5, method="inverted_cdf")
    assert learnt.value_version == "7"
    assert (worth > learnt.potential).mean() == pytest.approx(0.5, abs=0.01)
