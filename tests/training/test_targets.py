"""Declarations of targets. If they are wrong, a model answers another question than people think."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from logs import empty_shop, write_log

import propensity
from features.definitions import catalogue as features
from features.definitions import goods
from features.errors import FeatureError, TrainingError, UsageError
from features.moments import parse_moment
from features.settings import Settings
from features.shop import Shop
from features.words import Words
from propensity.shops import PYTHON
from serving import conditions
from serving.actions import catalogue as action_catalogue
from serving.actions import require_features
from serving.cards import Members, Op
from serving.scenarios import catalogue as scenario_catalogue
from training.happened import told
from training.populations import EVERYONE, buyers
from training.suggest import source
from training.targets import (
    LABELS,
    TARGETS,
    Target,
    catalogue,
    chosen,
    lacking,
    of_shop,
    problems,
    strange_categories,
)


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
        ({"population": replace(buyers(90), op="=")}, "did you mean '=='"),
        ({"population": replace(buyers(90), words=Words("buyers", ""))}, "words"),
        ({"label": "order"}, "higher_is"),
        ({"words": Words("No order", "")}, "words"),
        ({"reason": ""}, "reason"),
        ({"population": buyers(45)}, "its windows are orders_7d, orders_30d, orders_90d"),
        ({"population": replace(EVERYONE, feature="tenur")}, "did you mean 'tenure'"),
        ({"label": "no_ordr"}, "did you mean 'no_order'"),
        ({"label": "silence"}, "label is 'silence': expected one of order, no_order"),
        ({"categories": ("tea",)}, "categories go with"),
        ({"categories": "tea"}, "categories is 'tea': expected a tuple, with a comma"),
        ({"baseline": "tenure"}, "baseline is 'tenure': expected a tuple, with a comma"),
        ({"baseline": ("orders_90d", "tenur")}, "names tenur, which is no declared feature; did you mean"),
        ({"horizon_days": "28"}, "horizon_days is '28': expected a whole number"),
        ({"population": "everyone"}, "population is 'everyone': expected a Population"),
        ({"score": "risk"}, "score is 'risk': expected Words"),
        (
            {"label": "category_order", "higher_is": "good", "population": EVERYONE},
            "the population must look back",
        ),
    ],
)
def test_a_broken_declaration_is_named(change: dict[str, object], told: str) -> None:
    """Else: a shop's own target trains, and misleads."""
    broken = replace(TARGETS[0], **change)  # type: ignore[arg-type]
    assert len(found := problems(broken, features())) == 1
    assert told in found[0]
    own = replace(broken, name=broken.name.replace("churn", "own"))
    with pytest.raises(TrainingError, match=told):
        catalogue([own], features()).named(own.name)


def test_a_shop_cannot_shadow_a_built_in_target() -> None:
    """Else: `churn_28d` means something else in one shop, under the same name."""
    found = catalogue([replace(TARGETS[0], label="order", higher_is="good")])
    assert found["churn_28d"] == TARGETS[0]  # what models in force are of
    with pytest.raises(TrainingError, match="twice"):
        found.named("churn_28d")


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
    assert held == {op: [bool(Members("f", "", op, 1).holds(one)) for one in values] for op in get_args(Op)}
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


BACKFILL = "a declared one is computed by `propensity features backfill`"


def test_a_target_that_the_log_cannot_tell_is_absent_by_name() -> None:
    """Else: a shop without groups sees a stack trace, or a model of nobody who leaves."""
    every = catalogue()
    group, out, first = (every[name] for name in ("leave_group_28d", "opt_out_28d", "first_order_28d"))

    def why(target: Target, events: dict[str, int], features: set[str]) -> str | None:
        words = lacking(target, events, features)
        return words and words.en

    assert why(group, {}, {"groups"}) == "the log has no table memberships"
    assert why(group, {"memberships": 1}, {"orders_90d"}) == f"the build has no feature groups: {BACKFILL}"
    assert why(group, {"memberships": 1}, set()) is None  # nothing is built yet
    assert why(out, {}, {"contacts_90d"}) == "the log has no table responses or consents"
    assert why(out, {"responses": 0, "consents": 1}, {"contacts_90d"}) is None
    assert why(out, {"responses": 0}, set()) == "there are no opt-outs among the log's responses"
    assert why(first, {"orders": 1}, {"days_since_order"}) is None
    against = replace(first, baseline=("views_30d",))  # else it is released without its sceptic
    assert (
        why(against, {"orders": 1}, {"days_since_order"}) == f"the build has no feature views_30d: {BACKFILL}"
    )


def test_a_table_with_none_of_a_targets_events_does_not_tell_it(tmp_path: Path) -> None:
    """Else: a log of opened mails alone is said to tell opt-outs, and training ends in `0 ones`."""
    at, every = parse_moment("2017-06-01"), catalogue()
    of = {"customer_id": "a", "at": at, "known_at": at}
    orders = [{**of, "order_id": "1"}, {**of, "order_id": "2", "ref": "1"}]  # the second is a return
    lines = [{**of, "order_id": "1", "product_id": n, "items": 1, "category": n or None} for n in ("", "TEA")]
    said = [{**of, "response_id": kind, "kind": kind} for kind in ("open", "opt-out", "click")]
    consent = {**of, "channel": "mail", "purpose": "marketing"}
    consents = [{**consent, "status": status} for status in ("given", "withdrawn", "withdrawn")]
    log = write_log(
        tmp_path, {"orders": orders, "order_lines": lines, "responses": said, "consents": consents}
    )
    assert told(every["opt_out_28d"], log) == {"responses": 1, "consents": 2}
    assert told(every["churn_28d"], log) == {"orders": 1}
    assert told(every["category_repurchase_28d"], log) == {"order_lines": 1}
    assert told(replace(every["category_repurchase_28d"], categories=("CHEESE",)), log) == {"order_lines": 0}
    assert told(every["leave_group_28d"], log) == {}


def test_what_is_trained_is_what_was_asked_for_or_what_the_shop_says() -> None:
    """Else: every new target makes everybody's training longer, or a shop's wish is not heard."""
    every = catalogue()
    default = ["churn_28d", "repurchase_7d", "repurchase_14d"]
    assert [target.name for target in chosen(every, ())] == default
    assert [target.name for target in chosen(every, (), ("churn_90d",))] == ["churn_90d"]
    assert [target.name for target in chosen(every, ("churn_28d",), ("churn_90d",))] == ["churn_28d"]
    with pytest.raises(UsageError, match=r"no target churn; there are: churn_28d"):
        chosen(every, ("churn",))
    with pytest.raises(UsageError, match=r"no target churn \(shop.toml names it\)"):
        chosen(every, (), ("churn",))
    with pytest.raises(UsageError, match="there are: churn_28d.*, value, segmentation; did you mean 'value'"):
        chosen(every, ("valeu",), (), ("value", "segmentation"))


def test_goods_that_the_log_does_not_have_are_named_with_what_was_meant(tmp_path: Path) -> None:
    """Else: a slip in a category's name trains for minutes, and ends in `0 ones among 9,000 labels`."""
    at = parse_moment("2017-06-01")
    line = {"order_id": "1", "customer_id": "a", "at": at, "known_at": at, "product_id": "1", "items": 1,
            "category": "CHEESE"}  # fmt: skip
    log = write_log(tmp_path, {"orders": [], "order_lines": [line]})
    own = replace(catalogue()["category_repurchase_28d"], name="own_28d", categories=("CHESE", "CHEESE"))
    assert strange_categories([own], log) == [
        "target own_28d: the log has no goods of the category 'CHESE'; did you mean 'CHEESE'?"
    ]
    assert strange_categories([replace(own, categories=("CHEESE",)), catalogue()["churn_28d"]], log) == []


def test_a_shops_target_is_held_against_its_own_features_before_anything_is_read(tmp_path: Path) -> None:
    """Else: a target of a feature that nobody declared is told in the middle of a night's training."""
    own = replace(catalogue()["repurchase_28d"], name="own_28d", population=buyers(45))
    text = (
        "from features.words import Words\nfrom training.populations import buyers\n"
        f"from training.targets import Target\n\nTARGETS = [{source(own)}]"
    )
    shop = Shop.load(empty_shop(tmp_path / "shop", shop_py=text))
    said = r"shop.py, line 6: target own_28d: .*orders_45d, which is no declared feature; its windows are"
    with pytest.raises(TrainingError, match=said):
        of_shop(shop).named("own_28d")
    strange = of_shop(Shop.load(empty_shop(tmp_path / "strange", shop_py="TARGETS = [{'name': 'own_28d'}]")))
    assert "expected Target" in strange.wrong["number 1 of TARGETS"]
    assert list(strange) == [target.name for target in TARGETS]


WRONG = """from dataclasses import replace
from training.populations import buyers
from training.targets import TARGETS as BUILT_IN

OF = {target.name: target for target in BUILT_IN}
TARGETS = [
    replace(OF["repurchase_28d"], name="wrong_28d", population=buyers(45)),
    replace(OF["repurchase_28d"], name="good_28d"),
    replace(OF["category_repurchase_28d"], name="slip_28d", categories=("CHEEZE",), default=True),
]
"""


def test_one_target_that_is_declared_wrongly_keeps_no_other_from_anything(
    journey: Settings, tmp_path: Path
) -> None:
    """Else: a slip in one target of the shop's stops the night's training of all the others, or passes
    unseen."""
    shop = empty_shop(tmp_path, shop_py=WRONG)
    asked = {
        "PROPENSITY_HOME": str(journey.home), "PROPENSITY_SHOP": str(shop), "COLUMNS": "400",
        "PROPENSITY_AS_OF": "2017-12-31",
    }  # fmt: skip

    def run(*arguments: str, code: int) -> str:
        done = CliRunner().invoke(propensity.main, arguments, env=asked)
        assert done.exit_code == code, done.output
        return done.output

    wrong = f"{shop / 'shop.py'}, line 7: target wrong_28d: the population is known by orders_45d"
    slip = "target slip_28d: the log has no goods of the category 'CHEEZE'"
    listed = run("targets", "list", code=3)
    assert listed.index("good_28d") < listed.index("Declared wrongly") < listed.index(wrong)
    rows = [
        json.loads(one) for one in run("targets", "list", "--json", code=3).splitlines() if one[:1] == "{"
    ]
    assert "good_28d" in {row["name"] for row in rows}

    planned = run("train", "--dry-run", code=3)
    assert all(f"would train {name}" in planned for name in ("churn_28d", "repurchase_7d"))
    assert f"WARNING: {wrong}" in planned
    assert f"WARNING: {slip}" in planned
    assert "would train good_28d" in run("train", "good_28d", "--dry-run", code=0)
    for asked_for, said, code in (
        ("wrong_28d", wrong, 1),  # declared wrongly
        ("slip_28d", slip, 2),  # of goods that there are none of
        ("god_28d", "no target god_28d; there are: ", 2),
        ("leave_group_28d", "leave_group_28d cannot be told", 1),
    ):
        planned = run("train", asked_for, "good_28d", "--dry-run", code=code)
        assert "would train good_28d" in planned
        assert f"error: {said}" in planned
    alone = run("train", "slip_28d", "--dry-run", code=2)
    assert slip in alone
    assert wrong not in alone, "of what was not asked for the names are enough"
    assert "WARNING: 1 other target is declared wrongly: wrong_28d" in alone
    assert alone.count(slip) == 1
    assert wrong in run("check", "--customers", "1", code=1)
    toml = (shop / "shop.toml").read_text("utf-8")
    (shop / "shop.toml").write_text(f'targets = ["wrong_28d", "good_28d"]\n{toml}', "utf-8")
    assert "would train good_28d" in run("train", "--dry-run", code=3)
    (shop / "shop.toml").write_text(f'targets = ["wrong_28d"]\n{toml}', "utf-8")
    assert f"error: {wrong}" in run("train", code=1)


def test_every_target_says_why_in_both_languages_where_it_is_listed(home: Settings) -> None:
    """Else: the reason of a horizon is in the source alone; a typo is not told what can be trained."""
    environment = {"PROPENSITY_HOME": str(home.home), "COLUMNS": "400"}
    assert len({target.why for target in TARGETS}) == len(TARGETS)
    for language, place in (("en", 0), ("zh", 1)):
        asked = ["targets", "list", "--language", language]
        done = CliRunner().invoke(propensity.main, asked, env=environment)
        told = "".join(done.output.split())
        for target in TARGETS:
            assert "".join(target.why[place].split())[:6] in told
        assert "segmentation" in told
    done = CliRunner().invoke(propensity.main, ["train", "segmentatoin"], env=environment)
    assert done.exit_code == 2
    assert "value, segmentation, uplift; did you mean 'segmentation'?" in done.output


def test_the_commented_declarations_of_a_new_shop_keep_the_contracts(tmp_path: Path) -> None:
    """Else: the example that everybody begins with is refused."""
    text = re.sub(r"^( *)# ?", r"\1", PYTHON, flags=re.MULTILINE)
    shop = Shop.load(empty_shop(tmp_path, shop_py=text))
    known = features(shop.declared("FEATURES"))
    own = shop.declared("TARGETS")
    assert [target.name for target in own] == ["tea_again_28d"]
    assert list(catalogue(own, known))[-1] == "tea_again_28d"
    actions = action_catalogue(shop.declared("ACTIONS"))
    fields = conditions.catalogue(shop.declared("CONTEXT"))
    require_features(actions.values(), known, fields)
    assert "tea_sample" in actions
    scenarios = scenario_catalogue(shop.declared("SCENARIOS"), actions, known, fields)
    assert list(scenarios)[-1] == "tea_runs_out"


def test_goods_of_a_category_are_features_of_their_own() -> None:
    """Else: a model of milk sees no milk, and a quote in a category's name ends its condition."""
    tea = goods("tea", Words("tea", "茶叶"), "tea", "tea 'n' cake")
    assert {one.where for one in tea} == {"category in ('tea', 'tea ''n'' cake') and ref is null"}
    assert {"tea_lines_90d", "tea_days_30d", "days_since_tea", "tea_gap_median"} < set(features(tea))


def test_a_shop_says_what_is_trained(tmp_path: Path) -> None:
    """Else: what shop.toml asks for is refused as an unknown key."""
    folder = empty_shop(tmp_path)
    text = (folder / "shop.toml").read_text("utf-8")
    (folder / "shop.toml").write_text(f'targets = ["churn_90d", "repurchase_90d"]\n{text}', "utf-8")
    assert Shop.load(folder).targets == ("churn_90d", "repurchase_90d")
    assert Shop.load(empty_shop(tmp_path / "silent")).targets == ()


def test_known_directions_are_of_declared_features() -> None:
    """Else: a feature is renamed, and nobody notices that its direction is no longer kept."""
    directions = {name: way for kind in LABELS.values() for name, way in kind.monotone.items()}
    assert set(directions) <= set(features())
    assert set(directions.values()) <= {1, -1}
