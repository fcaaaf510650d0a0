"""Counted days can be computed again: where a file of them is damaged, a night is judged as ever."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from watched import Shop

import monitoring
from benchmarks.monitoring_shop import NAME
from monitoring.profiles import REFERENCE


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def _of_another_month(path: Path) -> None:
    pq.write_table(pq.read_table(sorted(path.parent.glob("????-??.parquet"))[0], partitioning=None), path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _kept(folder: Path) -> dict[str, object]:
    tables = {one.name: pq.read_table(one, partitioning=None).to_pydict() for one in folder.glob("*.parquet")}
    return {"counted": (folder / "counted.json").read_text("utf-8"), **tables}


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("????-??.parquet", _cut), ("????-??.parquet", _empty), ("????-??.parquet", _of_another_month),
        (f"{REFERENCE}.parquet", _cut), ("counted.json", _cut), ("counted.json", _empty),
    ],
)  # fmt: skip
def test_a_damaged_file_is_counted_again_and_changes_no_verdict(
    usual: Shop, tmp_path: Path, name: str, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Else: from the night on which a disk hiccups nothing is judged any more, and nobody is told."""
    shop = usual.copy(tmp_path)
    before = monitoring.run(shop.settings, html=False, keep=False)
    path = sorted((shop.settings.home / "profiles" / NAME).glob(f"*/{name}"))[-1]
    whole = _kept(path.parent)
    assert callable(damage)
    damage(path)
    after = monitoring.run(shop.settings, html=False, keep=False)
    assert f"{path} is damaged" in caplog.text
    assert [*map(str, after.findings)] == [*map(str, before.findings)]
    assert _kept(path.parent) == whole
