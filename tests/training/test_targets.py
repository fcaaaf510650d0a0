"""Declarations of targets. If they are wrong, a model answers another question than people think."""

from dataclasses import replace
from typing import get_args

import msgspec
import numpy as np
import pytest

from features.definitions import catalogue as features
from features.errors import FeatureError, TrainingError
from features.words import Words
from serving.cards import Members, Op
from training.populations import EVERYONE, buyers
from training.targets import TARGETS, Target, catalogue, problems


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_target_keeps_the_contract(target: Target) -> None:
    """Else: a target without words, or whose population no feature can tell, reaches the service."""
    assert problems(target, features()) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "churn_30d"}, "_28d"),
        ({"horizon_days": 0, "name": "churn_0d"}, "horizon"),
        ({"population": buyers(60)}, "orders_60d, which is no declared feature"),
        ({"population": replace(buyers(90), days=30)}, "days=90"),
        ({"population": replace(buyers(90), op="=")}, "op '='"),
        ({"population": replace(buyers(90), words=Words("buyers", ""))}, "words"),
        ({"label": "order"}, "higher_is"),
        ({"words": Words("No order", "")}, "words"),
        ({"reason": ""}, "reason"),
    ],
)
def test_a_broken_declaration_is_named(change: dict[str, object], told: str) -> None:
    """Else: a shop's own target trains, and misleads."""
    broken = replace(TARGETS[0], **change)  # type: ignore[arg-type]
    assert len(found := problems(broken, features())) == 1
    assert told in found[0]
    with pytest.raises(TrainingError, match=told):
        catalogue([replace(broken, name=broken.name.replace("churn", "own"))], features())


def test_a_shop_cannot_shadow_a_built_in_target() -> None:
    """Else: `churn_28d` means something else in one shop, under the same name."""
    with pytest.raises(TrainingError, match="twice"):
        catalogue([TARGETS[0]])


def test_a_population_that_the_build_cannot_tell_is_named() -> None:
    """Else: a shop without that table trains on nobody, or on everybody."""
    assert buyers(90).members({"orders_90d": "hash"}) == Members("orders_90d", "hash")
    assert EVERYONE.members({}) is None
    with pytest.raises(FeatureError, match="orders_90d, which is not built"):
        buyers(90).members({"orders_30d": "hash"})


def test_a_condition_is_what_its_operator_says() -> None:
    """Else: whom a model was trained for and whom it is asked about differ, at the edge or where null."""
    values = np.array([0, 1, 2, np.nan], np.float32)
    held = {op: Members("f", "", op, 1).holds(values).tolist() for op in get_args(Op)}
    assert held == {
        ">": [False, False, True, False],
        ">=": [False, True, True, False],
        "==": [False, True, False, False],
        "<=": [True, True, False, False],
        "<": [True, False, False, False],
        "unknown": [False, False, False, True],
    }


def test_a_condition_of_old_is_written_as_it_was() -> None:
    """Else: releases of an earlier version cannot be read, or the same model has other bytes."""
    plain = b'{"feature":"orders_90d","hash":"h"}'
    members = msgspec.json.decode(plain, type=Members)
    assert members == Members("orders_90d", "h", ">", 0)
    assert msgspec.json.encode(members) == plain
