"""The contact policy in shop.toml: read strictly, old keys as before, and counted by features of its own."""

from datetime import date, time
from pathlib import Path

import pytest
from logs import empty_shop

from features.contracts import declaration_problems
from features.definitions import catalogue
from features.errors import SettingsError
from features.policy import HOURS, Budget, Cap, Cooldown, Send
from features.shop import Shop

WHOLE = """
reserve_hours = 48
person_above = 20
price_fairness = "block"
price_gap = 0.2

[[policy.cap]]
channel = "sms"
contacts = 1
days = 14

[[policy.cooldown]]
channel = "sms"
days = 2.5

[[policy.cooldown]]
action = "campaign_a"
days = 30

[policy.send]
quiet = ["21:00", "09:00"]
hours = ["order_hour_365d"]
zone = "home_zone"
service = true

[[policy.budget]]
amount = 500
per = "week"
scenario = "win_back"
"""


def shop(folder: Path, more: str = "", **changes: str) -> Shop:
    path = empty_shop(folder / "shop") / "shop.toml"
    text = path.read_text("utf-8") + more
    for old, new in changes.items():
        text = "\n".join(new if line.startswith(f"{old} =") else line for line in text.splitlines())
    path.write_text(text, "utf-8")
    return Shop.load(path.parent)


def test_the_old_keys_are_a_cap_over_all_channels_and_nothing_else_changes(tmp_path: Path) -> None:
    """A shop that upgrades must not start to send more, or at night less, than it did."""
    (policy,) = shop(tmp_path).policies
    assert policy.caps == (Cap(2, 30),)
    assert (policy.cooldowns, policy.budgets, policy.reserve_hours, policy.person_above) == (
        (),
        (),
        None,
        None,
    )
    assert policy.send == Send(quiet=None, hours=HOURS)
    assert shop(tmp_path).declared("FEATURES") == (), "the built-in features count it"


def test_every_limit_is_read(tmp_path: Path) -> None:
    (policy,) = shop(tmp_path, WHOLE).policies
    assert policy.caps == (Cap(2, 30), Cap(1, 14, "sms"))
    assert policy.cooldowns == (Cooldown(2.5, "sms"), Cooldown(30, action="campaign_a"))
    assert policy.send == Send((time(21), time(9)), ("order_hour_365d",), "home_zone", service=True)
    assert policy.budgets == (Budget(500, "week", "win_back"),)
    assert (policy.reserve_hours, policy.person_above) == (48, 20)
    assert (policy.price_fairness, policy.price_gap) == ("block", 0.2)
    lean = shop(tmp_path, WHOLE, max_contacts="", per_days="").policies[0]
    assert (lean.caps, lean.overall) == ((Cap(1, 14, "sms"),), Cap(1, 14, "sms"))
    assert shop(tmp_path, "[policy.send]\nhours = []").policies[0].send == Send(hours=())


def test_what_no_built_in_feature_counts_becomes_a_feature_of_the_shop(tmp_path: Path) -> None:
    """Else a cap on SMS would count none, or somebody must declare again what the policy says already."""
    own = {feature.name: feature for feature in shop(tmp_path, WHOLE).declared("FEATURES")}
    assert set(own) == {"contacts_sms_14d", "days_since_contact_sms", "days_since_contact_by_campaign_a"}
    assert (own["contacts_sms_14d"].window, own["contacts_sms_14d"].where) == (14, "channel = 'sms'")
    assert own["days_since_contact_by_campaign_a"].where == "action = 'campaign_a'"
    assert declaration_problems(own) == []
    assert set(own) <= set(catalogue(own.values()))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('quiet = ["21:00", "09:00"]', 'quiet = ["21:00"]', r"send\.quiet is .*two different times of day"),
        ('"21:00"', '"24:00"', r"send\.quiet .*from \"00:00\" to \"23:59\""),
        ('per = "week"', 'per = "wek"', r"budget\[1\]\.per is 'wek': expected one of day, week.*'week'"),
        ("amount = 500", "amount = -1", r"budget\[1\]\.amount is -1: expected an amount"),
        ("contacts = 1", "contact = 1", r"policy\[1\]\.cap\[1\] lacks contacts.*'contact', which is no key"),
        ("days = 14", "days = 0", r"cap\[1\]\.days is 0: expected a whole number from 1"),
        ("days = 2.5", "days = 0", r"cooldown\[1\]\.days is 0: expected"),
        ('channel = "sms"', 'channel = "S M S"', r"cap\[1\]\.channel is 'S M S': expected a name"),
        (
            "reserve_hours = 48",
            'reserve_hours = "2d"',
            r"policy\[1\]\.reserve_hours is '2d': expected a number",
        ),
        ('"block"', '"forbid"', r"price_fairness is 'forbid': expected one of report, block"),
        ("reserve_hours", "reserve", r"unknown key 'reserve'.* It takes: .*quiet_rounds, reserve_hours"),
        ("reserve_hours", "reserved_hours", r"unknown key 'reserved_hours'; did you mean 'reserve_hours'"),
    ],
)
def test_a_slip_is_named_with_its_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    """A limit that is misspelt must not silently be none."""
    assert old in WHOLE
    with pytest.raises(SettingsError, match=says) as caught:
        shop(tmp_path, WHOLE.replace(old, new, 1))
    assert "shop.toml" in str(caught.value)


def test_a_period_of_a_budget_begins_where_the_calendar_says() -> None:
    day = date(2017, 12, 6)
    begins = {per: Budget(1, per).since(day) for per in ("day", "week", "month", "year")}  # type: ignore[arg-type]
    assert begins == {
        "day": day, "week": date(2017, 12, 4), "month": date(2017, 12, 1), "year": date(2017, 1, 1),
    }  # fmt: skip
