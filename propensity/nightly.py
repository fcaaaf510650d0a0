"""`propensity export`: everyone's scores, worth and segments as files for a warehouse, whole or what changed.

    DIR/2017-12-31T000000Z-full/part-00000.parquet ...   a row a customer (columns: `serving.everyone`)
    DIR/2017-12-31T000000Z-full/manifest.json            last: what is without one is not finished
    DIR/2018-01-01T000000Z-delta/part-00000.parquet      the rows that differ from the export before
    DIR/2018-01-01T000000Z-delta/deleted.parquet         the ids that are gone: erased, or published no more

A reader takes a folder once its manifest is there, and applies a delta to the export that it names: drop
the deleted, then replace or add the rows. Everything comes from what is published, so the same export again
is the same bytes, and a killed one is finished by running it again.

The files are the shop's, outside the home, and nobody comes back to change them: an erased customer is named
among the deleted of the next delta and is not in the next full export. Older folders are the shop's to
delete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.errors import UsageError
from features.files import durable, locked, sha256, write_atomically
from features.moments import iso, parse_moment
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from serving import everyone
from serving.releases import Releases

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["full", "delta"]
FORMAT = 1
PART = 250_000  # rows of a file
GROUP = 65_536  # of which a reader takes at once
MANIFEST, DELETED = "manifest.json", "deleted.parquet"


@dataclass(frozen=True)
class Export:
    """What was written, or would be. silent: models in force of which it holds nothing -> why."""

    path: Path
    manifest: Mapping[str, Any]
    silent: Mapping[str, str]
    written: bool  # False: it was there already, or it is a dry run


def export(settings: Settings, to: Path, kind: Kind, force: bool = False, dry_run: bool = False) -> Export:
    """Write one export of what is published. force: replace one of that name that holds something else.

    UsageError for a folder in the home, a delta without anything before it, or an export that is there with
    other content; NoBuild if nothing is published or nobody was scored.
    """
    if to.resolve().is_relative_to(settings.home.resolve()):
        raise UsageError(f"{to} lies in the home itself, and an export is the shop's: choose a place outside")
    published = OnlineRows.open(settings).current()
    told, silent = everyone.told_now(settings, published, Releases(settings))
    whole = everyone.table(settings, told)
    name = f"{told.moment:%Y-%m-%dT%H%M%SZ}-{kind}"
    facts: dict[str, Any] = {
        "format": FORMAT,
        "kind": kind,
        "as_of": iso(told.moment),
        "features": published.id,
        "models": dict(sorted(told.versions.items())),
        "currency": shop_of(settings).currency,
        "schema": [{"name": field.name, "type": str(field.type)} for field in whole.schema],
        "previous": None,
    }
    tables, before = {"part": whole}, None
    if kind == "delta":
        before = _before(to, name, told.moment)
        then = _state(to, before)
        if then.schema.remove_metadata() != whole.schema.remove_metadata():
            raise UsageError(
                f"{before} in {to} has other columns than an export has now, since a model came or went: "
                "make one with --full, which the next deltas follow"
            )
        facts["previous"] = {"name": before, "sha256": sha256(to / before / MANIFEST)}
        tables = {"part": everyone.changed(whole, then), "deleted": _ids(everyone.gone(whole, then))}
    facts |= {"rows": len(tables["part"]), "deleted": len(tables.get("deleted", ()))}
    why = {name: failure.detail for name, failure in silent.items()}
    if dry_run:
        return Export(to / name, facts, why, False)
    to.mkdir(parents=True, exist_ok=True)
    with locked(to / ".lock"):
        facts, written = _kept(to / name, facts, tables, force)
    return Export(to / name, facts, why, written)


def _kept(
    path: Path, facts: dict[str, Any], tables: Mapping[str, pa.Table], force: bool
) -> tuple[dict[str, Any], bool]:
    """The manifest of the export at that path, and whether it was written now."""
    scratch = path.with_name(f".{path.name}.writing")
    shutil.rmtree(scratch, ignore_errors=True)  # of a kill
    scratch.mkdir()
    try:
        facts = facts | {"files": _written(scratch, tables)}
        if (path / MANIFEST).exists():
            if _manifest(path) == facts and all(_is_whole(path, file) for file in facts["files"]):
                return facts, False
            if not force:
                raise UsageError(
                    f"{path} is there with other content, which somebody may have read (since then a model "
                    "was promoted, somebody was erased, or its files were changed): --force replaces it"
                )
            (path / MANIFEST).unlink()  # first: what is being replaced is not finished
        shutil.rmtree(path, ignore_errors=True)
        durable(scratch)
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path / MANIFEST, text.encode())
    return facts, True


def _written(folder: Path, tables: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
    """Write tables as files of at most PART rows; what the manifest says of each."""
    import pyarrow.parquet as pq

    said = []
    for what, table in tables.items():
        for number, first in enumerate(range(0, len(table), PART)):
            path = folder / (DELETED if what == "deleted" else f"part-{number:05}.parquet")
            some = table if what == "deleted" else table.slice(first, PART)
            pq.write_table(some, path, compression="zstd", row_group_size=GROUP)
            size = path.stat().st_size
            said.append({"name": path.name, "rows": len(some), "bytes": size, "sha256": sha256(path)})
            if what == "deleted":
                break
    return said


def _before(to: Path, name: str, moment: datetime) -> str:
    """The export that a delta of that name and moment follows: the newest other one. UsageError if there is
    none, or if it is of a later moment."""
    done = {path.parent.name: _manifest(path.parent) for path in to.glob(f"[0-9]*/{MANIFEST}")}
    done.pop(name, None)
    if not done:
        raise UsageError(f"{to} holds no export that a delta could follow: make one with --full")
    newest = max(parse_moment(facts["as_of"]) for facts in done.values())
    if newest > moment:
        raise UsageError(
            f"{to} holds an export as of {iso(newest)}, and what is published is as of {iso(moment)}, for it "
            "was rolled back: make one with --full, or take the later ones away"
        )
    last = {one: facts for one, facts in done.items() if parse_moment(facts["as_of"]) == newest}
    followed = {facts["previous"]["name"] for facts in last.values() if facts["previous"]}
    # Of a full one and a delta of one moment, either the delta follows the full one, or both say the same.
    return min(last.keys() - followed, key=lambda one: last[one]["kind"] != "full")


def _state(to: Path, name: str) -> pa.Table:
    """All rows as they are after that export: its own, or those of a chain of deltas. UsageError if a file
    of it is gone or was changed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = to / name
    if not (path / MANIFEST).exists():
        raise UsageError(f"{path} is gone, and later deltas are told from it: make an export with --full")
    facts, tables = _manifest(path), dict[str, pa.Table]()
    for file in facts["files"]:
        if not _is_whole(path, file):
            raise UsageError(f"{path / file['name']} is not what its manifest says: export with --full")
    for what in (False, True):
        some = [
            pq.read_table(path / file["name"], partitioning=None)
            for file in facts["files"]
            if (file["name"] == DELETED) is what
        ]
        if some:
            tables["deleted" if what else "part"] = pa.concat_tables(some)
    if facts["previous"] is None:
        return tables["part"]
    before = _state(to, facts["previous"]["name"])
    if sha256(to / facts["previous"]["name"] / MANIFEST) != facts["previous"]["sha256"]:
        raise UsageError(f"{path} follows an export that was replaced since: make one with --full")
    dropped = [tables[one]["customer_id"] for one in tables]
    before = everyone.without(before, [id for column in dropped for id in column.to_pylist()])
    return pa.concat_tables([before, *([tables["part"]] if "part" in tables else [])]).sort_by("customer_id")


def _ids(ids: pa.ChunkedArray) -> pa.Table:
    import pyarrow as pa

    return pa.table({"customer_id": ids})


def _is_whole(path: Path, file: Mapping[str, Any]) -> bool:
    known: str = file["sha256"]
    return (path / file["name"]).exists() and sha256(path / file["name"]) == known


def _manifest(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
    return facts
