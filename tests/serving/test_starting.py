"""What `propensity serve` says of itself holds at the moment that it says so."""

import asyncio
import gc
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from running import LONG, environment, free_port, settings_of, until

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
        process.communicate(timeout=LONG)
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


# A machine that starts no more threads, as under a limit of processes: no stack can be as large.
NO_THREADS = "import threading; threading.stack_size(1 << 50)\n"


@pytest.mark.parametrize("command", ["propensity", "bentoml"])
def test_a_part_that_does_not_start_ends_the_process_and_is_told(tmp_path: Path, command: str) -> None:
    """Else it answers without jobs, erasures, fresh rows and the store of releases, is called ready for
    weeks, and no line of its log says so."""
    settings, port, log = settings_of(tmp_path / "home"), free_port(), tmp_path / "log"
    settings = replace(settings, shop=shutil.copytree(settings.shop, tmp_path / "shop"))
    (settings.shop / "shop.py").write_text(NO_THREADS)
    told = "ERROR propensity.service the service cannot start: RuntimeError at "
    serve = {
        "propensity": ["propensity", "serve"],
        "bentoml": ["bentoml", "serve", "serving.service:svc", "--port", f"{port}"],
    }
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *serve[command]], env=environment(settings, port), stdout=file, stderr=file
        )
    try:
        if command == "propensity":
            assert process.wait(LONG) > 0
        # Of BentoML's the worker ends, and its supervisor starts another.
        until(lambda: log.read_text().count(told) >= (1 if command == "propensity" else 2))
    finally:
        process.terminate()
        process.wait(LONG)
    text = log.read_text()
    assert "threading.py" in text, "where"
    assert "Traceback" not in text
    assert "serving on" not in text


def test_what_was_started_is_stopped_whatever_ends_the_life_of_the_application(tmp_path: Path) -> None:
    """Else a worker that its supervisor replaces goes on beside the new one, and does its work as well."""

    async def behind(*_: Any) -> None:
        assert set(threading.enumerate()) - before
        raise RuntimeError

    before = set(threading.enumerate())
    try:
        with pytest.raises(RuntimeError):
            asyncio.run(Dispatch(settings_of(tmp_path / "home"), behind)({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    finally:
        gc.unfreeze()
    assert not set(threading.enumerate()) - before
