"""What contacts brought: the truth where it is known, and nothing where nobody drew lots."""

import re
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from ledgers import write_ledger
from trials import trial_by_hand

from features.moments import DAY, parse_moment, to_us
from features.settings import Settings
from features.words import Words
from monitoring.today import Held
from propensity import main
from propensity.actions_shown import brought_sheet
from propensity.credited import credits_sheet
from propensity.evaluated_ledger import _headline
from serving.ledger import Ledger
from serving.ledger_reports import Delivery
from training import attribution, logged_policy, roi
from training.logged import FREED, SENT, UNTOLD, Logged
from training.realised import Effect, Realised
from training.roi import Brought
from training.sequential import Difference, Group

AT = parse_moment("2017-06-01")


def made(rows: int = 4_000, seed: int = 1, **more: Any) -> tuple[Logged, np.ndarray]:
    """Decisions of a lottery whose chances differ by customer, and the true effect of the two actions [n, 2].

    The mail brings 2 to those with a high first feature and is given to them more often; the text harms: of
    those who get it, 5 in 100 more opt out.
    """
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3)).astype(np.float32)
    high = x[:, 0] > 0
    chances = np.column_stack([np.where(high, 0.2, 0.5), np.where(high, 0.6, 0.2), np.full(rows, 0.2)])
    chances[:, 2] = 1 - chances[:, :2].sum(axis=1)
    action = (random.random(rows)[:, None] > chances.cumsum(axis=1)[:, :2]).sum(axis=1)
    true = np.column_stack([np.where(high, 2.0, 0.0), np.full(rows, 0.5)])
    effect = np.where(action > 0, true[np.arange(rows), np.maximum(action - 1, 0)], 0.0)
    margin = 5 + 3 * high + effect + random.normal(size=rows)
    opted = random.random(rows) < 0.01 + 0.05 * (action == 2)
    cost = np.array([0.0, 0.4, 0.9])[action]
    logged = Logged(
        tuple(f"d{i}" for i in range(rows)), x, {"a": "1", "b": "2", "c": "3"}, ("nothing", "mail", "text"),
        {"nothing": None, "mail": "mail", "text": "sms"}, action, chances, cost, np.arange(rows),
        np.full(rows, to_us(AT)), np.full(rows, to_us(AT + 28 * DAY)),
        np.full(rows, to_us(AT + 35 * DAY)), np.ones(rows, np.int64), ("birthday",) * rows,
        np.zeros(rows, np.bool_),
        {"margin": margin, "retention": np.ones(rows), "opt_out": opted.astype(float)}, "reported",
        builds=("b",) * rows,
    )  # fmt: skip
    return replace(logged, **more), true


def test_what_a_channel_brought_is_its_effect_on_those_who_got_it() -> None:
    """A plain comparison of means calls it twice as much: the mail went to those who buy anyway."""
    logged, true = made()
    text, mail = roi.brought(logged)  # the dearest first
    got = logged.action == 1
    assert (mail.channel, mail.decided) == ("mail", int(got.sum()))
    assert mail.margin is not None
    assert mail.margin.low < true[got, 0].sum() < mail.margin.high
    y = logged.outcomes["margin"]
    naive = (y[got].mean() - y[logged.action == 0].mean()) * got.sum()
    assert not mail.margin.low < naive < mail.margin.high
    assert (mail.verdict, text.verdict) == ("pays", "loses")
    assert mail.returned is not None
    assert mail.returned.value == pytest.approx((mail.margin.value - mail.cost) / mail.cost)


def test_the_effect_on_the_treated_agrees_with_econml() -> None:
    """Another implementation, which estimates the chances, finds the same on the same decisions."""
    from econml.dr import LinearDRLearner
    from sklearn.linear_model import LinearRegression, LogisticRegression

    logged, _ = made()
    signs = (logged.matrix[:, :1] > 0).astype(np.float64)
    peer = LinearDRLearner(
        model_propensity=LogisticRegression(), model_regression=LinearRegression(), cv=3, random_state=1
    ).fit(logged.outcomes["margin"], logged.action, X=signs)
    for k, channel in ((1, "mail"), (2, "sms")):
        got, found = logged.action == k, roi.of_channel(logged, channel)
        assert found.margin is not None
        theirs = peer.effect(signs[got], T0=0, T1=k).sum()
        assert abs(found.margin.value - theirs) < (found.margin.high - found.margin.low) / 4


def test_intervals_of_what_was_brought_hold_as_often_as_they_say() -> None:
    """Else: one campaign in three is praised for nothing."""
    covered = []
    for seed in range(60):
        logged, true = made(800, seed)
        found = roi.of_channel(logged, "mail").margin
        assert found is not None
        covered.append(found.low < true[logged.action == 1, 0].sum() < found.high)
    assert np.mean(covered) > 0.85  # of 95 %: fewer come by chance once in a thousand times


def test_a_guardrail_is_broken_by_the_action_that_does_the_harm() -> None:
    states = {one.action: one.state for one in roi.harms(made()[0])}
    assert states == {"mail": "open", "text": "broken"} or states == {"mail": "holds", "text": "broken"}
    assert roi.worst(roi.harms(made()[0])) == "broken"


def test_of_many_uses_without_effect_none_is_praised_more_often_than_promised() -> None:
    """Else: of forty scenarios and channels one always pays, and the next budget goes there."""
    praised = 0
    logged, _ = made()
    for seed in range(50):
        random = np.random.default_rng(seed)
        outcomes = {name: random.normal(size=4_000) for name in ("margin", "retention")}
        scenarios = tuple(f"s{i % 8}" for i in range(4_000))
        found = roi.brought(replace(logged, outcomes=outcomes, scenario=scenarios, cost=np.zeros(4_000)))
        assert len(found) == 16
        praised += any(one.verdict in ("pays", "loses") for one in found)
    assert praised <= 8  # of 5 %: more come by chance once in two hundred times


def test_a_guardrail_that_is_looked_at_again_and_again_seldom_stops_a_harmless_campaign() -> None:
    """Else: a nightly look stops a good campaign in one year of four. The rise is just what is tolerated."""
    stopped, n = 0, 2_000
    logged, _ = made(n)
    chances = np.tile([0.5, 0.5, 0.0], (n, 1))
    for seed in range(60):
        random = np.random.default_rng(seed)
        action = (random.random(n) < 0.5).astype(np.int64)
        opted = (random.random(n) < 0.05 + roi.MOST * action).astype(float)
        whole = replace(logged, action=action, chances=chances, outcomes={"opt_out": opted})
        looks = [whole.part(np.arange(n) < end) for end in range(200, n + 1, 200)]
        stopped += any(roi.worst(roi.harms(look)) == "broken" for look in looks)
    assert stopped <= 5  # of 5 %; with intervals of one look it is one in six


def test_contacts_that_left_nothing_to_chance_are_not_spoken_for() -> None:
    """Else: what the drawn ones brought is taken for what the chosen ones did."""
    logged, _ = made()
    chances = logged.chances.copy()
    fixed = (logged.action == 1) & (np.arange(4_000) % 4 == 0)
    chances[fixed] = [0.0, 1.0, 0.0]
    mail = roi.of_channel(replace(logged, chances=chances), "mail")
    assert mail.margin is None
    assert mail.why is not None
    assert "25% of the contacts" in mail.why.en or "24% of the contacts" in mail.why.en


def test_without_lots_or_with_too_few_nothing_is_known() -> None:
    """Else: whoever is written to for a reason is compared with whoever is not."""
    logged, _ = made()
    chosen = np.eye(3)[logged.action]
    (one, *_) = roi.brought(replace(logged, chances=chosen))
    assert one.margin is None
    assert one.verdict == "unknown"
    assert one.why is not None
    assert one.why.en == "nothing was left to chance"
    few = roi.of_channel(made(60)[0], "mail")
    assert few.margin is None
    assert isinstance(few.why, Words)
    young = roi.brought(replace(logged, outcomes={**logged.outcomes, "margin": np.full(4_000, np.nan)}))
    assert young == [], "what is not final is not there"


def test_policies_are_judged_by_what_they_would_have_earned() -> None:
    """Mail to the high ones alone earns most; where a choice was not eligible, nothing is done."""
    logged, true = made()
    net = true - [0.4, 0.9]
    truth = {"mail": net[:, 0].mean(), "text": net[:, 1].mean(), "nothing": 0.0}
    nothing = (5 + 3 * (logged.matrix[:, 0] > 0)).mean()
    for action, gain in truth.items():
        found = logged_policy.judged(logged, logged_policy.constant(logged, action))
        estimates = {of.name: of for of in found.estimates}
        for name in ("IPS", "SNIPS", "DR"):
            assert estimates[name].low < nothing + gain < estimates[name].high, (action, name)
        assert estimates["DR"].high - estimates["DR"].low < estimates["IPS"].high - estimates["IPS"].low
    best = np.where(logged.matrix[:, 0] > 0, 1, 0)
    assert logged_policy.judged(logged, best).verdict.en == "Better than what was done"
    never = replace(logged, chances=np.where(np.arange(3) == 2, 0.0, logged.chances))
    assert not logged_policy.allowed(never, np.full(4_000, 2)).any()


def test_attribution_credits_what_the_lots_deny() -> None:
    """A channel that does nothing, met on the way to every order, gets the credit for them."""
    logged, _ = made()
    quiet = replace(logged, outcomes={**logged.outcomes, "retention": np.arange(4_000) % 2 * 1.0})
    credits = {of.channel: of for of in attribution.markov(attribution.paths(quiet))}
    mail = roi.of_channel(quiet, "mail").orders
    assert mail is not None
    assert credits["mail"].credited > 5 * max(mail.value, 0)
    assert mail.low < 0 < mail.high
    assert sum(of.credited for of in credits.values()) == pytest.approx(
        sum(ordered for _, ordered in attribution.paths(quiet))
    )
    assert attribution.markov([(("mail",), False)]) == []


def test_every_message_of_a_bundle_is_a_step_on_the_way() -> None:
    """Else the live notice gets the credit of the text and the letter that followed it."""
    logged, _ = made()
    row = int(np.flatnonzero(logged.action == 1)[0])
    bundle = replace(logged, further={logged.ids[row]: ("sms", "letter")})
    before, after = attribution.paths(logged), attribution.paths(bundle)
    (changed,) = (k for k in range(len(before)) if before[k] != after[k])
    assert (before[changed][0], after[changed][0]) == (("mail",), ("mail", "sms", "letter"))


@pytest.mark.parametrize("beyond", [0.0, 1.5])
def test_channels_that_were_drawn_together_show_whether_they_help_each_other(beyond: float) -> None:
    """Else: a text that only works after a mail is sent alone, or paid twice."""
    random, n = np.random.default_rng(3), 2_000
    first, second = random.integers(0, 2, n), random.integers(0, 2, n) * 2
    margin = 2.0 + first + second / 2 + beyond * (first == 1) * (second == 2) + random.normal(size=n)
    chances = np.vstack([np.tile([0.5, 0.5, 0.0], (n, 1)), np.tile([0.5, 0.0, 0.5], (n, 1))])
    logged, _ = made(2 * n, action=np.r_[first, second], chances=chances, customer=np.tile(np.arange(n), 2))
    later = logged.as_of + np.repeat([0, 1], n) * 86_400_000_000
    outcomes = {**logged.outcomes, "margin": np.r_[margin, margin]}
    (found,) = attribution.interactions(replace(logged, as_of=later, outcomes=outcomes))
    assert (found.first, found.second) == ("mail", "sms")
    assert found.difference is not None
    assert found.difference.low < beyond < found.difference.high
    assert (found.difference.low > 0) == (beyond > 0)
    apart = replace(logged, as_of=logged.as_of + np.repeat([0, 60], n) * 86_400_000_000, outcomes=outcomes)
    assert attribution.interactions(apart) == [], "two windows are two stories"
    assert isinstance(found.difference, Difference)


def test_costs_are_of_what_was_sent_and_what_nobody_told_is_counted_apart() -> None:
    """Else: a campaign that was never sent has a cost and contacts; or one that nobody reports pays."""
    logged, _ = made()
    whole = roi.of_channel(logged, "mail")
    delivery = np.where(np.arange(4_000) % 2 == 0, SENT, np.where(np.arange(4_000) % 4 == 1, UNTOLD, FREED))
    cost = np.where(delivery == FREED, 0.0, logged.cost)
    mail = roi.of_channel(replace(logged, delivery=delivery, cost=cost), "mail")
    got = logged.action == 1
    assert (mail.decided, mail.sent) == (got.sum(), (got & (delivery == SENT)).sum())
    assert mail.untold == (got & (delivery == UNTOLD)).sum()
    assert mail.cost == pytest.approx(0.4 * mail.sent)
    assert mail.most == pytest.approx(0.4 * (mail.sent + mail.untold))
    assert mail.margin == whole.margin, "who was decided for is compared, sent or not"
    assert whole.margin is not None
    between = replace(whole, cost=0.0, untold_cost=(whole.margin.low + whole.margin.high) / 2)
    assert (whole.verdict, between.verdict) == ("pays", "unsaid")
    unsent = replace(logged, delivery=np.zeros(4_000, np.int64))
    assert attribution.paths(unsent) == [], "nobody met what no delivery says was sent"


@pytest.mark.parametrize(
    ("low", "high", "cost", "untold", "verdict"),
    [(-44, 30, 0, 93, "unsaid"), (-44, -1, 0, 93, "loses"), (-44, 30, 40, 53, "loses"),
     (-44, 30, 0, 20, "open"), (10, 80, 0, 93, "unsaid"), (10, 80, 0, 9, "pays"), (10, 80, 20, 0, "open")],
)  # fmt: skip
def test_what_hangs_on_whether_it_was_sent_is_told_so(
    low: float, high: float, cost: float, untold: float, verdict: str
) -> None:
    """Else the return is -148 % to -69 %, the verdict that the interval is too wide, and the shop waits for
    more customers where one report of deliveries would tell."""
    margin = Difference((low + high) / 2, low, high)
    one = Brought("", "phone", 31, 31, 0, 31, cost, untold, margin, None)
    assert one.verdict == verdict
    _, said = _headline([one], [], False, "CNY")
    hangs = "of 1 it depends on what was sent, which nobody told"
    assert (hangs in said.en, "取决于是否已送出" in said.zh) == (verdict == "unsaid",) * 2
    sheet = brought_sheet(made(60)[0], [one], "CNY")
    ((*_, returned, told),) = sheet.rows
    assert returned is not None
    assert ("whether it was sent" in told.en) == (verdict == "unsaid")
    assert f"{cost + untold:,.2f}" in sheet.rows[0], "the cost that the return is of"


def test_what_is_owed_is_no_marketing() -> None:
    """Else: answers to complaints make a channel look as if it lost money, and get the credit for orders."""
    logged, _ = made()
    found = roi.brought(replace(logged, owed=frozenset({"text"}), channels={"mail": "mail", "text": "mail"}))
    mail, owed = found
    assert (mail.decided, owed.decided) == ((logged.action == 1).sum(), (logged.action == 2).sum())
    assert (mail.verdict, owed.verdict, owed.margin) == ("pays", "owed", None)
    assert owed.cost == pytest.approx(0.9 * owed.sent)
    credits = attribution.markov(attribution.paths(replace(logged, owed=frozenset({"text"}))))
    assert [of.channel for of in credits] == ["mail"]


def test_attribution_stands_beside_the_holdouts_truth_of_the_same_window() -> None:
    """Else the orders that attribution hands out are believed, though the holdout bought nearly as much."""
    logged, _ = made()
    early = np.where(np.arange(4_000) < 1_000, to_us(AT - 28 * DAY), logged.as_of)
    logged = replace(logged, as_of=early)
    rate = Effect(
        Words("customers who ordered", "下单客户占比"), Group(9_500, 0.30, 0.21), Group(500, 0.28, 0.20)
    )
    found = Realised(AT, AT + 28 * DAY, (rate, rate), (), 3, None, rate.difference)
    sheet = credits_sheet(logged, Held(found, Words("It is proven.", "已证实。")))
    *each, whole = sheet.rows
    assert {row[0] for row in each} == {"mail", "sms"}
    assert all(row[-1] is None for row in each), "the holdout is of all channels"
    assert whole[0].en == "all, 2017-06-01 to 2017-06-29"
    assert whole[2] == f"{(logged.action[1_000:] > 0).sum():,}", "of the window alone"
    assert whole[-1].startswith("+190 [")
    low, high = (rate.difference.low * 9_500, rate.difference.high * 9_500)
    assert whole[-1] == f"+190 [{low:+,.0f} {high:+,.0f}]"
    assert "look 3 at the holdout" in sheet.note.en
    assert "第3次查看" in sheet.note.zh
    young = Held(None, Words("The first window is final on 1 August.", "首个窗口于8月1日成熟。"))
    bad = replace(found, warnings=(Words("lost customers", "客户缺失"),))
    told = Held(bad, Words("Not comparable.", "不可比。"))
    other = replace(found, since=AT - 90 * DAY, until=AT - 62 * DAY, warnings=bad.warnings)
    elsewhere = Held(other, Words("Not comparable.", "不可比。"))
    for held, why in (
        (young, "final on 1 August"),
        (told, "The holdout, 2017-06-01 to 2017-06-29: Not comparable. lost customers."),
        (elsewhere, "2017-03-03 to 2017-03-31, has none of these decisions"),
    ):
        sheet = credits_sheet(logged, held)
        assert len(sheet.rows) == 2
        assert sheet.note is not None
        assert why in sheet.note.en


def test_an_order_that_came_back_is_nobodys_success() -> None:
    """Else: a mail keeps the credit for what was refunded."""
    logged, _ = made()
    back = {**logged.outcomes, "margin": np.where(np.arange(4_000) < 3_000, 0.0, logged.outcomes["margin"])}
    journeys = attribution.paths(replace(logged, outcomes=back))
    assert sum(ordered for _, ordered in journeys) == (logged.action[3_000:] > 0).sum()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proof")
    trial, _ = trial_by_hand("constant", rows=1_500)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    write_ledger(Settings(home=path, as_of=AT), replace(trial, outcomes={"profit": y}), AT)
    return path


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PROPENSITY_HOME", str(home))
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-07-06")

    def typed(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["evaluate", *arguments])

    return typed


def test_an_operations_lead_reads_what_actions_brought(run: Any, tmp_path: Path) -> None:
    """Without asking a statistician, in either language, on one page that asks nothing of the network."""
    page = tmp_path / "actions.html"
    done = run("actions", "--out", str(page))
    assert done.exit_code == 0, done.output
    assert "uses of channels" in done.output
    assert "The holdout: Nothing is claimed: there is no customer log" in " ".join(done.output.split())
    for said in ("birthday, mail", "silence, sms", "Guardrails", "Attribution, beside the truth"):
        assert said in done.output
    text = page.read_text("utf-8")
    assert "按场景与渠道（USD）" in text
    assert text.count("<svg") >= 2
    assert "http" not in text.replace("http-equiv", "")
    zh = run("actions", "--language", "zh").output
    assert "归因与真实效果对照" in zh


def test_contacts_that_nobody_reports_and_what_is_not_matured_are_told(
    run: Any, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else: costs of what was never sent are read as spent, and `nobody tells` where nothing is final yet."""
    silent = run("actions").output
    assert re.search(
        r"Of ([\d,]+) of \1 contacts nobody told whether they were sent .*counts it as if", silent
    )
    assert re.search(r"birthday, mail +\d+ +0 +\d+ +0\.00 ", silent), silent
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.setenv("PROPENSITY_HOME", str(tmp_path / "home"))
    with closing(Ledger(Settings(home=tmp_path / "home", as_of=AT))) as ledger:
        mailed = [one.id for one in ledger.entries() if one.channel == "mail" and one.scenario == "birthday"]
        ledger.report(
            [Delivery(source="t", id=id, decision_id=id, status="sent", at=AT) for id in mailed], AT
        )
        assert ledger.delivered() == dict.fromkeys(mailed, True)
    sent = run("actions").output
    assert re.search(rf"birthday, mail +{len(mailed)} +{len(mailed)} +0 +{0.1 * len(mailed):.2f} ", sent), (
        sent
    )
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-06-10")
    young = run("actions").output
    assert "1,500 of 1,500 decisions are not final yet: the next is on 2017-07-06" in young
    assert (
        "Guardrails: No contact has a final outcome yet: the first is not matured until 2017-07-06." in young
    )
    assert "Nobody told" not in young


def test_a_policy_is_judged_from_the_ledger(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coupons for all beat the lottery; before decisions mature there is nothing to judge them by."""
    done = run("policy", "--policy", "coupon")
    assert done.exit_code == 0, done.output
    assert "Better than what was done" in done.output
    assert run("policy", "--policy", "letter").exit_code == 2
    assert run("policy", "--policy", "coupon", "--arm", "x").exit_code == 2
    kinds = [
        run("policy", "--policy", "nothing", "--outcome", of).exit_code for of in ("retention", "opt_out")
    ]
    assert kinds == [0, 0]
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-07-05")
    young = run("policy", "--policy", "coupon")
    assert young.exit_code == 2
    assert "0 decisions" in young.output


def test_the_headline_counts_every_use_that_the_table_shows() -> None:
    """Else `of 1 use 1 cannot be told` stands above six, and a reader looks for the five that were lost."""
    few = Words("too few: 3 contacted", "过少：触达3人")

    def use(channel: str, margin: Difference | None, owed: bool = False) -> Brought:
        why = None if margin is not None else few
        return Brought("", channel, 9, 9, 9, 0, 5.0, 0.0, margin, None, why, owed)

    wide = use("sms", Difference(2_000.0, -4_396.0, 9_153.0))
    unknown = [use(name, None) for name in ("app", "mail", "phone", "staff", "group")]
    calm, said = _headline([wide, *unknown], [], False, "CNY")
    assert calm
    assert said.en == (
        "Of 6 uses of channels, 0 earned more than they cost, 0 less; of 1 the interval is too wide to tell; "
        "of 5 nothing is known."
    )
    assert said.zh == "共6种渠道用途：0种收益高于成本，0种低于成本；1种区间过宽，无法判断；5种未知。"
    pays, loses = use("a", Difference(9.0, 6.0, 12.0)), use("b", Difference(-9.0, -12.0, -6.0))
    calm, said = _headline([pays, loses, use("service_desk", None, owed=True)], [], False, "CNY")
    assert (calm, said.en) == (
        False,
        "Of 2 uses of channels, 1 earned more than they cost, 1 less; 1 more are owed to customers.",
    )
