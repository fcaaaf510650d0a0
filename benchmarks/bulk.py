"""Everyone's scores, parquet to parquet, and ten thousand customers over HTTP, beside what one writes first.

Made-up rows of CUSTOMERS over FEATURES columns and a LightGBM model of the size that `propensity train` fits:
what is measured is speed, and that no bit differs.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import serving, serving_peers
from benchmarks.measure import figure
from features import online
from features.compute.builds import Build
from features.compute.snapshots import Snapshot
from features.moments import DAY, parse_moment
from features.settings import Settings
from serving import batch, models, releases
from serving.arrow import STREAM, stream_of

CUSTOMERS, FEATURES = 200_000, 100
TREES, LEAVES = 300, 31
TARGET, MOMENT = "churn_28d", parse_moment(serving.AS_OF)
CHUNK = 50_000  # rows that the peer reads and scores at a time
NIGHT = 10_000  # customers of a request
RUNS = 7


def figures(customers: int = CUSTOMERS) -> Iterator[dict[str, Any]]:
    """The batch, then Arrow over HTTP."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(home=folder / "home", as_of=MOMENT)
        build, matrix = _build(settings, customers)
        release, text = _release(settings, folder, build, matrix)
        booster = lightgbm.Booster(model_str=text)
        ours, theirs = folder / "ours.parquet", folder / "theirs.parquet"

        def peer() -> None:
            _peer(build, booster, release, theirs)

        def mine() -> None:
            batch.score(settings, release, build, MOMENT, ours)

        yield figure(
            f"bulk: {customers:,} customers, parquet to parquet", mine,
            f"LightGBM's Booster.predict in chunks of {CHUNK:,}", peer, 8.0, RUNS,
        )  # fmt: skip
        same = [pq.read_table(path)["probability"].to_numpy().tobytes() for path in (ours, theirs)]
        assert same[0] == same[1], "not the same to the last bit"
        batch.score(settings, release, build, MOMENT)
        online.publish(settings, build, MOMENT)
        (folder / f"{TARGET}.txt").write_text(text, "utf-8")
        (folder / "features.json").write_text(msgspec.json.encode({TARGET: list(build.features)}).decode())
        yield from _over_http(settings, folder, matrix)


def _over_http(settings: Settings, folder: Path, matrix: np.ndarray) -> Iterator[dict[str, Any]]:
    """CPU and latency of requests of NIGHT customers; the peer is handed the features, ours reads them."""
    ids = [_id(place) for place in range(NIGHT)]
    body = stream_of(pa.table({"customer_id": pa.array(ids)}))
    rows = [serving_peers.handed(matrix, (), place, NIGHT, "Rows") for place in range(4)]
    with serving._ours(settings) as server, serving._bento("Rows", settings, folder) as peer:
        headers = server.headers | {"Content-Type": STREAM.decode()}
        arrow = replace(server, path="/v1/scores.arrow", headers=headers)
        how = "a plain BentoML endpoint that is handed the features as JSON"
        what = f"{NIGHT:,} of the store as Arrow, one target"
        yield from serving._beside(what, arrow, [body] * 10, peer, rows, how, 4.0)
        lots = [serving._scores(ids[k : k + 1000], (TARGET,), 0) for k in range(0, NIGHT, 1000)]
        yield from serving._beside("1,000 of the store as JSON, one target (ten are the above)", server,
                                   lots, peer, rows, f"{how}, of {NIGHT:,}", None)  # fmt: skip


def _peer(build: Build, booster: lightgbm.Booster, release: releases.Release, out: Path) -> None:
    """Read, predict and write chunk by chunk, as LightGBM's documentation does, on all cores."""
    names = list(build.features)
    with pq.ParquetFile(build.path(MOMENT)) as file:
        schema = pa.schema({"customer_id": pa.string(), "probability": pa.float64()})
        with pq.ParquetWriter(out, schema) as writer:
            for part in file.iter_batches(CHUNK, columns=["customer_id", *names]):
                frame = part.to_pandas()
                raw = booster.predict(frame[names], raw_score=True)
                chance = release.classifier._calibration.probability(raw)
                columns = {"customer_id": frame["customer_id"], "probability": chance}
                writer.write_table(pa.table(columns, schema))


def _id(place: int) -> str:
    return f"{place:08}"


def _build(settings: Settings, customers: int) -> tuple[Build, np.ndarray]:
    """A build of made-up rows, a tenth of them null, and the rows: float32 [customers, FEATURES]."""
    random = np.random.default_rng(1)
    matrix = random.gamma(1.0, 10.0, (customers, FEATURES)).astype(np.float32)
    matrix[:, FEATURES // 3 :] = np.floor(matrix[:, FEATURES // 3 :])  # counts and days, as most features are
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    features = {f"made_up_{place}": f"{place:016x}" for place in range(FEATURES)}
    id = Build.id_of("bulk", features)
    build = Build(
        id, settings.home / "snapshots" / id, "bulk", MOMENT - 365 * DAY, MOMENT + DAY, features, (MOMENT,)
    )
    build.folder.mkdir(parents=True)
    when = pa.repeat(pa.scalar(MOMENT, pa.timestamp("us", "UTC")), customers)
    columns = {"customer_id": pa.array([_id(place) for place in range(customers)]), "moment": when}
    columns |= {"known_at": when}
    columns |= {name: pa.array(matrix[:, place]) for place, name in enumerate(features)}
    table = pa.table(columns)
    with Snapshot(build.path(MOMENT), table.schema) as snapshot:
        snapshot.add(table)
    snapshot.publish()
    build.write_manifest()
    return build, matrix


def _release(
    settings: Settings, folder: Path, build: Build, matrix: np.ndarray
) -> tuple[releases.Release, str]:
    """A released model of these features, and its trees as LightGBM writes them."""
    random, rows = np.random.default_rng(2), matrix[:20_000]
    drive = np.nan_to_num(rows[:, :20]) @ random.normal(size=20) / 40
    label = (drive + random.normal(size=len(rows)) > np.median(drive)).astype(float)
    data = lightgbm.Dataset(rows, label, feature_name=list(build.features))
    parameters = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "seed": 1,
        "deterministic": True,
        "verbosity": -1,
    }
    text = lightgbm.train(parameters, data, TREES).model_to_string()
    words = models.Text("made up", "虚构")
    card = models.ModelCard(
        name=TARGET, version="1", kind="lightgbm", currency="USD",
        target=models.TargetCard(
            name=TARGET, horizon_days=28, population="everyone", label="no_order", words=words,
            higher_is="bad", score=words,
        ),
        features=tuple(
            models.FeatureCard(name=name, hash=hash, unit="", en="made up", zh="虚构")
            for name, hash in build.features.items()
        ),
        trained_on=models.TrainedOn(
            build=build.id, log="bulk", start=MOMENT - 56 * DAY, end=MOMENT - 28 * DAY, rows=len(rows),
            base_rate=0.5, seed=1,
        ),
        tested_on=models.TestedOn(moment=MOMENT, rows=len(rows), base_rate=0.5),
        metrics={"auc": {"value": 0.8, "low": 0.8, "high": 0.8}},
        baselines={},
    )  # fmt: skip
    points = np.nanquantile(rows, np.linspace(0.01, 0.99, 11), axis=0)
    examples = models.synthetic_examples(points, np.full(FEATURES, 0.1), 1)
    models.save(folder / "model", card, [models.Trees(text)], models.LogisticCalibration(1.0, 0.0), examples)
    return releases.publish(settings, folder / "model", TARGET, "1"), text
