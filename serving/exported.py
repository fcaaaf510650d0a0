"""What published features know of the ledger's own contacts, so that none counts twice.

`propensity ledger export` writes what was sent into the customer log; features built from it count it. Until
they are published, and always for what is not told as sent yet, the ledger counts it.
"""

from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from features.compute.builds import Build
from features.errors import NoBuild
from features.exported import last_delivery
from features.online import Published
from features.settings import Settings


class Seen(NamedTuple):
    """Deliveries up to this number, recorded until then, are in the features. until: None: none are."""

    number: int = 0
    until: datetime | None = None


NOTHING = Seen()


def seen(settings: Settings, published: Published) -> Seen:
    """What those features know of the ledger."""
    number = published.last_delivery
    if number is None:
        number = _last(settings.home, published.build)
    return Seen(number, published.moment) if number else NOTHING


@lru_cache(maxsize=8)
def _last(home: Path, build: str) -> int:
    """Of a publication that does not say it, by the build's log where that is; else nothing is certain."""
    try:
        return last_delivery(home / "log" / Build.open(Settings(home=home), build).log)
    except NoBuild:
        return 0
