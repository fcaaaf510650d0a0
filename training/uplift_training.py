"""Learn, judge and register what actions do: `propensity train uplift`, from the ledger's own decisions.

`learnt` is what a trial of a plain table goes through too (`propensity uplift`). A trial that a check speaks
against is a guess, `evidence: "prior"`: it may be looked at, and the gate does not let it pass.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from features.compute.builds import Build
from features.definitions import catalogue
from features.describe.say import words
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving import effects
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.evidence import NOT_VALUED, RETENTION
from serving.examples import synthetic_examples
from training import counted, kinds_page, page, registry, uplift_verdict
from training.evaluate import DIGITS, Figure
from training.fit import Progress, Trained
from training.logged import Logged, moment, read
from training.targets import text
from training.uplift import RECIPE, Uplift, fit
from training.uplift_balance import Check
from training.uplift_checks import checks
from training.uplift_estimates import Estimate
from training.uplift_logged import LoggedTrial, reported_of_all, trial_of_ledger
from training.uplift_personal import guessed, told_after
from training.uplift_trial import Trial

NAME = effects.KIND
STEPS = 3


@dataclass(frozen=True)
class Learnt:
    """What a trial taught. found: of each outcome, the first one's policy counts. looked: the checks."""

    trial: Trial
    found: tuple[Uplift, ...]
    looked: tuple[Check, ...]

    @property
    def verdict(self) -> Words:
        """What to do, and how sure that is."""
        return uplift_verdict.verdict(self.found[0], self.looked)


def learnt(trial: Trial, costs: Mapping[str, float], seed: int = 1, more: Sequence[Check] = ()) -> Learnt:
    """Check a trial and learn the effects on all its outcomes. costs: of arms, in the first outcome's unit.

    more: what else was looked at. If a check fails, what is learnt is a guess; if one is doubtful, nobody is
    chosen for.
    """
    looked: tuple[Check, ...] = (*more, *checks(trial))
    if trial.evidence == "randomised" and uplift_verdict.failed(looked):
        trial = replace(trial, evidence="prior")
    names = list(trial.outcomes)
    found = tuple(fit(trial, name, costs if name == names[0] else None, seed) for name in names)
    looked = told_after(trial, found, looked, seed)
    if trial.evidence == "randomised" and uplift_verdict.failed(looked):
        trial, found = replace(trial, evidence="prior"), tuple(map(guessed, found))
    elif uplift_verdict.doubt(looked) is not None:
        found = tuple(replace(one, personal=False) for one in found)
    return Learnt(trial, found, looked)


def train(settings: Settings, as_of: datetime, seed: int = 1, progress: Progress = None) -> Trained:
    """Effects of the ledger's actions on margin, retention and opt-out; they become the challenger.

    The same decisions, outcomes and seed are the same version. NotEnoughData if too few are final.
    """
    shop, build = shop_of(settings), Build.open(settings)
    logged = read(settings)
    counted.required(logged)
    of = trial_of_ledger(logged, seed=seed)
    recipe = {
        "recipe": RECIPE, "seed": seed, "source": logged.source, "arms": list(of.trial.arms),
        "evidence": of.trial.evidence, "decisions": _digest(of, logged), "build": build.id,
        "currency": shop.currency, "numpy": np.__version__,
    }  # fmt: skip
    key = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    with registry.registering(settings, NAME) as door:
        if (kept := door.find(key)) is not None:
            card = effects.load(kept.folder).card
            return Trained(kept.run_id, kept.version, card, kept.folder, _words(card.notes[0]), True)
        _say(progress, f"learning from {len(of.trial):,} decisions", 0)
        taught = learnt(of.trial, of.costs, seed, [reported_of_all(logged), *filter(None, (of.few,))])
        _say(progress, "judging", 1)
        card = card_of(shop, build, taught, of, logged, door.next_version(), seed)
        with TemporaryDirectory(prefix="propensity-") as scratch:
            folder = Path(scratch) / "model"
            save(folder, card, taught, seed)
            _say(progress, f"registering version {card.version}", 2)
            done = door.register(folder, [page.write(Path(scratch) / "card.html", folder)], card, key, recipe)
    _say(progress, f"version {card.version} registered", STEPS)
    return Trained(done.run_id, done.version, card, done.folder, taught.verdict)


def plan(settings: Settings, as_of: datetime) -> str:
    """What it would learn from, in words."""
    logged = read(settings)
    counted.required(logged)
    trial = trial_of_ledger(logged).trial
    return (
        f"would train {NAME}: {', '.join(trial.arms[1:])} against {trial.arms[0]}, from {len(trial):,} of "
        f"{len(logged):,} decisions ({trial.evidence}), outcomes {logged.source}"
    )


def save(folder: Path, card: ModelCard, taught: Learnt, seed: int) -> effects.EffectsModel:
    """The release: plain files, verified as they are served."""
    trial, rows = taught.trial, taught.trial.matrix
    quantiles = np.nan_to_num(np.nanquantile(rows.astype(np.float64), np.linspace(0.01, 0.99, 21), axis=0))
    examples = synthetic_examples(quantiles, np.isnan(rows).mean(axis=0), seed)
    return effects.save(
        folder, card, trial.arms, trial.evidence, [one.to_save() for one in taught.found], examples
    )


def card_of(
    shop: Shop, build: Build, taught: Learnt, of: LoggedTrial, logged: Logged,
    version: str, seed: int,
) -> ModelCard:  # fmt: skip
    """What the model says of itself: of each arm its effect on each outcome, and whom it was learnt from."""
    trial, declared = taught.trial, catalogue(shop.declared("FEATURES"))
    first, last = (moment(edge(logged.as_of[of.rows])) for edge in (np.min, np.max))
    base = round(float(np.mean(trial.outcomes["retention"])), DIGITS)
    features = tuple(
        FeatureCard(name, logged.features[name], declared[name].unit, *declared[name].words)
        if name in declared
        else FeatureCard(name, logged.features[name], "", name, name)
        for name in trial.names
    )
    return ModelCard(
        name=NAME, version=version, kind=effects.KIND, currency=shop.currency,
        target=TargetCard(
            name=NAME, horizon_days=shop.value_horizon_days,
            population=kinds_page.OF_THE_LEDGER.en, label="effect of an action",
            words=Text("What actions do to a customer", "行动对客户的效果"), higher_is="good",
        ),
        features=features,
        trained_on=TrainedOn(build.id, build.log, first, last, len(trial), base, seed),
        tested_on=TestedOn(moment=last, rows=len(trial), base_rate=base),
        metrics=metrics_of(taught), baselines={}, notes=tuple(map(text, _notes(taught, of, logged))),
    )  # fmt: skip


def metrics_of(taught: Learnt) -> dict[str, Figure]:
    """Each arm's effect on each outcome, and what choosing for each customer brings, if lots were drawn."""
    metrics: dict[str, Figure] = {
        f"{found.outcome}_{arm}": _figure(found.effects[k])
        for found in taught.found
        for k, arm in enumerate(taught.trial.arms)
        if k
    }
    if taught.trial.evidence == "randomised":
        metrics["personal_gain"] = _figure(taught.found[0].gain)
    return metrics


def _notes(taught: Learnt, of: LoggedTrial, logged: Logged) -> list[Words]:
    source = (
        logged.why
        or {
            "reported": Words("outcomes as reported by decision", "结果：按决策上报"),
            "log": Words("outcomes from the customer log", "结果：取自客户日志"),
        }[logged.source]
    )
    notes = [taught.verdict, source, *_compared(of.trial), *of.left]
    notes += [NOT_VALUED] * (RETENTION in of.trial.outcomes)
    if of.reach is not None:
        notes.append(words(
            "{share} of customers could have had any of the actions, by estimated propensities",
            "按估计的倾向概率，{share}的客户有可能得到任一行动", share=f"{of.reach:.0%}",
        ))  # fmt: skip
    for check in taught.looked:
        if check.holds is False or check.doubtful:
            notes.append(Words(f"{check.name.en}: {check.words.en}", f"{check.name.zh}：{check.words.zh}"))
    return notes


def _compared(trial: Trial) -> list[Words]:
    """On how many of its decisions each action was compared, where these are not all."""
    reach = dict(zip(trial.arms, trial.could.sum(axis=0), strict=True))
    return [
        words(
            "{arm} is compared with {control} on the {n} of {all} decisions where both could be drawn",
            "{arm}与{control}在两者均可抽取的{n}次决策上比较（共{all}次）",
            arm=arm, control=trial.arms[0], n=f"{count:,}", all=f"{len(trial):,}",
        )
        for arm, count in reach.items()
        if count < len(trial)
    ]  # fmt: skip


def _digest(of: LoggedTrial, logged: Logged) -> str:
    """Of the decisions and of what came of them."""
    found = sha256(json.dumps([logged.ids[row] for row in of.rows]).encode())
    for values in (of.trial.matrix, of.trial.given, of.trial.could, *of.trial.outcomes.values()):
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _figure(one: Estimate) -> Figure:
    return {name: round(value, DIGITS) for name, value in one._asdict().items()}


def _words(of: Text) -> Words:
    return Words(of.en, of.zh)


def _say(progress: Progress, what: str, done: int) -> None:
    if progress:
        progress(f"{NAME}: {what}", done, STEPS)
