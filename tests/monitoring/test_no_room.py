"""A home that is full, or may not be written: a line says so, and nothing is lost or told twice."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alerting import Days, SignedHttp, found
from click.testing import CliRunner, Result
from disks import fill, read_only, small_disk
from watched import Shop, changed, steady

from features.settings import Settings
from propensity import main

FREE, OPEN = "free space on it, and try again", "let the user who runs this read and write it"


@pytest.fixture(params=["full", "read-only"])
def refusing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Callable[[bool], None], str]]:
    """A home on a disk that takes no more once it is told to; and what is to be done then."""
    home = tmp_path / "home"

    def full(yes: bool) -> None:
        fill(home / "filler") if yes else (home / "filler").unlink()

    with small_disk(home, 96):
        if request.param == "full":
            yield full, FREE
        else:
            yield lambda yes: read_only(home, yes), OPEN


def test_a_run_that_cannot_be_kept_says_so_in_a_line_and_tells_once_when_it_can(
    refusing: tuple[Callable[[bool], None], str],
    undrawn: None,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Else whoever looks why nothing came reads a page of our code's places."""
    refuse, remedy = refusing
    made = steady(tmp_path_factory)
    shutil.copytree(made.settings.home, tmp_path / "home", dirs_exist_ok=True)
    shop = Shop(Settings(home=tmp_path / "home", shop=made.settings.shop, as_of=made.moment), made.moment)
    shop.publish(changed("spend_90d", 100))

    def run(*command: str) -> Result:
        own = {"PROPENSITY_HOME": str(shop.settings.home), "PROPENSITY_SHOP": str(shop.settings.shop)}
        now = {"PROPENSITY_AS_OF": shop.moment.isoformat()}
        return CliRunner().invoke(main, command, env=own | now)

    refuse(True)
    for command in (("monitor", "run"), ("ingest",), ("features", "build")):
        failed = run(*command)
        assert failed.exit_code == 1, failed.exception
        assert isinstance(failed.exception, SystemExit)
        (line,) = [one for one in failed.stderr.splitlines() if "Monitoring:" not in one]
        assert line.startswith(f"error: {shop.settings.home}")
        assert remedy in line
    refuse(False)
    for messages in (1, 0):
        done = run("monitor", "run")
        assert done.exit_code == 3, done.output
        assert f"; {messages} messages" in done.output


def test_alerts_that_cannot_be_kept_are_told_once_and_no_file_is_to_be_deleted(
    refusing: tuple[Callable[[bool], None], str], hook: SignedHttp, days: Days
) -> None:
    """Whoever deletes the file, as it was said, loses who acknowledged what, and what waits to be sent."""
    refuse, remedy = refusing
    days.day(found("a"))
    refuse(True)
    for command in (
        ("alerts",), ("silence", "a", "--until", "2018-06-01", "--reason", "r", "--by", "li"), ("send",)
    ):  # fmt: skip
        said = days.run(*command)
        assert said.exit_code == 1
        assert "monitoring/alerts.sqlite" in said.stderr
        assert remedy in said.stderr
        assert "delete" not in said.stderr
    refuse(False)
    days.run("send")
    days.day(found("a"))
    assert [one["data"]["kind"] for one in map(json.loads, (body for *_, body in hook.came))] == ["firing"]
