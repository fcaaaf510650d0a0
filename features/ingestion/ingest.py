"""Raw tables -> customer log. Rows that break a contract are kept beside it, each with its reason.

Idempotent: the same files make the same generation, byte for byte, and a second run only says so.
Atomic: a generation is written whole beside the old one, then one pointer flips. What each source gave is
kept as a part (`parts.py`); a generation is folded from the parts of all sources (`folding.py`).
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from features.errors import LogError, SettingsError, SourceError, UsageError
from features.files import durable, locked, read_pointer, sha256, write_atomically
from features.ingestion.canonical import arrow_schema as arrow_schema
from features.ingestion.completed import rules_of
from features.ingestion.folding import Fold, ranked, write_digests
from features.ingestion.mended import INBOX, MENDED
from features.ingestion.offenders import InVain, Sample, in_vain, missing, samples
from features.ingestion.parts import Part, place_of, whole
from features.ingestion.pruning import prune
from features.ingestion.reopened import reopened
from features.ingestion.scrubbing import erased_in, obeying
from features.ingestion.shrinkage import Late, Mendings, Shrunk, changed
from features.ingestion.staging import Progress as Progress
from features.ingestion.staging import stage
from features.ingestion.suspicions import Suspicion, suspicions
from features.log import Log
from features.moments import parse_moment
from features.settings import Settings
from features.shop import CALENDAR, Shop, shop_of
from features.sources import Source, open_source
from features.tombstones import Tombstones
from features.unread import Held, held

VERSION = 9  # raise whenever the same raw files would give another part
LOSS = 0.2  # of a table's rows: stray ones are far fewer, a wrong format takes nearly all


@dataclass(frozen=True)
class Count:
    """How many rows went one way. `what`: the reason, or what is special, or ''. `file`: None if derived.

    aside: neither accepted nor wrong: a row that is not for the log (an anonymous one), or not there any more
    (mended since, or erased).
    """

    table: str
    file: str | None
    accepted: bool
    what: str
    rows: int
    aside: bool
    source: str


@dataclass(frozen=True)
class Ingested:
    """What an ingestion did. `changed`: False if the log already held exactly this.

    samples: of each reason a rejected row, with the value at fault: to be shown, and kept nowhere.
    in_vain: corrections that are no better (see `rejects.py`).
    shrunk: what the log before had of these sources, and this one has not.
    late: what this one has of the time before that one's end.
    held: the channels and external scores of the log, whether a feature reads them (see `unread.py`) or not.
    suspicions: what looks wrong although no row breaks a contract.
    """

    generation: str
    changed: bool
    account: tuple[Count, ...]
    tables: dict[str, int]  # rows
    starts_at: datetime
    complete_until: datetime
    merged: int  # customer ids that are another's
    samples: tuple[Sample, ...] = ()
    in_vain: tuple[InVain, ...] = ()
    shrunk: tuple[Shrunk, ...] = ()
    late: tuple[Late, ...] = ()
    held: tuple[Held, ...] = ()
    suspicions: tuple[Suspicion, ...] = ()

    @property
    def lost(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(source, table) -> (rows rejected, rows read) where more than `LOSS` of them are: to be looked at.

        Of those that are `missing` in the log.
        """
        read: Counter[tuple[str, str]] = Counter()
        rejected: Counter[tuple[str, str]] = Counter()
        for count in self.account:
            if count.file is not None:
                of = (count.source, count.table)
                read[of] += count.rows
                kept = count.accepted or count.aside or not missing(count.table, count.what)
                rejected[of] += 0 if kept else count.rows
        return {of: (n, read[of]) for of, n in rejected.items() if n > LOSS * read[of]}


def ingest(
    settings: Settings,
    name: str | None = None,
    folder: Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Ingested:
    """Take the files of every source of shop.toml into the log, or of one; the others' rows stay as they are.

    name: of one source. folder: where its files are, if not where it says.
    dry_run: do everything but keep nothing. SourceError names files that are absent or unreadable.
    """
    shop = shop_of(settings)
    if name is None and not shop.sources:
        raise SettingsError(
            f"{shop.folder / 'shop.toml'} names no source: `propensity ingest --propose FILES... --out "
            f"{shop.folder / 'shop.toml'}` writes a [mapping.NAME] of your files"
        )
    chosen = [name] if name else list(shop.sources)
    of_files = [one for one in chosen if one != CALENDAR]  # which is declared, and has none
    if folder is not None and len(of_files) > 1:
        raise UsageError(f"{folder} holds the files of one source: name it, one of {', '.join(of_files)}")
    sources = [open_source(shop, one, None if one == CALENDAR else folder, settings.as_of) for one in chosen]
    return take(settings, sources, dry_run=dry_run, progress=progress)


def take(
    settings: Settings,
    sources: Sequence[Source],
    dry_run: bool = False,
    progress: Progress | None = None,
    unless: Callable[[Ingested], bool] | None = None,
) -> Ingested:
    """Make these sources' files the log's, in one generation; for callers that have a source at hand.

    Another source whose part is gone or damaged is taken in anew with them.
    unless: of what was done; where it holds, this was a dry run. Not to be asked where somebody was erased:
    what the files say of them is written down at once.
    One process at a time; others wait. Errors as `ingest`.
    """
    assert unless is None or dry_run or not Tombstones.of(settings)
    shop = shop_of(settings)
    root = settings.home / "log"
    with locked(root / ".lock"):
        scratch = root / ".scratch"
        shutil.rmtree(scratch, ignore_errors=True)  # left by a run that was killed
        before = manifest_of(settings)
        if before.get("shop") != shop.of_log:
            before = {"sources": {}}  # of another zone or currency: nothing of it can stay
        gone = {name for name, place in _places(settings.home, before).items() if not whole(place)}
        unasked = sorted(gone - {source.name for source in sources})
        sources = [*sources, *(reopened(settings, shop, name, scratch) for name in unasked)]
        stamps = {source.name: stamp_of(shop, source) for source in sources}
        told = {name: facts["stamp"] for name, facts in before["sources"].items()}
        obeys = before.get("erased", "") == Tombstones.of(settings).digest
        if obeys and not gone and stamps.items() <= told.items() and not Log.open(settings).damaged():
            same = _ingested(
                shop, Log.open(settings), before, _rejects(settings, before["generation"]), changed=False
            )
            places, log = _places(settings.home, before), Log.open(settings)
            rejects = _rejects(settings, log.fingerprint)
            odd = suspicions(settings, shop, places, log, rejects, scratch / "work")
            shutil.rmtree(scratch, ignore_errors=True)
            return replace(same, suspicions=odd)
        tried = dry_run or unless is not None
        try:
            parts = [part_of(settings, shop, s, stamps[s.name], scratch, tried, progress) for s in sources]
            generation = fold(settings, shop, parts, before, scratch, tried, progress)
            had = _places(settings.home, before)
            places = _places(scratch if tried else settings.home, generation)
            kept = (_rejects(settings, str(before.get("generation"))), scratch / "log" / "rejects")
            mendings = (Mendings(had.get(MENDED), kept[0]), Mendings(places.get(MENDED), kept[1]))
            until = parse_moment(before["complete_until"]) if had else None
            obedient = [Part.open(places[part.source]) for part in parts]
            fewer, late = changed(
                shop, obedient, had, until, mendings, taken_of(settings), settings.memory, scratch / "work"
            )
            odd = suspicions(settings, shop, places, Log.at(scratch / "log"), kept[1], scratch / "work")
            if tried:
                here = scratch / "log"
                done = _ingested(shop, Log.at(here), generation, here / "rejects", changed=True)
                done = replace(done, shrunk=fewer, late=late, suspicions=odd)
                if dry_run or unless is not None and unless(done):
                    return done
                _keep(scratch / "parts", settings.home / "parts")
            publish(settings, scratch / "log", generation)
            prune(settings)
            log = Log.open(settings)
            done = _ingested(shop, log, generation, _rejects(settings, log.fingerprint), changed=True)
            return replace(done, shrunk=fewer, late=late, suspicions=odd)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _keep(tried: Path, parts: Path) -> None:
    """Put the parts that were made by way of trial where parts lie, if they are not there."""
    for part in tried.glob("*/*"):
        place = parts / part.relative_to(tried)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            part.rename(place)


def _places(home: Path, manifest: dict[str, Any]) -> dict[str, Path]:
    """Source -> the folder of its part in a manifest, without those who were erased."""
    parts = home / "parts"
    return {name: parts / name / facts["part"] for name, facts in manifest["sources"].items()}


def stamp_of(shop: Shop, source: Source) -> str:
    """Names what a source's part is made of."""
    inputs = [[path.name, sha256(path)] for path in source.files]
    facts = [VERSION, shop.of_log, inputs, source.version]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def part_of(
    settings: Settings,
    shop: Shop,
    source: Source,
    stamp: str,
    scratch: Path,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Part:
    """The part of a source, staged unless a whole one lies there already."""
    tombstones = Tombstones.of(settings)
    place = place_of(settings.home, source.name, stamp, tombstones.digest)
    if place.exists():
        if not (found := Part.open(place)).damaged():
            return found
        shutil.rmtree(place)
    raw = scratch / "raw" / source.name / "part"
    part = stage(shop, source, stamp, raw, scratch, settings.memory, progress)
    if tombstones and not dry_run:
        tombstones.having(*erased_in(part, tombstones, settings.memory)).write()  # also as a new source's
    return part


def fold(
    settings: Settings,
    shop: Shop,
    parts: Sequence[Part],
    before: dict[str, Any],
    scratch: Path,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a generation of these parts, and the other sources' of the one before, into `scratch/log`."""
    tombstones = Tombstones.of(settings)
    by_name = {part.source: part for part in parts}
    for name, facts in before["sources"].items():
        if name not in by_name:
            by_name[name] = Part.open(settings.home / "parts" / name / facts["part"])
            if wrong := by_name[name].damaged():
                raise LogError(f"{wrong[0]} is not what was written: run `propensity ingest {name}`")
    home = scratch if dry_run else settings.home
    order = ranked(list(by_name), shop.sources)
    obedient = [obeying(by_name[name], tombstones, home, scratch, settings.memory) for name in order]
    written_to, taken = scratch / "log", taken_of(settings)
    folding = Fold(obedient, written_to, shop.exponent, settings.memory, taken, rules_of(shop))
    written = folding.write(progress)
    manifest = {
        "shop": shop.of_log,
        "erased": tombstones.digest,
        "files": written["files"],
        "merges": written["merges"],
        "sources": {
            part.source: {
                "part": part.folder.name,
                "account": written["accounts"][part.source],
                **{key: part.facts[key] for key in ("stamp", "starts_at", "complete_until")},
            }
            for part in folding.parts
        },
    }
    manifest |= _span(shop, manifest["sources"], scratch / "log" / "rejects")
    write_digests(folding, manifest["files"], settings.home / "log" / str(before.get("generation")), before)
    (scratch / "log" / "manifest.json").write_text(text_of(manifest), "utf-8")
    return manifest


def _span(shop: Shop, sources: dict[str, Any], rejects: Path) -> dict[str, str]:
    """When the log starts, and until when it is complete: when every source has told all it knows."""
    lacking = {
        "starts_at": "an order that keeps the contract",
        "complete_until": "a moment until which it is complete",
    }
    span = {}
    for key, what in lacking.items():
        # What is told late, of any time past, neither begins the log nor completes it.
        stated = [f[key] for name, f in sources.items() if name != INBOX and f[key] is not None]
        if not stated:
            why = next(iter(samples(rejects, shop)), None)
            most = f". Most rows were rejected like this one: {why}" if why else ""
            raise SourceError(f"no source gave {what} ({', '.join(sources)}): nothing was ingested{most}")
        span[key] = min(stated)
    return span


def taken_of(settings: Settings) -> list[Path]:
    """Mended rows that were taken in, the oldest first."""
    return sorted((settings.home / "rejects" / "taken").glob("*.parquet"))


def text_of(manifest: dict[str, Any]) -> str:
    """As a manifest is written."""
    return json.dumps(manifest, indent=1, sort_keys=True)


def manifest_of(settings: Settings) -> dict[str, Any]:
    """The manifest in force, with its `generation`; one without sources if there is no log."""
    root = settings.home / "log"
    current = read_pointer(root / "CURRENT")
    if current is None:
        return {"sources": {}}
    found: dict[str, Any] = json.loads((root / current / "manifest.json").read_text("utf-8"))
    return {**found, "generation": current}


def publish(settings: Settings, written: Path, manifest: dict[str, Any]) -> None:
    """Make what was written the log in force. Its name says what it holds."""
    facts = [manifest[key] for key in ("files", "merges", "starts_at", "complete_until", "shop")]
    generation = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    root = settings.home / "log"
    durable(written)
    rejects = _rejects(settings, generation)
    shutil.rmtree(rejects, ignore_errors=True)
    rejects.parent.mkdir(parents=True, exist_ok=True)
    (written / "rejects").rename(rejects)
    if not _whole(root / generation, manifest):
        shutil.rmtree(root / generation, ignore_errors=True)
        written.rename(root / generation)
    # The account may be another, although the rows are the same.
    write_atomically(root / generation / "manifest.json", text_of(manifest).encode())
    write_atomically(root / "CURRENT", generation.encode())


def _whole(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether the folder already holds what the manifest says."""
    if not (folder / "manifest.json").exists():
        return False
    log = Log.at(folder)
    return log.files == manifest["files"] and not log.damaged()


def _rejects(settings: Settings, generation: str) -> Path:
    return settings.home / "rejects" / generation


def _ingested(shop: Shop, log: Log, manifest: dict[str, Any], rejects: Path, changed: bool) -> Ingested:
    order = [*shop.sources, *sorted(manifest["sources"])]  # the same, whether anything was new or not
    account = [
        Count(table, file, accepted, what, rows, aside, source)
        for source, facts in sorted(manifest["sources"].items(), key=lambda one: order.index(one[0]))
        for table, file, accepted, what, rows, aside in facts["account"]
    ]
    return Ingested(
        generation=log.fingerprint,
        changed=changed,
        account=tuple(account),
        tables={t: sum(int(str(f["rows"])) for f in by.values()) for t, by in sorted(log.files.items())},
        starts_at=log.starts_at,
        complete_until=log.complete_until,
        merged=manifest["merges"]["rows"],
        samples=samples(rejects, shop),
        in_vain=in_vain(rejects),
        held=held(log),
    )
