"""Histograms: what is counted is there, and counting in parts is counting once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from monitoring.histograms import BINS, Edges, Histograms, merged

VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, -1.0, float("nan"), float("inf"), -float("inf")]),
    st.floats(-1e6, 1e6, width=32),
)
COLUMN = st.lists(VALUES, min_size=1, max_size=60).map(lambda values: np.array(values, np.float32)[:, None])


def slow(edges: Edges, values: NDArray[np.float32]) -> list[int]:
    """The bins of one column, one value after another; then nulls, zeros, news."""
    upper = edges.upper[0, : edges.used[0]].tolist()
    bins, told = [0] * (BINS + 1), [0, 0, 0]
    for value in values[:, 0].tolist():
        if value != value:
            told[0] += 1
            continue
        told[1] += value == 0
        place = next((n for n, edge in enumerate(upper) if value <= edge), BINS)
        bins[place] += 1
        least = upper[0] if upper else float("inf")
        known = place < BINS and value >= least
        if known and edges.exact[0] and value not in upper:
            known = np.float32(upper[place]) - np.float32(upper[place - 1]) <= edges.step[0]
        told[2] += not known
    return bins + told


def fast(seen: Histograms) -> list[int]:
    return [*seen.counts[0].tolist(), int(seen.nulls[0]), int(seen.zeros[0]), int(seen.news[0])]


@given(COLUMN, COLUMN)
def test_a_value_is_counted_where_it_lies(
    reference: NDArray[np.float32], values: NDArray[np.float32]
) -> None:
    """Else: a shift of one bin is drift that nobody has, or hides what somebody has."""
    edges = Edges.of(reference)
    seen = edges.count(values)
    assert fast(seen) == slow(edges, values)
    assert seen.rows == len(values) == seen.counts.sum() + seen.nulls.sum()


@given(st.lists(COLUMN, min_size=1, max_size=4))
def test_parts_add_up_to_the_whole(parts: list[NDArray[np.float32]]) -> None:
    """Else: a shop that is counted in buckets of customers has other profiles than one counted at once."""
    edges = Edges.of(parts[0])
    whole, added = edges.count(np.concatenate(parts)), merged([edges.count(part) for part in parts])
    assert fast(whole) == fast(added)
    assert whole.rows == added.rows


def test_what_the_reference_says_of_itself_is_not_new() -> None:
    """Else: the training window itself has values that training never saw."""
    random = np.random.default_rng(0)
    reference = np.column_stack([random.normal(size=9000), random.poisson(3, 9000)]).astype(np.float32)
    edges = Edges.of(reference)
    assert edges.exact.tolist() == [False, True]
    seen = edges.count(reference)
    assert seen.news.tolist() == [0, 0]
    assert seen.counts[0, :BINS].max() <= 2 * len(reference) / BINS
    beyond = edges.count(np.array([[99.0, 2.5]], np.float32))
    assert beyond.news.tolist() == [1, 0]
    coded = Edges.of(reference, codes=[1])
    assert coded.count(reference).news.tolist() == [0, 0]
    assert coded.count(np.array([[0.0, 2.5]], np.float32)).news.tolist() == [0, 1]


def test_a_number_between_two_neighbours_is_nothing_new_and_a_code_is() -> None:
    """Else: days since a quarterly delivery, seen once a week in training, are new on six days of seven."""
    weekly = np.arange(3, 95, 7, dtype=np.float32)  # 3, 10, ... 94
    far = np.append(weekly, np.float32(200))
    reference = np.column_stack([far, far, np.array([0, 1, 4] * 5, np.float32)])
    edges = Edges.of(reference, codes=[1, 2])
    between = np.array([[50.0, 50.0, 2.0]], np.float32)
    assert edges.count(between).news.tolist() == [0, 1, 1]
    for value, new in ((2.0, 1), (3.0, 0), (94.0, 0), (95.0, 1), (199.0, 1), (200.0, 0), (201.0, 1)):
        seen = edges.count(np.full((1, 3), value, np.float32))
        assert seen.news[0] == new, f"{value}: beyond the extremes, or in a gap wider than any"


def test_days_that_training_saw_now_and_then_are_known_on_the_days_between() -> None:
    """Else: two days after each delivery, of which training saw no day before the fourth, all is new."""
    reference = np.random.default_rng(2).uniform(4, 88, (5000, 2)).astype(np.float32)
    edges = Edges.of(reference, slack={0: 7.0})
    assert edges.exact.tolist() == [False, False]
    for value, news in ((2.3, [0, 1]), (91.0, [0, 1]), (96.0, [1, 1]), (-4.0, [1, 1]), (50.0, [0, 0])):
        assert edges.count(np.full((1, 2), value, np.float32)).news.tolist() == news, value


def test_edges_survive_being_written_one_after_another() -> None:
    """Else: profiles of tomorrow are counted in other bins than those of today."""
    reference = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    reference[:, 1] = np.nan
    edges = Edges.of(reference)
    again = Edges.padded(np.concatenate([*edges.each()]), edges.used, edges.exact, edges.step, edges.slack)
    assert np.array_equal(again.upper, edges.upper)
