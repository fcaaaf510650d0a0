"""What everyone was told at a moment, a file a release: scores/<name>/<version>/<moment>.parquet."""

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.errors import NoBuild
from features.files import write_atomically
from features.moments import iso
from features.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.releases import Release

GROUP = 4_096  # customers of a part of the file: what an answer about one of them reads


def write(
    settings: Settings, release: "Release", moment: datetime, table: "pa.Table", out: Path | None = None
) -> Path:
    """Write a table sorted by its first column, customer_id, to `out`, or to its place in the store."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=GROUP)
    out = path(settings, release.name, release.version, moment) if out is None else out
    write_atomically(out, sink.getvalue())
    return out


def row(settings: Settings, release: "Release", moment: datetime, customer_id: str) -> dict[str, Any] | None:
    """One customer's columns as everyone was scored at a moment; None for whoever is not in the file.

    NoBuild if that moment was not scored. Reads one part of the file, whatever its size.
    """
    import pyarrow.parquet as pq

    file = path(settings, release.name, release.version, moment)
    try:
        scores = pq.ParquetFile(file, memory_map=True)
    except FileNotFoundError:
        raise NoBuild(
            f"nobody was scored with {release.name} {release.version} as of {iso(moment)}: run `propensity "
            f"features build`, or promote {release.name} again"
        ) from None
    for number in range(scores.num_row_groups):
        ids = scores.metadata.row_group(number).column(0).statistics
        if ids.min <= customer_id <= ids.max:
            part = scores.read_row_group(number)
            place = part["customer_id"].index(customer_id).as_py()
            return None if place < 0 else dict(part.slice(place, 1).to_pylist()[0])
    return None


def path(settings: Settings, name: str, version: str, moment: datetime) -> Path:
    """Where the scores of that moment are, or would be."""
    return settings.home / "scores" / name / version / f"{moment:%Y%m%dT%H%M%S}Z.parquet"
