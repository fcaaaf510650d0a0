"""Services that share no disk: a bento, as BentoML builds and serves it, follows an object store."""

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from running import LONG, ROOT, Running, environment, release, running, settings_of, small_build, until
from tiny import TINY_MOMENT, tiny_value

from features import online
from features.errors import ReleaseError
from features.settings import Settings
from serving import folders, mirror, releases
from serving.scores import Scorer

BENTOML = str(Path(sys.executable).with_name("bentoml"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Where models are promoted: published rows, version 1 in force and in the store, 2 made."""
    folder = tmp_path_factory.mktemp("mirror")
    settings = replace(settings_of(folder / "home"), releases=f"file://{folder / 'store'}")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    for version, seed in (("2", 1), ("1", 0)):
        release(settings, folder, build, "churn_28d", version, seed)
    mirror.push(settings, "churn_28d", "1")
    return settings


def other(home: Settings, folder: Path) -> Settings:
    """Another machine's home: the rows that are published, and no release."""
    shutil.copytree(home.home, folder / "other", ignore=shutil.ignore_patterns("releases"))
    return replace(home, home=folder / "other")


@pytest.fixture(scope="module")
def bento(home: Settings) -> Iterator[Running]:
    """A bento of this checkout, served far from it and from what it was built of."""
    folder = home.home.parent
    settings = other(home, folder)
    env = environment(settings, 0)
    subprocess.run(
        [BENTOML, "build", "--version", "tested", str(ROOT)], env=env, check=True, capture_output=True
    )
    command = (BENTOML, "serve", "propensity:tested", "--port", "{port}")
    assert home.releases is not None
    with running(settings, command, PROPENSITY_RELEASES=home.releases, PYTHONPATH="") as service:
        yield service


@pytest.fixture
def two(tmp_path: Path) -> tuple[Settings, Settings, Path]:
    """Where two targets are promoted, in force there and in the store; another machine, without any; and the
    store."""
    store = tmp_path / "store"
    there = replace(settings_of(tmp_path / "home"), releases=str(store))
    build = small_build(there)
    online.publish(there, build, TINY_MOMENT)
    for name in ("churn_28d", "repurchase_28d"):
        release(there, tmp_path, build, name)
        mirror.push(there, name, "1")
    return there, other(there, tmp_path), store


def version_of(service: Running) -> str:
    answered = service.scores("c0001", targets=["churn_28d"]).json()["results"][0]["scores"][0]
    return str(answered["model_version"])


def test_a_bento_serves_what_is_in_the_store_and_follows_it(home: Settings, bento: Running) -> None:
    """Else a promotion reaches the machine on which it was typed, and no other."""
    with running(home, watched=True) as service:
        assert bento.scores("c0001").json()["results"] == service.scores("c0001").json()["results"]
    releases.publish(home, home.home / "releases" / "churn_28d" / "2", "churn_28d", "2")
    mirror.push(home, "churn_28d", "2")
    until(lambda: version_of(bento) == "2")
    releases.publish(home, home.home / "releases" / "churn_28d" / "1", "churn_28d", "1")
    mirror.push(home, "churn_28d", "1")
    until(lambda: version_of(bento) == "1")  # and back


def test_what_is_damaged_in_the_store_is_not_followed(home: Settings, tmp_path: Path) -> None:
    """Else one bad byte in a bucket changes every customer's score on every machine."""
    store = tmp_path / "store"
    there, here = replace(home, releases=str(store)), other(home, tmp_path)
    here = replace(here, releases=str(store))
    mirror.push(there, "churn_28d", "1")
    assert mirror.pull(here) == ["churn_28d"]
    assert mirror.pull(here) == [], "looked at again, nothing is fetched"
    mirror.push(there, "churn_28d", "2")
    text = store / "churn_28d" / "2" / "booster-0.txt"
    text.write_bytes(text.read_bytes().replace(b"0.", b"1.", 1))
    with pytest.raises(ReleaseError, match="churn_28d 2: .*booster-0.txt was changed"):
        mirror.pull(here)
    assert releases.current(here, "churn_28d") == "1"
    assert [path.name for path in here.home.iterdir() if path.name.startswith(".fetching")] == []


def test_a_store_that_cannot_be_written_is_told_to_who_promotes(home: Settings, tmp_path: Path) -> None:
    """Else she believes that all machines have it."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ReleaseError, match="but not in PROPENSITY_RELEASES .*promote it again") as told:
        mirror.push(replace(home, releases=str(tmp_path / "file" / "x")), "churn_28d", "1")
    assert str(tmp_path) not in str(told.value), "an address may hold a password"
    mirror.push(replace(home, releases=str(tmp_path / "a")), "churn_28d", "1")
    (tmp_path / "a" / "churn_28d" / "1" / "SHA256SUMS").write_text("another's")
    with pytest.raises(ReleaseError, match="another registry"):
        mirror.push(replace(home, releases=str(tmp_path / "a")), "churn_28d", "1")


def test_a_service_whose_store_is_away_goes_on_with_what_it_has(home: Settings, tmp_path: Path) -> None:
    """A bucket that does not answer must not take down what does."""
    nowhere = replace(home, home=home.home, releases=str(tmp_path / "nowhere"))
    assert mirror.pull(nowhere) == [], "an empty store takes nothing away"
    with running(home, watched=True, PROPENSITY_RELEASES="nosuch://bucket") as service:
        assert version_of(service) == "1"
        assert "releases cannot be followed from the store" in service.log


def test_a_store_that_hangs_keeps_no_service_from_starting(
    two: tuple[Settings, Settings, Path],
) -> None:
    """A bucket that accepts connections and says nothing must not take down every host that restarts."""
    _, here, store = two
    mirror.pull(here)
    (store / "hangs_28d").mkdir()
    os.mkfifo(store / "hangs_28d" / "CURRENT")  # nobody writes into it
    with running(here, watched=True, PROPENSITY_RELEASES=str(store)) as service:
        assert version_of(service) == "1"
        ready = service.client.get("/readyz")
        assert (ready.status_code, ready.json()["refused"]) == (200, [])
        started = time.monotonic()
        service.process.terminate()
        service.process.wait(LONG)
        assert time.monotonic() - started < 25, "who starts pods gives them half a minute"


def test_what_is_damaged_in_the_store_is_told_by_a_host_that_has_none_and_mended_by_promoting_it_again(
    two: tuple[Settings, Settings, Path],
) -> None:
    """Else a new pod answers without a model, calls itself whole, and nobody hears of it until sales fall."""
    there, here, store = two
    with (store / "churn_28d" / "1" / "booster-0.txt").open("r+b") as file:
        file.write(b"??")
    (store / "uplift").mkdir()
    (store / "uplift" / "CURRENT").write_text("7")  # of which everything else was lost
    with running(here, watched=True, PROPENSITY_RELEASES=str(store)) as service:
        ready = service.client.get("/readyz", headers={"authorization": ""})
        assert (ready.status_code, ready.json()["missing"]) == (200, [])
        told = {of["name"]: of for of in ready.json()["refused"]}
        assert told.keys() == {"churn_28d", "uplift"}
        assert {(of["serving"], of["error"]["code"]) for of in told.values()} == {(None, "release_corrupt")}
        assert "churn_28d 1: in force in PROPENSITY_RELEASES" in told["churn_28d"]["error"]["detail"]
        assert "booster-0.txt was changed" in told["churn_28d"]["error"]["detail"]
        assert "uplift 7" in told["uplift"]["error"]["detail"]
        assert not [of for of in (str(store.parent), ".fetching") if of in ready.text], ready.text
        metrics = service.client.get("/metrics").text
        for name, refused in (("churn_28d", "1.0"), ("uplift", "1.0"), ("repurchase_28d", "0.0")):
            assert f'propensity_release_refused{{model="{name}"}} {refused}' in metrics
        models = {of["name"]: of for of in service.client.get("/v1/models").json()["models"]}
        assert models["uplift"]["error"]["code"] == "release_corrupt"
        scores = {of["target"]: of for of in service.scores("c0001").json()["results"][0]["scores"]}
        assert scores.keys() == {"churn_28d", "repurchase_28d"}, "what is no target is none now"
        assert scores["churn_28d"]["error"]["code"] == "release_corrupt"
        assert scores["repurchase_28d"]["model_version"] == "1"
        alone = service.scores("c0001", targets=["churn_28d"])
        assert (alone.status_code, alone.json()["code"]) == (503, "release_corrupt")
        unknown = service.scores("c0001", targets=["nosuch_28d"])
        assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_target")
        decided = service.client.post(
            "/v1/decisions", json={"customer": "c0001"}, headers={"idempotency-key": "k"}
        )
        assert (decided.status_code, decided.json()["code"]) == (503, "release_corrupt"), (
            "effects that somebody measured must not give way to assumptions unsaid"
        )
        assert mirror.lacks(there, "churn_28d", "1")
        assert mirror.push(there, "churn_28d", "1")
        shutil.rmtree(store / "uplift")
        until(lambda: service.client.get("/readyz").json()["refused"] == [])
        assert version_of(service) == "1"
        metrics = service.client.get("/metrics").text
        for name in ("churn_28d", "uplift", "repurchase_28d"):
            assert f'propensity_release_refused{{model="{name}"}} 0.0' in metrics


@pytest.mark.parametrize("harm", ["changed", "removed", "all"])
def test_what_is_damaged_on_a_host_that_follows_the_store_is_fetched_anew(
    two: tuple[Settings, Settings, Path], harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is told to promote again, which changes nothing here, and its next restart has no model."""
    _, here, store = two
    mirror.pull(here)
    folder = releases.folder_of(here, "churn_28d", "1")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with running(here, watched=True, PROPENSITY_RELEASES=str(store)) as service:
        if harm == "changed":
            (folder / "booster-0.txt").write_text("nothing")
        elif harm == "removed":
            (folder / "booster-0.txt").unlink()
        else:
            shutil.rmtree(folder)
        until(lambda: {path.name: path.read_bytes() for path in folder.glob("*")} == before)
        until(lambda: service.client.get("/readyz").json()["refused"] == [])
        assert version_of(service) == "1"
        until(lambda: "release of churn_28d followed from the store" in service.log)
    fetched = list[str]()
    monkeypatch.setattr(releases, "publish", lambda *of, **by: fetched.append(of[2]))
    assert mirror.pull(here) == fetched == [], "looked at again, nothing is fetched"


@pytest.mark.parametrize("harm", ["changed", "removed", "added", "pointer", "all"])
def test_what_is_in_the_store_is_made_as_it_is_here_by_putting_it_there_again(
    two: tuple[Settings, Settings, Path], harm: str
) -> None:
    """Else the remedy that the error names says that nothing changes, and nothing does."""
    there, here, store = two

    def held() -> dict[str, bytes]:
        return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*.*")} | {
            str(path.relative_to(store)): path.read_bytes() for path in store.rglob("[CS]*")
        }

    before, folder = held(), store / "churn_28d" / "1"
    if harm == "changed":
        (folder / "booster-0.txt").write_text("nothing")
    elif harm == "removed":
        (folder / "booster-0.txt").unlink()
    elif harm == "added":
        (folder / "more.json").write_text("{}")
    elif harm == "pointer":
        (folder.parent / "CURRENT").write_text("")
    else:
        shutil.rmtree(folder)
    with pytest.raises(ReleaseError, match="churn_28d( 1)?: in force in PROPENSITY_RELEASES"):
        mirror.pull(here)
    assert mirror.lacks(there, "churn_28d", "1")
    assert mirror.push(there, "churn_28d", "1")
    assert held() == before
    assert mirror.pull(here) == ["churn_28d"]
    assert not mirror.lacks(there, "churn_28d", "1")
    assert not mirror.push(there, "churn_28d", "1")


def test_a_host_that_serves_an_older_version_than_the_store_says_which(
    two: tuple[Settings, Settings, Path], tmp_path: Path
) -> None:
    """Else half of the pods answer by another version than the rest, and the alarm is silent."""
    there, here, store = two
    mirror.pull(here)
    release(there, tmp_path, small_build(there), "churn_28d", "2", 1)
    mirror.push(there, "churn_28d", "2")
    (store / "churn_28d" / "2" / "booster-0.txt").unlink()
    with pytest.raises(ReleaseError, match="churn_28d 2: .*booster-0.txt is missing"):
        mirror.pull(here)
    for scorer in (Scorer(here), Scorer(here)):  # as before, and as started again
        refused = scorer.refused()
        assert refused["repurchase_28d"] is None
        assert refused["churn_28d"] is not None
        assert (refused["churn_28d"].serving, refused["churn_28d"].error.code) == ("1", "release_corrupt")
    mirror.push(there, "churn_28d", "2")
    mirror.pull(here)
    assert scorer.refused()["churn_28d"] is None


def test_what_cannot_be_followed_is_logged_once_for_each_reason(
    two: tuple[Settings, Settings, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Else a line every five seconds, in which nobody finds another one."""
    _, here, store = two
    follower = mirror.Mirror(here)
    text = store / "churn_28d" / "1" / "booster-0.txt"
    with caplog.at_level(logging.WARNING, "propensity.service"):
        text.write_text("nothing")
        for _ in range(3):
            follower._look()
        text.unlink()
        for _ in range(3):
            follower._look()
        store.rename(store.with_name("aside"))
        for _ in range(3):
            follower._look()
    said, reasons = [record.getMessage() for record in caplog.records], ("changed", "missing", "not there")
    assert len(said) == len(reasons), said
    assert all(reason in line for reason, line in zip(reasons, said, strict=True))


def test_arrays_of_another_type_in_the_store_end_no_answer_and_no_following(
    two: tuple[Settings, Settings, Path], tmp_path: Path
) -> None:
    """Else one such release makes an internal error of every answer, and no later one, which mends it, ever
    reaches the host."""
    there, here, store = two
    folder = tiny_value(tmp_path / "value")
    with folders.arrays(folder / "draws.npz") as drawn:
        np.savez(folder / "draws.npz", **dict(drawn) | {"normal": drawn["normal"].astype("U10")})
    (folder / folders.SUMS).unlink()
    folders.sign(folder)
    with running(here, watched=True, PROPENSITY_RELEASES=str(store)) as service:
        shutil.copytree(folder, store / "value" / "1")
        (store / "value" / "CURRENT").write_text("1")
        until(lambda: service.client.get("/readyz").json()["refused"] != [])
        (told,) = service.client.get("/readyz").json()["refused"]
        assert (told["name"], told["error"]["code"]) == ("value", "release_corrupt")
        release(there, tmp_path, small_build(there), "churn_28d", "2", 1)
        mirror.push(there, "churn_28d", "2")
        until(lambda: version_of(service) == "2")
        shutil.rmtree(store / "value")
        until(lambda: service.client.get("/readyz").json()["refused"] == [])


def test_an_error_that_nobody_expected_is_told_with_its_place_and_ends_no_following(
    two: tuple[Settings, Settings, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Else the host stays on its version for good, and nothing tells."""
    _, here, store = two
    store.rename(store.with_name("aside"))
    store.mkdir()
    follower = mirror.Mirror(replace(here, home=Path("secret\0")))  # of which no file can be opened
    with caplog.at_level(logging.WARNING, "propensity.service"):
        for _ in range(3):
            follower._look()
    (said,) = [record.getMessage() for record in caplog.records]
    assert "ValueError at " in said
    assert "unfollowed.py" in said
    assert "secret" not in said
    assert not follower.has_read()


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9/releases", "nosuch://bucket"])
def test_a_host_that_could_not_read_the_store_is_not_ready_until_it_has(
    two: tuple[Settings, Settings, Path], address: str
) -> None:
    """Else a pod that starts while the bucket is away is sent a share of all customers, and scores none."""
    _, here, store = two
    aside = store.rename(store.with_name("aside"))
    with running(here, watched=True, PROPENSITY_RELEASES=address or str(store)) as service:
        ready = service.client.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "no_release")
        assert "PROPENSITY_RELEASES" in ready.json()["detail"]
        assert "127.0.0.1:9" not in ready.text
        assert "releases cannot be followed from the store" in service.log
        if not address:
            store.mkdir()  # there, and nothing was promoted yet: the shop may decide by its policies alone
            until(lambda: service.client.get("/readyz").status_code == 200)
            assert [of["code"] for of in service.client.get("/readyz").json()["missing"]] == ["no_release"]
            store.rmdir()
            aside.rename(store)
            until(lambda: service.client.get("/readyz").json()["missing"] == [])
            assert version_of(service) == "1"
            store.rename(aside)
            assert service.client.get("/readyz").status_code == 200
