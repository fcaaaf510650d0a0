"""Passes that walk over each customer's events, moment by moment: maxima, modes, last values and gaps.

Events and shapes as in `kernel`. One pointer moves in order of `enter`, one a window in order of `at`
(`by_at`, positions; the same order when nothing was late).
"""

import numpy as np
from numpy.typing import NDArray

from features.compute.jit import jit
from features.compute.kernel import NOTHING, Float64, Int32, Int64


@jit
def _longest(offsets: Int64) -> int:
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    return longest


@jit
def maxima(
    offsets: Int64, enter: Int64, at: Int64, grid: Int64, windows: Int64, values: Int64, divisor: float
) -> Float64:  # fmt: skip
    """Largest of values [n] in each window over the divisor, NaN where there is none: [w, m, customers].

    A queue of candidates by leaving time, values falling: one that leaves sooner and is not larger than a
    later one can never be the maximum again. A late event is put in its place by leaving time. The first
    candidate that has not left a window (`heads`) is its maximum.
    """
    out = np.empty((len(windows), len(grid), len(offsets) - 1), np.float64)
    queue = np.zeros(_longest(offsets) + 1, np.int64)
    heads = np.zeros(len(windows), np.int64)
    for customer in range(len(offsets) - 1):
        entering, end, tail = offsets[customer], offsets[customer + 1], 0
        heads[:] = 0
        for m in range(len(grid)):
            while entering < end and enter[entering] <= grid[m]:
                value = values[entering]
                place = tail
                while value != NOTHING and place > 0 and at[queue[place - 1]] > at[entering]:
                    place -= 1
                if value != NOTHING and (place == tail or values[queue[place]] < value):
                    keep = place
                    while keep > 0 and values[queue[keep - 1]] <= value:
                        keep -= 1
                    if keep == place:  # nothing gives way: make room
                        for k in range(tail, place, -1):
                            queue[k] = queue[k - 1]
                        tail += 1
                    else:
                        for k in range(place, tail):
                            queue[keep + 1 + k - place] = queue[k]
                        tail -= place - keep - 1
                    queue[keep] = entering
                    for w in range(len(windows)):
                        heads[w] = min(heads[w], keep)
                entering += 1
            for w in range(len(windows)):
                head = heads[w]
                while head < tail and at[queue[head]] + windows[w] <= grid[m]:
                    head += 1
                heads[w] = head
                out[w, m, customer] = values[queue[head]] / divisor if head < tail else np.nan
    return out


@jit
def modes(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64, grid: Int64, windows: Int64, codes: Int32,
    levels: int,
) -> Int32:  # fmt: skip
    """Most frequent of codes [n] in each window, of several the smallest, -1: none. [w, m, customers]."""
    out = np.empty((len(windows), len(grid), len(offsets) - 1), np.int32)
    times = np.zeros(levels, np.int32)
    own = np.zeros(_longest(offsets), np.int32)  # this customer's different codes, ascending
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        number = 0
        for event in range(first, end):
            code = codes[event]
            if code >= 0 and times[code] == 0:
                times[code] = 1
                own[number] = code
                number += 1
        own[:number].sort()
        for w in range(len(windows)):
            window = windows[w]
            entering, leaving = first, first
            mode, stale = np.int32(-1), False
            for k in range(number):
                times[own[k]] = 0
            for m in range(len(grid)):
                moment = grid[m]
                while leaving < end and at[by_at[leaving]] + window <= moment:
                    code = codes[by_at[leaving]]
                    if by_at[leaving] < entering and code >= 0:
                        times[code] -= 1
                        stale = True
                    leaving += 1
                while entering < end and enter[entering] <= moment:
                    code = codes[entering]
                    if at[entering] + window > moment and code >= 0:
                        times[code] += 1
                        stale = True
                    entering += 1
                if stale:
                    mode, most, stale = np.int32(-1), np.int32(0), False
                    for k in range(number):
                        if times[own[k]] > most:
                            mode, most = own[k], times[own[k]]
                out[w, m, customer] = mode
        for k in range(number):
            times[own[k]] = 0
    return out


@jit
def lasts(
    offsets: Int64, enter: Int64, at: Int64, grid: Int64, windows: Int64, values: Float64
) -> Float64:  # fmt: skip
    """Value [n] of the event in each window that happened last, NaN (no value) left out: [w, m, customers].

    Of several that happened then, the one known last; of several known then, the largest. What happened
    last also leaves last, so that one event stands for every window.
    """
    out = np.full((len(windows), len(grid), len(offsets) - 1), np.nan)
    for customer in range(len(offsets) - 1):
        end = offsets[customer + 1]
        entering = offsets[customer]
        last = np.int64(-1)
        for m in range(len(grid)):
            while entering < end and enter[entering] <= grid[m]:
                if not np.isnan(values[entering]) and (
                    last < 0
                    or at[entering] > at[last]
                    or (
                        at[entering] == at[last]
                        and (enter[entering] > enter[last] or values[entering] > values[last])
                    )
                ):
                    last = entering
                entering += 1
            for w in range(len(windows)):
                if last >= 0 and at[last] + windows[w] > grid[m]:
                    out[w, m, customer] = values[last]
    return out


@jit
def gaps(
    offsets: Int64, enter: Int64, days: Int32, grid: Int64, matching: NDArray[np.bool_]
) -> Int64:  # fmt: skip
    """Of the gaps between successive different days known so far [5, m, customers]: number, sum, sum of
    squares, twice the median, longest. NOTHING: none.
    """
    out = np.full((5, len(grid), len(offsets) - 1), NOTHING, np.int64)
    longest = _longest(offsets)
    seen = np.zeros(longest + 1, np.int32)  # different days, ascending
    lengths = np.zeros(longest + 1, np.int32)  # between them, ascending
    for customer in range(len(offsets) - 1):
        end = offsets[customer + 1]
        entering = offsets[customer]
        number = 0
        gap_sum, gap_squares = 0, 0
        for m in range(len(grid)):
            while entering < end and enter[entering] <= grid[m]:
                if matching[entering]:
                    day = days[entering]
                    place = number
                    while place > 0 and seen[place - 1] >= day:
                        place -= 1
                    if place == number or seen[place] != day:
                        for k in range(number, place, -1):
                            seen[k] = seen[k - 1]
                        seen[place] = day
                        number += 1
                        if place == number - 1:
                            if number > 1:
                                gap = day - seen[number - 2]
                                k = number - 2
                                while k > 0 and lengths[k - 1] > gap:
                                    lengths[k] = lengths[k - 1]
                                    k -= 1
                                lengths[k] = gap
                                gap_sum += gap
                                gap_squares += gap * gap
                        else:  # a late day splits a gap: rare, so simply anew
                            gap_sum, gap_squares = 0, 0
                            for k in range(number - 1):
                                lengths[k] = seen[k + 1] - seen[k]
                                gap_sum += lengths[k]
                                gap_squares += lengths[k] * lengths[k]
                            lengths[: number - 1].sort()
                entering += 1
            known = number - 1
            if known > 0:
                out[0, m, customer], out[1, m, customer], out[2, m, customer] = known, gap_sum, gap_squares
                out[3, m, customer] = lengths[known // 2] + lengths[(known - 1) // 2]
                out[4, m, customer] = lengths[known - 1]
    return out
