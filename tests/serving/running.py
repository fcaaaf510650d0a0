"""The real service in a process of its own, over a small home; for tests that ask it over HTTP."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from builds_by_hand import write_build
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_card, tiny_model, tiny_rows

from features import fresh
from features.compute.builds import Build
from features.moments import iso
from features.settings import Settings
from serving import releases
from serving.cards import FeatureCard

ROOT = Path(__file__).parents[2]
PATIENCE = timedelta(seconds=30)  # with a store; a busy machine is no fault of it
LONG = 120  # seconds for what a process does at once, where nothing else takes the machine
KEY = "a-key-for-tests-only"
KEYS = f"tests:{KEY},ops:another-key-for-tests"
CUSTOMERS = [f"c{i:04}" for i in range(1_200)]
# What `propensity serve` does; and, once stopped, what the process had imported.
SERVE = """
import sys
from features.errors import PropensityError
from features.settings import Settings
from serving.service import serve
try:
    serve(Settings.from_env())
except PropensityError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
"""


def settings_of(home: Path, as_of: datetime = TINY_MOMENT) -> Settings:
    """Settings of that home, with a shop and one key."""
    return Settings(home=home, as_of=as_of, api_keys={"tests": KEY}, online_timeout=PATIENCE)


def small_build(
    settings: Settings, moments: Sequence[datetime] = (TINY_MOMENT,), names: Sequence[str] = TINY_FEATURES
) -> Build:
    """A build of CUSTOMERS over `names`, not yet published; the same rows at each moment of the same name."""
    rows = tiny_rows(len(CUSTOMERS))
    columns = [TINY_FEATURES.index(name) if name in TINY_FEATURES else 0 for name in names]
    matrix = np.ascontiguousarray(rows[:, columns])
    return write_build(settings, names, dict.fromkeys(moments, (CUSTOMERS, matrix)))


def release(
    settings: Settings, folder: Path, build: Build, name: str, version: str = "1", seed: int = 0
) -> releases.Release:
    """A small model of that build's features, released under that name."""
    features = tuple(
        FeatureCard(name=f.name, hash=build.features.get(f.name, "0" * 16), unit=f.unit, en=f.en, zh=f.zh)
        for f in tiny_card().features
    )
    tiny_model(folder / f"{name}-{version}", name, version, seed, features=features)
    return releases.publish(settings, folder / f"{name}-{version}", name, version)


def until(holds: Callable[[], object], seconds: float = LONG) -> None:
    """Wait until it holds; how long that takes is for the benchmark."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def audited(home: Path) -> list[dict[str, Any]]:
    """All lines of the audit of that home: a file a month, so at the turn of one there are two."""
    files = sorted((home / "audit").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]


def without_ids(text: str) -> str:
    """`text` less the ids drawn for requests, events and decisions: such hex digits may spell `c0778`."""
    return re.sub("[0-9a-f]{32}", "", text)


@dataclass
class Running:
    """A service that answers; `log` is all that it wrote."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit code after that signal."""
        self.process.send_signal(number)
        return self.process.wait(LONG)

    def scores(self, *customers: object, **more: object) -> httpx.Response:
        """POST /v1/scores."""
        return self.client.post("/v1/scores", json={"customers": customers, **more})


@contextmanager
def running(
    settings: Settings,
    command: Sequence[str] = (sys.executable, "-c", SERVE),
    *,
    watched: bool = False,
    **env: str,
) -> Iterator[Running]:
    """Start it on a free port of loopback, and wait until it listens (not until it is ready).

    watched: as where another process of the home keeps fresh rows: it starts none, which takes as long as the
    service itself. For tests in which no row changes.
    """
    with fresh._sole(settings) if watched else nullcontext():
        yield from _started(settings, command, env)


def _started(settings: Settings, command: Sequence[str], env: Mapping[str, str]) -> Iterator[Running]:
    port = free_port()
    log_file = settings.home.parent / f"service-{port}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in command],
            env=environment(settings, port) | dict(env),
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"authorization": f"Bearer {KEY}"}, timeout=LONG
    )
    try:
        _wait(process, client, log_file)
        yield Running(process, client, log_file)
        if process.poll() is None:
            process.terminate()
        assert process.wait(LONG) == 0, log_file.read_text("utf-8")
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
            process.wait(LONG)


def environment(settings: Settings, port: int, keys: str = KEYS) -> dict[str, str]:
    """The environment that gives these settings, and nothing of ours besides."""
    ours = ("PROPENSITY_", "BENTOML_", "PROMETHEUS_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return env | {
        "PROPENSITY_HOME": str(settings.home),
        "PROPENSITY_SHOP": str(settings.shop),
        "PROPENSITY_AS_OF": iso(settings.now()),
        "PROPENSITY_API_KEYS": keys,
        "PROPENSITY_PORT": str(port),
        "PROPENSITY_ONLINE_TIMEOUT_MS": f"{PATIENCE // timedelta(milliseconds=1)}",
        "BENTOML_HOME": str(settings.home.parent / "bentoml"),
        "PYTHONPATH": str(ROOT),
    }


def free_port() -> int:
    """A port of loopback that nothing listened on a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], client: httpx.Client, log_file: Path) -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(
                f"the service ended with {process.returncode}: {log_file.read_text('utf-8')}"
            )
        try:
            client.get("/livez")
            return
        except httpx.ConnectError:
            time.sleep(0.1)
    raise AssertionError(f"the service does not listen: {log_file.read_text('utf-8')}")
