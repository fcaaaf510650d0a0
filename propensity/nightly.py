"""`propensity export`: everyone's scores, worth and segments as files for a warehouse, whole or what changed.

    DIR/2017-12-31T000000Z-full/part-00000.parquet ...   a row a customer (columns: `serving.everyone`)
    DIR/2017-12-31T000000Z-full/manifest.json            last: what is without one is not finished
    DIR/2018-01-01T000000Z-delta/part-00000.parquet      the rows that differ from the export before
    DIR/2018-01-01T000000Z-delta/deleted.parquet         the ids that are gone: erased, or published no more

A reader takes a folder once its manifest is there, and looks at its kind. A full one is everyone: it
replaces what was read before. A delta is applied to the export that it names: drop the deleted, then replace
or add the rows. After DELTAS of them in a row a full one is written instead, so that what a night reads does
not grow with the nights before. Everything comes from what is published, so the same export again is the
same bytes, and a killed one is finished by running it again.

The files are the shop's, outside the home, and nobody comes back to change them: an erased customer is named
among the deleted of the next delta and is not in the next full export. Older folders are the shop's to
delete.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.errors import UsageError
from features.files import durable, locked, sha256, write_atomically, written_to
from features.moments import iso, parse_moment
from features.online import OnlineRows
from features.settings import Settings
from features.shop import shop_of
from serving import everyone
from serving.following import Releases

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["full", "delta"]
FORMAT = 1
PART = 250_000  # rows of a file
GROUP = 65_536  # of which a reader takes at once
DELTAS = 31  # in a row; then comes a full one
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

    A delta after DELTAS deltas is a full one; one that has nothing to say after a full one of its moment is
    that full one, already there.

    UsageError for a folder in the home, a delta without anything before it, or an export that is there with
    other content; NoBuild if nothing is published or nobody was scored.
    """
    if to.resolve().is_relative_to(settings.home.resolve()):
        raise UsageError(f"{to} lies in the home itself, and an export is the shop's: choose a place outside")
    published = OnlineRows.open(settings).current()
    told, silent = everyone.told_now(settings, published, Releases(settings))
    whole = everyone.table(settings, told)
    why = {name: failure.detail for name, failure in silent.items()}
    # One at a time: what a delta was told from must be what is there once it is written. A delta makes no
    # folder: in a new one there is nothing that it could follow.
    alone = nullcontext() if dry_run or (kind == "delta" and not to.is_dir()) else locked(to / ".lock")
    with written_to(to), alone:
        name, chain = f"{told.moment:%Y-%m-%dT%H%M%SZ}-{kind}", list[str]()
        if kind == "delta":
            chain = _chain(to, _before(to, name, told.moment))
            if len(chain) > DELTAS and not (to / name / MANIFEST).exists():
                kind, name = "full", name.replace("-delta", "-full")
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
        tables = {"part": whole}
        if kind == "delta":
            then = _state(to, chain)
            if then.schema.remove_metadata() != whole.schema.remove_metadata():
                raise UsageError(
                    f"{chain[0]} in {to} has other columns than an export has now, since a model came or "
                    "went: make one with --full, which the next deltas follow"
                )
            facts["previous"] = {"name": chain[0], "sha256": sha256(to / chain[0] / MANIFEST)}
            tables = {"part": everyone.changed(whole, then), "deleted": _ids(everyone.gone(whole, then))}
        facts |= {"rows": len(tables["part"]), "deleted": len(tables.get("deleted", ()))}
        if dry_run:
            return Export(to / name, facts, why, False)
        if kind == "delta" and (said := _said(to, name, chain[0], facts)) is not None:
            return Export(to / said, _manifest(to / said), why, False)
        facts, written = _kept(to / name, facts, tables, force)
        return Export(to / name, facts, why, written)


def _said(to: Path, name: str, before: str, facts: Mapping[str, Any]) -> str | None:
    """The export that says already what a delta of these facts would: if nothing changed since a full one of
    its moment, that one; or the delta, if what it followed then was taken away. None if there is none."""
    there = _manifest(to / before)
    if facts["rows"] or facts["deleted"] or (there["kind"], there["as_of"]) != ("full", facts["as_of"]):
        return None
    if not (to / name / MANIFEST).exists():
        return before
    made = _manifest(to / name)
    whole = all(_is_whole(to / name, file) for file in made["files"])
    return name if whole and made["previous"]["name"] != before else None


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
        durable(scratch)  # before anything that is there is touched: the disk may be full
        (path / MANIFEST).unlink(missing_ok=True)  # first: what is being replaced is not finished
        shutil.rmtree(path, ignore_errors=True)
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
    """The export that a delta of that name and moment follows: what it followed when it was made, or else the
    newest other one. UsageError if there is none, or if it is of a later moment."""
    done = {path.parent.name: _manifest(path.parent) for path in to.glob(f"[0-9]*/{MANIFEST}")}
    made = done.pop(name, None)
    if not done:
        raise UsageError(f"{to} holds no export that a delta could follow: make one with --full")
    newest = max(parse_moment(facts["as_of"]) for facts in done.values())
    if newest > moment:
        raise UsageError(
            f"{to} holds an export as of {iso(newest)}, and what is published is as of {iso(moment)}, for it "
            "was rolled back: make one with --full, or take the later ones away"
        )
    if made and made["previous"]["name"] in done:  # a full one of its moment, made since, is not before it
        return str(made["previous"]["name"])
    last = {one: facts for one, facts in done.items() if parse_moment(facts["as_of"]) == newest}
    followed = {facts["previous"]["name"] for facts in last.values() if facts["previous"]}
    # Of a full one and a delta of one moment, either the delta follows the full one, or both say the same.
    return min(last.keys() - followed, key=lambda one: last[one]["kind"] != "full")


def _chain(to: Path, name: str) -> list[str]:
    """That export and those that it is told from, newest first: deltas, then a full one. UsageError if one is
    gone, or was replaced since."""
    chain, follows = list[str](), {"name": name, "sha256": ""}
    while follows is not None:
        path = to / follows["name"]
        if not (path / MANIFEST).exists():
            raise UsageError(f"{path} is gone, and later deltas are told from it: make an export with --full")
        if chain and sha256(path / MANIFEST) != follows["sha256"]:
            raise UsageError(
                f"{to / chain[-1]} follows an export that was replaced since: make one with --full"
            )
        chain.append(path.name)
        follows = _manifest(path)["previous"]
    return chain


def _state(to: Path, chain: Iterable[str]) -> pa.Table:
    """All rows as they are after the first of these, which follow one another back to a full one. UsageError
    if a file of them is gone or was changed.

    From the newest back: whoever was told of or deleted once is not looked at again. So one state is held,
    and one file beside it, however many deltas there are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    kept, seen = list[pa.Table](), list[pa.Array]()
    for name in chain:
        path, told = to / name, list[pa.Array]()
        known = pa.chunked_array(seen, pa.string()).combine_chunks()
        for file in _manifest(path)["files"]:
            if not _is_whole(path, file):
                raise UsageError(f"{path / file['name']} is not what its manifest says: export with --full")
            rows = pq.read_table(path / file["name"], partitioning=None)
            rows = rows.filter(pc.invert(pc.is_in(rows["customer_id"], known)))
            told += rows["customer_id"].chunks
            if file["name"] != DELETED:
                kept.append(rows)
        seen += told
    return pa.concat_tables(kept).sort_by("customer_id")


def _ids(ids: pa.ChunkedArray) -> pa.Table:
    import pyarrow as pa

    return pa.table({"customer_id": ids})


def _is_whole(path: Path, file: Mapping[str, Any]) -> bool:
    known: str = file["sha256"]
    return (path / file["name"]).exists() and sha256(path / file["name"]) == known


def _manifest(path: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
    return facts
