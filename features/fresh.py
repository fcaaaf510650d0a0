"""Recompute the rows of customers of whom something new came in: the inbox to the overlay, within a second.

`python -m features.fresh` watches the inbox of a home, one such process a home. The service starts it, for it
may not itself load what computes features (duckdb, numba); it computes with the engine that builds use, on
these customers' part of the log that the publication was built from, and their rows of the inbox. Batch and
online can then not disagree: the next build reads the same rows from the same log.

What decides whether an event is still to be overlaid: its customer's published row knows it if the log of
that build had taken it in, and it came before the build's moment. After a flip of the pointer to another
publication all that this one does not know is written again.
"""

import fcntl
import logging
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.compute.builds import Build
from features.definitions import Feature, catalogue, feature_hash
from features.errors import FeatureMismatch, NoBuild, PropensityError
from features.inbox import Inbox, Kept
from features.log import Log
from features.online import Fresh, OnlineRows, Published, erase, write_overlay
from features.settings import Settings
from features.shop import Shop, shop_of
from features.tables import TABLES, Type
from features.tombstones import Tombstones

if TYPE_CHECKING:
    pass

EVERY = 0.02  # seconds between two looks at the inbox and at the pointer: some 50 microseconds each
AT_ONCE = 200  # customers recomputed in one go: about as long as a single one takes, twice
RETRY = 5.0  # seconds until what failed is tried again

TAKEN = 3  # exit code: another process of this home watches

report = logging.getLogger("propensity.fresh")


class Overlay:
    """Keeps the overlay of what is published up to the inbox. `step` is one look at both."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._inbox = Inbox(settings)
        self._online = OnlineRows.open(settings)
        self._published: Published | None = None
        self._seen = 0  # number of the last event whose customer is in `_waiting`, or done
        self._waiting: dict[str, int] = {}  # customer -> number of her last event
        self._changes = -1
        self._not_before = 0.0

    def step(self) -> int:
        """Write the overlay rows of the customers who wait, AT_ONCE at most; return how many were written.

        What fails is tried again after RETRY seconds; meanwhile decisions read the inbox itself.
        """
        if time.monotonic() < self._not_before:
            return 0
        try:
            self._look()
            if not self._waiting or self._published is None:
                return 0
            some = list(self._waiting)[:AT_ONCE]
            done = self._write(self._published, some)
            self._inbox.note_overlaid(self._published.id, done)
        except NoBuild:  # nothing is published, or something else since we looked
            self._published = None
            return 0
        except PropensityError as error:  # ours repeat no customer's data
            return self._later(f"{error.code}: {error}")
        except Exception as error:  # the last door: the log names the place, and no value
            place = traceback.extract_tb(error.__traceback__)[-1]
            return self._later(f"{type(error).__name__} at {place.filename}:{place.lineno} {place.name}")
        for customer_id in some:  # one without rows was erased meanwhile
            if self._waiting[customer_id] <= done.get(customer_id, self._waiting[customer_id]):
                del self._waiting[customer_id]
        return len(some)

    def _later(self, why: str) -> int:
        self._not_before = time.monotonic() + RETRY
        report.warning("fresh rows wait: %s", why)
        return 0

    def _look(self) -> None:
        """Note who waits. After a flip that is everybody of whom the new publication does not know all."""
        published = self._online.current()
        if published != self._published:
            self._inbox.forget_overlaid()
            log = _log_of(self.settings, published)
            taken = self._inbox.taken(log.fingerprint)
            merged = log.merges().to_pylist()
            self._inbox.note_aliases({row["customer_id"]: row["canonical_id"] for row in merged})
            self._changes, self._seen = self._inbox.changes(), self._inbox.last()
            self._waiting = self._inbox.customers(taken, since=published.moment)
            self._published = published
            if not self._waiting:  # so that the first event waits for no import and no compiler
                rows_of(self.settings, published, [_somebody(self.settings, published)], [])
            return
        changes = self._inbox.changes()
        if changes != self._changes:
            self._changes = changes
            new = self._inbox.customers(self._seen)
            self._waiting |= new
            self._seen = max(self._seen, *new.values()) if new else self._seen

    def _write(self, published: Published, customer_ids: Sequence[str]) -> dict[str, int]:
        """Write these customers' overlay rows; customer -> number of the last event that hers has."""
        kept = self._inbox.rows(customer_ids)
        numbers = {row.customer_id: row.number for row in kept}  # in the order in which they came
        write_overlay(self.settings, published, rows_of(self.settings, published, list(numbers), kept))
        # Who was erased while we computed is on the list before her rows go: then ours goes too.
        gone = Tombstones.of(self.settings).customers(numbers)
        if gone:
            erase(self.settings, sorted(gone))
        return numbers


def rows_of(
    settings: Settings, published: Published, customer_ids: Sequence[str], kept: Sequence[Kept]
) -> dict[str, Fresh]:
    """What is known of these customers now: by the log of the published build, and by their inbox rows.

    A row whose key the log has is the log's. FeatureMismatch if the declarations are no longer those of what
    is published, LogError if the build's log is gone.
    """
    log = _log_of(settings, published)
    import pyarrow as pa

    from features.compute.engine import compute

    shop, now = shop_of(settings), settings.now()
    features = _features(shop, published)
    with tempfile.TemporaryDirectory(prefix="propensity-") as folder:
        part = _part(log, shop, customer_ids, kept, Path(folder))
        tables = [table for _, table in compute(part, shop, features, [now])]
        consents = _consents(part, now)
    if not tables:
        return {}
    table = pa.concat_tables(tables)
    matrix = np.column_stack([table.column(name).to_numpy() for name in features])
    ids = table.column("customer_id").to_pylist()
    return {id: Fresh(row, now, consents.get(id, {})) for id, row in zip(ids, matrix, strict=True)}


def _log_of(settings: Settings, published: Published) -> Log:
    return Log.at(settings.home / "log" / Build.open(settings, published.build).log)


def _somebody(settings: Settings, published: Published) -> str:
    ids = _log_of(settings, published).read("customers", ["customer_id"])["customer_id"]
    return str(ids[0])


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


def _part(log: Log, shop: Shop, customer_ids: Sequence[str], kept: Sequence[Kept], folder: Path) -> Log:
    """A log of these customers alone, with their rows of the inbox that the log does not have."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features import duck
    from features.ingestion.folding import OWNED
    from features.ingestion.ingest import arrow_schema

    fresh = _by_table(kept)
    files: dict[str, dict[str, dict[str, object]]] = {}
    with duck.connect() as connection:
        connection.register("wanted", pa.table({"customer_id": pa.array(customer_ids, pa.string())}))
        for name in sorted(log.tables | fresh.keys()):
            (folder / name).mkdir()
            table = TABLES[name]
            if "customer_id" not in table.columns:  # of everybody: products, the calendar
                files[name] = log.files[name]
                for path in log.paths(name):
                    (folder / name / path.name).symlink_to(path.absolute())
                continue
            schema = arrow_schema(table, shop.exponent)
            columns = ", ".join(f'"{column}"' for column in table.columns)
            known = "SELECT * FROM fresh LIMIT 0"
            if name in log.tables:
                paths = ", ".join(f"'{path}'" for path in log.paths(name))
                known = f"""SELECT {columns} FROM read_parquet([{paths}], hive_partitioning = false)
                            WHERE customer_id IN (SELECT customer_id FROM wanted)"""
            connection.register("fresh", pa.Table.from_pylist(fresh.get(name, []), schema=schema))
            # As folding does: a key's row is another source's, and an order's lines are all of one source.
            key = ", ".join(f'"{column}"' for column in OWNED.get(name, table.key))
            query = f"""WITH known AS MATERIALIZED ({known})
                SELECT * FROM known UNION ALL SELECT {columns} FROM fresh ANTI JOIN known USING ({key})"""
            if name == "customers":  # she is known from the first word of her on
                query = f"""SELECT customer_id, min("at") AS "at", min(known_at) AS known_at,
                                   any_value(attributes) AS attributes
                            FROM (({known}) UNION ALL SELECT {columns} FROM fresh) GROUP BY customer_id"""
            part = connection.sql(query).to_arrow_table().cast(schema)
            pq.write_table(part, folder / name / "part.parquet")
            files[name] = {"part": {"rows": len(part), "sha256": ""}}
    return Log(folder, log.fingerprint, log.starts_at, log.complete_until, log.shop, files)


def _by_table(kept: Sequence[Kept]) -> dict[str, list[dict[str, Any]]]:
    """Rows as Arrow takes them, with a row of customers for each."""
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


def _consents(part: Log, now: datetime) -> dict[str, dict[tuple[str, str], bool]]:
    """What each customer last said of each channel and purpose, as known now."""
    consents: dict[str, dict[tuple[str, str], bool]] = {}
    if "consents" in part.tables:
        said = [row for row in part.read("consents").to_pylist() if max(row["at"], row["known_at"]) <= now]
        for row in sorted(said, key=lambda row: (row["at"], row["status"] == "withdrawn")):
            granted = row["status"] == "granted"
            consents.setdefault(row["customer_id"], {})[row["channel"], row["purpose"]] = granted
    return consents


def run(settings: Settings, until: threading.Event) -> bool:
    """Watch the inbox until then; False at once if another process of this home does."""
    with _sole(settings) as alone:
        if alone:
            overlay = Overlay(settings)
            while not until.is_set():
                if not overlay.step():
                    until.wait(EVERY)
        return alone


def watched(settings: Settings) -> bool:
    """Whether a process watches this home."""
    with _sole(settings) as alone:
        return not alone


@contextmanager
def _sole(settings: Settings) -> Iterator[bool]:
    """True while this process is the one that watches this home; the lock dies with its holder."""
    path = settings.home / "log" / "inbox" / "fresh.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def main() -> None:
    """Watch until SIGTERM or SIGINT; with `--while-fed`, until whoever holds our standard input is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    until = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    if "--while-fed" in sys.argv[1:]:

        def wait() -> None:
            sys.stdin.buffer.read()
            until.set()

        threading.Thread(target=wait, daemon=True).start()
    sys.exit(0 if run(Settings.from_env(), until) else TAKEN)


if __name__ == "__main__":
    main()
