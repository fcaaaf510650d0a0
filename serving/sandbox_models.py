"""The models that test keys are told of: two, made up, whose scores are those of `sandbox_customers`."""

from datetime import datetime

from features.moments import DAY, midnight
from serving.api import BrokenModel, ReleasedModel
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.known import Declared

VERSION = "test"  # of every model, and of what is published
HORIZON = 28  # days
TARGETS = {"churn_28d": 1.0, "repurchase_28d": -1.0}  # target -> the sign of what raises the risk in it
FEATURES = ("days_since_order", "orders_90d", "overdue")
_WORDS = {
    "churn_28d": Text(f"No order within {HORIZON} days", f"{HORIZON}天内不下单"),
    "repurchase_28d": Text(f"An order within {HORIZON} days", f"{HORIZON}天内下单"),
}
_NOTE = Text("Made up, for test keys: nothing was trained", "测试密钥专用的虚构模型，未经训练")


def models(declared: Declared, now: datetime) -> list[ReleasedModel | BrokenModel]:
    """Each target with a card in the form of a real one; figures of quality it has none."""
    return [ReleasedModel(name, VERSION, _card(name, declared, now)) for name in TARGETS]


def _card(name: str, declared: Declared, now: datetime) -> ModelCard:
    tested = midnight(now) - HORIZON * DAY
    of = [declared.features[feature] for feature in FEATURES if feature in declared.features]
    risk = TARGETS[name] > 0
    return ModelCard(
        name=name,
        version=VERSION,
        kind="test",
        currency=declared.currency,
        target=TargetCard(
            name=name,
            horizon_days=HORIZON,
            population="customers with an order",
            label="no_order" if risk else "order",
            words=_WORDS[name],
            higher_is="bad" if risk else "good",
        ),
        features=tuple(FeatureCard(f.name, VERSION, f.unit, f.words.en, f.words.zh) for f in of),
        trained_on=TrainedOn(VERSION, VERSION, tested - 365 * DAY, tested - DAY, 0, 0.5, 0),
        tested_on=TestedOn(tested, 0, 0.5),
        metrics={},
        baselines={},
        notes=(_NOTE,),
    )
