"""The door to Feast: what it drops, confuses or keeps too long must be refused or made impossible."""

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds_by_hand import write_build
from logs import OF_LOG
from numpy.typing import NDArray

from features import store
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.errors import FeatureError, FeatureMismatch, NoBuild
from features.moments import DAY, parse_moment
from features.online import OnlineRows, publish
from features.settings import Settings
from features.told import is_told

LATER = parse_moment("2017-12-03")
EARLIER = LATER - 7 * DAY
NAMES = ("orders_30d", "spend_90d", "overdue")
IDS = [f"{n:04d}" for n in range(60)]


def values(seed: int, rows: int = 60) -> NDArray[np.float32]:
    """Random values with nulls, and a customer of whom every feature is null."""
    matrix = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    matrix[3, 1] = matrix[7, 2] = np.nan
    matrix[5] = np.nan
    matrix[6, 0] = -0.0
    return matrix


@pytest.fixture(params=["files", "postgres"])
def either(request: pytest.FixtureRequest, home: Settings) -> Settings:
    """The home with Feast's registry in its file, and in a team's database."""
    if request.param == "files":
        return home
    return replace(home, database=request.getfixturevalue("postgres").new_database())


@pytest.fixture
def build(home: Settings) -> Build:
    """Two snapshots; the last ten customers were not known at the earlier moment."""
    return write_build(home, NAMES, {EARLIER: (IDS[:50], values(1, 50)), LATER: (IDS, values(2))})


def test_feast_is_loaded_without_its_code_being_rewritten_and_nobody_elses_is_spared() -> None:
    """Else: every build and training waits seconds for it; or a client's own checks are gone in silence."""
    code = """
import typeguard
before = typeguard.typechecked
import features.store
from feast import FeatureView
assert typeguard.typechecked is before
assert "typeguard" not in FeatureView.__init__.__code__.co_names, "it was rewritten"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_feast_is_told_once_and_again_after_anybody_elses_word(home: Settings, build: Build) -> None:
    """Else every build with nothing new waits for Feast; or its clients read an older build for ever."""
    assert not is_told(home, build)
    store.apply(home, build)
    assert is_told(home, build)
    other = write_build(home, NAMES[:2], {LATER: (IDS, values(2)[:, :2])})
    store.apply(home, other)
    assert (is_told(home, build), is_told(home, other)) == (False, True)
    registry = home.home / "feast" / "registry.db"
    registry.write_bytes(registry.read_bytes() + b"\0")  # another client's word
    assert not is_told(home, other)
    assert not is_told(replace(home, database="postgresql://localhost/x"), build), "others write there"
    heavy = (
        "import propensity.steps, features.compute.engine, sys; print({'feast', 'numba'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "set()"


def spine_of(pairs: list[tuple[str, datetime]]) -> pa.Table:
    return pa.table(
        {
            "customer_id": pa.array([id for id, _ in pairs], pa.string()),
            "label": [n % 2 for n in range(len(pairs))],
            "moment": pa.array([moment for _, moment in pairs], store.MOMENT),
        }
    )


def matrix_of(table: pa.Table, names: tuple[str, ...] = NAMES) -> NDArray[np.float32]:
    return np.column_stack([table[name].to_numpy() for name in names])


def bits(matrix: NDArray[np.float32]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(matrix).view(np.uint32)


def test_retrieval_keeps_the_spines_rows_order_and_columns(either: Settings, build: Build) -> None:
    """Else: labels stand beside other customers' features, since Feast returns rows as it likes."""
    rng = np.random.default_rng(3)
    pairs = [(IDS[n], moment) for n in rng.integers(0, 50, 200) for moment in (LATER, EARLIER)]
    pairs = [pairs[n] for n in rng.permutation(400)]
    spine = spine_of(pairs)
    found = store.historical(either, build, spine, NAMES)
    assert found.column_names == ["customer_id", "label", "moment", *NAMES]
    assert found.select(spine.column_names).equals(spine)
    snapshots = {EARLIER: values(1, 50), LATER: values(2)}
    expected = np.array([snapshots[moment][IDS.index(id)] for id, moment in pairs])
    np.testing.assert_array_equal(bits(matrix_of(found)), bits(expected))
    assert [found.schema.field(name).type for name in NAMES] == [pa.float32()] * 3
    assert all(found[name].null_count == 0 for name in NAMES)  # NaN stays NaN, as in the snapshot


def test_a_long_spine_is_retrieved_in_groups_as_at_once(
    home: Settings, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: ten million rows need more memory than there is, or rows are lost where groups meet."""
    rng = np.random.default_rng(4)
    spine = spine_of([(IDS[n], moment) for moment in (EARLIER, LATER) for n in rng.integers(0, 50, 50)])
    whole = store.historical(home, build, spine, NAMES)
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 30)
    groups = list(store.retrieved(home, build, spine, NAMES))
    assert [len(group) for group in groups] == [30, 30, 30, 10]
    assert pa.concat_tables(groups).select(spine.column_names).equals(spine)
    np.testing.assert_array_equal(bits(matrix_of(pa.concat_tables(groups))), bits(matrix_of(whole)))
    strangers = pa.concat_tables([spine.slice(0, 40), spine_of([("x", LATER)])])
    with pytest.raises(FeatureError, match="the first of them row 40"):
        list(store.retrieved(home, build, strangers, NAMES))


def test_an_empty_spine_gives_an_empty_table_of_the_same_columns(home: Settings, build: Build) -> None:
    found = store.historical(home, build, spine_of([]), NAMES)
    assert found.num_rows == 0
    assert found.column_names == ["customer_id", "label", "moment", *NAMES]


def test_ids_keep_their_leading_zeros_through_feast(home: Settings) -> None:
    """Else: customer 0123 is trained, and read, as 123."""
    ids = ["00123", "0123", "123"]
    build = write_build(home, NAMES, {LATER: (ids, np.arange(9, dtype=np.float32).reshape(3, 3))})
    found = store.historical(home, build, spine_of([("123", LATER), ("00123", LATER)]), NAMES)
    assert found[NAMES[0]].to_pylist() == [6.0, 0.0]


def test_a_customer_of_whom_nothing_was_known_is_an_error_and_not_a_row_of_nulls(
    home: Settings, build: Build
) -> None:
    """Else: an unknown customer is trained on as one who did nothing."""
    with pytest.raises(FeatureError, match="2 of 3 rows .* the first of them row 1"):
        store.historical(home, build, spine_of([(IDS[0], EARLIER), (IDS[55], EARLIER), ("x", LATER)]), NAMES)


def test_an_older_snapshot_never_stands_in_for_one_that_was_not_built(home: Settings, build: Build) -> None:
    """Else: training reads last week's features for this week's labels."""
    with pytest.raises(NoBuild, match="2017-11-27T00:00:00Z"):
        store.historical(home, build, spine_of([(IDS[0], EARLIER), (IDS[0], EARLIER + DAY)]), NAMES)


def test_what_became_known_after_the_moment_does_not_enter_training(home: Settings, build: Build) -> None:
    """Else: a late correction of a snapshot leaks into what was known before it."""
    table = pq.read_table(build.path(EARLIER))
    late = pa.array([EARLIER + DAY if n == 4 else EARLIER for n in range(50)], store.MOMENT)
    pq.write_table(table.set_column(2, "known_at", late), build.path(EARLIER))
    assert store.historical(home, build, spine_of([(IDS[3], EARLIER)]), NAMES).num_rows == 1
    with pytest.raises(FeatureError, match="1 of 1 rows"):
        store.historical(home, build, spine_of([(IDS[4], EARLIER)]), NAMES)


@pytest.mark.parametrize("name", ["loyalty_y", "rn", "event_timestamp", "spine_row"])
def test_a_feature_whose_name_feast_takes_for_its_own_is_refused(home: Settings, name: str) -> None:
    """Else: Feast drops the column, or fails in training with an error about something else."""
    build = write_build(home, ("orders_30d", name), {LATER: (IDS, np.zeros((60, 2), np.float32))})
    with pytest.raises(FeatureError, match=f"{name}.*another name"):
        store.apply(home, build)


def test_nanoseconds_and_doubles_are_refused(home: Settings, build: Build) -> None:
    """Else: Spark fails on the same files, or training reads other numbers than serving."""
    table = pq.read_table(build.path(LATER))
    pq.write_table(
        table.set_column(1, "moment", table["moment"].cast(pa.timestamp("ns", "UTC"))), build.path(LATER)
    )
    with pytest.raises(FeatureError, match="moment absent or of another type"):
        store.apply(home, build)
    pq.write_table(table.set_column(3, NAMES[0], table[NAMES[0]].cast(pa.float64())), build.path(LATER))
    with pytest.raises(FeatureError, match="orders_30d absent or of another type"):
        store.apply(home, build)
    spine = spine_of([(IDS[0], LATER)])
    nanoseconds = spine.set_column(2, "moment", spine["moment"].cast(pa.timestamp("ns", "UTC")))
    with pytest.raises(FeatureError, match=r"timestamp\[ns"):
        store.historical(home, build, nanoseconds, NAMES)


def test_a_feature_that_the_build_lacks_is_named(home: Settings, build: Build) -> None:
    with pytest.raises(FeatureMismatch, match="it lacks visits_7d"):
        store.historical(home, build, spine_of([(IDS[0], LATER)]), ["orders_30d", "visits_7d"])
    with pytest.raises(FeatureMismatch, match="each once"):
        store.historical(home, build, spine_of([(IDS[0], LATER)]), ["orders_30d", "orders_30d"])
    spine = spine_of([(IDS[0], LATER)]).rename_columns(["customer_id", "overdue", "moment"])
    with pytest.raises(FeatureError, match="the spine has overdue already"):
        store.historical(home, build, spine, NAMES)


def test_threads_may_retrieve_at_once(home: Settings, build: Build) -> None:
    """Else: two trainings at once crash: Feast's DuckDB store is not thread-safe."""
    start = threading.Barrier(4)

    def retrieve(n: int) -> NDArray[np.float32]:
        start.wait()
        return matrix_of(
            store.historical(home, build, spine_of([(IDS[n + k], LATER) for k in range(20)]), NAMES)
        )

    with ThreadPoolExecutor(4) as pool:
        for n, found in enumerate(pool.map(retrieve, range(4))):
            np.testing.assert_array_equal(found, values(2)[n : n + 20])


def test_the_registry_holds_words_units_and_hashes(either: Settings) -> None:
    """Else: nobody can look up what a feature means, or which definition a release was trained on."""
    declared = catalogue()
    hashes = {name: feature_hash(declared[name], declared, OF_LOG) for name in NAMES}
    build = write_build(either, NAMES, {LATER: (IDS, values(1))}, hashes=hashes)
    store.apply(either, build)
    store.apply(either, build)
    with store.opened(either) as client:  # as another team's client sees it
        assert client.project == "propensity"
        assert [entity.name for entity in client.list_entities()] == ["customer"]
        (view,) = client.list_feature_views()
        assert view.tags["build"] == build.id
    by_name = {field.name: field for field in view.features}
    assert {name: field.tags["hash"] for name, field in by_name.items()} == hashes
    field = by_name["spend_90d"]
    assert field.description == "Money spent in the last 90 days · 近90天消费金额"
    assert field.tags["unit"] == "money"


def test_a_service_keeps_what_its_release_reads_in_order_whatever_is_built_later(
    either: Settings, build: Build
) -> None:
    """Else: an old release's lineage shows the new definitions."""
    order = ("overdue", "orders_30d")
    assert store.add_service(either, build, "churn_28d", "v1", order) == "churn_28d_v1"
    newer = write_build(either, ("orders_30d", "visits_7d"), {LATER: (IDS, np.zeros((60, 2), np.float32))})
    store.add_service(either, newer, "churn_28d", "v2", ["visits_7d"])
    with store.opened(either) as client:
        assert sorted(service.name for service in client.list_feature_services()) == [
            "churn_28d_v1",
            "churn_28d_v2",
        ]
        service = client.get_feature_service("churn_28d_v1")
    (projection,) = service.feature_view_projections
    assert [(f.name, f.tags["hash"]) for f in projection.features] == [(n, build.features[n]) for n in order]
    assert service.tags == {"release": "churn_28d", "version": "v1", "build": build.id}
    with pytest.raises(FeatureMismatch, match="churn_28d v3 .* lacks overdue"):
        store.add_service(either, newer, "churn_28d", "v3", order)
    # And an older build is still retrieved from its own snapshots.
    found = store.historical(either, build, spine_of([(IDS[2], LATER)]), NAMES)
    np.testing.assert_array_equal(matrix_of(found)[0], values(2)[2])


def test_training_gets_what_is_served_of_the_real_log(journey: Settings) -> None:
    """Else: the declared features do not survive Feast, and models learn from other values."""
    build = Build.open(journey)
    moment = build.moments[-1]
    publish(journey, build, moment)
    ids = build.read(moment, ["customer_id"])["customer_id"].to_pylist()[::25]
    _, read = OnlineRows.open(journey).latest(ids)
    found = store.historical(journey, build, spine_of([(id, moment) for id in ids]), list(build.features))
    np.testing.assert_array_equal(matrix_of(found, tuple(build.features)), read.matrix)


def test_nothing_is_printed_or_logged(
    either: Settings, build: Build, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Else: Feast's progress in colours lands in what a program reads from the command line."""
    with caplog.at_level(logging.WARNING):
        store.historical(either, build, spine_of([(IDS[0], LATER)]), NAMES)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_the_machines_own_zone_changes_nothing(home: Settings, build: Build) -> None:
    """Else: on a machine in New York every snapshot is five hours off, and nothing is found."""
    program = """
import sys
from pathlib import Path
import pyarrow as pa
from features import store
from features.compute.builds import Build
from features.settings import Settings
settings = Settings(home=Path(sys.argv[1]))
build = Build.open(settings)
spine = pa.table({"customer_id": ["0002"], "moment": pa.array([build.moments[-1]], store.MOMENT)})
found = store.historical(settings, build, spine, ["overdue"])
assert found.schema.field("moment").type == store.MOMENT, found.schema
print(found["overdue"][0].as_py())
"""
    root = Path(__file__).parents[2]
    answer = subprocess.run(
        [sys.executable, "-c", program, str(home.home)],
        env={**os.environ, "TZ": "America/New_York", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(answer.stdout) == values(2)[2, 2]
