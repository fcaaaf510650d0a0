"""Effects from the ledger: only what was drawn by lot, only what is final, and nothing claimed without."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from deliveries import deliver, order
from ledgers import COSTS, MARGIN_RATE, write_ledger
from trials import trial_by_hand

from features.errors import NotEnoughData, UsageError
from features.ingestion.ingest import take
from features.moments import DAY, parse_moment
from features.settings import Settings
from propensity import main
from training.logged import Logged, read
from training.uplift_logged import reported_of_all, trial_of_ledger
from training.uplift_training import learnt
from training.uplift_trial import Trial

AT = parse_moment("2017-06-01")
LATER = AT + 35 * DAY


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """3,000 decisions of a lottery, and 100 of the holdout."""
    settings = Settings(home=tmp_path_factory.mktemp("ledger"), as_of=LATER)
    write_ledger(settings, made()[0], AT, holdout=100)
    return settings


def made() -> tuple[Trial, np.ndarray]:
    trial, true = trial_by_hand("varies", rows=3_000)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)  # orders are no losses
    return replace(trial, outcomes={"profit": y}), true


@pytest.fixture(scope="module")
def logged(settings: Settings) -> Logged:
    return read(settings)


def test_the_ledger_gives_back_the_trial_that_it_recorded(logged: Logged) -> None:
    """Else: effects are learnt from other rows, chances or outcomes than those of the decisions."""
    of, (trial, _) = trial_of_ledger(logged), made()
    assert of.trial.arms == ("nothing", "coupon", "mail")
    assert of.trial.evidence == "randomised"
    assert len(of.trial) == len(trial), "the holdout was in no lottery"
    assert np.array_equal(of.trial.matrix, trial.matrix, equal_nan=True)
    assert np.allclose(of.trial.given, trial.given)
    assert np.allclose(of.trial.outcomes["margin"], trial.outcomes["profit"])
    assert of.costs == pytest.approx({name: COSTS[name] for name in ("coupon", "mail")})
    assert any("100 decisions about the holdout" in words.en for words in of.left)


def test_orders_count_where_the_shop_declares_no_margin(settings: Settings, tmp_path: Path) -> None:
    """Else attribution says that nobody ever ordered, as their margin is 0."""
    shop = tmp_path / "shop"
    shutil.copytree(settings.shop, shop)
    text = (shop / "shop.toml").read_text("utf-8")
    (shop / "shop.toml").write_text(text.replace("margin_rate = 0.25", "margin_rate = 0.0"), "utf-8")
    bare, usual = read(replace(settings, shop=shop)), read(settings)
    assert not bare.outcomes["margin"][bare.mature].any()
    assert np.array_equal(bare.ordered, usual.ordered, equal_nan=True)
    assert np.nansum(bare.ordered) > 1_000
    assert bare.part(bare.action > 0).ordered.sum() == np.nansum(bare.ordered[bare.action > 0])


def test_effects_and_a_policy_are_learnt_for_every_goal(logged: Logged) -> None:
    """The mail pays for half of the customers: who writes to everyone loses what it costs with the others."""
    of, (_, true) = trial_of_ledger(logged), made()
    taught = learnt(of.trial, of.costs, more=[reported_of_all(logged)])
    assert [found.outcome for found in taught.found] == ["margin", "retention", "opt_out"]
    margin = taught.found[0]
    assert margin.personal
    assert margin.effects[1].low < true[:, 2].mean() < margin.effects[1].high
    assert "Personal uplift is proven" in taught.verdict.en
    assert not taught.found[2].personal, "opting out has nothing to do with it"
    assert "complaint" not in logged.outcomes, "nobody ever told of one: that is no zero"


def test_what_is_not_final_is_not_known(settings: Settings) -> None:
    """A decision of yesterday without an order is no decision that failed."""
    young = read(replace(settings, as_of=LATER - DAY))
    assert not young.mature.any()
    assert np.isnan(young.outcomes["margin"]).all()
    with pytest.raises(NotEnoughData, match="0 have a final outcome"):
        trial_of_ledger(young)


def test_outcomes_told_of_contacts_alone_prove_nothing(tmp_path: Path) -> None:
    """A tool that reports its own sales makes every mail look as if it had brought them all."""
    settings = Settings(home=tmp_path, as_of=LATER)
    write_ledger(settings, made()[0].part(np.arange(3_000) < 900), AT, told="contacts")
    logged = read(settings)
    check = reported_of_all(logged)
    assert check.holds is False
    of = trial_of_ledger(logged)
    taught = learnt(of.trial, of.costs, more=[check])
    assert taught.trial.evidence == "prior"
    assert not any(found.personal for found in taught.found)
    assert "No uplift is claimed" in taught.verdict.en
    assert "a sale without a contact is a sale too" in taught.verdict.en


@pytest.mark.parametrize(
    ("decided_by", "evidence"), [("nothing of it", "observational"), ("a column", "prior")]
)
def test_without_a_lottery_nothing_is_claimed(tmp_path: Path, decided_by: str, evidence: str) -> None:
    """A policy that explores nothing has chances of 1: what it did to others, nobody has seen."""
    settings, (trial, _) = Settings(home=tmp_path, as_of=LATER), made()
    trial = trial.part(np.arange(3_000) < 1_200)
    arm = trial.arm if decided_by == "nothing of it" else np.digitize(trial.matrix[:, 1], [-0.4, 0.4])
    trial = replace(trial, arm=arm, given=np.ones(len(trial)))
    write_ledger(settings, trial, AT)
    of = trial_of_ledger(read(settings))
    assert (of.trial.evidence, of.reach is None) == (evidence, False)
    taught = learnt(of.trial, of.costs)
    assert not taught.found[0].personal
    assert not taught.found[0].better
    assert "No uplift is claimed" in taught.verdict.en


def test_too_few_lots_are_not_said_to_be_none(tmp_path: Path) -> None:
    """Else whoever explored reads that nobody did, while `evaluate policy` judges by those very lots."""
    settings, (trial, _) = Settings(home=tmp_path, as_of=LATER), made()
    trial = trial.part(np.arange(3_000) < 1_200)
    write_ledger(settings, replace(trial, given=np.where(np.arange(1_200) < 48, trial.given, 1.0)), AT)
    logged = read(settings)
    of = trial_of_ledger(logged)
    assert of.few is not None
    said = learnt(of.trial, of.costs, more=[reported_of_all(logged), of.few]).verdict
    assert said.en.startswith(
        "No uplift is claimed: 48 of 1,200 decisions with a final outcome were drawn by lot, too few to "
        "learn from: at least 50 customers each of nothing and of an action are needed. So propensities were "
        "estimated for all of them. The evidence is"
    )
    assert "nobody drew lots" not in said.en
    assert "1,200次结果成熟的决策中有48次为随机抽取" in said.zh
    assert "Explore more" in said.en
    assert trial_of_ledger(replace(logged, chances=np.eye(3)[logged.action])).few is None


def test_wrong_names_are_told(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no decision knows letter: it knows nothing, coupon, mail"):
        trial_of_ledger(logged, ["letter"])
    with pytest.raises(UsageError, match="there is no ledger"):
        read(Settings(home=tmp_path))
    assert trial_of_ledger(logged, ["mail"]).trial.arms == ("nothing", "mail")


def test_outcomes_of_the_log_are_those_of_the_window(tmp_path: Path) -> None:
    """Else: an order of before, or of next month, or one that came back, proves a mail."""
    settings = Settings(home=tmp_path / "home", as_of=LATER)
    write_ledger(settings, made()[0].part(np.arange(3_000) < 200), AT)
    day = [f"{AT + days * DAY:%Y-%m-%d}" for days in range(-1, 60)]
    orders = [
        order("before", "c000000", day[0], "80.00"),
        order("within", "c000000", day[2], "80.00"),
        order("back", "c000000", day[50], "-30.00", ref="within"),
        order("after", "c000001", day[30], "80.00"),
        order("all back", "c000002", day[5], "20.00"),
        order("and gone", "c000002", day[6], "-20.00", ref="all back"),
        order("another's", "nobody", day[3], "80.00"),
    ]
    left = [{"customer_id": "c000003", "channel": "mail", "purpose": "marketing", "status": "withdrawn",
             "at": f"{day[4]}T12:00:00Z"}]  # fmt: skip
    until = "SELECT TIMESTAMPTZ '2017-07-{}T00:00:00Z'"
    tables = {"orders": orders, "consents": left}
    take(settings, [deliver(tmp_path / "till", "till", tables, until.format("30"))])
    logged = read(settings, "log")
    assert logged.source == "log"
    assert logged.outcomes["margin"][:4].tolist() == pytest.approx([80 * MARGIN_RATE, 0, 0, 0])
    later = read(replace(settings, as_of=AT + 60 * DAY), "log")
    assert later.outcomes["margin"][:4].tolist() == pytest.approx([50 * MARGIN_RATE, 0, 0, 0]), "came back"
    assert logged.outcomes["retention"][:4].tolist() == [1, 0, 1, 0]
    assert logged.outcomes["opt_out"][:4].tolist() == [0, 0, 0, 1]
    assert logged.mature.all()
    assert "complaint" not in logged.outcomes, "this shop records no complaints"
    assert not read(replace(settings, as_of=LATER - DAY), "log").mature.any(), "nobody could know it then"
    fewer = {"orders": orders[:-1], "consents": left}
    take(settings, [deliver(tmp_path / "till", "till", fewer, until.format("01"))])
    assert not read(settings, "log").mature.any(), "the log does not say yet that nothing more will come"


def shop_with(tmp_path: Path, told: int, logged: int, both: int, rows: int = 200) -> Settings:
    """A lottery of which the first `told` orders were reported, and of whose customers the first `both` of
    them and `logged` others have one in the log."""
    settings = Settings(home=tmp_path / "home", as_of=LATER)
    y = np.where(np.arange(rows) < told, 20.0, 0.0)
    write_ledger(settings, replace(made()[0].part(np.arange(3_000) < rows), outcomes={"profit": y}), AT)
    day = f"{AT + 2 * DAY:%Y-%m-%d}"
    own = [*range(both), *range(told, told + logged)]
    orders = [order(f"o{row}", f"c{row:06}", day, "80.00") for row in own]
    orders += [order(f"again{row}", f"c{row:06}", day, "-5.00", ref=f"o{row}") for row in own]
    orders += [order("before", "c000190", f"{AT - DAY:%Y-%m-%d}"), order("nobody's", "nobody", day)]
    until = "SELECT TIMESTAMPTZ '2017-07-30T00:00:00Z'"
    take(settings, [deliver(tmp_path / "till", "till", {"orders": orders}, until)])
    return settings


@pytest.mark.parametrize(
    ("told", "logged", "both", "source"),
    [(2, 100, 2, "log"), (100, 0, 100, "log"), (100, 0, 95, "log"), (100, 0, 3, "reported"),
     (0, 50, 0, "log"), (0, 0, 0, "log")],
)  # fmt: skip
def test_outcomes_come_from_the_place_that_knows_them(
    tmp_path: Path, told: int, logged: int, both: int, source: str
) -> None:
    """Else the first order that anybody reports turns all the orders of the log into zeros."""
    found = read(shop_with(tmp_path, told, logged, both))
    assert found.source == source
    assert found.lacking is None
    assert found.why is not None
    assert ("of final decisions" in found.why.en, "已成熟决策" in found.why.zh) == (True, True)
    assert f"{told} " in found.why.en
    assert f"{both + logged} " in found.why.en


def test_reports_that_lack_orders_of_the_log_claim_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a hundred orders that nobody reported are zeros, and doing nothing is the better policy."""
    settings = shop_with(tmp_path, told=60, logged=60, both=60)
    reported, log = read(settings, "reported"), read(settings, "log")
    assert log.lacking is None
    assert reported.lacking is not None
    assert "60 orders were reported" in reported.lacking.en
    assert "the customer log has 120" in reported.lacking.en
    monkeypatch.setenv("PROPENSITY_HOME", str(settings.home))
    monkeypatch.setenv("PROPENSITY_AS_OF", f"{LATER:%Y-%m-%d}")
    for asked in (["actions"], ["policy", "--policy", "mail"]):
        done = CliRunner().invoke(main, ["evaluate", *asked, "--outcomes", "reported"])
        assert done.exit_code == 3, done.output
        assert "60 orders were reported of decisions in whose windows the customer log has 120" in done.output
        assert "Outcomes are those reported by decision, as asked: 60 orders" in done.output
        done = CliRunner().invoke(main, ["evaluate", *asked])
        assert "Outcomes are taken from the customer log: it has 120 orders" in done.output
        assert "in whose windows" not in done.output
    fewer = read(shop_with(tmp_path / "b", told=60, logged=0, both=3), "log")
    assert fewer.lacking is not None
    assert "The customer log has 3 orders" in fewer.lacking.en


def test_a_log_that_ends_before_the_decisions_is_not_taken_for_one_without_orders(tmp_path: Path) -> None:
    """Else a shop that reports every order waits for a log that nobody has brought in for months."""
    settings = shop_with(tmp_path, told=60, logged=0, both=60)
    until = f"SELECT TIMESTAMPTZ '{AT + 5 * DAY:%Y-%m-%d}T00:00:00Z'"
    take(
        settings,
        [deliver(tmp_path / "till", "till", {"orders": [order("one", "c000000", "2017-06-03")]}, until)],
    )
    found = read(settings)
    assert (found.source, found.lacking) == ("reported", None)
    assert found.mature.all()
    bare = Settings(home=tmp_path / "bare", as_of=LATER)
    write_ledger(bare, made()[0].part(np.arange(3_000) < 200), AT)
    alone = read(bare)
    assert alone.source == "reported"
    assert alone.why is not None
    assert "there is no customer log" in alone.why.en


def test_harms_that_the_log_has_no_table_of_are_known_from_reports(tmp_path: Path) -> None:
    """Else the guardrail of opt-outs falls silent as soon as the log knows the orders."""
    found = read(shop_with(tmp_path, told=60, logged=0, both=60))
    assert found.source == "log"
    assert found.outcomes["opt_out"].sum() == 2
