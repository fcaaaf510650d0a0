"""One pass over each customer's events: every window at every moment.

Events lie by customer (`offsets`), within a customer by the time they entered what is known (`enter`).
An event enters a window of w microseconds at `enter` and leaves it at `at + w`; one that became known after
that never was in it. Two pointers move over the events, one in order of `enter`, one in order of `at`
(`by_at`, positions; the same order when nothing was late). Moments lie by customer (`spine`), ascending:
a dense grid or an irregular spine. All times are int64 microseconds; all results are exact int64.

Shapes: n events, r rows (customer x moment), w windows, c columns computed side by side.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
Float64 = NDArray[np.float64]

FOREVER = np.int64(10**17)  # a window longer than any history, in microseconds
NOTHING = np.iinfo(np.int64).min  # no event: no maximum, no last event

_jit: Any = numba.njit(cache=True, nogil=True)


@_jit
def sums(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64,
    spine: Int64, moments: Int64, windows: Int64, values: Int64,
) -> Int64:  # fmt: skip
    """Sums of values [n, c] in each window: [w, c, r]."""
    columns = values.shape[1]
    out = np.zeros((len(windows), columns, len(moments)), np.int64)
    total = np.zeros(columns, np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        for w in range(len(windows)):
            window = windows[w]
            entering, leaving = first, first
            total[:] = 0
            for row in range(spine[customer], spine[customer + 1]):
                moment = moments[row]
                while entering < end and enter[entering] <= moment:
                    if enter[entering] < at[entering] + window:
                        for c in range(columns):
                            total[c] += values[entering, c]
                    entering += 1
                while leaving < end and at[by_at[leaving]] + window <= moment:
                    event = by_at[leaving]
                    if enter[event] < at[event] + window:
                        for c in range(columns):
                            total[c] -= values[event, c]
                    leaving += 1
                for c in range(columns):
                    out[w, c, row] = total[c]
    return out


@_jit
def distinct(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64,
    spine: Int64, moments: Int64, windows: Int64, codes: Int32,
) -> Int64:  # fmt: skip
    """Different codes [n, c] in each window, -1 left out: [w, c, r]."""
    columns = codes.shape[1]
    out = np.zeros((len(windows), columns, len(moments)), np.int64)
    times = np.zeros((columns, max(codes.max(), 0) + 1 if codes.size else 1), np.int32)
    number = np.zeros(columns, np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        for w in range(len(windows)):
            window = windows[w]
            entering, leaving = first, first
            number[:] = 0
            for event in range(first, end):
                for c in range(columns):
                    if codes[event, c] >= 0:
                        times[c, codes[event, c]] = 0
            for row in range(spine[customer], spine[customer + 1]):
                moment = moments[row]
                while entering < end and enter[entering] <= moment:
                    if enter[entering] < at[entering] + window:
                        for c in range(columns):
                            code = codes[entering, c]
                            if code >= 0:
                                if times[c, code] == 0:
                                    number[c] += 1
                                times[c, code] += 1
                    entering += 1
                while leaving < end and at[by_at[leaving]] + window <= moment:
                    event = by_at[leaving]
                    if enter[event] < at[event] + window:
                        for c in range(columns):
                            code = codes[event, c]
                            if code >= 0:
                                times[c, code] -= 1
                                if times[c, code] == 0:
                                    number[c] -= 1
                    leaving += 1
                for c in range(columns):
                    out[w, c, row] = number[c]
    return out


@_jit
def maxima(
    offsets: Int64, enter: Int64, at: Int64,
    spine: Int64, moments: Int64, windows: Int64, values: Int64,
) -> Int64:  # fmt: skip
    """Largest of values [n, c] in each window, NOTHING where there is none: [w, c, r].

    A queue of candidates by leaving time, values falling: one that leaves sooner and is not larger than a
    later one can never be the maximum again. A late event is put in its place by leaving time.
    """
    columns = values.shape[1]
    out = np.full((len(windows), columns, len(moments)), NOTHING, np.int64)
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    queue = np.zeros(longest + 1, np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        for w in range(len(windows)):
            window = windows[w]
            for c in range(columns):
                entering, head, tail = first, 0, 0
                for row in range(spine[customer], spine[customer + 1]):
                    moment = moments[row]
                    while entering < end and enter[entering] <= moment:
                        value = values[entering, c]
                        if value != NOTHING and enter[entering] < at[entering] + window:
                            place = tail
                            while place > head and at[queue[place - 1]] > at[entering]:
                                place -= 1
                            if place == tail or values[queue[place], c] < value:
                                keep = place
                                while keep > head and values[queue[keep - 1], c] <= value:
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
                        entering += 1
                    while head < tail and at[queue[head]] + window <= moment:
                        head += 1
                    if head < tail:
                        out[w, c, row] = values[queue[head], c]
                    if head == tail:
                        head, tail = 0, 0
    return out


@_jit
def modes(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64,
    spine: Int64, moments: Int64, windows: Int64, codes: Int32,
) -> Int32:  # fmt: skip
    """Most frequent of codes [n] in each window, the smallest of several, -1 where there is none: [w, r]."""
    out = np.full((len(windows), len(moments)), np.int32(-1))
    times = np.zeros(max(codes.max(), 0) + 1 if codes.size else 1, np.int32)
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    own = np.zeros(longest, np.int32)  # this customer's different codes, ascending
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
            for row in range(spine[customer], spine[customer + 1]):
                moment = moments[row]
                while entering < end and enter[entering] <= moment:
                    code = codes[entering]
                    if code >= 0 and enter[entering] < at[entering] + window:
                        times[code] += 1
                        stale = True
                    entering += 1
                while leaving < end and at[by_at[leaving]] + window <= moment:
                    event = by_at[leaving]
                    code = codes[event]
                    if code >= 0 and enter[event] < at[event] + window:
                        times[code] -= 1
                        stale = True
                    leaving += 1
                if stale:
                    mode, most, stale = np.int32(-1), np.int32(0), False
                    for k in range(number):
                        if times[own[k]] > most:
                            mode, most = own[k], times[own[k]]
                out[w, row] = mode
        for k in range(number):
            times[own[k]] = 0
    return out


@_jit
def lasts(
    offsets: Int64, enter: Int64, at: Int64,
    spine: Int64, moments: Int64, windows: Int64, values: Float64,
) -> Float64:  # fmt: skip
    """Value [n] of the event in each window that happened last, NaN (no value) left out: [w, r].

    Of several that happened then, the one known last; of several known then, the largest. What happened
    last also leaves last, so that one event stands for every window.
    """
    out = np.full((len(windows), len(moments)), np.nan)
    for customer in range(len(offsets) - 1):
        end = offsets[customer + 1]
        entering = offsets[customer]
        last = np.int64(-1)
        for row in range(spine[customer], spine[customer + 1]):
            while entering < end and enter[entering] <= moments[row]:
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
                if last >= 0 and at[last] + windows[w] > moments[row]:
                    out[w, row] = values[last]
    return out


@_jit
def history(
    offsets: Int64, enter: Int64, at: Int64, days: Int32,
    spine: Int64, moments: Int64, matching: NDArray[np.bool_],
) -> Int64:  # fmt: skip
    """What is known of all events so far: [7, r] = last at, first at, and of the gaps between successive
    different days: number, sum, sum of squares, twice the median, longest. NOTHING where there is none.
    """
    out = np.full((7, len(moments)), NOTHING, np.int64)
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    seen = np.zeros(longest + 1, np.int32)  # different days, ascending
    gaps = np.zeros(longest + 1, np.int32)  # between them, ascending
    for customer in range(len(offsets) - 1):
        end = offsets[customer + 1]
        entering = offsets[customer]
        number = 0
        last, earliest = NOTHING, NOTHING
        gap_sum, gap_squares = 0, 0
        for row in range(spine[customer], spine[customer + 1]):
            while entering < end and enter[entering] <= moments[row]:
                if matching[entering]:
                    if last == NOTHING or at[entering] > last:
                        last = at[entering]
                    if earliest == NOTHING or at[entering] < earliest:
                        earliest = at[entering]
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
                                while k > 0 and gaps[k - 1] > gap:
                                    gaps[k] = gaps[k - 1]
                                    k -= 1
                                gaps[k] = gap
                                gap_sum += gap
                                gap_squares += gap * gap
                        else:  # a late day splits a gap: rare, so simply anew
                            gap_sum, gap_squares = 0, 0
                            for k in range(number - 1):
                                gaps[k] = seen[k + 1] - seen[k]
                                gap_sum += gaps[k]
                                gap_squares += gaps[k] * gaps[k]
                            gaps[: number - 1].sort()
                entering += 1
            out[0, row], out[1, row] = last, earliest
            known = number - 1
            if known > 0:
                out[2, row], out[3, row], out[4, row] = known, gap_sum, gap_squares
                out[5, row] = gaps[known // 2] + gaps[(known - 1) // 2]
                out[6, row] = gaps[known - 1]
    return out
