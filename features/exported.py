"""The ledger's own contacts in the customer log, as `propensity ledger export` writes them."""

from pathlib import Path

from features.log import LEDGER


def contact_id(number: int, decision_id: str, also: int | None = None) -> str:
    """The log's name of a contact: ids sort as the deliveries that told of them came in.

    also: its step, of which the delivery of another, or of all, tells.
    """
    return f"{number:012}-{decision_id}" + ("" if also is None else f"-{also}")


def last_delivery(log: Path) -> int:
    """Number of the last delivery of the ledger in the log of that folder; 0 without one."""
    path = log / "contacts" / f"{LEDGER}.parquet"
    if not path.exists():
        return 0
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    last = pc.max(pq.read_table(path, columns=["contact_id"], partitioning=None)["contact_id"]).as_py()
    return int(last.partition("-")[0]) if last else 0
