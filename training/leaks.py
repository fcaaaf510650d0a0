"""Does a feature look ahead? Then its model is good in every figure, and useless on the day that it serves.

Three ways to find out, all before anything is fitted:
* Recomputed: some customers' features are computed again from a log that ends at the moment. Whatever a
  feature may declare, a value that differs was made of something that was not known then.
* Under other ids: customers, orders and all other rows have other ids in that log. A value that differs was
  made of a list of ids in a declaration, which says at every moment what was known when it was written.
* By its power (`foresight`): this also finds what no log can tell, such as rows that claim to have been known
  before they were.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.compute.builds import Build
from features.compute.engine import compute
from features.contracts import part_of
from features.definitions import Feature
from features.errors import TrainingError
from features.log import Log
from features.moments import iso
from features.shop import Shop
from features.words import several
from serving.booster import Rows
from training import foresight
from training.evaluate import DIGITS
from training.samples import Dataset, Part
from training.targets import LABELS, Target

CUSTOMERS = 200  # at most, recomputed at each of three moments
# Columns whose values say which customer, order or other row it is, and nothing of it. `source_id` and `ref`
# are others' ids; those of places, goods and campaigns may tell something.
IDS = (
    "customer_id", "source_id", "order_id", "contact_id", "response_id", "interaction_id", "case_id",
    "survey_id", "ref",
)  # fmt: skip
# Part of every model's recipe: a version is found again only if it was asked the same.
RULES = (
    CUSTOMERS, IDS, foresight.ROWS, foresight.AHEAD, foresight.STEADY, foresight.PLAIN, foresight.RHYTHM,
    foresight.WORTH_TELLING, foresight.SURE, foresight.LEAST, foresight.EARLIEST, foresight.SPAN,
)  # fmt: skip


@dataclass(frozen=True)
class Looked:
    """What was asked of a target's features, for the card, and which look ahead: feature -> (by how much, or
    nothing; what it did, and what to do). target: the one that they were read for."""

    target: str
    asked: Mapping[str, Any]
    ahead: Mapping[str, tuple[str, str]]


def require_none(looked: Sequence[Looked], target: Target, names: Collection[str]) -> None:
    """TrainingError, with names and what to do, if one of the features looks ahead of its moment: what did so
    when it was read for another target knows no less of this one.

    looked: of the target itself and of others, in the same build.
    """
    found: dict[str, list[str]] = {}
    named: set[str] = set()
    for one in looked:
        read = "" if one.target == target.name else f", read for {one.target}"
        for name, (by, why) in one.ahead.items():
            if name in names and name not in named:
                named.add(name)
                found.setdefault(why, []).append(f"{name}{read}{by}")
    if found:
        told = "; ".join(f"{several(of)} {why}" for why, of in found.items())
        raise TrainingError(f"{target.name} is not trained, features look ahead: {told}")


def look(
    log: Log, build: Build, shop: Shop, features: Mapping[str, Feature], target: Target, data: Dataset
) -> Looked:
    """Whether features of the data look ahead of their moment. features: all that the build has."""
    wrong = recomputed(made_of(build, log), shop, features, data)
    # What differs is asked again with the ids that are: is it still another value?
    ahead = recomputed(made_of(build, log), shop, features, data, renamed=False) if wrong else []
    found = {name: ("", _OTHER.format(folder=build.folder) if name in ahead else _IDS) for name in wrong}
    orders = data.events.get("orders")
    if orders is None and "orders" in log.tables:
        orders = log.read("orders", ["customer_id", "at", "known_at", "ref"])
    excess = foresight.looked(target, data, orders)
    for one in excess:
        if one.share > 1 and one.feature not in found:
            by = f" (by {one.gap:.2f} of AUC, of which {one.allowed:.2f} is allowed; asked about "
            by += LABELS[one.of].called.en
            since = f"; what came from {iso(one.start)[:10]} on" if one.start else ""
            found[one.feature] = f"{by}{since})", _FORESEEN if one.start else _PEEKED
    asked = {
        "features": len(data.features),
        "recomputed_at": [iso(moment) for moment in _asked(data)],
        "customers": CUSTOMERS,
        "worth_telling": foresight.WORTH_TELLING,
        "largest": _largest(excess[0]) if excess else None,
    }
    return Looked(target.name, asked, found)


_OTHER = (
    "had other values than the log gives that ends at the moment. Delete {folder} and run `propensity "
    "features build`; if that changes nothing, correct the declaration (`propensity check`)"
)
_IDS = (
    "depended on ids, not on what the log tells of their rows: a list of ids in a declaration says at every "
    "moment what was known when it was written. Ingest it as tags or scores, with the day on which it was "
    "known, or take the feature out of the declarations"
)
_PEEKED = (
    "told what came next far better than what came after that. Look for rows that are made from what "
    "followed, or whose known_at is earlier than anybody knew of them, and correct the source; or take the "
    "feature out of the declarations"
)
_FORESEEN = (
    "told months before far better what came then than what came next, as a list does that was made "
    "afterwards. Give its rows the known_at at which it was made, or take the feature out of the declarations"
)


def _largest(one: foresight.Excess) -> dict[str, Any]:
    """As a card has it."""
    told = {"feature": one.feature, "excess": round(one.gap, DIGITS), "allowed": one.allowed, "of": one.of}
    return told if one.start is None else told | {"from": iso(one.start)}


def made_of(build: Build, log: Log) -> Log:
    """The log that a build was made of, if it is kept: one that has grown may know more of the past."""
    folder = log.folder.with_name(build.log)
    return log if build.log == log.fingerprint or not folder.is_dir() else Log.at(folder)


def recomputed(
    log: Log, shop: Shop, features: Mapping[str, Feature], data: Dataset, renamed: bool = True
) -> list[str]:
    """The columns that differ, for some customer and moment, from what was known then; renamed: in a log
    with other ids.
    """
    some: dict[datetime, Part] = {}
    for moment in _asked(data):
        part = data.at(moment)
        some[moment] = part.rows(np.arange(len(part)) % -(-len(part) // CUSTOMERS) == 0)
    ids = {moment: [data.ids[number] for number in part.customer] for moment, part in some.items()}
    differ = np.zeros(len(data.features), np.bool_)
    with TemporaryDirectory(prefix="propensity-") as scratch:
        every = sorted({id for named in ids.values() for id in named})
        theirs = part_of(log, Path(scratch) / "theirs", every, known_by=None)
        if renamed:
            _rename(theirs)
            ids = {moment: [str(_other(id)) for id in named] for moment, named in ids.items()}
            every = [str(_other(id)) for id in every]
        for moment, part in some.items():
            past = part_of(theirs, Path(scratch) / f"{moment:%Y%m%d%H%M%S}", every, known_by=moment)
            now = _values(past, shop, features, moment, ids[moment], data.features)
            same = (part.matrix == now) | (np.isnan(part.matrix) & np.isnan(now))
            differ |= ~same.all(axis=0)
    return [name for name, wrong in zip(data.features, differ, strict=True) if wrong]


def _rename(log: Log) -> None:
    """Give a log other ids, in its own files; the order of the rows by them is another, too."""
    for path in (path for name in log.tables for path in log.paths(name)):
        table = pq.read_table(path, partitioning=None)
        for name in (name for name in IDS if name in table.column_names):
            coded = table[name].combine_chunks().dictionary_encode()
            others = pa.array([_other(id) for id in coded.dictionary.to_pylist()], pa.string())
            column = others.take(coded.indices)
            table = table.set_column(table.column_names.index(name), table.field(name), column)
        pq.write_table(table, path)


def _other(id: str | None) -> str | None:
    """Another id that begins with the same letters: these may tell a kind, such as returns."""
    if id is None:
        return None
    kind = id[: next((place for place, sign in enumerate(id) if sign.isdigit()), len(id))]
    return kind + sha256(id.encode()).hexdigest()


def _asked(data: Dataset) -> tuple[datetime, ...]:
    """The moments at which features are recomputed: the first, one in the middle, the test."""
    when = data.timeline
    return when.moments[0], when.moments[len(when.moments) // 2], when.test


def _values(
    log: Log, shop: Shop, features: Mapping[str, Feature], moment: datetime, ids: Sequence[str],
    names: Sequence[str],
) -> Rows:  # fmt: skip
    """The features `names` of those customers, as the engine computes them: float32 [n, names]."""
    table = pa.concat_tables([table for _, table in compute(log, shop, features, [moment])])
    rows = table.take(pc.index_in(pa.array(ids, pa.string()), table["customer_id"].combine_chunks()))
    return np.column_stack([rows[name].to_numpy().astype(np.float32) for name in names])
