"""What a segmentation learns: from what was known, the same of the same, and true where truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_orders import TRUTH, made_up, moment

from features.errors import NotEnoughData
from features.moments import DAY_US, to_us
from serving.purchases import BgNbd
from serving.segment_tables import BACK, TABLES
from serving.segmentation import Segmentation
from training.segmentation import Spans, came_back, learn, levels

LOST = BgNbd(0.8, 8.0, 0.8, 2.0)  # orders come faster than TRUTH's, and fewer of the customers stay


def values(orders, at: float) -> dict[str, np.ndarray]:
    """The features that a segmentation needs, of whoever had an order by then, by the slow way."""
    now = to_us(moment(at))
    known, columns = (
        orders.by(now),
        {n: [] for n in ("days_since_order", "gap_mean", "order_days_365d", "spend_365d", "tenure")},
    )
    for who in np.unique(known.customer):
        mine = known.customer == who
        us, days = np.sort(known.at[mine]), np.unique(known.day[mine])
        year = us > now - 365 * DAY_US
        columns["days_since_order"].append((now - us[-1]) / DAY_US)
        columns["tenure"].append((now - us[0]) / DAY_US)
        columns["gap_mean"].append(np.diff(days).mean() if len(days) > 1 else np.nan)
        columns["order_days_365d"].append(
            len(np.unique(known.day[mine][known.at[mine] > now - 365 * DAY_US]))
        )
        columns["spend_365d"].append(
            known.money[mine][known.at[mine] > now - 365 * DAY_US].sum() if year.any() else 0
        )
    return {name: np.array(column, np.float32) for name, column in columns.items()}


TABLES_OF_ORDERS = {
    n: t.within({"days_since_order", "gap_mean", "order_days_365d", "spend_365d", "tenure"})
    for n, t in TABLES.items()
}


def learnt(orders, at: float = 400):
    return learn(values(orders, at), Spans.of(orders, moment(at)), moment(at), int(at), TABLES_OF_ORDERS)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_who_is_alike_gets_the_same_score_and_who_is_better_no_lower_one(drawn, random):
    """Else: of two customers with one order each, chance makes one loyal."""
    figure = np.array(drawn, float)
    found = levels(figure)
    assert len(found.scores) == len(found.edges) + 1 <= len(set(drawn))
    scores = found.of(np.sort(figure))
    assert (np.diff(scores) >= 0).all()
    assert set(scores.tolist()) <= {1, 2, 3, 4, 5}
    assert levels(np.array(random.sample(drawn, len(drawn)), float)) == found


def test_fifths_are_fifths_where_figures_differ():
    scores = levels(np.arange(1_000.0)).of(np.arange(1_000.0))
    assert np.bincount(scores.astype(int))[1:].tolist() == [200] * 5


def test_a_silence_that_still_lasts_does_not_count_as_lost():
    """Else: of a young log, everyone of last month looks lost. By hand: one of four, then one of two."""
    left = np.repeat([3.0, 4.0, 9.0, 30.0], 25)
    over = np.repeat([True, False, True, False], 25)
    assert came_back(left, over, 20) == pytest.approx(1 - 3 / 4 * 1 / 2)
    assert came_back(left, over, 4) == pytest.approx(1 / 4)
    assert np.isnan(came_back(left, over, 31)), "nobody was watched for so long"
    assert np.isnan(came_back(left[:40], over[:40], 4)), "too few"


def test_nothing_that_came_or_was_known_later_is_learnt():
    """Else: cut points know the future that they are judged by."""
    orders = made_up(1_500, 500)
    before = learnt(orders)
    later = replace(orders, money=np.where(orders.at > to_us(moment(400)), 1e6, orders.money))
    assert learnt(later) == before == learnt(orders.by(to_us(moment(400))))
    late = replace(
        orders, known=np.where(np.arange(len(orders.at)) % 3 == 0, to_us(moment(450)), orders.known)
    )
    assert learnt(late) == learnt(late.by(to_us(moment(400)))) != before


def test_rows_in_another_order_are_learnt_the_same():
    orders = made_up(800, 500)
    place = np.random.default_rng(3).permutation(len(orders.at))
    assert learnt(orders.where(place)) == learnt(orders)


def test_whoever_is_told_to_be_gone_seldom_comes_back_and_regulars_do(monkeypatch):
    """Else: exit is a word. Customers whose truth is known are held to what was promised of them."""
    monkeypatch.setattr("value_orders.TRUTH", LOST)
    orders = made_up(6_000, 900, seed=4)
    file = learnt(orders, 500)
    assert file.gone.days[0] is None, "in this truth nobody is lost at the first order"
    assert None not in (*file.gone.days[1:], file.gone.gaps)
    model = Segmentation(None, file)  # type: ignore[arg-type]
    stage = model.segment(values(orders, 500)).stage
    who = np.unique(orders.by(to_us(moment(500))).customer)
    came = orders.ahead(to_us(moment(500)), file.horizon_days, to_us(moment(900)))[0][who] > 0
    rules = [entry.name for entry in file.tables["stage"].entries]
    back = {name: came[stage == place].mean() for place, name in enumerate(rules) if (stage == place).any()}
    assert back["gone"] < BACK
    assert back["gone"] < back["first"] < back["regular"]
    assert back["gone"] < back["again"] < back["regular"]
    assert back["regular"] > 0.6
    assert (stage == rules.index("gone")).mean() > 0.3


def test_who_comes_back_from_a_silence_is_what_the_truth_says():
    """Of gamma-distributed rates (1 + H / (alpha + t)) ** -r stay away; nobody is lost at the first order."""
    spans = Spans.of(made_up(8_000, 500), moment(500))
    first = spans.number == 1
    for silent in (30.0, 90.0, 150.0):
        truth = 1 - (1 + 200 / (TRUTH.alpha + silent)) ** -TRUTH.r
        back = came_back(spans.length[first] - silent, spans.over[first], 200)
        assert back == pytest.approx(truth, abs=0.04)


def test_too_few_buyers_are_refused_and_too_few_gaps_are_not_known():
    few = made_up(60, 500)
    with pytest.raises(
        NotEnoughData, match="49 customers had ordered|customers had ordered, and 50 are needed"
    ):
        learnt(made_up(40, 500))
    assert learnt(few).gone.gaps is None


def test_high_is_the_upper_half_of_the_buyers_and_null_without_a_value_model():
    orders = made_up(500, 500)
    rows = values(orders, 400)
    bought = len(rows["tenure"])
    worth = np.arange(float(bought))
    file = learn(rows, Spans.of(orders, moment(400)), moment(400), 400, TABLES_OF_ORDERS, worth, "7")
    assert file.potential == (bought - 1) // 2
    assert file.value_version == "7"
    assert (rows["spend_365d"] > file.present).mean() == pytest.approx(0.5, abs=0.01)
    assert learnt(orders).potential is None
