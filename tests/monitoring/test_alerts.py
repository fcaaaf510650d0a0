"""From findings to messages that arrive: one a fault, to whoever acts, once, whatever fails in between."""

import fcntl
import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
import termios
from contextlib import closing, suppress
from dataclasses import replace
from datetime import date, timedelta
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alerting import (
    MONDAY,
    SECRET,
    WEBHOOK,
    Days,
    SignedHttp,
    came,
    found,
    metrics,
    said,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from rich.cells import cell_len

from features.errors import SettingsError
from features.moments import iso
from features.shop import shop_of
from features.words import Words
from monitoring import alerts, messages
from monitoring.asked import finding as finding_of
from monitoring.checks import Check, Reading
from monitoring.findings import Contributor, Finding, joined
from monitoring.messages import Telling
from monitoring.routes import declared

OUTAGE = "outage orders"


def test_a_page_arrives_with_all_that_is_needed_to_act(days: Days, hook: SignedHttp) -> None:
    """Within a minute: what, how much, since when, why, what most of it is, what to do, where to read on."""
    page = found(
        value=2.5, owner="data", topic=OUTAGE, since=date(2017, 12, 30), cause=Words("no orders", "无订单"),
        advice=Words("ask the source", "联系数据源"),
        contributors=[("a", 1.5), ("b", 9.0), ("c", nan), ("d", 4.0), ("e", 2.0)],
    )  # fmt: skip
    days.day(page, report="/srv/home/reports/20180101T060000Z/report.html")
    (body,) = hook.bodies()
    assert len(body.pop("id")) == 32
    assert len(body.pop("sequence")) == 20
    assert body == {
        "specversion": "1.0", "source": "/propensity/Complete%20Journey",
        "type": "com.propensity.monitoring.alert", "subject": OUTAGE, "time": "2018-01-01T06:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "kind": "firing", "severity": "page", "topic": OUTAGE, "shop": "Complete Journey",
            "as_of": "2018-01-01T01:00:00-05:00",
            "title": {"en": "[PAGE] churn_28d: features is at 2.5", "zh": "【告警】churn_28d：features为2.5"},
            "owner": "data", "owner_name": "Data team", "since": "2017-12-30",
            "alerts": [{
                "alert": "churn_28d|features", "subject": "churn_28d", "check": "features", "news": "firing",
                "severity": "page", "words": {"en": "features is at 2.5", "zh": "features为2.5"},
                "value": 2.5, "limit": 1.0, "since": "2017-12-30", "acknowledged_by": "", "stage": "",
                "of": "release", "warns": 1.0, "pages": None, "ranks_only": False,
            }],
            "more": 0, "going_on": 0, "cause": {"en": "no orders", "zh": "无订单"},
            "contributors": [
                {"name": name, "words": {"en": "", "zh": ""}, "excess": excess}
                for name, excess in (("b", 9.0), ("d", 4.0), ("e", 2.0))
            ],
            "action": {"en": "ask the source", "zh": "联系数据源"},
            "acknowledge": "propensity monitor ack 'churn_28d|features'",
            "runbook": "propensity monitor runbook features",
            "report": "https://ops.example.com/reports/20180101T060000Z/report.html",
        },
    }  # fmt: skip
    assert hook.came[0][1]["content-type"].startswith("application/cloudevents+json")


@pytest.mark.parametrize("value", [12.0, 6.0])
def test_a_message_says_from_where_on_it_warns_and_is_urgent(
    days: Days, hook: SignedHttp, value: float
) -> None:
    """Else: four times its limit is a page in the one message and a warning in the other."""
    check = Check(
        name="cold_chain", words=Words("cold", "冷"), warning=3, page=10, reason="of the law",
        measure=lambda _: Reading(value, Words("warm boxes", "温箱")),
    )  # fmt: skip
    finding = finding_of(check, "log", check.measure(None))
    taken = days.day(finding)
    (told,) = (msgspec.convert(json.loads(one.body)["data"], Telling) for one in taken.messages)
    assert f"how much: {value:g}; a warning from 3; urgent from 10\n" in messages.text(told, ["en"])
    assert f"程度：{value:g}；3起警告；10起紧急\n" in messages.text(told, ["zh"])
    usable = "may be wrong until this is mended" if value > 10 else "can be used"
    assert f"scores: {usable}" in messages.text(told, ["en"])
    assert finding.limit == 3, "it clears by the first"


def test_an_outage_of_three_models_and_sixty_columns_is_one_message_the_worst_first(
    days: Days, hook: SignedHttp
) -> None:
    """Sixty messages are read by nobody, and the one that matters is among them."""
    outage = [found(f"column_{n}", "nulls", 1 + n / 100, topic=OUTAGE, owner="data") for n in range(60)]
    outage += [found(name, "features", 2 + n, topic=OUTAGE) for n, name in enumerate(("a", "b", "c"))]
    taken = days.day(*outage, found("orders", "indicators", 3.0, topic="orders", owner="operations"))
    assert [(kind, topic) for kind, topic, _ in said(taken)] == [("firing", OUTAGE), ("firing", "orders")]
    body = hook.bodies()[0]["data"]
    assert [one["alert"] for one in body["alerts"][:4]] == [
        "c|features", "b|features", "a|features", "column_59|nulls"
    ]  # fmt: skip
    assert len(body["alerts"]) + body["more"] == 63
    assert body["title"]["en"] == "[PAGE] c: features is at 4, and 62 more alerts"


def test_any_cause_that_is_known_of_a_fault_is_told_and_times_are_the_shops(
    days: Days, hook: SignedHttp
) -> None:
    """Else: the table that lost most knows no cause, and what its neighbour knows is in the report alone."""
    file = days.settings.shop / "shop.toml"
    file.write_text(re.sub(r"(?m)^zone = .*$", 'zone = "Asia/Shanghai"', file.read_text("utf-8")), "utf-8")
    worst = found("contacts", "received", 9.0, topic=OUTAGE, owner="data", of="table")
    lost = found(
        "orders",
        "received",
        3.0,
        topic=OUTAGE,
        owner="data",
        of="table",
        cause=Words("lost", "订单缺失"),
    )
    days.day(worst, lost)
    (body,) = hook.bodies()
    assert body["data"]["cause"] == {"en": "lost", "zh": "订单缺失"}
    told = messages.text(msgspec.convert(body["data"], Telling), ["en", "zh"])
    assert "as of: 2018-01-01 14:00 UTC+08:00" in told
    assert "截至：2018-01-01 14:00 UTC+08:00" in told


def test_what_a_fault_of_a_table_does_the_days_after_is_no_message_of_its_own(
    days: Days, hook: SignedHttp
) -> None:
    """Else: amounts in cents are a page, and a day later a warning of features that have a week in them, with
    an advice of its own; what is worse than was told, and another fault of the table, are told."""
    cents = found("orders", "fields", 3.0, topic=OUTAGE, owner="data", of="table")
    features, worse = found(value=1.5, topic=OUTAGE), found("m", "ranking", 2.5, topic=OUTAGE)
    lost = found("orders", "received", 1.5, topic=OUTAGE, owner="data", of="table")
    days.day(cents)
    days.day(cents, features, worse)
    days.day(cents, features, worse, lost)
    for _ in range(2):
        days.day(*(replace(one, status="ok", value=0.1) for one in (cents, features, worse, lost)))
    told = [(body["data"]["kind"], len(body["data"]["alerts"])) for body in hook.bodies()]
    assert told == [("firing", 1), ("escalation", 1), ("firing", 1), ("resolved", 4)]


@pytest.mark.parametrize(("later", "messages"), [(1, 1), (3, 2)])
def test_what_shows_in_the_same_table_a_day_later_is_the_same_fault(
    days: Days, hook: SignedHttp, later: int, messages: int
) -> None:
    """Else: a channel whose orders stop is told by its share one night, and by all orders the next."""
    of = {"topic": OUTAGE, "owner": "data", "of": "table"}
    share = found("orders", "fields", 1.5, since=date(2018, 1, 1), **of)
    fewer = found("orders", "received", 1.5, since=date(2018, 1, 1 + later), **of)
    days.day(share)
    days.day(share, fewer)
    assert came(hook) == [("firing", OUTAGE)] * messages


def test_what_a_fault_does_is_told_where_it_is_more_urgent_than_the_fault(
    days: Days, hook: SignedHttp
) -> None:
    """Else: a warning of a table hides the page that nobody is answered rightly."""
    little = found("orders", "fields", 1.5, topic=OUTAGE, owner="data", of="table")
    days.day(little)
    days.day(little, found("m", "ranking", 2.5, topic=OUTAGE))
    assert came(hook) == [("firing", OUTAGE), ("firing", OUTAGE)]


def test_one_feature_with_one_cause_in_three_models_is_one_message(days: Days) -> None:
    """Else: a value that is new in one feature is a message a model, and all say the same."""

    def new(subject: str, *names: str, **others: Any) -> Finding:
        parts = [(name, 2.0) for name in (*names, "probability")]
        return found(subject, "new_values", 1.2, topic=subject, contributors=parts, **others)

    three = [
        new("order_7d", "days_since_delivery"), new("churn_28d", "days_since_delivery", "orders_30d"),
        new("value_90d", "orders_30d"), new("optout_90d", "opt_outs"),
        found("order_7d", "predictions", topic="order_7d", contributors=[("probability", 2.0)]),
        found("order_7d", "calibration", topic="order_7d"),
    ]  # fmt: skip
    checks = ("new_values", "predictions", "nulls")
    together = joined(three, checks, ("probability",))
    topics = ["churn_28d", "churn_28d", "churn_28d", "optout_90d", "churn_28d", "order_7d"]
    assert [one.topic for one in together] == topics
    assert joined(together, checks, ("probability",)) == together
    assert len(said(days.day(*together[:3]))) == 1
    other = [new("a", "x"), found("b", "nulls", topic="b", contributors=[("x", 2.0)])]
    assert joined(other, checks) == other, "unknown and new are two things"
    table = [new("a", "x"), replace(new("b", "x"), topic="data orders"), new("c", "x", status="ok")]
    assert joined(table, checks) == table, "that of a table has its topic, and what is ok has no say"


def test_a_title_counts_what_is_more_once_and_says_of_what(days: Days, hook: SignedHttp) -> None:
    """`and 1 more, and 1 more` says neither what, nor how much."""
    none = Words("orders received: 0, 50.5 before", "订单接收：0，此前50.5")
    two = replace(
        found("orders", "received", 2.5, topic=OUTAGE),
        of="table",
        words=Words(f"{none.en}; and 1 more", f"{none.zh}；另有1项"),
        contributors=(Contributor("orders", none, 2.5), Contributor("lines", Words("b", "b"), 1.5)),
    )
    days.day(two, found("orders", "fields", 2.1, topic=OUTAGE))
    days.day(replace(two, subject="other", topic="alone"))
    assert [body["data"]["title"] for body in hook.bodies()] == [
        {"en": f"[PAGE] {none.en}, and 1 more alert", "zh": f"【告警】{none.zh}，另有1项告警"},
        {"en": f"[PAGE] {none.en}; and 1 more", "zh": f"【告警】{none.zh}；另有1项"},
    ]


def test_the_end_of_an_outage_is_one_message_when_all_of_it_is_over(days: Days, hook: SignedHttp) -> None:
    """Over means over: not while another column still lacks its values."""
    days.day(*(found(f"m{n}", "nulls", topic=OUTAGE) for n in range(3)))
    for last in (0.9, 0.1, 0.1, 0.1):
        days.day(*(found(f"m{n}", "nulls", 0.1, topic=OUTAGE) for n in range(2)), found("m2", "nulls", last))
    assert came(hook) == [("firing", OUTAGE), ("resolved", OUTAGE)]
    assert hook.bodies()[1]["data"]["title"]["en"] == "[OVER] m0: nulls, and 2 more alerts"
    assert {one["alert"] for one in hook.bodies()[1]["data"]["alerts"]} == {
        "m0|nulls",
        "m1|nulls",
        "m2|nulls",
    }


def test_a_run_of_the_same_moment_tells_nothing_twice_and_an_earlier_one_is_not_taken(
    days: Days, hook: SignedHttp
) -> None:
    """A scheduler that runs twice must not page twice, nor count one quiet day as two."""
    page = found(value=2.5)
    days.day(page)
    days.day(found(value=0.1))
    for _ in range(2):
        again = alerts.take(days.settings, [found(value=0.1)], MONDAY + timedelta(days=1))
        assert again.messages == ()
        assert [one.fingerprint for one in again.firing] == ["churn_28d|features"]
        assert "taken before" in again.words.en
    earlier = alerts.take(days.settings, [found("other")], MONDAY)
    assert not earlier.taken
    assert "replay in another home" in earlier.words.en
    assert came(hook) == [("firing", "churn_28d features")]


def test_what_was_never_told_is_told_by_another_run_of_the_same_moment(days: Days, hook: SignedHttp) -> None:
    """Else: a page that a corrected table or a new check shows is in the verdict, and nobody is told."""
    first = found("orders", "received", 1.5, topic=OUTAGE)
    alerts.take(days.settings, [first], MONDAY)
    same_topic = found("orders", "fields", 2.5, topic=OUTAGE)
    worse = replace(first, status="page", value=2.5)
    for _ in range(2):
        again = alerts.take(days.settings, [worse, same_topic, found("new")], MONDAY)
    assert again.messages == ()
    assert {one.fingerprint for one in again.firing} == {"orders|received", "orders|fields", "new|features"}
    told = [(b["subject"], sorted(a["alert"] for a in b["data"]["alerts"])) for b in hook.bodies()]
    assert sorted(told) == [
        ("new features", ["new|features"]),
        (OUTAGE, ["orders|fields", "orders|received"]),
        (OUTAGE, ["orders|received"]),
    ]
    alerts.take(days.settings, [worse, same_topic, found("orders", "night", 2.5, topic=OUTAGE)], MONDAY)
    assert [a["alert"] for a in hook.bodies()[-1]["data"]["alerts"]] == ["orders|night"]
    assert len({body["id"] for body in hook.bodies()}) == 4


def test_what_was_a_page_is_listed_as_one_when_it_is_over(days: Days, hook: SignedHttp) -> None:
    """Else: whoever looks back counts no page in a quarter that had three."""
    for value in (2.5, 1.5, 1.5, 0.1, 0.1):
        days.day(found(value=value))
    row = next(one for one in days.run("alerts", "--all").output.splitlines() if "churn_28d|features" in one)
    assert "over" in row
    assert "PAGE" in row


def test_on_a_terminal_an_alert_is_read_whole_without_scrolling_sideways(
    days: Days, hook: SignedHttp
) -> None:
    """Else: `ack` wants a name that the terminal broke in two, and the sentence is a word a line."""
    sentence = (
        "days_since_order is 31.2 where 24.1 was usual on a Monday of this season, and 4 of 60 others moved"
    )
    long = found(
        "repurchase_14d", "partial_outcomes", 2.5, owner="data", words=Words(sentence, "3个特征有变化")
    )
    days.day(long)
    assert days.run("ack", "repurchase_14d", "--by", "li").exit_code == 0
    name = "repurchase_14d|partial_outcomes"
    for language, is_said in (("en", f"repurchase_14d: {sentence} acknowledged by li"),
                              ("zh", "repurchase_14d：3个特征有变化 已认领：li")):  # fmt: skip
        lines = _on_terminal(days, 80, "alerts", "--language", language)
        assert max(cell_len(line) for line in lines) <= 80, lines
        row = next(n for n, line in enumerate(lines) if line.startswith(f"{name} "))
        assert "2018-01-01  Data team" in lines[row]
        assert is_said in " ".join(" ".join(lines[row + 1 :]).split())
    wide = _on_terminal(days, 300, "alerts")
    (row,) = (line for line in wide if name in line)
    assert sentence in row


def _on_terminal(days: Days, columns: int, *arguments: str) -> list[str]:
    """What a command shows on a terminal of that width."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    home = {"PROPENSITY_HOME": str(days.settings.home), "PROPENSITY_SHOP": str(days.settings.shop),
            "PROPENSITY_AS_OF": iso(days.now), "PROPENSITY_SINK_HOOK": SECRET, "TERM": "xterm"}  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "propensity", "monitor", *arguments]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=inherited | home):
        os.close(theirs)
        said = b""
        with suppress(OSError):  # its end, on Linux
            while some := os.read(ours, 1 << 16):
                said += some
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode()).splitlines()


def test_what_is_judged_no_more_is_closed_and_does_not_read_as_mended(days: Days, hook: SignedHttp) -> None:
    days.day(found(value=1.5))
    for _ in range(15):
        days.day()
    assert came(hook) == [("firing", "churn_28d features"), ("closed", "churn_28d features")]
    assert hook.bodies()[1]["data"]["title"]["en"] == "[CLOSED, JUDGED NO MORE] churn_28d: features"


def test_a_page_that_nobody_acknowledges_escalates_and_one_that_is_does_not(
    days: Days, hook: SignedHttp
) -> None:
    for name in ("seen", "unseen"):
        days.day(found(name, value=2.5, owner="data"), days=0.1, report="https://ops.example.com/r.html")
    done = days.run("ack", "seen", "--by", "li", "--note", "on it")
    assert done.exit_code == 0, done.output
    days.now += timedelta(days=2)
    days.settings = replace(days.settings, as_of=days.now)
    sent = days.run("send")
    assert sent.exit_code == 0, sent.output
    assert came(hook)[2:] == [("escalation", "unseen features")]
    assert hook.bodies()[2]["data"]["owner_name"] == "Head of CRM"
    assert hook.bodies()[2]["data"]["report"] == "https://ops.example.com/r.html"
    days.run("send")
    assert len(hook.came) == 3, "once"
    listed = days.run("alerts")
    assert "acknowledged by li" in listed.output
    assert listed.exit_code == 4


def test_an_ack_of_what_is_not_on_says_what_is(days: Days) -> None:
    days.day(found(value=2.5))
    wrong = days.run("ack", "churn", "--by", "li")
    assert (wrong.exit_code, wrong.output.strip()) == (
        2, "error: nothing fires under 'churn'; what fires: churn_28d|features",
    )  # fmt: skip


def test_quiet_days_say_nothing_and_exit_with_0(days: Days, hook: SignedHttp) -> None:
    for _ in range(10):
        days.day(found(value=0.3), found("orders", "indicators", nan, status="ok"))
    assert hook.came == []
    listed = days.run("alerts")
    assert listed.exit_code == 0
    assert "nothing is on" in listed.output


def test_what_prometheus_reads_says_what_is_on_and_when_it_last_ran(days: Days) -> None:
    days.day(found('a "quoted" name', value=2.5), found("b", value=1.2))
    written = metrics(days)
    assert 'propensity_alerts{subject="a \\"quoted\\" name",check="features",status="page"} 1' in written
    assert 'propensity_alerts{subject="b",check="features",status="warning"} 1' in written
    assert f"propensity_monitoring_as_of_timestamp_seconds {MONDAY.timestamp():.0f}" in written


def test_a_damaged_state_says_what_to_do(days: Days) -> None:
    days.day()
    (days.settings.home / "monitoring" / "alerts.sqlite").write_bytes(b"not a database" * 100)
    done = days.run("alerts")
    assert done.exit_code == 1
    assert "restore its backup" in done.output


@pytest.mark.parametrize(
    ("toml", "error"),
    [
        ('[[sinks]]\nname = "a"\nkind = "pager"\n', "sinks[1].kind is 'pager': expected one of webhook"),
        ('[[sinks]]\nname = "A b"\nkind = "wecom"\n', "PROPENSITY_SINK_<NAME>"),
        ('[[sinks]]\nname = "a"\nkind = "wecom"\nkey = "secret-1"\n', "a secret has no place in a file"),
        ('[[sinks]]\nname = "a"\nkind = "wecom"\nurl = "ftp://x"\n', "is no address to send to"),
        ('[[sinks]]\nname = "a"\nkind = "webhook"\nurl = "https://u:secret-1@x"\n', "is no address"),
        ('[[sinks]]\nname = "a"\nkind = "wecom"\nowners = ["datas"]\n', "sinks[1].owners"),
        ('[[sinks]]\nname = "a"\nkind = "mail"\nhost = "h"\nfrom = "x"\nto = "a@b"\n', "sinks[1].from"),
        ('[[sinks]]\nname = "a"\nkind = "mail"\nhost = "h"\nfrom = "a@b"\nto = "a@b"\nstarttls = false\n'
         'user = "u"\n', "a password is sent over TLS only"),
        ('[monitoring.owners.dats]\nname = "x"\n', "did you mean 'data'?"),
        ("[monitoring]\nremind_days = 0\n", "expected a number above 0"),
        ("[monitoring.days]\njoint = [3, 2]\n", "expected [bad days, of so many]"),
        ("[monitoring]\nreminddays = 3\n", "did you mean 'remind_days'?"),
    ],
)  # fmt: skip
def test_a_mistake_in_shop_toml_is_named_with_its_place(tmp_path: Path, toml: str, error: str) -> None:
    """Before the first alert, not in the night in which it is needed; and no secret is repeated."""
    days = Days(tmp_path, toml)
    with pytest.raises(SettingsError) as raised:
        days.day(found(value=2.5))
    assert error in str(raised.value)
    assert "secret-1" not in str(raised.value)
    assert str(days.settings.shop / "shop.toml") in str(raised.value)


def test_what_the_module_shows_of_shop_toml_is_read(tmp_path: Path) -> None:
    from monitoring import routes

    assert routes.__doc__
    shown = "\n".join(routes.__doc__.partition("\n\n")[2].splitlines())
    days = Days(tmp_path, shown)
    read = declared(shop_of(days.settings))
    assert read.days == {"joint": (2, 3)}
    assert read.parties["escalation"].name == "Head of CRM"
    assert read.sinks["group"].languages == ("zh",)


FINDINGS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([nan, 0.1, 0.8, 1.5, 2.5]), max_size=4
    ),
    max_size=6,
)


@effort(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FINDINGS)
def test_whatever_is_found_every_alert_is_told_and_every_one_told_is_over(
    tmp_path_factory: pytest.TempPathFactory, runs: list[dict[str, float]]
) -> None:
    """Between two messages that an alert began lies one that it was over; at the end of quiet days none is
    open; and who reads only the messages knows of every bad day."""
    days = Days(tmp_path_factory.mktemp("any"), WEBHOOK.format(port=1))
    topics = {"a": "one", "b": "one", "c": "two", "d": "three"}
    open_: set[str] = set()
    quiet = [dict.fromkeys(topics, 0.1)] * 2
    for run in [*runs, *quiet]:
        findings = [found(name, value=value, topic=topics[name]) for name, value in run.items()]
        taken = alerts.take(days.settings, findings, days.now, send=False)
        days.now += timedelta(days=1)
        for kind, topic, named in said(taken):
            if kind == "resolved":
                assert set(named) <= open_
                assert not [one for one in taken.firing if one.topic == topic]
                open_ -= set(named)
            elif kind == "firing":
                open_ |= set(named)
        bad = {one.fingerprint for one in findings if one.status != "ok"}
        assert bad <= open_, "nobody was told"
    assert not open_
    with closing(sqlite3.connect(days.settings.home / "monitoring" / "alerts.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM episodes WHERE state != 'resolved'").fetchone() == (0,)


def test_a_title_and_a_list_say_one_sentence_and_what_was_done_says_what_is_next(days: Days) -> None:
    """Else: the subject of a mail is a paragraph, three alerts of a model are three times the same one, and
    a retraining that faulty data keep from being done is advised all the same."""
    long = Words(
        "ranking is lost: AUC 0.65. Too few for more. Beside it: 1.2.", "排序已失准：AUC 0.65。人数不足。"
    )
    rank = found(check="ranking", value=2.5, words=long, topic="churn_28d", advice=Words("retrain", "训练"))
    mend = found(
        check="retraining",
        topic="churn_28d",
        status="warning",
        stage="blocked",
        advice=Words("mend first", "先修复"),
    )
    (body,) = (json.loads(one.body)["data"] for one in days.day(rank, mend).messages)
    assert body["title"]["en"] == "[PAGE] churn_28d: ranking is lost: AUC 0.65, and 1 more alert"
    assert body["title"]["zh"] == "【告警】churn_28d：排序已失准：AUC 0.65，另有1项告警"
    assert body["action"] == {"en": "mend first", "zh": "先修复"}
    told = messages.text(msgspec.convert(body, Telling), ["en"])
    assert "what: churn_28d: ranking is lost: AUC 0.65\n" in told
    (alone,) = (
        json.loads(one.body)["data"] for one in days.day(replace(rank, topic="x", check="y")).messages
    )
    assert "Beside it: 1.2." in messages.text(msgspec.convert(alone, Telling), ["en"])
