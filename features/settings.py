"""The only reader of the environment. Everything else takes a `Settings`."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from features.errors import SettingsError, UsageError
from features.files import expanded
from features.moments import parse_moment

BUNDLED_SHOPS = Path(__file__).parent / "shops"
ENGINES = ("embedded", "spark")
ENDPOINTS = ("dispatch", "bentoml")
DURABILITIES = ("process", "power")
SINK = "PROPENSITY_SINK_"
LEAST_MEMORY = 280_000_000  # bytes: of them DuckDB has 90 MB, with which it still sorts and joins on disk


def clock() -> datetime:
    """The machine's time, read nowhere else: for how long something has waited, no as-of tells."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Settings:
    """Where state lives, which shop this is, and what the service may do.

    home:         all state (PROPENSITY_HOME, default ./.propensity)
    shop:         the shop's folder with shop.toml (PROPENSITY_SHOP, default the bundled demo shop)
    as_of:        "now" for a log of the past (PROPENSITY_AS_OF); None means the clock
    api_keys:     client name -> key (PROPENSITY_API_KEYS, "journeys:KEY,ops:KEY")
    keys:         the file of callers' keys (PROPENSITY_KEYS, default keys.json in the home), such as one that
                  another host keeps and that is mounted here
    stale_after:  age of published features from which answers say `stale` (PROPENSITY_STALE_HOURS, 50)
    expire_after: age from which nothing is answered (PROPENSITY_EXPIRE_DAYS, 14)
    online:       where packed rows are: "sqlite", a file in the home, or redis://[user:password@]host:port/db,
                  rediss:// with TLS, a database of its own (PROPENSITY_ONLINE, sqlite)
    online_timeout: longest wait for an answer of Redis (PROPENSITY_ONLINE_TIMEOUT_MS, 250)
    memory:       bytes that ingestion may use, about; what exceeds them goes to files (PROPENSITY_MEMORY,
                  "2GB"; 280MB or more; default: half of the machine's)
    engine:       what computes features: "embedded", this machine, or "spark" (PROPENSITY_ENGINE, embedded)
    spark_master: the cluster (PROPENSITY_SPARK_MASTER, default local[*], every core of this machine)
    dask_scheduler: the cluster of `train --distributed` (PROPENSITY_DASK_SCHEDULER, tcp://host:8786; default
                  "local", one of this machine's cores)
    database:     the team's PostgreSQL for Feast's registry and MLflow, postgresql://user:password@host:5432/name
                  (PROPENSITY_DATABASE); None: files in the home
    ledger:       where decisions are recorded: "sqlite", a file in the home, or a PostgreSQL,
                  for several hosts: postgresql://user:password@host:5432/name (PROPENSITY_LEDGER, sqlite)
    releases:     where releases are put, and followed from by services that share no disk: a folder or an
                  object store, as fsspec has it: s3://bucket/releases (PROPENSITY_RELEASES; None: nowhere)
    scores:       what answers /v1/scores: "dispatch", our own, or "bentoml", its typed endpoint, slower
                  (PROPENSITY_SCORES, dispatch)
    hook_secrets: client -> what signs the events that are pushed to it (PROPENSITY_HOOK_SECRETS,
                  "crm:whsec_...,crm:whsec_..."; while a secret is changed, a client has two)
    sink_secrets: sink of alerts -> its key, token or password (PROPENSITY_SINK_<NAME>; of the sink `group`:
                  PROPENSITY_SINK_GROUP)
    durability:   what an acknowledged record outlives: "process", its end, however it comes; "power", that of
                  the machine too, at the price of an fsync (PROPENSITY_DURABILITY, process)
    """

    home: Path = Path(".propensity")
    shop: Path = BUNDLED_SHOPS / "complete_journey"
    as_of: datetime | None = None
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    keys: Path | None = None
    host: str = "127.0.0.1"
    port: int = 3000
    stale_after: timedelta = timedelta(hours=50)
    expire_after: timedelta = timedelta(days=14)
    online: str = field(default="sqlite", repr=False)  # may hold a password
    online_timeout: timedelta = timedelta(milliseconds=250)
    memory: int = max(LEAST_MEMORY, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    engine: str = "embedded"
    spark_master: str = "local[*]"
    dask_scheduler: str = "local"
    database: str | None = field(default=None, repr=False)  # may hold a password
    ledger: str = field(default="sqlite", repr=False)  # may hold a password
    durability: str = "process"
    releases: str | None = field(default=None, repr=False)  # may hold a password
    scores: str = "dispatch"
    hook_secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    sink_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.home.exists() and not self.home.is_dir():
            raise SettingsError(f"PROPENSITY_HOME is {self.home}, a file: choose a folder")
        if self.engine not in ENGINES:
            raise SettingsError(f"PROPENSITY_ENGINE is {self.engine!r}: choose {' or '.join(ENGINES)}")
        if self.durability not in DURABILITIES:
            raise SettingsError(
                f"PROPENSITY_DURABILITY is {self.durability!r}: choose {' or '.join(DURABILITIES)}"
            )
        if self.scores not in ENDPOINTS:
            raise SettingsError(f"PROPENSITY_SCORES is {self.scores!r}: choose {' or '.join(ENDPOINTS)}")
        if self.memory < LEAST_MEMORY:
            raise SettingsError(
                f"PROPENSITY_MEMORY is {self.memory / 1e6:.0f}MB: "
                f"expected {LEAST_MEMORY / 1e6:.0f}MB or more, with which files larger than it are taken in"
            )
        if self.keys not in (None, self.home / "keys.json") and self.home in self.keys.parents:
            raise SettingsError(
                f"PROPENSITY_KEYS is {self.keys}: choose a place outside of PROPENSITY_HOME, whose backups "
                "would bring back what was revoked since"
            )
        odd = sorted(set(str(self.home)) & set("*?[]'\"="))
        if odd:  # DuckDB and Feast read such paths as patterns and partitions: other files, other values
            raise SettingsError(
                f"PROPENSITY_HOME is {self.home}: choose a path without the characters {' '.join(odd)}"
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read PROPENSITY_* variables; raise SettingsError naming the variable that cannot be used."""
        environ = os.environ if environ is None else environ
        try:
            return cls(
                home=_path(environ, "PROPENSITY_HOME", ".propensity").resolve(),
                shop=_path(environ, "PROPENSITY_SHOP", str(BUNDLED_SHOPS / "complete_journey")),
                as_of=parse_moment(environ["PROPENSITY_AS_OF"]) if environ.get("PROPENSITY_AS_OF") else None,
                api_keys=_keys(environ.get("PROPENSITY_API_KEYS", "")),
                keys=_path(environ, "PROPENSITY_KEYS", "").absolute()  # a link is followed as it changes
                if environ.get("PROPENSITY_KEYS")
                else None,
                host=environ.get("PROPENSITY_HOST", "127.0.0.1"),
                port=_port(environ.get("PROPENSITY_PORT") or "3000"),
                stale_after=timedelta(hours=_number(environ, "PROPENSITY_STALE_HOURS", 50)),
                expire_after=timedelta(days=_number(environ, "PROPENSITY_EXPIRE_DAYS", 14)),
                online=_online(environ.get("PROPENSITY_ONLINE", "")),
                online_timeout=timedelta(
                    milliseconds=_number(environ, "PROPENSITY_ONLINE_TIMEOUT_MS", 250, least=1)
                ),
                memory=_bytes(environ.get("PROPENSITY_MEMORY", ""), cls.memory),
                engine=environ.get("PROPENSITY_ENGINE") or "embedded",
                spark_master=environ.get("PROPENSITY_SPARK_MASTER") or "local[*]",
                dask_scheduler=environ.get("PROPENSITY_DASK_SCHEDULER") or "local",
                database=_database("PROPENSITY_DATABASE", environ.get("PROPENSITY_DATABASE", "")),
                ledger=_ledger(environ.get("PROPENSITY_LEDGER", "")),
                durability=environ.get("PROPENSITY_DURABILITY") or "process",
                releases=environ.get("PROPENSITY_RELEASES") or None,
                scores=environ.get("PROPENSITY_SCORES") or "dispatch",
                hook_secrets=_secrets(environ.get("PROPENSITY_HOOK_SECRETS", "")),
                sink_secrets={
                    name.removeprefix(SINK).lower(): value
                    for name, value in environ.items()
                    if name.startswith(SINK) and value
                },
            )
        except SettingsError:
            raise
        except UsageError as error:
            raise SettingsError(f"PROPENSITY_AS_OF: {error}") from None

    def now(self) -> datetime:
        """The moment that "now" means here: `as_of` for a log of the past, else the clock."""
        return self.as_of or clock()


def _path(environ: Mapping[str, str], name: str, default: str) -> Path:
    try:
        return expanded(environ.get(name, default))
    except UsageError as error:
        raise SettingsError(f"{name}: {error}") from None


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise SettingsError(f"PROPENSITY_PORT is {text!r}: expected a whole number from 1 to 65535")
    return int(text)


def _number(environ: Mapping[str, str], name: str, default: float, least: float = 0) -> float:
    text = environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1
    if not 0 < value < 1e6 or value < least:
        wanted = f"a number from {least} on" if least else "a positive number"
        raise SettingsError(f"{name} is {text!r}: expected {wanted}, such as {default}")
    return value


def _online(text: str) -> str:
    if text in ("", "sqlite"):
        return "sqlite"
    try:
        url = urlsplit(text)
        good = url.scheme in ("redis", "rediss") and url.hostname and url.port != 0
        good = good and bool(re.fullmatch("/?[0-9]{0,5}", url.path))
        # The client would take options from a query, and an own time-out before ours.
        good = good and not ("?" in text or "#" in text)
    except ValueError:
        good = False
    if not good:  # never shown: it may hold a password
        raise SettingsError(
            "PROPENSITY_ONLINE must be sqlite or redis://[user:password@]host:port/db (rediss:// for TLS), "
            "with nothing after it and with what is special in the password percent-encoded (? as %3F)"
        )
    return text


def _bytes(text: str, default: int) -> int:
    found = re.fullmatch(r"(\d+) ?(MB|GB)", text)
    if text and not found:
        raise SettingsError(f"PROPENSITY_MEMORY is {text!r}: expected an amount such as 500MB or 4GB")
    return int(found[1]) * {"MB": 10**6, "GB": 10**9}[found[2]] if found else default


def _ledger(text: str) -> str:
    return "sqlite" if text == "sqlite" else _database("PROPENSITY_LEDGER", text) or "sqlite"


def _database(variable: str, text: str) -> str | None:
    if not text:
        return None
    try:
        url = urlsplit(text)
        good = url.scheme in ("postgresql", "postgres") and url.port != 0
        good = good and bool(url.hostname or "host=" in url.query)
    except ValueError:
        good = False
    if not good:  # never shown: it may hold a password
        raise SettingsError(
            f"{variable} must be postgresql://user:password@host:5432/name, with what is special in "
            "the password percent-encoded (@ as %40)"
        )
    return text


def _keys(text: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for place, pair in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        client, _, key = pair.partition(":")
        if not client or len(key) < 16 or client in keys:  # never shown: any part of it may be the key
            raise SettingsError(
                "PROPENSITY_API_KEYS must read client:key[,client:key], each client once, each key of "
                f"16 characters or more; entry {place} does not"
            )
        keys[client] = key
    return keys


def _secrets(text: str) -> dict[str, tuple[str, ...]]:
    secrets: dict[str, tuple[str, ...]] = {}
    for place, pair in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        client, _, secret = pair.partition(":")
        try:
            size = len(b64decode(secret.removeprefix("whsec_"), validate=True))
        except ValueError:
            size = 0
        if not client or not secret.startswith("whsec_") or not 24 <= size <= 64:  # never shown
            raise SettingsError(
                "PROPENSITY_HOOK_SECRETS must read client:secret[,client:secret], each secret as `propensity "
                f"pushes secret` makes it: whsec_ and 24 to 64 bytes in base64; entry {place} does not"
            )
        secrets[client] = (*secrets.get(client, ()), secret)
    return secrets
