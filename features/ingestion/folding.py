"""Parts -> a generation of the log: one row a key, one id a person.

* A key names one thing in the whole log: `order_id` 17 is one order, whoever says it. Where two sources have
  the same key, the source that shop.toml names first has the row; then mended rows; the inbox comes last, for
  its events arrive again with the nightly files. The other row is rejected, with its reason, and counted. One
  that says otherwise (another customer; of an event, another day) is told as such: two systems may number
  alike. A source whose numbers are its own gives them a prefix of its own. An order's lines are all of one
  source; a mended line is of the source that brought it first (see `mended.py`).
* Every table speaks of canonical ids (see `people.py`). A person whom several rows of `customers` name has
  one: known since the earliest of them, with the attributes of all that are filled, the canonical id's before
  the others'. What was mended later is known since then, in a second row. Of what two of her ids have
  under one key the more cautious row is kept; the other is joined to it, for nobody could mend it.
* A file in which nothing changes is the part's own, hard-linked; another is written again, sorted as before.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features import duck
from features.ingestion import digests, mended, people, refusals, yielding
from features.ingestion.additions import add_money
from features.ingestion.along import with_lines
from features.ingestion.canonical import REJECTS, arrow_schema, names, order, save, sql_type
from features.ingestion.completed import Rules
from features.ingestion.mended import INBOX, MENDED, REJECT_ID
from features.ingestion.parts import Account, Part, holders, listed, moved, rows_and_sum
from features.sources.customers import FILLED
from features.sources.raw import literal
from features.sources.sales import JOINED
from features.tables import TABLES, Table

Progress = Callable[[str, int, int], None]

MENDED_SINCE = "mended: "  # begins why a row was rejected that was mended
NOT_MENDED = "not mended: "  # begins what became of a correction that is no better
# Why a row is no repetition although its key is another row's: how that begins, and when both say the same.
OF_OTHERS = {
    "another customer's ": "v.customer_id = e.customer_id",
    "another day's ": """abs(date_diff('hour', v."at", e."at")) <= 36""",
}
JOINED_PERSON = f"{JOINED} another row of the same person, of the same moment"
OWNED = {"order_lines": ("order_id",)}  # what has one source, where that is not the key
_ONE_ROW = {"customers": ("customer_id",), "identities": ("source", "source_id")}  # folded, never rejected

# SQL over a mended customer: known from a moment that no file says.
_LATE = """_row IN (SELECT _row FROM mended WHERE "table" = 'customers' AND late)"""


def ranked(names: Sequence[str], shop: Sequence[str]) -> list[str]:
    """Sources in the order in which they have the word."""
    last = (MENDED, INBOX)  # of our own: they yield to every other
    return sorted(
        names,
        key=lambda n: (
            (2, last.index(n)) if n in last else (0, shop.index(n)) if n in shop else (1, 0),
            n,
        ),
    )


@dataclass
class Fold:
    """One folding. `accounts`: source -> what became of its rows, here too."""

    parts: Sequence[Part]
    scratch: Path
    exponent: int
    memory: int
    taken: Sequence[Path] = ()  # the mended rows that were taken in, to mark what they mend
    rules: Mapping[str, Rules] = field(default_factory=dict)  # of the sources that a mapping reads
    accounts: dict[str, Account] = field(default_factory=dict)

    def write(self, progress: Progress | None = None) -> dict[str, Any]:
        """Write the generation's files into `scratch`; return what its manifest says of them."""
        self.scratch.mkdir(parents=True)
        self.accounts = {part.source: part.account for part in self.parts}
        self.connection = duck.connect(memory=self.memory, folder=self.scratch.parent / "work")
        self.connection.execute(
            'CREATE TABLE extra (source VARCHAR, "table" VARCHAR, file VARCHAR, '
            "line BIGINT, reason VARCHAR, row VARCHAR)"
        )
        self.connection.execute("CREATE TABLE of_others (source VARCHAR, order_id VARCHAR, reason VARCHAR)")
        self.connection.execute("CREATE TABLE replaced (source VARCHAR, order_id VARCHAR)")
        self.connection.execute(
            "CREATE TABLE renamed (source VARCHAR, order_id VARCHAR, name VARCHAR, ref VARCHAR)"
        )
        merged = people.merges(self.connection, self.parts)
        self.merged = len(merged) > 0
        self.connection.register("merged", merged)
        mended.read(self.connection, self.parts, self.taken)
        pq.write_table(merged, self.scratch / "merges.parquet")
        files: dict[str, dict[str, dict[str, Any]]] = {}
        tables = [name for name in TABLES if holders(self.parts, name) or name == "order_lines"]
        for done, name in enumerate(tables):
            if name == "order_lines" and MENDED in self.accounts:
                self.parts = with_lines(
                    self.connection,
                    self.parts,
                    self.scratch,
                    self.exponent,
                    self.rules,
                    self.accounts[MENDED],
                )
            if progress:
                progress(f"folding {name}", done, len(tables))
            (self._people if name in _ONE_ROW else self._events)(TABLES[name])
        if MENDED in self.accounts:
            money = self.accounts[MENDED]
            add_money(self.connection, self.parts, self.scratch, self.exponent, self.rules, money)
        for name in TABLES:
            for part in self.parts:
                path = self._place(name, part)
                if path.exists():
                    same = name in part.tables and path.samefile(part.path(name))
                    facts = part.tables[name] if same else rows_and_sum(path)
                    files.setdefault(name, {})[part.source] = facts
        self._rejects()
        self.connection.close()
        return {
            "files": files,
            "merges": rows_and_sum(self.scratch / "merges.parquet"),
            "accounts": {source: listed(account) for source, account in self.accounts.items()},
        }

    def _place(self, table: str, part: Part) -> Path:
        return self.scratch / table / f"{part.source}.parquet"

    def _view(self, table: Table, part: Part) -> str:
        """SQL: its rows with canonical ids, `_row` (their place in the file) and `_given` (the id given)."""
        file = f"read_parquet('{part.path(table.name)}', hive_partitioning = false, file_row_number = true)"
        if lacking := self._lacking(table, part):
            file = f"(SELECT *, {', '.join(lacking)} FROM {file})"
        if "customer_id" not in table.columns or not self.merged:
            given = "customer_id" if "customer_id" in table.columns else "NULL"
            return f"(SELECT *, file_row_number AS _row, {given} AS _given FROM {file})"
        return f"""(SELECT p.* REPLACE (coalesce(m.canonical_id, p.customer_id) AS customer_id),
                           file_row_number AS _row, p.customer_id AS _given
                    FROM {file} p LEFT JOIN merged m ON p.customer_id = m.customer_id)"""

    def _lacking(self, table: Table, part: Part) -> list[str]:
        """SQL of columns that the table has now, and had not when the part was made: nothing is in them."""
        have = pq.read_schema(part.path(table.name)).names
        return [
            f'NULL::{sql_type(column.type, self.exponent)} AS "{name}"'
            for name, column in table.columns.items()
            if name not in have
        ]

    def _events(self, table: Table) -> None:
        """Drop what another source has already; rewrite what changes."""
        here = holders(self.parts, table.name)
        for place, part in enumerate(here):
            view = self._view(table, part)
            self.connection.execute("CREATE OR REPLACE TEMP TABLE dropped (_row BIGINT, reason VARCHAR)")
            for earlier in here[:place]:
                for key, which in self._same(table, part, earlier):
                    self.connection.execute(
                        f"""INSERT INTO dropped
                            SELECT _row, 'the same {", ".join(key)} as a row of {earlier.source}'
                            FROM {view} v SEMI JOIN {self._view(table, earlier)} e USING ({names(key)})
                                 ANTI JOIN dropped d USING (_row) WHERE {which}"""
                    )
                    if part.source != MENDED:
                        self._tell_others(table, part, earlier, key)
            self._drop_lines_of_others(table, part, view)
            if part.source == MENDED:
                if table.name == "orders":
                    yielding.replace_sums(self.connection, view, self.parts, self.scratch, self.exponent)
                refusals.refuse_moved(
                    self.connection, table, view, self.parts, [self._view(table, e) for e in here[:place]]
                )
                refusals.drop_gone(self.connection, table.name)
            if part.source == MENDED and table.name in mended.OF_ONE_CUSTOMER:
                others = [
                    self._view(TABLES[name], other)
                    for name in mended.OF_ONE_CUSTOMER
                    for other in holders(self.parts, name)
                    if other.source not in (MENDED, INBOX)
                ]
                refusals.refuse_second_customers(self.connection, table.name, view, others)
                if table.name == "order_lines":
                    orders = [self._view(TABLES["orders"], p) for p in holders(self.parts, "orders")]
                    refusals.refuse_nowhere(self.connection, view, self.parts, [*orders, *others])
                    refusals.refuse_sales_of_returns(self.connection, view, self.parts, self.rules)
                refusals.drop_orphans(self.connection, table.name, part, view)
            touched = 0
            if self.merged and "customer_id" in table.columns:
                touched = self._one(f"SELECT count(*) FROM {view} WHERE _given <> customer_id")
                if touched and "customer_id" in table.key:
                    # Descending, so that of two at one moment the cautious one stays: `withdrawn`, `removed`.
                    last = ", ".join(f'"{c}" DESC' for c in table.columns)
                    self.connection.execute(
                        f"""INSERT INTO dropped
                            SELECT _row, '{JOINED_PERSON}'
                            FROM (SELECT _row, row_number() OVER
                                         (PARTITION BY {names(table.key)} ORDER BY {last}) AS nth
                                  FROM {view} ANTI JOIN dropped USING (_row)
                                  WHERE customer_id IN (SELECT canonical_id FROM merged))
                            WHERE nth > 1"""
                    )
            if self._account_dropped(table, part) or touched or self._lacking(table, part):
                self._rewrite(table, part, f"{view} ANTI JOIN dropped USING (_row)")
            else:
                self._link(table, part)

    def _tell_others(self, table: Table, part: Part, earlier: Part, key: tuple[str, ...]) -> None:
        """Of the rows dropped for an earlier part's, those that say otherwise are no repetition."""
        named = f"{', '.join(key)} in {earlier.source}"
        same = f"reason = 'the same {', '.join(key)} as a row of {earlier.source}'"
        equal = " AND ".join(f'v."{c}" = e."{c}"' for c in key)
        for of_others, agrees in OF_OTHERS.items():
            a_day = "day" in of_others
            if a_day and not (part.source == INBOX and table.name == "orders"):
                continue
            if "customer_id" not in table.columns or not self._one(
                f"SELECT count(*) FROM dropped WHERE {same}"
            ):
                return
            self.connection.execute(
                f"""UPDATE dropped SET reason = {literal(of_others + named)}
                    WHERE {same} AND _row IN (
                        SELECT v._row FROM {self._view(table, part)} v SEMI JOIN dropped USING (_row)
                        ANTI JOIN {self._view(table, earlier)} e ON {equal} AND {agrees})"""
            )

    def _drop_lines_of_others(self, table: Table, part: Part, view: str) -> None:
        """An order that is dropped for another's takes its lines along: they are no lines of that other."""
        told = " OR ".join(f"starts_with(reason, {literal(of)})" for of in OF_OTHERS)
        if table.name == "orders":
            self.connection.execute(
                f"""INSERT INTO of_others SELECT '{part.source}', order_id, reason
                    FROM {view} v JOIN dropped USING (_row) WHERE {told}"""
            )
        elif table.name == "order_lines":
            self.connection.execute(
                f"""INSERT INTO dropped SELECT _row, o.reason FROM {view} v JOIN of_others o USING (order_id)
                    ANTI JOIN dropped USING (_row) WHERE o.source = '{part.source}'"""
            )

    def _same(self, table: Table, part: Part, earlier: Part) -> list[tuple[tuple[str, ...], str]]:
        """(columns, SQL of rows): what of an earlier part those rows must not repeat."""
        owned = OWNED.get(table.name, table.key)
        if part.source != MENDED or owned == table.key:
            return [(owned, "true")]
        its = f"""_row IN (SELECT _row FROM mended
                           WHERE "table" = '{table.name}' AND source = '{earlier.source}')"""
        return [(table.key, its), (owned, f"NOT {its}")]

    def _account_dropped(self, table: Table, part: Part) -> int:
        """Account the dropped rows of a part, keep those that are wrong with the rejects; return how many."""
        if not self._one("SELECT count(*) FROM dropped"):
            return 0
        dropped = f"""dropped JOIN (SELECT *, file_row_number AS _row FROM read_parquet(
                        '{part.origins(table.name)}', file_row_number = true)) USING (_row)"""
        fates = self.connection.execute(
            f"SELECT file, coalesce(note, ''), reason, count(*) FROM {dropped} GROUP BY ALL"
        ).fetchall()
        for file, note, reason, rows in fates:
            joined = reason == JOINED_PERSON
            moved(self.accounts[part.source], (table.name, file, True, note, False), reason, rows, joined)
        # The row by itself: its place in the part follows other customers' rows, and would change its name.
        path = part.path(table.name)
        own = ", ".join(f'"{c}" := "{c}"' for c in pq.read_schema(path).names)
        # What the inbox said, and a file says too, is in the log from a better hand.
        otherwise = " OR ".join(f"starts_with(reason, {literal(of)})" for of in OF_OTHERS)
        told = "true" if part.source != INBOX else otherwise
        self.connection.execute(
            f"""INSERT INTO extra
                SELECT '{part.source}', '{table.name}', file, line, reason, to_json(given)::VARCHAR
                FROM {dropped} JOIN (SELECT struct_pack({own}) AS given, file_row_number AS _row
                     FROM read_parquet('{path}', file_row_number = true, hive_partitioning = false))
                     USING (_row) WHERE ({told}) AND reason <> '{JOINED_PERSON}'"""
        )
        return sum(rows for *_, rows in fates)

    def _people(self, table: Table) -> None:
        """One row a customer, one an identity, whoever names it; and of a customer whose row was mended late
        what is known since then, as a row of its own: what was known before stays as it was."""
        here = holders(self.parts, table.name)
        key = names(_ONE_ROW[table.name])
        every = " UNION ALL BY NAME ".join(
            f"""SELECT *, {place} AS _rank, {_LATE if part.source == MENDED else "false"} AS _late
                FROM {self._view(table, part)}"""
            for place, part in enumerate(here)
        )
        before = f"min(known_at) FILTER (NOT _late) OVER (PARTITION BY {key})"
        rows = f"(SELECT * REPLACE (coalesce(_late AND known_at > {before}, false) AS _late) FROM ({every}))"
        rows = rows if table.name == "customers" else f"({every})"
        several = (self.merged or len(here) > 1) and self._one(
            f"SELECT count(*) FROM (SELECT {key} FROM {rows} GROUP BY ALL HAVING count(*) > 1)"
        )
        touched = {
            part.source: self.merged
            and self._one(f"SELECT count(*) FROM {self._view(table, part)} WHERE _given <> customer_id")
            for part in here
        }
        # What stands last in map_concat wins.
        last = "_given = customer_id, _rank DESC, known_at DESC, _given DESC"
        columns = {
            "at": 'min("at")',
            "known_at": "min(known_at)",
            "attributes": f"""list_reduce(list({FILLED} ORDER BY {last})
                                          FILTER (WHERE attributes IS NOT NULL),
                                          lambda a, b: map_concat(a, b))""",
        }
        kept = {c: columns.get(c, f'any_value("{c}")') for c in table.columns if c not in key}

        def one(of: Mapping[str, str]) -> str:
            select = ", ".join(f'{sql} AS "{c}"' for c, sql in of.items())
            return f"SELECT {key}, {select} FROM {rows}"

        for place, part in enumerate(here):
            if not several:
                if touched[part.source]:
                    self._rewrite(table, part, self._view(table, part))
                else:
                    self._link(table, part)
                continue
            folded = f"{one(kept)} WHERE NOT _late GROUP BY {key} HAVING min(_rank) = {place}"
            if part.source == MENDED and table.name == "customers":
                since = {**kept, "known_at": "max(known_at) FILTER (_late)"}
                folded += f" UNION ALL BY NAME {one(since)} GROUP BY {key} HAVING bool_or(_late)"
            self._rewrite(table, part, f"({folded})")

    def _rewrite(self, table: Table, part: Part, rows: str) -> None:
        save(
            self.connection.sql(f"SELECT {names(table.columns)} FROM {rows} ORDER BY {order(table)}"),
            (self._place(table.name, part), arrow_schema(table, self.exponent)),
        )

    def _link(self, table: Table, part: Part) -> None:
        """Immutable, so shared rather than copied."""
        place = self._place(table.name, part)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(part.path(table.name), place)

    def _rejects(self) -> None:
        """Each source's rejects with what was dropped here; those that were mended are marked and counted."""
        folder = self.scratch / "rejects"
        folder.mkdir()
        for part in self.parts:
            place = folder / f"{part.source}.parquet"
            rows = f"""(SELECT * REPLACE ({REJECT_ID} IN (SELECT reject FROM mended) AS mended)
                        FROM (SELECT *, 0 AS stage FROM read_parquet('{part.rejects}') UNION ALL
                              SELECT *, false, 1 FROM extra WHERE source = '{part.source}'))"""
            marked = self.connection.execute(
                f'SELECT "table", file, reason, count(*) FROM {rows} WHERE mended GROUP BY ALL'
            ).fetchall()
            for table, file, reason, count in marked:
                account = self.accounts[part.source]
                moved(account, (table, file, False, reason, False), MENDED_SINCE + reason, count, aside=True)
            if part.source == MENDED:  # its reject waits still: that is one row that is wrong, and not two
                for fate in [f for f in self.accounts[MENDED] if not (f[2] or f[4])]:
                    rows_of = self.accounts[MENDED][fate]
                    moved(self.accounts[MENDED], fate, NOT_MENDED + fate[3], rows_of, aside=True)
            if marked or self._one(f"SELECT count(*) FROM extra WHERE source = '{part.source}'"):
                save(
                    self.connection.sql(
                        f"""SELECT {names(REJECTS.names)} FROM {rows}
                            ORDER BY stage, {names(REJECTS.names[1:])}"""
                    ),
                    (place, REJECTS),
                )
            else:
                os.link(part.rejects, place)

    def _one(self, sql: str) -> int:
        return int(self.connection.execute(sql).fetchall()[0][0])


def write_digests(fold: Fold, files: dict[str, Any], old: Path, before: dict[str, Any]) -> None:
    """Write the digests of every file; of one that the generation before has too they are as they were."""
    known = digests.read_files(old / "digests.json")
    connection = duck.connect(memory=fold.memory)
    result: dict[str, dict[str, digests.Days]] = {}
    for table, by_source in files.items():
        for source, facts in by_source.items():
            same = before.get("files", {}).get(table, {}).get(source) == facts
            days = known.get(table, {}).get(source) if same else None
            result.setdefault(table, {})[source] = (
                digests.of_file(connection, TABLES[table], fold.scratch / table / f"{source}.parquet")
                if days is None
                else days
            )
    connection.close()
    digests.write(fold.scratch / "digests.json", result)
