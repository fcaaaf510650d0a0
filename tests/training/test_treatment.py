"""Contacts bend the labels. If these fail, a model learns that whoever is sent coupons is safe."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from logs import write_log

from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from serving.lots import Lots, in_holdout
from serving.models import IdentityCalibration
from training import candidates, contacts_page, describe
from training.backtest import Step
from training.samples import Part
from training.treatment import held_out, treated

M = parse_moment("2017-06-01")


def contact(customer: str, at: timedelta, known: timedelta | None = None) -> dict[str, object]:
    when = M + at
    return {
        "contact_id": f"{customer}{at}", "customer_id": customer, "at": when,
        "known_at": M + (known or at), "action": "coupon", "channel": "sms",
    }  # fmt: skip


def log_of(folder: Path) -> Log:
    rows = [
        contact("a", DAY),
        contact("b", timedelta(0)),  # at the moment: before the horizon
        contact("c", 28 * DAY),  # at its very end
        contact("d", 28 * DAY + timedelta(microseconds=1)),
        contact("e", DAY, known=90 * DAY),  # nobody knew of it when the label was read
    ]
    return write_log(folder, {"contacts": rows, "orders": []})


def test_a_contact_counts_within_the_horizon_and_if_it_was_known(tmp_path: Path) -> None:
    """Else: the treated and the untouched are mixed up, and neither level means anything."""
    log = log_of(tmp_path)
    ids = ["a", "b", "c", "d", "e", "f"]
    spine = pa.table(
        {"customer_id": ids * 2, "moment": pa.array([M] * 6 + [M - 28 * DAY] * 6, pa.timestamp("us", "UTC"))}
    )
    flags = treated(log, spine, 28 * DAY, M + 60 * DAY)
    assert flags.tolist() == [True, False, True, False, False, False] + [False, True] + [False] * 4
    lacking = replace(log, files={k: v for k, v in log.files.items() if k != "contacts"})
    assert not treated(lacking, spine, 28 * DAY, M + 60 * DAY).any()


def test_a_holdout_is_believed_only_if_the_log_left_it_alone() -> None:
    """Else: the level of whoever happened to be left alone is told as that of a holdout by lot."""
    ids = [f"c{number}" for number in range(4_000)]
    shop = shop_of(Settings())
    held = in_holdout(ids, shop.policy(M).salt, shop.policy(M).holdout)
    kept = np.random.default_rng(1).random(4_000) < 0.3
    kept[held] = False
    assert (held_out(shop, ids, M, kept) == held).all()
    careless = kept.copy()
    careless[np.flatnonzero(held)[0]] = True
    seldom = np.arange(4_000) < 2
    seldom[held] = False
    for nobody in (careless, seldom, np.zeros(4_000, bool)):
        assert not held_out(shop, ids, M, nobody).any()
    assert not held_out(shop, ids, parse_moment("2016-06-01"), kept).any()  # before the policy


def test_lots_that_are_asked_once_are_the_same() -> None:
    """Else a night that looks at many moments takes others for the holdout than decisions did."""
    lots, ids = Lots(), [f"c{number}" for number in range(500)]
    for some, salt, share in (
        (ids[:300], "a", 0.2), (ids[200:], "a", 0.2), (ids[::-1], "a", 0.2), (ids, "b", 0.2), (ids, "a", 0.5),
        (["c1", "c1", "new"], "a", 0.2), ([], "a", 0.2),
    ):  # fmt: skip
        found = lots.in_holdout(some, salt, share)
        assert found.dtype == np.bool_
        assert found.tolist() == in_holdout(some, salt, share).tolist()


def test_the_level_is_told_of_those_left_alone_the_holdout_and_the_contacted_apart() -> None:
    """Else: contacts that work are taken for a model that is wrong, or hide that it is."""
    rng = np.random.default_rng(1)
    held, treated = np.arange(6_000) < 1_000, np.arange(6_000) >= 3_000
    score = rng.uniform(0.1, 0.6, 6_000)
    truth = np.where(treated, score / 2, score)  # a contact halves the risk
    label = (rng.random(6_000) < truth).astype(float)
    part = Part(np.zeros((6_000, 1), np.float32), label, np.arange(6_000), treated)
    step = Step(part, {"trees": candidates.Fitted((), lambda _: score, 0.0, np.zeros(1))}, {}, M, "trees",
                "identity", IdentityCalibration(), {"model": score})  # fmt: skip
    told = describe.backtest_of([step, step], [held, held])
    groups = told["contacts"]
    assert {name: group["rows"] for name, group in groups.items()} == {
        "untreated": 6_000, "held_out": 2_000, "treated": 6_000,
    }  # fmt: skip
    assert max(abs(groups["held_out"]["z"]), abs(groups["untreated"]["z"])) < 3  # chance alone
    assert groups["treated"]["observed_over_expected"] < 0.6
    assert groups["treated"]["z"] == pytest.approx(describe.backtest_of([step])["contacts"]["treated"]["z"])
    assert set(told["origins"][0]) >= {"untreated", "held_out", "treated"}
    assert "level is the one to trust" in contacts_page.holdout(groups).en
    assert "no holdout in this log" in contacts_page.holdout(describe.backtest_of([step])["contacts"]).en
    # In words, for whoever plans campaigns and has never heard of a z value.
    said = contacts_page.came_true(groups)
    assert said is not None
    level = {name: f"{group['observed_over_expected'] * 100:.0f}" for name, group in groups.items()}
    z = {name: f"{group['z']:+.1f}" for name, group in groups.items()}
    assert f"{level['untreated']} times among customers left alone (z {z['untreated']}" in said.en
    assert f"whom the policy held out (z {z['held_out']}, within chance)" in said.en
    assert f"{level['treated']} times among customers contacted (z {z['treated']}). The model" in said.en
    assert f"已触达客户{level['treated']}次（z {z['treated']}）。" in said.zh
    assert "reads too high" in said.en
    assert "概率偏高" in said.zh
    assert contacts_page.came_true({"untreated": groups["untreated"]}) is None
    # Of an opt-out, contacts are the cause: to say that nobody was contacted would be untrue.
    unadjusted = describe.backtest_of([step], adjusted=False)["contacts"]
    assert "they are what brings it about" in contacts_page.holdout(unadjusted).en


def test_risk_is_learnt_as_if_nobody_had_been_contacted() -> None:
    """Else: those whom the shop saves today are called safe, and get no coupon tomorrow.

    The risky are contacted more often, and a contact lowers their odds to a quarter: a known truth.
    """
    rng = np.random.default_rng(1)
    n, effect = 20_000, np.log(0.25)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    z = -1 + 1.2 * x[:, 0]
    contacted = rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0]))
    label = (rng.random(n) < 1 / (1 + np.exp(-(z + effect * contacted)))).astype(float)
    names = ("a", "b", "c")
    rows = Part(x, label, np.arange(n), contacted)
    adjusted = candidates.fit(rows, names, 1, candidates.Parameters())
    naive = candidates.fit(replace(rows, treated=np.zeros(n, bool)), names, 1, candidates.Parameters())
    for name in ("spline", "trees", "blend"):
        error, bent = (np.abs(f[name].raw(x) - z)[np.abs(x[:, 0]) < 2].mean() for f in (adjusted, naive))
        assert error < 0.3 * bent
        assert abs(adjusted[name].effect - effect) < 0.1
        assert naive[name].effect == 0
