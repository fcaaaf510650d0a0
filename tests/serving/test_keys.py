"""Who may call, and how often: scopes, rotation without a restart, rates, overload, and what is audited."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from running import KEY, LONG, SERVE, Running, audited, release, running, settings_of, small_build, until
from tiny import TINY_MOMENT

from features import online
from features.errors import SettingsError, UsageError
from features.settings import Settings
from serving import admission
from serving.api import ROUTES
from serving.connection import REST_SECONDS
from serving.keys import SCOPES, Keys, digest_of


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("keys")
    settings = settings_of(folder / "home")
    build = small_build(settings)
    online.publish(settings, build, TINY_MOMENT)
    release(settings, folder, build, "churn_28d")
    return settings


@pytest.fixture(scope="module")
def service(home: Settings) -> Iterator[Running]:
    with running(home, watched=True) as service:
        yield service


def asked(service: Running, key: str, method: str = "GET", route: str = "/v1/models") -> httpx.Response:
    with httpx.Client(base_url=service.client.base_url, timeout=LONG) as client:
        body = {"json": {}} if method == "POST" else {}
        return client.request(method, route, headers={"authorization": f"Bearer {key}"}, **body)


def seen(service: Running, key: str, status: int) -> bool:
    """Whether a key's standing becomes that within the second promised, or so on a busy machine."""
    for _ in range(40):
        if asked(service, key).status_code == status:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_opens_the_routes_of_its_scope_and_no_other(
    service: Running, home: Settings, scope: str
) -> None:
    """Else the key of a dashboard, once stolen, sends messages or erases customers."""
    secret, _ = Keys(home).add(f"only-{scope}", [scope])
    assert seen(service, secret, 200 if scope in ("score", "admin") else 403)
    for route, methods in ROUTES.items():
        for method, needed in methods.items():
            if needed is None or method == "HEAD":
                continue
            answer = asked(service, secret, method, route.replace("{id}", "nobody"))
            refused = answer.status_code == 403
            assert refused is not (scope in (needed, "admin")), (method, route, answer.text)
            if refused:
                assert answer.json()["code"] == "forbidden"
                assert needed in answer.json()["detail"]


def test_a_rotated_key_opens_at_once_and_the_old_one_until_the_overlap_ends(
    service: Running, home: Settings
) -> None:
    """Else changing a key means an outage, so nobody changes one."""
    keys = Keys(home)
    old, _ = keys.add("rotating", ["score"])
    assert seen(service, old, 200)
    new, made = keys.rotate("rotating", overlap=timedelta(hours=1))
    assert made.scopes == ("score",)
    assert seen(service, new, 200)
    assert asked(service, old).status_code == 200
    newest, _ = keys.rotate("rotating", overlap=timedelta(0))
    assert seen(service, newest, 200)
    assert seen(service, new, 401)
    assert seen(service, old, 401)
    assert asked(service, KEY).status_code == 200, "the environment's key is nobody else's business"


def test_a_revoked_key_opens_nothing_within_a_second(service: Running, home: Settings) -> None:
    secret, key = Keys(home).add("leaving", ["score"])
    assert seen(service, secret, 200)
    with pytest.raises(UsageError, match="leaving has no key 00000000 in force"):
        Keys(home).revoke("leaving", "00000000")
    Keys(home).revoke("leaving", key.id)
    assert seen(service, secret, 401)


def test_a_key_ends_by_itself(tmp_path: Path) -> None:
    keys = Keys(Settings(home=tmp_path))
    brief, _ = keys.add("brief", ["score"], lasts=timedelta(milliseconds=50))
    until(lambda: keys.of(digest_of(brief)) is None)
    assert not keys.any()
    others = Keys(Settings(home=tmp_path))  # what was read a moment ago is not read again at once
    longer, _ = others.add("longer", ["score"], lasts=timedelta(hours=1))
    assert others.of(digest_of(longer)) is not None, "a key that is to end is in force until then"
    assert others.of(digest_of(brief)) is None


def test_the_file_holds_no_key_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Else a copied home lets its finder in."""
    secret, key = Keys(Settings(home=tmp_path)).add("journeys", ["score", "decide"], rate=50)
    file = tmp_path / "keys.json"
    assert secret not in file.read_text()
    assert secret.removeprefix("propensity_") not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert (key.scopes, key.rate) == (("score", "decide"), 50)
    assert Keys(Settings(home=tmp_path)).of(digest_of(secret)) == key


def test_who_makes_a_key_is_told_all_that_it_may(tmp_path: Path) -> None:
    """Else a live key is handed out for a test key, and one that ends in three days for one that does not."""
    command = [sys.executable, "-m", "propensity", "keys", "add", "journeys", "--scope", "score"]
    environment = {**os.environ, "PROPENSITY_HOME": str(tmp_path)}
    plain = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert plain.stderr.startswith("journeys may score; keep this key")
    command[5] = "builder"
    command += ["--test", "--rate", "2.5", "--days", "3"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = "builder may score, about made-up customers alone, 2.5 requests a second in each process, until 2"
    assert done.stderr.startswith(told)


def test_a_mounted_file_is_followed_through_its_links(home: Settings, tmp_path: Path) -> None:
    """A host that shares no home with the one that makes keys: else a key there opens nothing here, and one
    that was revoked there goes on."""
    kept, mounted = Keys(home), tmp_path / "mounted"

    def renew(version: str) -> None:
        """As Kubernetes does with a Secret: a new folder, and one link that is flipped."""
        (mounted / version).mkdir(parents=True)
        shutil.copy(home.home / "keys.json", mounted / version / "keys.json")
        (mounted / "..new").symlink_to(version)
        (mounted / "..new").replace(mounted / "..data")

    secret, _ = kept.add("journeys", ["score"])
    renew("..1")
    (mounted / "keys.json").symlink_to("..data/keys.json")
    with running(home, PROPENSITY_KEYS=str(mounted / "keys.json")) as elsewhere:
        assert seen(elsewhere, secret, 200)
        later, _ = kept.add("later", ["score"])
        kept.revoke("journeys")
        renew("..2")
        shutil.rmtree(mounted / "..1")
        assert seen(elsewhere, later, 200)
        assert seen(elsewhere, secret, 401)


def test_keys_are_changed_where_their_file_can_be_written(tmp_path: Path) -> None:
    """A key that seems to be made where the file is only mounted opens nothing anywhere."""
    (tmp_path / "file").write_bytes(b"")  # no folder: root may write to any that is one
    elsewhere = Settings(home=tmp_path / "home", keys=tmp_path / "file" / "keys.json")
    with pytest.raises(SettingsError, match="cannot be written .*change keys on the host that keeps them"):
        Keys(elsewhere).add("journeys", ["score"])
    with pytest.raises(SettingsError, match=r"PROPENSITY_KEYS .*outside of PROPENSITY_HOME"):
        Settings(home=tmp_path, keys=tmp_path / "mine.json")


def test_a_damaged_file_lets_nobody_new_in_and_throws_nobody_out(tmp_path: Path) -> None:
    """A slip of an editor must neither open the service nor stop it; a new one does not start."""
    keys = Keys(Settings(home=tmp_path))
    secret, _ = keys.add("journeys", ["score"])
    assert keys.of(digest_of(secret)) is not None
    (tmp_path / "keys.json").write_text("[{]")
    time.sleep(0.51)
    assert keys.of(digest_of(secret)) is not None
    with pytest.raises(SettingsError, match=r"keys\.json is damaged"):
        Keys(Settings(home=tmp_path)).any()


@pytest.mark.parametrize(
    ("client", "scopes", "wrong"),
    [
        ("a b", ["score"], "cannot name a client"),
        ("ops", ["scores"], "no scope 'scores'; did you mean 'score'"),
        ("ops", [], "say what ops may do"),
        ("tests", ["score"], "tests has a key"),
    ],
)
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, client: str, scopes: list[str], wrong: str) -> None:
    settings = Settings(home=tmp_path, api_keys={"tests": KEY})
    with pytest.raises(UsageError, match=wrong):
        Keys(settings).add(client, scopes)
    assert not (tmp_path / "keys.json").exists()


def test_a_client_above_its_rate_is_told_when_to_come_back_and_others_are_not_slowed(
    service: Running, home: Settings
) -> None:
    """Else one journey's loop is everybody's outage."""
    secret, _ = Keys(home).add("looping", ["score"], rate=0.2)  # above it, however slow this machine is
    assert seen(service, secret, 200)
    refused = asked(service, secret)
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert int(refused.headers["retry-after"]) >= 1
    assert asked(service, KEY).status_code == 200
    time.sleep(int(refused.headers["retry-after"]))
    assert asked(service, secret).status_code == 200


def test_who_asks_more_than_can_wait_is_refused_and_who_was_let_in_is_answered(home: Settings) -> None:
    """Else a rush makes everybody wait for half a minute, and then repeat what was answered to nobody."""
    code = f"import serving.admission as a; a.QUEUE = 2\n{os.linesep}"
    with running(home, [sys.executable, "-c", code + SERVE], watched=True) as service:
        body = {"customers": [f"c{i:04}" for i in range(1000)], "reasons": 10, "exact": True}

        def ask(_: int) -> httpx.Response:
            with httpx.Client(base_url=service.client.base_url, timeout=LONG) as client:
                return client.post("/v1/scores", json=body, headers={"authorization": f"Bearer {KEY}"})

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(24)))
        found = Counter(answer.status_code for answer in answers)
        assert set(found) == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        assert service.client.get("/livez").status_code == 200
        over = threading.Event()

        def insist() -> None:
            while not over.is_set():
                ask(0)

        mine = {"authorization": f"Bearer {KEY}"}
        with ThreadPoolExecutor(8) as pool:
            for _ in range(8):
                pool.submit(insist)
            try:
                stop = time.monotonic() + LONG
                while service.client.post("/v1/scores", json=body, headers=mine).status_code != 429:
                    assert time.monotonic() < stop
                started = time.monotonic()
                service.client.get("/livez")  # on the same connection
                waited = time.monotonic() - started
            finally:
                over.set()
    assert waited > REST_SECONDS / 2, "who asks again at once takes from those who were let in"


def test_every_write_is_audited_without_a_customer(service: Running, home: Settings) -> None:
    """Else nobody can say who told what, and a log that names customers must be erased with them."""
    visit = {
        "type": "visit", "source": "web", "id": "audited-visit", "customer": "Zoe-1987-secret",
        "channel": "web", "at": "2017-12-02T10:00:00Z",
    }  # fmt: skip
    answer = service.client.post("/v1/events", json={"events": [visit, visit | {"channel": ""}]})
    lines = audited(home.home)
    (line,) = [line for line in lines if line.get("request_id") == answer.json()["request_id"]]
    assert line["client"] == "tests"
    assert line["action"] == "POST /v1/events"
    assert line["outcomes"] == {"accepted": 1, "invalid_event": 1}
    assert "Zoe" not in json.dumps(lines)
    assert any(line["action"] == "keys add only-score: score" for line in lines)


def test_answers_cannot_be_run_framed_or_guessed_at(service: Running) -> None:
    headers = service.client.get("/v1/models").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def test_a_pause_of_the_event_loop_is_not_taken_for_overload() -> None:
    """Else changing a release makes the service refuse callers; or a busy machine does, whom nobody asks."""

    def work(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    async def paused(times: int, pause: Callable[[float], None]) -> bool:
        load = admission.Load()
        load.start()
        try:
            for _ in range(times):
                pause(admission.BEAT + admission.LATE * 2)  # what keeps the loop from turning
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            load.admit()
        except admission.Problem:
            return False
        finally:
            load.stop()
        return True

    assert asyncio.run(paused(1, work))
    assert not asyncio.run(paused(3, work))
    assert asyncio.run(paused(3, time.sleep)), "it was not its own work"
