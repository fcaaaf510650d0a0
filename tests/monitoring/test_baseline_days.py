"""What a day should be: of the past that says something, and of nothing else."""

import numpy as np
from numpy.typing import NDArray

from monitoring.baseline import FROZEN, Judged, judge
from monitoring.occasions import Occasion, Occasions

Matrix = NDArray[np.float64]
DAYS = 400
LEAST = np.array([0.1])


def noise(seed: int = 0) -> Matrix:
    """[days, 1]: a figure that lies within a tenth or two of 0."""
    return np.random.default_rng(seed).normal(0, 0.1, (DAYS, 1))


def judged(values: Matrix, occasions: Occasions = {}, **more: object) -> Judged:  # noqa: B006
    return judge(values, 0, LEAST, occasions, np.zeros(1, np.int64), **more)  # type: ignore[arg-type]


def test_a_step_stands_out_at_once_and_is_what_is_usual_after_three_weeks() -> None:
    """Else: an alert is missed, or stays on until somebody stops reading it."""
    values = noise()
    values[300:] += 1
    out = judged(values).out[:, 0]
    assert not out[:300].any()
    assert out[301 : 301 + FROZEN - 1].all()
    assert not out[301 + FROZEN + 3 :].any()


def test_the_one_quiet_day_among_occasions_is_no_weekdays_habit() -> None:
    """Else: after two months of holidays its chance is expected again, and the usual day stands out."""
    values = noise()
    busy = tuple(Occasion(day, day + 16) for day in range(240, 300, 30))
    values[271] = 3  # the only day of its weekday, of eight weeks, that is around no occasion
    of_weekday = [day for day in range(300, 360) if day % 7 == 271 % 7]
    found = judged(values, {"sale": busy})
    assert np.abs(found.expected[of_weekday]).max() < 0.5
    assert not found.out[310:].any()


def test_a_value_carried_on_is_no_second_day_of_it() -> None:
    """Else: one odd day of few rows, and a day without any, are two of three days."""
    values, fresh = noise(), np.ones((DAYS, 1), bool)
    values[300] = values[301] = 0.8  # beyond the limit, and not so far that one day is enough
    twice = judged(values).out[:, 0]
    fresh[301] = False
    once = judged(values, fresh=fresh)
    assert twice[301] and not twice[300]
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
