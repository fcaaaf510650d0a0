# ruff: noqa: E501  # sentences in two languages read best unbroken
"""What waits for somebody, by who owns it: complaints within 24 hours, decisions handed over, scenarios due."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from features import duck
from features.describe.say import words
from features.describe.sheets import Sheet
from features.inbox import Inbox
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving import due
from serving.actions import Action
from serving.actions import catalogue as action_catalogue
from serving.ledger import Ledger, exists

PROMISED = timedelta(hours=24)  # within which a complaint is to be settled
OPEN_LONG = 7 * DAY  # open for longer, a complaint is no matter of this morning: it is counted, not listed
HANDED = 7 * DAY  # decisions that are looked through; whoever waits longer is not served by a list
MOST = 20  # rows of a list

Owned = Literal["service", "staff", "marketing"]
OWNERS: dict[Owned, Words] = {
    "service": Words("customer service", "客服"),
    "staff": Words("store staff", "门店导购"),
    "marketing": Words("marketing", "营销"),
}
_DESKS: dict[str, Owned] = {"service_desk": "service", "phone": "service", "staff": "staff"}  # by channel


@dataclass(frozen=True)
class Case:
    """An open complaint. due: until when it was promised to be settled."""

    customer: str
    id: str
    opened: datetime
    reason: str | None

    @property
    def due(self) -> datetime:
        return self.opened + PROMISED


@dataclass(frozen=True)
class HandOver:
    """A decision that a person has to take."""

    customer: str
    decision: str
    action: Words
    channel: str | None
    why: Words
    until: datetime


class _Row(NamedTuple):
    """So many of something, and when the first of it is due."""

    owner: Owned
    what: Words
    number: int
    first: datetime | None


@dataclass(frozen=True)
class Waiting:
    """What waits; None: not known. summary: by owner; complaints, over: one by one; over: None without a
    ledger. recent: complaints of this morning, the first of them; the others have been open for long."""

    late: int | None
    soon: int | None
    handed: int | None
    summary: Sheet
    complaints: Sheet
    recent: int
    over: Sheet | None


def waiting(settings: Settings, log: Log) -> Waiting:
    """As known now."""
    shop, now = shop_of(settings), settings.now()
    actions = shop.read("ACTIONS", action_catalogue)
    rows: list[_Row] = []
    cases = _complaints(settings, log)
    late = soon = handed = None
    if cases is not None:
        late, soon = sum(one.due <= now for one in cases), sum(one.due > now for one in cases)
        first = min((one.due for one in cases if one.due > now), default=None)
        rows.append(
            _Row("service", Words("complaints due within 24 hours", "24小时内到期的投诉"), soon, first)
        )
        rows.append(_Row("service", Words("complaints open past 24 hours", "超24小时未结的投诉"), late, None))
    over = _handed(settings, actions)
    if over is not None:
        handed = len(over)
        for owner in OWNERS:
            own = [one.until for one in over if _desk(one.channel) == owner]
            if own:
                what = Words("decisions handed over to a person", "转人工的决策")
                rows.append(_Row(owner, what, len(own), min(own)))
    # Whoever waits for an answer to a complaint is counted above already.
    rows += [row for row, purpose in _due(settings, shop, actions) if purpose != "service" or cases is None]
    rows = [row for row in rows if row.number]
    summary = Sheet(
        Words("The queue, by owner", "待办（按负责人）"),
        (Words("owner", "负责人"), Words("what", "事项"), Words("number", "数量"), Words("first due", "最早到期")),
        tuple(
            (OWNERS[row.owner], row.what, row.number, _at(row.first, shop))
            for row in sorted(rows, key=lambda row: list(OWNERS).index(row.owner))
        ),
        right=(2, 3), note=_no_scenarios(settings, shop),
        empty=_no_scenarios(settings, shop) or Words("Nothing waits for anybody.", "没有待办事项。"),
    )  # fmt: skip
    return Waiting(
        late,
        soon,
        handed,
        summary,
        _NO_CASES if cases is None else _case_sheet(cases, now, shop),
        min(MOST, len(_recent(cases or [], now))),
        None if over is None else _hand_sheet(over, shop),
    )


def _complaints(settings: Settings, log: Log) -> list[Case] | None:
    """Open ones, due ones first, then the latest; None where nobody tells of cases."""
    fresh = list(_fresh(settings, log))
    if "cases" not in log.tables and not fresh:
        return None
    found: dict[str, Case] = {}
    closed = {body["case_id"] for body in fresh if body["change"] == "closed"}
    if "cases" in log.tables:
        now = settings.now().isoformat()
        files = ", ".join(f"'{path}'" for path in log.paths("cases"))
        with closing(duck.connect()) as db:
            rows = db.execute(
                f"""WITH cases AS (
                  SELECT * FROM read_parquet([{files}], hive_partitioning = false, union_by_name = true)
                  WHERE "at" <= '{now}'::TIMESTAMPTZ AND known_at <= '{now}'::TIMESTAMPTZ)
                SELECT customer_id, case_id, epoch_us("at"), reason FROM cases
                WHERE kind = 'complaint' AND change = 'opened'
                  AND case_id NOT IN (SELECT case_id FROM cases WHERE change = 'closed')"""
            ).fetchall()
        epoch = parse_moment("1970-01-01")
        for who, id, at, reason in rows:
            found[id] = Case(who, id, epoch + timedelta(microseconds=at), reason)
    for body in fresh:
        if body["kind"] == "complaint" and body["change"] == "opened":
            at = parse_moment(body["at"])
            found[body["case_id"]] = Case(body["customer_id"], body["case_id"], at, body.get("reason"))
    now_ = settings.now()
    left = [one for id, one in found.items() if id not in closed]
    return sorted(left, key=lambda one: (one.due <= now_, abs((one.due - now_).total_seconds()), one.id))


def _fresh(settings: Settings, log: Log) -> Iterator[Mapping[str, Any]]:
    """Rows of cases that came in since the log was made, until now."""
    with closing(Inbox(settings)) as inbox:
        some = list(inbox.customers(inbox.taken(log.fingerprint)))
        kept = inbox.rows(some, ("cases",)) if some else []
    for row in kept:
        if row.known_at <= settings.now():
            yield row.body


_CASES = Words("Complaints to settle", "待处理投诉")
_MOMENT = Words("due at", "到期时刻")  # for a list that is read later, or elsewhere, than the page
_CASE_HEAD = (
    Words("customer", "客户"), Words("case", "工单"), Words("due", "到期"), Words("reason", "原因"), _MOMENT,
)  # fmt: skip


_NO_CASES = Sheet(_CASES, _CASE_HEAD, (), empty=Words(
    "the log has no cases; map your complaints (`propensity ingest --tables cases`), or send them to /v1/events.",
    "日志中没有工单；请映射投诉数据（`propensity ingest --tables cases`），或发送至 /v1/events。",
))  # fmt: skip


def _recent(cases: list[Case], now: datetime) -> list[Case]:
    return [one for one in cases if now - one.opened <= OPEN_LONG]


def _case_sheet(cases: list[Case], now: datetime, shop: Shop) -> Sheet:
    """All of them; those that have been open for long come last."""
    recent = _recent(cases, now)
    rest = [one for one in cases if now - one.opened > OPEN_LONG]
    note = None
    if rest:
        note = words(
            "{n} more are open for longer than {days} days: settle and close them, or close what was settled.",
            "另有{n}件超过{days}天未结：请处理并结案，已处理的请补录结案。", n=len(rest), days=OPEN_LONG.days,
        )  # fmt: skip
    rows = tuple(
        (one.customer, one.id, _when(one.due, now), one.reason, _moment(one.due, shop))
        for one in (*recent, *rest)
    )
    return Sheet(
        _CASES, _CASE_HEAD, rows, note=note, empty=note or Words("no complaint is open.", "没有未结投诉。")
    )


class _Answer(msgspec.Struct):
    """What of an answer is read here; older ones lack some."""

    customer_id: str
    action: str
    channel: str | None
    valid_until: str | None = None
    route: str = "automatic"
    route_text: dict[str, str] | None = None


def _handed(settings: Settings, actions: dict[str, Action]) -> list[HandOver] | None:
    """Decisions of the last days that a person has to take, and nobody did; None without a ledger."""
    if not exists(settings):
        return None
    now, found = settings.now(), []
    decoder = msgspec.json.Decoder(_Answer)
    with closing(Ledger(settings)) as ledger:
        for entry in ledger.entries(since=now - HANDED, parts=True):
            if entry.channel is None or entry.sealed is None or entry.as_of > now:
                continue
            said = decoder.decode(entry.sealed.answer)
            until = None if said.valid_until is None else parse_moment(said.valid_until)
            if said.route != "person" or until is None or until <= now or ledger.deliveries(entry.id):
                continue
            name = actions[said.action].words if said.action in actions else Words(said.action, said.action)
            text = said.route_text or {"en": "", "zh": ""}
            found.append(
                HandOver(said.customer_id, entry.id, name, said.channel, Words(text["en"], text["zh"]), until)
            )
    return sorted(found, key=lambda one: (one.until, one.decision))


def _hand_sheet(over: list[HandOver], shop: Shop) -> Sheet:
    head = (
        Words("customer", "客户"), Words("action", "动作"), Words("owner", "负责人"), Words("why a person", "转人工原因"),
        Words("until", "截止"), Words("decision", "决策编号"), _MOMENT,
    )  # fmt: skip
    rows = tuple(
        (
            one.customer,
            one.action,
            OWNERS[_desk(one.channel)],
            one.why,
            _at(one.until, shop),
            one.decision,
            _moment(one.until, shop),
        )
        for one in over
    )
    more = words("{n} in all.", "共{n}项。", n=len(over)) if len(over) > MOST else None
    return Sheet(
        Words("Decisions handed over", "转人工的决策"), head, rows, note=more,
        empty=words("No decision of the last {n} days waits for a person.", "近{n}天没有待人工处理的决策。",
                    n=HANDED.days),
    )  # fmt: skip


def _due(settings: Settings, shop: Shop, actions: dict[str, Action]) -> list[tuple[_Row, str]]:
    """A row a scenario that somebody is due for, and its purpose."""
    if not due.path(settings).exists():
        return []
    with due.opened(settings) as known:
        counts = known.counts(settings.now())
    found = []
    for scenario in shop.declared("SCENARIOS"):
        if scenario.name in counts:
            number, until = counts[scenario.name]
            owner = _owner_of([actions[name] for name in scenario.actions if name in actions])
            found.append((_Row(owner, scenario.words, number, until), scenario.purpose))
    return found


def _no_scenarios(settings: Settings, shop: Shop) -> Words | None:
    if not shop.declared("SCENARIOS"):
        return Words(
            "The shop declares no scenarios (birthdays, carts, silence): `serving/retail.py` has examples for "
            "shop.py.", "店铺未声明场景（生日、购物车、沉默等）：`serving/retail.py` 中有示例，可用于 shop.py。",
        )  # fmt: skip
    if not due.path(settings).exists():
        return Words(
            "Who is due for a scenario is not known: run `propensity due`.",
            "尚不知谁满足场景：请运行 `propensity due`。",
        )
    return None


def _owner_of(actions: list[Action]) -> Owned:
    """Whoever does most of it by hand; else marketing sends it."""
    desks = {_desk(one.channel) for one in actions}
    return "service" if "service" in desks else "staff" if "staff" in desks else "marketing"


def _desk(channel: str | None) -> Owned:
    return _DESKS.get(channel or "", "marketing")


def _at(moment: datetime | None, shop: Shop) -> str | None:
    """To the minute, in the shop's zone."""
    return None if moment is None else f"{moment.astimezone(shop.zone):%m-%d %H:%M}"


def _moment(moment: datetime, shop: Shop) -> str:
    """In full, for another program: ISO, in the shop's zone."""
    return moment.astimezone(shop.zone).isoformat(timespec="seconds")


def _when(moment: datetime, now: datetime) -> Words:
    """How long it is until then, or since."""
    hours = (moment - now).total_seconds() / 3600
    size = f"{abs(hours):.0f}" if abs(hours) < 48 else f"{abs(hours) / 24:.0f}"
    unit, zh = ("h", "小时") if abs(hours) < 48 else ("days", "天")
    if hours > 0:
        return Words(f"in {size} {unit}", f"{size}{zh}后")
    return Words(f"{size} {unit} late", f"已超{size}{zh}")
