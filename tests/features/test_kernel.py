"""The kernel against brute force, with many late events and close moments: what sliding windows get wrong."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.compute import kernel

Case = dict[str, Any]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Two customers; times are small integers, so that edges meet often; a third of the events is late."""
    offsets, spine = [0], [0]
    enter: list[int] = []
    at: list[int] = []
    moments: list[int] = []
    for _ in range(2):
        events = draw(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 0, 1, 4, 12])), max_size=12))
        for happened, known in sorted((a, a + late) for a, late in events):
            at.append(happened)
            enter.append(known)
        start = offsets[-1]
        order = sorted(range(start, len(at)), key=lambda i: (enter[i], at[i]))
        at[start:], enter[start:] = [at[i] for i in order], [enter[i] for i in order]
        moments += sorted(draw(st.sets(st.integers(0, 45), min_size=1, max_size=12)))
        offsets.append(len(at))
        spine.append(len(moments))
    n = len(at)
    column = st.lists(st.integers(-3, 9), min_size=n, max_size=n)
    return {
        "offsets": np.array(offsets, np.int64),
        "enter": np.array(enter, np.int64),
        "at": np.array(at, np.int64),
        "spine": np.array(spine, np.int64),
        "moments": np.array(moments, np.int64),
        "windows": np.array(draw(st.lists(st.integers(1, 20), min_size=1, max_size=2)), np.int64),
        "places": np.arange(len(moments)),
        "values": np.array([draw(column), draw(column)], np.int64).reshape(2, n),
    }


def by_at(case: Case) -> np.ndarray:
    code = np.repeat(np.arange(2), np.diff(case["offsets"]))
    return np.lexsort((case["at"], code)).astype(np.int64)


def windows(case: Case) -> Any:
    """Every (window number, row, positions of the events in it)."""
    for c in range(2):
        events = range(case["offsets"][c], case["offsets"][c + 1])
        for row in range(case["spine"][c], case["spine"][c + 1]):
            moment = case["moments"][row]
            for w, window in enumerate(case["windows"]):
                yield (
                    w,
                    row,
                    [e for e in events if case["enter"][e] <= moment and case["at"][e] > moment - window],
                )


names = ("offsets", "enter", "at", "spine", "moments", "places", "windows")
ONES = np.ones(2)


def edged(work: Any, *arguments: Any) -> np.ndarray:
    return np.asarray(work(*arguments[:8], *kernel.edges(*arguments[:8]), *arguments[8:]))


@settings(max_examples=200, deadline=None)
@given(cases())
def test_sums_maxima_and_distinct_equal_brute_force(case: Case) -> None:
    offsets, enter, at, spine, moments, places, spans = (case[n] for n in names)
    order, values = by_at(case), case["values"]
    codes = values.astype(np.int32)  # below 0: no code
    codes[codes < 0] = -1
    sums = edged(kernel.sums, offsets, enter, at, order, spine, moments, places, spans, values, ONES)
    maxima = kernel.maxima(offsets, enter, at, spine, moments, places, spans, values, ONES)
    distinct = kernel.distinct(offsets, enter, at, order, spine, moments, places, spans, codes, 10)
    for w, row, events in windows(case):
        for c in range(2):
            mine = [int(values[c, e]) for e in events]
            assert sums[w, c, row] == sum(mine)
            assert np.array_equal(maxima[w, c, row], max(mine, default=np.nan), equal_nan=True)
            assert distinct[w, c, row] == len({v for v in mine if v >= 0})


@settings(max_examples=200, deadline=None)
@given(cases(), st.data())
def test_history_equals_brute_force(case: Case, data: st.DataObject) -> None:
    offsets, enter, at, spine, moments, places, _ = (case[n] for n in names)
    n = len(at)
    matching = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    days = (at // 3).astype(np.int32)
    out = kernel.history(offsets, enter, at, days, spine, moments, places, matching)
    for c in range(2):
        for row in range(spine[c], spine[c + 1]):
            known = [e for e in range(offsets[c], offsets[c + 1]) if enter[e] <= moments[row] and matching[e]]
            gaps = np.diff(np.unique(days[known])).tolist()
            expected = [int(kernel.NOTHING)] * 7
            if known:
                expected[:2] = [int(at[known].max()), int(at[known].min())]
            if gaps:
                expected[2:5] = [len(gaps), sum(gaps), sum(g * g for g in gaps)]
                expected[5:] = [int(2 * np.median(gaps)), max(gaps)]
            assert out[:, row].tolist() == expected


@settings(max_examples=200, deadline=None)
@given(cases())
def test_modes_and_lasts_equal_brute_force(case: Case) -> None:
    """Else a preferred channel or the last score would be another event's."""
    offsets, enter, at, spine, moments, places, spans = (case[n] for n in names)
    codes = np.maximum(case["values"][0], -1).astype(np.int32)
    numbers = np.where(case["values"][1] < 0, np.nan, case["values"][1].astype(np.float64))
    modes = kernel.modes(offsets, enter, at, by_at(case), spine, moments, places, spans, codes, 10)
    lasts = kernel.lasts(offsets, enter, at, spine, moments, places, spans, numbers)
    for w, row, events in windows(case):
        mine = [int(codes[e]) for e in events if codes[e] >= 0]
        most = max((mine.count(v) for v in mine), default=0)
        assert modes[w, row] == min((v for v in mine if mine.count(v) == most), default=-1)
        found = [(at[e], enter[e], numbers[e]) for e in events if not np.isnan(numbers[e])]
        assert np.array_equal(lasts[w, row], max(found)[2] if found else np.nan, equal_nan=True)


def test_no_events_at_all_is_not_an_error() -> None:
    none, spine = np.zeros(0, np.int64), np.array([0, 1], np.int64)
    offsets, moments, spans = np.zeros(2, np.int64), np.array([5], np.int64), np.array([3], np.int64)
    values, places, one = np.zeros((1, 0), np.int64), np.zeros(1, np.int64), np.ones(1)
    assert (
        edged(kernel.sums, offsets, none, none, none, spine, moments, places, spans, values, one).item() == 0
    )
    assert np.isnan(kernel.maxima(offsets, none, none, spine, moments, places, spans, values, one).item())
    codes = values.astype(np.int32)
    assert kernel.distinct(offsets, none, none, none, spine, moments, places, spans, codes, 1).item() == 0
    assert kernel.modes(offsets, none, none, none, spine, moments, places, spans, codes[0], 1).item() == -1
    numbers = np.zeros(0, np.float64)
    assert np.isnan(kernel.lasts(offsets, none, none, spine, moments, places, spans, numbers).item())


@pytest.mark.parametrize("late", [0, 4])
def test_a_larger_late_event_does_not_hide_a_smaller_one_that_stays_longer(late: int) -> None:
    """Else the largest order of the last 30 days would be missing once a late, larger one has aged out."""
    at, enter = np.array([10, 8], np.int64), np.array([10, 8 + late], np.int64)
    order = np.argsort(enter, kind="stable")
    values = np.array([[1, 5]], np.int64)[:, order]
    moments = np.array([12, 19], np.int64)
    out = kernel.maxima(
        np.array([0, 2], np.int64),
        enter[order],
        at[order],
        np.array([0, 2], np.int64),
        moments,
        np.arange(2),
        np.array([10], np.int64),
        values,
        np.ones(1),
    )
    assert out[0, 0].tolist() == [5, 1]
