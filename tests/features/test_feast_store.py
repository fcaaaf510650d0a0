"""The online store that other teams' Feast clients read: what our service serves, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builds_by_hand import MOMENT, NAMES, MakeBuild, constant, write_build
from numpy.typing import NDArray

from features import store
from features.compute.builds import Build
from features.errors import FeatureError, FeatureMismatch, NoBuild, UsageError
from features.ingestion.people import MERGES
from features.moments import DAY, iso, to_us
from features.online import Fresh, OnlineRows, publish, write_overlay
from features.settings import Settings
from features.unchecked import unchecked

with unchecked():
    import feast
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

IDS = [f"{n:04d}" for n in range(40)]
HOUR = DAY / 24


def values() -> NDArray[np.float32]:
    """Random values with nulls, and a customer of whom every feature is null."""
    matrix = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    matrix[3, 1] = matrix[7, 2] = np.nan
    matrix[5] = np.nan
    matrix[6] = (-0.0, np.inf, 1e-45)
    return matrix


@pytest.fixture
def home(stored: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The environment of a process that reads that home, in either store."""
    monkeypatch.setenv("PROPENSITY_ONLINE", stored.online)
    monkeypatch.setenv("PROPENSITY_ONLINE_TIMEOUT_MS", "30000")
    monkeypatch.setenv("PROPENSITY_AS_OF", iso(MOMENT + HOUR))
    return stored


@pytest.fixture
def build(home: Settings, make_build: MakeBuild) -> Build:
    """Registered and published."""
    build = make_build(NAMES, {MOMENT: (IDS, values())})
    store.apply(home, build)
    publish(home, build, MOMENT)
    return build


def client(home: Settings, folder: Path) -> feast.FeatureStore:
    """Another team's: a folder with a feature_store.yaml."""
    folder.mkdir(exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"""
project: {store.PROJECT}
provider: local
registry:
  path: {home.home / "feast" / "registry.db"}
  serve_features_while_materializing: true
online_store:
  type: features.online.feast_store.PackedOnlineStore
  home: {home.home}
entity_key_serialization_version: 3
"""
    )
    return feast.FeatureStore(repo_path=str(folder))


def asked(client: feast.FeatureStore, ids: list[str], names: tuple[str, ...] = NAMES) -> Any:
    """Feast's own answer."""
    return client.get_online_features(
        features=[f"{store.VIEW}:{name}" for name in names], entity_rows=[{"customer_id": id} for id in ids]
    )


def test_a_feast_client_reads_the_packed_rows_bit_for_bit(
    home: Settings, build: Build, tmp_path: Path
) -> None:
    """Else: other teams' clients and our service answer differently for one customer."""
    write_overlay(home, OnlineRows.open(home).current(), {"fresh": Fresh(np.float32([1, 2, 3]), MOMENT)})
    ids = [*IDS[::-1], "unknown", IDS[5], "0", "", "fresh", "5"]
    _, read = OnlineRows.open(home).latest(ids)
    answer = asked(client(home, tmp_path / "client"), ids, ("overdue", "orders_30d", "spend_90d"))
    told = answer.to_dict()
    assert told["customer_id"] == ids
    for place, name in enumerate(NAMES):
        ours = [None if np.isnan(v) else v.tobytes() for v in read.matrix[:, place]]
        theirs = [None if v is None else np.float32(v).tobytes() for v in told[name]]
        assert theirs == ours
    statuses = answer.proto.results[list(told).index("overdue")].statuses
    found = [status == FieldStatus.PRESENT for status in statuses]
    assert found == [id in IDS or id == "fresh" for id in ids]  # all null is not unknown


PROGRAM = """
import sys
from feast import FeatureStore
answer = FeatureStore(repo_path=sys.argv[1]).get_online_features(
    features=["customer:overdue", "customer:orders_30d"], entity_rows=[{"customer_id": "0002"}]
).to_dict()
print(answer["overdue"][0], answer["orders_30d"][0])
"""


@pytest.mark.parametrize("stored", ["redis"], indirect=True)  # one of them: Feast takes seconds to import
def test_a_process_that_knows_only_its_yaml_reads_them(home: Settings, build: Build, tmp_path: Path) -> None:
    client(home, tmp_path / "client")
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "client")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [float(word) for word in said.stdout.split()[-2:]] == [
        float(values()[2, 2]),
        float(values()[2, 0]),
    ]


def test_an_expired_row_is_told_from_an_unknown_customer(
    home: Settings, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: another team acts on a row of last month, or takes a customer for a stranger."""
    monkeypatch.setenv("PROPENSITY_AS_OF", iso(MOMENT + home.expire_after + HOUR))
    answer = asked(client(home, tmp_path / "client"), [IDS[0], "unknown"]).proto
    for result in answer.results[1:]:
        assert list(result.statuses) == [FieldStatus.NOT_FOUND] * 2
        assert [at.ToMicroseconds() for at in result.event_timestamps] == [to_us(MOMENT), 0]


def test_a_feature_that_was_redefined_is_refused_until_it_is_published(
    home: Settings, build: Build, tmp_path: Path
) -> None:
    """Else: until someone publishes, a changed feature answers with its old logic."""
    hashes = {**build.features, "overdue": "another"}
    newer = write_build(home, NAMES, {MOMENT: (IDS, values())}, hashes=hashes)
    store.apply(home, newer)
    reader = client(home, tmp_path / "client")
    with pytest.raises(FeatureMismatch, match="without overdue as"):
        asked(reader, IDS[:1])
    assert asked(reader, IDS[:1], ("orders_30d",)).to_dict()["orders_30d"] == [float(values()[0, 0])]
    publish(home, newer, MOMENT)
    assert asked(reader, IDS[:1]).to_dict()["overdue"] == [float(values()[0, 2])]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Feast's own, while it materialises
def test_a_client_that_materialises_is_refused_and_readers_go_on(
    home: Settings, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: another team's nightly `feast materialize` stops all reads, or writes a mixture."""
    reader = client(home, tmp_path / "client")
    with store.opened(home) as inside, pytest.raises(FeatureError, match="propensity features build"):
        inside.materialize(MOMENT - HOUR, MOMENT, feature_views=[store.VIEW])
    assert asked(reader, IDS[:1]).to_dict()["overdue"] == [float(values()[0, 2])]
    assert asked(client(home, tmp_path / "later"), IDS[:1]).to_dict()["overdue"] == [float(values()[0, 2])]


def test_what_this_store_cannot_answer_is_said(home: Settings, make_build: MakeBuild, tmp_path: Path) -> None:
    """Else: a client that asks too early, or by another key, takes nulls for an answer."""
    build = make_build(NAMES, {MOMENT: constant(1)})
    store.apply(home, build)
    reader = client(home, tmp_path / "client")
    with pytest.raises(NoBuild, match="propensity features build"):
        asked(reader, IDS[:1])
    publish(home, build, MOMENT)
    shops = feast.Entity(name="shop", join_keys=["shop_id"], value_type=feast.ValueType.STRING)
    source = feast.FileSource(name="other", path=str(build.folder), timestamp_field="moment")
    fields = [
        feast.Field(name="shop_id", dtype=store.String),
        feast.Field(name="turnover", dtype=store.Float32),
    ]
    reader.apply([shops, feast.FeatureView(name="shops", entities=[shops], source=source, schema=fields)])
    with pytest.raises(UsageError, match="shop_id"):
        reader.get_online_features(features=["shops:turnover"], entity_rows=[{"shop_id": "1"}])


def test_an_id_that_became_another_customers_reads_that_customers_row(
    home: Settings, make_build: MakeBuild, tmp_path: Path
) -> None:
    """Else another team's journey takes a customer with two cards for a stranger under one of them."""
    merges = [
        {"customer_id": "old", "canonical_id": IDS[4], "since": MOMENT - DAY},
        {"customer_id": "later", "canonical_id": IDS[8], "since": MOMENT + DAY},
    ]
    (home.home / "log" / "hand").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(merges, MERGES), home.home / "log" / "hand" / "merges.parquet")
    build = make_build(NAMES, {MOMENT: (IDS, values())})
    store.apply(home, build)
    publish(home, build, MOMENT)
    theirs = client(home, tmp_path / "client")
    answer = asked(theirs, ["old", IDS[4], "later"])
    told = answer.to_dict()
    assert told["customer_id"] == ["old", IDS[4], "later"], "under the name that was asked for"
    for place, name in enumerate(NAMES):
        assert told[name] == [float(values()[4, place])] * 2 + [None]
    statuses = answer.proto.results[list(told).index("overdue")].statuses
    assert [status == FieldStatus.PRESENT for status in statuses] == [True, True, False]
    write_overlay(home, OnlineRows.open(home).current(), {IDS[4]: Fresh(np.float32([1, 2, 3]), MOMENT)})
    assert asked(theirs, ["old"]).to_dict()["spend_90d"] == [2.0], "and what came since is hers too"
