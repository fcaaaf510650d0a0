"""Where outcomes of decisions come from, and whether that place knows them all.

The customer log knows the orders of everybody, whoever told of a decision; what was reported by decision is
what somebody took care to tell, and of whom nothing was told there was no order. So outcomes are those of the
log, unless there is none, or it lacks orders of these windows that were reported, and reports lack none that
it has. One that is taken all the same, and lacks many that the other has, compares nothing: its zeros are no
zeros.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from features.describe.say import words
from features.files import read_pointer
from features.log import Log
from features.moments import to_us
from features.settings import Settings
from features.words import Words
from serving.ledger_reports import Kept
from training.uplift_learners import Bools, Ints, Numbers

From = Literal["reported", "log"]
HARMS = ("opt_out", "complaint")
OUTCOMES = ("margin", "retention", *HARMS)
MISSED = 0.1  # of the orders of another place: a place that lacks more does not know them all
Told = Mapping[str, Sequence[Kept]]  # what was reported and counts, by decision


@dataclass(frozen=True)
class Windows:
    """Of n decisions: whose each is; when it was taken, its window ends and its outcome is final, in us [n];
    whom the holdout keeps from marketing [n]."""

    ids: Sequence[str]
    customers: Sequence[str]
    as_of: Ints
    end: Ints
    matures: Ints
    holdout: Bools


class Taken(NamedTuple):
    """outcomes: by name, the margin as if all of an order were [n]; NaN where not final. why: which place
    they are from, beside what the other has. lacking: that it lacks many orders, and what to do."""

    source: From
    outcomes: dict[str, Numbers]
    why: Words
    lacking: Words | None


def take(settings: Settings, windows: Windows, told: Told, asked: From | None) -> Taken:
    """Outcomes as known now, from the place that was asked for, or from the one that knows them.

    LogError if the log was asked for, and there is none.
    """
    now, log = to_us(settings.now()), _log(settings, asked)
    mature = windows.matures <= now
    final, of_all = mature, ~windows.holdout
    if log is not None:
        final = windows.matures <= min(now, to_us(log.complete_until))
    own = _in_log(log, windows, final & of_all) if log else 0, _told(windows, told, mature & of_all)
    both = own[0], _told(windows, told, final & of_all)  # of decisions that either has in full
    source = asked or ("log" if log and not (_lacks(*own) and not _lacks(*both[::-1])) else "reported")
    if source == "log":
        assert log is not None
        # A harm of which the log has no table is known from reports, if at all.
        outcomes = {**_harms(windows, told, mature), **_of_log(log, windows, final)}
        lacking = _lacks(*both)
    else:
        outcomes, lacking = _reported(windows, told, mature), log is not None and _lacks(*both[::-1])
    why = _why(source, asked is not None, own, log is not None)
    return Taken(source, outcomes, why, _lacking(source, *both) if lacking else None)


def _log(settings: Settings, asked: From | None) -> Log | None:
    """The log as it is known now; None without one, if it was not asked for."""
    if asked != "log" and read_pointer(settings.home / "log" / "CURRENT") is None:
        return None
    return Log.open(settings).known_by(settings.now())


def _lacks(some: int, others: int) -> bool:
    return some < (1 - MISSED) * others


def _why(source: From, asked: bool, own: tuple[int, int], log: bool) -> Words:
    as_asked = Words(", as asked", "（按指定）") if asked else Words("", "")
    if source == "log":
        return words(
            "Outcomes are taken from the customer log{asked}: it has {log} orders in the windows of final "
            "decisions; {told} were reported by decision",
            "结果取自客户日志{asked}：已成熟决策的窗口内有{log}笔订单；按决策上报的有{told}笔",
            asked=as_asked, log=f"{own[0]:,}", told=f"{own[1]:,}",
        )  # fmt: skip
    beside = words("the customer log has {log} there", "客户日志在其中有{log}笔", log=f"{own[0]:,}")
    return words(
        "Outcomes are those reported by decision{asked}: {told} orders in the windows of final decisions; "
        "{beside}",
        "结果取自按决策的上报{asked}：已成熟决策的窗口内有{told}笔订单；{beside}",
        asked=as_asked, told=f"{own[1]:,}",
        beside=beside if log else Words("there is no customer log", "没有客户日志"),
    )  # fmt: skip


def _lacking(source: From, log: int, told: int) -> Words:
    if source == "log":
        return words(
            "The customer log has {log} orders in the windows of decisions of which {told} were reported: it "
            "does not know them all, and its zeros are none. Bring the others into the log, or use what was "
            "reported (--outcomes reported)",
            "客户日志在决策窗口内有{log}笔订单，而上报的有{told}笔：日志并不完整，其中的零不可信。"
            "请补全日志，或改用上报的结果（--outcomes reported）",
            log=f"{log:,}", told=f"{told:,}",
        )  # fmt: skip
    return words(
        "{told} orders were reported of decisions in whose windows the customer log has {log}: not all were "
        "told, and of whom none was is no zero. Report the outcomes of every decision, or use the log "
        "(--outcomes log)",
        "决策窗口内上报了{told}笔订单，而客户日志有{log}笔：上报并不完整，未上报不等于没有订单。"
        "请上报每次决策的结果，或改用客户日志（--outcomes log）",
        log=f"{log:,}", told=f"{told:,}",
    )  # fmt: skip


def _reported(windows: Windows, told: Told, final: Bools) -> dict[str, Numbers]:
    """Outcomes by name; the margin as if all of an order were."""
    found = {name: np.zeros(len(final)) for name in OUTCOMES}
    for row, id in enumerate(windows.ids):
        for kept in told.get(id, ()):
            if kept.type == "order":
                found["margin"][row] += kept.value
                found["retention"][row] = 1.0
            elif kept.type in found:
                found[kept.type][row] = 1.0
    for name in HARMS:  # of which nobody ever tells, nothing is known
        if not found[name].any():
            del found[name]
    return {name: np.where(final, y, np.nan) for name, y in found.items()}


def _of_log(log: Log, windows: Windows, final: Bools) -> dict[str, Numbers]:
    """As `_reported`."""
    codes, who = _persons(log, windows)
    edges = windows.as_of, windows.end

    def within(table: str, columns: Sequence[str], keep: Any, value: Any) -> Numbers:
        """Sum of values of a customer's rows within each decision's window, [n]."""
        rows = [row for row in _rows(log, table, columns) if row["customer_id"] in codes and keep(row)]
        at = _keys(
            np.array([codes[row["customer_id"]] for row in rows], np.int64),
            np.array([to_us(row["at"]) for row in rows], np.int64),
        )
        order = np.argsort(at, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(np.array([value(row) for row in rows], float)[order])])
        places = (np.searchsorted(at[order], _keys(who, edge), side="left") for edge in edges)
        first, last = places
        return np.asarray(sums[last] - sums[first])

    orders = {row["order_id"]: row for row in _rows(log, "orders", ["order_id", "amount", "ref"])}
    net = {id: float(row["amount"]) for id, row in orders.items() if row["ref"] is None}
    for row in orders.values():  # what came back, whenever it did, takes from its order
        if row["ref"] in net:
            net[row["ref"]] = max(net[row["ref"]] + float(row["amount"]), 0.0)
    columns = ["order_id", "ref"]
    own = within("orders", columns, lambda r: r["ref"] is None, lambda r: net[r["order_id"]])
    count = within("orders", columns, lambda r: r["ref"] is None, lambda _: 1.0)
    found = {"margin": own, "retention": (count > 0).astype(float)}
    if "consents" in log.tables:
        left = within("consents", ["status"], lambda r: r["status"] == "withdrawn", lambda _: 1.0)
        found["opt_out"] = (left > 0).astype(float)
    if "cases" in log.tables:
        told = ("complaint", "opened")
        of = within("cases", ["kind", "change"], lambda r: (r["kind"], r["change"]) == told, lambda _: 1.0)
        found["complaint"] = (of > 0).astype(float)
    return {name: np.where(final, y, np.nan) for name, y in found.items()}


def _harms(windows: Windows, told: Told, final: Bools) -> dict[str, Numbers]:
    return {name: y for name, y in _reported(windows, told, final).items() if name in HARMS}


def _in_log(log: Log, windows: Windows, rows: Bools) -> int:
    """Orders of the log that lie in the window of one of these decisions, or of several, each once."""
    if not rows.any():
        return 0
    codes, who = _persons(log, windows)
    starts, ends = (np.sort(_keys(who[rows], edge[rows])) for edge in (windows.as_of, windows.end))
    bought = [r for r in _rows(log, "orders", ["ref"]) if r["ref"] is None and r["customer_id"] in codes]
    at = _keys(
        np.array([codes[row["customer_id"]] for row in bought], np.int64),
        np.array([to_us(row["at"]) for row in bought], np.int64),
    )
    # Of customers before this one all windows have begun and ended; of those after none has begun.
    begun, over = (np.searchsorted(edges, at, side="right") for edges in (starts, ends))
    return int((begun > over).sum())


def _told(windows: Windows, told: Told, rows: Bools) -> int:
    """Orders that were reported of these decisions; of several decisions of a customer, each once."""
    most: dict[tuple[str, datetime, float], int] = {}
    for row in np.flatnonzero(rows).tolist():
        who = windows.customers[row]
        same = Counter((who, of.at, of.value) for of in told.get(windows.ids[row], ()) if of.type == "order")
        for order, times in same.items():
            most[order] = max(most.get(order, 0), times)
    return sum(most.values())


def _persons(log: Log, windows: Windows) -> tuple[dict[str, int], Ints]:
    """Numbers of the persons that decisions are about, and whom each is about [n]."""
    merged = log.merges()
    now = dict(zip(merged["customer_id"].to_pylist(), merged["canonical_id"].to_pylist(), strict=True))
    codes = {id: code for code, id in enumerate(sorted({now.get(id, id) for id in windows.customers}))}
    return codes, np.array([codes[now.get(id, id)] for id in windows.customers], np.int64)


def _rows(log: Log, table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for batch in log.read(table, ["customer_id", "at", *columns]).to_batches():
        yield from batch.to_pylist()


def _keys(who: Ints, at: Ints) -> Ints:
    """Numbers that sort by customer, then time to the millisecond: 41 bits hold times until 2039."""
    return (who << np.int64(41)) + at // 1000
