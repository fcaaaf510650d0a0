"""A slip in a shop's shop.py must be found when it is read, by name, and not in the first decision."""

import re
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from click.testing import CliRunner, Result
from logs import empty_shop

import propensity
from features.definitions import Feature
from features.errors import PropensityError, SettingsError
from features.settings import Settings
from features.shop import DECLARATIONS, Shop
from features.tags import Tag
from features.typed import misfits
from features.words import Words
from monitoring.checks import CHECKS
from serving.actions import Action, Condition, Effect, Step
from serving.conditions import Live
from serving.decision_context import DecisionContext
from serving.scenarios import Anniversary, Scenario, Segment
from serving.segments import DeclaredSegment
from serving.watches import Watch
from training.target import problems
from training.targets import TARGETS

SAY = Words("Some", "一些")
ONE_OF_EACH: dict[str, Any] = {
    "FEATURES": Feature(
        name="firm", words=SAY, unit="code", measure="last", table="tags", column="tag",
        where="origin = 'imported'", vocabulary=("a", "b"),
    ),
    "TAGS": Tag(name="often", words=SAY, meaning=SAY, when="orders_7d > 3"),
    "TARGETS": TARGETS[0],
    "ACTIONS": Action(
        name="sms_coupon", channel="sms", words=SAY, goal=SAY,
        effect=Effect(0.01, 0.0, 0.02, "prior", SAY), eligible=(Condition("tenure", 1, 9),),
        suppressed_if=(Condition("now.page", one_of=("pay",)),), then=(Step("mail", SAY, 0.1, 24),),
    ),
    "SCENARIOS": Scenario(
        name="quiet", words=SAY, actions=("sms_coupon",), due_days=7, when="tenure > 3",
        anniversary=Anniversary("birthday", 7), segment=Segment("stage", ("exit",)),
        eligible=(Condition("tenure", 1, 9),),
    ),
    "CONTEXT": Live("table", "number", SAY),
    "CHECKS": CHECKS[0],
    "SEGMENTS": DeclaredSegment(name="lovers", words=SAY, when="tenure > 3"),
    "WATCHES": Watch(name="leaving", words=SAY, figure="tenure", enters=0.6, leaves=0.5),
}  # fmt: skip
WRONG: tuple[Any, ...] = (
    "margn", 3, 2.5, True, None, float("nan"), float("inf"), -float("inf"), ("a",), (3,), {}, object(),
)  # fmt: skip


def changed(declared: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        return (*declared[:step], changed(declared[step], tuple(rest), value), *declared[step + 1 :])
    return replace(declared, **{step: changed(getattr(declared, step), tuple(rest), value)})


def places(declared: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """(path of a field, its annotation), also of what is inside."""
    hints = get_type_hints(type(declared))
    for name in (field.name for field in fields(declared)):
        value = getattr(declared, name)
        yield (*path, name), hints[name]
        for place, one in enumerate(value if type(value) is tuple else ()):
            if is_dataclass(one):
                yield from places(one, (*path, name, place))
        if is_dataclass(value):
            yield from places(value, (*path, name))


def takes(hint: Any, value: Any) -> bool:
    """Whether the ledger's own reader takes it for that annotation; and if it is a number, what it writes."""
    options = get_args(hint) if get_origin(hint) not in (Literal, tuple, Callable) else (hint,)
    if value in (float("inf"), -float("inf")) or value != value:
        return False
    if any(of is Words or is_dataclass(of) for of in options or (hint,)) and value is not None:
        return str in options and isinstance(value, str)  # else a plain tuple or table would do
    try:
        return bool(msgspec.convert(value, hint) == value)
    except msgspec.ValidationError:
        return False


def refusal(kind: str, path: tuple[str | int, ...], value: Any) -> str:
    """What is said of one of that kind with that value there."""
    try:
        made = changed(ONE_OF_EACH[kind], path, value)
    except PropensityError as error:
        return str(error)
    return "; ".join(problems(made)) if kind == "TARGETS" else ""


@pytest.mark.parametrize("kind", DECLARATIONS)
def test_no_field_of_a_declaration_takes_what_its_annotation_does_not(kind: str) -> None:
    """Else the check passes, the service starts, and each decision fails: the ledger cannot write it."""
    assert type(ONE_OF_EACH[kind]).__name__ == DECLARATIONS[kind]
    assert misfits(ONE_OF_EACH[kind]) == []
    asked = 0
    for path, hint in places(ONE_OF_EACH[kind]):
        if path == ("measure",) and kind == "CHECKS":
            assert (
                refusal(kind, path, "orders") == "check freshness: measure is 'orders': expected a function"
            )
            continue
        name = "".join(f"[{of}]" if isinstance(of, int) else f".{of}" for of in path).lstrip(".")
        for value in WRONG:
            endless = kind == "CHECKS" and name in ("warning", "page")
            if not takes(hint, value) and not (endless and isinstance(value, float) and value == value):
                said = refusal(kind, path, value)
                assert re.search(rf"{re.escape(name)}(\[0\])? is .*: expected ", said), (name, value, said)
                asked += 1
    assert asked > 20


def test_a_list_is_taken_for_the_tuple_that_was_meant() -> None:
    action = replace(ONE_OF_EACH["ACTIONS"], eligible=[Condition("tenure", 1)])
    assert action.eligible == (Condition("tenure", 1),)


HEAD = """from features.words import Words
from serving.actions import Action, Condition, Effect, Step
from serving.scenarios import Scenario
SAY = Words("Some", "一些")
PRIOR = Effect(0.01, 0.0, 0.02, "prior", SAY)
"""
ACTION = '    Action(name="sms_coupon", channel="sms", words=SAY, goal=SAY, effect=PRIOR, validity_days=7),\n'


def checked(tmp_path: Path, text: str) -> Result:
    shop = empty_shop(tmp_path / "shop", shop_py=HEAD + text)
    environment = {"PROPENSITY_HOME": str(tmp_path / "home"), "PROPENSITY_SHOP": str(shop)}
    return CliRunner().invoke(propensity.main, ["check"], env=environment)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("effect=PRIOR", "effect=PRIOR, goal_kind='foo'", "goal_kind is 'foo': expected one of margin, "
         "retention, service"),
        ("effect=PRIOR", "effect=PRIOR, purpose='markting'", "purpose is 'markting' (did you mean "
         "'marketing'?): expected one of marketing, service"),
        ("effect=PRIOR", "effect=Effect(.01, 0., .02, 'proven', SAY)", "effect.evidence is 'proven': "
         "expected one of prior, randomised, none"),
        ("effect=PRIOR", "effect=PRIOR, send_cost='0.05'", "send_cost is '0.05': expected a number"),
        ("effect=PRIOR", "effect=PRIOR, reach='all'", "reach is 'all': expected one of person, group"),
        ("effect=PRIOR", "effect=PRIOR, then=(Step('app', SAY, reach='all'),)", "then[0].reach is 'all'"),
    ],
)  # fmt: skip
def test_a_slip_in_an_action_is_told_with_file_line_key_and_what_was_expected(
    tmp_path: Path, right: str, wrong: str, said: str
) -> None:
    """One typo passed `propensity check`, and every decision and /readyz then answered 500."""
    done = checked(tmp_path, f"ACTIONS = [\n{ACTION.replace(right, wrong)}]\n")
    assert done.exit_code != 0
    assert f"shop.py, line 7: action 'sms_coupon': {said}" in done.output
    assert "Traceback" not in done.output


LINE = "shop.py, line 7: "
LOTTERY = 'Effect(.5, .4, .6, "randomised", SAY)'


def action(*changed: tuple[str, str]) -> str:
    """The line of an action with this instead of that."""
    text = ACTION
    for this, that in changed:
        text = text.replace(this, that, 1)
    return text


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        (ACTION + "\n" + ACTION, "shop.py, lines 7 and 9: action 'sms_coupon' is declared twice: give one"),
        (
            ACTION + action(("sms_coupon", "b"), ("SAY,", 'SAY, reach="group",')),
            LINE + "channel 'sms' addresses person in action 'sms_coupon', and group in 'b': give both",
        ),
        (
            action(("sms_coupon", "nothing")),
            LINE + "action 'nothing': \"nothing\" is in every catalogue already",
        ),
        (
            action(("sms_coupon", "nothing"), ('"sms"', "None")),
            LINE + 'action "nothing" is in every catalogue already: leave it out',
        ),
        (action(('"sms"', "None")), LINE + "action 'sms_coupon': it needs a channel, such as"),
        (action(("PRIOR", LOTTERY)), LINE + "action 'sms_coupon' declares its effect as randomised: what is"),
        (
            action(("effect=PRIOR", "effect=PRIOR, eligible=(Condition('tenuree'),)")),
            LINE + "action 'sms_coupon' has a condition on tenuree, which is no feature",
        ),
    ],
)
def test_what_the_catalogue_refuses_is_told_with_file_and_line(
    tmp_path: Path, actions: str, said: str
) -> None:
    """Else whoever has forty actions looks through all of them; and the service's log says no more."""
    done = checked(tmp_path, f"ACTIONS = [\n{actions}]\n")
    assert done.exit_code != 0
    assert said in done.output
    with pytest.raises(SettingsError) as refused:
        DecisionContext.open(Settings(home=tmp_path / "home", shop=tmp_path / "shop"))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            f"ACTIONS = {ACTION.strip().rstrip(',')}\n",
            "shop.py: ACTIONS is no list: write ACTIONS = [Action(",
        ),
        ("TAGS = ['often']\n", "TAGS holds 'often', no Tag"),
        ("CHECKS = ['often']\n", "CHECKS holds 'often', no Check"),
        ("FEATURES = ['often']\n", "FEATURES holds 'often', no Feature"),
    ],
)
def test_what_is_no_declaration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Else a traceback of Python, which names nothing of the shop's."""
    done = checked(tmp_path, text)
    assert done.exit_code != 0
    assert said in done.output


def test_the_line_is_that_of_the_action_and_not_of_who_names_it(tmp_path: Path) -> None:
    named = 'name="sms_coupon", words=SAY, actions=("sms_coupon",), due_days=7, when="tenure > 3"'
    text = f"{HEAD}SCENARIOS = [\n    Scenario({named}),\n]\nACTIONS = [\n{ACTION}]\n"
    shop = Shop.load(empty_shop(tmp_path, shop_py=text))
    assert shop.place("sms_coupon", "ACTIONS").endswith("shop.py, line 10")
    assert shop.place("sms_coupon", "SCENARIOS").endswith("shop.py, line 7")


def test_an_offer_of_no_time_and_a_limit_that_stops_an_action_are_remarked(tmp_path: Path) -> None:
    """Else an offer is over as it goes out, or an action is never chosen, and nobody knows why."""
    shop = empty_shop(tmp_path / "shop")
    policy = (shop / "shop.toml").read_text("utf-8")
    text = action((", validity_days=7", "")) + action(("sms_coupon", "magazine"), ('"sms"', '"mail"'))
    owed = action(("sms_coupon", "owed"), ("effect=PRIOR", 'effect=PRIOR, purpose="service"'))
    (shop / "shop.py").write_text(f"{HEAD}ACTIONS = [\n{text}{owed}]\n", "utf-8")
    cap = '\n[[policy.cap]]\nchannel = "mail"\ncontacts = 0\ndays = 7\n'
    (shop / "shop.toml").write_text(policy + cap, "utf-8")
    environment = {"PROPENSITY_HOME": str(tmp_path / "home"), "PROPENSITY_SHOP": str(shop)}
    done = CliRunner().invoke(propensity.main, ["check"], env=environment)
    assert done.exit_code == 0, done.output
    notes = [line for line in done.output.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert "shop.py, line 7: action 'sms_coupon': validity_days is 0, so its offer ends as it is" in notes[0]
    assert (
        "shop.py, line 8: action magazine: the policy from 2017-01-01 has a cap of 0 contacts in" in notes[1]
    )
    assert "7 days on mail: never chosen under it" in notes[1]
