"""Who calls: every client has a key of its own, and nobody is let in without one."""

import hashlib
import hmac

from features.errors import SettingsError
from features.settings import Settings
from serving.incoming import Headers
from serving.problems import Problem


class Keys:
    """The keys of these settings, of which only digests are kept. SettingsError if there is none."""

    def __init__(self, settings: Settings) -> None:
        if not settings.api_keys:
            raise SettingsError(
                "the service does not start without a key: set PROPENSITY_API_KEYS=client:key[,client:key], "
                "each key of 16 characters or more, such as "
                '`python -c "import secrets; print(secrets.token_urlsafe(24))"` prints'
            )
        self._names = [
            (hashlib.sha256(key.encode()).digest(), name) for name, key in settings.api_keys.items()
        ]

    def client(self, headers: Headers) -> str:
        """Name of the client whose key this is; Problem 401 without one. Every key is compared, so that time
        tells nothing."""
        given = headers.get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        if not given:
            key = headers.get(b"x-api-key", b"")
        elif scheme.lower() != b"bearer":
            key = b""
        digest = hashlib.sha256(key.strip()).digest()
        found = [name for known, name in self._names if hmac.compare_digest(known, digest)]
        if not found:
            detail = "send a key that this service knows: `Authorization: Bearer KEY`"
            raise Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})
        return found[0]
