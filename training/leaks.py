"""Does a feature look ahead? Then its model is good in every figure, and useless on the day that it serves.

Two ways to find out, both before anything is fitted:
* Recomputed: some customers' features are computed again from a log that ends at the moment. Whatever a
  feature may declare, a value that differs was made of something that was not known then.
* By its power: what a feature tells of the first day is hardly more than what it tells of the second, as the
  third shows, or of that weekday a week later. One that peeks knows the first day alone. This also finds what
  no log can tell, such as rows that claim to have been known before they were. The same is asked of the
  horizon, beside the next one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import rankdata

from features.compute.builds import Build
from features.compute.engine import compute
from features.contracts import part_of
from features.definitions import Feature
from features.errors import TrainingError
from features.log import Log
from features.moments import DAY, iso
from features.shop import Shop
from serving.booster import Rows
from training import pooled
from training.labels import labels
from training.samples import Dataset, Part
from training.targets import Target

Numbers = NDArray[np.float64]

CUSTOMERS = 200  # at most, recomputed at each of three moments
ROWS = 40_000  # at most, that powers are measured on
AHEAD = 0.1  # of AUC: far more than any honest feature of the public logs has
SURE = 5.0  # standard errors: with hundreds of features, chance would reach three now and then
FIRST_DAYS = ((0, 1), (1, 2), (2, 3), (7, 8))  # windows, in days after the moment
LEAST = 50  # of each kind of outcome: with fewer there is no power to speak of
# Part of every model's recipe: a version is found again only if it was asked the same.
RULES = (CUSTOMERS, ROWS, AHEAD, SURE, LEAST)


def require_none(
    log: Log, build: Build, shop: Shop, features: Mapping[str, Feature], target: Target, data: Dataset
) -> dict[str, Any]:
    """What was asked of the features, for the card; TrainingError, with names and what to do, if one of the
    data looks ahead of its moment.

    features: all that the build has.
    """
    wrong = recomputed(made_of(build, log), shop, features, data)
    found = []
    if wrong:
        found.append(
            f"{', '.join(wrong)} had other values than the log gives that ends at the moment. Run "
            "`propensity features build` for them anew; if that changes nothing, correct the declaration "
            "(`propensity check`)"
        )
    told = powers(target, data)
    if peeking := {name: gap for name, gap in told.items() if name not in wrong}:
        listed = ", ".join(f"{name} (by {gap:.2f} of AUC)" for name, gap in peeking.items())
        found.append(
            f"{listed} told what came next far better than what came after that. Look for rows that are made "
            "from what followed, or whose known_at is earlier than anybody knew of them, and correct the "
            "source; or take the feature out of the declarations"
        )
    if found:
        raise TrainingError(f"{target.name} is not trained, features look ahead: {'; '.join(found)}")
    return {
        "features": len(data.features),
        "recomputed_at": [iso(moment) for moment in _asked(data)],
        "customers": CUSTOMERS,
        "largest_allowed": AHEAD,
    }


def made_of(build: Build, log: Log) -> Log:
    """The log that a build was made of, if it is kept: one that has grown may know more of the past."""
    folder = log.folder.with_name(build.log)
    return log if build.log == log.fingerprint or not folder.is_dir() else Log.at(folder)


def recomputed(log: Log, shop: Shop, features: Mapping[str, Feature], data: Dataset) -> list[str]:
    """The columns that differ, for some customer and moment, from what was known then."""
    some: dict[datetime, Part] = {}
    for moment in _asked(data):
        part = data.at(moment)
        some[moment] = part.rows(np.arange(len(part)) % -(-len(part) // CUSTOMERS) == 0)
    ids = {moment: [data.ids[number] for number in part.customer] for moment, part in some.items()}
    differ = np.zeros(len(data.features), np.bool_)
    with TemporaryDirectory(prefix="propensity-") as scratch:
        every = sorted({id for named in ids.values() for id in named})
        theirs = part_of(log, Path(scratch) / "theirs", every, known_by=None)
        for moment, part in some.items():
            past = part_of(theirs, Path(scratch) / f"{moment:%Y%m%d%H%M%S}", every, known_by=moment)
            now = _values(past, shop, features, moment, ids[moment], data.features)
            same = (part.matrix == now) | (np.isnan(part.matrix) & np.isnan(now))
            differ |= ~same.all(axis=0)
    return [name for name, wrong in zip(data.features, differ, strict=True) if wrong]


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


def powers(target: Target, data: Dataset, ahead: float = AHEAD) -> dict[str, float]:
    """Feature -> how much more of AUC it has for what comes next, by the events of the data, than it would
    have if it did not look ahead, where that is more than `ahead`, beyond chance.
    """
    tables, by = data.events, data.timeline.known_by
    of = replace(target, label="order") if target.label == "overdue" else target  # a silence has no day
    days = target.horizon_days
    found: dict[str, float] = {}
    for windows in (FIRST_DAYS, ((0, days), (days, 2 * days))):
        some = _sample(data, by - windows[-1][1] * DAY)
        if not some:
            continue
        came = np.column_stack([_came(tables, of, data.ids, some, window, by) for window in windows])
        if min(came.sum(axis=0).min(), (1 - came).sum(axis=0).min()) < LEAST:
            continue
        customer = np.concatenate([part.customer for part in some.values()])
        for place, name in enumerate(data.features):
            rank = np.concatenate([_rank(part.matrix[:, place]) for part in some.values()])
            gap, error = _gap(rank, customer, came, ahead)
            if gap > max(ahead, SURE * error):
                found[name] = max(gap, found.get(name, 0.0))
    return found


def _sample(data: Dataset, until: datetime) -> dict[datetime, Part]:
    """Some customers' rows, at every moment to `until`."""
    when = data.timeline
    parts = {m: data.at(m) for m in sorted({*when.moments, *when.origins}) if m <= until}
    every = -(-sum(len(part) for part in parts.values()) // ROWS)
    return {moment: part.rows(part.customer % every == 0) for moment, part in parts.items()}


def _came(
    tables: Mapping[str, pa.Table], target: Target, ids: Sequence[str], rows: Mapping[datetime, Part],
    window: tuple[int, int], by: datetime,
) -> Numbers:  # fmt: skip
    """Whether the target's event came in that window of days after each row's moment, [n]."""
    first, end = window
    spine = pa.table(
        {
            "customer_id": pa.array([ids[n] for part in rows.values() for n in part.customer], pa.string()),
            "moment": pa.array(
                [moment + first * DAY for moment, part in rows.items() for _ in range(len(part))],
                pa.timestamp("us", "UTC"),
            ),
        }
    )
    of = replace(target, horizon_days=end - first)
    return labels(tables, spine, of, {moment + first * DAY: by for moment in rows})


def _rank(values: NDArray[np.float32]) -> Numbers:
    """Ranks among the rows of one moment, 0 to 1: what only tells moments apart, as the calendar does, is the
    same for all. What is not known ranks below all values."""
    return np.asarray(rankdata(np.where(np.isnan(values), -np.inf, values)) / len(values))


def _gap(rank: Numbers, customer: NDArray[np.int64], came: Numbers, ahead: float) -> tuple[float, float]:
    """(how much more of AUC for the first of the windows came [n, windows], its standard error if beyond
    ahead). Either direction counts.
    """
    order = rankdata(rank)
    ones = came.sum(axis=0)
    power = (order @ came / ones - (ones + 1) / 2) / (len(came) - ones) - 0.5
    first, *others = np.abs(power)
    if len(others) > 1:  # what fades fast has faded as much from the second window to the third
        others[0] += max(others[0] - others[1], 0.0)
    gap = float(first - max(others))
    if gap <= ahead:
        return gap, 0.0
    best = 1 + int(np.argmax(others))
    ours, theirs = (np.sign(power[one]) * pooled.auc(came[:, one], order)[1] for one in (0, best))
    return gap, float(np.sqrt((np.bincount(customer, ours - theirs) ** 2).sum()))
