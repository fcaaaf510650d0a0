"""`train value` on the real log: registered, the same again, and scored for everyone."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from homes import copy_of

from features.compute.builds import Build
from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from serving import value, value_scores
from serving.releases import Release
from serving.summaries import Orders, summarise
from serving.value import Values
from training import registry
from training.fit import Trained
from training.value_training import train


@pytest.fixture(scope="module")
def home(journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return copy_of(journey, tmp_path_factory.mktemp("value") / "home")


@pytest.fixture(scope="module")
def trained(home: Settings) -> Trained:
    return train(home, home.now())


@pytest.fixture(scope="module")
def release(trained: Trained) -> Release:
    return Release("value", trained.version, value.load(trained.folder))


@pytest.fixture(scope="module")
def scored(home: Settings, release: Release) -> Path:
    return value_scores.score(home, release, Build.open(home), home.now())


def test_a_version_is_registered_as_the_challenger_with_its_figures(home, trained):
    assert registry.aliases(home, "value") == {"challenger": trained.version}
    card = trained.card
    assert card.tested_on.moment == parse_moment("2017-10-02")
    assert card.trained_on.end == card.tested_on.moment
    assert card.metrics["orders_ratio"]["value"] == pytest.approx(1.0, abs=0.05)
    assert card.baselines["bgnbd"]["poisson_deviance_gain"]["low"] > 0
    assert 0.85 < card.metrics["below_p90"]["value"] < 0.95
    assert trained.verdict.en.startswith("value beats BG/NBD")
    assert card.notes[0].en == trained.verdict.en


def test_the_same_again_is_found_not_fitted(home, trained):
    again = train(home, home.now())
    assert again.reused
    assert (again.version, again.run_id, again.verdict) == (trained.version, trained.run_id, trained.verdict)


def test_a_card_reads_no_feature_so_every_build_has_what_it_needs(home, trained):
    Build.open(home).require(trained.card.needs, by="value")


def test_everyone_of_the_snapshot_is_scored_from_what_was_known(home, release, scored):
    table = pq.read_table(scored)
    assert table.column_names == [
        "customer_id", "moment", "model_version", *Values._fields, "value_percentile",
        "next_order_date",
    ]  # fmt: skip
    assert table["customer_id"].to_pylist() == Build.open(home).read(home.now())["customer_id"].to_pylist()
    orders = Orders.of(Log.open(home), shop_of(home).zone)
    known = summarise(orders, home.now())
    worth = release.model.score(known).value
    values = dict(zip(orders.ids.take(known.customer).to_pylist(), worth, strict=True))
    given = dict(zip(table["customer_id"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert {id: v for id, v in given.items() if v is not None} == values
    best = max(values, key=lambda id: values[id])
    assert table["value_percentile"][table["customer_id"].to_pylist().index(best)].as_py() == 100.0


def test_scoring_again_writes_the_same_bytes_and_elsewhere_leaves_the_store_alone(
    home, release, scored, tmp_path
):
    before = scored.read_bytes()
    out = tmp_path / "elsewhere.parquet"
    assert value_scores.score(home, release, Build.open(home), home.now(), out) == out
    assert out.read_bytes() == before == scored.read_bytes()


def test_whoever_has_no_order_yet_has_no_value_rather_than_an_average(home, release):
    """A snapshot of the log's first weeks: customers are known, most have not ordered."""
    moment = min(Build.open(home).moments)
    table = pq.read_table(value_scores.score(home, release, Build.open(home), moment))
    known = summarise(Orders.of(Log.open(home), shop_of(home).zone), moment)
    assert len(table) - table["value"].null_count == len(known)
    assert np.isfinite(table["orders"].drop_null().to_numpy()).all()


def test_a_log_too_short_to_be_judged_is_refused_with_what_it_needs(home):
    with pytest.raises(NotEnoughData, match="a value model needs 112, of which the last quarter judges it"):
        train(home, Log.open(home).starts_at + 100 * DAY)
