"""Batch scores: the service's own numbers, whole files, honest percentiles."""

from datetime import timedelta

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny import TINY_FEATURES, TINY_MOMENT

from features.compute.builds import Build
from features.errors import FeatureMismatch, NoBuild
from serving import batch, models


def matrix_of(build: Build) -> np.ndarray:
    table = build.read(TINY_MOMENT)
    return np.column_stack([table[name].to_numpy() for name in TINY_FEATURES])


@pytest.fixture
def scored(tiny_settings, tiny_release, tiny_build):
    """A release, a build of 300, and the scores as a table."""
    release, build = tiny_release(), tiny_build(n=300)
    return release, build, pq.read_table(batch.score(tiny_settings, release, build, TINY_MOMENT))


def test_everyone_gets_the_score_that_the_service_would_give_alone_to_the_last_bit(scored):
    release, build, table = scored
    alone = np.concatenate([release.model.score(row[None]) for row in matrix_of(build)])
    assert table["probability"].to_numpy().tobytes() == alone.tobytes()
    assert table["customer_id"].to_pylist() == build.read(TINY_MOMENT)["customer_id"].to_pylist()


def test_a_row_says_whose_score_it_is_when_and_by_which_release(scored):
    _, _, table = scored
    assert table.column_names == [
        "customer_id", "moment", "target", "model_version", "probability", "percentile",
    ]  # fmt: skip
    first = table.slice(0, 1).to_pylist()[0]
    assert (first["customer_id"], first["moment"]) == ("c0000", TINY_MOMENT)
    assert (first["target"], first["model_version"]) == ("churn_28d", "1")


def test_columns_are_taken_by_name_not_by_their_order_in_the_file(tiny_settings, tiny_release, tiny_build):
    """Another build may store the same features in another order."""
    release, build = tiny_release(), tiny_build()
    before = pq.read_table(batch.score(tiny_settings, release, build, TINY_MOMENT))
    table = build.read(TINY_MOMENT)
    pq.write_table(table.select([*table.column_names[:3], *TINY_FEATURES[::-1]]), build.path(TINY_MOMENT))
    assert pq.read_table(batch.score(tiny_settings, release, build, TINY_MOMENT)).equals(before)


def test_running_again_writes_the_same_bytes(tiny_settings, tiny_release, tiny_build):
    release, build = tiny_release(), tiny_build()
    path = batch.score(tiny_settings, release, build, TINY_MOMENT)
    files = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert files.keys() == {"20171203T000000Z.parquet", f"20171203T000000Z.{build.id}.npy"}
    assert batch.score(tiny_settings, release, build, TINY_MOMENT) == path
    assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == files


def test_more_customers_than_fit_a_chunk_are_all_scored_in_order(tiny_settings, tiny_release, tiny_build):
    release, build = tiny_release(), tiny_build(n=batch._CHUNK + 17)
    table = pq.read_table(batch.score(tiny_settings, release, build, TINY_MOMENT))
    whole = release.model.score(matrix_of(build))
    assert table["probability"].to_numpy().tobytes() == whole.tobytes()


def test_a_snapshot_of_nobody_is_an_empty_file(tiny_settings, tiny_release, tiny_build):
    release, build = tiny_release(), tiny_build(n=0)
    table = pq.read_table(batch.score(tiny_settings, release, build, TINY_MOMENT))
    assert len(table) == 0
    assert table.schema.field("probability").type == pa.float64()


def test_scores_for_elsewhere_leave_the_score_store_alone(tiny_settings, tiny_release, tiny_build, tmp_path):
    """A trial of a challenger must not change the percentiles that are served."""
    release, build = tiny_release(), tiny_build()
    out = tmp_path / "elsewhere" / "scores.parquet"
    assert batch.score(tiny_settings, release, build, TINY_MOMENT, out) == out
    assert [p.name for p in out.parent.iterdir()] == ["scores.parquet"]
    assert batch.percentile(tiny_settings, release, build.id, TINY_MOMENT) is None


def test_features_that_are_defined_differently_are_refused_by_name(tiny_settings, tiny_release, tiny_build):
    """The skew that nobody notices: the same name, another meaning."""
    build = tiny_build()
    card_features = tiny_release().model.card.features
    changed = models.FeatureCard("days_since_order", "0" * 16, "days", "Days", "天数")
    release = tiny_release(version="2", features=(changed, *card_features[1:]))
    with pytest.raises(FeatureMismatch, match=r"churn_28d 2 .* days_since_order \(defined diff"):
        batch.score(tiny_settings, release, build, TINY_MOMENT)
    assert not (tiny_settings.home / "scores").exists()


def test_a_moment_that_was_not_built_is_said_not_made_up(tiny_settings, tiny_release, tiny_build):
    release, build = tiny_release(), tiny_build()
    with pytest.raises(NoBuild, match="2017-12-04"):
        batch.score(tiny_settings, release, build, TINY_MOMENT + timedelta(days=1))


def test_percentiles_are_those_of_the_very_build(tiny_settings, tiny_release, tiny_build):
    """A corrected build of the same moment has other customers: the old percentiles would be wrong."""
    release, build = tiny_release(), tiny_build()
    batch.score(tiny_settings, release, build, TINY_MOMENT)
    assert batch.percentile(tiny_settings, release, build.id, TINY_MOMENT) is not None
    assert batch.percentile(tiny_settings, release, "another build", TINY_MOMENT) is None


def test_any_moment_of_a_build_can_be_scored(tiny_settings, tiny_release, tiny_build):
    release = tiny_release()
    week = TINY_MOMENT - timedelta(days=7)
    build = tiny_build(moments=(week, TINY_MOMENT))
    a, b = (pq.read_table(batch.score(tiny_settings, release, build, m)) for m in (week, TINY_MOMENT))
    assert not a["probability"].equals(b["probability"])
    assert a["moment"][0].as_py() == week


@pytest.mark.parametrize("n", [1, 3, 10, 300, 999, 1000, 1001, 2318])
def test_a_percentile_is_the_share_of_customers_scored_at_most_this_high(n):
    """By counting: never more than the share, and less than a tenth of a percent below it."""
    scored = np.round(np.random.default_rng(n).random(n), 2)  # with ties
    asked = np.concatenate([scored, [0.0, 0.333, 1.0, -1.0, 2.0]])
    share = np.array([np.count_nonzero(scored <= p) / n * 100 for p in asked])
    quantiles = batch._quantiles(scored)
    given = batch.percentiles(asked, quantiles)
    assert [batch.percentile_of(one, quantiles.tolist()) for one in asked.tolist()] == given.tolist()
    assert np.all(given <= share + 1e-9)
    assert np.all(given > share - 0.1 - 1e-9)


def test_where_nobody_was_scored_a_percentile_is_nought() -> None:
    """Else the first customers of a shop are told to be above all of nobody."""
    nobody = batch._quantiles(np.array([]))
    assert batch.percentiles(np.array([0.0, 0.5]), nobody).tolist() == [0, 0]
    assert [batch.percentile_of(one, nobody.tolist()) for one in (0.0, 0.5)] == [0, 0]


def test_the_services_percentile_of_a_probability_is_the_batchs(tiny_settings, scored):
    release, build, table = scored
    quantiles = batch.percentile(tiny_settings, release, build.id, TINY_MOMENT)
    assert quantiles.shape == (1001,)
    for row, percentile in zip(matrix_of(build)[:20], table["percentile"].to_pylist(), strict=False):
        assert batch.percentiles(release.model.score(row[None]), quantiles).tolist() == [percentile]
    assert max(table["percentile"].to_pylist()) == 100.0


def test_a_customer_outside_the_targets_population_gets_no_score_and_moves_no_percentile(
    tiny_settings, tiny_release, tiny_build
):
    """A churn score of somebody long gone would be an invented number: nobody like her was trained on."""
    build = tiny_build(n=300)
    everyone = tiny_release("repurchase_7d", "1")
    card = everyone.model.card
    hash = dict(card.needs)["orders_90d"]
    target = msgspec.structs.replace(card.target, members=models.Members("orders_90d", hash))
    inside = tiny_release("churn_28d", "1", target=target)
    moment = build.moments[-1]
    some = pq.read_table(batch.score(tiny_settings, inside, build, moment))
    all_ = pq.read_table(batch.score(tiny_settings, everyone, build, moment))
    member = build.read(moment, ["orders_90d"])["orders_90d"].to_numpy() > 0
    assert 0 < member.sum() < len(member)
    assert [p is not None for p in some["probability"].to_pylist()] == member.tolist()
    assert [p is not None for p in some["percentile"].to_pylist()] == member.tolist()
    kept = some["probability"].drop_null().to_pylist()
    assert kept == [p for p, m in zip(all_["probability"].to_pylist(), member, strict=True) if m]
    assert max(some["percentile"].drop_null().to_pylist()) == 100
    highest = batch.percentile(tiny_settings, inside, build.id, moment)
    assert highest is not None
    assert highest[-1] == max(kept)
