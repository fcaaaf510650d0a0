"""What a trained model says of itself: its card, its figures, the verdict."""

from collections.abc import Mapping

import msgspec

from features.compute.builds import Build
from features.definitions import Feature
from features.shop import Shop
from features.words import Words
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from training import evaluate
from training.dataset import Dataset, Plan
from training.targets import Target, text

BASELINES = {
    "recency": Words("recency alone", "仅看最近一次下单"),
    "logistic_rfm": Words("logistic regression on recency, frequency, money", "RFM逻辑回归"),
    "untuned_lightgbm": Words("untuned LightGBM", "未调参LightGBM"),
}


def card_of(
    shop: Shop, target: Target, build: Build, plan: Plan, data: Dataset, version: str, seed: int,
    features: Mapping[str, Feature], left_out: tuple[str, ...],
) -> ModelCard:  # fmt: skip
    """The card before the model was judged."""
    known = data.known
    notes = [
        Text(
            f"Fitted on {len(plan.fit)} moments to {plan.fit[-1]:%Y-%m-%d} ({len(data.fit):,} rows), "
            f"calibrated on {len(plan.calibration)} later ones to {plan.calibration[-1]:%Y-%m-%d}; "
            "labels overlap.",
            f"用截至{plan.fit[-1]:%Y-%m-%d}的{len(plan.fit)}个时点（{len(data.fit):,}行）训练，"
            f"用之后至{plan.calibration[-1]:%Y-%m-%d}的{len(plan.calibration)}个时点校准；标签窗口有重叠。",
        )
    ]
    if left_out:
        days = (plan.fit[0] - build.log_starts_at).days
        notes.append(
            Text(
                f"Left out, because the log held only {days} days when the first row was fitted, and windows "
                f"that reach back beyond its start mean another thing each week: {', '.join(left_out)}.",
                f"首个训练时点日志仅有{days}天，超出日志起点的窗口含义会随时间变化，"
                f"故未使用：{'、'.join(left_out)}。",
            )
        )
    return ModelCard(
        name=target.name,
        version=version,
        kind="lightgbm",
        currency=shop.currency,
        target=TargetCard(
            name=target.name,
            horizon_days=target.horizon_days,
            population=target.population.words.en,
            label=target.label,
            words=text(target.words),
            higher_is=target.higher_is,
            score=text(target.score),
            members=target.population.members(build.features),
        ),
        features=tuple(
            FeatureCard(
                name=name,
                hash=build.features[name],
                unit=features[name].unit,
                en=features[name].words.en,
                zh=features[name].words.zh,
            )
            for name in data.features
        ),
        trained_on=TrainedOn(
            build=build.id,
            log=build.log,
            start=plan.fit[0],
            end=plan.calibration[-1],
            rows=len(known),
            base_rate=round(known.base_rate, evaluate.DIGITS),
            seed=seed,
        ),
        tested_on=TestedOn(
            moment=plan.test, rows=len(data.test), base_rate=round(data.test.base_rate, evaluate.DIGITS)
        ),
        metrics={},
        baselines={},
        notes=tuple(notes),
    )


def with_figures(card: ModelCard, judged: Mapping[str, evaluate.Judged]) -> ModelCard:
    """The card with figures of "model" and of each baseline, the gains over it, and the verdict first."""
    model = judged["model"]
    baselines = {
        name: {**one.figures, **evaluate.gains(model, one)} for name, one in judged.items() if name != "model"
    }
    card = msgspec.structs.replace(card, metrics=model.figures, baselines=baselines)
    return msgspec.structs.replace(card, notes=(text(verdict_of(card)), *card.notes))


def verdict_of(card: ModelCard) -> Words:
    """What the figures of a judged card say."""
    return evaluate.verdict(card.name, card.metrics, card.baselines, BASELINES)
