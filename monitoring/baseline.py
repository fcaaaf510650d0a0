"""What a daily figure should be, by its own past and the shop's calendar; and whether it is.

A figure is compared with its mean a few days ago, less what its weekday, and the same occasion a year ago,
moved it by: the *residual*. What is usual is learned from the figure's own quiet days, so that a figure that
jumps with every campaign must jump further than one that never moves. A day stands out where residuals of the
same sign are beyond the limit on two of three days, or one is far beyond; of what each day counts anew, also
where the last two or three are together. Days around an occasion allow for what it did before; of the first
of its kind nobody knows what it will do, so that limits are FIRST times as wide: a feed that stops, or
amounts in another unit, are still seen. While a figure stands out its old level stays the reference, for at
most FROZEN days: then it is what is normal now.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitoring.occasions import CLOSED, Occasions

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

LAG, TRAIL = 3, 7  # the reference: a week of days, of which the last is LAG days ago; FEWEST of them known
FEWEST = 4
WEEKS = 8  # quiet ones of the last OLDEST, of which a weekday's habit is the median
OLDEST = 26
HISTORY = 365  # days that limits are learned from
YOUNGEST = 56  # quiet days without which nothing is judged: cold start
# Days around an occasion on which figures move; then, as long as the reference holds its days, they may move
# back by as much as they moved.
BEFORE, AFTER, BACK = 3, 2, 12
LATER = (30, 90)  # windows of features, by which an occasion leaves them again
SAME = 0.7  # of what an occasion did before is expected of it now; the rest
WIDER = 0.6  # widens what is usual to that side, by that part of the most it did around that day
# Limits around the first occasion of its kind: a feast may halve orders or treble them, and another unit is a
# factor of a hundred. (A till that is down leaves none, which `moves` says is no sale's doing.)
FIRST = 4.0
# Days before and after on which that holds. A sale is waited for and talked of; a holiday is kept on its own.
NEAR = {"holiday": (1, 1), CLOSED: (0, 1)}
FROZEN = 21
# A figure's limit, in its own standard deviations: at least LEAST_Z, and above the second most unusual four
# weeks of its past by MARGIN: one fault in a year does not make blind for the next.
LEAST_Z, MARGIN, BLOCK = 5.0, 1.5, 28
# Where every day is counted anew, two days are two witnesses, and no one thing seen twice (of a window of 28
# days the second day is the first once more): each may say less, and the last two or three speak together, by
# the square root of how many they are. By chance alone each of these is once in three million days.
ANEW_Z = 3.5
# What stood out for at most BRIEF days in HABITS of a year's four weeks is how the figure is, and no fault.
BRIEF, HABITS = 3, 4
ALONE = 2.0  # beyond so many limits one day is enough


def keeping(occasions: Occasions) -> frozenset[int]:
    """The days (since 1970) around holidays, and those on which the shop is closed, on which it may do no
    business at all."""
    return frozenset(
        day
        for times in occasions.values()
        for one in times
        if one.kind in NEAR
        for day in range(one.first - NEAR[one.kind][0], one.last + NEAR[one.kind][1] + 1)
    )


@dataclass(frozen=True)
class Judged:
    """Of every day and figure, [days, figures].

    excess: how far it stands out, 1 is at the limit; negative: below what was expected; nan: not judged, as
    the past is too short. expected: in the figure's unit. wide: place of a day -> the occasions that come
    for the first time around it, for whose sake its limits are FIRST times as wide.
    """

    excess: Float64
    expected: Float64
    values: Float64
    wide: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def out(self) -> Bool:
        """Where a figure stands out."""
        return np.nan_to_num(np.abs(self.excess)) >= 1


def judge(
    values: Float64,
    first: int,
    least: Float64,
    occasions: Occasions,
    since: Int64,
    later: Sequence[int] = LATER,
    fresh: Bool | None = None,
    closed: Collection[int] = (),
    moves: Bool | None = None,
    anew: Bool | None = None,
) -> Judged:
    """Judge every day by what was known before it.

    values: float64 [days, figures], a row every day from `first` (whole days since 1970) on, nan where there
    is none; on a scale on which changes are comparable (logarithms of counts, shares, standard deviations).
    least: [figures] or [days, figures], changes below which nobody cares. since: [figures], the place of the
    day from which a figure means what it will (its window is full); it is judged from YOUNGEST days later on.
    later: days after an occasion on which it leaves the figures' windows; () of what is of one day only.
    fresh: [days, figures], False where a value is only an earlier day's once more: it says nothing new.
    closed: days (since 1970) on which the shop does no business: what is less is no news, nor learned from.
    moves: [figures] or [days, figures], False where no occasion is a reason to move: the first of its kind
    widens no limit. anew: [figures], True of counts of the day alone, which have no day before in them.
    """
    days, figures = values.shape
    least = np.broadcast_to(least, values.shape)
    fresh = np.ones(values.shape, bool) if fresh is None else fresh
    moves = np.broadcast_to(True if moves is None else moves, values.shape)
    anew = np.zeros(figures, bool) if anew is None else anew
    calendar = _calendar(days, first, occasions, later)
    # What nothing is learned from: days around an occasion, and those on which a figure stands out.
    unlearned = np.repeat(calendar.around[:, None], figures, axis=1)
    brief = np.zeros((days, figures), bool)  # days on which it stood out, and soon did not any more
    residual, usual = np.full((2, days, figures), np.nan)  # less the reference; and less the weekday's habit
    accepted = values.copy()
    over, excess, expected = np.full((3, days, figures), np.nan)  # over: in limits, of each day
    reference = np.full(figures, np.nan)
    standing = np.zeros(figures, np.int64)  # days for which a figure has stood out
    sigma = limit = np.full(figures, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):  # of days and figures without a value
        for day in range(LAG + TRAIL, days):
            window = accepted[day - LAG - TRAIL + 1 : day - LAG + 1]
            calm = (standing == 0) & (np.isfinite(window).sum(axis=0) >= FEWEST)
            reference = np.where(calm, _mean(window), reference)
            residual[day] = values[day] - reference
            habit = _habit(residual, unlearned, day)
            usual[day] = residual[day] - habit
            same, more, less = _before(usual, calendar, day)
            if later:  # what raised a window lowers it as it leaves
                more = less = np.maximum(more, less)
            expected[day] = reference + habit + same
            if day % 7 == 0 or np.isnan(limit).all():
                sigma, limit = _limits(usual, unlearned, brief, since, day, anew)
            # An occasion that does not do what it did before is no news: only what moves is.
            moved = usual[day] - np.clip(same, np.minimum(usual[day], 0), np.maximum(usual[day], 0))
            spread = np.sqrt(sigma**2 + (WIDER * np.where(moved < 0, less, more)) ** 2)
            far = moved / spread / np.maximum(limit, least[day] / spread)
            if day in calendar.first:
                far = np.where(moves[day], widened(far), far)
            if first + day in closed:
                shut = (usual[day] < 0) & (far <= -1)
                far[shut] = 0
                usual[day, shut] = accepted[day, shut] = np.nan
            over[day, fresh[day]] = far[fresh[day]]
            excess[day] = np.where(fresh[day], _excess(over[day - 2 : day + 1], anew), excess[day - 1])
            out = np.nan_to_num(np.abs(excess[day])) >= 1
            for length in range(1, BRIEF + 1):
                brief[day - length : day, ~out & (standing == length)] = True
            standing = np.where(out, standing + 1, 0)
            accepted[day, out] = np.nan
            if not later and day in calendar.during:
                accepted[day] = np.nan
            unlearned[day, out] = True
            normal = standing > FROZEN
            recent = slice(day - LAG - TRAIL, day + 1)
            accepted[recent, normal] = values[recent, normal]
            standing[normal] = 0
            unlearned[day - FROZEN : day + 1, normal] = calendar.around[day - FROZEN : day + 1, None]
    return Judged(excess, expected, values, calendar.first)


def widened(far: Float64) -> Float64:
    """In limits that are FIRST times as wide; what is beyond goes on in usual ones, so that it may page."""
    size = np.abs(far)
    return np.asarray(np.sign(far) * np.where(size <= FIRST, size / FIRST, size - FIRST + 1))


def _excess(over: Float64, anew: Bool) -> Float64:
    """[3, figures], of three days in limits -> [figures], nan where the last is not known. What only several
    days together say stands out, and no further."""
    known = np.nan_to_num(over)
    up, down = (
        np.maximum(_days(*np.maximum(side, 0)), np.where(anew, np.minimum(_pooled(*side), 1), 0))
        for side in (known, -known)
    )
    return np.where(np.isnan(over[-1]), np.nan, np.where(up >= down, up, -down))


def _days(first: Float64, second: Float64, last: Float64) -> Float64:
    """How far above 0 two of three days are, or the last is far: in what one of them is. None is below 0."""
    return np.asarray(np.maximum(_second(first, second, last), last / ALONE))


def _pooled(first: Float64, second: Float64, last: Float64) -> Float64:
    """The same of the last two or three together: chance makes a mean of them less than one."""
    two = second + last
    return np.asarray(np.maximum(two / 2, (first + two) / 6**0.5))


def _second(a: Float64, b: Float64, c: Float64) -> Float64:
    """The second largest of three."""
    return np.asarray(np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c)))


def _limits(
    usual: Float64, unlearned: Bool, brief: Bool, since: Int64, day: int, anew: Bool
) -> tuple[Float64, Float64]:
    """What is usual of each figure, and how many times that is too much; nan where it is too young."""
    start = max(0, day - HISTORY)
    place = np.arange(start, day - LAG)
    past = usual[start : day - LAG].copy()
    past[place[:, None] < since] = np.nan
    quiet = np.where(unlearned[place], np.nan, past)
    known = np.isfinite(quiet).sum(axis=0)
    sigma = np.maximum(1.4826 * _median(np.abs(quiet)), 1e-6)
    tops = _tops(quiet / sigma, anew)
    top = tops[-2] if len(tops) >= 6 else tops[-1]
    if len(tops) >= 6 and brief[place].any():
        all_of = _tops(np.where(unlearned[place] & ~brief[place], np.nan, past) / sigma, anew)
        top = np.maximum(top, all_of[-HABITS])
    limit = np.maximum(np.where(anew, ANEW_Z, LEAST_Z), MARGIN * top)
    return sigma, np.where(known >= YOUNGEST, limit, np.nan)


def _tops(z: Float64, anew: Bool) -> Float64:
    """[blocks, figures], ascending: of each four weeks the most that would have stood out."""
    z = np.nan_to_num(z)
    most = np.zeros_like(z)
    for side in (z, -z):
        above = np.maximum(side, 0)
        found = _days(above[:-2], above[1:-1], above[2:])
        if anew.any():
            found = np.maximum(found, np.where(anew, _pooled(side[:-2], side[1:-1], side[2:]), 0))
        most[2:] = np.maximum(most[2:], found)
    blocks = -(-len(most) // BLOCK)
    padded = np.vstack([np.zeros((blocks * BLOCK - len(most), most.shape[1])), most])
    return np.asarray(np.sort(padded.reshape(blocks, BLOCK, -1).max(axis=1), axis=0))


@dataclass(frozen=True)
class _Calendar:
    """Of every place, or day: whether it is around an occasion; those that are within one; which come around
    it for the first time, so that nothing can be expected; the places of the same days of the occasions
    before; and those of the occasion itself that may now be undone."""

    around: Bool
    during: Collection[int]
    first: Mapping[int, tuple[str, ...]]
    earlier: Mapping[int, Sequence[int]]
    undone: Mapping[int, Sequence[int]]


def _calendar(days: int, first: int, occasions: Occasions, windows: Sequence[int]) -> _Calendar:
    around = np.zeros(days, bool)
    during: set[int] = set()
    unknown: dict[int, list[str]] = {}
    earlier: dict[int, list[int]] = {}
    undone: dict[int, list[int]] = {}
    for name, times in occasions.items():
        for number, time in enumerate(times):
            start, length = time.first - first, time.last - time.first + 1
            during.update(range(start, start + length))
            later = (day for window in windows for day in range(window - 1, window + length + BACK))
            near = NEAR.get(time.kind, (BEFORE, AFTER))
            before = [other.first - first for other in times[:number]][-2:]
            for offset in (*range(-BEFORE, length + BACK), *later):
                place = start + offset
                if not 0 <= place < days:
                    continue
                known = [other + offset for other in before if YOUNGEST <= other + offset < place]
                earlier.setdefault(place, []).extend(known)
                if offset < length + BACK:
                    around[place] = True
                    if offset >= length + AFTER:
                        if not windows:
                            continue
                        undone.setdefault(place, []).extend(range(start - BEFORE, start + length + AFTER))
                    elif not known and -near[0] <= offset < length + near[1]:
                        unknown.setdefault(place, []).append(name)
    return _Calendar(around, during, {day: tuple(names) for day, names in unknown.items()}, earlier, undone)


def _before(usual: Float64, calendar: _Calendar, day: int) -> tuple[Float64, Float64, Float64]:
    """[figures]: what is expected for an occasion's sake, and the most that one raised and lowered around
    that day: what raised orders is no reason why they should be missing."""
    same, more, less = np.zeros((3, usual.shape[1]))
    for place in calendar.earlier.get(day, ()):
        here = SAME * np.nan_to_num(usual[place])
        same = np.where(np.abs(here) > np.abs(same), here, same)
        about = np.nan_to_num(usual[max(0, place - 2) : place + 3])
        more, less = np.maximum(more, about.max(axis=0)), np.maximum(less, -about.min(axis=0))
    for place in calendar.undone.get(day, ()):
        if 0 <= place < day:
            more = np.maximum(more, np.nan_to_num(np.abs(usual[place])))
    return same, more, less


def _habit(residual: Float64, unlearned: Bool, day: int) -> Float64:
    """[figures]: the median residual of the weekday, of its last WEEKS quiet days."""
    same = np.arange(day - 7, max(-1, day - 7 * OLDEST - 1), -7)
    past = np.where(unlearned[same], np.nan, residual[same])
    past[np.cumsum(np.isfinite(past), axis=0) > WEEKS] = np.nan
    return np.nan_to_num(_median(past))


def _mean(values: Float64) -> Float64:
    """Of each column's known values; nan without any."""
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0).sum(axis=0) / known.sum(axis=0))


def _median(values: Float64) -> Float64:
    """Of each column's known values; nan without any. numpy's own takes ten times as long."""
    known = np.isfinite(values).sum(axis=0)
    ordered = np.sort(values, axis=0)  # nan comes last
    low, high = np.maximum(known - 1, 0) // 2, np.maximum(known, 1) // 2
    columns = np.arange(values.shape[1])
    middle = (ordered[low, columns] + ordered[high, columns]) / 2
    return np.asarray(np.where(known > 0, middle, np.nan))
