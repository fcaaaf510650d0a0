"""A build: every declared feature, of one log, at the moments computed so far.

    snapshots/<build>/manifest.json
    snapshots/<build>/<moment>.parquet   customer_id, moment, known_at, one float32 column a feature;
                                         sorted by customer_id; a customer appears once something is known
    snapshots/<build>/digests.json       what its log knew on each day, of the tables that it read
    snapshots/CURRENT                    the build that commands use unless told otherwise

The build's id is a hash of the log and of every feature's declaration, so the same log and the same
declarations are the same build, more moments are added to it, and nothing is ever computed twice. A build of
a log that has grown links the snapshots of an earlier build as far as the two logs knew the same.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import FeatureMismatch, NoBuild
from features.files import read_pointer, write_atomically
from features.moments import iso, parse_moment
from features.settings import Settings
from features.words import several

if TYPE_CHECKING:
    import pyarrow as pa

Digests = Mapping[str, Mapping[str, str]]  # table -> UTC day of known_at -> digest of the rows known that day

KEYS = ("customer_id", "moment", "known_at")  # of every snapshot file, before the features


_RETRAIN = "Retrain on this build, or rebuild with the declarations that the release was trained on"


@dataclass(frozen=True)
class Build:
    """One build on disk. `features`: name -> hash, in the order of the files' columns."""

    id: str
    folder: Path
    log: str  # the log's fingerprint
    log_starts_at: datetime
    complete_until: datetime
    features: Mapping[str, str]
    moments: tuple[datetime, ...]  # ascending

    @staticmethod
    def id_of(log: str, features: Mapping[str, str]) -> str:
        """16 hex digits over the log's fingerprint and the features' hashes."""
        text = json.dumps([log, sorted(features.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def open(cls, settings: Settings, id: str | None = None) -> "Build":
        """The build of that id, or the current one. NoBuild if there is none."""
        root = settings.home / "snapshots"
        id = id or read_pointer(root / "CURRENT")
        if id is None or not (root / id / "manifest.json").exists():
            raise NoBuild(f"no features are built in {root}: run `propensity features build`")
        raw = json.loads((root / id / "manifest.json").read_text("utf-8"))
        build = cls(
            id=id,
            folder=root / id,
            log=raw["log"],
            log_starts_at=parse_moment(raw["log_starts_at"]),
            complete_until=parse_moment(raw["complete_until"]),
            features=raw["features"],
            moments=(),
        )
        sizes = {parse_moment(moment): size for moment, size in raw["moments"].items()}
        # A file that is gone or cut short is no snapshot: then the moment is not built, and can be again.
        whole = tuple(moment for moment, size in sizes.items() if build.size(moment) == size)
        return replace(build, moments=whole)

    def size(self, moment: datetime) -> int | None:
        """Bytes of that moment's file; None if there is none."""
        path = self.path(moment)
        return path.stat().st_size if path.exists() else None

    @property
    def digests(self) -> Digests:
        """What the log knew on each day, of the tables that decide the values; {} if not recorded."""
        path = self.folder / "digests.json"
        known: Digests = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return known

    def earlier(self, digests: Digests) -> dict[datetime, Path]:
        """This build's snapshots that lie finished in builds of other logs: moment -> file.

        digests: of this build's log. A snapshot can be taken over if the features are the same, and the logs
        do not differ in anything known on the moment's day or before.
        """
        found: dict[datetime, Path] = {}
        for folder in sorted(self.folder.parent.glob("*/digests.json")):
            if folder.parent == self.folder or not (folder.parent / "manifest.json").exists():
                continue
            other = replace(self, id=folder.parent.name, folder=folder.parent)
            raw = json.loads((other.folder / "manifest.json").read_text("utf-8"))
            if list(raw["features"].items()) != list(self.features.items()):
                continue
            if parse_moment(raw["log_starts_at"]) != self.log_starts_at:
                continue
            until = first_difference(other.digests, digests)
            for text, size in raw["moments"].items():
                moment = parse_moment(text)
                if (until is None or moment < until) and other.size(moment) == size:
                    found[moment] = other.path(moment)
        return found

    def write_manifest(self, current: bool = True) -> None:
        """Record this build's moments, whose files are all written; make it the current one."""
        manifest = {
            "log": self.log,
            "log_starts_at": iso(self.log_starts_at),
            "complete_until": iso(self.complete_until),
            "features": dict(self.features),
            "moments": {iso(m): self.size(m) for m in self.moments},
        }
        write_atomically(self.folder / "manifest.json", json.dumps(manifest, indent=1).encode())
        if current:
            write_atomically(self.folder.parent / "CURRENT", self.id.encode())

    def path(self, moment: datetime) -> Path:
        """Where the snapshot of that moment is, or would be."""
        return self.folder / f"{moment:%Y%m%dT%H%M%S}Z.parquet"

    def read(self, moment: datetime, columns: Iterable[str] | None = None) -> "pa.Table":
        """One snapshot, sorted by customer_id: `columns`, or all. NoBuild if that moment was not built."""
        import pyarrow.parquet as pq

        self.require_moment(moment)
        return pq.read_table(
            self.path(moment), columns=None if columns is None else list(columns), partitioning=None
        )

    def require_moment(self, moment: datetime) -> None:
        """NoBuild unless that moment was built."""
        if moment not in self.moments:
            raise NoBuild(
                f"build {self.id} has no snapshot of {iso(moment)}: "
                f"run `propensity features build --as-of {iso(moment)}`"
            )

    def require(
        self,
        needed: Iterable[tuple[str, str]],
        by: str,
        remedy: str = _RETRAIN,
    ) -> None:
        """FeatureMismatch, with each offender and the remedy, unless this build has every (name, hash)."""
        wrong = [
            f"{name} (absent)" if name not in self.features else f"{name} (defined differently)"
            for name, hash in needed
            if self.features.get(name) != hash
        ]
        if wrong:
            raise FeatureMismatch(
                f"{by} needs features that build {self.id} does not have as they were: {several(wrong)}. "
                f"{remedy}"
            )


def first_difference(old: Digests, new: Digests) -> datetime | None:
    """The start of the first day on which the logs knew something different; None: of no day.

    A log without digests may differ from its beginning on. What was known on a day counts from its first
    moment on: a snapshot of that moment is not the same for certain.
    """
    if not old or not new:
        return datetime.min.replace(tzinfo=UTC)
    days = {
        day
        for table in {*old, *new}
        for day in {*old.get(table, {}), *new.get(table, {})}
        if old.get(table, {}).get(day) != new.get(table, {}).get(day)
    }
    return parse_moment(min(days)) if days else None
