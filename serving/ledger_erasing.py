"""What is left of a decision once its customer's key is deleted: what was done, and with which chance."""

import secrets
from collections.abc import Sequence

import msgspec

from serving import sealing
from serving.ledger_store import Store

_SALT = "salt of erased keys"  # the hash under which contexts keep it: no context has it


def forget(store: Store, columns: Sequence[str]) -> None:
    """Take from the decisions of which nobody has the key what only the key's owner could be known by.

    columns: of decisions, in the order of their CRC.
    """
    found = store.execute(
        f"SELECT {', '.join(columns)}, crc FROM decisions "
        "WHERE pseudonym NOT IN (SELECT pseudonym FROM pseudonyms) AND length(sealed) > 0"
    ).fetchall()
    if not found:
        return
    store.execute(
        "INSERT INTO contexts VALUES (?, ?) ON CONFLICT DO NOTHING", (_SALT, secrets.token_bytes(32))
    )
    store.unlocked("decisions", True)  # the one change that the ledger knows
    for row in found:
        of = dict(zip(columns, row[:-1], strict=True))
        if of["idempotency_key"] is not None:
            of["idempotency_key"] = erased_key(store, of["client"], of["idempotency_key"])
        of["request"] = of["sealed"] = b""
        sound = sealing.crc(row[:-1]) == row[-1]
        crc = sealing.crc(tuple(of.values())) if sound else row[-1]  # damaged stays damaged
        store.execute(
            "UPDATE decisions SET idempotency_key = ?, request = ?, sealed = ?, crc = ? WHERE id = ?",
            (of["idempotency_key"], of["request"], of["sealed"], crc, of["id"]),
        )
    store.unlocked("decisions", False)


def erased_key(store: Store, client: str, idempotency_key: str) -> str | None:
    """What stands for an idempotency key once its customer is erased; None if nobody was."""
    salt = store.execute("SELECT body FROM contexts WHERE hash = ?", (_SALT,)).fetchone()
    if salt is None:
        return None
    return "erased:" + sealing.digest(salt[0], msgspec.json.encode([client, idempotency_key])).hex()
