"""A digest that misses a change would keep features that are no longer true."""

import random
from pathlib import Path

from logs import write_log

from features import duck
from features.ingestion import digests
from features.moments import DAY, iso, parse_moment
from features.tables import TABLES

START = parse_moment("2017-01-01T20:00:00Z")


def _rows(n: int) -> list[dict[str, object]]:
    return [
        {
            "customer_id": f"{i % 7:03}",
            "at": START + i * DAY / 8,
            "known_at": START + i * DAY / 8,
            "attributes": [("age", str(i)), ("town", "x")],
        }
        for i in range(n)
    ]


def _of(folder: Path, rows: list[dict[str, object]], parts: int = 1) -> dict[str, str]:
    log = write_log(folder, {"customers": rows}, parts)
    connection = duck.connect()
    table = TABLES["customers"]
    files = {p.stem: digests.of_file(connection, table, p) for p in log.paths("customers")}
    digests.write(folder / "digests.json", {"customers": files})
    return log.digests["customers"]


def test_order_and_files_do_not_matter_any_change_does(tmp_path: Path) -> None:
    rows = _rows(40)
    whole = _of(tmp_path / "a", rows)
    assert list(whole) == [f"2017-01-0{d}" for d in range(1, 7)], "days are of UTC"
    shuffled = random.Random(1).sample(rows, len(rows))
    assert _of(tmp_path / "b", shuffled, parts=3) == whole
    changed = [
        {**r, "attributes": [("age", "0"), ("town", "y")]} if i == 20 else r for i, r in enumerate(rows)
    ]
    day = iso(rows[20]["known_at"])[:10]  # type: ignore[arg-type]
    other = _of(tmp_path / "c", changed)
    assert {d for d in whole if whole[d] != other[d]} == {day}
    twice = _of(tmp_path / "d", [*rows, rows[20], rows[20]])
    assert {d for d in whole if whole[d] != twice[d]} == {day}, "two more of the same cancel out in no digest"
    assert not (set(_of(tmp_path / "e", rows[:20])) - set(whole))


def test_another_version_takes_nothing_over(tmp_path: Path) -> None:
    log = write_log(tmp_path, {"customers": _rows(3)})
    assert log.digests == {}
    (tmp_path / "digests.json").write_text('{"version": "0", "files": {"customers": {}}}')
    assert log.digests == {}
