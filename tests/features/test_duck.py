"""Databases are opened once and lent again. If these fail, one question answers from what another left."""

import shutil
from pathlib import Path

import duckdb
import pytest

from features import duck

MEMORY = 350_000_000  # bytes: little, so that more than that lies in the folder


def test_the_next_finds_nothing_of_the_one_before(tmp_path: Path) -> None:
    """Else a table of one shop is read as that of the next, or its times in another's zone."""
    with duck.connect(threads=1) as first:
        database = first._database
        first.execute("CREATE TABLE t AS SELECT 1 AS a")
        first.execute("CREATE TEMP TABLE u AS SELECT 1 AS a")
        first.execute("CREATE TEMP MACRO m(x) AS x")
        first.execute("SET TimeZone = 'Asia/Shanghai'")
    with duck.connect(threads=1) as second:
        assert second._database is database, "it was opened anew"
        assert second.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
        for asked in ("FROM t", "FROM u", "SELECT m(1)"):
            with pytest.raises(duckdb.CatalogException):
                second.execute(asked)


def test_whoever_asks_meanwhile_has_another(tmp_path: Path) -> None:
    """Else what two threads count is mixed."""
    with duck.connect() as one, duck.connect() as other:
        assert one._database is not other._database
        one.execute("CREATE TABLE t AS SELECT 1 AS a")
        other.execute("CREATE TABLE t AS SELECT 2 AS a")
        assert one.execute("FROM t").fetchall() == [(1,)]
    one.close()
    with duck.connect() as one, duck.connect() as other:
        assert one._database is not other._database, "it was given back twice"


def test_one_that_has_files_in_its_folder_is_not_lent_again(tmp_path: Path) -> None:
    """Else the next ingestion looks for them in a folder that is gone."""
    for name in ("first", "second"):
        folder = tmp_path / name
        with duck.connect(memory=MEMORY, folder=folder) as connection:
            connection.execute("CREATE TEMP TABLE t AS SELECT md5(range::VARCHAR) AS a FROM range(6_000_000)")
            assert list((folder / "spill").iterdir())
            assert connection.execute("SELECT count(*) FROM t").fetchall() == [(6_000_000,)]
        shutil.rmtree(folder)
