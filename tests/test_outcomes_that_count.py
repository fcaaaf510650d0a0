"""Outcomes that count for nothing are no zeros: every command says so, with the reason and what to do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from ledgers import write_ledger
from trials import trial_by_hand

from features.errors import NotEnoughData
from features.moments import DAY, parse_moment
from features.settings import Settings
from propensity import main
from serving.ledger_reports import Uncounted
from training import counted, logged_policy, roi
from training.logged import read

AT = parse_moment("2017-06-01")
LATE = AT + 36 * DAY  # a day after the decisions have matured


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lottery of 600 decisions whose outcomes were all told after they had matured."""
    path = tmp_path_factory.mktemp("late")
    trial, _ = trial_by_hand("constant", rows=600)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    trial = replace(trial, outcomes={"profit": y})
    write_ledger(Settings(home=path, as_of=LATE), trial, AT, told_at=LATE)
    return path


def run(home: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("PROPENSITY_HOME", str(home))
    monkeypatch.setenv("PROPENSITY_AS_OF", f"{LATE + DAY:%Y-%m-%d}")
    return CliRunner().invoke(main, list(arguments))


def test_actions_whose_outcomes_came_too_late_do_not_lose(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a shop stops what pays, as its till told the sales a day too late."""
    page = tmp_path / "actions.html"
    done = run(home, monkeypatch, "evaluate", "actions", "--outcomes", "reported", "--out", str(page))
    assert done.exit_code == 3, done.output
    assert done.output.startswith("What actions brought is not known.")
    told = " ".join(done.output.split())
    assert "No outcome counted: 600 final decisions have no order, because 600 were told after their" in told
    assert "POST /v1/outcomes" in told
    assert "loses" not in told
    assert "[" not in told.split("By scenario")[1].split("Guardrails")[0], "no interval"
    assert "没有任何结果计入：600次已成熟的决策均无订单，因为600笔在决策成熟之后才上报" in page.read_text()


def test_a_policy_is_not_judged_by_outcomes_that_do_not_count(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else leaving everybody alone is the best policy, by what its mails are saved."""
    for asked in (["--policy", "nothing"], ["--policy", "mail", "--outcome", "retention"]):
        done = run(home, monkeypatch, "evaluate", "policy", "--outcomes", "reported", *asked)
        assert done.exit_code == 1, done.output
        assert "No outcome counted: 600 final decisions" in done.output


def test_nothing_is_learnt_from_outcomes_that_do_not_count(home: Path) -> None:
    """Else the fault is sought in a feature or an arm."""
    logged = read(Settings(home=home, as_of=LATE + DAY), "reported")
    with pytest.raises(NotEnoughData, match="600 were told after their decision had matured"):
        counted.required(logged)
    young = {name: np.full(len(logged), np.nan) for name in logged.outcomes}
    for outcomes in (logged.outcomes, young):
        of_log = replace(logged, source="log", outcomes=outcomes)
        with pytest.raises(NotEnoughData, match="told by decision 600 were told after"):
            counted.required(of_log)


def test_what_is_late_is_told_beside_what_counts(tmp_path: Path) -> None:
    """Else half of the sales are missing, and the figure looks final."""
    trial, _ = trial_by_hand("constant", rows=300)
    settings = Settings(home=tmp_path, as_of=LATE + DAY)
    y = np.maximum(trial.outcomes["profit"] + 20, 0.0)
    write_ledger(settings, replace(trial, outcomes={"profit": y}), AT)
    logged = read(settings)
    assert counted.none_counts(logged) is None
    assert counted.late_words(logged) is None
    some = replace(logged, uncounted=Uncounted(after_window=7, after_maturity=5))
    assert counted.none_counts(some) is None
    late = counted.late_words(some)
    assert late is not None
    assert late.en == (
        "5 were told after their decision had matured and 7 were told though they came after their "
        "decision's window"
    )
    zero = dict.fromkeys(("margin", "retention"), np.zeros(300))
    none = replace(logged, outcomes=zero)
    assert "because none was told of them" in (counted.none_counts(none) or late).en
    assert "the customer log has none" in (counted.none_counts(replace(none, source="log")) or late).en
    assert {one.verdict for one in roi.brought(none)} == {"unknown"}
    with pytest.raises(NotEnoughData):
        logged_policy.judged(none, logged_policy.constant(none, "mail"))
