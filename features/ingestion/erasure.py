"""Removing a person from what is known: parts, generations, rejects, snapshots, scores, Feast's online rows.

First her tombstones are written, then everything is made to obey them, the log last. Whoever is killed in
between runs the same again: what obeys already is left alone, and who is erased is known by hash alone.
A generation and a build keep their names: they hold what they held, without her; nothing is computed again.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.errors import UnknownCustomer
from features.files import locked, sha256, write_atomically
from features.inbox import Inbox, named
from features.ingestion.ingest import fold, manifest_of, part_of, stamp_of, text_of
from features.ingestion.mended import MENDED
from features.ingestion.parts import Part
from features.ingestion.pruning import prune
from features.ingestion.removal import (
    build_without,
    corrections_without,
    customers_in,
    feast_without,
    parts_of,
    rejects_without,
    theirs,
    without,
)
from features.ingestion.taken import taken_source
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.tombstones import Tombstones

DERIVED = ("snapshots", "scores", "jobs")  # folders of files with a row a customer
Removed = Counter[str]  # where -> rows
Progress = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True)
class Person:
    """All ids that lead to one person: customer ids, merged ones too, and (source, source id)."""

    ids: frozenset[str]
    identities: frozenset[tuple[str, str]]

    @property
    def names(self) -> frozenset[str]:
        """Every customer id that events of this person have, or may have later."""
        return self.ids | {named(*pair) for pair in self.identities}


def find(settings: Settings, customer: str | None, identity: tuple[str, str] | None = None) -> Person:
    """Who that is, by a customer id or by a source's id; also of somebody whose erasure was interrupted.

    UnknownCustomer if neither the log, nor the inbox, nor a tombstone knows of her.
    """
    ids = {customer} if customer is not None else set()
    pairs = {identity} if identity is not None else set()
    parts = parts_of(settings)
    with closing(Inbox(settings)) as inbox:
        rows, told = inbox.identities(), inbox.people()
    for part in parts:
        if "identities" in part.tables:
            table = pq.read_table(part.path("identities"), columns=["source", "source_id", "customer_id"])
            rows += list(zip(*(table[c].to_pylist() for c in table.column_names), strict=True))
    size = -1
    while size < len(ids) + len(pairs):  # an id leads to identities, those lead to other ids
        size = len(ids) + len(pairs)
        pairs |= {(source, id) for source, id, owner in rows if owner in ids}
        ids |= {owner for source, id, owner in rows if (source, id) in pairs}
    tombstones = Tombstones.of(settings)
    names = Person(frozenset(ids), frozenset(pairs)).names
    hers = tombstones.having(names, pairs)
    ids |= _respelt(settings, parts, ids, hers) - told.keys()
    known = not names.isdisjoint(told) or any(pair[:2] in pairs for pair in rows)
    known = known or any(ids & set(customers_in(part.path(t))) for part in parts for t in _personal(part))
    known = known or any(rejects_without(part.rejects, hers, keep=True) for part in parts)
    known = known or bool(corrections_without(settings, hers, keep=True))
    if not known and not tombstones.customers(ids) and not tombstones.identities(pairs):
        raise UnknownCustomer("nobody of that id is in the customer log, and nobody of that id was erased")
    return Person(frozenset(ids), frozenset(pairs))


def _respelt(settings: Settings, parts: list[Part], ids: set[str], tombstones: Tombstones) -> set[str]:
    """The ids that corrections made of a person's as a spreadsheet does (241 of 000241), and nobody else has.

    tombstones: with the person's. Other ids that a correction gave are another customer's.
    """
    found, same = set[str](), {_plain(id) for id in ids}
    for path, hers in theirs(settings, tombstones):
        rows = pq.read_table(path)
        if "customer_id" in rows.column_names:
            given = {id for id in rows["customer_id"].take(hers).to_pylist() if id}
            found |= {id for id in given if _plain(id) in same} - ids
    others = (part for part in parts if found and part.source != MENDED)
    return found.difference(*(customers_in(part.path(t)) for part in others for t in _personal(part)))


def _plain(id: str) -> str:
    return id.strip().removesuffix(".0").lstrip("0").lower()


def erased_of(settings: Settings, tombstones: Tombstones, progress: Progress) -> set[str]:
    """The customer ids of erased people that parts, snapshots or scores still hold."""
    files = [part.path(table) for part in parts_of(settings) for table in _personal(part)]
    files += _derived(settings)
    seen, found = set[str](), set[str]()
    for number, path in enumerate(files):
        progress("looking for their rows", number, len(files))
        new = set(customers_in(path)) - seen  # hashed once, and not once a file
        found |= tombstones.customers(new)
        seen |= new
    return found


def count(settings: Settings, tombstones: Tombstones, progress: Progress) -> Removed:
    """What obeying those tombstones would remove from the log and what was computed; writes nothing."""
    removed: Removed = Counter()
    manifest = manifest_of(settings)
    if "generation" in manifest:
        log = Log.at(settings.home / "log" / manifest["generation"])
        for table in sorted(log.tables):
            for path in log.paths(table):
                removed[table] += without(path, tombstones, keep=True)
        for path in (settings.home / "rejects" / log.fingerprint).glob("*.parquet"):
            removed["rejects"] += rejects_without(path, tombstones, keep=True)
    removed["corrections"] = corrections_without(settings, tombstones, keep=True)
    derived = _derived(settings)
    for number, path in enumerate(derived):
        progress("counting their rows", number, len(derived))
        removed[_kind(settings, path)] += without(path, tombstones, keep=True)
    return removed


def obey(settings: Settings, tombstones: Tombstones, progress: Progress) -> None:
    """Make snapshots, scores, Feast's rows and at last the log hold nobody who was erased."""
    with locked(settings.home / "snapshots" / ".lock"):
        derived = _derived(settings)
        for number, path in enumerate(derived):
            progress("snapshots and scores", number, len(derived))
            without(path, tombstones)
    feast_without(settings, tombstones)
    with locked(settings.home / "log" / ".lock"):
        if "generation" in manifest_of(settings):
            _log(settings, tombstones, progress)
        for folder in (settings.home / "rejects").glob("*/"):
            for path in folder.glob("*.parquet"):
                if folder.name != "taken":
                    rejects_without(path, tombstones)
    with locked(settings.home / "snapshots" / ".lock"):
        for manifest in (settings.home / "snapshots").glob("*/manifest.json"):
            build_without(settings, manifest)


def _log(settings: Settings, tombstones: Tombstones, progress: Progress) -> None:
    """Fold the log in force anew, under its name; take her out of the other generations."""
    root, shop = settings.home / "log", shop_of(settings)
    scratch = root / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    corrections_without(settings, tombstones)
    before = manifest_of(settings)
    fresh: list[Part] = []
    if MENDED in before["sources"]:  # of what is left of the corrections
        mended = taken_source(settings)
        if (stamp := stamp_of(shop, mended)) != before["sources"][MENDED]["stamp"]:
            fresh = [part_of(settings, shop, mended, stamp, scratch)]
    if fresh or before["erased"] != tombstones.digest:
        try:
            manifest = fold(settings, shop, fresh, before, scratch, progress=progress)
            _replace(scratch / "log", root / before["generation"], manifest)
            kept = settings.home / "rejects" / before["generation"]
            for path in (scratch / "log" / "rejects").glob("*.parquet"):
                path.replace(kept / path.name)
            write_atomically(root / before["generation"] / "manifest.json", text_of(manifest).encode())
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    for other in root.glob("*/manifest.json"):
        facts = json.loads(other.read_text("utf-8"))
        if facts.get("erased") == tombstones.digest:
            continue
        for path in other.parent.rglob("*.parquet"):
            without(path, tombstones)
        for table, by_source in facts["files"].items():
            for source in list(by_source):
                path = other.parent / table / f"{source}.parquet"
                by_source[source] = {"rows": pq.read_metadata(path).num_rows, "sha256": sha256(path)}
        (other.parent / "digests.json").unlink(missing_ok=True)  # of rows that are gone
        facts["erased"] = tombstones.digest
        write_atomically(other, text_of(facts).encode())
    prune(settings)


def _replace(fresh: Path, generation: Path, manifest: dict[str, Any]) -> None:
    """Put a generation's files in the place of those that it had, one by one; its manifest follows."""
    kept = {fresh / "digests.json", fresh / "merges.parquet"}
    kept |= {fresh / table / f"{source}.parquet" for table, by in manifest["files"].items() for source in by}
    for path in kept:
        target = generation / path.relative_to(fresh)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)
    for path in generation.glob("*/*.parquet"):
        if fresh / path.relative_to(generation) not in kept:
            path.unlink()


def _derived(settings: Settings) -> list[Path]:
    """Files with a row a customer that were computed from the log, or ask for that."""
    return sorted(path for kind in DERIVED for path in (settings.home / kind).rglob("*.parquet"))


def _kind(settings: Settings, path: Path) -> str:
    return path.relative_to(settings.home).parts[0]


def _personal(part: Part) -> list[str]:
    return [t for t in part.tables if "customer_id" in pq.read_schema(part.path(t)).names]
