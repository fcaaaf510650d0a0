"""The process that keeps fresh rows, beside the service: started, replaced when it dies, stopped with it.

The service may not load what computes features, so `features.fresh` runs in a process of its own, one a home:
of several workers, one finds the lock free and starts it. Its standard input is ours: when we die, however we
do, it ends, and another worker starts the next one.
"""

import logging
import os
import subprocess
import sys
import threading

from features import fresh
from features.moments import iso
from features.settings import Settings

AGAIN = 0.5  # seconds until a process that ended is replaced, or until we look again whether another watches
PATIENCE = 2.0  # seconds for it to end by itself; nothing that it does is lost by a kill

report = logging.getLogger("propensity.service")


class Companion:
    """Keeps `features.fresh` running for a home while this object is started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._refused = ""  # what the disk said last
        self._thread = threading.Thread(target=self._keep, name="propensity-fresh", daemon=True)

    def start(self) -> None:
        """Return at once; the process is started, or found running, beside."""
        self._thread.start()

    def stop(self) -> None:
        """End what we started."""
        self._stopping.set()
        _starve(self._process)
        if self._thread.is_alive():
            self._thread.join(PATIENCE)
        if self._thread.is_alive() and self._process is not None:
            self._process.kill()
            self._thread.join()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                if not fresh.watched(self._settings):
                    self._run()
                self._refused = ""
            except OSError as error:  # of a disk that may be mended
                if str(error) != self._refused:
                    report.warning("fresh rows wait: %s", error)
                self._refused = str(error)
            self._stopping.wait(AGAIN)

    def _run(self) -> None:
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "features.fresh", "--while-fed"],
            stdin=subprocess.PIPE,
            env=environment_of(self._settings),
            start_new_session=True,  # Ctrl-C is for the service, which then ends this
        )
        if self._stopping.is_set():  # meanwhile, so that `stop` saw none
            _starve(process)
        code = process.wait()  # in one sleep: a look now and then would take turns with what answers
        _starve(process)
        if not self._stopping.is_set() and code != fresh.TAKEN:
            report.warning("fresh rows: the process ended with %d; starting another", code)


def _starve(process: subprocess.Popen[bytes] | None) -> None:
    """Close its standard input, upon which it ends."""
    if process is not None and process.stdin is not None:
        process.stdin.close()


def environment_of(settings: Settings) -> dict[str, str]:
    """Ours, and these settings where they are not the environment's."""
    mine = {
        "PROPENSITY_HOME": str(settings.home),
        "PROPENSITY_SHOP": str(settings.shop),
        "PROPENSITY_AS_OF": "" if settings.as_of is None else iso(settings.as_of),
        "PROPENSITY_ONLINE": settings.online,
        "PROPENSITY_LEDGER": settings.ledger,
    }
    return {**os.environ, **mine}
