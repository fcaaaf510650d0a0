"""Limits and bundles that cannot mean what they say, named by `propensity check` before they cost money."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from propensity import main

DECLARED = """
from features.words import Words
from serving.actions import Action, Effect, Step
from serving.scenarios import Scenario
W = Words("x", "甲")
ACTIONS = [
    Action(
        name="live", channel="app", words=W, goal=W, effect=Effect(0, 0, 0, "prior", W), validity_days=3,
        then=(Step("sms", W, after_hours=20), Step("sms", W, after_hours=30)),
    ),
]
SCENARIOS = [Scenario(name="lapsed", words=W, when="days_since_order >= 30", due_days=30, actions=("live",))]
"""
POLICY = """
[[policy]]
from = 2017-01-01
max_contacts = 5
per_days = 7
holdout = 0.1
explore = 0.1
salt = "a"
"""


def checked(folder: Path, more: str = "", old: str = "", new: str = "") -> Result:
    """`propensity check` of a shop with these declarations, one of them changed, and more in its policy."""
    env = {"PROPENSITY_SHOP": str(folder / "shop"), "PROPENSITY_HOME": str(folder / "home")}
    assert CliRunner().invoke(main, ["init", str(folder / "shop")]).exit_code == 0
    path = folder / "shop" / "shop.toml"
    head = path.read_text("utf-8").partition("[[policy]]")[0]
    assert old in DECLARED + POLICY
    path.write_text(head + POLICY.replace(old, new) + more, "utf-8")
    (folder / "shop" / "shop.py").write_text(DECLARED.replace(old, new), "utf-8")
    return CliRunner().invoke(main, ["check"], env=env)


def test_a_shop_whose_bundles_and_limits_fit_is_fine(tmp_path: Path) -> None:
    """Else whoever plans well is told to mend it. A limit on the channel of a later step alone is one."""
    fine = checked(tmp_path, '[[policy.cap]]\nchannel = "sms"\ncontacts = 2\ndays = 7\n')
    assert fine.exit_code == 0, fine.output


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("validity_days=3", "validity_days=1", "its step 3 goes up to 53 hours after the decision, as"),
        ("max_contacts = 5", "max_contacts = 2", "is 3 contacts, and the policy from 2017-01-01 allows 2"),
        ("", '[[policy.cap]]\nchannel = "sms"\ncontacts = 1\ndays = 2\n', "is 2 contacts on sms"),
    ],
)
def test_a_bundle_that_could_never_go_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Else a campaign is planned, declared and never sent, and nobody says why."""
    wrong = checked(tmp_path, new if not old else "", old, new if old else "")
    assert wrong.exit_code == 1
    (problem,) = (line for line in wrong.output.splitlines() if line.startswith("problem: "))
    assert "shop.py, line 8: action 'live'" in problem
    assert says in problem


SEND = '[policy.send]\nquiet = ["21:00", "09:00"]\nhours = []\n'


def test_a_step_that_the_quiet_hours_move_past_its_offer_is_named(tmp_path: Path) -> None:
    """Else customers who are decided about in the evening are told of an offer that ended while it was quiet;
    a shop whose messages wait for nothing has no such customers."""
    for hours, late in ((30, False), (60, True)):
        for send in (SEND, "[policy.send]\nhours = []\n"):
            folder = tmp_path / f"{hours}{send == SEND}"
            found = checked(folder, send, "after_hours=30", f"after_hours={hours}")
            assert found.exit_code == (late and send == SEND), found.output
            assert (
                "its step 3 goes up to 84 hours after the decision, as messages wait under the policy from "
                "2017-01-01, and what is offered stands for 72" in found.output
            ) == (late and send == SEND)


def test_a_step_after_the_round_of_a_message_to_everyone_is_named(tmp_path: Path) -> None:
    """Else the second post of a show is decided each morning and never sent, as its round is over then."""
    steps = 'then=(Step("sms", W, after_hours=20), Step("sms", W, after_hours=30)),'
    for hours, wrong in ((11, False), (14, True)):  # after 09:00: at 20:00; or at 23:00, which is quiet
        then = f'then=(Step("sms", W, after_hours={hours}, reach="everyone"),), reach="everyone",'
        found = checked(tmp_path / str(hours), SEND, steps, then)
        assert ("its step 2 goes 33 hours after its round begins" in found.output) == wrong


def test_a_part_that_no_cap_allows_is_told_as_that_and_not_as_the_bundle(tmp_path: Path) -> None:
    """Else whoever plans a live show reads that it is never announced, and takes out what is: its notice."""
    steps = 'then=(Step("sms", W, after_hours=20), Step("sms", W, after_hours=30)),'
    wide = 'then=(Step("sms", W, after_hours=2), Step("sms", W, after_hours=3)), reach="everyone",'
    for number, contacts in enumerate((1, 0)):
        cap = f'[[policy.cap]]\nchannel = "sms"\ncontacts = {contacts}\ndays = 7\n'
        found = checked(tmp_path / str(number), cap, steps, wide)
        (line,) = (line for line in found.output.splitlines() if "for person" in line)
        assert "chosen" not in found.output
        assert f"part for person {'could never be' if contacts else 'is never'} sent" in line
        assert line.startswith("problem: " if contacts else "note: ")


def test_a_limit_of_none_is_no_mistake_and_an_old_policy_binds_no_new_bundle(tmp_path: Path) -> None:
    """Else a channel that is stopped on purpose, or what a policy of last year allowed, fails every check."""
    stopped = '[[policy.cap]]\nchannel = "sms"\ncontacts = 0\ndays = 2\n'
    assert checked(tmp_path / "a", stopped).exit_code == 0
    before = POLICY.replace("2017", "2016").replace("max_contacts = 5", "max_contacts = 1")
    assert checked(tmp_path / "b", before).exit_code == 0


def test_a_budget_of_no_scenario_is_named(tmp_path: Path) -> None:
    """Else it limits nothing, and the win-back spends what it likes."""
    budget = '[[policy.budget]]\namount = 100.0\nper = "month"\nscenario = "lapst"\n'
    wrong = checked(tmp_path, budget)
    assert wrong.exit_code == 1
    assert (
        "has a budget of the scenario lapst, which is not declared, so it limits nothing; did you mean"
        in (wrong.output)
    )
    assert "'lapsed'? There are: lapsed" in wrong.output


def test_two_policies_of_one_day_are_refused(tmp_path: Path) -> None:
    """Else the one that stands last binds, and the limits of the other are gone."""
    wrong = checked(tmp_path, POLICY.replace("max_contacts = 5", "max_contacts = 0"))
    assert wrong.exit_code != 0
    assert "two [[policy]] from 2017-01-01: give one of them another day" in wrong.output
