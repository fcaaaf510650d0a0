"""Each sink speaks as the real one wants it; what does not arrive says why, and tells no secret."""

import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from alerting import (
    KEY,
    SECRET,
    WEBHOOK,
    Days,
    FakeMail,
    FakeWeCom,
    SignedHttp,
    found,
    mailing,
    said,
    serving,
)
from click.testing import CliRunner

from features.shop import Shop
from features.words import Words
from monitoring.routes import declared, unmentioned
from propensity import main

GROUP = """
[monitoring.owners.models]
name = "Models"
email = ["zhang@example.com", "li@example.com"]
wecom = ["zhang.wei"]

[[sinks]]
name = "group"
kind = "wecom"
url = "http://127.0.0.1:{port}/cgi-bin/webhook/send"
language = "{language}"
"""
MAIL = """
[[sinks]]
name = "mail"
kind = "mail"
host = "localhost"
port = {port}
from = "Propensity <propensity@example.com>"
to = ["ops@example.com", "lead@example.com"]
starttls = {starttls}
"""


@pytest.fixture
def robot() -> Iterator[FakeWeCom]:
    with serving(FakeWeCom()) as fake:
        assert isinstance(fake, FakeWeCom)
        yield fake


@pytest.fixture
def smtp() -> Iterator[FakeMail]:
    with mailing(FakeMail()) as fake:
        yield fake


def group(folder: Path, robot: FakeWeCom, language: str = "zh", key: str = KEY) -> Days:
    return Days(folder, GROUP.format(port=robot.port, language=language), {"group": key})


def test_a_group_that_would_mention_nobody_is_told_of_before_it_matters(
    tmp_path: Path, robot: FakeWeCom
) -> None:
    """Else: the page that nobody acknowledged goes on to somebody whose phone stays silent."""
    days = group(tmp_path, robot)
    toml = days.settings.shop / "shop.toml"
    toml.write_text(f'{toml.read_text("utf-8")}\n[monitoring.escalation]\nname = "Head"\n', "utf-8")
    (said,) = unmentioned(declared(Shop.load(days.settings.shop)))
    assert "sink group mentions nobody for data, operations, escalation" in said
    assert "[monitoring.owners.data], [monitoring.owners.operations], [monitoring.escalation]" in said
    home = {"PROPENSITY_HOME": str(days.settings.home), "PROPENSITY_SHOP": str(days.settings.shop)}
    assert f"note: {said}" in CliRunner().invoke(main, ["check"], env=home).output


def test_the_group_reads_what_happened_and_who_acts(tmp_path: Path, robot: FakeWeCom) -> None:
    page = found(value=2.5, advice=Words("train again", "重新训练"), since=date(2017, 12, 30),
                 contributors=[("days_since_order", 4.2)])  # fmt: skip
    group(tmp_path, robot).day(page)
    (content,) = robot.contents()
    assert content.splitlines() == [
        '**<font color="warning">【告警】churn_28d：features为2.5</font>**',
        "> 情况：churn_28d：features为2.5",
        "> 程度：2.5；1起警告",
        "> 始于：2017-12-30",
        "> 评分：修复前可能有误，请勿据此开展新的触达",
        "> 主要来自：days_since_order（为其上限的4.2倍）",
        "> 建议：重新训练",
        "> 负责：Models",
        "> 认领：propensity monitor ack 'churn_28d|features'",
        "> 处理手册：propensity monitor runbook features",
        "> 截至：2018-01-01 01:00 UTC-05:00",
        "",
        "<@zhang.wei>",
    ]


@pytest.mark.parametrize("language", ["zh", "both"])
def test_a_message_that_is_too_long_is_cut_at_a_line_and_says_where_the_rest_is(
    tmp_path: Path, robot: FakeWeCom, language: str
) -> None:
    """The robot refuses 4097 bytes whole: the longest outage would be the one nobody hears of."""
    days = group(tmp_path, robot, language)
    long = [found("m" * 80 + f"{n}", "nulls", 2.5, topic="outage", advice=Words("a " * 900, "做" * 1200))
            for n in range(12)]  # fmt: skip
    days.day(*long, report="https://ops.example.com/reports/x/report.html")
    (content,) = robot.contents()
    assert len(content.encode()) <= 4096
    *_, tail, mention = content.splitlines()
    assert tail == (
        "…… 全文见报告：[https://ops.example.com/reports/x/report.html]"
        "(https://ops.example.com/reports/x/report.html)"
    )
    assert mention == "<@zhang.wei>", "whoever is to act is still called"
    assert "�" not in content


def test_a_title_that_alone_is_too_long_still_arrives(tmp_path: Path, robot: FakeWeCom) -> None:
    group(tmp_path, robot).day(found("某" * 3000, value=2.5))
    (content,) = robot.contents()
    assert len(content.encode()) <= 4096
    assert content.startswith('**<font color="warning">【告警】某某')


def test_a_name_in_the_data_calls_nobody(tmp_path: Path, robot: FakeWeCom) -> None:
    """`<@all>` in a product's name would wake everybody; a link in it would lead them anywhere."""
    words = Words("<@all> [x](http://evil.example)\n> y", "<@all> [x](http://evil.example)\n> y")
    group(tmp_path, robot).day(found("<@all>", value=2.5, advice=words, contributors=[("<@all>", 3.0)]))
    (content,) = robot.contents()
    assert "<@all>" not in content
    assert "](http" not in content


def test_more_than_twenty_a_minute_are_sent_in_the_next(tmp_path: Path, robot: FakeWeCom) -> None:
    """Above the rate the robot drops them, whatever it was sent."""
    days = group(tmp_path, robot)
    taken = days.day(*(found(f"m{n:02}", value=2.5) for n in range(23)))
    assert len(robot.came) == 20
    assert "group: 3 wait, 0 dead" in taken.words.en
    days.run("send")
    assert len(robot.came) == 20, "not within the minute"
    with days.store() as store, store.writing():
        store.db.execute("UPDATE deliveries SET changed = changed - 61000000")
    robot.came, before = [], robot.contents()
    days.run("send")
    assert len(robot.came) == 3
    assert not set(before) & set(robot.contents())


def test_a_robot_that_says_it_is_too_much_is_left_alone_for_a_minute(
    tmp_path: Path, robot: FakeWeCom
) -> None:
    """Somebody else may use the same robot. It answers 200: only `errcode` tells."""
    robot.answers = [(200, {"errcode": 45009, "errmsg": "api freq out of limit"})]
    days = group(tmp_path, robot)
    taken = days.day(found(value=2.5))
    assert "it takes no more messages for a minute" in taken.words.en
    days.run("send")
    assert robot.came == []
    days.hurry()
    assert days.run("send").exit_code == 0
    assert len(robot.came) == 1


@pytest.mark.parametrize("key", ["wrong-key-1", ""])
def test_a_wrong_key_is_said_and_never_shown(tmp_path: Path, robot: FakeWeCom, key: str) -> None:
    days = group(tmp_path, robot, key=key)
    taken = days.day(found(value=2.5))
    listed = days.run("alerts").output
    for text in (taken.words.en, listed):
        assert ("errcode 93000" if key else "PROPENSITY_SINK_GROUP is not set") in text
        assert not key or key not in text


def test_another_server_in_its_place_is_no_delivery(tmp_path: Path, robot: FakeWeCom) -> None:
    """A proxy's login page answers 200, too."""
    robot.answers = [(200, "welcome")]
    taken = group(tmp_path, robot).day(found(value=2.5))
    assert "its answer has no errcode" in taken.words.en


def test_an_e_mail_has_text_and_html_in_both_languages(tmp_path: Path, smtp: FakeMail) -> None:
    days = Days(tmp_path, MAIL.format(port=smtp.port, starttls="false"), {"other": "x"})
    days.day(
        found(value=2.5, advice=Words("train <again>", "重新训练")), report="https://ops.example.com/r.html"
    )
    assert smtp.to() == ["ops@example.com", "lead@example.com"]
    _, message = smtp.came[0]
    assert message["subject"] == "【告警】churn_28d：features为2.5 / [PAGE] churn_28d: features is at 2.5"
    assert message["auto-submitted"] == "auto-generated", "else an absence note answers it"
    assert message["to"] == "ops@example.com"
    text, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    for part in (text, html):
        assert "重新训练" in part
        assert "train ‹again›" in part
    assert "how much: 2.5; a warning from 1" in text
    assert '<a href="https://ops.example.com/r.html">' in html
    assert not [tag for tag in ("<script", "<link", "<img", "src=") if tag in html], "nothing to load"


def test_the_owner_of_the_fault_gets_the_mail(tmp_path: Path, smtp: FakeMail) -> None:
    owners = GROUP.partition("[[sinks]]")[0]
    days = Days(tmp_path, owners + MAIL.format(port=smtp.port, starttls="false"), {"other": "x"})
    days.day(found(value=2.5), found("orders", value=2.5, owner="operations"))
    assert smtp.to() == ["zhang@example.com", "li@example.com", "ops@example.com", "lead@example.com"]


def test_one_recipient_who_is_refused_keeps_no_other_waiting_and_nobody_is_told_twice(
    tmp_path: Path, smtp: FakeMail
) -> None:
    """Grey-listing refuses at first: the others must neither wait for it, nor read it twelve times."""
    smtp.refused["ops@example.com"] = "450 come back later"
    days = Days(tmp_path, MAIL.format(port=smtp.port, starttls="false"), {"other": "x"})
    taken = days.day(found(value=2.5))
    assert smtp.to() == ["lead@example.com"]
    assert "the server answered 450" in taken.words.en
    days.hurry()
    days.run("send")
    smtp.refused.clear()
    days.hurry()
    assert days.run("send").exit_code == 0
    assert smtp.to() == ["lead@example.com", "ops@example.com"]
    ids = {message["message-id"] for _, message in smtp.came}
    assert len(ids) == 1, "a reader that has it already can tell"


def test_a_server_that_is_away_gets_it_later(tmp_path: Path) -> None:
    with mailing(FakeMail()) as away:
        port = away.port
    days = Days(tmp_path, MAIL.format(port=port, starttls="false"), {"other": "x"})
    taken = days.day(found(value=2.5))
    assert "mail: 1 wait, 0 dead (the server cannot be reached, or hung up)" in taken.words.en


def test_a_message_over_the_limit_of_the_server_is_dead_and_holds_up_no_other(
    tmp_path: Path, smtp: FakeMail
) -> None:
    smtp.largest = 100
    days = Days(tmp_path, MAIL.format(port=smtp.port, starttls="false"), {"other": "x"})
    assert "mail: 0 wait, 2 dead" in days.day(found("a", value=2.5), found("b", value=2.5)).words.en


def test_starttls_and_the_password_over_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password over an open line belongs to everybody."""
    certificate = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
               "-keyout", f"{tmp_path / 'key.pem'}", "-out", f"{tmp_path / 'cert.pem'}"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    certificate.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    with mailing(FakeMail(user=("propensity", "a-password"), tls=certificate)) as smtp:
        toml = MAIL.format(port=smtp.port, starttls="true") + 'user = "propensity"\n'
        untrusted = Days(tmp_path / "untrusted", toml, {"mail": "a-password"})
        assert "its certificate cannot be trusted" in untrusted.day(found(value=2.5)).words.en
        monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path / 'cert.pem'}")
        wrong = Days(tmp_path / "wrong", toml, {"mail": "another"})
        assert "refused the user or the password" in wrong.day(found(value=2.5)).words.en
        assert smtp.came == []
        right = Days(tmp_path / "right", toml, {"mail": "a-password"})
        right.day(found(value=2.5))
        assert smtp.secured == [True, True]
    with mailing(FakeMail()) as plain:
        toml = MAIL.format(port=plain.port, starttls="true")
        days = Days(tmp_path / "plain", toml, {"other": "x"})
        assert "offers no STARTTLS" in days.day(found(value=2.5)).words.en
        assert plain.came == []


def test_a_webhook_is_signed_with_both_secrets_while_they_change(tmp_path: Path) -> None:
    other = "whsec_" + "b3RoZXIg" * 5
    with serving(SignedHttp()) as hook:
        Days(tmp_path / "a", WEBHOOK.format(port=hook.port), {"hook": f"{other}, {SECRET}"}).day(
            found(value=2.5)
        )
        assert len(hook.came) == 1
        wrong = Days(tmp_path / "b", WEBHOOK.format(port=hook.port), {"hook": other})
        assert "it answered 401: look at its secret" in wrong.day(found("b", value=2.5)).words.en
        none = Days(tmp_path / "c", WEBHOOK.format(port=hook.port), {"hook": "hunter2"})
        taken = none.day(found("c", value=2.5))
        assert "whsec_...[,whsec_...]" in taken.words.en
        assert "hunter2" not in taken.words.en


def test_a_server_that_asks_us_to_wait_is_left_alone_so_long(tmp_path: Path) -> None:
    with serving(SignedHttp(headers={"retry-after": "3600"})) as hook:
        hook.answers = [(429, {})]
        days = Days(tmp_path, WEBHOOK.format(port=hook.port))
        days.day(found(value=2.5))
        with days.store() as store:
            ((wait,),) = store.db.execute("SELECT next - changed FROM deliveries").fetchall()
        assert timedelta(minutes=59) < timedelta(microseconds=wait) <= timedelta(hours=1, seconds=1)


def test_all_news_of_a_run_reach_a_sink_worst_first(tmp_path: Path, robot: FakeWeCom) -> None:
    days = group(tmp_path, robot, "en")
    taken = days.day(found("a", value=1.2), found("b", value=2.5))
    assert [topic for _, topic, _ in said(taken)] == ["b features", "a features"]
    assert "[PAGE] b" in robot.contents()[0]
