"""One alert, day by day: told when it begins, gets worse or goes on, over when it is quiet, else silent."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from math import nan

import pytest
from alerting import MONDAY, found
from hypothesis import example, given
from hypothesis import strategies as st

from monitoring.episodes import UNJUDGED, Ack, Episode, News, advance, having_told, to_tell

WEEK = timedelta(days=7)
Seen = (
    float | None
)  # value of a day with limit 1: from 2 on a page; nan: not to be judged; None: not looked at


class Alert:
    """One alert whose days pass. told: (day, news)."""

    def __init__(self, wants: tuple[int, int] = (1, 1), escalate: timedelta | None = None) -> None:
        self.wants, self.escalate = wants, escalate
        self.now: Episode | None = None
        self.over: list[Episode] = []
        self.told: list[tuple[int, News]] = []
        self.number = 0

    def day(self, value: Seen, silenced: bool = False) -> None:
        moment = MONDAY + timedelta(days=self.number)
        finding = None if value is None else found(value=value)
        self.now = advance(self.now, finding, moment, moment.date(), self.wants)
        if self.now and self.now.state == "resolved":
            self.over.append(self.now)
            self.now = None
        if self.now:
            news = to_tell(self.now, moment, silenced, WEEK, self.escalate)
            self.told += [(self.number, one) for one in news]
            self.now = having_told(self.now, news, moment, silenced)
        self.number += 1

    def days(self, *values: Seen) -> "list[tuple[int, News]]":
        for value in values:
            self.day(value)
        return self.told


def test_a_warning_is_told_once_however_long_it_goes_on() -> None:
    """Who hears of the same warning every day stops to read them, the next one too."""
    assert Alert().days(*[1.2] * 30) == [(0, "firing")]


def test_a_page_that_goes_on_is_told_again_after_a_week() -> None:
    """Else one that was overlooked on a Friday is never seen again."""
    assert Alert().days(*[2.5] * 16) == [(0, "firing"), (7, "reminder"), (14, "reminder")]


def test_nobody_is_reminded_of_a_page_on_a_day_that_is_none() -> None:
    """Else the run that finds all well says "still on" in the same minute, and wakes whoever is above."""
    assert Alert().days(*[2.5] * 7, 0.1, 2.5) == [(0, "firing"), (8, "reminder")]
    assert Alert(escalate=timedelta(days=1)).days(2.5, 0.1, 2.5) == [(0, "firing"), (2, "escalation")]
    assert Alert(escalate=timedelta(days=1)).days(2.5, 0.1, 0.1) == [(0, "firing")]


def test_what_gets_worse_is_told_again() -> None:
    assert Alert().days(1.2, 1.2, 2.5, 2.5) == [(0, "firing"), (2, "worse")]


def test_a_page_that_wavers_is_told_once() -> None:
    """A value around the page's limit must not page every second day."""
    assert Alert().days(2.1, 1.9, 2.1, 1.9, 2.1) == [(0, "firing")]


def test_a_page_that_was_a_warning_for_two_days_and_pages_anew_is_told() -> None:
    assert Alert().days(2.1, 1.9, 0.9, 2.1) == [(0, "firing"), (3, "worse")]


def test_it_is_over_after_two_days_below_seven_tenths_of_its_limit() -> None:
    """One quiet day in a week of trouble is no end, nor is a value just under the limit."""
    alert = Alert()
    alert.days(1.2, 0.6, 0.8, 0.6, 0.75)
    assert alert.now is not None
    alert.days(0.69, 0.1)
    assert alert.now is None
    assert [one.state for one in alert.over] == ["resolved"]
    assert alert.told == [(0, "firing")]


def test_runs_of_one_day_are_one_day() -> None:
    """Whoever runs it every hour would see it over within two."""
    alert = advance(None, found(value=1.2), MONDAY, MONDAY.date())
    tuesday = MONDAY.date() + timedelta(days=1)
    for hour in range(5):
        at = MONDAY + timedelta(days=1, hours=hour)
        alert = advance(alert, found(value=0.1), at, tuesday)
        assert alert is not None
        assert alert.state == "firing"


def test_a_check_may_want_two_days_of_three() -> None:
    alert = Alert(wants=(2, 3))
    assert alert.days(1.2, 0.1, 0.1, 0.1) == []
    assert alert.now is None, "it was not so again"
    assert alert.days(1.2, 0.1, 1.2) == [(6, "firing")]


@pytest.mark.parametrize("unjudged", [None, nan])
def test_days_without_a_verdict_neither_begin_nor_end_an_alert(unjudged: Seen) -> None:
    """While data are stale drift is not judged: that must not read as `over`."""
    alert = Alert()
    assert alert.days(unjudged) == []
    alert.days(1.2, 0.1, *[unjudged] * 5)
    assert alert.now is not None
    alert.days(0.1)
    assert alert.now is None


def test_what_is_judged_no_more_is_closed_in_the_end() -> None:
    """A model that was taken out of service must not stay on the list for ever."""
    alert = Alert()
    alert.days(2.5, *[None] * UNJUDGED)
    assert alert.now is None
    assert len(alert.over) == 1


def test_an_alert_of_a_version_that_was_replaced_is_closed_at_once() -> None:
    """Else: the model was trained again and released, and next morning the head of the department reads that
    nobody acknowledged that the old one is off, and to train it; a week later it is told once more."""
    alert = advance(None, found(value=2.5, version="1"), MONDAY, MONDAY.date())
    day = timedelta(days=1)
    same = advance(alert, found(value=nan, status="ok", version="1"), MONDAY + day, (MONDAY + day).date())
    assert same is not None
    assert same.state == "firing", "stale features are no new model"
    over = advance(alert, found(value=nan, status="ok", version="2"), MONDAY + day, (MONDAY + day).date())
    assert over is not None
    assert (over.state, over.unjudged) == ("resolved", True)
    worse = advance(alert, found(value=2.5, version="2"), MONDAY + day, (MONDAY + day).date())
    assert worse is not None
    assert worse.state == "firing", "the new one is as bad"


def test_a_value_that_cannot_be_computed_can_page_and_a_limit_that_is_none_clears() -> None:
    alert = advance(None, found(value=nan, limit=nan, status="page"), MONDAY, MONDAY.date())
    assert alert is not None
    assert alert.state == "firing"
    for n in (1, 2):
        at = MONDAY + timedelta(days=n)
        alert = advance(alert, found(value=0.0, limit=nan, status="ok"), at, at.date())
    assert alert is not None
    assert alert.state == "resolved"


def test_nobody_acknowledges_a_page_and_it_goes_further_once() -> None:
    alert = Alert(escalate=timedelta(days=2))
    assert alert.days(*[2.5] * 5) == [(0, "firing"), (2, "escalation")]
    acknowledged = Alert(escalate=timedelta(days=2))
    acknowledged.days(2.5)
    assert acknowledged.now is not None
    acknowledged.now = replace(acknowledged.now, ack=Ack(by="li", at=MONDAY))
    assert acknowledged.days(*[2.5] * 5) == [(0, "firing")]


def test_a_silenced_alert_is_told_when_the_silence_is_over() -> None:
    alert = Alert()
    for _ in range(3):
        alert.day(2.5, silenced=True)
    assert alert.told == []
    assert alert.days(2.5) == [(3, "firing")]


@pytest.mark.parametrize("value", [1.5, 2.5])
def test_what_was_told_before_a_silence_and_outlasts_it_is_told_once_when_it_ends(value: float) -> None:
    """Else: a warning that was silenced for a migration is forgotten with it."""
    alert = Alert()
    alert.day(value)
    for _ in range(3):
        alert.day(value, silenced=True)
    assert alert.days(value, value, value) == [(0, "firing"), (4, "reminder")]
    over = Alert()
    over.day(value)
    over.day(value, silenced=True)
    assert over.days(0.1, 0.1) == [(0, "firing")], "it may be over: the next run says"


VALUES = st.one_of(st.none(), st.sampled_from([nan, 0.0, 0.65, 0.7, 0.9, 1.0, 1.9, 2.0, 5.0]))
WANTS = st.sampled_from([(1, 1), (2, 3), (3, 3)])


@given(st.lists(st.tuples(VALUES, st.booleans()), max_size=40), WANTS)
@example([(2.0, False), (1.0, False), (1.0, False), (2.0, False)], (1, 1))
def test_whatever_the_days_bring(days: list[tuple[Seen, bool]], wants: tuple[int, int]) -> None:
    """Never the same told twice without a change; whatever fires is over when it has been quiet."""
    alert = Alert(wants)
    before: News | None = None  # what was last told of this episode
    hushed = False  # silenced since
    as_warning = False  # and whether as a warning, or it has been one since
    for value, silenced in days:
        told, over = len(alert.told), len(alert.over)
        was = alert.now
        alert.day(value, silenced)
        news = [one for _, one in alert.told[told:]]
        assert len(news) <= 1
        if silenced:
            assert not news
        if len(alert.over) > over or (alert.now is None):
            before, as_warning = None, False
        for one in news:
            assert alert.now is not None
            assert alert.now.state == "firing"
            if one == "firing":
                assert before is None, "told again without having been over"
            if one == "worse":
                assert before is not None
                assert as_warning
                assert alert.now.severity == "page"
            if one == "reminder":
                assert alert.now.severity == "page" or hushed
            before = one
        hushed = silenced or (hushed and not news)
        bad = value is not None and value >= 1
        if bad and wants == (1, 1):
            assert alert.now is not None
            assert alert.now.state == "firing"
            assert silenced or alert.now.told is not None, "nobody was told"
        if was is not None and was.state == "firing" and bad:
            assert alert.now is not None, "it ended on a bad day"
        if alert.now is not None and before is not None:
            as_warning = alert.now.severity == "warning" or (as_warning and not news)
    quiet = Alert(wants)
    quiet.now, quiet.number = alert.now, alert.number
    quiet.days(0.1, 0.1, 0.1)
    assert quiet.now is None, "it was quiet, and is not over"
    gone = Alert(wants)
    gone.now, gone.number = alert.now, alert.number
    gone.days(*[None] * UNJUDGED)
    assert gone.now is None


def test_an_alert_says_since_when_as_its_check_knows() -> None:
    alert = advance(None, found(since=date(2017, 12, 24)), MONDAY, MONDAY.date())
    assert alert is not None
    assert alert.since == date(2017, 12, 24)


def test_counted_news_name_each_day_once() -> None:
    alert = Alert()
    told = alert.days(1.2, 2.5, *[2.5] * 20)
    assert Counter(one for _, one in told) == {"firing": 1, "worse": 1, "reminder": 2}
