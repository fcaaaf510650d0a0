"""Services that share no disk: a bento, as BentoML builds and serves it, follows an object store."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from running import ROOT, Running, environment, release, running, settings_of, small_build
from tiny import TINY_MOMENT

from features import online
from features.errors import ReleaseError
from features.settings import Settings
from serving import mirror, releases

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


def until(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within the seconds in which a store is looked at anew."""
    for _ in range(100):
        if holds():
            return True
        time.sleep(0.1 * mirror.EVERY / 5)
    return False


def version_of(service: Running) -> str:
    answered = service.scores("c0001", targets=["churn_28d"]).json()["results"][0]["scores"][0]
    return str(answered["model_version"])


def test_a_bento_serves_what_is_in_the_store_and_follows_it(home: Settings, bento: Running) -> None:
    """Else a promotion reaches the machine on which it was typed, and no other."""
    with running(home, watched=True) as service:
        assert bento.scores("c0001").json()["results"] == service.scores("c0001").json()["results"]
    releases.publish(home, home.home / "releases" / "churn_28d" / "2", "churn_28d", "2")
    mirror.push(home, "churn_28d", "2")
    assert until(lambda: version_of(bento) == "2")
    releases.publish(home, home.home / "releases" / "churn_28d" / "1", "churn_28d", "1")
    mirror.push(home, "churn_28d", "1")
    assert until(lambda: version_of(bento) == "1"), "and back"


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
