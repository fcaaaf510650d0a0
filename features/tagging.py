"""Evaluate the tags' rules at a build's snapshots, and take what began and ended into the log.

tags/evaluated.json    tag -> the last moment that it was evaluated at
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import tags
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.describe.absent import absent as lacked
from features.files import locked, write_atomically
from features.ingestion.ingest import take
from features.log import DERIVED_TAGS, Log
from features.moments import iso, parse_moment
from features.settings import Settings
from features.shop import shop_of
from features.sources.derived_tags import FILE, source
from features.tags import Tag

Progress = Callable[[str, int, int], None]
_SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("tag", pa.string()),
        ("change", pa.string()),
    ]
)


@dataclass(frozen=True)
class Tagged:
    """What a run did. changes: tag -> (set, removed) now; holders: tag -> customers that have it.

    absent: tag -> the features that it reads and the build lacks. moments: evaluated now. rows: of the log.
    """

    changes: Mapping[str, tuple[int, int]]
    holders: Mapping[str, int]
    absent: Mapping[str, tuple[str, ...]]
    moments: int
    rows: int


def declared(settings: Settings) -> dict[str, Tag]:
    """Built-in tags and the shop's own. Errors as `tags.catalogue`."""
    shop = shop_of(settings)
    return shop.read("TAGS", tags.catalogue, catalogue(shop.declared("FEATURES")))


def usable(settings: Settings, build: Build) -> tuple[dict[str, Tag], dict[str, tuple[str, ...]]]:
    """(tags that the build's features let be derived, those that they do not with what each lacks).

    A feature whose column the log has in no row lacks, too: its 0 is what nobody told, and no 0.
    FeatureMismatch if the build holds a feature of a rule as it was declared before.
    """
    shop = shop_of(settings)
    features = catalogue(shop.declared("FEATURES"))
    all = declared(settings)
    untold = {name for one in lacked(Log.open(settings), features) if one.column for name in one.features}
    there = build.features.keys() - untold
    lacking = {name: tuple(i for i in tag.inputs if i not in there) for name, tag in all.items()}
    here = {name: tag for name, tag in all.items() if not lacking[name]}
    needed = sorted({i for tag in here.values() for i in tag.inputs})
    build.require(((n, feature_hash(features[n], features, shop.of_log)) for n in needed), "a tag's rule")
    return here, {name: features for name, features in lacking.items() if features}


def tag(settings: Settings, dry_run: bool = False, progress: Progress | None = None) -> Tagged:
    """Derive the tags at every snapshot of the current build since each was evaluated last.

    One process at a time. dry_run: evaluate, write nothing. NoBuild, FeatureMismatch as the build's.
    """
    root = settings.home / "tags"
    if dry_run:
        return _tag(settings, root, True, progress)
    with locked(root / ".lock"):
        return _tag(settings, root, False, progress)


def _tag(settings: Settings, root: Path, dry_run: bool, progress: Progress | None) -> Tagged:
    build, log = Build.open(settings), Log.open(settings)
    rules, absent = usable(settings, build)
    before = _rows(log)
    # Without a row of theirs in the log, another zone's or an erased state, they were never evaluated.
    until = _evaluated(root) if before.num_rows else {}
    before = _till(before, until)
    held = {name: _holders(before, name) for name in {*rules, *until}}
    gone = set(until) - set(declared(settings))  # no longer declared: nobody has it from now on
    moments = [
        m
        for m in build.moments
        if m <= settings.now() and any(name not in until or until[name] < m for name in rules)
    ]
    new: list[pa.Table] = []
    changes = dict.fromkeys(rules, (0, 0))
    for done, moment in enumerate(moments):
        if progress:
            progress("tags", done, len(moments))
        due = {n: rule for n, rule in rules.items() if n not in until or until[n] < moment}
        wanted = sorted({i for rule in due.values() for i in rule.inputs})
        snapshot = build.read(moment, ["customer_id", *wanted])
        values = {name: snapshot[name].to_numpy() for name in wanted}
        for name in (*due, *(gone if moment == moments[-1] else ())):
            rule = due.get(name)
            holds = np.zeros(len(snapshot), bool) if rule is None else rule.holds(values, len(snapshot))
            had = pc.is_in(snapshot["customer_id"], held[name]).to_numpy()
            for change, here in (("set", holds & ~had), ("removed", had & ~holds)):
                new.append(_changed(snapshot["customer_id"].filter(pa.array(here)), moment, name, change))
            held[name] = snapshot["customer_id"].filter(pa.array(holds)).combine_chunks()
            began, ended = changes.get(name, (0, 0))
            changes[name] = began + int((holds & ~had).sum()), ended + int((had & ~holds).sum())
            until[name] = moment
    if progress:
        progress("tags", len(moments), len(moments))
    rows = pa.concat_tables([before, *new]).sort_by([(c, "ascending") for c in ("customer_id", "tag", "at")])
    if not dry_run:
        if rows.num_rows or DERIVED_TAGS in log.files.get("tags", {}):
            _take_in(settings, root, rows)
        state = {name: iso(moment) for name, moment in sorted(until.items())}
        write_atomically(root / "evaluated.json", json.dumps(state, indent=1).encode())
    return Tagged(changes, {name: len(held[name]) for name in rules}, absent, len(moments), rows.num_rows)


def _rows(log: Log) -> pa.Table:
    """What was derived so far, as the log holds it: without whom it forgot, under the ids of today."""
    if DERIVED_TAGS not in log.files.get("tags", {}):
        return _SCHEMA.empty_table()
    rows = log.read("tags")
    return rows.filter(pc.equal(rows["origin"], "derived")).select(_SCHEMA.names).cast(_SCHEMA)


def _evaluated(root: Path) -> dict[str, datetime]:
    path = root / "evaluated.json"
    if not path.exists():
        return {}
    return {name: parse_moment(moment) for name, moment in json.loads(path.read_text("utf-8")).items()}


def _till(rows: pa.Table, until: Mapping[str, datetime]) -> pa.Table:
    """Each tag's rows until it was evaluated last: a run that was killed may have left later ones."""
    kept = [
        rows.filter(pc.and_(pc.equal(rows["tag"], name), pc.less_equal(rows["at"], pa.scalar(moment))))
        for name, moment in sorted(until.items())
    ]
    return pa.concat_tables([_SCHEMA.empty_table(), *kept])


def _holders(rows: pa.Table, name: str) -> pa.Array:
    """Who has a tag after the rows: her last one sets it. (Two people found to be one may have had it.)"""
    mine = rows.filter(pc.equal(rows["tag"], name)).sort_by([(c, "ascending") for c in ("customer_id", "at")])
    ids = mine["customer_id"].to_numpy()
    last = pa.array(np.append(ids[1:] != ids[:-1], True)[: len(ids)])
    return mine["customer_id"].filter(pc.and_(last, pc.equal(mine["change"], "set"))).combine_chunks()


def _changed(ids: pa.ChunkedArray, moment: datetime, name: str, change: str) -> pa.Table:
    at = pa.repeat(pa.scalar(moment, _SCHEMA.field("at").type), len(ids))
    return pa.table([ids, at, pa.repeat(name, len(ids)), pa.repeat(change, len(ids))], schema=_SCHEMA)


def _take_in(settings: Settings, root: Path, rows: pa.Table) -> None:
    """Through ingestion, as any source; the file goes again, since it names customers."""
    with TemporaryDirectory(dir=root) as folder:
        pq.write_table(rows, Path(folder) / FILE)
        take(settings, [source(Path(folder))])
