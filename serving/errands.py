"""A command that is run beside the service whenever something waits for it: an erasure, a job.

What waits is on the disk, so whoever starts next finds what was left undone. The command does all that waits,
and ends.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from features.settings import Settings
from serving.companion import environment_of

PATIENCE = 10.0  # seconds that a stopping service waits for the thread

report = logging.getLogger("propensity.service")


class Errand:
    """Runs `python -m COMMAND` while this object is started and something waits.

    again: seconds until what a run left undone is tried anew. trouble: what the log says of a failed run,
    with %d for its exit code. interrupted: whether a stop ends a run, which is then begun again by the next
    service. silent: its output is for nobody, as it may name a customer.
    """

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        waits: Callable[[], bool],
        *,
        again: float,
        trouble: str,
        interrupted: bool = False,
        silent: bool = False,
    ) -> None:
        self._settings, self._command, self._waits = settings, command, waits
        self._again, self._trouble = again, trouble
        self._interrupted, self._output = interrupted, subprocess.DEVNULL if silent else None
        self._stopping, self._wake = False, threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"propensity {command[0]}", daemon=True)

    def start(self) -> None:
        """Return at once; what an earlier service left undone is begun."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Something waits now."""
        self._wake.set()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping = True
        self._wake.set()
        if self._process is not None and self._interrupted:
            self._process.terminate()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _keep(self) -> None:
        undone = False
        while not self._stopping:
            self._wake.wait(self._again if undone else None)
            self._wake.clear()
            undone = self._waits()
            if undone and not self._stopping:
                self._run()
                undone = self._waits()

    def _run(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self._command],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment_of(self._settings),
            start_new_session=True,  # Ctrl-C is for the service
        )
        code = self._process.wait()
        if code and not self._stopping:
            report.error(self._trouble, code)
