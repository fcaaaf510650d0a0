"""What published features know of the ledger's own contacts, so that none counts twice.

`propensity ledger export` writes what was sent into the customer log; features built from it count it. Until
they are published, and always for what is not told as sent yet, the ledger counts it.
"""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from features.compute.builds import Build
from features.errors import LogError, NoBuild
from features.log import LEDGER, Log
from features.online import Published
from features.settings import Settings


class Seen(NamedTuple):
    """Deliveries up to this number, recorded until then, are in the features. until: None: none are."""

    number: int = 0
    until: datetime | None = None


NOTHING = Seen()


def contact_id(number: int, decision_id: str, also: int | None = None) -> str:
    """The log's name of a contact: ids sort as the deliveries that told of them came in.

    also: its step, of which the delivery of another, or of all, tells.
    """
    return f"{number:012}-{decision_id}" + ("" if also is None else f"-{also}")


def seen(settings: Settings, published: Published) -> Seen:
    """What those features know of the ledger."""
    number = _last(settings.home, published.build)
    return Seen(number, published.moment) if number else NOTHING


@lru_cache(maxsize=8)
def _last(home: Path, build: str) -> int:
    """Number of the last delivery in the log that a build was made from; 0 without one."""
    settings = Settings(home=home)
    try:
        log = Log.at(home / "log" / Build.open(settings, build).log)
    except (NoBuild, LogError):  # its folder is gone: then nothing is certain to be in it
        return 0
    if LEDGER not in log.files.get("contacts", {}):
        return 0
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids = pq.read_table(log.folder / "contacts" / f"{LEDGER}.parquet", columns=["contact_id"])
    last = pc.max(ids["contact_id"]).as_py()
    return int(last.partition("-")[0]) if last else 0
