"""A round of group messages over real files: recorded, reserved, replayed, joined to what became of it."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from logs import write_log
from test_decisions import Publish, decided, declare, opened, policy, publish, settings  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import LogError, UsageError
from features.inbox import Inbox
from features.moments import DAY, iso
from features.settings import Settings
from propensity import grouped
from propensity.evaluated_groups import reached as reached_by
from serving.arrivals import EventAnswer, take
from serving.groups import GroupDecision
from serving.ledger import Ledger, group_of
from serving.ledger_reports import Delivery, Outcome
from serving.replays import replay
from serving.sendable import may_send
from training import logged

OFFER = """
ACTIONS += [replace(ACTIONS[0], name="offer", channel="chat", reach="group", incentive=0.0, send_cost=0.01,
                    eligible=(), suppress_days=0)]
"""
MONTH = TINY_MOMENT - 30 * DAY


def join(settings: Settings, pairs: Iterable[tuple[str, int]]) -> None:
    """A log of customers who joined chats g0, g1 ... a month ago."""
    joined = [
        {"customer_id": id, "at": MONTH, "known_at": MONTH, "kind": "group", "place_id": f"g{chat}",
         "change": "joined"}
        for id, chat in pairs
    ]  # fmt: skip
    log = write_log(settings.home / "log" / "hand", {"memberships": joined})
    manifest = {"starts_at": iso(log.starts_at), "complete_until": iso(log.complete_until), "shop": log.shop}
    (log.folder / "manifest.json").write_text(json.dumps(manifest | {"files": log.files}))
    (settings.home / "log" / "CURRENT").write_text("hand")


@pytest.fixture
def shop(settings: Settings, publish: Publish) -> Settings:
    """Ten chats of ten customers each; joining one is its consent."""
    declare(settings, OFFER)
    path = settings.shop / "shop.toml"
    text = path.read_text("utf-8").replace("mail = true", "mail = true\nchat = true")
    path.write_text(text + '\n[[policy.budget]]\namount = 0.35\nper = "month"\n', "utf-8")
    publish()
    join(settings, ((f"c{n:04}", n % 10) for n in range(100)))
    return settings


def reached(made: Sequence[GroupDecision]) -> list[GroupDecision]:
    return [one for one in made if one.action == "offer"]


def test_a_round_again_says_that_nothing_new_was_recorded(
    shop: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else who runs it twice believes that the chats were decided twice, and sends twice."""
    grouped.decide_for_groups(shop, None, dry_run=False)
    assert "recorded: 10 decisions; tell" in capsys.readouterr().out
    grouped.decide_for_groups(shop, None, dry_run=False)
    again = capsys.readouterr().out
    assert "nothing new: all 10 were recorded before; tell" in again
    assert "recorded: 10" not in again


def test_every_group_is_in_the_ledger_and_its_cost_in_the_budget(shop: Settings) -> None:
    """Else a chat is sent what nobody recorded, and the budget is spent twice: on groups and on people."""
    made = grouped.decided(shop)
    assert [one.group for one in made] == [f"g{n}" for n in range(10)]
    sent = reached(made)
    assert len(sent) == 3, "ten members at a cent each: the fourth would pass 0.35"
    assert {one.rejected["offer"] for one in made if one not in sent} == {"budget"}
    with closing(Ledger(shop)) as ledger:
        entry = ledger.read(str(sent[0].decision_id))
        assert (entry.action, entry.channel, entry.unit) == ("offer", "chat", "group")
        assert (entry.cost, entry.propensity) == (pytest.approx(0.1), sent[0].propensity)
        assert entry.releases[0][0] == "policy"
        (contact,) = ledger.held(group_of(sent[0].group), MONTH, TINY_MOMENT)
        assert (contact.action, contact.channel) == ("offer", "chat")
        assert ledger.customers() == {}, "a group is no customer"
    (left,) = decided(shop, "c0150", preview=True).used.budgets_left
    assert left == pytest.approx(0.05)


def test_a_group_is_replayed_and_what_became_of_it_joins(shop: Settings) -> None:
    """A blocked message gives its contact back; an outcome counts; no customer is told of or learnt from."""
    policy(shop, explore="0.5")
    made = grouped.decided(shop)
    assert [replay(shop, str(one.decision_id)).verdict for one in made] == ["equal"] * 10
    first, second, *_ = reached(made)
    told = {"source": "chat", "at": TINY_MOMENT}
    with closing(Ledger(shop)) as ledger:
        reports = ledger.report(
            [
                Delivery(id="1", decision_id=str(first.decision_id), status="blocked", **told),  # type: ignore[arg-type]
                Delivery(id="2", decision_id=str(second.decision_id), status="sent", **told),  # type: ignore[arg-type]
                Outcome(id="3", decision_id=str(second.decision_id), type="redeem", value=2.0, **told),  # type: ignore[arg-type]
            ],
            TINY_MOMENT,
        )
        assert [one.status for one in reports] == ["accepted"] * 3  # type: ignore[union-attr]
        for type in ("order", "refund", "opt_out", "complaint"):
            of = Outcome(id=type, decision_id=str(second.decision_id), type=type, value=2.0, **told)  # type: ignore[arg-type]
            (refused,) = ledger.report([of], TINY_MOMENT)
            assert "about a group" in str(refused), "or it is accepted, and read by nothing"
            assert "tell it of the customer, to /v1/events" in str(refused)
        assert ledger.held(group_of(first.group), MONTH, TINY_MOMENT) == ()
        assert len(ledger.held(group_of(second.group), MONTH, TINY_MOMENT)) == 1
        assert [kept.value for kept in ledger.outcomes()[str(second.decision_id)]] == [2.0]
        assert not [*ledger.sent(), *ledger.told(("redeem",))], "the log's contacts are customers'"
        assert [*ledger.entries()] == []
        assert len([*ledger.entries("group")]) == 10
    heard = reached_by(shop, "group", MONTH, TINY_MOMENT + DAY)
    assert {one.group for one in heard} == {one.group for one in reached(made)} - {first.group}
    decided(shop, "c0150")
    assert len(logged.read(shop, "reported")) == 1, "effects on customers are not learnt from groups"


def test_a_round_is_decided_once_and_the_next_one_counts_it(shop: Settings, tmp_path: Path) -> None:
    """Killed and run again it must not draw anew; and a chat hears no third offer in a month."""
    made = grouped.decided(shop)
    assert grouped.decided(shop) == made
    assert len(reached(grouped.decided(shop, dry_run=True))) == 3
    again = [replace(shop, as_of=TINY_MOMENT + days * DAY) for days in (1, 2)]
    assert not reached(grouped.decided(again[0])), "the budget of the month is gone"
    policy(shop, amount="100.0", max_contacts="1")
    spared = {one.group: one.rejected.get("offer") for one in grouped.decided(again[1])}
    capped = {group for group, why in spared.items() if why == "contact_cap"}
    assert capped == {one.group for one in reached(made)}
    out = tmp_path / "round.jsonl"
    out.touch()
    with pytest.raises(UsageError, match="perhaps not read yet"):
        grouped.decide_for_groups(shop, out, dry_run=False)
    grouped.decide_for_groups(shop, out, dry_run=False, force=True)
    assert out.read_bytes().startswith(b"{"), "as --all does"


def test_what_a_member_says_after_the_decision_keeps_the_message_from_the_chat(shop: Settings) -> None:
    """Else the chat gets in the evening what a member refused at noon, or who joined never allowed."""
    first, second, third = (str(one.decision_id) for one in reached(grouped.decided(shop)))  # g0, g1, g2

    def said(event: dict[str, str], id: str) -> None:
        at = iso(TINY_MOMENT)
        body = {"events": [{"source": "web", "at": at, "id": id} | event]}
        inbox = Inbox(shop)
        (became,) = take(json.dumps(body).encode(), "0" * 32, shop, inbox, lambda _: [None]).results
        assert isinstance(became, EventAnswer)

    def asked(id: str) -> tuple[bool, str | None, str]:
        with opened(shop) as context:
            answer = may_send(context, id, "0" * 32)
        return answer.may_send, answer.reason, answer.text.en

    assert [asked(id)[0] for id in (first, second, third)] == [True] * 3
    consent = {"type": "consent", "channel": "chat", "purpose": "marketing", "status": "withdrawn"}
    said(consent | {"customer": "c0010"}, "1")  # of g0
    may, why, text = asked(first)
    assert (may, why) == (False, "no_consent")
    assert "Somebody whom it addresses" in text
    assert asked(second)[0], "nobody of that chat said anything"
    member = {"type": "membership", "kind": "group", "place_id": "g0", "change": "left", "customer": "c0010"}
    said(member, "2")
    assert asked(first)[0], "who left is not asked about"
    said(member | {"place_id": "g1", "change": "joined"}, "3")
    assert asked(second)[:2] == (False, "no_consent"), "who refused and joined is"
    said(consent | {"customer": "c0012", "channel": "all"}, "4")
    assert asked(third)[:2] == (False, "no_consent")


def test_without_a_log_it_is_not_known_who_is_in_a_chat_and_nothing_may_go(shop: Settings) -> None:
    """Else a service that lacks the log tells that it may be sent, whoever refused."""
    id = str(reached(grouped.decided(shop))[0].decision_id)
    (shop.home / "log" / "CURRENT").unlink()
    with opened(shop) as context, pytest.raises(LogError):
        may_send(context, id, "0" * 32)


def test_a_dry_run_records_nothing(shop: Settings) -> None:
    """Looking must not use up a group's contact."""
    assert {one.decision_id for one in grouped.decided(shop, dry_run=True)} == {None}
    with opened(shop) as context:
        assert [*context.ledger.entries("group")] == []
