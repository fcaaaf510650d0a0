"""Which segments everyone is in at a moment, as files.

scores/<name>/<version>/<moment>.parquet   customer_id, moment, model_version; r, f, m (1 to 5), tier,
                                           quadrant, stage, churn_reason and the rule of each; since;
                                           null for none; sorted by customer_id

`*_rule` names the rule that decided. `since` is the first of the build's snapshots from which on the customer
was in the stage without a break; null if that is the build's first, as nobody knows for how long before.
"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.compute.builds import Build
from features.settings import Settings
from serving import score_store, value, value_scores
from serving.segment_rules import Table
from serving.segmentation import RFM, Places, Segmentation, Segments

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.releases import Release


def score(
    settings: Settings, release: "Release", build: Build, moment: datetime, out: Path | None = None
) -> Path:
    """Segment every customer of a build's snapshot; written to `out`, or to the score store.

    The potential is what the value model in force says of that moment; without one, nobody has a quadrant.
    Running again writes the same bytes. NoBuild if that moment was not built, FeatureMismatch if the build
    is not what the model needs.
    """
    import pyarrow as pa

    model = release.model
    assert isinstance(model, Segmentation)
    build.require(model.card.needs, by=f"release {release.name} {release.version}")
    valued = _valued(settings, build, moment) if model.file.potential is not None else None
    ids, segments = at(model, build, moment, valued)
    n, tables = len(ids), model.file.tables
    columns: dict[str, Any] = {
        "customer_id": ids,
        "moment": pa.array([moment] * n, pa.timestamp("us", "UTC")),
        "model_version": pa.array([release.version] * n, pa.string()),
    }
    for name in RFM:
        figure = getattr(segments, name)
        columns[name] = pa.array(figure, mask=figure == 0)
    for name, table in tables.items():
        places = getattr(segments, name)
        columns[name] = _named([entry.gives for entry in table.entries], places)
        columns[f"{name}_rule"] = _named([entry.name for entry in table.entries], places)
    columns["since"] = _since(model, build, moment, ids, segments.stage)
    return score_store.write(settings, release, moment, pa.table(columns), out)


def at(
    model: Segmentation, build: Build, moment: datetime, valued: "pa.Table | None" = None
) -> tuple["pa.ChunkedArray", Segments]:
    """(ids, segments) of a snapshot. valued: customer_id and value, the expected profit of the next year."""
    import pyarrow.compute as pc

    names = model.features
    snapshot = build.read(moment, ["customer_id", *names])
    ids, potential = snapshot["customer_id"], None
    if valued is not None:
        places = pc.index_in(ids, valued["customer_id"].combine_chunks())
        potential = np.asarray(valued["value"].take(places).to_numpy(zero_copy_only=False), np.float64)
    return ids, model.segment({name: snapshot[name].to_numpy() for name in names}, potential)


def labels(table: Table, places: Places) -> NDArray[np.int64]:
    """The place of each customer's label among the table's, [n]; -1 for none."""
    names = [label.name for label in table.labels]
    given = np.array([*(names.index(entry.gives) for entry in table.entries), -1])
    return given[places]


def _since(
    model: Segmentation, build: Build, moment: datetime, ids: "pa.ChunkedArray", places: Places
) -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    table = model.file.tables["stage"]
    now, n = labels(table, places), len(ids)
    since, going = np.full(n, moment.timestamp() * 1e6, np.int64), np.ones(n, bool)
    for earlier in sorted((m for m in build.moments if m < moment), reverse=True):
        if not going.any():
            break
        known, segments = at(model, build, earlier)
        place = np.asarray(pc.fill_null(pc.index_in(ids, known.combine_chunks()), -1))
        then = np.append(labels(table, segments.stage), -1)[place]  # -1: not known yet
        going &= then == now
        since[going] = round(earlier.timestamp() * 1e6)
    return pa.array(since, mask=going).cast(pa.timestamp("us", "UTC"))


def _valued(settings: Settings, build: Build, moment: datetime) -> "pa.Table | None":
    """Everyone's value at the moment, by the value model in force; computed now if that was not done yet."""
    import pyarrow.parquet as pq

    from serving import releases  # which knows this kind, as any other

    if value.KIND not in releases.names(settings):
        return None
    file = score_store.path(settings, value.KIND, releases.current(settings, value.KIND), moment)
    if not file.exists():
        value_scores.score(settings, releases.load(settings, value.KIND), build, moment)
    return pq.ParquetFile(file).read(["customer_id", "value"])


def _named(names: Sequence[str], places: Places) -> "pa.Array":
    import pyarrow as pa

    return pa.array(np.array([*names, None], object)[places], pa.string())
