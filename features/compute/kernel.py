"""One pass over each customer's events: every window at every moment.

Events lie by customer (`offsets`, of a block of them), within a customer by the time they entered what is
known (`enter`). An event enters a window of w microseconds at `enter` and leaves it at `at + w`: it counts in
the rows (moments of the ascending `grid`) between, its `spans`. Counts, sums, distinct values and the first
and last time are made of these without a branch that depends on the data; what must move over the events is
in `walks`. All times are int64 microseconds; sums are exact int64.

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
