"""Reads what the features need, of one range of customers after another, as far as files allow."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from itertools import accumulate
from pathlib import Path
from threading import Lock

import pyarrow as pa
import pyarrow.parquet as pq

from features import duck
from features.compute import plan
from features.definitions import Feature
from features.log import Log
from features.tables import TABLES


class Reader:
    """The events of each of these ranges of customers, whose ids ascend; safe to use from several threads.

    Ingestion writes every table by customer, so the rows of a range of customers are few groups of the file.
    A group of several ranges is read once, and kept until the last of them has it: all of a file that is not
    by customer.
    """

    def __init__(self, log: Log, features: Mapping[str, Feature], ranges: Sequence[pa.Array]) -> None:
        bounds = [(ids[0].as_py(), ids[-1].as_py()) for ids in ranges]
        self.files = {
            table: [
                _File(table, path, plan.columns(table, plan.of_table(features, table)), bounds)
                for path in log.paths(table)
            ]
            for table in plan.tables(features)
        }

    def read(self, number: int) -> dict[str, pa.Table]:
        """The events of range `number`, ascending by customer_id, and perhaps of others; the calendar.

        Once for each range: what no range is to have any more is forgotten.
        """
        return {
            table: pa.concat_tables([file.read(number) for file in files])
            for table, files in self.files.items()
        }


class _File:
    """One file of a table: its groups, the ranges that want them, and what is read but not had by all."""

    def __init__(
        self, table: str, path: Path, columns: Sequence[str], bounds: Sequence[tuple[str, str]]
    ) -> None:
        self.path, self.metadata = path, pq.read_metadata(path)
        self.types = {column: TABLES[table].columns[column].type for column in columns}
        known = _customers(self.metadata)
        self.groups = [
            [
                group
                for group, (low, high) in enumerate(known)
                if low <= last and (high is None or high >= first)
            ]
            for first, last in bounds
        ]
        self.wanted = [sum(group in groups for groups in self.groups) for group in range(len(known))]
        self.found: dict[int, Future[pa.Table]] = {}
        self.lock = Lock()

    def read(self, number: int) -> pa.Table:
        """Every group of that range. Who comes first reads a group, others wait for it."""
        groups = self.groups[number]
        with self.lock:
            mine = [group for group in groups if group not in self.found]
            found = {group: self.found.setdefault(group, Future()) for group in groups}
        if not groups:
            return self._rows([])
        try:
            self._share(mine)
        except BaseException as error:
            for group in mine:
                found[group].set_exception(error)
            raise
        parts = [found[group].result() for group in groups]
        with self.lock:
            for group in groups:
                self.wanted[group] -= 1
                if not self.wanted[group]:
                    del self.found[group]
        return pa.concat_tables(parts)

    def _share(self, groups: list[int]) -> None:
        if not groups:
            return
        rows, start = self._rows(groups), 0
        for group in groups:
            size = self.metadata.row_group(group).num_rows
            self.found[group].set_result(rows.slice(start, size))
            start += size

    def _rows(self, groups: list[int]) -> pa.Table:
        """Those groups. A column that is null throughout, or that a log older than it lacks, is not read."""
        schema = self.metadata.schema.to_arrow_schema()
        there = {c: type for c, type in self.types.items() if not self._null(c, groups)}
        text = [column for column, type in there.items() if type == "text"]
        money = [column for column, type in there.items() if type == "money"]
        others = [column for column in there if column not in money]
        with pq.ParquetFile(self.path, metadata=self.metadata, read_dictionary=text) as file:
            rows = file.read_row_groups(groups, columns=others, use_threads=False)
        if money:
            read = self._money(groups, money)
            for column in money:
                rows = rows.append_column(column, read[column])
        for column in self.types.keys() - there.keys():
            rows = rows.append_column(column, pa.nulls(len(rows), self._type(column, schema)))
        return rows.select([*self.types])

    def _null(self, column: str, groups: list[int]) -> bool:
        """Whether the statistics of every one of these groups say that nothing is in the column."""
        if column not in self.metadata.schema.names:
            return True
        place = self.metadata.schema.names.index(column)
        parts = [self.metadata.row_group(group).column(place) for group in groups]
        known = [(part.statistics, part.num_values) for part in parts]
        return bool(known) and all(s is not None and s.null_count == size for s, size in known)

    def _type(self, column: str, schema: pa.Schema) -> pa.DataType:
        """As reading it would give: a log older than CORRECTED has money of the same kind in `amount`."""
        type = self.types[column]
        if type == "text":
            return pa.dictionary(pa.int32(), pa.string())
        of = schema.field(column if column in schema.names else "amount").type
        return pa.decimal64(of.precision, of.scale) if type == "money" else of

    def _money(self, groups: list[int], columns: list[str]) -> pa.Table:
        """Columns of money of those groups. DuckDB reads decimals in a third of pyarrow's time."""
        sizes = [self.metadata.row_group(group).num_rows for group in range(self.metadata.num_row_groups)]
        starts = list(accumulate(sizes, initial=0))
        within = [f"file_row_number BETWEEN {starts[g]} AND {starts[g + 1] - 1}" for g in groups]
        names = ", ".join(f'"{column}"' for column in columns)
        connection = duck.shared()
        found = connection.sql(
            f"""SELECT {names}
                FROM read_parquet('{self.path}', hive_partitioning = false, file_row_number = true)
                WHERE {" OR ".join(within) or "false"}"""
        ).to_arrow_table()
        connection.close()
        return found


def _customers(metadata: pq.FileMetaData) -> list[tuple[str, str | None]]:
    """The first and the last customer of each group; ("", None) where any may be in it."""
    if "customer_id" not in metadata.schema.names:
        return [("", None)] * metadata.num_row_groups
    column = metadata.schema.names.index("customer_id")
    known = [metadata.row_group(g).column(column).statistics for g in range(metadata.num_row_groups)]
    return [("", None) if s is None or not s.has_min_max else (s.min, s.max) for s in known]
