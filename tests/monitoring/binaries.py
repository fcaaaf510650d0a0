"""The real servers and tools of Debian's prometheus and prometheus-alertmanager, on loopback ports."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest


def needs(program: str) -> pytest.MarkDecorator:
    """Skips where the program is missing, and says so; where everything must be there, it fails."""
    demanded = bool(os.environ.get("PROPENSITY_REQUIRE_DATA"))
    lacks = shutil.which(program) is None and not demanded
    return pytest.mark.skipif(lacks, reason=f"there is no {program} on this machine: apt-get install it")


def program(name: str) -> str:
    """Its path. Fails where it must be there and is not."""
    found = shutil.which(name)
    assert found is not None, f"{name} is absent, and PROPENSITY_REQUIRE_DATA demands it"
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def alertmanager(folder: Path, webhook: str) -> Iterator[httpx.Client]:
    """Alertmanager with one receiver, which gets groups by topic within a fraction of a second."""
    config = f"""
route:
  receiver: ours
  group_by: [topic]
  group_wait: 300ms
  group_interval: 300ms
  repeat_interval: 1h
receivers:
  - name: ours
    webhook_configs:
      - url: {webhook}
        send_resolved: true
"""
    (folder / "alertmanager.yml").write_text(config)
    port = free_port()
    command = [
        program("prometheus-alertmanager"), f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            until(lambda: _is_ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(120)


def until(holds: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
