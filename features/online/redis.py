"""Packed rows in Redis: the store that several machines share, in a database of its own.

propensity:home            which home publishes here
propensity:pointer         number of the publication that readers see
propensity:publications    hash: number -> JSON of what was published, and its turn (see sqlite.py)
propensity:turn            the last turn
propensity:<n>:rows        hash: customer_id -> row
propensity:<n>:overlays    hash: customer_id -> moment (int64, little-endian), row
propensity:<n>:identities  hash: length of the source, source, source id -> customer_id

A read is one script, and so one view and one round trip: a flip is seen at once, and never half.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import OnlineUnavailable, SettingsError, UsageError
from features.moments import from_us, to_us
from features.online import scripts
from features.online.packed import (
    AT_ONCE,
    Chunk,
    Content,
    IdentityRow,
    Publication,
    Published,
    Stored,
    new_number,
)

_BUSY = timedelta(seconds=30)  # that a publisher waits for one answer
_KEYS = 1000  # ids in one script: well below the limit of Lua's stack
_PAUSE = 4  # times the longest wait: after a failure, so long nobody waits for the server again

_POINTER, _PUBLICATIONS = "propensity:pointer", "propensity:publications"
_TURN, _HOME = "propensity:turn", "propensity:home"


@lru_cache(maxsize=8)
def store_of(url: str, timeout: timedelta) -> "RedisStore":
    """One store, and one pool of connections, a process and setting."""
    return RedisStore(url, timeout)


class RedisStore:
    """One database of a Redis server. An object serves all threads and forked workers of a process."""

    def __init__(self, url: str, timeout: timedelta) -> None:
        self._url = url
        self._client = self._open(timeout)
        self._local = threading.local()
        self._pause, self._paused_until = _PAUSE * timeout.total_seconds(), 0.0

    @property
    def where(self) -> str:
        """For messages: without user and password."""
        url = urlsplit(self._url)
        return f"Redis {url.hostname}:{url.port or 6379}/{url.path.strip('/') or 0}"

    def prepare(self) -> None:
        """Make sure that the server answers, before anything is computed for it."""
        with self._writer() as client:
            client.ping()

    def claim(self, home: str) -> None:
        """Publish for that home from now on; UsageError where another one does, which would lose its rows."""
        with self._writer() as client:
            client.set(_HOME, home, nx=True)
            if client.get(_HOME) != home.encode():
                raise UsageError(
                    f"{self.where} holds what another home published, and publishing there would take its "
                    "place: set PROPENSITY_ONLINE to a database of this home's own. If that home is gone for "
                    f"good, delete the key {_HOME} in Redis, and build again"
                )

    def pointer(self) -> int | None:
        """The number of the publication that readers see."""
        with self._named():
            return _number(self._ask("GET", _POINTER))

    def epoch(self) -> str:
        """Which start of which server it is; the same for ever of one that does not let us ask."""
        with self._named():
            try:
                said = self._ask("INFO", "server")
            except redis.ResponseError:
                return "unknown"
        return next((line for line in said.decode().splitlines() if line.startswith("run_id:")), "unknown")

    def read(self, published: Published, keys: Sequence[bytes]) -> tuple[int | None, Stored | None]:
        """The pointer, and what that publication holds of the keys; None: it is not kept.

        More than 1,000 keys are several views of that one publication, whose rows never change.
        """
        rows, overlays = dict[bytes, bytes](), dict[bytes, tuple[int, bytes]]()
        number = published.number
        names = [_POINTER, _PUBLICATIONS, _name(number, "rows"), _name(number, "overlays")]
        for start in range(0, max(len(keys), 1), _KEYS):
            some = keys[start : start + _KEYS]
            with self._named():
                pointer, kept, there, *found = self._run(scripts.READ, names, number, *some)
            if not kept:
                return _number(pointer), None
            if published.rows and not there:
                raise OnlineUnavailable(
                    f"{self.where} has lost the rows of {published.id}, as it does where it may evict keys: "
                    "set its maxmemory-policy to noeviction, and run `propensity features build`"
                )
            if found:
                rows.update((key, row) for key, row in zip(some, found[0], strict=True) if row is not None)
            for key, row in zip(some, found[1] if len(found) > 1 else (), strict=False):
                if row is not None:
                    overlays[key] = (int.from_bytes(row[:8], "little"), row[8:])
        return _number(pointer), Stored(rows, overlays)

    def resolve(self, pairs: Sequence[tuple[bytes, bytes]]) -> list[str | None]:
        """The customer of each (source, source id) in the current publication."""
        found: list[bytes | None] = []
        for start in range(0, len(pairs), _KEYS):
            some = [_identity(*pair) for pair in pairs[start : start + _KEYS]]
            with self._named():
                found += self._run(scripts.RESOLVE, [_POINTER], *some) or [None] * len(some)
        return [None if id is None else id.decode() for id in found]

    def publications(self) -> list[Publication]:
        """All that is kept, whole or not."""
        with self._named():
            found: Any = self._client.hgetall(_PUBLICATIONS)
        return [_publication(int(number), json.loads(text)) for number, text in found.items()]

    def write(self, content: Content, sha256: str) -> None:
        """Write all of it, without a turn."""
        with self._writer() as client:
            number = new_number()
            about = {
                "id": content.id,
                "build": content.build,
                "moment": to_us(content.moment),
                "features": dict(content.features),
                "rows": len(content.keys),
                "sha256": sha256,
                "turn": None,
                "last_delivery": content.last_delivery,
            }
            client.hset(_PUBLICATIONS, str(number), json.dumps(about))
            for chunk in content.chunks():
                client.hset(_name(number, "rows"), items=[part for pair in chunk for part in pair])
            for start in range(0, len(content.identities), AT_ONCE):
                some = content.identities[start : start + AT_ONCE]
                items = [part for source, id, customer in some for part in (_identity(source, id), customer)]
                client.hset(_name(number, "identities"), items=items)

    def chunks(self, number: int) -> Iterator[Chunk]:
        """Every (key, row) of a publication, ascending."""
        with self._writer() as client:
            keys = sorted(client.hkeys(_name(number, "rows")))
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                rows = client.hmget(_name(number, "rows"), some)
                yield [(key, row) for key, row in zip(some, rows, strict=True) if row is not None]

    def keys(self, number: int) -> set[bytes]:
        """Every customer of a publication, also who came by an overlay."""
        with self._writer() as client:
            return {key for part in ("rows", "overlays") for key in client.hkeys(_name(number, part))}

    def said(self, number: int, width: int, keys: Sequence[bytes] | None = None) -> Counter[bytes]:
        """Consents, which are behind so many bytes of a row -> how many published rows have them; of all of
        a publication, or of those keys."""
        found, name = Counter[bytes](), _name(number, "rows")
        if keys is None:
            with self._writer() as client:
                keys = client.hkeys(name)
        for start in range(0, len(keys), _KEYS):
            with self._named():
                found.update(self._run(scripts.SAID, [name], width, *keys[start : start + _KEYS]))
        return found

    def saying(self, number: int, width: int) -> list[bytes]:
        """Keys of the overlays that have consents."""
        found, cursor = dict[bytes, None](), b"0"
        while True:
            with self._named():
                cursor, some = self._run(scripts.SAYING, [_name(number, "overlays")], width, cursor)
            found.update(dict.fromkeys(some))
            if cursor == b"0":
                return [*found]

    def identities(self, number: int) -> list[IdentityRow]:
        """Every identity of a publication, ascending."""
        with self._writer() as client:
            found = client.hgetall(_name(number, "identities"))
        return sorted((*_source_and_id(field), customer.decode()) for field, customer in found.items())

    def flip(self, number: int, withdrawn: int | None = None) -> None:
        """Let readers see a verified publication, with the next turn; or go back to it, keeping its own."""
        with self._writer() as client:
            turn = client.incr(_TURN) if withdrawn is None else 0
            changed = number if withdrawn is None else withdrawn
            about = {**json.loads(client.hget(_PUBLICATIONS, str(changed))), "turn": turn}
            with client.pipeline(transaction=True) as both:
                both.hset(_PUBLICATIONS, str(changed), json.dumps(about))
                both.set(_POINTER, number)
                both.execute()

    def drop(self, numbers: Sequence[int]) -> None:
        """Remove publications, each at once."""
        with self._writer() as client:
            for number in numbers:
                with client.pipeline(transaction=True) as all:
                    all.hdel(_PUBLICATIONS, str(number))
                    all.unlink(*(_name(number, part) for part in ("rows", "overlays", "identities")))
                    all.execute()

    def record(self, number: int, sha256: str) -> None:
        """Note what a publication holds now."""
        with self._writer() as client:
            about = json.loads(client.hget(_PUBLICATIONS, str(number)))
            about |= {"sha256": sha256, "rows": client.hlen(_name(number, "rows"))}
            client.hset(_PUBLICATIONS, str(number), json.dumps(about))

    def write_overlay(self, number: int, rows: Mapping[bytes, tuple[int, bytes]]) -> bool:
        """Write overlays (moment, row); False, and nothing is written, if that is no longer current."""
        args: list[bytes | int] = [number]
        for key, (moment, row) in rows.items():
            args += (key, moment.to_bytes(8, "little") + row)
        with self._named():
            return bool(self._run(scripts.WRITE, [_POINTER, _name(number, "overlays")], *args))

    def overlays(self, number: int) -> dict[str, datetime]:
        """Customer -> moment of her overlay."""
        with self._writer() as client:
            found = client.hgetall(_name(number, "overlays"))
        return {
            key.decode("utf-8", "surrogatepass"): from_us(int.from_bytes(row[:8], "little"))
            for key, row in found.items()
        }

    def erase(self, keys: Sequence[bytes]) -> int:
        """Remove these customers everywhere; the number of packed rows that went."""
        gone, ids = 0, {key.decode("utf-8", "surrogatepass") for key in keys}
        with self._writer() as client:
            for number in map(int, client.hkeys(_PUBLICATIONS)):
                mine = [_identity(s, i) for s, i, customer in self.identities(number) if customer in ids]
                gone += client.hdel(_name(number, "rows"), *keys)
                client.hdel(_name(number, "overlays"), *keys)
                if mine:
                    client.hdel(_name(number, "identities"), *mine)
        return gone

    def _run(self, script: str, keys: list[str], *args: bytes | int) -> Any:
        """A script's answer. The server is sent its text once, and again only after a restart."""
        asked = ("EVALSHA", scripts.SHA[script], len(keys), *keys, *args)
        try:
            return self._ask(*asked)
        except redis.exceptions.NoScriptError:
            self._ask("SCRIPT", "LOAD", script)
            return self._ask(*asked)

    def _ask(self, *command: str | bytes | int) -> Any:
        """The answer on a connection of this thread's own: the client's bookkeeping costs as much again."""
        connection = self._connection()
        for attempt in (1, 2):  # one that the server closed, as in a restart, is opened again once
            try:
                connection.send_command(*command)
                return connection.read_response()
            except redis.ConnectionError:
                connection.disconnect()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _connection(self) -> Any:
        """A forked child opens its own, and leaves its parent's untouched."""
        opened: dict[int, Any] | None = getattr(self._local, "opened", None)
        if opened is None:
            opened = self._local.opened = {}
        process = os.getpid()
        if process not in opened:
            opened[process] = self._client.connection_pool.make_connection()
        return opened[process]

    def _open(self, timeout: timedelta) -> Any:
        seconds = timeout.total_seconds()
        return redis.Redis.from_url(
            self._url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(
                NoBackoff(), 1, supported_errors=(redis.ConnectionError,)
            ),  # else it waits, and again
        )

    @contextmanager
    def _writer(self) -> Iterator[Any]:
        """A client with more patience: a chunk of rows is no reader's request."""
        with self._named(), self._open(_BUSY) as client:
            yield client

    @contextmanager
    def _named(self) -> Iterator[None]:
        """OnlineUnavailable, at once where another caller has just waited in vain: else requests queue up.

        SettingsError if the server is there but takes neither this user nor this database.
        """
        if time.monotonic() < self._paused_until:
            raise OnlineUnavailable(
                f"{self.where} did not answer in time a moment ago: try again in a second"
            )
        try:
            yield
        except redis.RedisError as error:
            if wrong := _wrong_setting(error):
                raise SettingsError(
                    f"{self.where} refuses {wrong}: set PROPENSITY_ONLINE to one it takes, and start again"
                ) from None
            if isinstance(error, redis.TimeoutError):
                self._paused_until = time.monotonic() + self._pause
            # Of what the server says only the code, such as OOM: the rest may repeat what was sent.
            said = f" {str(error).split()[0]}" if isinstance(error, redis.ResponseError) else ""
            raise OnlineUnavailable(
                f"{self.where} does not answer as it should ({type(error).__name__}{said}): check that it "
                "runs and that PROPENSITY_ONLINE names it; reads go on by themselves once it does"
            ) from None


def _wrong_setting(error: redis.RedisError) -> str | None:
    """What of PROPENSITY_ONLINE the server will not have, however long we wait; None: that is not it."""
    if isinstance(error, redis.AuthenticationError | redis.exceptions.NoPermissionError):
        return "the user or the password, or does not let that user do what is needed"
    return "the number of the database" if "DB index" in str(error) else None


def _name(number: int, part: str) -> str:
    return f"propensity:{number}:{part}"


def _number(pointer: bytes | None) -> int | None:
    return None if pointer is None else int(pointer)


def _identity(source: bytes, id: bytes) -> bytes:
    return len(source).to_bytes(4, "little") + source + id


def _source_and_id(field: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(field[:4], "little")
    return field[4:end], field[end:]


def _publication(number: int, about: dict[str, Any]) -> Publication:
    published = Published(
        about["id"], about["build"], from_us(about["moment"]), about["features"], about["rows"], number,
        about.get("last_delivery"),
    )  # fmt: skip
    return Publication(published, about["sha256"], about["turn"])
