"""What a day should be: of the past that says something, and of nothing else."""

import numpy as np
from numpy.typing import NDArray

from monitoring.baseline import Judged, judge
from monitoring.occasions import Occasion, Occasions

Matrix = NDArray[np.float64]
DAYS = 400
LEAST = np.array([0.1])


def noise(seed: int = 0) -> Matrix:
    """[days, 1]: a figure that lies within a tenth or two of 0."""
    return np.random.default_rng(seed).normal(0, 0.1, (DAYS, 1))


def judged(values: Matrix, occasions: Occasions = {}, **more: object) -> Judged:  # noqa: B006
    return judge(values, 0, LEAST, occasions, np.zeros(1, np.int64), **more)  # type: ignore[arg-type]


def test_the_one_quiet_day_among_occasions_is_no_weekdays_habit() -> None:
    """Else: after two months of holidays its chance is expected again, and the usual day stands out."""
    values = noise()
    holidays = {"one": (Occasion(240, 255),), "two": (Occasion(278, 292),)}  # one quiet week is between
    values[271] = 0.45  # unusual, and not so much that it stands out
    found = judged(values, holidays)
    assert not found.out.any()
    assert abs(found.expected[306, 0]) < 0.2, "five weeks later, the first quiet day of its weekday again"


def test_what_stands_out_every_month_is_how_it_is() -> None:
    """Else: whatever a campaign does on its day is an alert, every month of every year."""
    values = np.vstack([noise(), noise(1)])
    values[210::30] += 3
    out = np.flatnonzero(judged(values).out)
    assert {210, 240} <= {*out.tolist()}
    assert out.max() < 360, "until it is known for a habit"
    values[700:702] -= 3
    assert judged(values).out[701, 0], "and two days of as much are still a fault"


def test_a_value_carried_on_is_no_second_day_of_it() -> None:
    """Else: one odd day of few rows, and a day without any, are two of three days."""
    values, fresh = noise(), np.ones((DAYS, 1), bool)
    values[300] = values[301] = 0.8  # beyond the limit, and not so far that one day is enough
    twice = judged(values).out[:, 0]
    fresh[301] = False
    once = judged(values, fresh=fresh)
    assert twice[300:302].tolist() == [False, True]
    assert not once.out.any()
    values[300] = values[301] = 3
    alone = judged(values, fresh=fresh)
    assert alone.out[300:302, 0].all(), "what stands out does so until something else is said"
    assert alone.excess[301] == alone.excess[300]


def test_what_is_of_one_day_is_not_wider_a_month_after_an_occasion() -> None:
    """Else: half of the orders may be missing in August, as June had a sale."""
    values = noise()
    sales = (Occasion(120, 122), Occasion(270, 272))
    for sale in sales:
        values[sale.first : sale.last + 1] += 4
    day = 270 + 29
    values[day : day + 2] -= 0.9
    assert judged(values, {"sale": sales}, later=()).out[day + 1, 0]
    windows = judged(values, {"sale": sales}).excess[day + 1, 0]
    assert abs(windows) < 1, "where a window of 30 days loses the sale, as much as it gave may be gone"


def test_what_an_occasion_raised_is_no_reason_to_miss_it() -> None:
    """Else: half of the orders may be missing amid a sale, as the sale before it doubled them."""
    values = noise()
    sales = {"sale": (Occasion(120, 129), Occasion(270, 279))}
    values[120:130] += 2
    values[270:280] += 2
    assert not judged(values, sales, later=()).out.any()
    values[276:278] = -1.2
    assert judged(values, sales, later=()).out[277, 0]
    values[276:278] = 3.2
    assert not judged(values, sales, later=()).out[277, 0], "it may be a better one"
