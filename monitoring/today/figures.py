"""The indicators of the last complete day, beside the same weekday of the weeks before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from features.describe.say import words
from features.log import Log
from features.settings import Settings
from features.words import Words
from monitoring import indicators
from monitoring.indicators import HEALTH, INDICATORS, Indicator
from serving.segment_tables import TIERS

_TIERS = [label.name for label in TIERS.labels]
WEEKS = 4  # of the same weekday, whose median is what is usual
SHOWN = 56  # days of the small line
FEW = 10  # a per cent of fewer says nothing: one more or less is more than ten
_WEEKDAYS = (
    Words("Monday", "周一"), Words("Tuesday", "周二"), Words("Wednesday", "周三"), Words("Thursday", "周四"),
    Words("Friday", "周五"), Words("Saturday", "周六"), Words("Sunday", "周日"),
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One indicator, or a segment's health. value: of `day`; None: not told, and `why`.

    usual: the median of the same weekday; None with fewer than two weeks. line: the last SHOWN days, oldest
    first, NaN where nothing can be said. unusual: what the monitoring says of it.
    """

    indicator: Indicator
    segment: str
    day: date
    value: float | None
    usual: float | None
    line: NDArray[np.float64]
    why: Words | None = None
    unusual: Words | None = None


def figures(settings: Settings, log: Log, unusual: Mapping[str, Words]) -> list[Figure]:
    """Every indicator in its order, then health by segment. unusual: name -> what is said of it."""
    last = indicators.last_day(settings, log)
    # Snapshots of this morning speak of a day that the log does not have in full yet.
    end = last + timedelta(days=1)
    table, absent = indicators.told(settings, log, end - timedelta(days=SHOWN + 1), end)
    series = indicators.series(table)
    found = []
    for one in INDICATORS:
        days, values = series.get(one.name, (np.empty(0, "datetime64[D]"), np.empty(0)))
        found.append(_figure(one, "", last, days, values, absent.get(one.name), unusual.get(one.name)))
    for name in sorted((key for key in series if key.partition(":")[0] == HEALTH.name), key=_tier):
        days, values = series[name]
        day = days[-1].astype(object)
        segment = name.partition(":")[2]
        found.append(_figure(HEALTH, segment, day, days, values, None, unusual.get(name)))
    if HEALTH.name in absent:
        nothing = np.empty(0, "datetime64[D]"), np.empty(0)
        found.append(_figure(HEALTH, "", last, *nothing, absent[HEALTH.name], None))
    return found


def _tier(name: str) -> tuple[int, str]:
    """Everybody first, then the tiers in the order of their table."""
    segment = name.partition(":")[2]
    return (_TIERS.index(segment) if segment in _TIERS else len(_TIERS), segment) if segment else (-1, "")


def _figure(
    one: Indicator, segment: str, day: date, days: NDArray[np.datetime64], values: NDArray[np.float64],
    why: Words | None, unusual: Words | None,
) -> Figure:  # fmt: skip
    told = dict(zip(days.astype(object).tolist(), values.tolist(), strict=True))
    line = np.array([told.get(day - timedelta(days=back), np.nan) for back in range(SHOWN - 1, -1, -1)])
    if one is HEALTH:  # told at every snapshot, which need not be a week apart
        before = [value for at, value in told.items() if at < day][-1:]
        usual = before[0] if before else None
    else:
        same = [told[at] for week in range(1, WEEKS + 1) if (at := day - timedelta(days=7 * week)) in told]
        usual = float(np.median(same)) if len(same) > 1 else None
    value = told.get(day)
    if value is None and why is None:
        why = Words("nothing to count it by that day", "当日没有可供统计的数据")
    return Figure(one, segment, day, value, usual, line, why, unusual)


def weekday(day: date) -> Words:
    """Its name."""
    return _WEEKDAYS[day.weekday()]


def shown(one: Indicator, value: float, currency: str) -> str:
    """A value as it is read.

    >>> shown(indicators.named("repurchase"), 0.1234, "USD"), shown(indicators.named("orders"), 1234.0, "USD")
    ('12.3%', '1,234')
    >>> shown(indicators.named("orders"), 0.5, "USD")  # the median of none and one, which is not none
    '0.5'
    """
    match one.unit:
        case "share":
            return f"{value:.1%}" if value == 0 or abs(value) >= 0.01 else f"{value:.2%}"
        case "money":
            return f"{value:,.2f} {currency}" if abs(value) < 10_000 else f"{value:,.0f} {currency}"
        case "points":
            return f"{value:.1f}"
    return f"{value:,.1f}" if abs(value) < FEW and value % 1 else f"{value:,.0f}"


def against(figure: Figure) -> str | None:
    """How far from what is usual: `+4%`; points of a share, and of a score. None where nothing is usual, or
    so few that the two numbers say more."""
    if figure.value is None or figure.usual is None:
        return None
    difference = figure.value - figure.usual
    match figure.indicator.unit:
        case "share":
            said = f"{100 * difference:+.1f}"
            return "0.0 pp" if float(said) == 0 else f"{said} pp"
        case "points":
            said = f"{difference:+.1f}"
            return "0.0" if float(said) == 0 else said
    says = figure.usual > 0 if figure.indicator.unit == "money" else figure.usual >= FEW
    return f"{difference / figure.usual:+.0%}" if says else None


def usual(figure: Figure, currency: str) -> Words:
    """What it is compared with, in words."""
    if figure.usual is None:
        return Words("nothing to compare with yet", "尚无可比数据")
    value = shown(figure.indicator, figure.usual, currency)
    if figure.indicator is HEALTH:
        return words("before: {value}", "上次：{value}", value=value)
    return words("usual {day}: {value}", "{day}通常：{value}", day=weekday(figure.day), value=value)
