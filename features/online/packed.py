"""What a publication holds, and how it is packed.

A customer's row is one value: her features as little-endian float32, in the order of `Published.features`,
then her consents as JSON `[[channel, purpose, status], ...]`, or nothing if the log knows of none. A key is
the exact bytes of an id: "0123" is not "123".
"""

import hashlib
import json
import logging
import secrets
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.compute.builds import KEYS, Build
from features.errors import FeatureError, NoBuild
from features.exported import last_delivery
from features.moments import to_us
from features.settings import Settings
from features.tombstones import Tombstones

PRESENT, EXPIRED, UNKNOWN = 0, 1, 2  # status of a customer in an answer of `read`
PACKED = np.dtype("<f4")
_NAN = np.array(np.nan, PACKED).tobytes()
_OPENS = ord("[")  # consents, behind the values
AT_ONCE = 5_000  # rows that are written, or read back, together
_COLUMNS = 10  # that are read together: few, for memory; some, since a row-wise matrix is filled faster so

report = logging.getLogger("propensity.online")

Consents = Mapping[tuple[str, str], bool]  # (channel, purpose) -> granted
COMPLAINED = ("", "complaint")
"""Among the consents of an overlay, as no channel is called: an open complaint that no feature counts."""
Chunk = list[tuple[bytes, bytes]]  # (key, row)
IdentityRow = tuple[bytes, bytes, str]  # source, source id, customer


@dataclass(frozen=True)
class Published:
    """One published snapshot. `features`: name -> hash, in the order of a row's values."""

    id: str  # "<build>@<YYYYmmddTHHMMSSZ>"
    build: str
    moment: datetime
    features: Mapping[str, str]
    rows: int
    number: int  # the store's own key; never used twice, nor in a store that lost all and was filled again
    last_delivery: int | None = None  # of the ledger in its log, 0 without one; None: older than this field

    @property
    def key(self) -> str:
        """Tells it from every other, also from the same snapshot published where this one was lost."""
        return f"{self.id}#{self.number}"


@dataclass(frozen=True)
class Publication:
    """What a store keeps of one, current or not."""

    published: Published
    sha256: str  # of all that it holds, overlays apart
    turn: int | None  # the order in which they became current; None: not verified yet, 0: withdrawn


@dataclass(frozen=True)
class Fresh:
    """A customer as known at a moment after the publication's, through events that its log does not hold.

    row: float32 [features], in the publication's order. consents: what the fresh events say of her
    consents; it stands above what was published of them.
    """

    row: NDArray[np.float32]
    moment: datetime
    consents: Consents = field(default_factory=dict)


class Rows(NamedTuple):
    """Rows of the customers that were asked for, in their order.

    matrix: float32 [n, features], NaN where a customer is not present. statuses: PRESENT, EXPIRED or UNKNOWN.
    moments: microseconds: the moment at which that row was known; the publication's own for an unknown
    customer. consents(place): of the customer there; empty if unknown.
    """

    matrix: NDArray[np.float32]
    statuses: list[int]
    moments: list[int]
    consents: Callable[[int], Consents]

    @property
    def status(self) -> NDArray[np.uint8]:
        """`statuses`, uint8 [n]."""
        return np.array(self.statuses, np.uint8)

    @property
    def known_at(self) -> NDArray[np.int64]:
        """`moments`, int64 [n]."""
        return np.array(self.moments, np.int64)


class Stored(NamedTuple):
    """What a store found of the keys that were asked for. overlays: key -> (moment in microseconds, row)."""

    rows: Mapping[bytes, bytes]
    overlays: Mapping[bytes, tuple[int, bytes]]


def without(stored: Stored, gone: Iterable[bytes]) -> Stored:
    """Less what was found of some keys."""
    keys = {*gone}
    if keys.isdisjoint(stored.rows) and keys.isdisjoint(stored.overlays):
        return stored
    return Stored(
        {key: row for key, row in stored.rows.items() if key not in keys},
        {key: row for key, row in stored.overlays.items() if key not in keys},
    )


def new_number() -> int:
    """Of a publication. Drawn and not counted: a store that was emptied would begin to count anew, and
    whoever still runs would take the new publication for the old one. Above all that were ever counted.
    """
    return 1 << 52 | secrets.randbits(52)


MERGED = ""  # the source of an id that became another customer's; no source of a log has this name


@dataclass(frozen=True)
class Content:
    """All that is published of one snapshot."""

    id: str
    build: str
    moment: datetime
    features: Mapping[str, str]
    keys: Sequence[bytes]  # ascending
    matrix: NDArray[np.float32]  # [keys, features], little-endian
    consents: Mapping[bytes, bytes]  # key -> JSON
    identities: Sequence[IdentityRow]  # ascending
    last_delivery: int  # as `Published` has it; no part of the digest

    @staticmethod
    def id_of(build: Build, moment: datetime) -> str:
        """What a publication of that snapshot is called."""
        return f"{build.id}@{moment:%Y%m%dT%H%M%SZ}"

    @classmethod
    def of(cls, settings: Settings, build: Build, moment: datetime) -> "Content":
        """Of that snapshot, with the identities and consents that the build's log knew by then.

        NoBuild if that moment was not built, FeatureError if the snapshot is not what its build declares.
        """
        keys, matrix = _snapshot(build, moment)
        erased = Tombstones.of(settings).customers(key.decode() for key in keys)
        if erased:  # a build that came back from somewhere
            kept = np.array([key.decode() not in erased for key in keys])
            keys, matrix = [key for key, keep in zip(keys, kept, strict=True) if keep], matrix[kept]
        log = settings.home / "log" / build.log
        return cls(
            cls.id_of(build, moment),
            build.id,
            moment,
            dict(build.features),
            keys,
            matrix,
            _consents(sorted((log / "consents").glob("*.parquet")), moment),
            sorted(
                _identities(sorted((log / "identities").glob("*.parquet")), moment) + _merged(log, moment)
            ),
            last_delivery(log),
        )

    def chunks(self) -> Iterator[Chunk]:
        """Every (key, row), ascending by key."""
        width = len(self.features) * PACKED.itemsize
        for start in range(0, len(self.keys), AT_ONCE):
            keys = self.keys[start : start + AT_ONCE]
            packed = self.matrix[start : start + AT_ONCE].tobytes()
            rows = [packed[place : place + width] for place in range(0, len(packed), width)]
            if self.consents:
                rows = [row + self.consents.get(key, b"") for key, row in zip(keys, rows, strict=True)]
            yield list(zip(keys, rows, strict=True))

    def digest(self) -> str:
        """Hex digest of all of it."""
        return digest(self.id, self.features, self.chunks(), self.identities)


def digest(
    id: str, features: Mapping[str, str], chunks: Iterable[Chunk], identities: Iterable[IdentityRow]
) -> str:
    """Hex digest over what a publication holds; rows and identities ascending by key, in any chunks."""
    sha, lengths, keys, rows = (hashlib.sha256() for _ in range(4))
    sha.update(f"{id}\n{json.dumps(dict(features))}\n".encode())
    for chunk in chunks:
        sizes = array("I", [size for key, row in chunk for size in (len(key), len(row))])
        lengths.update(sizes.tobytes())
        keys.update(b"".join([key for key, _ in chunk]))
        rows.update(b"".join([row for _, row in chunk]))
    for part in (lengths, keys, rows):
        sha.update(part.digest())
    for identity in identities:
        sha.update(repr(identity).encode())
    return sha.hexdigest()


def key_of(id: str) -> bytes:
    """The bytes of an id. Those of text that is no UTF-8 match no row, which is right for such an id."""
    return id.encode("utf-8", "surrogatepass")


_to_us = lru_cache(maxsize=64)(to_us)  # of publications: few, and asked for with every read


def unpack(
    published: Published, keys: Sequence[bytes], stored: Stored, oldest: datetime | None, where: str
) -> Rows:
    """Rows of `keys`, in their order and with their duplicates; what was known before `oldest` is EXPIRED.

    FeatureError if a stored row is not as long as it was published. An overlay row that is not is as if it
    were not there: an older version wrote it, which told publications by numbers that came again.
    """
    count, width = len(keys), len(published.features) * PACKED.itemsize
    rows, overlays = stored.rows, stored.overlays
    if overlays:
        overlays = {key: of for key, of in overlays.items() if _fits(of[1], width)}
        if len(overlays) < len(stored.overlays):
            _say_misfits(published.key, where)
        rows = {**rows, **{key: row for key, (_, row) in overlays.items()}}
    for row in rows.values():
        if len(row) != width and not _fits(row, width):
            raise FeatureError(
                f"{where}: rows of {published.id} are not {width} bytes long, as they were published: "
                "something else changed them; take what is there away and publish again "
                "(`propensity features build`)"
            )
    moment, blank = _to_us(published.moment), _NAN * len(published.features)
    moments = [overlays[key][0] if key in overlays else moment for key in keys]
    statuses = [PRESENT if key in rows else UNKNOWN for key in keys]
    packed = bytearray().join([rows.get(key, blank)[:width] for key in keys])
    matrix = np.ndarray((count, len(published.features)), PACKED, packed)
    if oldest is not None:
        least = to_us(oldest)
        for place, known in enumerate(moments):
            if known < least and statuses[place] == PRESENT:
                statuses[place] = EXPIRED
                matrix[place] = np.nan

    def consents(place: int) -> Consents:
        """Of the customer at that place."""
        said = [stored.rows.get(keys[place], b"")[width:]]
        if keys[place] in overlays:
            said.append(overlays[keys[place]][1][width:])
        return consents_of(*said)

    return Rows(matrix, statuses, moments, consents)


def _fits(row: bytes, width: int) -> bool:
    """Whether it is so many bytes of values, and then consents or nothing."""
    return len(row) == width or (len(row) > width and row[width] == _OPENS)


@lru_cache(maxsize=64)  # once a process and publication
def _say_misfits(key: str, where: str) -> None:
    report.warning("%s: overlay rows of %s that are not of its features are passed over", where, key)


def consents_of(*said: bytes) -> Consents:
    """What rows have behind their values, the last word last."""
    return {(c, p): status == "granted" for text in said if text for c, p, status in json.loads(text)}


def pack(published: Published, fresh: Fresh) -> bytes:
    """One customer's overlay row. FeatureError if it is not of this publication's features."""
    if fresh.row.shape != (len(published.features),):
        raise FeatureError(
            f"a fresh row of shape {fresh.row.shape}, where {published.id} has {len(published.features)} "
            "features: compute it from the same build"
        )
    row = fresh.row.astype(PACKED).tobytes()
    if not fresh.consents:
        return row
    said = [[*of, "granted" if given else "withdrawn"] for of, given in sorted(fresh.consents.items())]
    return row + json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def nothing_published(where: str) -> NoBuild:
    """The error of a store in which nothing is published."""
    return NoBuild(f"no features are published in {where}: run `propensity features build`")


def _snapshot(build: Build, moment: datetime) -> tuple[list[bytes], NDArray[np.float32]]:
    """Keys, ascending, and the matrix of one snapshot."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    build.require_moment(moment)
    names = list(build.features)
    with pq.ParquetFile(build.path(moment), pre_buffer=False) as file:
        if file.schema_arrow.names[len(KEYS) :] != names:
            raise FeatureError(
                f"{build.path(moment)} does not have the columns that its manifest declares, in that order: "
                "delete the build's folder and run `propensity features build`"
            )
        keys: list[bytes] = file.read(["customer_id"]).column(0).cast(pa.binary()).to_pylist()
        matrix = np.empty((len(keys), len(names)), dtype=PACKED)
        for start in range(0, len(names), _COLUMNS):
            some = file.read(names[start : start + _COLUMNS])
            for name, column in zip(some.column_names, some.columns, strict=True):
                if str(column.type) != "float" or column.null_count:
                    raise FeatureError(
                        f"{build.path(moment)}: {name} is {column.type} with {column.null_count} nulls, "
                        "where float32 with NaN for null is expected: run `propensity features build` again"
                    )
            # Not by `to_numpy`, which imports pandas: half a second, and more memory than the rows.
            parts = [[np.from_dlpack(part) for part in column.chunks] for column in some.columns]
            if keys:
                matrix[:, start : start + _COLUMNS] = np.column_stack([np.concatenate(of) for of in parts])
    if any(before >= after for before, after in pairwise(keys)):
        order = sorted(range(len(keys)), key=keys.__getitem__)
        keys, matrix = [keys[place] for place in order], matrix[order]
    return keys, matrix


def _identities(paths: Sequence[object], moment: datetime) -> list[IdentityRow]:
    """(source, source id, customer) known by the moment; one customer an id, the one named last."""
    if not paths:
        return []
    from features.duck import connect

    query = (
        'select encode(source), encode(source_id), arg_max(customer_id, (known_at, "at", customer_id)) '
        "from read_parquet($paths, hive_partitioning = false) where known_at <= $moment group by all "
        "order by all"
    )
    with connect() as duck:
        rows: list[IdentityRow] = duck.execute(
            query, {"paths": [str(path) for path in paths], "moment": moment}
        ).fetchall()
    return rows


def _merged(log: Path, moment: datetime) -> list[IdentityRow]:
    """(MERGED, id, customer) of every id that had become another customer's by the moment."""
    path = log / "merges.parquet"
    if not path.exists():
        return []
    import pyarrow.parquet as pq

    rows = pq.read_table(path, partitioning=None).to_pylist()
    known = [row for row in rows if row["since"] <= moment]
    return [(key_of(MERGED), key_of(row["customer_id"]), row["canonical_id"]) for row in known]


def _consents(paths: Sequence[object], moment: datetime) -> dict[bytes, bytes]:
    """Customer -> JSON of her consents as known at the moment: the last word on each channel and purpose.

    Where two sources say otherwise at the same time, she has withdrawn.
    """
    if not paths:
        return {}
    from features.duck import connect

    query = """
        select encode(customer_id), encode(cast(to_json(list([channel, purpose, status]
               order by channel, purpose)) as varchar))
        from (
            select customer_id, channel, purpose, arg_max(status, ("at", status = 'withdrawn')) as status
            from read_parquet($paths, hive_partitioning = false) where known_at <= $moment
            group by customer_id, channel, purpose
        ) group by customer_id
    """
    with connect() as duck:
        rows = duck.execute(query, {"paths": [str(path) for path in paths], "moment": moment}).fetchall()
    return dict(rows)
