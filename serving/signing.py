"""Signatures of what is pushed, as Standard Webhooks has them (https://www.standardwebhooks.com).

    webhook-id           the event's id, the same at every try: who has seen it has it already
    webhook-timestamp    seconds since 1970 of this try; whoever receives it refuses what is minutes old
    webhook-signature    v1,<base64 of HMAC-SHA256 over "id.timestamp.body">; one a secret, parted by spaces
    propensity-key-id    which secret made each of them, in the same order

While a client has two secrets both sign, so that it can go over to the new one whenever it likes.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
TOLERANCE = 300  # seconds that a clock may be off, or a message on its way
_LONGEST = 16  # digits of a time; Python refuses to read thousands of them


def new_secret() -> str:
    """256 random bits, written as Standard Webhooks does."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_id(secret: str) -> str:
    """Names a secret, and opens nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def headers(given: Sequence[str], id: str, now: float, body: bytes) -> dict[str, str]:
    """The headers of a try at that time, signed with every secret."""
    at = int(now)
    return {
        "webhook-id": id,
        "webhook-timestamp": f"{at}",
        "webhook-signature": " ".join(f"v1,{_signature(secret, id, at, body)}" for secret in given),
        "propensity-key-id": " ".join(map(key_id, given)),
    }


def verified(given: Sequence[str], sent: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether a body came, just now, from whoever holds one of the secrets. sent: the headers, lower case."""
    id, at = sent.get("webhook-id", ""), sent.get("webhook-timestamp", "")
    if not (at.isdecimal() and len(at) < _LONGEST) or abs(now - int(at)) > TOLERANCE:
        return False
    signed = [
        one.removeprefix("v1,").encode(errors="replace") for one in sent.get("webhook-signature", "").split()
    ]
    good = [_signature(secret, id, int(at), body).encode() for secret in given]
    return any(hmac.compare_digest(one, other) for one in signed for other in good)


def _signature(secret: str, id: str, at: int, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    said = f"{id}.{at}.".encode(errors="replace") + body
    return base64.b64encode(hmac.digest(key, said, "sha256")).decode()
