"""What is known of a few customers now: by the log that the publication was built from, and by their events.

The declarations and the code are those of builds (`features.compute.shard`), so that batch and online cannot
disagree: the next build reads the same rows from the same log. Nothing is written: a handful of customers are
some row groups of the log's files.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.complaints import OPEN_COMPLAINTS, open_of
from features.compute.builds import Build
from features.definitions import Feature, catalogue, feature_hash
from features.errors import FeatureMismatch
from features.inbox import Kept
from features.log import Log
from features.online import COMPLAINED, Fresh, Published
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import TABLES, Type

if TYPE_CHECKING:
    import pyarrow as pa


def rows_of(
    settings: Settings, published: Published, customer_ids: Sequence[str], kept: Sequence[Kept]
) -> dict[str, Fresh]:
    """What is known of these customers now, of those of whom anything is.

    kept: their rows of the inbox; one whose key the log has is the log's. FeatureMismatch if the declarations
    are no longer those of what is published, LogError if the build's log is gone.
    """
    log = log_of(settings, published)
    from features.compute import plan, shard

    shop, now = shop_of(settings), settings.now()
    features = _features(shop, published)
    part = _Part(log, shop, customer_ids, kept)
    customers = shard.known_customers(part.rows("customers", ["customer_id", "known_at"], owned=()))
    events = {
        table: part.rows(table, plan.columns(table, plan.of_table(features, table)))
        for table in plan.tables(features)
    }
    (table,) = shard.compute(customers, events, features, [now], shop)
    consents = part.rows("consents", list(TABLES["consents"].columns)).to_pylist()
    matrix = np.column_stack([table.column(name).to_numpy() for name in features])
    ids, said = table.column("customer_id").to_pylist(), _consents(consents, now)
    if OPEN_COMPLAINTS not in published.features:  # hosts without the inbox know of them by this alone
        for id in ids:
            if open_of(row for row in kept if row.customer_id == id):
                said.setdefault(id, {})[COMPLAINED] = True
    return {id: Fresh(row, now, said.get(id, {})) for id, row in zip(ids, matrix, strict=True)}


def log_of(settings: Settings, published: Published) -> Log:
    """The log that a publication was built from. LogError or NoBuild if it is gone."""
    return Log.at(settings.home / "log" / Build.open(settings, published.build).log)


def _features(shop: Shop, published: Published) -> dict[str, Feature]:
    """The published features, as declared; FeatureMismatch if they are now declared differently."""
    declared = catalogue(shop.declared("FEATURES"))
    wrong = [
        name
        for name, hash in published.features.items()
        if name not in declared or feature_hash(declared[name], declared, shop.of_log) != hash
    ]
    if wrong:
        raise FeatureMismatch(
            f"{published.id} has features that are now declared differently: {', '.join(wrong)}. "
            "Run `propensity features build`"
        )
    return {name: declared[name] for name in published.features}


class _Part:
    """The log's rows of these customers, with theirs of the inbox that the log does not have."""

    def __init__(self, log: Log, shop: Shop, customer_ids: Sequence[str], kept: Sequence[Kept]) -> None:
        self._log, self._shop = log, shop
        self._ids = list(customer_ids)
        self._fresh = _by_table(kept)

    def rows(self, name: str, columns: Sequence[str], owned: Sequence[str] | None = None) -> "pa.Table":
        """Rows of a table, of everybody if it has no customers; none if there is no such table.

        owned: columns of which the log's values are the log's alone; by default as ingestion has it.
        """
        import pyarrow as pa

        from features.ingestion.canonical import arrow_schema
        from features.ingestion.folding import OWNED

        table = TABLES[name]
        owned = OWNED.get(name, table.key) if owned is None else owned
        fresh = self._fresh.get(name, [])
        needed = [c for c in table.columns if c in columns or (fresh and c in owned)]
        schema = pa.schema([arrow_schema(table, self._shop.exponent).field(c) for c in needed])
        paths = self._log.paths(name) if name in self._log.tables else []
        known = pa.concat_tables([schema.empty_table(), *(self._read(path, schema) for path in paths)])
        if fresh:
            told = pa.Table.from_pylist(fresh, schema=schema)
            if owned:
                keys = known.select(owned).group_by(owned).aggregate([])
                told = told.join(keys, keys=owned, join_type="left anti").select(needed)
            known = pa.concat_tables([known, told])
        return known.select(columns)

    def _read(self, path: Path, schema: "pa.Schema") -> "pa.Table":
        """A file's rows of these customers: ingestion wrote them by customer, so few groups hold them."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        metadata = pq.read_metadata(path)
        there = set(metadata.schema.to_arrow_schema().names)
        text = [f.name for f in schema if pa.types.is_string(f.type) and f.name in there]
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=text) as file:  # faster than text itself
            groups = list(range(file.num_row_groups))
            if "customer_id" in schema.names:
                place = file.metadata.schema.names.index("customer_id")
                groups = [g for g in groups if self._may_hold(file.metadata.row_group(g).column(place))]
            rows = file.read_row_groups(groups, schema.names)
        for column in set(schema.names) - set(rows.column_names):  # of a log from before the table had it
            rows = rows.append_column(column, pa.nulls(len(rows), schema.field(column).type))
        rows = rows.select(schema.names)
        if "customer_id" in schema.names:
            ids = rows["customer_id"].cast(pa.string())
            rows = rows.filter(pc.is_in(ids, pa.array(self._ids, pa.string())))
        return rows.cast(schema)

    def _may_hold(self, column: Any) -> bool:
        """Whether a row group may have one of these customers, by the statistics of its customer_id."""
        known = column.statistics
        unsure = known is None or not known.has_min_max
        return unsure or any(known.min <= id <= known.max for id in self._ids)


def _by_table(kept: Iterable[Kept]) -> dict[str, list[dict[str, Any]]]:
    """Rows as Arrow takes them, with a row of customers for each: who is told of is known from then on."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in kept:
        types = {name: column.type for name, column in TABLES[row.table].columns.items()}
        typed = {name: _READ.get(types[name], _as_it_is)(value) for name, value in row.body.items()}
        tables.setdefault(row.table, []).append(typed | {"known_at": row.known_at})
        known = {"customer_id": row.customer_id, "at": row.known_at, "known_at": row.known_at}
        tables.setdefault("customers", []).append(known)
    return tables


def _as_it_is(value: Any) -> Any:
    return value


_READ: Mapping[Type, Any] = {"moment": datetime.fromisoformat, "money": Decimal}


def _consents(rows: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, dict[tuple[str, str], bool]]:
    """What each customer last said of each channel and purpose, as known now."""
    consents: dict[str, dict[tuple[str, str], bool]] = {}
    said = [row for row in rows if max(row["at"], row["known_at"]) <= now]
    for row in sorted(said, key=lambda row: (row["at"], row["status"] == "withdrawn")):
        granted = row["status"] == "granted"
        consents.setdefault(row["customer_id"], {})[row["channel"], row["purpose"]] = granted
    return consents
