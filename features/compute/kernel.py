"""One pass over each customer's events: every window at every moment.

Events lie by customer (`offsets`, of a block of them), within a customer by the time they entered what is
known (`enter`). An event enters a window of w microseconds at `enter` and leaves it at `at + w`: it counts in
the rows (moments of the ascending `grid`) between, its `spans`. Counts, sums and distinct values are made of
these without a branch that depends on the data; the others move over the events, one pointer in order of
`enter`, one a window in order of `at` (`by_at`, positions; the same order when nothing was late).
All times are int64 microseconds; sums are exact int64.

Shapes: n events, m moments, w windows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.compute.jit import jit

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
UInt32 = NDArray[np.uint32]  # of an index with a sign, the kernel would look at the sign
Float64 = NDArray[np.float64]

FOREVER = np.int64(10**17)  # a window longer than any history, in microseconds
CELLS = 512  # of equal length, in which a time's row is looked up
NOTHING = np.iinfo(np.int64).min  # no event: no maximum, no last event


@jit
def ordered(code: Int32, enter: Int64, at: Int64) -> tuple[bool, bool]:
    """Whether events lie by customer and `enter` (then `at`); whether they then also lie by `at`."""
    happened = True
    for i in range(1, len(code)):
        if code[i] != code[i - 1]:
            if code[i] < code[i - 1]:
                return False, False
        elif enter[i] < enter[i - 1] or (enter[i] == enter[i - 1] and at[i] < at[i - 1]):
            return False, False
        elif at[i] < at[i - 1]:
            happened = False
    return True, happened


@jit
def shifted(at: Int64, starts: Int64, shifts: Int64) -> Int64:
    """Each time plus the shift in force then: shifts[k] from starts[k] on, ascending."""
    out = np.empty(len(at), np.int64)
    k = 0
    for i in range(len(at)):
        while k > 0 and at[i] < starts[k]:
            k -= 1
        while k + 1 < len(starts) and at[i] >= starts[k + 1]:
            k += 1
        out[i] = at[i] + shifts[k]
    return out


@jit
def _longest(offsets: Int64) -> int:
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    return longest


@jit
def spans(offsets: Int64, enter: Int64, at: Int64, grid: Int64, windows: Int64) -> UInt32:
    """The rows of the grid in which each event counts [1 + w, n]: the first that knows it, and for each
    window the first that it has left; the same row where it has left before it is known.
    """
    first, end = offsets[0], offsets[-1]
    out = np.empty((1 + len(windows), end - first), np.uint32)
    shift = 0  # 2**shift microseconds in a cell: few cells have a moment, and need a search
    while (grid[-1] - grid[0]) >> shift >= CELLS:
        shift += 1
    begin = np.searchsorted(grid, grid[0] + (np.arange(CELLS + 1) << shift)).astype(np.uint32)
    ends = np.append(grid, np.iinfo(np.int64).max)
    for event in range(first, end):
        known = _row(enter[event], ends, begin, shift)
        out[0, event - first] = known
        for w in range(len(windows)):
            out[1 + w, event - first] = max(known, _row(at[event] + windows[w], ends, begin, shift))
    return out


@jit
def _row(time: int, ends: Int64, begin: UInt32, shift: int) -> Any:
    """The first row whose moment is not before that time."""
    row = np.uint64(begin[min(max((time - ends[0]) >> shift, 0), CELLS)])
    while ends[row] < time:
        row += np.uint64(1)
    return row


@jit
def edges(offsets: Int64, spans: UInt32, moments: int) -> tuple[UInt32, NDArray[np.bool_]]:
    """Where the events end that are known at each moment, and those that have left each window
    [1 + w, m, customers]; whether events leave it in another order than they enter [1 + w, customers].
    """
    first, customers = offsets[0], len(offsets) - 1
    out = np.zeros((len(spans), moments + 1, customers), np.uint32)
    astray = np.zeros((len(spans), customers), np.bool_)
    for s in range(len(spans)):
        for k in range(customers):
            out[s, 0, k] = offsets[k] - first
            before = np.uint32(0)
            for event in range(offsets[k] - first, offsets[k + 1] - first):
                row = spans[s, event]
                out[s, row, k] += 1
                astray[s, k] |= row < before
                before = row
        for m in range(1, moments):
            for k in range(customers):
                out[s, m, k] += out[s, m - 1, k]
    return out, astray


@jit
def sums(
    offsets: Int64, spans: UInt32, edges: UInt32, astray: NDArray[np.bool_], which: Int64, values: Int64,
    divisor: float,
) -> Float64:  # fmt: skip
    """Sums of values [n] in `which` windows, exact in int64, then over the divisor: [which, m, customers].

    All that is known less all that has left: two places (`edges`) in the sums so far. Where events go astray,
    what they add and take away is collected row by row.
    """
    first, end, moments = offsets[0], offsets[-1], edges.shape[1] - 1
    out = np.empty((len(which), moments, len(offsets) - 1), np.float64)
    so_far = np.zeros(end - first + 1, np.int64)
    for event in range(first, end):
        so_far[event - first + 1] = so_far[event - first] + values[event]
    more = np.zeros(moments + 1, np.int64)
    for place in range(len(which)):
        w = 1 + which[place]
        for m in range(moments):
            for k in range(len(offsets) - 1):
                out[place, m, k] = so_far[edges[0, m, k]] - so_far[edges[w, m, k]]
        for customer in np.flatnonzero(astray[w]):
            more[:] = 0
            for event in range(offsets[customer], offsets[customer + 1]):
                more[spans[0, event - first]] += values[event]
                more[spans[w, event - first]] -= values[event]
            out[place, :, customer] = np.cumsum(more)[:-1]
    if divisor != 1:
        out /= divisor
    return out


@jit
def distinct(
    offsets: Int64, spans: UInt32, moments: int, which: Int64, codes: Int32, levels: int
) -> Float64:  # fmt: skip
    """Different codes [n] in `which` windows: [which, m, customers]. Codes are below `levels`; -1: none.

    A code counts in the union of its events' rows: each event adds those that none before has `reached`.
    """
    first, customers = offsets[0], len(offsets) - 1
    reached = np.zeros((levels, len(which)), np.uint32)  # counted on from customer to customer
    more = np.zeros((len(which), customers * (moments + 1)), np.int32)
    for k in range(customers):
        base = np.uint32(k * (moments + 1))
        for event in range(offsets[k] - first, offsets[k + 1] - first):
            code = codes[first + event]
            if code >= 0:
                known = base + spans[0, event]
                for place in range(len(which)):
                    begin = max(known, reached[code, place])
                    end = max(base + spans[1 + which[place], event], begin)
                    more[place, begin] += 1
                    more[place, end] -= 1
                    reached[code, place] = end
    out = np.empty((len(which), moments, customers), np.float64)
    for place in range(len(which)):
        for k in range(customers):
            number = 0
            for m in range(moments):
                number += more[place, k * (moments + 1) + m]
                out[place, m, k] = number
    return out


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
def times(offsets: Int64, spans: UInt32, at: Int64, moments: int, matching: NDArray[np.bool_]) -> Int64:
    """The last and the first `at` of all events known so far [2, m, customers]; NOTHING: none."""
    out = np.full((2, moments + 1, len(offsets) - 1), NOTHING, np.int64)
    for k in range(len(offsets) - 1):
        for event in range(offsets[k], offsets[k + 1]):
            if matching[event]:
                row = spans[0, event - offsets[0]]
                out[0, row, k] = max(out[0, row, k], at[event])
                out[1, row, k] = max(out[1, row, k], -at[event])
    for m in range(1, moments):
        out[:, m] = np.maximum(out[:, m], out[:, m - 1])
    out[1] = -out[1]  # NOTHING is its own negative
    return out[:, :moments]


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
