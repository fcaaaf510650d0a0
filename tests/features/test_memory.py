"""Files larger than memory: what a shop with years of lines loses if ingestion keeps them all at once."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from dirty import write_shop
from logs import real_data

from features.errors import SettingsError
from features.ingestion.ingest import ingest
from features.log import Log
from features.settings import LEAST_MEMORY, Settings

TILL = """
[mapping.till]
zone = "UTC"
[[mapping.till.read]]
table = "order_lines"
files = "lines.csv"
[mapping.till.read.columns]
order_id = "basket"
customer_id = "household"
at = "happened"
product_id = "product"
items = "quantity"
amount = "value"
category = { value = "a category whose name is long, as categories in files from the tills of shops are" }
department = "receipt"
channel = { value = "store" }
"""
LINES = 120_000

# Ingests in a process of its own, whose peak is then its own too.
PROGRAM = """
from features.ingestion.ingest import ingest
from features.settings import Settings
ingest(Settings.from_env())
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop with real lines, each with a text of its own: more than DuckDB has left for one sort."""
    settings = write_shop(tmp_path_factory.mktemp("till"), TILL, {}, "America/New_York", "USD")
    source = real_data("complete_journey") / "transactions.parquet"
    duckdb.sql(
        f"""COPY (SELECT basket_id AS basket, household_id AS household, product_id AS product, quantity,
                         sales_value AS value, transaction_timestamp AS happened,
                         repeat(md5(file_row_number::VARCHAR), 4) AS receipt
                  FROM read_parquet('{source}', file_row_number = true) LIMIT {LINES})
            TO '{settings.shop / "lines.csv"}' (HEADER)"""
    )
    return settings


def test_a_file_larger_than_memory_gives_the_same_log_within_it(till: Settings, tmp_path: Path) -> None:
    plenty = ingest(Settings(home=tmp_path / "plenty", shop=till.shop))
    home = tmp_path / "little"
    environ = {
        "PROPENSITY_HOME": str(home),
        "PROPENSITY_SHOP": str(till.shop),
        "PROPENSITY_MEMORY": f"{LEAST_MEMORY // 10**6}MB",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    peak = int(done.stdout) * 1024
    assert peak < 1.2 * LEAST_MEMORY, f"{peak / 1e6:.0f} MB"
    little = Settings(home=home, shop=till.shop)
    assert Log.open(little).fingerprint == plenty.generation
    again = ingest(little)
    assert (again.changed, again.account) == (False, plenty.account)
    for folder in ("log", "parts", "rejects"):
        assert _sums(home / folder) == _sums(tmp_path / "plenty" / folder)


def test_too_little_memory_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """Else the operator learns it from DuckDB, an hour into the files."""
    with pytest.raises(SettingsError, match="PROPENSITY_MEMORY is 90MB: expected 280MB or more"):
        Settings.from_env({"PROPENSITY_HOME": str(tmp_path / "home"), "PROPENSITY_MEMORY": "90MB"})


def _sums(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
