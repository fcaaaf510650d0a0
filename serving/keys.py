"""Who may call, and what: the keys of clients, kept as digests, followed while the service runs.

    keys.json    a row a key: its client, what it may do, when it ends; never the key. In the home, or where
                 PROPENSITY_KEYS says; it may be a link to another file every time

A key that we make is 256 random bits, of which a plain SHA-256 betrays nothing: a slow hash is for passwords.
What ends and begins here is by the machine's clock, also over a log of the past.
"""

import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from features.errors import SettingsError, UsageError
from features.files import NO_JSON, locked, write_atomically
from features.settings import Settings, clock
from features.toml import nearest
from serving import audit

SCOPES: Mapping[str, str] = {
    "score": "read scores, profiles and what is released",
    "decide": "take decisions, and ask whether one may still be sent",
    "write": "tell events, deliveries and outcomes",
    "erase": "erase customers",
    "admin": "all of these",
}
"""Scope -> what a key that has it may do. Each route names its own (`api.ROUTES`)."""

PREFIX = "propensity_"  # so that a scanner of repositories knows what it has found
LOOK = 0.5  # seconds until a change of the file is seen
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Key(Struct, frozen=True, kw_only=True):
    """One key. id: the digest's first digits, which name it and open nothing. rate: requests a second.

    test: it is answered about made-up customers (`sandbox`), and touches nothing real.
    """

    id: str
    client: str
    digest: str
    scopes: tuple[str, ...]
    made_at: datetime
    expires_at: datetime | None = None
    rate: float | None = None
    test: bool = False

    def ended(self, now: datetime) -> bool:
        """Whether it opens nothing any more."""
        return self.expires_at is not None and self.expires_at <= now


class Keys:
    """The keys of a file and of the environment. One object serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._path = settings, settings.keys or settings.home / "keys.json"
        self._given = {digest_of(key): _given(name, key) for name, key in settings.api_keys.items()}
        self._seen: tuple[int, int] | None = None
        self._all: tuple[Key, ...] = ()
        self._known = dict(self._given)
        self._looked = float("-inf")

    def everything(self) -> tuple[Key, ...]:
        """Every key of the file, ended ones too. SettingsError if the file is damaged, or may not be read."""
        try:
            return self._followed()
        except FileNotFoundError:
            self._seen, self._all, self._known = None, (), dict(self._given)
            return ()
        except OSError as error:
            raise SettingsError(f"{self._path} cannot be read ({error.strerror}): look who may") from None

    def _followed(self) -> tuple[Key, ...]:
        stat = self._path.stat()
        seen = (stat.st_ino, stat.st_mtime_ns)
        if seen != self._seen:
            try:
                self._all = msgspec.json.decode(self._path.read_bytes(), type=tuple[Key, ...])
            except NO_JSON as error:
                raise SettingsError(
                    f"{self._path} is damaged ({error}): mend it, or delete it and make keys anew"
                ) from None
            self._known = self._given | {key.digest: key for key in self._all}
            self._seen = seen
        return self._all

    def of(self, digest: str) -> Key | None:
        """The key of that digest (`digest_of`), if it opens anything now. A damaged file changes nothing:
        keys stay as read.

        Looked up by digest, so that the time it takes tells nothing of a key.
        """
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            with contextlib.suppress(SettingsError):  # `propensity keys list` says what is wrong
                self.everything()
        key = self._known.get(digest)
        return None if key is None or key.ended(clock()) else key

    def any(self) -> bool:
        """Whether anybody could be let in. SettingsError if the file is damaged."""
        self.everything()
        return any(not key.ended(clock()) for key in self._known.values())

    def add(
        self,
        client: str,
        scopes: Sequence[str],
        lasts: timedelta | None = None,
        rate: float | None = None,
        test: bool = False,
    ) -> tuple[str, Key]:
        """A new key of a client, which is shown here once, and its row. UsageError for what is no name, no
        scope, or a client that has a key already: rotate it."""
        if not _NAME.fullmatch(client):
            raise UsageError(
                f"{client!r} cannot name a client: expected letters, digits, . _ and -, 64 at most"
            )
        for scope in scopes:
            if scope not in SCOPES:
                raise UsageError(f"no scope {scope!r}{nearest(scope, SCOPES)} Expected {', '.join(SCOPES)}")
        if not scopes:
            raise UsageError(f"say what {client} may do: one or more of {', '.join(SCOPES)}")
        with self._changing():
            if self._living(client) or any(key.client == client for key in self._given.values()):
                raise UsageError(f"{client} has a key: `propensity keys rotate {client}` gives it another")
            made = self._made(client, tuple(s for s in SCOPES if s in scopes), lasts, rate, test)
        what = f"keys add {client}: {', '.join(made[1].scopes)}{', of a test' if test else ''}"
        audit.record(self._settings, audit.HERE, what)
        return made

    def rotate(self, client: str, overlap: timedelta, lasts: timedelta | None = None) -> tuple[str, Key]:
        """Another key for a client, who may do the same; those it has end after `overlap`. lasts: of the new
        one. UsageError for a client without a key."""
        with self._changing():
            living = self._living(client)
            if not living:
                raise UsageError(self._nobody(client))
            ends = clock() + overlap
            self._all = tuple(
                msgspec.structs.replace(key, expires_at=min(key.expires_at or ends, ends))
                if key in living
                else key
                for key in self._all
            )
            newest = living[-1]
            made = self._made(client, newest.scopes, lasts, newest.rate, newest.test)
        audit.record(self._settings, audit.HERE, f"keys rotate {client}")
        return made

    def revoke(self, client: str, id: str | None = None) -> list[Key]:
        """End a client's keys, or the one of that id, now. UsageError if there is none."""
        with self._changing():
            ending = [key for key in self._living(client) if id in (None, key.id)]
            if not ending:
                raise UsageError(self._nobody(client) if id is None else f"{client} has no key {id} in force")
            now = clock()
            self._write(
                [msgspec.structs.replace(key, expires_at=now) if key in ending else key for key in self._all]
            )
        audit.record(self._settings, audit.HERE, f"keys revoke {client}", outcomes={"revoked": len(ending)})
        return ending

    def _made(
        self, client: str, scopes: tuple[str, ...], lasts: timedelta | None, rate: float | None, test: bool
    ) -> tuple[str, Key]:
        secret = PREFIX + ("test_" if test else "") + secrets.token_urlsafe(32)
        now, digest = clock(), digest_of(secret)
        ends = None if lasts is None else now + lasts
        key = Key(
            id=digest[:8], client=client, digest=digest, scopes=scopes, made_at=now, expires_at=ends,
            rate=rate,
            test=test,
        )  # fmt: skip
        self._write([*self._all, key])
        return secret, key

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with locked(self._path.with_name(".keys.lock")):
                self.everything()
                yield
        except OSError as error:
            raise SettingsError(
                f"{self._path} cannot be written ({error.strerror}): change keys on the host that keeps "
                "them, and renew what is mounted here (serving/KUBERNETES.md)"
            ) from None

    def _living(self, client: str) -> list[Key]:
        now = clock()
        return [key for key in self._all if key.client == client and not key.ended(now)]

    def _nobody(self, client: str) -> str:
        if any(key.client == client for key in self._given.values()):
            return f"{client}'s key is given by PROPENSITY_API_KEYS: change it there, and start again"
        now = clock()
        known = sorted({key.client for key in self._all if not key.ended(now)})
        return f"no key of {client} is in force{nearest(client, known)} Clients: {', '.join(known) or 'none'}"

    def _write(self, keys: Sequence[Key]) -> None:
        text = msgspec.json.format(msgspec.json.encode(list(keys)), indent=1) + b"\n"
        write_atomically(self._path, text, mode=0o600)


def digest_of(key: str | bytes) -> str:
    """What is kept of a key: its SHA-256 in hex."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).hexdigest()


def _given(client: str, key: str) -> Key:
    """The row of a key of PROPENSITY_API_KEYS, which may do everything."""
    digest, ever = digest_of(key), datetime.min.replace(tzinfo=UTC)
    return Key(id=digest[:8], client=client, digest=digest, scopes=("admin",), made_at=ever)
