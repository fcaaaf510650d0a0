"""The search for parameters. If these fail, a searched model is praised for days that it was chosen on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copies import untrained_copy_of
from optuna.trial import FixedTrial

from features.errors import NotEnoughData
from features.moments import DAY, parse_moment
from features.settings import Settings
from training import describe, tune
from training.candidates import Parameters
from training.fit import train
from training.samples import Dataset, Part, Timeline
from training.tune import Search

M = parse_moment("2017-12-03")
OF: Mapping[str, Any] = {"seed": 1, "build": "by hand"}
NAMES = ("days_since_order", "orders_90d", "noise")


def world(test_label: float | None = None) -> Dataset:
    """Three weekly origins over small random rows with a known risk. test_label: all labels of the test."""
    rng = np.random.default_rng(3)
    moments = [M - weeks * 7 * DAY for weeks in range(9, -1, -1)]
    n, people = len(moments) * 400, 400
    x = rng.normal(size=(n, len(NAMES))).astype(np.float32)
    label = (rng.random(n) < 1 / (1 + np.exp(-x[:, 0] + x[:, 1]))).astype(np.float64)
    if test_label is not None:
        label[-people:] = test_label
    at = np.repeat([int(m.timestamp() * 1e6) for m in moments], people)
    when = Timeline(tuple(moments[:-1]), (moments[-3], moments[-2], moments[-1]), 7 * DAY, M + 7 * DAY)
    rows = Part(x, label, np.tile(np.arange(people), len(moments)), np.zeros(n, np.bool_))
    learnt = {o: label[np.isin(at, [int(m.timestamp() * 1e6) for m in when.known(o)])] for o in when.origins}
    return Dataset(NAMES, when, tuple(map(str, range(people))), rows, at, learnt)


def by_trials(home: Settings, trials: int, data: Dataset | None = None, **of: Any) -> tune.Found:
    return tune.search(home, data or world(), {**OF, **of}, Parameters(), Search(None, trials))


def test_the_same_seed_and_trials_are_the_same_parameters_also_after_an_interruption(home: Settings) -> None:
    """Else: nobody can say where a model's parameters come from, and Ctrl-C costs the night's search."""
    other = replace(home, home=home.home.with_name("other"))
    at_once = by_trials(home, 6)

    stops = [0, 1, 3]

    def impatient(text: str, done: int, total: int) -> None:
        if stops and done == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt

    while stops:
        with pytest.raises(KeyboardInterrupt):
            tune.search(other, world(), OF, Parameters(), Search(None, 6), impatient)
    assert by_trials(other, 6) == at_once
    assert by_trials(other, 6) == at_once, "nothing is left to try"
    assert at_once.loss <= at_once.of_defaults
    assert at_once.trials == 6
    assert by_trials(home, 6, seed=2) != at_once


def test_a_search_that_dies_in_the_middle_of_a_trial_goes_on(home: Settings) -> None:
    """Else: after a crash the parameters depend on when it came."""
    other = replace(home, home=home.home.with_name("other"))
    data, calls = world(), 0

    class Failing(Dataset):
        def at(self, origin: Any) -> Part:
            nonlocal calls
            calls += 1
            if calls == 5:  # in the third trial, of two origins each
                raise MemoryError
            return super().at(origin)

    failing = Failing(data.features, data.timeline, data.ids, data._rows, data._at, data._learnt)
    with pytest.raises(MemoryError):
        tune.search(other, failing, OF, Parameters(), Search(None, 4))
    assert by_trials(other, 4) == by_trials(home, 4)


def test_the_test_has_no_part_in_the_choice(home: Settings) -> None:
    """Else: the one figure that was to be free of the choice is not."""
    other = replace(home, home=home.home.with_name("other"))
    assert by_trials(home, 4, world(0.0)) == by_trials(other, 4, world(1.0))
    lone = world()
    lone = replace(lone, timeline=replace(lone.timeline, origins=(lone.timeline.test,)))
    with pytest.raises(NotEnoughData, match="--origins"):
        by_trials(home, 1, lone)


def test_the_defaults_come_first_and_lie_within_the_space(home: Settings) -> None:
    """Else: a search may end with less than what nobody had to search for."""
    defaults = Parameters(monotone={"days_since_order": 1})
    assert tune.drawn(FixedTrial(tune.drawing(defaults).params), defaults) == defaults
    found = by_trials(home, 1)
    assert (found.parameters, found.loss) == (Parameters(), found.of_defaults)
    assert "best of 1 trials" in str(found)
    assert "by the defaults" in str(found)
    # Else: a figure of the origins that chose is held against one of the test.
    first, last = found.origins[0], found.origins[-1]
    assert f"before the test ({first:%Y-%m-%d} to {last:%Y-%m-%d}), of the customers judged at each" in str(
        found
    )


def test_no_time_still_gives_the_defaults(home: Settings) -> None:
    """Else: a deadline leaves no model."""
    found = tune.search(home, world(), OF, Parameters(), Search(minutes=0))
    assert found.parameters == Parameters()


def test_a_searched_model_says_so_and_is_found_again(
    small_journey: Settings, empty_registry: Path, tmp_path: Path
) -> None:
    """Else: a reader takes the mean over the origins that chose the parameters for a fair figure."""
    settings = untrained_copy_of(small_journey, empty_registry, tmp_path / "home")
    as_of, limits = settings.now(), Search(None, 2)
    searched = train(settings, "repurchase_7d", as_of, origins=2, search=limits)
    assert searched.found is not None
    note = describe.with_search(searched.card, searched.found.origins).notes[-1]
    assert "the 1 origins of 2017-11-26 to 2017-11-26 decided" in note.en
    assert "2017-11-26" in note.zh
    assert (note in searched.card.notes) == (searched.found.parameters != Parameters())
    again = train(settings, "repurchase_7d", as_of, origins=2, search=limits)
    assert (again.reused, again.version, again.found) == (True, searched.version, searched.found)
