"""A trial of a plain table as a version in MLflow: `propensity uplift --register`.

It is a model of effects like one that the ledger taught, and its control is "nothing". A column is a feature
if its name and values are one of the build's: so a table of features, with what was drawn and what came of
it, can be released; any other is kept to be looked at, and `promote` refuses it. Decisions read what it says
of `margin` and `opt_out`, over the shop's value horizon; what they do not read is said (`unread`).
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from features.compute.builds import Build
from features.definitions import catalogue
from features.moments import midnight
from features.settings import Settings
from features.shop import Shop, shop_of
from features.words import Words
from serving import effects
from serving.actions import catalogue as actions_of
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.evidence import NONE, unheard
from training import kinds_page, page, registry
from training.evaluate import DIGITS
from training.targets import text
from training.uplift import RECIPE
from training.uplift_training import NAME, Learnt, metrics_of, save


def register(settings: Settings, taught: Learnt, file: Path, days: int, seed: int) -> registry.Kept:
    """The trial's version; the same table, question and seed are the same one. It becomes the challenger.

    days: over which the outcome was measured. NoBuild if no features were built: a version names its build.
    """
    shop, build = shop_of(settings), Build.open(settings)
    trial = replace(taught.trial, arms=(NONE, *taught.trial.arms[1:]))  # whatever its name was
    taught = replace(taught, trial=trial)
    read = sha256(json.dumps([trial.names, trial.arms, trial.evidence, days, seed, RECIPE]).encode())
    parts = (trial.matrix, trial.arm, trial.given, trial.customer, *trial.outcomes.values(), *(
        found.costs for found in taught.found
    ))  # fmt: skip
    for part in parts:
        read.update(np.ascontiguousarray(part).tobytes())
    recipe = {
        "recipe": RECIPE, "seed": seed, "source": file.name, "arms": list(trial.arms), "days": days,
        "evidence": trial.evidence, "outcome": taught.found[0].outcome, "build": build.id,
        "trial": read.hexdigest(), "numpy": np.__version__,
    }  # fmt: skip
    key = sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    with registry.registering(settings, NAME) as door:
        if (kept := door.find(key)) is not None:
            return kept
        card = _card(settings, shop, build, taught, file, days, door.next_version(), seed)
        with TemporaryDirectory(prefix="propensity-") as scratch:
            folder = Path(scratch) / "model"
            save(folder, card, taught, seed)
            return door.register(folder, [page.write(Path(scratch) / "card.html", folder)], card, key, recipe)


def _card(
    settings: Settings, shop: Shop, build: Build, taught: Learnt, file: Path, days: int, version: str,
    seed: int,
) -> ModelCard:  # fmt: skip
    trial, declared = taught.trial, catalogue(shop.declared("FEATURES"))
    at, found = midnight(settings.now()), taught.found[0]
    base = round(float(np.mean(trial.outcomes[found.outcome])), DIGITS)
    features = tuple(
        FeatureCard(name, build.features[name], declared[name].unit, *declared[name].words)
        if name in declared and name in build.features
        else FeatureCard(name, "", "", name, name)
        for name in trial.names
    )
    unknown = strangers(features)
    notes = [taught.verdict, Words(f"learnt from the trial {file.name}", f"学习自试验{file.name}")]
    if unknown:
        shown = ", ".join(unknown[:5])
        notes.append(Words(
            f"reads what is no feature of this shop, so it cannot be released: {shown}",
            f"使用了本店没有的特征，因此不能发布：{shown}",
        ))  # fmt: skip
    return ModelCard(
        name=NAME, version=version, kind=effects.KIND, currency=shop.currency,
        target=TargetCard(
            name=NAME, horizon_days=days, population=kinds_page.OF_A_TRIAL.en, label="effect of an action",
            words=Text("What the arms of a trial do to a customer", "试验各方案对客户的效果"),
            higher_is="good",
        ),
        features=features, trained_on=TrainedOn(build.id, build.log, at, at, len(trial), base, seed),
        tested_on=TestedOn(moment=at, rows=len(trial), base_rate=base), metrics=metrics_of(taught),
        baselines={}, notes=tuple(map(text, notes)),
    )  # fmt: skip


def strangers(features: Iterable[FeatureCard]) -> list[str]:
    """Those that are no feature of the build: what was learnt from one cannot be released."""
    return [feature.name for feature in features if not feature.hash]


def unread(settings: Settings, model: effects.EffectsModel) -> list[Words]:
    """What decisions of this shop will not read of a model of effects, and why."""
    shop = shop_of(settings)
    actions = actions_of(shop.declared("ACTIONS"))
    strange = ", ".join(strangers(model.card.features))
    cannot = [Words(
        f"it cannot be released, as it was learnt from what is no feature of this build: {strange}. Leave it "
        "out (--ignore), or say that it names the customer (--customer)",
        f"无法发布，因为学习时使用了当前构建中没有的特征：{strange}。请排除该列（--ignore），或声明其为客户标识（--customer）",
    )]  # fmt: skip
    return cannot * bool(strange) + unheard(model, actions, shop.value_horizon_days, shop.currency)


def card_of(kept: registry.Kept) -> ModelCard:
    """The card of a registered version."""
    return msgspec.json.decode((kept.folder / "card.json").read_bytes(), type=ModelCard)
