"""A full disk: what must be kept is refused with a time to come back, what is only read is answered."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from disks import fill, small_disk
from running import CUSTOMERS, environment, release, running, settings_of, small_build
from tiny import TINY_FEATURES, TINY_MOMENT

from features import online
from features.settings import Settings
from serving import jobs


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Settings]:
    """A home on a disk of its own, of 32 MB."""
    settings = settings_of(tmp_path / "home")
    with small_disk(settings.home, 32):
        build = small_build(settings, names=[*TINY_FEATURES, "order_value_365d"])
        online.publish(settings, build, TINY_MOMENT)
        release(settings, tmp_path, build, "churn_28d")
        yield settings


def test_what_cannot_be_kept_is_refused_with_a_code_and_a_time_to_come_back(home: Settings) -> None:
    """An internal error says that we are broken, and not to come back; nobody would look at the disk."""
    event = {
        "source": "shop", "id": "1", "type": "consent", "customer": "c0001", "at": "2017-12-02T00:00:00Z",
        "purpose": "marketing", "status": "withdrawn", "channel": "mail",
    }  # fmt: skip
    with running(home) as service:

        def ask(method: str, path: str, body: Any = None, key: str = "1") -> Any:
            headers = {"idempotency-key": key}
            return service.client.request(method, path, json=body, headers=headers)

        asked = {
            "decision": ("POST", "/v1/decisions", {"customer": "c0001"}),
            "log": ("POST", "/v1/events", {"events": [event]}),
            "storage": ("POST", "/v1/jobs", {"kind": "scores", "customers": CUSTOMERS}),
            "storage of an erasure": ("DELETE", "/v1/customers/c0002"),
        }
        filler = home.home / "filler"
        fill(filler)
        for code, request in asked.items():
            answer = ask(*request)
            assert answer.status_code == 503, answer.text
            assert answer.json()["code"] == code.split()[0]
            assert answer.headers["retry-after"] == "1"
        assert service.scores("c0001").status_code == 200
        ready = service.client.get("/readyz")
        missing = [of["code"] for of in ready.json()["missing"]]
        assert (ready.status_code, missing) == (200, ["decision", "log"]), "nobody is told of events"
        filler.unlink()
        assert [ask(*request).status_code for request in asked.values()] == [200, 200, 202, 202]
        assert service.client.get("/readyz").json()["missing"] == []


def test_a_job_waits_for_room_and_the_log_says_so_in_a_line(home: Settings) -> None:
    """Else an operator reads a page of our code's places, and a job that was accepted is lost."""
    body = b'{"kind":"scores","customers":["c0001"]}'
    asked = jobs.submit(home, msgspec.json.decode(body, type=jobs.JobRequest), "t", None, "0" * 32)

    def work() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "serving.job_worker"]
        return subprocess.run(command, env=environment(home, 1), capture_output=True, text=True, check=False)

    filler = home.home / "filler"
    fill(filler)
    full = work()
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "free the disk" in full.stderr
    filler.unlink()
    assert work().returncode == 0
    assert jobs.look(home, "t", asked.job_id, "1" * 32).status == "done"
