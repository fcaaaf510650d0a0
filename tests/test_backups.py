"""A backup that cannot be restored, or that brings back who was erased, is worse than none."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from deliveries import deliver, order

from features.compute.builds import Build
from features.compute.engine import build
from features.errors import PropensityError, UsageError
from features.ingestion.ingest import take
from features.log import Log
from features.moments import parse_moment
from features.online import OnlineRows, publish
from features.settings import Settings
from propensity import main
from propensity.backups import backup, restore
from propensity.erasing import erase
from serving.ledger import Ledger

MOMENT = parse_moment("2017-02-10")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    rows = [order(str(n), f"c{n % 40}", f"2017-01-{n % 28 + 1:02}", n) for n in range(200)]
    take(settings, [deliver(tmp_path / "till", "till", {"orders": rows})])
    made, _ = build(settings, [parse_moment("2017-02-01"), MOMENT])
    publish(settings, made, MOMENT)
    with closing(Ledger(settings)):
        pass
    (settings.home / "scores").mkdir()
    (settings.home / "scores" / "some.txt").write_text("x")
    return settings


def _state(home: Path) -> dict[str, bytes | list[str]]:
    """Files as bytes, databases as what they say; not the locks."""
    state: dict[str, bytes | list[str]] = {}
    for path in sorted(home.rglob("*")):
        if not path.is_file() or "lock" in path.name or path.name.endswith(("-wal", "-shm")):
            continue
        name = str(path.relative_to(home))
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as db:
                state[name] = list(db.iterdump())
        else:
            state[name] = path.read_bytes()
    return state


def test_a_restored_home_is_the_same_home(home: Settings, tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    done = backup(home, archive)
    other = replace(home, home=tmp_path / "other")
    assert restore(other, archive).files == done.files
    assert _state(other.home) == _state(home.home)
    assert build(other, [MOMENT])[1] == 0, "nothing is computed again"
    here, there = OnlineRows.open(home), OnlineRows.open(other)
    ids = [f"c{n}" for n in range(40)]
    assert (
        here.read(here.current(), ids).matrix.tobytes() == there.read(there.current(), ids).matrix.tobytes()
    )
    with pytest.raises(UsageError, match="is not empty"):
        restore(other, archive)
    before = _state(other.home)
    (other.home / "scores" / "some.txt").write_text("y")
    restore(other, archive, force=True)
    assert _state(other.home) == before
    one, two = Log.open(other).paths("orders")[0], next((other.home / "parts").glob("*/*/orders.parquet"))
    assert one.samefile(two), "shared files stay shared"


def test_a_light_backup_leaves_out_what_can_be_computed(home: Settings, tmp_path: Path) -> None:
    backup(home, tmp_path / "light.tar", light=True)
    other = replace(home, home=tmp_path / "other")
    restore(other, tmp_path / "light.tar")
    assert Build.open(other).moments == (MOMENT,), "what is published stays"
    build(other, [parse_moment("2017-02-01"), MOMENT])
    mine, theirs = Build.open(home), Build.open(other)
    for moment in mine.moments:
        assert mine.path(moment).read_bytes() == theirs.path(moment).read_bytes()
    assert not (other.home / "scores").exists()


def test_who_was_erased_since_the_backup_stays_erased(home: Settings, tmp_path: Path) -> None:
    backup(home, tmp_path / "old.tar")
    erase(home, "c7")
    assert restore(home, tmp_path / "old.tar", force=True).erased_since
    ids = Log.open(home).read("customers")["customer_id"].to_pylist()
    assert "c7" not in ids
    assert len(ids) == 39
    assert "c7" not in Build.open(home).read(MOMENT)["customer_id"].to_pylist()
    online = OnlineRows.open(home)
    assert online.read(online.current(), ["c7", "c8"]).status.tolist() == [2, 0]
    lost = tmp_path / "kept"
    (home.home / "erased").rename(lost)
    other = replace(home, home=tmp_path / "other")
    restore(other, tmp_path / "old.tar", tombstones=lost)
    assert "c7" not in Log.open(other).read("customers")["customer_id"].to_pylist()


def test_a_restore_that_cannot_know_who_was_erased_since_says_so(home: Settings, tmp_path: Path) -> None:
    """Else an old archive brings a person back, and nobody hears of it."""
    backup(home, tmp_path / "old.tar")
    (tmp_path / "lost").mkdir()
    for name, more, said in (("a", [], True), ("b", ["--tombstones", str(tmp_path / "lost")], False)):
        env = {"PROPENSITY_HOME": str(tmp_path / name)}
        result = CliRunner().invoke(main, ["restore", str(tmp_path / "old.tar"), *more], env=env)
        assert (result.exit_code, "--tombstones FOLDER" in result.output) == (0, said)


@pytest.mark.parametrize("damage", ["flip", "cut", "other"])
def test_a_damaged_archive_is_refused_and_the_home_stays(home: Settings, tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "backup.tar"
    backup(home, archive)
    data = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        largest = max(tar.getmembers(), key=lambda member: member.size)
    if damage == "flip":  # within a file, and not in what a tar file is filled up with
        data[largest.offset_data + largest.size // 2] ^= 1
    archive.write_bytes({"flip": bytes(data), "cut": bytes(data[: len(data) // 2]), "other": b"tar"}[damage])
    before = _state(home.home)
    with pytest.raises(PropensityError, match=r"backup\.tar"):
        restore(home, archive, force=True)
    assert _state(home.home) == before
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_killed_restore_leaves_the_home_or_none(home: Settings, tmp_path: Path) -> None:
    archive, target = tmp_path / "backup.tar", tmp_path / "target"
    backup(home, archive)
    chance = random.Random(5)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-m", "propensity", "restore", str(archive)],
            env={**os.environ, "PROPENSITY_HOME": str(target)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.2 + 0.6 * chance.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not target.exists() or _state(target) == _state(home.home)
        if target.exists():
            break
    if not target.exists():
        restore(replace(home, home=target), archive)
    assert _state(target) == _state(home.home)


def test_a_backup_is_consistent_while_others_write(home: Settings, tmp_path: Path) -> None:
    """The ledger's file alone, copied under a writer, can be half a transaction."""
    path, stop = home.home / "ledger" / "ledger.sqlite", threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as db:
            number = 0
            while not stop.is_set():
                number += 1
                db.execute("begin immediate")
                for side in "ab":
                    db.execute("insert into contexts values (?, ?)", (f"{side}{number}", b"x" * 1000))
                db.execute("commit")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        backup(home, tmp_path / "busy.tar")
    finally:
        stop.set()
        writer.join()
    other = replace(home, home=tmp_path / "other")
    restore(other, tmp_path / "busy.tar")
    with closing(sqlite3.connect(other.home / "ledger" / "ledger.sqlite")) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
        sides = db.execute("select substr(hash, 1, 1), count(*) from contexts group by 1").fetchall()
        assert len({count for _, count in sides}) <= 1, "both rows of a transaction, or neither"


def test_the_commands(home: Settings, tmp_path: Path) -> None:
    def run(*words: str, home_: Path = home.home) -> tuple[int, str]:
        result = CliRunner().invoke(main, list(words), env={"PROPENSITY_HOME": str(home_)})
        return result.exit_code, result.output

    archive = str(tmp_path / "b.tar")
    assert "would write" in run("backup", archive, "--dry-run")[1]
    assert not Path(archive).exists()
    assert run("backup", archive)[0] == 0
    before = Path(archive).read_bytes()
    code, said = run("backup", archive, "--light")
    assert (code, "overwrite it with --force" in said, Path(archive).read_bytes() == before) == (
        2,
        True,
        True,
    )
    assert run("backup", archive, "--force")[0] == 0
    assert run("backup", str(home.home / "b.tar"))[0] == 2
    assert run("restore", archive)[0] == 2
    assert "would restore" in run("restore", archive, "--dry-run", home_=tmp_path / "new")[1]
    assert not (tmp_path / "new").exists()
    assert run("restore", archive, home_=tmp_path / "new")[0] == 0
