"""Files as they are delivered. If these fail, a nightly transfer that broke is a traceback, or half a log."""

import gzip
import json
import zipfile
from pathlib import Path

import duckdb
import pytest

from features.errors import SourceError
from features.sources import raw
from features.sources.loading import load
from features.sources.raw import Format

RECORDS = [{"no": f"{n:05}", "who": "会员"} for n in range(2_000)]


def packed(folder: Path, suffix: str) -> Path:
    """JSON lines of RECORDS, deflated in a zip, gzipped, or as they are."""
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in RECORDS).encode()
    path = folder / f"trade.jsonl{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("trade.jsonl", text)
    else:
        path.write_bytes(gzip.compress(text) if suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".zip"])
def test_json_lines_are_read_however_they_are_packed(tmp_path: Path, suffix: str) -> None:
    """Else: the zip that the shop's system exports has no columns."""
    path = packed(tmp_path, suffix)
    assert raw.columns_of(path, Format()) == ("no", "who")
    connection = duckdb.connect()
    load(connection, "t", [("trade", path)], Format())
    rows = connection.execute("SELECT no, who FROM t ORDER BY no").fetchall()
    assert rows == [(one["no"], one["who"]) for one in RECORDS]


@pytest.mark.parametrize("suffix", [".gz", ".zip"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, suffix: str, kind: str) -> None:
    """Else: a traceback without the file's name, in the night."""
    whole = packed(tmp_path, suffix)
    path = tmp_path / f"night.{kind}{suffix}"
    path.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(SourceError, match=rf"night\.{kind}"):
        load(duckdb.connect(), "t", [("night", path)], Format())
    with pytest.raises(SourceError, match=rf"night\.{kind}"):
        for _ in raw.first_records(path, Format(), 10_000_000, 1 << 30):
            pass


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_of_a_record_with_too_many_fields_all_are_kept(tmp_path: Path, encoding: str) -> None:
    """Else what stood there is lost, and whoever mends the line cannot know what it was."""
    path = tmp_path / "a.csv"
    lines = ["no;名", "1;a", '2;b;c;"d;""e"" ";f', "", "3;c", '4;"d\n1";e', "5;f"]
    path.write_bytes("\n".join(lines).encode(encoding))
    connection = duckdb.connect()
    load(connection, "t", [("a", path)], Format(encoding=encoding, separator=";"))
    broken = connection.execute("SELECT _line, _raw FROM t_broken ORDER BY 1").fetchall()
    rests = {line: json.loads(record)["_more"] for line, record in broken}
    assert rests == {1: 'c;"d;""e"" ";f', 3: "e"}
    assert connection.execute("SELECT no, _line FROM t ORDER BY 2").fetchall() == [
        ("1", 0),
        ("3", 2),
        ("5", 4),
    ]
