"""`propensity export`: files that a warehouse takes every night without anybody looking."""

import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from disks import fill, small_disk
from running import ROOT, environment, release
from two_days import CAME, CHANGED, FIRST, PEOPLE, SECOND, WENT, publish, score, two_days

from features.compute.builds import Build
from features.errors import UsageError
from features.files import locked, sha256
from features.ingestion import erasure
from features.moments import iso
from features.settings import Settings
from features.tombstones import Tombstones
from propensity import main
from propensity.nightly import DELTAS, export
from serving import score_store

FULL, DELTA, FULL_AFTER = "2017-12-02T000000Z-full", "2017-12-03T000000Z-delta", "2017-12-03T000000Z-full"


@pytest.fixture
def home(tmp_path: Path) -> tuple[Settings, Build]:
    settings, build = two_days(tmp_path)
    publish(settings, build, FIRST)
    return settings, build


def rows(path: Path, what: str = "part-*.parquet") -> dict[str, dict[str, object]]:
    read = [one for part in sorted(path.glob(what)) for one in pq.read_table(part).to_pylist()]
    return {one.pop("customer_id"): {**one, "known_at": None} for one in read}


def files(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(path.iterdir())}


def test_a_full_export_is_what_everyone_was_told_and_its_manifest_vouches_for_it(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else the warehouse plans campaigns with other figures than the service answers with."""
    settings, _ = home
    done = export(settings, tmp_path / "out", "full")
    manifest = json.loads((done.path / "manifest.json").read_text("utf-8"))
    table = pa.concat_tables(pq.read_table(part) for part in sorted(done.path.glob("part-*")))
    assert manifest["schema"] == [{"name": f.name, "type": str(f.type)} for f in table.schema]
    assert (manifest["as_of"], manifest["kind"]) == ("2017-12-02T00:00:00Z", "full")
    assert (manifest["models"], manifest["currency"]) == ({"churn_28d": "1", "segmentation": "1"}, "USD")
    assert manifest["rows"] == len(table) == len(PEOPLE)
    for file in manifest["files"]:
        path = done.path / file["name"]
        assert (path.stat().st_size, sha256(path)) == (file["bytes"], file["sha256"])
        assert pq.read_metadata(path).num_rows == file["rows"]
    scores = pq.read_table(score_store.path(settings, "churn_28d", "1", FIRST))
    assert table["customer_id"].equals(scores["customer_id"])
    assert table["churn_28d_probability"].equals(scores["probability"])
    assert table["churn_28d_percentile"].equals(scores["percentile"])
    segments = pq.read_table(score_store.path(settings, "segmentation", "1", FIRST))
    assert table["stage"].equals(segments["stage"])


def test_a_delta_brings_a_reader_to_what_a_full_export_says(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else a warehouse that applies deltas drifts away from the truth, and nobody sees it."""
    settings, build = home
    export(settings, tmp_path / "out", "full")
    publish(settings, build, SECOND)
    done = export(settings, tmp_path / "out", "delta")
    assert done.path.name == DELTA
    state, changed = rows(tmp_path / "out" / FULL), rows(done.path)
    deleted = list(rows(done.path, "deleted.parquet"))
    assert deleted == [WENT]
    assert {*CHANGED, CAME} <= changed.keys() < {*PEOPLE, CAME}
    assert all(state.get(id) != row for id, row in changed.items()), "what did not change is not in it"
    for id in deleted:
        del state[id]
    whole = export(settings, tmp_path / "out", "full")
    assert state | changed == rows(whole.path)
    digest = sha256(tmp_path / "out" / FULL / "manifest.json")
    assert done.manifest["previous"] == {"name": FULL, "sha256": digest}


def test_a_delta_made_anew_follows_what_it_followed_and_refuses_what_was_changed(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    settings, build = home
    out = tmp_path / "out"
    export(settings, out, "full")
    publish(settings, build, SECOND)
    export(settings, out, "delta")
    release(settings, tmp_path, build, "churn_28d", "2", seed=5)
    score(settings, build, SECOND)
    with pytest.raises(UsageError, match="--force replaces it"):
        export(settings, out, "delta")
    replaced = export(settings, out, "delta", force=True)
    assert replaced.manifest["models"]["churn_28d"] == "2"
    state = rows(out / FULL) | rows(replaced.path)
    del state[WENT]
    assert state == rows(export(settings, out, "full").path)
    (out / FULL / "part-00000.parquet").write_bytes(b"other")
    shutil.rmtree(out / FULL_AFTER)
    with pytest.raises(UsageError, match="not what its manifest says"):
        export(settings, out, "delta", force=True)


def test_again_changes_nothing_and_what_was_read_is_not_replaced_silently(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    settings, build = home
    done = export(settings, tmp_path / "out", "full")
    before = files(done.path)
    assert export(settings, tmp_path / "out", "full").written is False
    assert files(done.path) == before
    assert export(settings, tmp_path / "other", "full").written
    assert files(tmp_path / "other" / FULL) == before, "the same on another disk"
    release(settings, tmp_path, build, "churn_28d", "2", seed=5)
    score(settings, build, FIRST)
    with pytest.raises(UsageError, match="--force replaces it"):
        export(settings, tmp_path / "out", "full")
    assert files(done.path) == before
    assert export(settings, tmp_path / "out", "full", force=True).manifest["models"]["churn_28d"] == "2"


def test_killed_anywhere_there_is_no_manifest_and_the_next_run_makes_the_same_bytes(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else a loader takes half a night's file for the whole."""
    settings, _ = home
    meant = files(export(settings, tmp_path / "meant", "full").path)
    code = (
        "import os, sys, signal, pathlib\n"
        "from propensity.nightly import export\n"
        "from features.settings import Settings\n"
        "left = int(sys.argv[2])\n"
        "def hook(event, arguments):\n"
        "    global left\n"
        "    if event in ('open', 'os.rename', 'shutil.rmtree', 'os.mkdir') and 'out' in str(arguments[0]):\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(hook)\n"
        "export(Settings.from_env(), pathlib.Path(sys.argv[1]), 'full')\n"
    )
    killed = 0
    for step in (0, 1, 2, 3, 4, 6, 8, 10, 13):
        out = tmp_path / f"out{step}"
        run = [sys.executable, "-c", code, str(out), str(step)]
        done = subprocess.run(run, env=environment(settings, 1), cwd=ROOT, capture_output=True, check=False)
        if done.returncode == -signal.SIGKILL:
            killed += 1
            manifest = out / FULL / "manifest.json"
            assert not manifest.exists() or files(out / FULL) == meant
        else:
            assert done.returncode == 0, done.stderr.decode()
        again = export(settings, out, "full")
        assert {n: b for n, b in files(again.path).items() if not n.startswith(".")} == meant
        assert [one for one in out.iterdir() if one.name not in (FULL, ".lock")] == []
    assert killed >= 4


def test_two_at_once_are_told_one_after_the_other(home: tuple[Settings, Build], tmp_path: Path) -> None:
    """Else a delta follows what another export has just replaced, and the warehouse is stuck until --full."""
    settings, build = home
    out = tmp_path / "out"
    first = export(settings, out, "full").path / "manifest.json"
    publish(settings, build, SECOND)
    with ThreadPoolExecutor() as pool:
        with locked(out / ".lock"):
            delta = pool.submit(export, settings, out, "delta")
            with pytest.raises(TimeoutError):
                delta.result(1)
            first.write_text(first.read_text("utf-8") + "\n", "utf-8")  # as who replaces it does
        follows = delta.result().manifest["previous"]
    assert follows == {"name": FULL, "sha256": sha256(first)}


def test_who_is_erased_is_in_no_export_made_since_and_the_next_delta_says_whom_to_delete(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else the shop's warehouse keeps somebody whom the product has forgotten, and is never told."""
    settings, _ = home
    gone = PEOPLE[3]
    export(settings, tmp_path / "out", "full")
    Tombstones.of(settings).having({gone}).write()
    delta = export(settings, tmp_path / "out", "delta")
    assert (list(rows(delta.path, "deleted.parquet")), rows(delta.path)) == ([gone], {})
    erasure.obey(settings, Tombstones.of(settings), lambda *_: None)
    assert export(settings, tmp_path / "out", "delta").written is False
    assert gone not in rows(export(settings, tmp_path / "new", "full").path)


def test_the_command_says_what_it_wrote_and_refuses_what_cannot_be_meant(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    settings, build = home
    env = {k: v for k, v in environment(settings, 1).items() if k not in os.environ or k.startswith("PROP")}

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["export", *arguments], env=env)
        return done.exit_code, done.output

    out = str(tmp_path / "out")
    assert run(out, "--dry-run") == (
        0, f"would write {out}/{FULL}: 300 rows as of 2017-12-02T00:00:00Z\n",
    )  # fmt: skip
    assert not Path(out).exists()
    assert run(out, "--delta") == (
        2, f"error: {out} holds no export that a delta could follow: make one with --full\n",
    )  # fmt: skip
    assert run(out)[0] == 0
    assert "nothing to do" in run(out)[1]
    code, said = run(str(settings.home / "exports"))
    assert (code, "lies in the home itself" in said) == (2, True)
    publish(settings, build, SECOND)
    assert run(out)[0] == 0
    publish(settings, build, FIRST)
    code, said = run(out, "--delta")
    assert (code, "rolled back" in said) == (2, True)


def test_a_full_disk_of_the_folder_is_not_said_of_the_home(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else somebody frees the wrong disk, and the next night fails again."""
    settings, _ = home
    out = tmp_path / "out"
    env = {k: v for k, v in environment(settings, 1).items() if k not in os.environ or k.startswith("PROP")}
    with small_disk(out, 1):
        fill(out / "filler")
        full = CliRunner().invoke(main, ["export", str(out)], env=env)
        assert full.exit_code == 1, full.output
        assert full.output.startswith(f"error: {out} cannot be used ("), full.output
        assert "its disk is full: free space on it" in full.output
        assert str(settings.home) not in full.output
        (out / "filler").unlink()
        assert CliRunner().invoke(main, ["export", str(out)], env=env).exit_code == 0


def follow(out: Path, number: int, before: str, some: pa.Table, deleted: list[str]) -> str:
    """A delta after an export, of `number` seconds after the first day; its name."""
    at = FIRST + timedelta(seconds=number)
    path = out / f"{at:%Y-%m-%dT%H%M%SZ}-delta"
    path.mkdir()
    files = []
    for name, table in (
        ("part-00000", some),
        ("deleted", pa.table({"customer_id": pa.array(deleted, "string")})),
    ):
        pq.write_table(table, path / f"{name}.parquet")
        files.append({"name": f"{name}.parquet", "sha256": sha256(path / f"{name}.parquet")})
    follows = {"name": before, "sha256": sha256(out / before / "manifest.json")}
    manifest = {"kind": "delta", "as_of": iso(at), "previous": follows, "files": files}
    (path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return path.name


def test_a_delta_after_many_is_told_from_what_all_of_them_say(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Who was told of twice counts as told last; who was deleted and came again is there."""
    settings, build = home
    out = tmp_path / "out"
    whole = pq.read_table(export(settings, out, "full").path / "part-00000.parquet")
    state, before = {row["customer_id"]: row for row in whole.to_pylist()}, FULL
    random = np.random.default_rng(1)
    for number in range(1, DELTAS):
        ids = [PEOPLE[place] for place in random.choice(len(PEOPLE), 40, replace=False)]
        deleted, told = ids[:10], sorted(ids[10:])
        if number == DELTAS - 1:
            deleted = [id for id in deleted if id in state] + ["a stranger"]
        some = whole.filter(pc.is_in(whole["customer_id"], pa.array(told)))
        place = some.column_names.index("churn_28d_probability")
        some = some.set_column(place, some.field(place), pa.array(random.random(30), some.field(place).type))
        before = follow(out, number, before, some, deleted)
        for id in deleted:
            state.pop(id, None)
        state |= {row["customer_id"]: row for row in some.to_pylist()}
    publish(settings, build, SECOND)
    done = export(settings, out, "delta")
    assert (done.path.name, done.manifest["previous"]["name"]) == (DELTA, before)
    changed, deleted = rows(done.path), list(rows(done.path, "deleted.parquet"))
    now = rows(export(settings, out, "full").path)
    assert {*deleted} == state.keys() - now.keys()
    known = {
        id: {n: v for n, v in row.items() if n not in ("customer_id", "known_at")}
        for id, row in state.items()
    }
    assert changed == {id: row for id, row in now.items() if row != {**known.get(id, {}), "known_at": None}}


def test_after_so_many_deltas_a_full_one_is_written_however_many_there_are(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else a night reads all nights since the last full one, and one night it cannot any more."""
    settings, build = home
    out = tmp_path / "out"
    whole, before = pq.read_table(export(settings, out, "full").path / "part-00000.parquet"), FULL
    for number in range(1, 1101):
        before = follow(out, number, before, whole.slice(number % 300, 1), [])
    publish(settings, build, SECOND)
    env = {k: v for k, v in environment(settings, 1).items() if k not in os.environ or k.startswith("PROP")}
    done = CliRunner().invoke(main, ["export", str(out), "--delta"], env=env)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"wrote {out}/{FULL_AFTER}: 300 rows")
    assert done.output.endswith(f": a full one, after {DELTAS} deltas\n")
    manifest = json.loads((out / FULL_AFTER / "manifest.json").read_text("utf-8"))
    assert (manifest["kind"], manifest["previous"]) == ("full", None)
    assert f"After {DELTAS} deltas a full one is written" in " ".join(
        CliRunner().invoke(main, ["export", "--help"]).output.split()
    )
    again = export(settings, out, "delta")
    assert (again.path.name, again.written) == (FULL_AFTER, False), "the night once more"


def test_what_is_held_does_not_grow_with_the_deltas(home: tuple[Settings, Build], tmp_path: Path) -> None:
    settings, build = home
    code = (
        "import sys, pathlib, pyarrow\n"
        "from propensity.nightly import export\n"
        "from features.settings import Settings\n"
        "done = export(Settings.from_env(), pathlib.Path(sys.argv[1]), 'delta', dry_run=True)\n"
        "print(done.manifest['previous']['name'], pyarrow.default_memory_pool().max_memory())\n"
    )
    held = {}
    for deltas in (2, DELTAS - 1):
        publish(settings, build, FIRST)
        out, before = tmp_path / f"out{deltas}", FULL
        whole = pq.read_table(export(settings, out, "full").path / "part-00000.parquet")
        for number in range(1, deltas + 1):
            before = follow(out, number, before, whole, [])
        publish(settings, build, SECOND)
        run = [sys.executable, "-c", code, str(out)]
        done = subprocess.run(run, env=environment(settings, 1), cwd=ROOT, capture_output=True, check=True)
        follows, most = done.stdout.decode().split()
        assert follows == before
        held[deltas] = int(most)
    assert held[DELTAS - 1] < 1.5 * held[2]


def test_a_night_that_is_retried_finds_what_it_wrote_whatever_came_after_it(
    home: tuple[Settings, Build], tmp_path: Path
) -> None:
    """Else a retry fails and blames a promotion or an erasure that never was."""
    settings, build = home
    out = tmp_path / "out"
    export(settings, out, "full")
    publish(settings, build, SECOND)
    delta = export(settings, out, "delta")
    before = files(delta.path)
    assert export(settings, out, "full").written
    again = export(settings, out, "delta")
    assert (again.path, again.written, files(delta.path)) == (delta.path, False, before)
    assert export(settings, out, "full").written is False
    shutil.rmtree(out / FULL)
    again = export(settings, out, "delta")
    assert (again.path, again.written, files(delta.path)) == (delta.path, False, before), "older ones may go"
    new = tmp_path / "new"
    export(settings, new, "full")
    nothing = export(settings, new, "delta")
    assert (nothing.path.name, nothing.written) == (FULL_AFTER, False), "nothing changed since the full one"
