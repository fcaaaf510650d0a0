"""The policy's limits in decisions over real files: counted from everywhere, across workers, and told."""

# ruff: noqa: F811 (fixtures of another module are arguments)

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from builds_by_hand import write_build
from test_decisions import Publish, decided, declare, opened, policy, publish, rejected, settings  # noqa: F401
from tiny import TINY_MOMENT

from features import online
from features.compute.builds import Build
from features.errors import SettingsError
from features.moments import DAY
from features.settings import Settings
from serving.answers import DecisionAnswer
from serving.api import DecisionRequest
from serving.decisions import DecisionContext, take_decision
from serving.ledger import Ledger
from serving.ledger_reports import Delivery
from serving.replays import replay

SMS = """
from features.words import Words
from serving.scenarios import Scenario
ACTIONS += [
    replace(ACTIONS[0], name="text_a", channel="sms", eligible=(), suppress_days=0),
    replace(ACTIONS[1], name="text_b", channel="sms", eligible=(), suppress_days=0),
    replace(ACTIONS[1], name="order_news", channel="sms", purpose="service", eligible=()),
]
SCENARIOS = [
    Scenario(name=name, words=Words("x", "甲"), actions=("text_b",), due_days=1, when="days_since_order >= 0")
    for name in ("win_back", "birthday")
]
"""
HOUR = timedelta(hours=1)


@pytest.fixture
def limited(settings: Settings) -> Any:
    """A shop with two marketing texts beside the campaigns, and what is appended to its policy."""

    def make(policy: str) -> None:
        path = settings.shop / "shop.toml"
        text = path.read_text("utf-8").replace("mail = true", "mail = true\nsms = true")
        path.write_text(f"{text}\n{policy}", "utf-8")
        declare(settings, SMS)

    return make


def later(settings: Settings, hours: float) -> Settings:
    return replace(settings, as_of=TINY_MOMENT + hours * HOUR)


def limits(answer: DecisionAnswer) -> Mapping[str, str | None]:
    return {action.action: action.limit for action in answer.actions}


def test_a_cap_and_a_cooldown_are_of_their_channel_and_action(
    settings: Settings, publish: Publish, limited: Any
) -> None:
    """One SMS a week must not stop a letter, nor a letter the SMS; each refusal says which limit it was."""
    limited(
        "[[policy.cap]]\nchannel = 'sms'\ncontacts = 1\ndays = 7\n"
        "[[policy.cooldown]]\naction = 'text_a'\ndays = 9\n"
        "[[policy.cooldown]]\nchannel = 'mail'\ndays = 0.5\n"
    )
    publish()
    texts = ["text_a", "text_b"]
    assert decided(settings, candidates=["text_a"]).action == "text_a"
    second = decided(later(settings, 1), candidates=[*texts, "campaign_a"])
    assert rejected(second)["text_b"] == "contact_cap"
    assert limits(second)["text_b"] == "1 in 7 days on sms"
    assert (rejected(second)["campaign_a"], limits(second)["campaign_a"]) == (
        "suppressed", "7 days of rest before campaign_a",
    )  # fmt: skip
    week = decided(later(settings, 7 * 24), candidates=texts)
    assert week.action == "text_b"
    assert (rejected(week)["text_a"], limits(week)["text_a"]) == ("suppressed", "9 days of rest of text_a")
    for answer in (second, week):
        assert replay(settings, answer.decision_id or "").verdict == "equal"


def test_a_message_waits_for_the_morning_and_for_the_customers_hour(
    settings: Settings, publish: Publish, limited: Any
) -> None:
    """19:00 in New York is the middle of the night in none of it, but quiet here; what waits is told why."""
    limited('reserve_hours = 24\n[policy.send]\nquiet = ["18:00", "08:30"]\nhours = ["order_hour_365d"]\n')
    publish()
    answer = decided(settings, candidates=["text_a"])  # at 19:00 on the second
    assert answer.send_at == "2017-12-03T13:30:00Z"
    assert answer.send_text is not None
    assert "quiet hours" in answer.send_text.en
    assert answer.reserved_until == "2017-12-04T13:30:00Z"
    assert {a.slot for a in answer.actions if a.channel and a.action != "order_news"} == {answer.send_at}
    assert answer.used.zone == "America/New_York"
    service = decided(settings, "c0002", candidates=["order_news"])
    assert (service.send_at, service.reserved_until) == ("2017-12-03T00:00:00Z", None), "service is exempt"
    with closing(Ledger(settings)) as ledger:
        (held,) = ledger.held("c0001", TINY_MOMENT - DAY, TINY_MOMENT)
        assert held.at == TINY_MOMENT + 13.5 * HOUR, "the contact is when it is sent"
    assert replay(settings, answer.decision_id or "").verdict == "equal"


def test_hour_and_zone_are_the_customers_where_a_feature_knows_them(settings: Settings, limited: Any) -> None:
    """A customer in Los Angeles is asleep for three hours longer."""
    limited('[policy.send]\nquiet = ["21:00", "09:00"]\nhours = ["order_hour_365d"]\nzone = "home"\n')
    with (settings.shop / "shop.py").open("a") as file:
        file.write(
            "from features.definitions import Feature\nfrom features.words import Words\n"
            "ZONES = ('America/Los_Angeles', 'Asia/Shanghai')\n"
            "FEATURES = [Feature(name='home', words=Words('Zone', '时区'), unit='zone', measure='last',\n"
            "                    table='contacts', column='campaign_id', vocabulary=ZONES)]\n"
        )
    names = ("order_value_365d", "order_hour_365d", "home")
    rows = np.array([[80, np.nan, 0], [80, np.nan, 1], [80, 20, np.nan]], np.float32)
    build: Build = write_build(settings, names, {TINY_MOMENT: (["c1", "c2", "c3"], rows)})
    online.publish(settings, build, TINY_MOMENT)
    at_six = later(settings, 14)  # 14:00 UTC: 06:00, 22:00, and 09:00 in the shop
    sent = [decided(at_six, id, candidates=["text_a"]) for id in ("c1", "c2", "c3")]
    assert [answer.send_at for answer in sent] == [
        "2017-12-03T17:00:00Z", "2017-12-04T01:00:00Z", "2017-12-04T01:00:00Z",
    ]  # fmt: skip
    assert [answer.used.zone for answer in sent] == [
        "America/Los_Angeles", "Asia/Shanghai", "America/New_York",
    ]  # fmt: skip
    assert sent[2].send_text is not None
    assert "usually there" in sent[2].send_text.en
    assert replay(settings, sent[1].decision_id or "").verdict == "equal"


def test_a_contact_that_nobody_reported_is_free_again(
    settings: Settings, publish: Publish, limited: Any
) -> None:
    """The policy says after how long; a delivery that is reported keeps it for good."""
    limited("reserve_hours = 6\n[[policy.cap]]\nchannel = 'sms'\ncontacts = 1\ndays = 30\n")
    publish()
    first = decided(settings, candidates=["text_a"])
    assert decided(later(settings, 5), candidates=["text_a"]).action == "nothing"
    second = decided(later(settings, 6), candidates=["text_a"])
    assert second.action == "text_a"
    with closing(Ledger(settings)) as ledger:
        sent = TINY_MOMENT + 7 * HOUR
        told = Delivery(source="m", id="1", decision_id=second.decision_id or "", status="sent", at=sent)
        ledger.report([told], sent)
    assert decided(later(settings, 99), candidates=["text_a"]).action == "nothing"
    assert first.reserved_until == "2017-12-03T06:00:00Z"


def test_a_person_decides_where_being_wrong_is_dear(
    settings: Settings, publish: Publish, limited: Any
) -> None:
    """And only there: a shop that sets no bound asks nobody."""
    publish()
    assert (decided(settings, preview=True).route, decided(settings, preview=True).expected_loss) == (
        "automatic", None,
    )  # fmt: skip
    limited("person_above = 0.01\n")
    answer = decided(settings)
    assert answer.route == "person"
    assert answer.expected_loss is not None
    assert answer.expected_loss > 0.01
    assert answer.route_text is not None
    assert "policy allows" in answer.route_text.en
    assert replay(settings, answer.decision_id or "").verdict == "equal"


def test_doing_nothing_needs_no_person(settings: Settings, publish: Publish, limited: Any) -> None:
    """Else a quarter of the day's decisions waits for a yes to which nothing could be done."""
    publish()
    policy(settings, explore="1.0")
    limited("person_above = 0.01\n")
    taken = [decided(settings, f"c{number:04}", preview=True) for number in range(150)]  # each by a lot
    nothing = [one for one in taken if one.action == "nothing"]
    assert {one.route for one in nothing} == {"automatic"}
    assert max(one.expected_loss or 0.0 for one in nothing) > 0.01
    assert "person" in {one.route for one in taken}


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("[[policy.cap]]\nchannel = 'smss'\ncontacts = 1\ndays = 7\n", "cap on smss, a channel .* 'sms'"),
        ("[[policy.cooldown]]\naction = 'text_c'\ndays = 7\n", "cooldown of text_c, which is no action"),
        ("[policy.send]\nhours = ['tenure']\n", "send.hours from tenure"),
        ("[policy.send]\nzone = 'tenure'\n", "send.zone from tenure"),
    ],
)
def test_a_limit_on_what_is_not_there_is_refused_before_the_first_request(
    settings: Settings, limited: Any, policy: str, says: str
) -> None:
    """It would never hold anybody back."""
    limited(policy)
    with pytest.raises(SettingsError, match=says):
        DecisionContext.open(settings)


def test_workers_together_never_pass_a_budget(settings: Settings, publish: Publish, limited: Any) -> None:
    """Two that see the last cent at the same time must not both spend it. An offer costs .0525 here."""
    limited("[[policy.budget]]\namount = 1.0\nper = 'day'\nscenario = 'win_back'\n")
    publish()

    def spend(first: int) -> int:
        with opened(settings) as worker:  # a connection of its own
            answers = [
                take_decision(
                    worker,
                    DecisionRequest(f"c{number:04}", candidates=["text_b"], scenario="win_back"),
                    client="tests",
                )
                for number in range(first, first + 20)
            ]
        return sum(answer.action == "text_b" for answer in answers)

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(spend, (0, 20, 40, 60)))
    assert sum(taken) == int(1.0 / 0.0525)
    answer = decided(settings, "c0199", candidates=["text_b"], scenario="win_back")
    assert rejected(answer)["text_b"] == "budget"
    assert limits(answer)["text_b"] == "0.00 left of 1.00 a day for win_back"
    assert answer.used.budgets_left == pytest.approx([1.0 - 19 * 0.0525])
    assert decided(settings, "c0198", candidates=["text_b"], scenario="birthday").action == "text_b"
    assert (
        decided(later(settings, 24), "c0199", candidates=["text_b"], scenario="win_back").action == "text_b"
    )
    assert replay(settings, answer.decision_id or "").verdict == "equal"


def test_the_cap_counts_the_log_and_what_was_decided_since(settings: Settings, publish: Publish) -> None:
    """A customer who had a campaign is not sent two more because the features do not know the second yet."""
    publish(contacts_30d=1, days_since_contact=20)
    assert decided(settings).action == "campaign_b"
    soon = decided(replace(settings, as_of=TINY_MOMENT + 2 * DAY))
    assert soon.action == "nothing"
    assert rejected(soon)["campaign_a"] == "suppressed"
    later = decided(replace(settings, as_of=TINY_MOMENT + 8 * DAY))
    assert later.action == "nothing"
    assert rejected(later)["campaign_a"] == "contact_cap"
    assert (later.used.contacts_in_log, later.used.contacts_decided, later.used.max_contacts) == (1, 1, 2)
    assert later.binding_constraint is not None
    assert later.binding_constraint.reject_reason == "contact_cap"
    assert later.stale
    assert decided(settings, "c0002").action == "campaign_b", "a cap is one customer's"


def test_a_contact_of_the_log_suppresses_until_the_rest_is_over(settings: Settings, publish: Publish) -> None:
    """The days since the build count too: features of last week must not keep her waiting."""
    publish(contacts_30d=1, days_since_contact=3)
    assert rejected(decided(settings, preview=True))["campaign_a"] == "suppressed"
    assert decided(replace(settings, as_of=TINY_MOMENT + 4 * DAY), preview=True).action == "campaign_b"


def test_a_channel_without_consent_is_never_used(settings: Settings, publish: Publish) -> None:
    """Where shop.toml grants nothing, nothing is sent."""
    publish()
    policy(settings, mail="false")
    answer = decided(settings)
    assert answer.action == "nothing"
    assert rejected(answer)["campaign_a"] == "no_consent"
    assert answer.used.consent == {"mail": False}


def test_contacts_that_no_published_feature_counts_are_never_taken_for_none(
    settings: Settings, publish: Publish
) -> None:
    """A wider window counts too many until the next build, never too few; without one nothing is decided."""
    publish(contacts_30d=2)
    policy(settings, per_days="28")
    assert rejected(decided(settings))["campaign_a"] == "contact_cap"
    policy(settings, per_days="60")
    with pytest.raises(SettingsError, match="60 days.*`propensity features build` adds contacts_60d"):
        decided(settings)
