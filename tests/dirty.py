"""Small shops with dirty files, written by a test and brought in by a mapping."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import propensity
from features.ingestion.ingest import Count, Ingested, ingest
from features.log import Log
from features.settings import Settings

HEAD = """
name = "Test"
zone = "{zone}"
currency = "{currency}"
exponent = 2
[value]
margin_rate = 0.25
"""


@dataclass(frozen=True)
class Brought:
    """What an ingestion made: the log's rows, and the fate of every raw row."""

    settings: Settings
    done: Ingested
    log: Log

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.log.read(table).to_pylist() if table in self.log.tables else []

    def fates(self, table: str) -> dict[str, int]:
        """What became of the raw rows of a table, as the operator reads it."""
        fates: Counter[str] = Counter()
        for count in self.done.account:
            if count.table == table and count.file is not None:
                fates[fate(count)] += count.rows
        return dict(fates)


def fate(count: Count) -> str:
    """`accepted`, `aside: why` or `rejected: why`."""
    kind = "accepted" if count.accepted else "aside" if count.aside else "rejected"
    return f"{kind}: {count.what}" if count.what else kind


TILL = """[[mapping.till.read]]
table = "orders"
files = "orders.csv"
[mapping.till.read.columns]
order_id = "no"
customer_id = "who"
at = "day"
amount = "paid"
channel = { value = "store" }
"""  # a reading of orders.csv: no,who,day,paid
# Of orders*: no,who,when,paid, and of lines*.csv: no,who,when,what,n,price. `more`: further lines of TOML.
ORDERS = """
[mapping.web]
[[mapping.web.read]]
table = "orders"
files = "orders*"
{more}
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
amount = "paid"
channel = {{ value = "web" }}
"""
LINES = """
[mapping.web]
[[mapping.web.read]]
table = "order_lines"
files = "lines*.csv"
[mapping.web.read.columns]
order_id = "no"
customer_id = "who"
at = "when"
product_id = "what"
items = "n"
amount = {{ product_of = ["n", "price"] }}
channel = {{ value = "web" }}
{more}
"""


def write_shop(
    folder: Path,
    mapping: str,
    files: Mapping[str, str | bytes],
    zone: str = "Europe/London",
    currency: str = "GBP",
) -> Settings:
    """A shop's folder with that mapping and those files; its settings, with a home beside it."""
    shop = folder / "shop"
    for name, content in files.items():
        path = shop / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    shop.mkdir(parents=True, exist_ok=True)
    (shop / "shop.toml").write_text(HEAD.format(zone=zone, currency=currency) + mapping, "utf-8")
    return Settings(home=folder / "home", shop=shop)


def bring_in(settings: Settings, source: str | None = None) -> Brought:
    """Ingest the shop's source."""
    done = ingest(settings, source)
    return Brought(settings, done, Log.open(settings))


def rewrite(path: Path, how: Callable[[dict[str, str]], Mapping[str, str]], encoding: str = "utf-8") -> None:
    """A sheet of rejects as somebody mends it: each row with the cells that `how` gives for it."""
    with path.open(newline="", encoding=encoding) as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, **how(row)} for row in rows)


def run(settings: Settings, *command: str, **env: str) -> Result:
    """A command in a shop's home, as its user types it; env: more of the environment."""
    here = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop)}
    unset = {name: None for name in os.environ if name.startswith("PROPENSITY_")}
    return CliRunner().invoke(propensity.main, [*command], env={**unset, **here, **env})
