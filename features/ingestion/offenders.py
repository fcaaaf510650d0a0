"""Of the rows rejected for one reason, the first with the value at fault: for whoever brings files in.

Read from the rejects when it is shown, and kept nowhere else: a value may be of a person. So it is one field,
the one that the reason speaks of, never the row, and cut short.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from features import duck
from features.ingestion.mended import MENDED
from features.ingestion.refusals import GONE, OF_RETURNS, OTHERWISE
from features.ingestion.scrubbing import LINKED
from features.ingestion.written import as_given
from features.ingestion.yielding import USED
from features.shop import Shop
from features.sources.bounds import AFTER, BEFORE, LATER
from features.sources.corrected import CANCELLED_PARTLY, NO_OBJECT, UNCLEAR
from features.sources.sales import TWO_CUSTOMERS
from features.tables import TABLES

InVain = tuple[str, int, str]  # of a correction: the file that was taken, its row from 0, why it is no better
LONGEST = 40  # characters of a value: enough to see how it is written
MOST = 20  # reasons: of more, nobody reads the rest
NO_ZONE = r"the zone of \w+ is not known$"
_KEYS = re.compile(
    r"(?:a second row with|) ?the same (.+?)"
    r"(?:, of one person|, that says otherwise| as a row of \w+(?:, that says otherwise)?)?$"
)
_OF_OTHERS = {
    "before the first day of the source": ("at",),
    BEFORE: ("at",),
    AFTER: ("at",),
    LATER: ("at",),
    TWO_CUSTOMERS: ("order_id",),
    OF_RETURNS: ("order_id",),
    USED: ("amount",),
    "its order is not among the orders": ("order_id",),
    LINKED: ("source_id", "customer_id"),  # the side that was not erased
}


# What a reason asks for, where no rule has its words.
_WANTED = {
    rf"^{NO_ZONE}": "a zone as Europe/Berlin in the column that its `zone` names, or an offset in the time",
    r" is not a moment$": "a time as 2024-01-31 10:00, or as its `format` says",
    r" is not an amount of money$": "an amount as 12.50, or as its `decimal` says",
    rf"^{NO_OBJECT}$": 'it as it was handed out: {"city": "Leeds"}',
    rf"{UNCLEAR}$": (
        "no more decimals than the currency has; and 1234 or 1.23, not 1.234, which one may read either way"
    ),
    r" is not a whole number$": "a whole number",
    r" is not a number$": "a number",
    r"^no (\w+)$": r"a value of \1",
    r"^not in (\w+), the currency": r"\1, or amounts converted: { sql = ... }",
    r"^negative money without a ref$": "the order that comes back in ref, or `unknown`",
    r"^negative discount$": 'a discount of 0 or more: { sql = "abs(number(...))" }',
    r"^propensity outside": "more than 0, at most 1",
    r"^score outside its scale$": "satisfaction 1 to 5, nps 0 to 10",
    r"^known before it happened$": "known_at not before at",
    rf"^{TWO_CUSTOMERS}$": "one customer an order",
    r"^its order is not among the orders$": "an order_id that the file of orders has",
    rf"^{OF_RETURNS}$": "an order_id of its own",
    rf"^{USED}$": "its lines mended, for the order is their sum",
    rf"^the same order_id, line as a row of \w+{OTHERWISE}$": (
        "what no other row has there; or `given line` empty, and it is numbered anew"
    ),
    rf"^the same .* as a row of \w+{OTHERWISE}$": "what no other row has there",
    rf"^{CANCELLED_PARTLY}$": "no `cancelled`, and a row that takes it back",
    rf"^{LINKED}$": "that one erased, too, if so; else the row taken out of its file",
    r"^unreadable: more fields": "as many fields as the header; in quotes if one holds the separator",
    r"^unreadable: a quoted field": "a quote at its end",
}


@dataclass(frozen=True)
class Sample:
    """The first row that was rejected for a reason; `rows` of them were.

    file, row: where it stands, from 1, a header left out; None if the row was derived. value: the field at
    fault as the file gives it, '' if that is empty or no single one. expected: what it may be, '' if the
    reason says it.
    """

    source: str
    table: str
    reason: str
    rows: int
    file: str | None
    row: int | None
    value: str
    expected: str

    def __str__(self) -> str:
        where = f"{self.file}, row {self.row}" if self.file else self.source
        value = f" = {self.value}" if self.value else ""
        return f"{where}: {self.reason}{value}" + (f"; expected {self.expected}" if self.expected else "")


def repeated(reason: str) -> bool:
    """Whether a row was rejected because the log has it already, and not another one under its key."""
    return reason == GONE or (_KEYS.match(reason) is not None and not reason.endswith(OTHERWISE))


def missing(table: str, reason: str) -> bool:
    """Whether a row that was rejected so is missing in the log: it has not that row already, from an earlier
    file or another source; nor, of a customer, another word, of which the first stays."""
    otherwise = table == "customers" and reason.endswith(OTHERWISE)
    return not (repeated(reason) or otherwise or reason == LINKED)  # links are told by themselves


def samples(rejects: Path, shop: Shop) -> tuple[Sample, ...]:
    """One row of each reason in a folder of rejects, the most frequent first; mended rows are none.

    shop: whose mappings say which columns of its file a column was read from.
    """
    if not any(rejects.glob("*.parquet")):  # a home that was restored without them
        return ()
    connection = duck.connect()
    found = connection.execute(
        f"""SELECT source, "table", reason, count(*), arg_min(struct_pack(f := file, l := line, r := row),
                                                              struct_pack(f := file, l := line))
            FROM read_parquet('{rejects}/*.parquet', hive_partitioning = false) WHERE NOT mended
                  AND NOT (source = '{MENDED}' AND (reason LIKE 'the same %' OR reason = '{GONE}')
                       AND NOT ends_with(reason, '{OTHERWISE}'))
            GROUP BY ALL ORDER BY 4 DESC, source, "table", reason LIMIT {MOST}"""
    ).fetchall()
    others = {}
    for source, table, reason, _, first in found:
        if reason == TWO_CUSTOMERS:
            others[source, table] = _other_customers(connection, rejects / f"{source}.parquet", table, first)
    connection.close()
    return tuple(
        Sample(
            source, table, reason, rows, first["f"], None if first["l"] is None else first["l"] + 1,
            _shown(shop, source, table, reason, json.loads(first["r"]), first["f"])
            + (others[source, table] if reason == TWO_CUSTOMERS else ""),
            _expected(table, reason),
        )
        for source, table, reason, rows, first in found
    )  # fmt: skip


def _other_customers(
    connection: duckdb.DuckDBPyConnection, path: Path, table: str, first: dict[str, Any]
) -> str:
    """Where the row stands that gives the order of `first` to somebody else."""
    row = json.loads(first["r"])
    other = connection.execute(
        f"""SELECT file, line + 1 FROM '{path}' WHERE "table" = ? AND reason = ? AND NOT mended
            AND row->>'$.order_id' = ? AND row->>'$.customer_id' <> ? ORDER BY file, line LIMIT 1""",
        [table, TWO_CUSTOMERS, row.get("order_id"), row.get("customer_id")],
    ).fetchone()
    return f" (and {other[0]}, row {other[1]})" if other else ""


def in_vain(rejects: Path) -> tuple[InVain, ...]:
    """The corrections that are no better; not those whose row the log has from elsewhere."""
    path = rejects / f"{MENDED}.parquet"
    if not path.exists():
        return ()
    rows = pq.read_table(path, columns=["file", "line", "reason"]).to_pylist()
    return tuple((r["file"], r["line"], r["reason"]) for r in rows if not repeated(r["reason"]))


def at_fault(table: str, reason: str) -> tuple[str, ...]:
    """The columns that a reason of a rejection speaks of.

    >>> at_fault("orders", "at is not a moment"), at_fault("orders", "the same order_id as a row of till")
    (('at',), ('order_id',))
    >>> at_fault("responses", "unknown kind of response"), at_fault("orders", "no customer_id")
    (('kind',), ())
    >>> at_fault("orders", "the zone of at is not known")
    ('zone',)
    """
    if keys := _KEYS.match(reason):
        return tuple(keys[1].split(", "))
    if other := re.match(r"another (customer|day)'s (.+) in \w+$", reason):
        return (*other[2].split(", "), "customer_id" if other[1] == "customer" else "at")
    if unread := re.match(r"(\w+) is not an? ", reason):
        return (unread[1],)
    if re.match(NO_ZONE, reason):
        return ("zone",)
    if re.match(r"not in \w+, the currency", reason):
        return ("currency",)
    rule = re.sub(r"'[^']*'", "", dict(TABLES[table].rules).get(reason, ""))
    return _OF_OTHERS.get(reason) or tuple(c for c in TABLES[table].columns if re.search(rf"\b{c}\b", rule))


def _shown(shop: Shop, source: str, table: str, reason: str, row: dict[str, Any], file: str | None) -> str:
    columns = at_fault(table, reason)
    values = {c: value for c in columns if (value := as_given(shop, source, table, row, file, c))}
    text = "".join(values.values()) if len(columns) == 1 else ", ".join(map(" = ".join, values.items()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _expected(table: str, reason: str) -> str:
    words = re.search(r"^\w+ in \(([^)]*)\)$", dict(TABLES[table].rules).get(reason, ""))
    if words:
        return words[1].replace("'", "")
    for pattern, wanted in _WANTED.items():
        if found := re.search(pattern, reason):
            return found.expand(wanted)
    return ""
