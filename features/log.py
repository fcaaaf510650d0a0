"""The customer log: its tables, their contracts, and how to read it.

Canonical parquet: UTC microseconds, text ids as given, money as decimal in the shop's currency. Rows are
immutable facts with `at` (when it happened) and `known_at` (when we could know it). A return or a
correction is a new row with a `ref`; nothing is updated in place, so the past as known then can be rebuilt.

    log/<generation>/<table>/<source>.parquet
    log/<generation>/manifest.json       per table and source: rows, sha256; what the log states of itself
    log/CURRENT                          the generation in force
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from features.errors import LogError
from features.files import read_pointer, sha256
from features.moments import parse_moment
from features.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

Type = Literal["text", "moment", "money", "integer", "real", "map"]


@dataclass(frozen=True)
class Column:
    """One column of a table. `required`: a row without it breaks the contract."""

    type: Type
    required: bool = True


@dataclass(frozen=True)
class Table:
    """One table: its columns, and rules as (reason of a rejection, SQL that holds for a good row).

    key: columns that name a row; a second row with the same key is rejected as a duplicate.
    """

    name: str
    key: tuple[str, ...]
    columns: dict[str, Column]
    rules: tuple[tuple[str, str], ...] = ()


_EVENT = {
    "customer_id": Column("text"),
    "at": Column("moment"),
    "known_at": Column("moment"),
}
_KNOWN = ("known before it happened", 'known_at >= "at"')

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "customers",
            ("customer_id",),
            {**_EVENT, "attributes": Column("map", required=False)},
            (_KNOWN,),
        ),
        Table(
            "identities",
            ("source", "source_id"),
            {"source": Column("text"), "source_id": Column("text"), **_EVENT},
            (_KNOWN,),
        ),
        Table(
            "products",
            ("product_id",),
            {
                "product_id": Column("text"),
                "category": Column("text", required=False),
                "department": Column("text", required=False),
                "brand": Column("text", required=False),
            },
        ),
        Table(
            "orders",
            ("order_id",),
            {
                "order_id": Column("text"),
                **_EVENT,
                "channel": Column("text"),
                "store_id": Column("text", required=False),
                "amount": Column("money"),  # paid to the shop, after discounts
                "discount": Column("money"),  # taken off the price, by anyone
                "ref": Column("text", required=False),  # the order that this one returns or corrects
            },
            (_KNOWN, ("negative money without a ref", "amount >= 0 or ref is not null")),
        ),
        Table(
            "order_lines",
            ("order_id", "line"),
            {
                "order_id": Column("text"),
                "line": Column("integer"),
                **_EVENT,
                "product_id": Column("text"),
                "category": Column("text", required=False),  # null: the product is not in the catalogue
                "department": Column("text", required=False),
                "brand": Column("text", required=False),
                "items": Column("integer"),  # pieces; goods sold by measure count as one
                "measure": Column("integer", required=False),  # quantity of goods sold by measure, as given
                "amount": Column("money"),
                "discount": Column("money"),
                "coupon": Column("money"),  # the part of the discount that a coupon gave
                "ref": Column("text", required=False),  # the order whose goods come back in this one
            },
            (
                _KNOWN,
                ("neither quantity nor money", "items <> 0 or measure <> 0 or amount <> 0 or discount <> 0"),
                ("negative discount", "discount >= 0 and coupon >= 0"),
            ),
        ),
        Table(
            "contacts",
            ("contact_id",),
            {
                "contact_id": Column("text"),
                **_EVENT,
                "campaign_id": Column("text", required=False),
                "action": Column("text"),
                "channel": Column("text"),
                "until": Column("moment", required=False),  # end of the offer's validity
                "cost": Column("money", required=False),
                "propensity": Column("real", required=False),  # null: targeting was not randomised
            },
            (
                _KNOWN,
                ("propensity outside (0, 1]", "propensity is null or (propensity > 0 and propensity <= 1)"),
            ),
        ),
        Table(
            "responses",
            ("response_id",),
            {
                "response_id": Column("text"),
                **_EVENT,
                "kind": Column("text"),  # open, click, redeem, buy, opt-out
                "contact_id": Column("text", required=False),
                "campaign_id": Column("text", required=False),
            },
            (
                _KNOWN,
                ("unknown kind of response", "kind in ('open', 'click', 'redeem', 'buy', 'opt-out')"),
            ),
        ),
    )
}
EVENTS = tuple(name for name, table in TABLES.items() if "at" in table.columns)


@dataclass(frozen=True)
class Log:
    """One generation of the customer log on disk; immutable, so its fingerprint names its content."""

    folder: Path
    fingerprint: str
    starts_at: datetime  # of the orders
    complete_until: datetime  # everything up to here is in the log: what makes a label mature
    shop: dict[str, object]  # `Shop.of_log` when it was ingested
    files: dict[str, dict[str, dict[str, object]]]  # table -> source -> {"rows", "sha256"}

    @classmethod
    def open(cls, settings: Settings) -> "Log":
        """The log in force. LogError if nothing has been ingested."""
        root = settings.home / "log"
        current = read_pointer(root / "CURRENT")
        if current is None:
            raise LogError(f"there is no customer log in {root}: run `propensity ingest`")
        return cls.at(root / current)

    @classmethod
    def at(cls, folder: Path) -> "Log":
        """The generation in a folder. LogError if it is not there."""
        try:
            raw = json.loads((folder / "manifest.json").read_text("utf-8"))
        except FileNotFoundError:
            raise LogError(f"{folder} holds no customer log: run `propensity ingest`") from None
        return cls(
            folder=folder,
            fingerprint=folder.name,
            starts_at=parse_moment(raw["starts_at"]),
            complete_until=parse_moment(raw["complete_until"]),
            shop=raw["shop"],
            files=raw["files"],
        )

    @property
    def tables(self) -> frozenset[str]:
        """Names of the tables that this log has; a table that a shop lacks is absent."""
        return frozenset(self.files)

    def paths(self, table: str) -> list[Path]:
        """The parquet files of a table, one a source, in a fixed order. LogError if the log lacks it."""
        if table not in self.files:
            raise LogError(f"this log has no table {table}; it has {', '.join(sorted(self.files))}")
        return [self.folder / table / f"{source}.parquet" for source in sorted(self.files[table])]

    def damaged(self) -> list[Path]:
        """Files that are gone or are not what was written; reads all of them."""
        return [
            path
            for table, sources in self.files.items()
            for path, (_, facts) in zip(self.paths(table), sorted(sources.items()), strict=True)
            if not path.exists() or sha256(path) != facts["sha256"]
        ]

    def read(self, table: str, columns: Iterable[str] | None = None) -> "pa.Table":
        """A whole table, sources one after another."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = None if columns is None else list(columns)
        read = (pq.read_table(path, columns=wanted, partitioning=None) for path in self.paths(table))
        return pa.concat_tables(read)
