"""The kernel against brute force, with many late events and close moments: what sliding windows get wrong."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compute import kernel, walks

Case = dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two customers; times are small integers, so that edges meet often; a third of the events is late."""
    offsets = [0]
    enter: list[int] = []
    at: list[int] = []
    for _ in range(2):
        events = draw(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 0, 1, 4, 12])), max_size=12))
        for happened, known in sorted((a, a + late) for a, late in events):
            at.append(happened)
            enter.append(known)
        start = offsets[-1]
        order = sorted(range(start, len(at)), key=lambda i: (enter[i], at[i]))
        at[start:], enter[start:] = [at[i] for i in order], [enter[i] for i in order]
        offsets.append(len(at))
    n = len(at)
    column = st.lists(st.integers(-3, 9), min_size=n, max_size=n)
    return {
        "offsets": np.array(offsets, np.int64),
        "enter": np.array(enter, np.int64),
        "at": np.array(at, np.int64),
        "grid": np.array(sorted(draw(st.sets(st.integers(0, 45), min_size=1, max_size=12))), np.int64),
        "windows": np.array(draw(st.lists(st.integers(1, 20), min_size=1, max_size=2)), np.int64),
        "values": np.array([draw(column), draw(column)], np.int64).reshape(2, n),
    }


def by_at(case: Case) -> np.ndarray:
    code = np.repeat(np.arange(2), np.diff(case["offsets"]))
    return np.lexsort((case["at"], code)).astype(np.int64)


def windows(case: Case) -> Any:
    """Every (window number, moment number, customer, positions of the events in it)."""
    for c in range(2):
        events = range(case["offsets"][c], case["offsets"][c + 1])
        for m, moment in enumerate(case["grid"]):
            for w, window in enumerate(case["windows"]):
                inside = [e for e in events if case["enter"][e] <= moment and case["at"][e] > moment - window]
                yield w, m, c, inside


names = ("offsets", "enter", "at", "grid", "windows")


@settings(max_examples=200)
@given(cases(), st.booleans())
def test_sums_maxima_and_distinct_equal_brute_force(case: Case, last: bool) -> None:
    """last: only of the last window, which must not be taken for the first."""
    offsets, enter, at, grid, spans = (case[n] for n in names)
    which = np.arange(len(spans))[-1 if last else 0 :]
    rows = kernel.spans(offsets, enter, at, grid, spans)
    edges = kernel.edges(offsets, rows, len(grid))
    for values in case["values"]:
        codes = np.maximum(values, -1).astype(np.int32)  # below 0: no code
        sums = kernel.sums(offsets, rows, *edges, which, values, 1.0)
        maxima = walks.maxima(offsets, enter, at, grid, spans, values, 1.0)
        distinct = kernel.distinct(offsets, rows, len(grid), which, codes, 10)
        for w, m, c, events in windows(case):
            mine = [int(values[e]) for e in events]
            assert np.array_equal(maxima[w, m, c], max(mine, default=np.nan), equal_nan=True)
            if w >= which[0]:
                assert sums[w - which[0], m, c] == sum(mine)
                assert distinct[w - which[0], m, c] == len({v for v in mine if v >= 0})


@settings(max_examples=200)
@given(cases(), st.data())
def test_history_equals_brute_force(case: Case, data: st.DataObject) -> None:
    offsets, enter, at, grid, _ = (case[n] for n in names)
    n = len(at)
    matching = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    days = (at // 3).astype(np.int32)
    rows = kernel.spans(offsets, enter, at, grid, grid[:0])
    times = kernel.times(offsets, rows, at, len(grid), matching)
    found = walks.gaps(offsets, enter, days, grid, matching)
    for c in range(2):
        for m, moment in enumerate(grid):
            known = [e for e in range(offsets[c], offsets[c + 1]) if enter[e] <= moment and matching[e]]
            gaps = np.diff(np.unique(days[known])).tolist()
            expected = [int(kernel.NOTHING)] * 7
            if known:
                expected[:2] = [int(at[known].max()), int(at[known].min())]
            if gaps:
                expected[2:5] = [len(gaps), sum(gaps), sum(g * g for g in gaps)]
                expected[5:] = [int(2 * np.median(gaps)), max(gaps)]
            assert [*times[:, m, c].tolist(), *found[:, m, c].tolist()] == expected


@settings(max_examples=200)
@given(cases())
def test_modes_and_lasts_equal_brute_force(case: Case) -> None:
    """Else a preferred channel or the last score would be another event's."""
    offsets, enter, at, grid, spans = (case[n] for n in names)
    codes = np.maximum(case["values"][0], -1).astype(np.int32)
    numbers = np.where(case["values"][1] < 0, np.nan, case["values"][1].astype(np.float64))
    modes = walks.modes(offsets, enter, at, by_at(case), grid, spans, codes, 10)
    lasts = walks.lasts(offsets, enter, at, grid, spans, numbers)
    for w, m, c, events in windows(case):
        mine = [int(codes[e]) for e in events if codes[e] >= 0]
        most = max((mine.count(v) for v in mine), default=0)
        assert modes[w, m, c] == min((v for v in mine if mine.count(v) == most), default=-1)
        found = [(at[e], enter[e], numbers[e]) for e in events if not np.isnan(numbers[e])]
        assert np.array_equal(lasts[w, m, c], max(found)[2] if found else np.nan, equal_nan=True)


def test_no_events_at_all_is_not_an_error() -> None:
    none, offsets, grid, spans = np.zeros(0, np.int64), np.zeros(2, np.int64), np.array([5]), np.array([3])
    codes, numbers, which = none.astype(np.int32), none.astype(np.float64), np.zeros(1, np.int64)
    rows = kernel.spans(offsets, none, none, grid, spans)
    edges = kernel.edges(offsets, rows, 1)
    assert kernel.sums(offsets, rows, *edges, which, none, 1.0).item() == 0
    assert kernel.distinct(offsets, rows, 1, which, codes, 1).item() == 0
    assert np.isnan(walks.maxima(offsets, none, none, grid, spans, none, 1.0).item())
    assert walks.modes(offsets, none, none, none, grid, spans, codes, 1).item() == -1
    assert np.isnan(walks.lasts(offsets, none, none, grid, spans, numbers).item())


def test_a_time_is_found_among_moments_close_together_and_far_apart() -> None:
    """Else an event would count too early or too late where several moments share a cell of the look-up."""
    grid = np.array([10, 11, 12, 500_000, 900_000_000_000, 900_000_000_001], np.int64)
    times = np.sort(np.concatenate([grid - 1, grid, grid + 1, [-(10**16), 10**16]]))
    rows = kernel.spans(np.array([0, len(times)]), times, times, grid, np.array([kernel.FOREVER]))
    assert rows[0].tolist() == np.searchsorted(grid, times).tolist()
    assert set(rows[1].tolist()) == {len(grid)}


@pytest.mark.parametrize("late", [0, 4])
def test_a_larger_late_event_does_not_hide_a_smaller_one_that_stays_longer(late: int) -> None:
    """Else the largest order of the last 30 days would be missing once a late, larger one has aged out."""
    at, enter = np.array([10, 8], np.int64), np.array([10, 8 + late], np.int64)
    order = np.argsort(enter, kind="stable")
    values = np.array([1, 5], np.int64)[order]
    offsets, moments, spans = (
        np.array([0, 2], np.int64),
        np.array([12, 19], np.int64),
        np.array([10], np.int64),
    )
    out = walks.maxima(offsets, enter[order], at[order], moments, spans, values, 1.0)
    assert out[0, :, 0].tolist() == [5, 1]


def test_where_nothing_compiled_can_be_kept_features_are_computed_all_the_same() -> None:
    """Else a container whose file system is read-only cannot build, nor answer of a fresh event."""
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/proc/nowhere"}
    code = "from features.compute import expressions, kernel; print(type(expressions._divide).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["DUFunc"]
