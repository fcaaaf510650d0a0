"""A decision over real files: what it was based on, that it is recorded once and can be replayed."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from logs import OF_LOG
from tiny import TINY_FEATURES, TINY_MOMENT, tiny_rows

from features import online
from features.compute.builds import Build
from features.definitions import catalogue, feature_hash
from features.errors import (
    FeatureMismatch,
    FeaturesExpired,
    IdempotencyConflict,
    NoBuild,
    SettingsError,
    UnknownCustomer,
    UsageError,
)
from features.moments import DAY
from features.settings import BUNDLED_SHOPS, Settings
from propensity.decided import show_decision
from serving.answers import DecisionAnswer
from serving.api import DecisionRequest, Identity
from serving.decisions import DecisionContext, take_decision
from serving.ledger import Ledger
from serving.replays import replay
from training.logged import UNTOLD, read

# c0000 .. c0199: all active, an average order of 80, never contacted unless a test says otherwise.
FEATURES = (*TINY_FEATURES, "order_value_365d", "orders_365d", "contacts_30d", "days_since_contact")
Publish = Callable[..., None]


@pytest.fixture
def settings(tiny_settings: Settings, tmp_path: Path) -> Settings:
    """A home and a shop of its own, where nobody is held out and nothing is drawn."""
    shop = tmp_path / "shop"
    shutil.copytree(BUNDLED_SHOPS / "complete_journey", shop)
    mine = replace(tiny_settings, shop=shop)
    policy(mine, holdout="0.0", explore="0.0")
    return mine


def policy(settings: Settings, **values: str) -> None:
    """Edit the policy in shop.toml."""
    path = settings.shop / "shop.toml"
    lines = path.read_text("utf-8").splitlines()
    for name, value in values.items():
        lines = [f"{name} = {value}" if line.split("=")[0].strip() == name else line for line in lines]
    path.write_text("\n".join(lines), "utf-8")


def declare(settings: Settings, text: str) -> None:
    """Add declarations to the shop.py, before it is first read."""
    with (settings.shop / "shop.py").open("a", encoding="utf-8") as file:
        file.write(f"\nfrom dataclasses import replace\n\n{text}\n")


@pytest.fixture
def publish(settings: Settings) -> Publish:
    """Publish rows of 200 customers; a keyword names a feature and gives its value for everyone."""

    def make(names: tuple[str, ...] = FEATURES, moment: datetime = TINY_MOMENT, **values: float) -> None:
        known = catalogue()
        usual = {"order_value_365d": 80, "orders_365d": 20, "contacts_30d": 0, "days_since_contact": np.nan}
        rows = np.column_stack([tiny_rows(200), *(np.full(200, v, np.float32) for v in usual.values())])
        rows[:, 0] = 20  # days_since_order: every campaign is open to her
        for name, value in values.items():
            rows[:, FEATURES.index(name)] = value
        features = {name: feature_hash(known[name], known, OF_LOG) for name in names}
        id = Build.id_of(repr(values), features)
        start = datetime(2017, 1, 1, tzinfo=UTC)
        build = Build(id, settings.home / "snapshots" / id, "l" * 16, start, TINY_MOMENT, features, (moment,))
        build.folder.mkdir(parents=True)
        at = pa.array([moment] * 200, pa.timestamp("us", tz="UTC"))
        columns = {"customer_id": pa.array([f"c{j:04}" for j in range(200)]), "moment": at, "known_at": at}
        columns |= {name: rows[:, FEATURES.index(name)] for name in names}
        pq.write_table(pa.table(columns), build.path(moment))
        build.write_manifest()
        online.publish(settings, build, moment)

    return make


@contextmanager
def opened(settings: Settings) -> Iterator[DecisionContext]:
    context = DecisionContext.open(settings)
    with closing(context.ledger):
        yield context


def decided(
    settings: Settings, customer: str = "c0001", key: str | None = None, **request: Any
) -> DecisionAnswer:
    with opened(settings) as context:
        return take_decision(
            context, DecisionRequest(customer, **request), client="tests", idempotency_key=key
        )


def rejected(answer: DecisionAnswer) -> dict[str, str | None]:
    return {a.action: a.reject_reason for a in answer.actions}


def test_an_answer_shows_what_it_was_based_on(
    settings: Settings, publish: Publish, tiny_release: Any
) -> None:
    """The terms add up to the score, by the shop's margin, her order value and the released model."""
    publish()
    release = tiny_release()
    answer = decided(settings)
    chance = float(release.model.score(tiny_rows_of("c0001"))[0])
    assert answer.used.order_probability == 1 - chance
    assert answer.used.order_model == "churn_28d@1"
    assert (answer.used.order_value, answer.used.margin_rate, answer.used.horizon_days) == (80.0, 0.25, 28)
    by_name = {a.action: a for a in answer.actions}
    a = by_name["campaign_a"]
    assert a.terms is not None
    assert sum(a.terms.values()) == a.score
    assert a.terms["d_margin"] == pytest.approx(min(0.012, chance) * 80 * 0.25)
    assert a.terms["incentive"] == pytest.approx(-0.16 * 0.60)
    assert answer.score == max(other.score or 0 for other in answer.actions)
    assert answer.runner_up is not None
    assert answer.runner_up.score <= answer.score
    assert sum(other.propensity for other in answer.actions) == pytest.approx(1)
    assert (answer.as_of, answer.known_at, answer.stale) == ("2017-12-03T00:00:00Z",) * 2 + (False,)
    assert answer.valid_until is not None


def tiny_rows_of(customer: str) -> np.ndarray:
    row = tiny_rows(200)[[int(customer[1:])]]
    row[:, 0] = 20
    return row


def test_no_answer_claims_an_effect(settings: Settings, publish: Publish) -> None:
    """The effects are assumptions: whoever reads an answer must see that, and no promise."""
    publish()
    answer = decided(settings)
    assert answer.evidence == "prior"
    assert {a.evidence for a in answer.actions if a.action != "nothing"} == {"prior"}
    said = msgspec.json.encode(answer).decode().lower()
    assert "assum" in answer.text.en
    assert "假设" in answer.text.zh
    assert not any(claim in said for claim in ("uplift", "will increase", "proven"))


def test_without_a_release_the_probability_is_not_known_and_not_invented(
    settings: Settings, publish: Publish
) -> None:
    publish()
    answer = decided(settings)
    assert answer.used.order_probability is None
    assert answer.used.order_model is None
    assert answer.actions[1].terms is not None
    assert answer.actions[1].terms["d_margin"] == pytest.approx(0.012 * 80 * 0.25)


def test_a_preview_leaves_no_trace_and_reserves_nothing(settings: Settings, publish: Publish) -> None:
    """Else looking at a customer would use up her contacts."""
    publish()
    for _ in range(3):
        shown = decided(settings, preview=True, key="k")
        assert shown.decision_id is None
        assert shown.action == "campaign_b"
    assert decided(settings, key="k").action == "campaign_b"


def test_a_repeated_request_is_decided_once(settings: Settings, publish: Publish) -> None:
    """A client that retries after a timeout must not mail twice, also when the world has moved on."""
    publish()
    first = decided(settings, key="k")
    publish(moment=TINY_MOMENT + 7 * DAY, days_since_order=200)
    later = replace(settings, as_of=TINY_MOMENT + 30 * DAY)
    assert decided(later, key="k") == first
    with pytest.raises(IdempotencyConflict):
        decided(later, "c0002", key="k")
    with pytest.raises(IdempotencyConflict):
        decided(later, key="k", candidates=["campaign_a"])


def test_simultaneous_repeats_are_decided_once(settings: Settings, publish: Publish) -> None:
    """Two workers that get the same request at the same time give the same answer and reserve one contact."""
    publish()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: decided(settings, key="k"), range(16)))
    assert len({a.decision_id for a in answers}) == 1
    with closing(Ledger(settings)) as ledger:
        assert len(ledger.held("c0001", TINY_MOMENT - DAY, TINY_MOMENT)) == 1


def test_a_customer_whose_order_value_is_not_known_is_left_alone(
    settings: Settings, publish: Publish
) -> None:
    """No value is made up for her."""
    publish(order_value_365d=np.nan)
    answer = decided(settings)
    assert answer.action == "nothing"
    assert rejected(answer)["campaign_b"] == "value_unknown"
    assert answer.actions[2].score is None


def test_who_had_no_order_in_a_year_can_be_won_back_by_an_assumption_that_is_told(
    settings: Settings, publish: Publish
) -> None:
    """Else nobody ever turns to who left a year ago; or a value is shown as if it was hers."""
    declare(
        settings,
        "ACTIONS += [replace(ACTIONS[0], name='come_back', eligible=(), incentive=0.0, order_value=60.0)]",
    )
    publish(order_value_365d=np.nan)
    answer = decided(settings)
    assert answer.action == "come_back"
    (back,) = (a for a in answer.actions if a.action == "come_back")
    assert back.terms is not None
    assert back.terms["d_margin"] == pytest.approx(0.012 * 60 * 0.25)
    assert (back.order_value, answer.used.order_value, answer.evidence) == (60.0, None, "prior")
    assert rejected(answer)["campaign_b"] == "value_unknown"
    assert replay(settings, answer.decision_id or "").verdict == "equal"
    publish(order_value_365d=100)
    known = decided(settings, "c0002", preview=True)
    (back,) = (a for a in known.actions if a.action == "come_back")
    assert back.terms is not None
    assert back.terms["d_margin"] == pytest.approx(0.012 * 100 * 0.25), "her own goes before"
    assert back.order_value is None


def test_the_holdout_is_left_alone_and_chance_draws_as_the_policy_says(
    settings: Settings, publish: Publish
) -> None:
    """Without both nobody could ever measure what an action does."""
    policy(settings, holdout="0.3", explore="0.5")
    publish()
    with opened(settings) as context:
        answers = [take_decision(context, DecisionRequest(f"c{j:04}"), client="tests") for j in range(200)]
        again = [
            take_decision(context, DecisionRequest(f"c{j:04}", preview=True), client="tests")
            for j in range(200)
        ]
    held = [a for a in answers if a.holdout]
    assert 0.15 < len(held) / 200 < 0.45
    assert {(a.action, a.propensity) for a in held} == {("nothing", 1.0)}
    assert [a.holdout for a in again] == [a.holdout for a in answers]
    free = [a for a in answers if not a.holdout]
    assert {a.action for a in free} == {"nothing", "campaign_a", "campaign_b", "campaign_c"}
    assert {round(a.propensity, 3) for a in free} == {0.125, 0.625}
    assert 0.3 < sum(a.explore for a in free) / len(free) < 0.7


def test_only_candidates_compete(settings: Settings, publish: Publish) -> None:
    publish()
    answer = decided(settings, candidates=["campaign_b"])
    assert answer.action == "campaign_b"
    assert rejected(answer)["campaign_a"] == "not_a_candidate"
    assert answer.binding_constraint is None, "the caller's own choice binds nobody"
    with pytest.raises(UsageError, match=r"\$\.candidates\[1\]: expected one of nothing, campaign_a"):
        decided(settings, candidates=["campaign_b", "campaign_z"])


def test_what_cannot_be_decided_is_refused_by_its_own_error(settings: Settings, publish: Publish) -> None:
    """A default answer for an unknown customer, or from features a month old, would be an invention."""
    with pytest.raises(NoBuild):
        decided(settings)
    publish()
    with pytest.raises(UnknownCustomer) as refused:
        decided(settings, "marie")
    assert "marie" not in str(refused.value), "an id does not belong in a log"
    with pytest.raises(UnknownCustomer):
        decided(settings, Identity("till", "7"))  # type: ignore[arg-type]
    with pytest.raises(FeaturesExpired, match="propensity features build"):
        decided(replace(settings, as_of=TINY_MOMENT + 15 * DAY))


def test_a_release_of_other_features_is_refused(
    settings: Settings, publish: Publish, tiny_release: Any
) -> None:
    """Else a model would read a column that is no longer what it learned from."""
    tiny_release()
    publish(names=tuple(name for name in FEATURES if name != "tenure"))
    with pytest.raises(FeatureMismatch, match="tenure"):
        decided(settings)


def test_an_action_that_reads_no_feature_is_refused_before_the_first_request(settings: Settings) -> None:
    """A misspelt condition would silently never be met."""
    declare(
        settings, "ACTIONS += [replace(ACTIONS[0], name='call', eligible=(Condition('days_since_oder'),))]"
    )
    with pytest.raises(SettingsError, match="'call' has a condition on days_since_oder"):
        DecisionContext.open(settings)


def test_a_service_message_reaches_the_holdout_and_uses_up_no_contact(
    settings: Settings, publish: Publish
) -> None:
    """An order confirmation is not marketing: it neither waits for a free contact nor takes one."""
    declare(settings, "ACTIONS += [replace(ACTIONS[0], name='recall', purpose='service', eligible=())]")
    policy(settings, holdout="1.0", max_contacts="0")
    publish()
    for day in range(3):
        answer = decided(replace(settings, as_of=TINY_MOMENT + timedelta(days=day)))
        assert answer.holdout
        assert answer.action == "recall"
        assert answer.used.contacts_decided == 0


def test_a_bundle_lists_its_steps_and_every_one_of_them_is_a_contact(
    settings: Settings, publish: Publish
) -> None:
    """Else the sender does not know what to send when, and two messages count as one in the cap."""
    declare(
        settings,
        "from serving.actions import Step\n"
        "ACTIONS = [replace(ACTIONS[0], eligible=(), suppress_days=0, incentive=0.0,\n"
        "    suppressed_if=(Condition('orders_365d', at_least=1000),),\n"
        "    then=(Step('mail', Words('Remind', '提醒'), 0.01, after_hours=48),))]",
    )
    publish()
    answer = decided(settings, key="k")
    assert answer.action == "campaign_a"
    (_, a) = answer.actions
    assert [(s.channel, s.after_hours, s.cost) for s in a.steps] == [("mail", 0, 0.04), ("mail", 48, 0.01)]
    assert replay(settings, answer.decision_id or "").verdict == "equal"
    again = decided(replace(settings, as_of=TINY_MOMENT + timedelta(days=3)))
    assert (again.used.contacts_decided, rejected(again)["campaign_a"]) == (2, "contact_cap")
    publish(orders_365d=2000)
    out = decided(settings, "c0002")
    assert (rejected(out)["campaign_a"], out.actions[1].condition) == ("excluded", "orders_365d >= 1000")


def test_nobody_is_decided_for_from_features_of_the_future(settings: Settings, publish: Publish) -> None:
    """A decision "as of November" taken from December's features would be a leak, recorded as the truth."""
    publish()
    before = replace(settings, as_of=TINY_MOMENT - timedelta(days=1))
    with pytest.raises(NoBuild, match="later than now"):
        decided(before)


def test_scenario_and_context_are_recorded_and_replayed(settings: Settings, publish: Publish) -> None:
    """The record must say why the journey asked, or nobody can tell the scenarios apart afterwards."""
    declare(
        settings,
        "from serving.scenarios import Scenario\n"
        "SCENARIOS = [Scenario(name='win_back', words=Words('a', '甲'), when='tenure >= 0', due_days=7,\n"
        "    actions=tuple(a.name for a in ACTIONS))]",
    )
    publish()
    said = {"cart_items": 2, "page": "shoes"}
    answer = decided(settings, key="k", scenario="win_back", context=said)
    assert (answer.scenario, answer.context) == ("win_back", said)
    assert answer.duals == {}
    assert (
        decided(settings, key="k", scenario="win_back", context={"page": "shoes", "cart_items": 2}) == answer
    )
    with pytest.raises(IdempotencyConflict):
        decided(settings, key="k", scenario="win_back", context={"page": "shoes", "cart_items": 3})
    assert replay(settings, answer.decision_id or "").verdict == "equal"
    elsewhere = decided(settings)
    rest = {why for name, why in rejected(elsewhere).items() if name != "nothing"}
    assert rest == {"not_a_candidate"}, "birthday wishes wait for a birthday"
    waits = next(a.reject_text for a in elsewhere.actions if a.action == "campaign_a")
    assert waits is not None
    assert waits.en == "Belongs to scenario win_back, which this request does not name"
    assert "win_back" in waits.zh
    assert elsewhere.text.en.startswith("Do nothing. Every action that could be chosen waits for a scenario")
    other = decided(settings, scenario="win_back", candidates=["campaign_b"])
    asked = next(a.reject_text for a in other.actions if a.action == "campaign_a")
    assert asked is not None
    assert asked.en == "Not one of those that this request asks about (scenario win_back: campaign_b)"


def test_why_nothing_is_done_is_told_as_it_is(settings: Settings, publish: Publish) -> None:
    """Else an operator reads that nothing pays, while a cap, a pause or the holdout is why."""
    publish(contacts_30d=9)
    capped = decided(settings)
    assert capped.text.en == "Do nothing. The limit on marketing contacts is reached: 2 in 30 days."
    assert capped.text.zh == "不采取行动。已达到营销触达次数上限：30天内2次。"
    assert not capped.explore or "Drawn" not in capped.text.en


def test_who_has_one_choice_does_not_explore(settings: Settings, publish: Publish) -> None:
    """Else a reader takes a decision of propensity 1 for one that was left to chance."""
    policy(settings, explore="1.0")
    publish(contacts_30d=9)
    alone = decided(settings)
    assert (alone.propensity, alone.explore) == (1, False)
    publish()
    assert decided(settings).explore


def test_the_terms_of_every_net_are_shown_and_add_up(
    settings: Settings, publish: Publish, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a reader sees a net value, and neither what it costs nor what it is hoped to bring."""
    more = "retention_effect=.01, optout_effect=.002"
    declare(settings, f"ACTIONS += [replace(ACTIONS[0], name='rich', {more})]")
    publish(contacts_30d=1)
    answer = msgspec.to_builtins(decided(settings, preview=True))
    show_decision(answer, False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    head = next(n for n, line in enumerate(lines) if line[:3] == ["action", "margin", "retention"])
    assert lines[head][3:] == ["sending", "incentive", "opting", "out", "fatigue", "=", "net"]
    rows = {line[0]: [float(of) for of in line[1:]] for line in lines[head + 1 : head + 6]}
    assert list(rows) == [action["action"] for action in answer["actions"]]
    for *terms, net in rows.values():
        assert sum(terms) == pytest.approx(net, abs=4e-4)
    assert rows["rich"][2] == -0.04


def test_what_is_owed_is_told_apart_in_the_record(settings: Settings, publish: Publish) -> None:
    """Else what answers to complaints cost is read as marketing."""
    declare(
        settings,
        "ACTIONS += [replace(ACTIONS[0], name='answer', purpose='service', goal_kind='service',\n"
        "    eligible=(), effect=replace(ACTIONS[0].effect, mean=0, low=0, high=0), send_cost=0.5)]",
    )
    publish()
    assert decided(settings).action == "answer"
    logged = read(settings, "reported")
    assert (logged.owed, logged.delivery.tolist()) == (frozenset({"answer"}), [UNTOLD])


def test_the_holdout_is_why_nothing_is_done(settings: Settings, publish: Publish) -> None:
    policy(settings, holdout="1.0")
    publish()
    assert "marketing leaves alone" in decided(settings).text.en


def test_an_action_of_unknown_worth_is_not_scored_and_the_answer_can_be_repeated(
    settings: Settings, publish: Publish
) -> None:
    """Else: the repeat of an idempotent request is an internal error."""
    declare(settings, "ACTIONS += [replace(ACTIONS[0], name='unsure', effect=_assumed(0.0))]")
    publish(order_value_365d=np.nan)
    answer = decided(settings, key="k")
    assert rejected(answer)["unsure"] == "value_unknown"
    assert decided(settings, key="k") == answer


def test_whole_numbers_that_a_shop_declares_are_answered_in_the_same_bytes_again(
    settings: Settings, publish: Publish
) -> None:
    """Else whoever repeats a request and compares what it got by a digest believes in another decision."""
    declare(
        settings,
        "from serving.actions import Step\n"
        "ACTIONS += [replace(ACTIONS[0], name='whole', send_cost=0, after_hours=0, order_value=80,"
        " incentive=1, fatigue_cost=0, then=(Step('sms', ACTIONS[0].words, send_cost=1, after_hours=3),))]",
    )
    path = settings.shop / "shop.toml"
    path.write_text(path.read_text("utf-8").replace("margin_rate = 0.25", "margin_rate = 1"), "utf-8")
    publish(order_value_365d=np.nan)
    first, again = (msgspec.json.encode(decided(settings, key="k")) for _ in range(2))
    assert b'"after_hours":3.0' in first
    assert first == again
