"""A bundle for everyone, with a step for chats and one for persons: each gets its part by its own limits."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from test_decisions import Publish, decided, declare, opened, policy, publish, settings  # noqa: F401
from test_grouped import MONTH, join
from tiny import TINY_MOMENT

from features.inbox import Inbox
from features.moments import DAY, iso, parse_moment
from features.settings import Settings
from propensity import grouped, grouped_parts
from propensity.grouped import Made
from serving.arrivals import EventAnswer, take
from serving.groups import held_out as groups_held_out
from serving.ledger import Ledger, group_of
from serving.ledger_entries import AUDIENCE
from serving.ledger_reports import Delivery
from serving.lots import in_holdout
from serving.replays import replay
from serving.sendable import may_send
from training import logged

LAUNCH = """
from serving.actions import Step
words = ACTIONS[0].words
ACTIONS[:] = [replace(
    ACTIONS[0], name="launch", channel="app", reach="everyone", incentive=0.0, send_cost=0.0, redeem=0.0,
    eligible=(), suppressed_if=(), suppress_days=0, validity_days=3,
    then=(Step("chat", words, send_cost=0.01, after_hours=1, reach="group"),
          Step("mail", words, send_cost=0.05, after_hours=2)),
), replace(ACTIONS[0], name="letter", eligible=(), suppressed_if=(), suppress_days=0)]
SCENARIOS = []
"""
IDS = [f"c{n:04}" for n in range(200)]


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, settings: Settings, publish: Publish) -> Settings:
    """200 customers of whom a tenth is held out, half of them in ten chats; one contact a month."""
    declare(settings, LAUNCH)
    path = settings.shop / "shop.toml"
    text = path.read_text("utf-8").replace("mail = true", "mail = true\nchat = true\napp = true")
    path.write_text(text.replace("explore = 0.0", "explore = 0.0\nquiet_rounds = 0.0"), "utf-8")
    policy(settings, holdout="0.1", max_contacts="1")
    publish()
    join(settings, ((id, n % 10) for n, id in enumerate(IDS[:100])))
    of_file = request.param == "sqlite"
    return replace(
        settings, ledger="sqlite" if of_file else request.getfixturevalue("postgres").new_database()
    )


def tell(shop: Settings, id: str, **event: str) -> None:
    body = {"events": [{"source": "web", "at": iso(shop.now()), "id": id} | event]}
    (became,) = take(json.dumps(body).encode(), "0" * 32, shop, Inbox(shop), lambda _: [None]).results
    assert isinstance(became, EventAnswer)


def refuse(shop: Settings, customer: str, channel: str) -> None:
    tell(
        shop, f"{customer}:{channel}", type="consent", channel=channel, purpose="marketing",
        status="withdrawn", customer=customer,
    )  # fmt: skip


def budget(shop: Settings, amount: float) -> None:
    path = shop.shop / "shop.toml"
    with path.open("a", encoding="utf-8") as file:
        file.write(f'\n[[policy.budget]]\namount = {amount}\nper = "month"\n')


def held_out(shop: Settings) -> set[str]:
    with opened(shop) as context:
        of = context.shop.policy(shop.now())
    return {id for id, out in zip(IDS, in_holdout(IDS, of.salt, of.holdout), strict=True) if out}


def killed_after(written: int) -> Callable[[str], AbstractContextManager[object]]:
    """In place of a progress bar: ends the run once so many parts are written."""

    @contextmanager
    def bar(title: str) -> Iterator[object]:
        def step(text: str, done: int, total: int) -> None:
            if done >= written:
                raise KeyboardInterrupt

        yield step

    return bar


def people(made: Made) -> set[str]:
    return {one.customer_id for one in made.parts.people}


def test_everybody_gets_the_part_that_her_own_limits_allow(shop: Settings) -> None:
    """Else whoever refused mail, complains or is held out gets it all the same, as it was decided for all."""
    alone = held_out(shop)
    refused, angry, busy = [id for id in IDS if id not in alone][:3]
    refuse(shop, refused, "mail")
    case = {"type": "case", "kind": "complaint", "change": "opened", "case_id": "1", "customer": angry}
    tell(shop, "2", **case)
    contact = {"type": "contact", "channel": "mail", "action": "letter", "customer": busy}
    tell(shop, "3", **contact)
    refuse(shop, "c0012", "chat")  # of g2
    made = grouped.decided_anew(shop)
    (wide,) = made.wide
    assert (wide.action, wide.channel, wide.exposed) == ("launch", "app", len(alone))
    assert people(made) == {*IDS} - alone - {refused, angry, busy}
    with opened(shop) as context:
        of = context.shop.policy(shop.now())
    groups = [f"g{n}" for n in range(10) if n != 2]  # one of its members does not allow it
    quiet = sum(groups_held_out(groups, of.salt, of.holdout).tolist())
    assert len(made.parts.groups) == 9 - quiet
    assert {one.group for one in made.parts.groups} <= {*groups}
    assert made.parts.kept == Counter(
        {
            ("launch", "mail", "holdout"): len(alone),
            ("launch", "mail", "no_consent"): 1,
            ("launch", "mail", "open_complaint"): 1,
            ("launch", "mail", "contact_cap"): 1,
            ("launch", "chat", "no_consent"): 1,
            **({("launch", "chat", "holdout"): quiet} if quiet else {}),
        }
    )
    assert {one.follows for one in (*made.parts.people, *made.parts.groups)} == {wide.decision_id}
    assert {one.propensity for one in made.parts.people} == {1.0}


def test_parts_hold_their_own_contacts_and_money(shop: Settings) -> None:
    """Else a member is written to twice in a month, and the budget pays for what it does not know of."""
    budget(shop, 100.0)
    made = grouped.decided_anew(shop)
    (wide,), got, chats = made.wide, made.parts.people, made.parts.groups
    expected = len(got) * 0.05 + sum(one.members for one in chats) * 0.01
    with closing(Ledger(shop)) as ledger:
        one = got[0]
        (contact,) = ledger.held(one.customer_id, MONTH, TINY_MOMENT)
        assert (contact.channel, contact.action) == ("mail", "launch")
        assert contact.at == TINY_MOMENT + timedelta(hours=2)
        (chat,) = ledger.held(group_of(chats[0].group), MONTH, TINY_MOMENT)
        assert (chat.channel, chat.at) == ("chat", TINY_MOMENT + timedelta(hours=1))
        assert [of.channel for of in ledger.held(AUDIENCE, MONTH, TINY_MOMENT)] == ["app"]
    with opened(shop) as context:
        rules = context.rules(TINY_MOMENT)
        day = TINY_MOMENT.date()
        assert context.ledger.spent(rules.policy.budgets, day, TINY_MOMENT)[0] == pytest.approx(expected)
        assert wide.cost >= expected - 1e-9, "what is foreseen is never less"
        told = {"source": "post", "at": TINY_MOMENT + timedelta(hours=2)}
        context.ledger.report(
            [
                Delivery(id="1", decision_id=str(got[0].decision_id), status="blocked", **told),  # type: ignore[arg-type]
                Delivery(id="2", decision_id=str(got[1].decision_id), status="sent", **told),  # type: ignore[arg-type]
            ],
            TINY_MOMENT + timedelta(hours=2),
        )
        left = context.ledger.spent(rules.policy.budgets, day, TINY_MOMENT)[0]
        assert left == pytest.approx(expected - 0.05)
        (sent,) = context.ledger.sent()
        assert (sent["customer_id"], sent["channel"]) == (got[1].customer_id, "mail")
        assert sent["cost"] == pytest.approx(0.05)
    tomorrow = replace(shop, as_of=TINY_MOMENT + DAY, expire_after=60 * DAY)
    policy(shop, max_contacts="1")
    again = grouped.decided_anew(tomorrow)
    assert people(again) <= {got[0].customer_id}, "all others had their contact of the month"


def test_a_bundle_that_the_budget_does_not_carry_with_its_parts_is_not_begun(shop: Settings) -> None:
    """Else everyone sees the banner of a launch whose messages nobody can pay any more."""
    budget(shop, 5.0)
    made = grouped.decided_anew(shop)
    assert made.wide[0].rejected == {"launch": "budget"}
    assert (made.parts.people, made.parts.groups) == ([], [])


def test_a_part_is_replayed_erased_and_learnt_from_by_nobody(shop: Settings) -> None:
    """Else a message that nobody drew is taken for a draw, or names in ten years who was erased."""
    made = grouped.decided_anew(shop)
    some = [*made.parts.people[:5], *made.parts.groups[:3], *made.wide]
    assert {replay(shop, str(one.decision_id)).verdict for one in some} == {"equal"}
    with closing(Ledger(shop)) as ledger:
        assert [*ledger.entries()] == [*ledger.entries("group")] == []
        assert len([*ledger.entries(parts=True)]) == len(made.parts.people)
        assert ledger.rates(MONTH, TINY_MOMENT + DAY, timedelta()) == []
        ledger.erase([made.parts.people[0].customer_id])
    assert replay(shop, str(made.parts.people[0].decision_id)).verdict == "erased"
    assert replay(shop, str(made.wide[0].decision_id)).verdict == "equal"
    decided(shop, "c0150")
    assert len(logged.read(shop, "reported")) == 1


def report(shop: Settings, decision: str | None, status: str, at: timedelta) -> None:
    told = Delivery(
        id=f"{decision}{status}", source="app", decision_id=str(decision), status=status, at=TINY_MOMENT + at,  # type: ignore[arg-type]
    )  # fmt: skip
    with closing(Ledger(shop)) as ledger:
        (found,) = ledger.report([told], told.at)
        assert found.status == "accepted"  # type: ignore[union-attr]


def test_a_part_waits_for_what_comes_before_it_and_for_its_time(shop: Settings) -> None:
    """Else the mail to a launch goes out before anybody was told of the launch, or right after it, or though
    she refused it since, or when its round is over."""
    made = grouped.decided_anew(shop)
    first, second = made.parts.people[:2]
    wide, chat, hour = made.wide[0], made.parts.groups[0], timedelta(hours=1)

    def asked(id: str | None, now: timedelta) -> tuple[bool, str | None, str | None]:
        with opened(replace(shop, as_of=TINY_MOMENT + now)) as context:
            said = may_send(context, str(id), "r")
        return said.may_send, said.reason, said.channel

    assert asked(first.decision_id, 2 * hour) == (False, "waits", "mail")
    assert asked(chat.decision_id, 2 * hour) == (False, "waits", "chat")
    report(shop, wide.decision_id, "sent", hour / 2)  # half an hour late, and so is what follows
    assert asked(chat.decision_id, hour) == (False, "not_yet", "chat")
    assert asked(chat.decision_id, 1.5 * hour) == (True, None, "chat")
    with closing(Ledger(shop)) as ledger:  # what it holds moved with it
        (held,) = ledger.reserved(str(first.decision_id))
        assert held.at == TINY_MOMENT + 2.5 * hour
    assert asked(first.decision_id, 2 * hour) == (False, "not_yet", "mail")
    assert asked(first.decision_id, 2.5 * hour) == (True, None, "mail")
    refuse(replace(shop, as_of=TINY_MOMENT + 2 * hour), first.customer_id, "mail")
    assert asked(first.decision_id, 2.5 * hour) == (False, "no_consent", "mail")
    assert wide.round is not None
    assert asked(second.decision_id, parse_moment(wide.round.until) - TINY_MOMENT)[1] == "expired"
    report(shop, second.decision_id, "sent", 2.5 * hour)
    assert asked(second.decision_id, 3 * hour)[1] == "sent"


def test_what_is_called_off_gives_back_what_its_parts_hold(shop: Settings) -> None:
    """Else none of a cancelled launch can be written to this month, nor its money be spent; and a later run
    adds those who had not got theirs."""
    budget(shop, 100.0)
    made = grouped.decided_anew(shop)
    (wide,), got = made.wide, made.parts.people
    report(shop, got[0].decision_id, "sent", timedelta(hours=2))
    report(shop, wide.decision_id, "cancelled", timedelta(hours=1))
    with opened(replace(shop, as_of=TINY_MOMENT + timedelta(hours=3))) as context:
        ledger, now = context.ledger, context.settings.now()
        assert may_send(context, str(got[1].decision_id), "r").reason == "given_back"
        assert may_send(context, str(got[0].decision_id), "r").reason == "sent"
        assert ledger.held(got[1].customer_id, MONTH, now) == ()
        assert len(ledger.held(got[0].customer_id, MONTH, now)) == 1
        assert ledger.spent(context.rules(now).policy.budgets, now.date(), now) == (pytest.approx(0.05),)
    again = grouped.decided_anew(shop)
    assert (again.parts.new, again.parts.off, people(again)) == (0, Counter(launch=1), set())


def test_what_would_go_after_its_round_is_not_decided(shop: Settings) -> None:
    """Else everybody's contact of the month is held for a mail that can never be sent."""
    late = replace(shop, as_of=TINY_MOMENT + timedelta(hours=3, minutes=30))  # 22:30 there
    made = grouped.decided_anew(late)
    assert (made.wide[0].action, made.parts.people) == ("launch", [])
    assert made.parts.kept["launch", "mail", "too_late"] == 200 - len(held_out(shop))
    assert {one.send_at for one in made.parts.groups} == {"2017-12-03T04:30:00Z"}
    with closing(Ledger(late)) as ledger:
        assert [*ledger.entries(parts=True)] == []


def test_messages_of_a_bundle_keep_their_distance_when_they_wait_for_morning(shop: Settings) -> None:
    """Else three messages arrive at once as the quiet hours end."""
    path = shop.shop / "shop.toml"
    text = path.read_text("utf-8")
    assert "[policy.send]" not in text
    path.write_text(text + '\n[policy.send]\nquiet = ["18:00", "22:00"]\n', "utf-8")  # it is 19:00 there
    made = grouped.decided_anew(shop)
    assert made.wide[0].send_at == "2017-12-03T03:00:00Z"
    assert {one.send_at for one in made.parts.groups} == {"2017-12-03T04:00:00Z"}
    assert made.parts.kept["launch", "mail", "too_late"] > 100, "an hour later it would be tomorrow"


CHAT = """
from serving.actions import Step
words = ACTIONS[0].words
ACTIONS[:] = [replace(
    ACTIONS[0], name="launch", channel="chat", reach="group", incentive=0.0, send_cost=0.01, redeem=0.0,
    eligible=(), suppressed_if=(), suppress_days=7, validity_days=3,
    then=(Step("mail", words, send_cost=0.05, after_hours=2),),
)]
SCENARIOS = []
"""


@pytest.fixture
def chats(settings: Settings, publish: Publish) -> Settings:
    """200 customers in ten chats, each in two of them; two contacts a month."""
    declare(settings, CHAT)
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("mail = true", "mail = true\nchat = true"), "utf-8")
    policy(settings, max_contacts="2")
    publish()
    join(settings, ((id, place % 10) for n, id in enumerate(IDS) for place in (n, n + 3)))
    return settings


def test_a_member_of_two_chats_gets_her_part_once(chats: Settings) -> None:
    """Else she reads the same mail twice, at the same minute."""
    looked = grouped.decided_anew(chats, dry_run=True)
    made = grouped.decided_anew(chats)
    assert len(made.wide) == 10
    who = Counter(one.customer_id for one in made.parts.people)
    assert {*who} == {*IDS}
    assert {*who.values()} == {1}
    assert len(looked.parts.people) == 200
    assert grouped.decided_anew(chats).parts.new == 0


def test_the_next_run_finishes_what_was_cut_off_whenever_it_comes(
    chats: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the members of a chat that had its message never get theirs: the chat now rests."""
    with monkeypatch.context() as patch:
        patch.setattr(grouped_parts, "progress_bar", killed_after(0))
        with pytest.raises(KeyboardInterrupt):
            grouped.decided_anew(chats)
    later = replace(chats, as_of=TINY_MOMENT + timedelta(minutes=1))
    made = grouped.decided_anew(later)
    assert {one.rejected.get("launch") for one in made.wide[:10]} == {"suppressed"}
    assert {one.action for one in made.wide[10:]} == {"launch"}, "whose parts they are is told with them"
    assert {one.follows for one in made.parts.people} <= {one.decision_id for one in made.wide}
    assert people(made) == {*IDS}
    assert {one.send_at for one in made.parts.people} == {"2017-12-03T02:00:00Z"}
    assert grouped.decided_anew(replace(chats, as_of=TINY_MOMENT + timedelta(minutes=2))).parts.people == []


def test_why_a_chat_gets_a_message_can_be_summed_and_read(chats: Settings) -> None:
    """Else an operations lead sees what a message is worth, and neither of what nor why it goes."""
    for one in grouped.decided_anew(chats).wide:
        assert one.action == "launch"
        assert sum(one.terms.values()) == pytest.approx(one.net, abs=1e-9)
        assert one.terms["parts"] == pytest.approx(-40 * 0.05)
        assert one.terms["send_cost"] == pytest.approx(-40 * 0.01)
        assert (one.runner_up and one.runner_up.action) == "nothing"
        assert one.text is not None
        assert "all members together" in one.text.en
        assert "全体成员" in one.text.zh
        assert replay(chats, str(one.decision_id)).verdict == "equal"
    again = grouped.decided_anew(replace(chats, as_of=TINY_MOMENT + DAY)).wide[0]
    assert again.text is not None
    assert "Too soon after the last marketing contact" in again.text.en


def test_the_last_message_that_a_budget_carries_goes(settings: Settings, publish: Publish) -> None:
    """Else "0.10 left" of a budget refuses what costs 0.10, by a rounding of floats."""
    declare(
        settings,
        'ACTIONS[:] = [replace(ACTIONS[0], name="letter", incentive=0.0, send_cost=0.1, redeem=0.0, '
        "eligible=(), suppressed_if=(), suppress_days=0)]\nSCENARIOS = []",
    )
    budget(settings, 0.3)
    publish()
    taken = [decided(settings, id).action for id in IDS[:5]]
    assert taken == ["letter"] * 3 + ["nothing"] * 2


def test_a_run_that_is_killed_is_finished_by_the_next(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else half of the members never get their part, or some get it twice."""
    with monkeypatch.context() as patch:
        patch.setattr(grouped_parts, "_CHUNK", 20)
        patch.setattr(grouped_parts, "progress_bar", killed_after(60))
        with pytest.raises(KeyboardInterrupt):
            grouped.decided_anew(shop)
    with closing(Ledger(shop)) as ledger:
        written = {one.id for one in ledger.entries(parts=True)}
    assert len(written) == 60
    made = grouped.decided_anew(replace(shop, as_of=TINY_MOMENT + timedelta(minutes=1)))
    assert len({one.decision_id for one in made.parts.groups}) == len(made.parts.groups)
    assert people(made) == {*IDS} - held_out(shop)
    assert written < {one.decision_id for one in made.parts.people}
    assert made.new == 0
    assert made.parts.new == len(made.parts.people) - 60
    assert grouped.decided_anew(shop).parts.new == 0


def test_a_contact_that_another_journey_took_meanwhile_counts(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the launch and the letter, asked at once, both pass the cap of one contact."""
    late = max({*IDS} - held_out(shop))

    @contextmanager
    def meanwhile(title: str) -> Iterator[object]:
        def step(text: str, done: int, total: int) -> None:
            if done == 0:
                assert decided(shop, late, candidates=["letter"]).action == "letter"

        yield step

    monkeypatch.setattr(grouped_parts, "progress_bar", meanwhile)
    made = grouped.decided_anew(shop)
    assert people(made) == {*IDS} - held_out(shop) - {late}
    assert made.parts.kept["launch", "mail", "contact_cap"] == 1
    with closing(Ledger(shop)) as ledger:
        assert [of.action for of in ledger.held(late, MONTH, TINY_MOMENT)] == ["letter"]


def test_two_runs_at_once_give_each_her_part_once(shop: Settings) -> None:
    """Else two hosts whose night jobs start together write to everybody twice."""
    with ThreadPoolExecutor(2) as pool:
        made = [*pool.map(lambda part: grouped.decided_anew(shop), range(2))]
    assert people(made[0]) == people(made[1]) == {*IDS} - held_out(shop)
    with closing(Ledger(shop)) as ledger:
        who = Counter(one.sealed.customer_id for one in ledger.entries(parts=True) if one.sealed)
        assert {*who.values()} == {1}
        assert ledger.damaged() == []


def test_a_dry_run_tells_who_would_get_what_and_records_nothing(
    shop: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Looking must not use up anybody's contact."""
    grouped.decide_for_groups(shop, None, dry_run=True)
    said = " ".join(capsys.readouterr().out.split())
    got = 200 - len(held_out(shop))
    assert f"launch: its part on mail goes to {got} customers" in said
    assert "launch: its part on chat goes to" in said
    assert "is kept from" in said
    with closing(Ledger(shop)) as ledger:
        assert [*ledger.entries(parts=True)] == [*ledger.entries("everyone")] == []
