"""One pass over each customer's events: every window at every moment.

Events lie by customer (`offsets`), within a customer by the time they entered what is known (`enter`).
An event enters a window of w microseconds at `enter` and leaves it at `at + w`. Pointers move over the
events, one in order of `enter`, one a window in order of `at` (`by_at`, positions; the same order when
nothing was late). At every moment first those leave that had entered by the moment before; then those enter
that have not left already. Moments lie by customer (`spine`), ascending: a dense grid or an irregular spine;
`places` says where a moment's results go. All times are int64 microseconds; sums are exact int64.

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


@_jit
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


@_jit
def _longest(offsets: Int64) -> int:
    longest = 0
    for customer in range(len(offsets) - 1):
        longest = max(longest, offsets[customer + 1] - offsets[customer])
    return longest


@_jit
def edges(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64,
) -> tuple[Int32, Int32, Int64]:  # fmt: skip
    """Where the events end that are known at each moment [r], in order of `enter`; where those begin that a
    window still holds, in order of `at` [w, r]; how late each customer's latest was known [customers].
    """
    known = np.empty(len(moments), np.int32)
    gone = np.empty((len(windows), len(moments)), np.int32)
    late = np.zeros(len(offsets) - 1, np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        for event in range(first, end):
            late[customer] = max(late[customer], enter[event] - at[event])
        edge = first
        for row in range(spine[customer], spine[customer + 1]):
            while edge < end and enter[edge] <= moments[row]:
                edge += 1
            known[places[row]] = edge
        for w in range(len(windows)):
            edge = first
            for row in range(spine[customer], spine[customer + 1]):
                while edge < end and at[by_at[edge]] + windows[w] <= moments[row]:
                    edge += 1
                gone[w, places[row]] = edge
    return known, gone, late


@_jit
def sums(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64, known: Int32, gone: Int32, late: Int64, values: Int64, divisors: Float64,
) -> Float64:  # fmt: skip
    """Sums of values [c, n] in each window, exact in int64, then over the column's divisor: [w, c, r].

    All that is known less all that is gone (`edges`): two prefix sums. Only where an event was known too
    late for a window, gone before it was known, they are followed one by one.
    """
    first, end = offsets[0], offsets[-1]
    out = np.empty((len(windows), len(values), len(moments)), np.float64)
    entered, left = np.zeros(end - first + 1, np.int64), np.zeros(end - first + 1, np.int64)
    for c in range(len(values)):
        total, total_left = np.int64(0), np.int64(0)
        for event in range(first, end):
            total += values[c, event]
            entered[event - first + 1] = total
            total_left += values[c, by_at[event]]
            left[event - first + 1] = total_left
        for w in range(len(windows)):
            if divisors[c] == 1:
                for place in range(len(moments)):
                    out[w, c, place] = entered[known[place] - first] - left[gone[w, place] - first]
            else:
                for place in range(len(moments)):
                    total = entered[known[place] - first] - left[gone[w, place] - first]
                    out[w, c, place] = total / divisors[c]
    for customer in range(len(offsets) - 1):
        for w in range(len(windows)):
            if late[customer] > windows[w]:
                for c in range(len(values)):
                    _followed(
                        offsets[customer], offsets[customer + 1], enter, at, by_at, spine[customer],
                        spine[customer + 1], moments, places, windows[w], values[c], divisors[c], out[w, c],
                    )  # fmt: skip
    return out


@_jit
def _followed(
    first: int, end: int, enter: Int64, at: Int64, by_at: Int64, start: int, stop: int, moments: Int64,
    places: Int64, window: int, values: Int64, divisor: float, out: Float64,
) -> None:  # fmt: skip
    """One customer's sums in one window, event by event."""
    entering, leaving, total = first, first, np.int64(0)
    for row in range(start, stop):
        moment = moments[row]
        while leaving < end and at[by_at[leaving]] + window <= moment:
            if by_at[leaving] < entering:
                total -= values[by_at[leaving]]
            leaving += 1
        while entering < end and enter[entering] <= moment:
            if at[entering] + window > moment:
                total += values[entering]
            entering += 1
        out[places[row]] = total / divisor


@_jit
def distinct(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64, codes: Int32, levels: int,
) -> Float64:  # fmt: skip
    """Different codes [c, n] in each window: [w, c, r]. Codes are below `levels`; -1 is left out.

    Of the events of one code only the latest stands for it: any window that holds another holds this one.
    """
    columns = len(codes)
    out = np.empty((len(windows), columns, len(moments)), np.float64)
    latest = np.full((columns, levels), -1, np.int64)  # of each code that is known
    stands = np.zeros((columns, _longest(offsets)), np.bool_)
    number = np.zeros((len(windows), columns), np.int64)
    leaving = np.zeros(len(windows), np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        entering = first
        leaving[:] = first
        number[:] = 0
        for row in range(spine[customer], spine[customer + 1]):
            moment = moments[row]
            for w in range(len(windows)):
                while leaving[w] < end and at[by_at[leaving[w]]] + windows[w] <= moment:
                    for c in range(columns):
                        number[w, c] -= stands[c, by_at[leaving[w]] - first]
                    leaving[w] += 1
            while entering < end and enter[entering] <= moment:
                for c in range(columns):
                    code = codes[c, entering]
                    if code < 0:
                        continue
                    before = latest[c, code]
                    if before >= 0:
                        if at[before] >= at[entering]:
                            continue
                        stands[c, before - first] = False
                        for w in range(len(windows)):
                            number[w, c] -= at[before] + windows[w] > moment
                    latest[c, code] = entering
                    stands[c, entering - first] = True
                    for w in range(len(windows)):
                        number[w, c] += at[entering] + windows[w] > moment
                entering += 1
            for w in range(len(windows)):
                for c in range(columns):
                    out[w, c, places[row]] = number[w, c]
        for event in range(first, entering):
            for c in range(columns):
                stands[c, event - first] = False
                if codes[c, event] >= 0:
                    latest[c, codes[c, event]] = -1
    return out


@_jit
def maxima(
    offsets: Int64, enter: Int64, at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64, values: Int64, divisors: Float64,
) -> Float64:  # fmt: skip
    """Largest of values [c, n] in each window over the column's divisor, NaN where there is none: [w, c, r].

    A queue of candidates by leaving time, values falling: one that leaves sooner and is not larger than a
    later one can never be the maximum again. A late event is put in its place by leaving time. The first
    candidate that has not left a window (`heads`) is its maximum.
    """
    columns = len(values)
    out = np.empty((len(windows), columns, len(moments)), np.float64)
    queue = np.zeros(_longest(offsets) + 1, np.int64)
    heads = np.zeros(len(windows), np.int64)
    for customer in range(len(offsets) - 1):
        first, end = offsets[customer], offsets[customer + 1]
        for c in range(columns):
            entering, tail = first, 0
            heads[:] = 0
            for row in range(spine[customer], spine[customer + 1]):
                moment = moments[row]
                while entering < end and enter[entering] <= moment:
                    value = values[c, entering]
                    place = tail
                    while value != NOTHING and place > 0 and at[queue[place - 1]] > at[entering]:
                        place -= 1
                    if value != NOTHING and (place == tail or values[c, queue[place]] < value):
                        keep = place
                        while keep > 0 and values[c, queue[keep - 1]] <= value:
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
                    while head < tail and at[queue[head]] + windows[w] <= moment:
                        head += 1
                    heads[w] = head
                    found = head < tail
                    out[w, c, places[row]] = values[c, queue[head]] / divisors[c] if found else np.nan
    return out


@_jit
def modes(
    offsets: Int64, enter: Int64, at: Int64, by_at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64, codes: Int32, levels: int,
) -> Int32:  # fmt: skip
    """Most frequent of codes [n] in each window, of several the smallest, -1 where there is none: [w, r]."""
    out = np.empty((len(windows), len(moments)), np.int32)
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
            for row in range(spine[customer], spine[customer + 1]):
                moment = moments[row]
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
                out[w, places[row]] = mode
        for k in range(number):
            times[own[k]] = 0
    return out


@_jit
def lasts(
    offsets: Int64, enter: Int64, at: Int64, spine: Int64, moments: Int64, places: Int64,
    windows: Int64, values: Float64,
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
                    out[w, places[row]] = values[last]
    return out


@_jit
def history(
    offsets: Int64, enter: Int64, at: Int64, days: Int32, spine: Int64, moments: Int64, places: Int64,
    matching: NDArray[np.bool_],
) -> Int64:  # fmt: skip
    """What is known of all events so far: [7, r] = last at, first at, and of the gaps between successive
    different days: number, sum, sum of squares, twice the median, longest. NOTHING where there is none.
    """
    out = np.full((7, len(moments)), NOTHING, np.int64)
    longest = _longest(offsets)
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
            place = places[row]
            out[0, place], out[1, place] = last, earliest
            known = number - 1
            if known > 0:
                out[2, place], out[3, place], out[4, place] = known, gap_sum, gap_squares
                out[5, place] = gaps[known // 2] + gaps[(known - 1) // 2]
                out[6, place] = gaps[known - 1]
    return out
