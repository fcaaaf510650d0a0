"""Tables that brought rows and bring none any more, told for as long as they bring none.

A table of a few rows a day is at times empty, so that an empty day stands out from nothing; and whatever
lasts is what is normal to its baseline. Here the empty days at a table's end are held against the days before
them alone. Too many they are where chance would hardly bring so many in a row, and where the table, which may
come in bursts, never was empty for half as long. Days on which the shop may do no business count for nothing,
nor do weekdays on which the table brings far less often than on others. YOUNGEST days before are needed; once
those have left the days that are looked at (two years), nothing can be said any more.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from features.describe.say import table as named
from features.words import Words
from monitoring.baseline import HISTORY, YOUNGEST, Bool
from monitoring.measures import BROKEN
from monitoring.panels import Panel, Shift
from monitoring.received import USUAL

CHANCE = 1e-6  # of so many empty days in a row
BURSTS = 2  # times the longest that it was empty before
SELDOM = 0.5  # of how often the fullest weekday brings rows: others are as good as closed
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Stopped:
    """A table that stopped. shift: its rows, since the first empty day. days: empty ones that count; share:
    of the days before that were empty; longest: so many in a row."""

    shift: Shift
    days: int
    share: float
    longest: int

    @property
    def cause(self) -> Words:
        """What is likely, and why chance is not."""
        before = Words("no day was", "没有一天为空")
        if self.longest:
            before = Words(
                f"{self.share:.1%} of days were, at most {self.longest} on end",
                f"{self.share:.1%}的日子为空，最长连续{self.longest}天",
            )
        return Words(
            f"the source stopped: {self.days} days on end are empty, where before {before.en}",
            f"数据源已停止：连续{self.days}天没有数据，而此前{before.zh}",
        )

    @property
    def advice(self) -> Words:
        """What to do, also where it is meant."""
        (table,) = self.shift.subject.tables
        name = named(table)
        return Words(
            f"Ask the source's owner for what is missing, then `propensity ingest` and `propensity features "
            f'build`. If {name.en} ended for good, say so in shop.toml: ended = ["{table}"] in [monitoring].',
            f"向数据源负责人索取缺失的数据，然后运行 `propensity ingest` 与 `propensity features build`。"
            f'若{name.zh}已永久停用，请在shop.toml的[monitoring]中写明：ended = ["{table}"]。',
        )


def stopped(panel: Panel, ended: Collection[str] = ()) -> dict[str, Stopped]:
    """Tables of what was received that stand still on the panel's last day. ended: they are meant to."""
    found = {}
    for column, subject in enumerate(panel.subjects):
        (table,) = subject.tables
        if subject.kind == "rows" and table not in ended:
            came = np.nan_to_num(panel.native[:, column]) > 0
            run = _run(came, panel.idle, panel.first)
            if run is not None:
                start, days, share, longest = run
                before = panel.native[max(0, start - HISTORY) : start, column]
                since = _EPOCH + timedelta(days=panel.first + start)
                shift = Shift(subject, -BROKEN, float(np.nanmean(before)), 0.0, since)
                found[table] = Stopped(shift, days, share, longest)
    return found


def _run(came: Bool, idle: Bool | None, first: int) -> tuple[int, int, float, int] | None:
    """The place of the first empty day at the end; how many of them count; the share of empty days before,
    and the longest run of them; None where that is nothing unusual.

    came, idle: bool [days], whether rows came, and whether the shop may do no business. first: whole days
    since 1970.
    """
    bringing = np.flatnonzero(came)
    if not len(bringing) or bringing[-1] == len(came) - 1:
        return None
    start = int(bringing[-1]) + 1
    counts = np.ones(len(came), bool) if idle is None else ~idle
    counts[: bringing[0]] = False
    weekday = (first + np.arange(len(came))) % 7
    before = counts & (np.arange(len(came)) < start)
    told = np.bincount(weekday[before], minlength=7)
    often = np.bincount(weekday[before & came], minlength=7) / np.maximum(told, 1)
    seldom = often < SELDOM * often.max()
    counts &= ~seldom[weekday]
    empty = ~came[:start][counts[:start]]
    days = int(counts[start:].sum())
    if len(empty) < YOUNGEST:
        return None
    longest = _longest(empty)
    share = max((part.sum() + 1) / (len(part) + 2) for part in (empty[-HISTORY:], empty[-USUAL:]))
    if days <= BURSTS * longest or days * np.log(share) >= np.log(CHANCE):
        return None
    # The first empty day that counts: a holiday before it let nothing be brought.
    start += int(np.flatnonzero(counts[start:])[0])
    return start, days, float(empty[-HISTORY:].mean()), longest


def _longest(empty: NDArray[np.bool_]) -> int:
    """Of the runs of True, the longest."""
    ends = np.flatnonzero(np.concatenate([[True], ~empty, [True]]))
    return int(np.diff(ends).max()) - 1
