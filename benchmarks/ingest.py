"""A file larger than memory, against `pandas.read_csv` of the same file, each in a process of its own."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import stated
from features.sources.complete_journey import find

COPIES = 3  # of the real year, each of other households: 380 MB of CSV
MEMORY = 300  # MB
SHOP = """
name = "Large"
zone = "America/New_York"
currency = "USD"
exponent = 2
[value]
margin_rate = 0.25
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
discount = "off"
category = "category"
department = "department"
store_id = "store"
channel = { value = "store" }
"""
# The peak of a process itself; what getrusage gives begins with its parent's.
PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
OURS = f"""
from features.ingestion.ingest import ingest
from features.settings import Settings
ingest(Settings.from_env()){PEAK}"""
THEIRS = f"import sys, pandas; pandas.read_csv(sys.argv[1]){PEAK}"


def figures() -> Iterator[dict[str, Any]]:
    """Lines a second, and the peak of the process, with a limit far below the file's size."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Path(folder) / "shop"
        lines = _write(shop)
        ours, our_peak = _run(OURS, Path(folder))
        theirs, their_peak = _run(THEIRS, Path(folder))
        size = (shop / "lines.csv").stat().st_size / 1e6
    what = f"{lines:,} lines ({size:.0f} MB of CSV) with {MEMORY} MB"
    yield stated(f"ingest {what}", lines / ours, "lines/s", "pandas.read_csv's", theirs / ours, None)
    yield stated(
        f"peak memory, {what}", our_peak, "MB", "pandas.read_csv's", our_peak / their_peak, 0.5, True
    )


def _write(shop: Path) -> int:
    """The shop with its file; return how many lines that has."""
    import duckdb

    real = find(None)
    shop.mkdir()
    (shop / "shop.toml").write_text(SHOP, "utf-8")
    with duckdb.connect() as connection:
        (lines,) = connection.execute(
            f"""COPY (SELECT household_id || '-' || n AS household, basket_id || '-' || n AS basket,
                             product_id AS product, quantity, sales_value AS value,
                             retail_disc + coupon_disc AS off, transaction_timestamp AS happened,
                             product_category AS category, department, store_id AS store
                      FROM range({COPIES}) r(n), '{real}/transactions.parquet'
                           LEFT JOIN '{real}/products.parquet' USING (product_id))
                TO '{shop}/lines.csv' (HEADER)"""
        ).fetchall()[0]
    return int(lines)


def _run(program: str, folder: Path) -> tuple[float, float]:
    """Wall seconds and peak MB of a program in a process of its own."""
    environ = {
        "PROPENSITY_HOME": str(folder / "home"),
        "PROPENSITY_SHOP": str(folder / "shop"),
        "PROPENSITY_MEMORY": f"{MEMORY}MB",
    }
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "shop" / "lines.csv")],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - started, int(done.stdout) * 1024 / 1e6
