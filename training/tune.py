"""A search for the candidates' parameters on a shop's own log, by Optuna's TPE (Bergstra et al. 2011).

What decides is the mean log-loss at the origins before the test whose outcomes were known by then, of the
candidate that is best with the parameters: the test has no part in it. The defaults are the first trial.

    home/tuning/<key>.journal      every finished trial; the key is of the data, target, seed and space

A trial's draws depend on the seed and the finished trials alone: a search that was interrupted, at whatever
moment, goes on as if it had not been.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, TrialState

from features.errors import NotEnoughData
from features.files import locked
from features.settings import Settings
from training import backtest
from training.candidates import Parameters
from training.distributed import Cluster
from training.samples import Dataset

SPACE = 1  # raise when `drawn` draws something else

Said = Callable[[str, int, int], None]  # what, how much of all, all


@dataclass(frozen=True)
class Search:
    """For how long to search: minutes from now, and trials in all, earlier ones included; None: no limit."""

    minutes: float | None
    trials: int | None = None

    def reached(self, trials: int, minutes: float) -> bool:
        """Whether either limit is reached."""
        return (self.trials is not None and trials >= self.trials) or (
            self.minutes is not None and minutes >= self.minutes
        )


@dataclass(frozen=True)
class Found:
    """The best parameters of so many trials, and their log-loss beside that of the defaults.

    origins: that decided.
    """

    parameters: Parameters
    origins: tuple[datetime, ...]
    trials: int
    loss: float
    of_defaults: float

    def __str__(self) -> str:
        whose = f"the defaults' {self.of_defaults:.5f}" if self.loss < self.of_defaults else "by the defaults"
        first, last, many = self.origins[0], self.origins[-1], len(self.origins)
        return (
            f"best of {self.trials} trials: log-loss {self.loss:.5f}, {whose}; the mean over the {many} "
            f"origin{'s' * (many > 1)} before the test ({first:%Y-%m-%d} to {last:%Y-%m-%d}), of the "
            "customers judged at each"
        )


def drawn(trial: BaseTrial, defaults: Parameters) -> Parameters:
    """Parameters as a trial draws them, within the compiled scorer's limits; the rest are the defaults'."""
    trees = {
        "learning_rate": _digits(trial.suggest_float("learning_rate", 0.01, 0.2, log=True)),
        "num_leaves": trial.suggest_int("num_leaves", 3, 64, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 20, 2_000, log=True),
        "feature_fraction": _digits(trial.suggest_float("feature_fraction", 0.1, 1.0)),
        "bagging_fraction": _digits(trial.suggest_float("bagging_fraction", 0.4, 1.0)),
        "lambda_l2": _digits(trial.suggest_float("lambda_l2", 0.1, 100.0, log=True)),
    }
    rounds = trial.suggest_int("rounds", 40, 400, log=True)
    strength = _digits(trial.suggest_float("strength", 1e-4, 1.0, log=True))
    return replace(defaults, trees={**defaults.trees, **trees}, rounds=rounds, strength=strength)


def drawing(defaults: Parameters) -> FixedTrial:
    """A trial that draws the defaults."""
    trial = FixedTrial({**defaults.trees, "rounds": defaults.rounds, "strength": defaults.strength})
    drawn(trial, defaults)
    return trial


def _digits(value: float) -> float:
    return float(f"{value:.6g}")


def search(
    settings: Settings,
    data: Dataset,
    of: Mapping[str, Any],
    defaults: Parameters,
    limits: Search,
    said: Said | None = None,
    cluster: Cluster | None = None,
) -> Found:
    """Try parameters until a limit is reached, going on from what the same search has tried before.

    of: what decides data and fit, such as build, log, target and seed. NotEnoughData without an origin whose
    outcomes were known at the test. KeyboardInterrupt passes; finished trials are kept.
    """
    when, seed = data.timeline, int(of["seed"])
    before = tuple(origin for origin in when.origins if origin + when.horizon <= when.test)
    if not before:
        raise NotEnoughData(
            "parameters are searched for at origins whose outcomes were known at the test, and there are "
            "none: allow more --origins, ingest a longer log, or train without --tune"
        )

    def loss(parameters: Parameters) -> float:
        tried = backtest.side_by_side(
            lambda origin: backtest.try_all(data, origin, seed, parameters, cluster), before, data.cells
        )
        return min(backtest.mean_losses(list(tried)).values())

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    about = {**of, "space": SPACE, "defaults": asdict(defaults)}
    key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    file = settings.home / "tuning" / f"{key}.journal"
    with locked(file.with_suffix(".lock")):  # side by side they would try the same
        storage = JournalStorage(JournalFileBackend(str(file)))
        study = optuna.create_study(storage=storage, study_name=key, load_if_exists=True)
        started = time.monotonic()
        while True:
            # Not the trials' numbers: an interrupted one keeps its number.
            done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            found = _found(done, defaults, before) if done else None
            spent = (time.monotonic() - started) / 60
            if said:
                text = str(found) if found else "trying the default parameters"
                share = (
                    (len(done), limits.trials) if limits.trials else (spent * 60, (limits.minutes or 0) * 60)
                )
                said(text, round(share[0]), round(share[1]))
            if found and limits.reached(len(done), spent):
                return found
            _try_one(study, loss, seed, defaults, len(done))


def _found(done: Sequence[FrozenTrial], defaults: Parameters, origins: tuple[datetime, ...]) -> Found:
    """done: every finished trial, the defaults first."""
    best = min(done, key=_value)
    parameters = defaults if best is done[0] else drawn(FixedTrial(best.params), defaults)
    return Found(parameters, origins, len(done), _value(best), _value(done[0]))


def _try_one(
    study: Study, loss: Callable[[Parameters], float], seed: int, defaults: Parameters, done: int
) -> None:
    """One more trial; of none before, that of the defaults."""
    if not done:
        first, value = drawing(defaults), loss(defaults)
        trial = optuna.trial.create_trial(params=first.params, distributions=first.distributions, value=value)
        study.add_trial(trial)
        return
    study.sampler = optuna.samplers.TPESampler(seed=(seed * 100_003 + done) % 2**32)
    asked = study.ask()
    try:
        study.tell(asked, loss(drawn(asked, defaults)))
    except BaseException:  # also Ctrl-C
        study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        raise


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value
