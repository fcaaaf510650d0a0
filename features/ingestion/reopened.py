"""A source of the log, opened again from where its rows came, for its part is gone.

The shop's own from their files; mended rows from what was taken in; events from the inbox; derived tags, and
what became of our own decisions, from the log itself, which holds them all.
"""

import json
import shutil
from contextlib import closing
from pathlib import Path

from features.ingestion.mended import INBOX, MENDED
from features.log import DERIVED_TAGS, LEDGER, Log
from features.settings import Settings
from features.shop import Shop
from features.sources import Source, derived_tags, open_source


def reopened(settings: Settings, shop: Shop, name: str, scratch: Path) -> Source:
    """The source of that name; a file that it needs is written in `scratch`.

    SourceError or UsageError if its files are not there any more.
    """
    # Each of these modules imports ingestion.
    if name == MENDED:
        from features.ingestion.taken import taken_source

        return taken_source(settings)
    if name == INBOX:
        from features.inbox import Inbox
        from features.sources import inbox

        with closing(Inbox(settings)) as events:
            return inbox.source(events.write_rows()[0])
    if name == DERIVED_TAGS:
        scratch.mkdir(parents=True, exist_ok=True)
        of_log = Log.open(settings).folder / "tags" / f"{DERIVED_TAGS}.parquet"
        shutil.copyfile(of_log, scratch / derived_tags.FILE)
        return derived_tags.source(scratch)
    if name == LEDGER:
        from features.sources import inbox

        scratch.mkdir(parents=True, exist_ok=True)
        _rows_of(Log.open(settings), name, scratch)
        return inbox.source(scratch, name)
    return open_source(shop, name, as_of=settings.as_of)


def _rows_of(log: Log, name: str, folder: Path) -> None:
    """A source's contacts and responses, as files of JSON lines."""
    import pyarrow.parquet as pq

    for table in ("contacts", "responses"):
        if name not in log.files.get(table, {}):
            continue
        rows = pq.read_table(log.folder / table / f"{name}.parquet", partitioning=None).to_pylist()
        lines = (json.dumps({"_line": number, **row}, default=str) for number, row in enumerate(rows, 1))
        (folder / f"{table}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
