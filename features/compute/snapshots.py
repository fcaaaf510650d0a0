"""Writing one snapshot: the same rows give the same bytes, however they were computed."""

import os
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 16_384  # rows of a row group
CODEC = "lz4"  # a seventh larger than zstd, a third faster to write and to read, which happens more often


class Snapshot:
    """A snapshot file under another name, until it is whole.

    Rows are regrouped to GROUP, so that neither the buckets that computed them nor customers who were not
    known yet show in the file.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path = path
        self._unfinished = path.with_suffix(".writing")
        self._writer = pq.ParquetWriter(self._unfinished, schema, compression=CODEC)
        self._held = schema.empty_table()

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._held.num_rows:
            self._writer.write_table(self._held)
        self._writer.close()

    def add(self, table: pa.Table) -> None:
        """Append rows: customers ascend from one call to the next."""
        self._held = pa.concat_tables([self._held, table])
        whole = self._held.num_rows - self._held.num_rows % GROUP
        if whole:
            self._writer.write_table(self._held.slice(0, whole), row_group_size=GROUP)
            self._held = self._held.slice(whole)

    def publish(self) -> None:
        """Put the finished file in its place."""
        with self._unfinished.open("rb") as file:
            os.fsync(file.fileno())
        self._unfinished.replace(self.path)
