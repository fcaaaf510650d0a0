"""A policy judged on the ledger's decisions: one action for all, what was best without the lots, or a model.

A policy chooses among what was eligible; where its choice was not, it leaves the customer alone. Of margin,
the cost of each action is taken off, as it was expected when it was decided.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.errors import FeatureMismatch, UsageError
from features.words import Words
from serving.effects import EffectsModel
from training import counted
from training.logged import Logged, moment
from training.policy_value import LoggedDecisions, PolicyValue, evaluate
from training.uplift_learners import Ints, Numbers, Outcomes

GREEDY = "greedy"  # the action with the largest chance: what is decided when nothing is drawn
HARMS = ("opt_out", "complaint")  # outcomes of which less is better
FEWEST = 2  # decisions with an outcome
MODELLED = 1_000  # decisions, from which on the outcome of each arm is modelled
FOLDS = 2


def judged(logged: Logged, choice: Ints, outcome: str = "margin") -> PolicyValue:
    """Every estimate of the policy that would take `choice`, places in actions [n]. UsageError without one of
    that outcome, or of fewer than two final decisions; NotEnoughData where no order counts."""
    if outcome not in logged.outcomes:
        raise UsageError(f"{outcome} is not known of these decisions: there are {', '.join(logged.outcomes)}")
    if outcome not in HARMS:
        counted.required(logged)
    rows = np.isfinite(logged.outcomes[outcome]) & ~logged.holdout
    if rows.sum() < FEWEST:
        young = int((~logged.mature).sum())
        when = f", the next on {moment(logged.matures_at[~logged.mature].min()):%Y-%m-%d}" if young else ""
        raise UsageError(
            f"{int(rows.sum())} of {len(logged):,} decisions can be judged: {young:,} are not final "
            f"yet{when}, {int(logged.holdout.sum()):,} are of the holdout. Wait, or decide for more customers"
        )
    some, chosen = logged.part(rows), choice[rows]
    y = some.outcomes[outcome].copy()
    if outcome == "margin":
        y -= some.cost
    target = np.zeros((len(some), len(some.actions)))
    target[np.arange(len(some)), allowed(some, chosen)] = 1.0
    found = evaluate(LoggedDecisions(
        arm=some.action, propensity=some.given, outcome=y, target=target, predicted=_predicted(some, y),
        customer=[str(of) for of in some.customer],
    ))  # fmt: skip
    refused = float((allowed(some, chosen) != chosen).mean())
    return replace(found, harm=outcome in HARMS, refused=refused)


def warned(found: PolicyValue, more: Sequence[Words]) -> PolicyValue:
    """With what else speaks against believing it."""
    return replace(found, warnings=(*found.warnings, *more))


def constant(logged: Logged, action: str) -> Ints:
    """One action for everybody. UsageError if no decision knows it."""
    if action not in logged.actions:
        raise UsageError(
            f"no decision knows {action}: choose {GREEDY}, uplift, or one of {', '.join(logged.actions)}"
        )
    return np.full(len(logged), logged.actions.index(action))


def greedy(logged: Logged) -> Ints:
    """What was best at each decision, by what was known then."""
    return np.asarray(logged.chances.argmax(axis=1))


def of_model(logged: Logged, model: EffectsModel) -> Ints:
    """What a model of effects gives, of what was possible. FeatureMismatch if it reads what the decisions did
    not record."""
    names, recorded = list(logged.features), logged.features
    lacking = [of.name for of in model.card.features if recorded.get(of.name) != of.hash]
    if lacking:
        raise FeatureMismatch(
            f"the decisions did not record {', '.join(lacking[:5])} as {model.card.name} "
            f"{model.card.version} reads them: judge it on later decisions, or train it again"
        )
    columns = [names.index(of.name) for of in model.card.features]
    places = [logged.actions.index(arm) if arm in logged.actions else -1 for arm in model.file.arms]
    known = np.array(places) >= 0
    possible = np.where(known, logged.chances[:, places] > 0, False)
    possible[:, 0] = True
    arms = model.policy(model.score(np.ascontiguousarray(logged.matrix[:, columns])), possible)
    return np.array(places)[arms]


def allowed(logged: Logged, choice: Ints) -> Ints:
    """The choice where it was eligible, else nothing."""
    possible = logged.chances[np.arange(len(logged)), choice] > 0
    return np.where(possible, choice, 0)


def _predicted(logged: Logged, y: Numbers) -> Numbers | None:
    """Outcome of each action [n, A] by a model that has not seen the customer; None for too few."""
    if len(logged) < MODELLED:
        return None
    fold, predicted = logged.customer % FOLDS, np.empty(logged.chances.shape)
    model = Outcomes(np.ascontiguousarray(logged.matrix), logged.action, len(logged.actions))
    for side in range(FOLDS):
        own = fold == side
        predicted[own] = model.fit(~own, y, 1).means(np.ascontiguousarray(logged.matrix[own]))
    return predicted
