"""A small table that stops. If these fail, contacts, cases or new customers are missing unnoticed."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from logs import TODAY, empty_shop

from features.errors import SettingsError
from features.shop import Shop
from monitoring import panels
from monitoring.checks import CHECKS
from monitoring.evidence import ShopEvidence
from monitoring.measures import Reading
from monitoring.occasions import CLOSED, Occasion, Occasions
from monitoring.received import Figure, Received
from monitoring.routes import declared
from monitoring.stopped import stopped

FIRST, DAYS = 17_000, 400  # a Thursday
CHECK = next(one for one in CHECKS if one.name == "received")


def shop(cases: np.ndarray, occasions: Occasions | None = None, **more: np.ndarray) -> ShopEvidence:
    """So many rows of each table on each day."""
    tables = {"cases": cases, **more}
    rows = np.column_stack(list(tables.values())).astype(np.int64)
    figures = tuple(Figure(name, "rows") for name in tables)
    received = Received(FIRST, figures, np.log1p(rows), rows, np.ones(rows.shape, bool))
    panel = panels.of_received(received, occasions or {})
    return ShopEvidence(TODAY, panel, indicators=panel, absent={})


def cases(mean: float = 4.0, empty: int = 0, days: int = DAYS, seed: int = 1) -> np.ndarray:
    """About so many a day, and none on the last `empty` days."""
    came = np.random.default_rng(seed).poisson(mean, days)
    came[days - empty :] = 0
    if empty:
        came[-empty - 1] = max(1, came[-empty - 1])
    return came


def asked(of: ShopEvidence, table: str = "cases") -> Reading:
    return CHECK.measure((of, table))


def status(of: ShopEvidence, table: str = "cases") -> str:
    return CHECK.status(asked(of, table).value)


@pytest.mark.parametrize("empty", [6, 21, 60, 300])
@pytest.mark.parametrize("mean", [3.0, 9.0])
def test_a_small_table_that_brings_nothing_any_more_is_a_page_for_as_long_as_it_does(
    mean: float, empty: int
) -> None:
    """Else: cases reach nobody; and after weeks that is what is normal."""
    found = asked(of := shop(cases(mean, empty)))
    assert status(of) == "page"
    assert found.since == date.fromordinal(date(1970, 1, 1).toordinal() + FIRST + DAYS - empty)
    assert found.cause is not None
    assert f"the source stopped: {empty} days on end are empty, where before " in found.cause.en
    assert f"连续{empty}天没有数据" in found.cause.zh
    assert found.advice is not None
    assert 'ended = ["cases"]' in found.advice.en
    assert found.topic == "data cases"


def test_what_stops_together_is_one_fault() -> None:
    """Else: a source that is down is a message a table."""
    of = shop(cases(4, 30), surveys=cases(3, 30, seed=2), tags=cases(5, 200, seed=3))
    assert {asked(of, table).topic for table in ("cases", "surveys")} == {"data cases"}
    assert asked(of, "tags").topic == "data tags", "another day, another fault"


def test_a_table_that_the_shop_lives_on_and_that_stopped_long_ago_is_still_told() -> None:
    """Else: orders that stopped a month ago are what is normal."""
    of = shop(cases(), orders=cases(60, 40, seed=2))
    assert status(of, "orders") == "page"
    assert asked(of, "orders").since == date.fromordinal(719163 + FIRST + DAYS - 40)


def test_it_is_over_once_rows_come_again() -> None:
    """Else: whoever mended the source is told for good that it stands still."""
    came = cases(4, 30)
    came[-1] = 3
    assert stopped(shop(came).received) == {}


def judged_daily(came: np.ndarray, occasions: Occasions | None = None) -> list[int]:
    """The days on which it is told that the table stopped, judged day by day."""
    panel = shop(came, occasions).received
    return [day for day in range(60, len(came)) if stopped(panel.until(day))]


@pytest.mark.parametrize("seed", range(4))
def test_tables_that_are_empty_by_habit_are_none_that_stopped(seed: int) -> None:
    """Else: every pause between campaigns, every weekend and every quiet week calls somebody up at night."""
    random = np.random.default_rng(seed)
    bursts = np.zeros(DAYS, int)  # a campaign now and then: some days of contacts, then none for weeks
    day = 0
    while day < DAYS:
        bursts[day : day + random.integers(1, 4)] = 200
        day += random.integers(10, 30)
    weekdays = np.where(np.arange(DAYS) % 7 < 5, random.poisson(6, DAYS), 0)
    fading = random.poisson(5 * 0.99 ** np.arange(DAYS))
    for came in (random.poisson(0.5, DAYS), random.poisson(3, DAYS), bursts, weekdays, fading[:300]):
        assert judged_daily(came) == []


def test_a_table_of_weekdays_that_stops_is_told_within_a_week() -> None:
    """Else: its free weekends hide that it stopped."""
    came = np.where(np.arange(DAYS) % 7 < 5, 6, 0)
    came[350:] = 0  # the start of a week
    assert judged_daily(came)[0] in range(350, 357)


def closed(first: int, last: int) -> Occasions:
    return {"stocktaking": (Occasion(FIRST + first, FIRST + last, CLOSED),)}


@pytest.mark.parametrize("kind", [CLOSED, "holiday"])
def test_days_on_which_the_shop_may_do_no_business_do_not_count(kind: str) -> None:
    """Else: whoever closes for a fortnight, and said so, is called up on the fourth day of it."""
    came = cases(6)
    came[300:314] = 0
    named: Occasions = {"leave": (Occasion(FIRST + 300, FIRST + 313, kind),)}
    assert judged_daily(came)
    assert judged_daily(came, named) == []
    came[314:] = 0
    first = judged_daily(came, named)[0]
    assert 314 + 3 <= first <= 322, "after them it is told as ever"
    found = stopped(shop(came, named).received)["cases"]
    assert found.shift.since >= date.fromordinal(719163 + FIRST + 314), "since it should have brought some"


def test_a_table_that_ended_as_is_meant_is_declared_so(tmp_path: Path) -> None:
    """Else: a table that was given up pages every week, and keeps models from being trained again."""
    of = replace(shop(cases(4, 40)), ended=declared(_shop(tmp_path / "a", '["cases"]')).ended)
    assert status(of) == "ok"
    with pytest.raises(SettingsError, match=r"monitoring\.ended.*of the log's tables.*surveys"):
        declared(_shop(tmp_path / "b", '["casess"]'))


def _shop(folder: Path, ended: str) -> Shop:
    path = empty_shop(folder) / "shop.toml"
    path.write_text(f"{path.read_text('utf-8')}\n[monitoring]\nended = {ended}\n", "utf-8")
    return Shop.load(folder)


def test_a_young_table_is_not_judged() -> None:
    """Else: what was taken in once, on a few days, is a source that stopped."""
    came: Collection[int] = np.concatenate([np.zeros(300, int), cases(4, days=40), np.zeros(60, int)])
    assert stopped(shop(np.asarray(came)).received) == {}
