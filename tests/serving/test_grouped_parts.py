"""A bundle for everyone, with a step for chats and one for persons: each gets its part by its own limits."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from logs import write_log
from test_decisions import Publish, decided, declare, opened, policy, publish, settings  # noqa: F401
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
MONTH = TINY_MOMENT - 30 * DAY
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
    joined = [
        {"customer_id": id, "at": MONTH, "known_at": MONTH, "kind": "group", "place_id": f"g{n % 10}",
         "change": "joined"}
        for n, id in enumerate(IDS[:100])
    ]  # fmt: skip
    log = write_log(settings.home / "log" / "hand", {"memberships": joined})
    manifest = {"starts_at": iso(log.starts_at), "complete_until": iso(log.complete_until), "shop": log.shop}
    (log.folder / "manifest.json").write_text(json.dumps(manifest | {"files": log.files}))
    (settings.home / "log" / "CURRENT").write_text("hand")
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


def test_a_part_waits_for_its_time_and_ends_with_what_it_is_a_part_of(shop: Settings) -> None:
    """Else the mail to a launch goes out though the launch was called off, or who refused it since."""
    made = grouped.decided_anew(shop)
    first, second = made.parts.people[:2]
    wide, chat = made.wide[0], made.parts.groups[0]
    at = TINY_MOMENT + timedelta(hours=2)

    def asked(id: str | None, now: timedelta = timedelta(hours=2)) -> tuple[bool, str | None, str | None]:
        with opened(replace(shop, as_of=TINY_MOMENT + now)) as context:
            said = may_send(context, str(id), "r")
        return said.may_send, said.reason, said.channel

    assert asked(first.decision_id, timedelta(hours=1)) == (False, "not_yet", "mail")
    assert asked(first.decision_id) == (True, None, "mail")
    assert asked(chat.decision_id) == (True, None, "chat")
    refuse(replace(shop, as_of=at), first.customer_id, "mail")
    assert asked(first.decision_id) == (False, "no_consent", "mail")
    assert asked(wide.decision_id)[0], "what is for everyone asks for consent on its own channel alone"
    assert wide.round is not None
    ends = parse_moment(wide.round.until) - TINY_MOMENT
    assert asked(second.decision_id, ends)[1] == "expired"
    with closing(Ledger(shop)) as ledger:
        off = Delivery(
            id="1", source="app", decision_id=str(wide.decision_id), status="cancelled", at=TINY_MOMENT
        )
        ledger.report([off], at)
    assert asked(second.decision_id) == (False, "given_back", "mail")
    assert asked(chat.decision_id) == (False, "given_back", "chat")


def test_a_run_that_is_killed_is_finished_by_the_next(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else half of the members never get their part, or some get it twice."""

    @contextmanager
    def killed(title: str) -> Iterator[object]:
        def step(text: str, done: int, total: int) -> None:
            if done >= 60:
                raise KeyboardInterrupt

        yield step

    with monkeypatch.context() as patch:
        patch.setattr(grouped_parts, "_CHUNK", 20)
        patch.setattr(grouped_parts, "progress_bar", killed)
        with pytest.raises(KeyboardInterrupt):
            grouped.decided_anew(shop)
    with closing(Ledger(shop)) as ledger:
        written = {one.id for one in ledger.entries(parts=True)}
    assert len(written) == 60
    made = grouped.decided_anew(shop)
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
