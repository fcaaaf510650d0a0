"""Scores of thousands at once, as columns: the same models on the same rows as `/v1/scores`, to the last bit.

    customer_id            as `/v1/scores` answers it; null for an identity that resolves to nobody
    known_at, stale        of the features
    NAME_probability, NAME_percentile, NAME_status, a target: null unless the status is `scored`, else
                           `outside_population`, `unknown_customer`, or the code of what fails
    NAME_reasons           if asked for: feature, value, contribution, en, zh

A row an id, in the order asked, duplicates included. The schema's metadata `propensity` is JSON: request_id,
as_of, features (what is published) and models (target -> version).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from features.errors import NoBuild, PropensityError, ReleaseError
from features.moments import iso, to_us
from features.online import PRESENT, Published
from serving import batch
from serving.api import Customer
from serving.arrow import arrow
from serving.scores import Scorer, Target, answerable, members_of, require_one

CHUNK = 4096  # customers read and scored at a time: what comes in between waits for one of these
TRIES = 5  # to see one publication from the first to the last of them
# For whoever reads the columns; `status` is the last of a target's.
COLUMNS = """Columns, a row an id in the order asked:
* `customer_id` (text): as it is answered; null for an identity that is nobody's.
* `known_at` (timestamp, microseconds, UTC), `stale` (bool): of the features; null of who is not known.
* of each target, `<target>_probability` (float64, 0..1), `<target>_percentile` (float64, 0..100) and
  `<target>_status` (text, dictionary): `scored`; `unknown_customer`; `outside_population`, of whom the target
  does not speak; or the code of what keeps the target from being answered, as in `Failure`. The two numbers
  are null unless it is `scored`, and a percentile also where none were scored to compare with.
* of each target, where a job asks for reasons, `<target>_reasons`: a list of `feature`, `value`,
  `contribution`, `en` and `zh`.

The schema's metadata `propensity` is JSON: `request_id`, `as_of`, `features` (what is published) and `models`
(target -> version)."""
SCORED, UNKNOWN, OUTSIDE = "scored", "unknown_customer", "outside_population"

Targets = Mapping[str, Target | PropensityError]


class _Moved(Exception):  # noqa: N818  no error: it begins again
    """Something else was published meanwhile."""


def scored(
    scorer: Scorer,
    customers: Sequence[Customer],
    wanted: Sequence[str] | None,
    request_id: str,
    reasons: int = 0,
    progress: Callable[[int], None] = lambda done: None,
) -> Any:
    """A pyarrow Table of scores by the released targets `wanted`, default all. progress: customers done.

    All of one publication and the same versions. Problem or PropensityError only if nothing can be answered.
    """
    as_of = scorer.settings.now()
    for _ in range(TRIES):
        try:
            return _scored(scorer, customers, wanted, request_id, reasons, progress, as_of)
        except _Moved:
            continue
    raise NoBuild("what is published changes faster than it can be answered from: ask again")


def _scored(
    scorer: Scorer, customers: Sequence[Customer], wanted: Sequence[str] | None, request_id: str,
    reasons: int, progress: Callable[[int], None], as_of: datetime,
) -> Any:  # fmt: skip
    pa = arrow()
    published = answerable(scorer.rows.current(), scorer.settings, as_of)
    targets = scorer.targets(published, wanted)
    require_one(targets)
    batches = []
    for first in range(0, len(customers), CHUNK):
        some = customers[first : first + CHUNK]
        batches.append(_batch(scorer, published, targets, some, reasons, as_of))
        progress(first + len(some))
    versions = {n: t.release.version for n, t in targets.items() if isinstance(t, Target)}
    about = {"request_id": request_id, "as_of": iso(as_of), "features": published.id, "models": versions}
    return pa.concat_tables(batches).replace_schema_metadata({"propensity": json.dumps(about)})


def _batch(
    scorer: Scorer, published: Published, targets: Targets, customers: Sequence[Customer], reasons: int,
    as_of: datetime,
) -> Any:  # fmt: skip
    pa = arrow()
    ids = scorer.resolve(customers)
    named = np.array([id is not None for id in ids])
    found, followed, rows = scorer.rows.followed([id for id in ids if id is not None])
    if found.number != published.number:
        raise _Moved
    whose = iter(followed)
    present = np.zeros(len(ids), bool)
    present[named] = rows.status == PRESENT
    matrix = rows.matrix[rows.status == PRESENT]
    known_at = np.zeros(len(ids), np.int64)
    known_at[named] = rows.known_at
    oldest = to_us(as_of - scorer.settings.stale_after)
    columns = {
        "customer_id": pa.array([None if id is None else next(whose) for id in ids], pa.string()),
        "known_at": pa.array(known_at, pa.int64(), mask=~present).cast(pa.timestamp("us", "UTC")),
        "stale": pa.array(known_at < oldest, mask=~present),
    }
    for name, target in targets.items():
        columns |= _of_target(name, target, matrix, present, published, reasons)
    return pa.table(columns)


def _of_target(
    name: str, target: Target | PropensityError, matrix: Any, present: Any, published: Published, reasons: int
) -> dict[str, Any]:
    pa = arrow()
    n, failed = len(present), isinstance(target, PropensityError)
    codes = [SCORED, UNKNOWN, OUTSIDE, target.code if isinstance(target, PropensityError) else ""]
    status = np.where(present, 3 if failed else 0, 1).astype(np.int8)
    chance, place, why = np.zeros(n), np.zeros(n), list[Any]([None] * n)
    placed = False
    if isinstance(target, Target) and present.any():
        rows = np.ascontiguousarray(matrix[:, target.columns])
        chances = target.model.score(rows)
        if not np.isfinite(chances).all():
            version = target.release.version
            raise ReleaseError(f"release {name} {version} gave no finite score: promote another version")
        inside = members_of(target.release, matrix, published.features)
        status[present] = np.where(inside, 0, 2)
        chance[present] = chances
        if target.quantiles is not None:
            place[present], placed = batch.percentiles(chances, target.quantiles), True
        if reasons:
            told = target.model.explain(rows, reasons, False)
            for at, said, member in zip(np.flatnonzero(present), told, inside, strict=True):
                why[at] = batch.told(said) if member else None
    silent = status != 0
    columns = {
        f"{name}_probability": pa.array(chance, mask=silent),
        f"{name}_percentile": pa.array(place, mask=silent if placed else np.ones(n, bool)),
        f"{name}_status": pa.DictionaryArray.from_arrays(pa.array(status), pa.array(codes)),
    }
    if reasons:
        columns[f"{name}_reasons"] = pa.array(why, batch.reasons_type())
    return columns
