"""What `propensity serve` says of itself holds at the moment that it says so."""

import asyncio
import gc
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from running import environment, free_port, settings_of

from serving.dispatch import Dispatch


def test_it_says_that_it_serves_once_callers_can_connect(tmp_path: Path) -> None:
    """A script that waits for the line, and then asks, must not be refused."""
    settings, port = settings_of(tmp_path / "home"), free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "propensity", "serve", "--port", str(port)],
        env=environment(settings, port) | {"PYTHONUNBUFFERED": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        said = next((line for line in process.stderr if line.startswith("serving on ")), None)
        assert said == f"serving on http://127.0.0.1:{port} until stopped (Ctrl-C)\n"
        socket.create_connection(("127.0.0.1", port)).close()
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_it_does_not_say_so_where_it_cannot_listen(tmp_path: Path) -> None:
    settings = settings_of(tmp_path / "home")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "propensity", "serve", "--port", str(port)],
            env=environment(settings, port),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, "serving on" in done.stderr) == (2, False)
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_what_was_loaded_is_not_searched_for_garbage_while_callers_wait(tmp_path: Path) -> None:
    """Else every request in flight waits now and then for as long as a thousand requests take."""
    kept: list[int] = []

    async def behind(*_: Any) -> None:
        kept.append(gc.get_freeze_count())

    gc.unfreeze()
    try:
        asyncio.run(Dispatch(settings_of(tmp_path / "home"), behind)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    finally:
        gc.unfreeze()
    assert kept[0] > 50_000
