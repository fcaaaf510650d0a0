"""`GET /v1/changes`: the customers of whom something else is told than when the caller last asked.

A cursor names what was told then (a moment, and the version of each model) and what is told now; the files
of both are compared. So a listing stays one listing while its pages are fetched, whatever is published
meanwhile, and the cursor of its last page begins the next one. Nothing is written down for anybody.

Events since the last build change nothing here before the next one. Who was erased is in no listing, neither
as changed nor as gone, for nobody's id is kept to tell it: that somebody was is told, and the cursor holds a
digest of the tombstones for it.
"""

import base64
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from features.errors import NoBuild, UsageError
from features.moments import iso, parse_moment
from features.tombstones import Tombstones
from serving import everyone, score_store
from serving.api import Name
from serving.arrow import arrow
from serving.everyone import Told
from serving.problems import Offender, Problem
from serving.releases import SEGMENT
from serving.scores import Scorer

MOST = 10_000  # customers of a page
FIGURES = ("value", "tier", "quadrant", "stage", "churn_reason")


class ToldScore(Struct, frozen=True):
    """A target's score as everyone was scored; null outside its population. percentile, model_version: of
    then. They are not compared: a place among the others changes with the others."""

    target: str
    probability: float | None
    percentile: float | None
    model_version: str


class Change(Struct, frozen=True):
    """What is told of one customer now. changed: names of what differs. gone: she is published no more, and
    nothing is told of her. Who was erased is not here at all: see `erased` of the answer."""

    customer_id: str
    gone: bool
    changed: list[str]
    scores: list[ToldScore]
    value: float | None
    tier: str | None
    quadrant: str | None
    stage: str | None
    churn_reason: str | None


class ChangesAnswer(Struct, frozen=True):
    """reset: what was told before cannot be compared with: forget it, for everyone is told anew, from this
    page on. cursor: `since` of the next question; more: whether there is another page now. moment: of what
    is told.

    erased: somebody was erased since the cursor was given, whom this listing does not name, as no id is kept
    of whoever was erased: read everyone once more, without `since`, and delete whoever is not in it.
    """

    request_id: str
    as_of: str
    moment: str
    reset: bool
    changes: list[Change]
    more: bool
    cursor: str
    erased: bool = False


class _Cursor(Struct, frozen=True, array_like=True):
    form: Literal[1]
    before: tuple[str, dict[Name, Name]] | None  # moment, name -> version; None: everyone was told
    now: tuple[str, dict[Name, Name]]
    of: list[str] | None
    after: str | None  # the last customer of the page; None: it was the last page
    erased: str | None = None  # digest of the tombstones; None: of a cursor from before it had one


class Changes:
    """Answers page by page. For one thread: it keeps the last listing, for its next page."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer, self._settings = scorer, scorer.settings
        self._key: object = None
        self._listing: tuple[list[str], Any] = ([], None)

    def page(self, since: str | None, limit: int, of: Sequence[str] | None, request_id: str) -> ChangesAnswer:
        """One page. of: names of what to compare, targets and FIGURES, default all; the same on every page.

        Problem 422 for a cursor or a name that is none; NoBuild if nothing is published or scored.
        """
        told, _ = everyone.told_now(self._settings, self._scorer.published(), self._scorer.releases)
        before, now, after, erased = None, told, None, Tombstones.of(self._settings).digest
        somebody = False
        if since is not None:
            cursor = _cursor(since)
            if of is not None and list(of) != cursor.of:
                raise _unfit("of", "expected the names that the cursor was made with, or none")
            of, somebody = cursor.of, erased != (cursor.erased or "")
            before, now, after = _told(cursor.now), told, None
            if cursor.after is not None:
                before = None if cursor.before is None else _told(cursor.before)
                now, after = _told(cursor.now), cursor.after
        try:
            ids, rows = self._listed(before, now, of)
        except NoBuild:
            if before is None and now == told:
                raise
            before, now, after = None, told, None
            ids, rows = self._listed(before, now, of)
        first = 0 if after is None else bisect_right(ids, after)
        more = first + limit < len(ids)
        erasing = self._scorer.rows.being_erased()  # whoever asked for it since the listing was made
        page = [] if rows is None else rows.slice(first, limit).to_pylist()
        page = [row for row in page if row["customer_id"] not in erasing]
        last = ids[first + limit - 1] if more else None
        then = None if before is None else _kept(before)
        following = _Cursor(1, then, _kept(now), None if of is None else list(of), last, erased)
        return ChangesAnswer(
            request_id=request_id,
            as_of=iso(self._settings.now()),
            moment=iso(now.moment),
            reset=before is None and after is None,
            changes=[_change(row, now.versions) for row in page],
            more=more,
            cursor=base64.urlsafe_b64encode(msgspec.json.encode(following)).rstrip(b"=").decode(),
            erased=somebody,
        )

    def _listed(self, before: Told | None, now: Told, of: Sequence[str] | None) -> tuple[list[str], Any]:
        """Ids, ascending, and their rows; of the whole listing."""
        if before == now:
            return [], None
        key = before, now, of and tuple(of), Tombstones.of(self._settings).digest, self._files(before, now)
        if key != self._key:
            self._key, self._listing = None, ([], None)  # two at a time are too much to hold
            self._listing = self._compared(before, now, of)
            self._key = key
        return self._listing

    def _files(self, *of: Told | None) -> list[tuple[int, int] | None]:
        """What tells one content of the files from another: erasing rewrites them."""
        found: list[tuple[int, int] | None] = []
        for told in of:
            for name, version in sorted(told.versions.items()) if told else ():
                path = score_store.path(self._settings, name, version, told.moment) if told else None
                stat = path.stat() if path and path.exists() else None
                found.append(None if stat is None else (stat.st_ino, stat.st_mtime_ns))
        return found

    def _compared(self, before: Told | None, now: Told, of: Sequence[str] | None) -> tuple[list[str], Any]:
        pa, pc = arrow(), arrow().compute
        table = everyone.table(self._settings, now)
        columns = _columns(table.column_names, now.versions, of)
        n = len(table)
        if before is None:
            changed = {name: pa.repeat(True, n) for name in columns}
            rows = table
        else:
            then = everyone.table(self._settings, before)
            for column in columns.values():
                if column not in then.column_names:  # a model that came
                    then = then.append_column(column, pa.nulls(len(then), table[column].type))
            differ = everyone.differing(table, then, columns.values())
            changed = {name: differ[column] for name, column in columns.items()}
            lost = pa.table({"customer_id": everyone.gone(table, then)})
            rows = table
        for name, mask in changed.items():
            rows = rows.append_column(f"?{name}", mask)
        rows = rows.append_column("gone", pa.repeat(False, n))
        if before is not None:
            anything = pa.repeat(False, n)
            for mask in changed.values():
                anything = pc.or_(anything, mask)
            gone = lost.append_column("gone", pa.repeat(True, len(lost)))
            rows = pa.concat_tables([rows.filter(anything), gone], promote_options="default")
        rows = rows.sort_by("customer_id")
        return rows["customer_id"].to_pylist(), rows


def _columns(there: Sequence[str], versions: Mapping[str, str], of: Sequence[str] | None) -> dict[str, str]:
    """Name of what is compared -> its column. Problem 422 for a name that is none."""
    known = {name: f"{name}_probability" for name in versions if f"{name}_probability" in there}
    known |= {name: name for name in FIGURES if name in there}
    for name in of or ():
        if name not in known:
            raise _unfit("of", f"expected names among {', '.join(known)}")
    return {name: column for name, column in known.items() if of is None or name in of}


def _change(row: Mapping[str, Any], versions: Mapping[str, str]) -> Change:
    gone = row["gone"]
    return Change(
        customer_id=row["customer_id"],
        gone=gone,
        changed=[name[1:] for name, differs in row.items() if name.startswith("?") and differs],
        scores=[
            ToldScore(name, row[f"{name}_probability"], row[f"{name}_percentile"], version)
            for name, version in sorted(versions.items())
            if f"{name}_probability" in row and not gone
        ],
        **{name: row.get(name) for name in FIGURES},
    )


def _cursor(text: str) -> _Cursor:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(raw, type=_Cursor)
        for told in (cursor.before, cursor.now):
            if told is not None:
                parse_moment(told[0])
                if not all(SEGMENT.fullmatch(part) for pair in told[1].items() for part in pair):
                    raise ValueError
    except (ValueError, msgspec.MsgspecError, UsageError):
        raise _unfit("since", "expected the cursor of an answer, as it was given") from None
    return cursor


def _told(kept: tuple[str, dict[str, str]]) -> Told:
    return Told(parse_moment(kept[0]), kept[1])


def _kept(told: Told) -> tuple[str, dict[str, str]]:
    return iso(told.moment), dict(told.versions)


def _unfit(name: str, expected: str) -> Problem:
    path = f"$.query.{name}"
    return Problem(422, "invalid_request", f"{path}: {expected}", [Offender(path, expected)])
