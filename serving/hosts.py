"""Which of several hosts takes what must be in the log: the one that has it.

Hosts that share rows or the ledger share no disk. What is kept in the home of one that may be gone tomorrow
binds there alone and is lost with it, and what was erased where the log is, this one does not know.
"""

from features.errors import NoLog
from features.files import read_pointer
from features.settings import Settings


def require_log(settings: Settings) -> None:
    """NoLog on a host that shares rows or the ledger with others and has no log."""
    alone = settings.online == "sqlite" and settings.ledger == "sqlite"
    if not alone and read_pointer(settings.home / "log" / "CURRENT") is None:
        raise NoLog(
            "this host has no log: send it to the host that has (serving/KUBERNETES.md); if this is it, run "
            "`propensity ingest` first"
        )
