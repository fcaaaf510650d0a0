"""Declarations of targets. If they are wrong, a model answers another question than people think."""

from dataclasses import replace

import pytest

from features.definitions import catalogue as features
from features.errors import TrainingError
from features.words import Words
from training.targets import TARGETS, Target, catalogue, problems


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_target_keeps_the_contract(target: Target) -> None:
    """Else: a target without words, or whose population no feature can tell, reaches the service."""
    assert problems(target) == []
    assert target.members in features()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "churn_30d"}, "_28d"),
        ({"horizon_days": 0, "name": "churn_0d"}, "horizon"),
        ({"population_days": 60}, "population_days"),
        ({"label": "order"}, "higher_is"),
        ({"words": Words("No order", "")}, "words"),
        ({"reason": ""}, "reason"),
    ],
)
def test_a_broken_declaration_is_named(change: dict[str, object], told: str) -> None:
    """Else: a shop's own target trains, and misleads."""
    broken = replace(TARGETS[0], **change)  # type: ignore[arg-type]
    assert len(found := problems(broken)) == 1
    assert told in found[0]
    with pytest.raises(TrainingError, match=told):
        catalogue([replace(broken, name=broken.name.replace("churn", "own"))])


def test_a_shop_cannot_shadow_a_built_in_target() -> None:
    """Else: `churn_28d` means something else in one shop, under the same name."""
    with pytest.raises(TrainingError, match="twice"):
        catalogue([TARGETS[0]])
