"""This week's customers beside last week's: how well they are told apart, and how well they usually are.

A sale changes which features belong together for weeks: what was bought on one day leaves windows of 7, 14
and 28 days one after the other. So weeks that an occasion touches teach nothing of usual ones; and who stands
out near one is told apart once more without the features that told the same days apart around the one before,
or, if it is the first, its own days.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
import numpy as np

from features.compute.builds import Build
from features.definitions import Feature
from features.log import Log
from features.moments import DAY
from features.shop import Shop
from monitoring import joint, keeping
from monitoring.baseline import BACK, BEFORE, FIRST, NEAR
from monitoring.histograms import Float32
from monitoring.occasions import Occasion, Occasions, amid
from monitoring.profiles import Store, day_of
from monitoring.profiling import matrix, rows_of

TELLING = 3  # columns that tell two weeks apart most, of which is told
WEEKS = 8  # pairs of weeks by which it is learned how far apart two of them usually are
FEWEST = 3  # of them
LINGERS = 42  # days after a sale on which it still leaves windows of features, the longest apart
YOUNGEST = 60  # days of the log before which windows are too empty to compare
# Of AUC, by which a week may differ from usual ones; and where it or the one before has an occasion, on which
# customers buy together what they do not buy otherwise.
APART, AMID = 0.03, 0.05


@dataclass(frozen=True)
class Separable:
    """How well this week's customers can be told from last week's (AUC), and in usual weeks.

    rows: of each week, that were compared. by: columns, those that told most first. amid: the occasions of
    these two weeks. near: those for whose sake limits are wide, and columns left out by which the same days
    were told apart before.
    """

    now: float
    usual: tuple[float, ...]
    rows: int
    by: tuple[str, ...] = ()
    amid: tuple[str, ...] = ()
    near: tuple[str, ...] = ()

    @property
    def centre(self) -> float:
        """What is usual. Telling worse than by chance is no sign of anything."""
        return max(float(np.median(self.usual)), 0.5 - APART)

    @property
    def excess(self) -> float:
        """How much better than usual they are told apart, in limits."""
        most = max(abs(value - float(np.median(self.usual))) for value in self.usual)
        limit = max(AMID if self.amid else APART, 4 / self.rows**0.5, 2 * most)
        if self.near:  # this year it may do more than the one before, and to other features
            limit *= FIRST
        return float((self.now - self.centre) / limit)


@dataclass(frozen=True)
class Weeks:
    """The days of a release that can be compared. since: the first of them that has a day a week before.

    rows: days -> what the release reads of its members on each of them that is known, float32 [n, columns].
    columns: those whose relations are the same in usual weeks; [] until the first question. auc: of telling a
    day from the one a week before it by them, as far as it was asked.
    """

    since: int
    rows: Callable[[Sequence[int]], Mapping[int, Float32]]
    columns: list[int] = field(default_factory=list)
    auc: dict[int, float] = field(default_factory=dict)

    def compared(self, day: int, occasions: Occasions, names: Sequence[str] = ()) -> Separable | None:
        """What is to be said of a day, asked anew. names: of the columns. None: the weeks are too few."""
        weeks = [one for week in range(WEEKS + 1) if (one := day - 7 * week) >= self.since]
        self.auc.pop(day, None)
        if len(weeks) <= FEWEST or (today := self._ask(weeks, day)) is None:
            return None
        before = {one: self.auc[one] for one in weeks[1:] if np.isfinite(self.auc.get(one, np.nan))}
        during = amid(occasions, day - 13, day)
        usual = undisturbed(before, occasions)
        found = Separable(today.auc, usual, today.rows, _by(today, self.columns, names), during)
        if len(usual) < FEWEST or found.excess < 1:
            return found
        near = {name: one for name, one in alike(day, occasions) if one >= self.since}
        known = self.rows(sorted({day, day - 7, *(back for one in near.values() for back in (one, one - 7))}))
        left = self.columns
        for one in near.values():
            if one in known and one - 7 in known:
                before_it, it = known[one - 7][:, left], known[one][:, left]
                left = [left[place] for place in joint.steady(before_it, it, enough=0.5)]
        if near:
            again = joint.separable(known[day - 7][:, left], known[day][:, left])
            found = Separable(again.auc, usual, again.rows, _by(again, left, names), during, tuple(near))
        return found

    def _ask(self, days: Sequence[int], today: int) -> joint.Apart | None:
        """Of today; all days are known then that can be."""
        lacking = [day for day in days if day not in self.auc]
        fixing = () if self.columns else (days[min(2, len(days) - 1)],)
        known = self.rows(sorted({back for day in (*lacking, *fixing) for back in (day, day - 7)}))
        for day in fixing:
            self.columns[:] = joint.steady(known[day - 7], known[day])
        found: joint.Apart | None = None
        for day in lacking:
            if day in known and day - 7 in known:
                apart = joint.separable(known[day - 7][:, self.columns], known[day][:, self.columns])
                self.auc[day] = apart.auc
                found = apart if day == today else found
        return found if found is not None and np.isfinite(found.auc) else None


def _by(apart: joint.Apart, columns: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    order = np.argsort(-apart.gain)[:TELLING] if names else ()
    return tuple(names[columns[place]] for place in order if apart.gain[place] > 0)


def undisturbed(told: Mapping[int, float], occasions: Occasions) -> tuple[float, ...]:
    """Of weeks by their day those that no occasion touches; if these are too few, the half that is told apart
    least."""
    usual = tuple(value for day, value in told.items() if not any(touching(day, occasions)))
    return usual if len(usual) >= FEWEST else tuple(sorted(told.values())[: max(FEWEST, len(told) // 2)])


def touching(day: int, occasions: Occasions) -> Iterator[tuple[str, int, Sequence[Occasion]]]:
    """The occasions that a day is near: name, which of its times, all its times."""
    for name, times in occasions.items():
        for number, time in enumerate(times):
            if time.first - BEFORE <= day <= time.last + (BACK if time.kind in NEAR else LINGERS):
                yield name, number, times


def alike(day: int, occasions: Occasions) -> Iterator[tuple[str, int]]:
    """Of each occasion near a day: its name, and the same day of its time before; if it is the first of its
    kind and over, its own last day, by which it did most."""
    for name, number, times in touching(day, occasions):
        now = times[number]
        if number:
            before, over = times[number - 1], day - now.last
            within = min(before.last, before.first + day - now.first)
            yield name, before.last + over if over > 0 else within
        elif day > now.last:
            yield name, now.last


class _Kept(msgspec.Struct, frozen=True):
    """What is kept of telling weeks apart: by which columns, and how well, by the later week's day."""

    columns: tuple[int, ...]
    auc: dict[int, float]
    recipe: int = 0  # of telling them apart


def of_release(
    store: Store,
    build: Build,
    log: Log,
    shop: Shop,
    declared: Mapping[str, Feature],
    moment: datetime,
    names: Sequence[str],
    occasions: Occasions,
) -> Separable | None:
    """Today against a week ago, beside other weeks, which are kept from run to run; today is not: what is
    published may have been corrected since, or spoilt. None where the log has too few weeks."""
    path, today = store.folder / "separable.json", day_of(moment)
    kept = keeping.read(path, _Kept)
    if kept is None or kept.recipe != joint.RECIPE:
        kept = _Kept((), {}, joint.RECIPE)

    def rows(days: Sequence[int]) -> dict[int, Float32]:
        moments = [moment - (today - day) * DAY for day in days]
        tables = rows_of(build, log, shop, declared, [store], moments)
        return {day_of(one): matrix(store.model, table)[:, :-1] for one, table in tables}

    weeks = Weeks(day_of(log.starts_at) + YOUNGEST + 8, rows, [*kept.columns], kept.auc)
    found = weeks.compared(today, occasions, names)
    keeping.write(path, _Kept(tuple(weeks.columns), weeks.auc, joint.RECIPE))
    return found
