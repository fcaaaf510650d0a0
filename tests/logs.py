"""Logs and shops that tests are made of: the real ones, and ones written by hand."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.files import write_atomically
from features.ingestion.ingest import arrow_schema
from features.log import Log
from features.moments import parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import Shop
from features.sources import complete_journey
from features.tables import TABLES

ROOT = Path(__file__).parent.parent
OF_LOG = Shop.load(Settings().shop).of_log  # of the bundled shop
TODAY = parse_moment("2017-12-31")  # in the real log


def real_data(name: str) -> Path:
    """The folder of a real public log. Absent: skip by name, unless the environment demands the data."""
    root = Path(os.environ.get("PROPENSITY_DATA", ROOT.parent / "shared" / "data"))
    if (root / name).is_dir():
        return root / name
    if name == "complete_journey":
        return complete_journey.find(None)
    if os.environ.get("PROPENSITY_REQUIRE_DATA"):
        pytest.fail(f"{root / name} is absent, and PROPENSITY_REQUIRE_DATA demands it")
    pytest.skip(f"{root / name} is absent")


def fewer_households(folder: Path, share: int) -> Path:
    """The files of the Complete Journey with one household of so many, in that folder; the folder."""
    folder.mkdir(parents=True)
    for path in real_data("complete_journey").glob("*.parquet"):
        table = pq.read_table(path)
        if "household_id" in table.column_names:
            number = table["household_id"].cast(pa.int64()).to_numpy()
            table = table.filter(pa.array(number % share == 0))
        pq.write_table(table, folder / path.name)
    return folder


def write_log(folder: Path, tables: Mapping[str, Iterable[Mapping[str, Any]]], parts: int = 1) -> Log:
    """Canonical parquet of the rows as they are, split over `parts` sources."""
    files: dict[str, dict[str, dict[str, object]]] = {}
    for name, rows in tables.items():
        table = pa.Table.from_pylist(list(rows), schema=arrow_schema(TABLES[name], 2))
        for part in range(parts):
            path = folder / name / f"part{part}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            piece = table.take(pa.array(range(part, len(table), parts), pa.int64()))
            pq.write_table(piece, path)
            files.setdefault(name, {})[f"part{part}"] = {"rows": len(piece), "sha256": ""}
    starts = min((r["at"] for r in tables.get("orders", ())), default=parse_moment("2017-01-01"))
    return Log(folder, "by hand", starts, parse_moment("2030-01-01"), OF_LOG, files)


def empty_shop(folder: Path, **text: str) -> Path:
    """A copy of the bundled shop's folder that a test may add declarations to (shop_py=...)."""
    for path in (BUNDLED_SHOPS / "complete_journey").iterdir():
        if path.is_file():
            write_atomically(folder / path.name, path.read_bytes())
    if "shop_py" in text:
        write_atomically(folder / "shop.py", text["shop_py"].encode())
    return folder
