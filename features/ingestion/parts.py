"""A part: what one source gave, as it gave it. Immutable; a generation of the log is folded from parts.

    parts/<source>/<stamp>-<erased>/<table>.parquet           accepted rows, ids as given, sorted
                                    origins/<table>.parquet   of each row, in that order: file, line, note
                                    rejects.parquet           rows that break a contract, each with its reason
                                    part.json                 stamp, rows and sha256 of each file, the account

stamp: of the raw files, the shop and this program; the same stamp is the same part. erased: of the list of
tombstones that it obeys (see `tombstones.py`).
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.errors import LogError
from features.files import durable, sha256, write_atomically

Fate = tuple[str, str | None, bool, str, bool]  # table, file, accepted, what, aside: see `ingest.Count`
Account = Counter[Fate]  # -> rows


@dataclass(frozen=True)
class Part:
    """One part on disk."""

    source: str
    folder: Path
    facts: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "Part":
        """The part in a folder. LogError if it is not there."""
        try:
            facts = json.loads((folder / "part.json").read_text("utf-8"))
        except FileNotFoundError:
            raise LogError(
                f"{folder} holds no part of the log: run `propensity ingest {folder.parent.name}`"
            ) from None
        return cls(folder.parent.name, folder, facts)

    @classmethod
    def seal(cls, folder: Path, place: Path, facts: dict[str, Any], account: Account) -> "Part":
        """Finish a part that was written in `folder` and move it to `place`, whole, at once."""
        tables = sorted(path.stem for path in folder.glob("*.parquet") if path.stem != "rejects")
        facts |= {
            "files": {table: rows_and_sum(folder / f"{table}.parquet") for table in tables},
            "others": {
                str(path.relative_to(folder)): sha256(path)
                for path in sorted([*folder.glob("origins/*.parquet"), folder / "rejects.parquet"])
            },
            "account": listed(account),
        }
        write_atomically(folder / "part.json", json.dumps(facts, indent=1, sort_keys=True).encode())
        durable(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(place)
        return cls.open(place)

    @property
    def tables(self) -> dict[str, dict[str, Any]]:
        """Table -> rows and sha256."""
        found: dict[str, dict[str, Any]] = self.facts["files"]
        return found

    @property
    def account(self) -> Account:
        """How many rows went which way."""
        rows = self.facts["account"]
        return Counter({(table, file, kept, what, aside): n for table, file, kept, what, n, aside in rows})

    def path(self, table: str) -> Path:
        """Its rows of a table."""
        return self.folder / f"{table}.parquet"

    def origins(self, table: str) -> Path:
        """Where those rows came from."""
        return self.folder / "origins" / f"{table}.parquet"

    @property
    def rejects(self) -> Path:
        """Rows that broke a contract."""
        return self.folder / "rejects.parquet"

    def damaged(self) -> list[Path]:
        """Files that are gone or are not what was written; reads all of them."""
        sums = {f"{table}.parquet": facts["sha256"] for table, facts in self.tables.items()}
        files = {self.folder / name: sha for name, sha in (sums | self.facts["others"]).items()}
        return [path for path, sha in files.items() if not path.exists() or sha256(path) != sha]


def place_of(home: Path, source: str, stamp: str, erased: str) -> Path:
    """Where a part belongs."""
    return home / "parts" / source / f"{stamp[:16]}-{erased or 'none'}"


def whole(folder: Path) -> bool:
    """Whether a part lies there as it was written; reads all of it."""
    return (folder / "part.json").exists() and not Part.open(folder).damaged()


def listed(account: Account) -> list[list[Any]]:
    """As manifests write it."""
    return [
        [table, file, kept, what, n, aside] for (table, file, kept, what, aside), n in account.items() if n
    ]


def moved(account: Account, before: Fate, what: str, rows: int, aside: bool = False) -> None:
    """Account rows of one fate as rejected, or set aside, for `what`."""
    table, file, *_ = before
    account[before] -= rows
    account[table, file, False, what, aside] += rows


def rows_and_sum(path: Path) -> dict[str, Any]:
    """What manifests say of a parquet file."""
    return {"rows": pq.read_metadata(path).num_rows, "sha256": sha256(path)}


def holders(parts: Iterable[Part], table: str) -> list[Part]:
    """The parts that have rows of a table, in their order."""
    return [part for part in parts if table in part.tables]
