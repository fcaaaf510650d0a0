"""What reaches everyone is drawn by round: sent or left quiet by lot, under the limits, and told of."""

# ruff: noqa: F811 (fixtures of another module are arguments)

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from logs import write_log
from test_decide import action, situation
from test_decisions import Publish, declare, opened, policy, publish, settings  # noqa: F401
from tiny import TINY_MOMENT

from features.errors import UsageError
from features.moments import DAY, iso, parse_moment
from features.policy import Policy, Send
from features.settings import Settings
from propensity import grouped
from propensity.evaluated_groups import evaluate, heard
from propensity.evaluated_groups import reached as reached_by
from serving.actions import NOTHING, Action
from serving.arrivals import EventAnswer, take
from serving.groups import GroupDecision, GroupInputs, Members, answer, weigh
from serving.ledger import Ledger
from serving.ledger_entries import AUDIENCE
from serving.ledger_reports import Delivery
from serving.pauses import opened as pausing
from serving.replays import replay
from serving.reservations import Contact
from serving.rounds import EVERYONE, Round, round_of
from serving.sendable import may_send
from serving.situation import Rules, limits_of

ALL = Members([EVERYONE], np.zeros(5, np.intp), np.arange(5))
POLICY = Policy(starts=TINY_MOMENT.date(), holdout=0.0, explore=0.0, salt="salt", max_contacts=2, per_days=30,
                quiet_rounds=0.5, send=Send())  # fmt: skip
BANNER = """
ACTIONS += [replace(ACTIONS[0], name="banner", channel="app", reach="everyone", incentive=0.0,
                    send_cost=0.01, eligible=(), suppress_days={rest})]
"""


def banner(**changes: object) -> Action:
    return action("banner", channel="app", reach="everyone", send_cost=0.01, **changes)  # type: ignore[arg-type]


def rules(offered: Action, policy: Policy = POLICY, zone: str = "Asia/Shanghai") -> Rules:
    return Rules(policy, (NOTHING, offered, action("sms")), {}, 0.25, 28, "USD", zone=zone)


def decided(
    offered: Action, seed: int = 0, policy: Policy = POLICY, held: tuple[Contact, ...] = (), **changes: object
) -> GroupDecision:
    under = rules(offered, policy)
    s = situation(5, **({"consent": {("app", "marketing"): np.ones(5, np.bool_)}} | changes))
    (weighed,) = weigh(under.actions, limits_of(under), s, ALL, EVERYONE)
    alone = int(s.holdout.sum())
    inputs = GroupInputs(
        group=EVERYONE, as_of=TINY_MOMENT, members=5, unknown=0, left_alone=alone, weighed=weighed, held=held,
        spent=(), seed=seed, round=round_of(under, TINY_MOMENT),
    )  # fmt: skip
    return answer(under, inputs, None)


def test_a_round_is_left_quiet_as_often_as_its_logged_chance_says() -> None:
    """The only comparison that there is divides by this chance; a holdout that is hashed would have none."""
    drawing = replace(POLICY, quiet_rounds=0.3, explore=0.2)
    made = [decided(banner(), seed, drawing) for seed in range(2_000)]
    quiet = np.array([one.channel is None for one in made])
    assert {round(one.silence or 0, 9) for one in made} == {0.3 + 0.7 * 0.1}
    assert quiet.mean() == pytest.approx(0.37, abs=0.03)
    assert all(one.propensity == pytest.approx(0.37 if one.channel is None else 0.63) for one in made)
    assert np.mean([one.holdout for one in made]) == pytest.approx(0.3, abs=0.03)


def test_where_no_message_may_go_no_lot_is_drawn() -> None:
    """Else rounds that a limit kept quiet are compared as if chance had."""
    refused = {("app", "marketing"): np.array([True, True, True, True, False])}
    for made in (decided(banner(), consent=refused), decided(banner(suppress_days=3), held=_sent(2))):
        assert (made.action, made.silence, made.propensity, made.holdout) == ("nothing", 1.0, 1.0, False)
    assert decided(banner(), consent=refused).blocking == {"banner": 1}
    assert decided(banner(suppress_days=3), held=_sent(2)).rejected == {"banner": "suppressed"}
    assert decided(banner(), held=(*_sent(20), *_sent(25))).rejected == {"banner": "contact_cap"}
    assert decided(banner(), policy=replace(POLICY, quiet_rounds=None)).silence == 0.0, "as the holdout"


def test_what_is_owed_to_everyone_is_never_left_quiet() -> None:
    """A recall must not wait for a lot."""
    recall = banner(purpose="service")
    consent = {("app", "service"): np.ones(5, np.bool_)}
    made = [decided(recall, seed, replace(POLICY, quiet_rounds=0.9), consent=consent) for seed in range(50)]
    assert {(one.action, one.propensity, one.silence) for one in made} == {("banner", 1.0, 0.0)}


def test_a_rest_is_counted_in_days_of_the_shop() -> None:
    """Else a round that is decided a minute earlier than the last one is lost."""
    loud = next(seed for seed in range(50) if decided(banner(suppress_days=1), seed).channel is not None)
    yesterday = (Contact(TINY_MOMENT - DAY + timedelta(minutes=1), "app", "banner"),)
    assert decided(banner(suppress_days=1), loud, held=yesterday).action == "banner"
    today = (Contact(TINY_MOMENT - timedelta(minutes=1), "app", "banner"),)
    assert decided(banner(suppress_days=1), loud, held=today).rejected == {"banner": "suppressed"}


def test_a_round_is_the_day_or_the_week_in_which_the_message_would_go() -> None:
    """Decided in a quiet evening, it is heard tomorrow: that is the round that it speaks for."""
    late = parse_moment("2017-12-31T14:30:00Z")  # 22:30 in Shanghai, a Sunday
    night = replace(POLICY, send=Send(quiet=(parse_moment("2017-01-01T21:00:00Z").time(),
                                             parse_moment("2017-01-01T09:00:00Z").time())))  # fmt: skip
    assert round_of(rules(banner(suppress_days=1)), late) == Round(
        "2017-12-31", "2017-12-30T16:00:00Z", "2017-12-31T16:00:00Z"
    )
    assert round_of(rules(banner(suppress_days=1), night), late).id == "2018-01-01"
    assert round_of(rules(banner(suppress_days=7)), late) == Round(
        "2017-W52", "2017-12-24T16:00:00Z", "2017-12-31T16:00:00Z"
    )


def _sent(days: float) -> tuple[Contact, ...]:
    return (Contact(TINY_MOMENT - days * DAY, "app", "banner"),)


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, settings: Settings, publish: Publish) -> Settings:
    """May show everyone a banner once a day; holds out a tenth of its customers. With either ledger."""
    declare(settings, BANNER.format(rest=1))
    path = settings.shop / "shop.toml"
    text = path.read_text("utf-8").replace("mail = true", "mail = true\napp = true")
    path.write_text(text.replace("explore = 0.0", "explore = 0.0\nquiet_rounds = 0.5"), "utf-8")
    policy(settings, holdout="0.1", max_contacts="20")
    publish()
    of_file = request.param == "sqlite"
    return replace(
        settings, ledger="sqlite" if of_file else request.getfixturevalue("postgres").new_database()
    )


def on(shop: Settings, day: float) -> Settings:
    return replace(shop, as_of=TINY_MOMENT + day * DAY, expire_after=60 * DAY)


def test_a_round_is_recorded_once_replayed_and_marks_the_holdout_exposed(
    shop: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else who runs it twice draws twice; and the holdout is read as untouched by what all of it saw."""
    made = [grouped.decided(on(shop, day))[0] for day in range(12)]
    again = grouped.decided(on(shop, 0.2))
    assert again == [made[0]], "a round has one lot, whenever it is asked"
    assert {one.silence for one in made} == {0.5}
    loud = [one for one in made if one.channel == "app"]
    assert 2 <= len(loud) <= 10
    assert all(one.holdout == (one.channel is None) for one in made)
    exposed = {one.exposed for one in loud}
    assert len(exposed) == 1
    assert 5 < exposed.pop() < 40
    assert [one.exposed for one in made if one.channel is None] == [0] * (12 - len(loud))
    with closing(Ledger(shop)) as ledger:
        entries = [*ledger.entries("everyone")]
        assert [(one.unit, one.action, one.propensity) for one in entries] == [
            ("everyone", one.action, 0.5) for one in made
        ]
        assert [*ledger.entries()] == [*ledger.entries("group")] == []
        assert ledger.customers() == {}
        assert len(ledger.held(AUDIENCE, TINY_MOMENT - DAY, TINY_MOMENT + 30 * DAY)) == len(loud)
        ledger.erase([f"c{n:04}" for n in range(200)])
        told = Delivery(id="1", decision_id=str(loud[0].decision_id), source="t", status="blocked",
                        at=parse_moment(loud[0].as_of))  # fmt: skip
        assert [one.status for one in ledger.report([told], TINY_MOMENT + 13 * DAY)] == ["accepted"]  # type: ignore[union-attr]
    assert {replay(shop, str(one.decision_id)).verdict for one in made} == {"equal"}
    assert len(reached_by(shop, EVERYONE, TINY_MOMENT, TINY_MOMENT + 12 * DAY)) == len(loud) - 1
    assert heard(shop, TINY_MOMENT, TINY_MOMENT + 12 * DAY).everyone == len(loud) - 1
    grouped.decide_for_groups(on(shop, 0), None, dry_run=False)
    said = capsys.readouterr().out
    assert "What is said to everyone" in said
    assert "it was to stay quiet with a chance of 0.5" in said
    assert "nothing new: all 1 were recorded before" in said


def test_a_round_that_several_decide_at_once_has_one_lot(shop: Settings) -> None:
    """Else two hosts whose night jobs start together draw twice, show the banner in a round that was to be
    quiet, and charge its budget twice."""
    with ThreadPoolExecutor(4) as pool:
        for day in range(6):
            made = [*pool.map(lambda part, day=day: grouped.decided(on(shop, day + part / 1_000)), range(4))]
            assert len({one.decision_id for (one,) in made}) == 1
    with closing(Ledger(shop)) as ledger:
        entries = [*ledger.entries("everyone")]
        assert len(entries) == 6
        loud = sum(one.action == "banner" for one in entries)
        assert len(ledger.held(AUDIENCE, TINY_MOMENT - DAY, TINY_MOMENT + 30 * DAY)) == loud
        assert ledger.damaged() == []


def test_a_pause_and_a_budget_stop_a_message_to_everyone(shop: Settings) -> None:
    """Else the switch that stops everything leaves the loudest channel on."""
    with pausing(shop) as pauses:
        pauses.pause("channel:app", "a wrong price", [banner()])
    assert grouped.decided(shop)[0].rejected == {"banner": "paused"}
    path = shop.shop / "shop.toml"
    path.write_text(path.read_text("utf-8") + '\n[[policy.budget]]\namount = 1.99\nper = "day"\n', "utf-8")
    with pausing(shop) as pauses:
        pauses.resume("channel:app")
    assert grouped.decided(on(shop, 1))[0].rejected == {"banner": "budget"}, "200 customers at a cent each"


def test_a_change_of_one_number_in_the_record_is_seen_by_the_replay(shop: Settings) -> None:
    """Else `equal` is what it says of anything."""
    (made,) = grouped.decided(shop)
    with closing(Ledger(shop)) as ledger:
        entry = ledger.read(str(made.decision_id))
    assert entry.sealed is not None
    inputs = msgspec.json.decode(entry.sealed.inputs, type=GroupInputs)
    seeds = (answer(msgspec.json.decode(entry.context, type=Rules), of, made.decision_id) for of in (
        msgspec.structs.replace(inputs, seed=seed) for seed in range(40)
    ))  # fmt: skip
    assert {one.channel for one in seeds} == {None, "app"}


def test_without_any_action_for_a_group_or_everyone_it_says_what_to_declare(
    settings: Settings, publish: Publish
) -> None:
    publish()
    with pytest.raises(UsageError, match=r'reach="everyone"'):
        grouped.decided(settings)


def test_a_message_does_not_go_in_the_round_after_its_own(shop: Settings) -> None:
    """Else the day that the lot left quiet hears what was meant for the day before."""
    made = next(one for day in range(12) if (one := grouped.decided(on(shop, day))[0]).channel is not None)
    assert made.round is not None
    ends, id = parse_moment(made.round.until), str(made.decision_id)
    for at, may, why in ((ends - timedelta(minutes=1), True, None), (ends, False, "expired")):
        with opened(replace(shop, as_of=at)) as context:
            said = may_send(context, id, "r")
            assert (said.may_send, said.reason) == (may, why)


def test_who_refuses_after_the_lot_keeps_the_message_from_everyone(shop: Settings) -> None:
    """Else the banner that was decided in the morning meets in the evening who has said no to it."""
    made = ((day, grouped.decided(on(shop, day))[0]) for day in range(12))
    day, one = next((day, one) for day, one in made if one.channel is not None)
    with opened(on(shop, day)) as context:
        assert may_send(context, str(one.decision_id), "r").may_send
        no = {
            "type": "consent", "source": "web", "id": "1", "customer": "c0005", "at": iso(shop.now()),
            "channel": "app", "purpose": "marketing", "status": "withdrawn",
        }  # fmt: skip
        body = json.dumps({"events": [no]}).encode()
        (became,) = take(body, "0" * 32, shop, context.standings.inbox, lambda _: [None]).results
        assert isinstance(became, EventAnswer)
        said = may_send(context, str(one.decision_id), "r")
        assert (said.may_send, said.reason) == (False, "no_consent")


def test_rounds_are_judged_from_the_ledger_and_the_log(
    shop: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An operations lead must read in either language what banners brought, or that it is too early."""
    made = [grouped.decided(on(shop, day))[0] for day in range(30)]
    loud = [parse_moment(one.round.since) for one in made if one.round is not None and one.channel]
    ids = [f"c{n:04}" for n in range(200)]
    first = TINY_MOMENT - 40 * DAY
    known = [{"customer_id": id, "at": first, "known_at": first} for id in ids]
    orders = [
        {
            "order_id": f"{n}-{id}",
            "customer_id": id,
            "at": at + DAY / 2,
            "known_at": at + DAY / 2,
            "amount": 10,
        }
        for n, at in enumerate(loud)
        for id in ids[:60]
    ]
    log = write_log(shop.home / "log" / "hand", {"customers": known, "orders": orders})
    until = iso(TINY_MOMENT + 40 * DAY)
    manifest = {"starts_at": iso(log.starts_at), "complete_until": until, "shop": log.shop}
    (log.folder / "manifest.json").write_text(json.dumps(manifest | {"files": log.files}))
    (shop.home / "log" / "CURRENT").write_text("hand")
    later, page = on(shop, 41), tmp_path / "page.html"
    begun = TINY_MOMENT - DAY
    assert evaluate(later, begun, 33, "en", page) == 3, "it says that groups were not compared"
    said = " ".join(capsys.readouterr().out.split())
    assert "changed the order value by +3 [+3 +3] a customer in its round; that is proven" in said
    assert "Groups are not compared: the log knows nobody who is in a group" in said
    text = page.read_text("utf-8")
    assert "全员200人" in text
    assert "已证实" in text
    assert evaluate(later, begun, 9, "zh", None) == 3
    assert "不作任何结论" in capsys.readouterr().out
    with pytest.raises(UsageError, match="nobody who is in a group"):
        evaluate(later, TINY_MOMENT + 35 * DAY, 5, "en", None)
