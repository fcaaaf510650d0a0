"""Whose outcomes are missing: if one action's are more than another's, what is left compares nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from ledgers import write_ledger
from test_roi import made
from trials import trial_by_hand

from features.moments import DAY, parse_moment
from features.settings import Settings
from propensity import main
from serving.ledger import Ledger
from serving.ledger_reports import Outcome, Uncounted
from training.logged import Logged
from training.outcomes_by_arm import by_arm, silent, unlike

AT = parse_moment("2017-06-01")


def aged(logged: Logged, young: np.ndarray) -> Logged:
    """The same, of which some have no final outcome."""
    return replace(logged, outcomes={name: np.where(young, np.nan, y) for name, y in logged.outcomes.items()})


def test_that_one_action_is_final_less_often_than_its_chances_say_is_told() -> None:
    """Else: what was decided since an action began is left out of it alone, and the others look better.

    That recent decisions are not final is none: also where a mail is drawn more often lately.
    """
    logged, _ = made(3_000)
    random = np.random.default_rng(0)
    alarms = [
        len(unlike(aged(logged, np.random.default_rng(seed).random(3_000) < 0.3))) for seed in range(40)
    ]
    assert sum(alarms) == 0
    late = logged.matrix[:, 0] > 0  # to whom the mail is given thrice as often
    assert unlike(aged(logged, late)) == []
    found = unlike(aged(logged, (logged.action == 1) & (random.random(3_000) < 0.2)))
    assert len(found) == 1
    assert "not final unlike, by more than their logged chances explain (Wald, p < .0001)" in found[0].en
    assert "0 of " in found[0].en
    assert "of mail" in found[0].en


def test_that_orders_of_one_action_are_told_too_late_is_told() -> None:
    """Else: the till tells sales without a mail a day too late, and mails seem to bring them."""
    logged, _ = made(1_000)
    ordered = np.random.default_rng(1).random(1_000) < np.where(logged.action == 1, 0.6, 0.3)

    def with_late(late: np.ndarray) -> Logged:
        told = {**logged.outcomes, "retention": (ordered & ~late).astype(float)}
        of = frozenset(id for id, one in zip(logged.ids, ordered & late, strict=True) if one)
        return replace(logged, outcomes=told, uncounted=Uncounted(after_maturity=len(of), late=of))

    tenth = np.random.default_rng(2).random(1_000)
    assert unlike(with_late(tenth < 0.1)) == [], "twice the orders of the mail, and so of late ones"
    (found,) = unlike(with_late((logged.action == 0) & (tenth < 0.2)))
    assert "told too late to count unlike by action" in found.en
    assert "permutation" in found.en
    nothing, mail, _ = by_arm(with_late((logged.action == 0) & (tenth < 0.2)))
    assert (nothing.action, mail.action, mail.late) == ("nothing", "mail", 0)
    assert nothing.late > 10


def test_an_action_of_which_nothing_was_ever_told_is_named() -> None:
    """Else: the system that sends texts tells no outcomes, and they seem to bring nothing."""
    logged, _ = made(600)
    assert silent(logged) == []
    quiet = {**logged.outcomes, "retention": np.where(logged.action == 2, 0.0, 1.0)}
    (found,) = silent(replace(logged, outcomes=quiet))
    assert "final decisions for text, of 100.0% of the others (binomial, p < .0001)" in found.en
    assert silent(replace(logged, outcomes=quiet, source="log")) == [], "of the log all is told alike"


def test_a_verdict_is_withheld_where_outcomes_are_missing_by_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else: a policy is released as better by the sales that its rivals' system told too late."""
    trial, _ = trial_by_hand("constant", rows=1_500)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    settings = Settings(home=tmp_path, as_of=AT + 60 * DAY)
    none = trial.arm == 0
    y[none & (np.arange(len(y)) % 3 == 0)] = 0.0
    write_ledger(settings, replace(trial, outcomes={"profit": y}), AT)
    late = [
        Outcome(source="t", id=f"l{row}", decision_id=f"d{row:06}", type="order", value=80.0, at=AT + DAY)
        for row in np.flatnonzero(none & (y == 0))
    ]
    ledger = Ledger(settings)
    ledger.report(late, AT + 36 * DAY)
    ledger.close()
    monkeypatch.setenv("PROPENSITY_HOME", str(tmp_path))
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-07-30")
    for asked in (["policy", "--policy", "coupon"], ["actions"]):
        done = CliRunner().invoke(main, ["evaluate", *asked, "--outcomes", "reported"])
        told = " ".join(done.output.split())
        assert done.exit_code == 3, told
        assert "Orders were told too late to count unlike by action" in told
    done = CliRunner().invoke(main, ["evaluate", "policy", "--policy", "coupon", "--outcomes", "reported"])
    assert "Outcomes by action" in done.output
    assert "with one told too late" in " ".join(done.output.split())


def test_no_row_claims_what_the_headline_withholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a tool tells its own channel's sales, and the row below `nothing is claimed` says that it pays."""
    trial, _ = trial_by_hand("constant", rows=900)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    write_ledger(
        Settings(home=tmp_path, as_of=AT), replace(trial, outcomes={"profit": y}), AT, told="contacts"
    )
    monkeypatch.setenv("PROPENSITY_HOME", str(tmp_path))
    monkeypatch.setenv("PROPENSITY_AS_OF", "2017-07-30")
    page = tmp_path / "actions.html"
    done = CliRunner().invoke(main, ["evaluate", "actions", "--outcomes", "reported", "--out", str(page)])
    told = " ".join(done.output.split())
    assert done.exit_code == 3, told
    assert told.startswith("Nothing is claimed: outcomes were not told alike")
    rows = done.output.split("By scenario and channel")[1].split("Cost: of what was sent")[0]
    assert "withheld" in rows
    for claim in ("pays", "loses", "[+"):
        assert claim not in rows
        assert f"<td>{claim}" not in page.read_text("utf-8")
    assert "+" not in done.output.split("Attribution, beside")[1].split("Attribution (Markov")[0]
    assert "holds" not in done.output.split("Guardrails")[1].split("The rise")[0]
    text = page.read_text("utf-8")
    assert "不作结论" in text
    assert "Margin brought less its cost" not in text, "no picture of what is withheld"
