"""What everyone was told at a moment, as one table: from the files of the score store, a row a customer.

    customer_id, known_at
    of a target NAME    NAME_probability, NAME_percentile (null outside its population), NAME_model_version
    of the value        value, value_p10, value_p50, value_p90, value_percentile, next_order_date, ...
    of the segments     tier, quadrant, stage, churn_reason, stage_since, ...

Nightly files and the changes over HTTP are both told from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from features.errors import NoBuild, PropensityError
from features.moments import iso
from features.online import OnlineRows, Published
from features.settings import Settings
from features.tombstones import Tombstones
from serving import kinds, score_store, segmentation, value
from serving.api import Failure
from serving.following import Releases
from serving.problems import detail_of
from serving.releases import names

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = "model_version"
OF_TARGET = ("probability", "percentile")
OF_NO_TARGET: Mapping[str, Mapping[str, str]] = {
    value.KIND: {
        name: name
        for name in ("value", "value_p10", "value_p50", "value_p90", "value_percentile", "next_order_date")
    },
    segmentation.KIND: {
        **{name: name for name in ("tier", "quadrant", "stage", "churn_reason")},
        "since": "stage_since",
    },
}
"""Kind -> column of its scores -> what it is called here. Of a kind that is not here, nothing is told."""

KEYS = ("customer_id", "known_at")


@dataclass(frozen=True)
class Told:
    """What was told: the moment that it is known at, and the version of each model, by name."""

    moment: datetime
    versions: Mapping[str, str]


def told_now(settings: Settings, published: Published, releases: Releases) -> tuple[Told, dict[str, Failure]]:
    """What is told of everyone with what is published, and why a model in force says nothing."""
    versions, silent = dict[str, str](), dict[str, Failure]()
    for name in names(settings):
        try:
            release = releases.get(name)
            kind = release.model.card.kind
            if kind not in OF_NO_TARGET and kinds.of(release.model.card) is not kinds.CLASSIFIER:
                continue
            if not score_store.path(settings, name, release.version, published.moment).exists():
                raise NoBuild(
                    f"nobody was scored with {name} {release.version} as of {iso(published.moment)}: run "
                    f"`propensity features build`, or promote {name} again"
                )
            versions[name] = release.version
        except PropensityError as error:
            silent[name] = Failure(error.code, detail_of(error, settings))
    return Told(published.moment, versions), silent


def table(settings: Settings, told: Told) -> "pa.Table":
    """A row a customer, by id; nobody who was or will be erased. NoBuild if that moment's scores are gone."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    ids, columns = None, dict[str, pa.ChunkedArray]()
    for name, version in sorted(told.versions.items()):
        try:
            with pq.ParquetFile(score_store.path(settings, name, version, told.moment)) as file:
                shown = shown_of(name, file.schema_arrow.names)
                scores = file.read(["customer_id", VERSION, *shown])
        except FileNotFoundError:
            raise NoBuild(
                f"the scores of {name} {version} as of {iso(told.moment)} are kept no more"
            ) from None
        if ids is None:
            ids = scores["customer_id"].combine_chunks()
        place = pc.index_in(ids, scores["customer_id"].combine_chunks())
        for column, called in shown.items():
            columns[called] = scores[column].take(place)
        columns[f"{name}_{VERSION}"] = scores[VERSION].take(place)
    if ids is None:
        raise NoBuild(f"nobody was scored as of {iso(told.moment)}: promote a model, then build features")
    known_at = pa.repeat(pa.scalar(told.moment, pa.timestamp("us", "UTC")), len(ids))
    whole = pa.table({KEYS[0]: ids, KEYS[1]: known_at, **columns})
    erased = {  # whose rows are being removed just now, or will be soon
        *Tombstones.of(settings).customers(ids.to_pylist()),
        *OnlineRows.open(settings).being_erased(),
    }
    return without(whole, erased) if erased else whole


def shown_of(name: str, columns: Iterable[str]) -> Mapping[str, str]:
    """Column of a file of scores -> what it is called here."""
    if "probability" in columns:
        return {column: f"{name}_{column}" for column in OF_TARGET}
    return OF_NO_TARGET[name]


def without(table: "pa.Table", ids: Iterable[str]) -> "pa.Table":
    """The rows of all others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.invert(pc.is_in(table["customer_id"], pa.array(list(ids), pa.string()))))


def differing(now: "pa.Table", before: "pa.Table", columns: Iterable[str]) -> dict[str, "pa.ChunkedArray"]:
    """Column -> whether each row of `now` differs there from the customer's row before: bool [n].

    A customer who was not there before differs in all. Compared by bits: a score is not almost the same.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    place = pc.index_in(now["customer_id"], before["customer_id"].combine_chunks())
    new, found = pc.is_null(place), dict[str, pa.ChunkedArray]()
    for column in columns:
        then = before[column].take(place)
        other = pc.fill_null(pc.not_equal(now[column], then), False)
        one_is_null = pc.xor(pc.is_null(now[column]), pc.is_null(then))
        found[column] = pc.or_(pc.or_(other, one_is_null), new)
    return found


def changed(now: "pa.Table", before: "pa.Table") -> "pa.Table":
    """The rows of `now` that tell something else than before, apart from when it was known."""
    from functools import reduce

    import pyarrow.compute as pc

    columns = [name for name in now.column_names if name not in KEYS]
    masks = differing(now, before, columns).values()
    return now.filter(reduce(pc.or_, masks)) if columns else now.slice(0, 0)


def gone(now: "pa.Table", before: "pa.Table") -> "pa.ChunkedArray":
    """The customers who were there before, and are not."""
    import pyarrow.compute as pc

    ids = before["customer_id"]
    return ids.filter(pc.invert(pc.is_in(ids, now["customer_id"].combine_chunks())))
