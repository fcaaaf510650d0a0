"""Rounds with a message to everyone against those that the lot left quiet: the truth, or no verdict."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from logs import write_log

from features.errors import NotEnoughData
from features.log import Log
from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from training.clusters import arm, between
from training.realised import Heard, realised
from training.round_effects import DrawnRound, round_effects

SINCE = parse_moment("2017-10-01")
DAYS = 30


def write(folder: Path, sent: np.ndarray) -> Log:
    """100 customers: ten a day order for 10, and ten more on days on which everyone was told."""
    known = {"known_at": SINCE - DAY, "at": SINCE - DAY}
    orders = [
        {"order_id": f"o{day}-{k}", "customer_id": f"c{k}", "at": at, "known_at": at, "amount": 10}
        for day, loud in enumerate(sent)
        for k in range(10 + 10 * int(loud))
        for at in [SINCE + day * DAY + DAY / 2]
    ]
    return write_log(folder, {
        "customers": [{"customer_id": f"c{k}", **known} for k in range(100)],
        "orders": [*orders, {"order_id": "late", "customer_id": "stranger", "at": SINCE + DAY / 2,
                             "known_at": SINCE + DAY, "amount": 999}],
    })  # fmt: skip


def drawn(sent: np.ndarray, silence: float = 0.5) -> list[DrawnRound]:
    return [
        DrawnRound(SINCE + n * DAY, SINCE + (n + 1) * DAY, bool(of), silence) for n, of in enumerate(sent)
    ]


def test_a_message_that_brings_orders_is_proven_and_one_round_more_is_not_counted(tmp_path: Path) -> None:
    """By hand: a tenth of the customers orders for 10 more on loud days."""
    sent = np.arange(DAYS) % 2 == 0
    log = write(tmp_path, sent)
    fixed = DrawnRound(SINCE + DAYS * DAY, SINCE + (DAYS + 1) * DAY, False, 1.0)
    found = round_effects(log, [*drawn(sent), fixed])
    assert (found.customers, found.loud, found.quiet, found.undrawn) == (100, 15, 15, 1)
    rate, value = found.effects[:2]
    assert (rate.loud, rate.quiet) == (pytest.approx(0.2), pytest.approx(0.1))
    assert value.difference is not None
    assert value.difference.value == pytest.approx(1.0)
    assert "that is proven" in found.verdict.en
    assert "已证实" in found.verdict.zh
    assert found.warnings == ()
    (warning,) = round_effects(log, drawn(sent), never=2).warnings
    assert warning.en.startswith("2 messages")


def test_a_harm_that_no_round_had_is_not_ruled_out(tmp_path: Path) -> None:
    """Else thirty days without a complaint read "0 to 0": the banner is proven to annoy nobody, ever."""
    sent = np.arange(DAYS) % 2 == 0
    log = write(tmp_path, sent)
    long_ago = {"at": SINCE - DAY, "known_at": SINCE - DAY}
    case = {"case_id": "a", "customer_id": "c1", "kind": "complaint", "change": "opened", **long_ago}
    tables = {name: log.read(name).to_pylist() for name in ("customers", "orders")}
    found = round_effects(write_log(tmp_path / "b", {**tables, "cases": [case]}), drawn(sent))
    harm = found.effects[2]
    assert (harm.harm, harm.loud, harm.quiet) == (True, 0, 0)
    assert harm.difference is not None
    assert -0.002 < harm.difference.low < -0.001 < 0.001 < harm.difference.high < 0.002


def test_with_few_rounds_nothing_is_claimed(tmp_path: Path) -> None:
    """Else two good Saturdays are the banner's."""
    sent = np.arange(DAYS) < 5
    found = round_effects(write(tmp_path, sent), drawn(sent))
    assert [of.difference for of in found.effects] == [None] * len(found.effects)
    assert "nothing is claimed" in found.verdict.en
    assert "5 rounds with a message and 25 quiet ones" in found.warnings[0].en
    with pytest.raises(NotEnoughData, match="both are needed"):
        round_effects(write(tmp_path / "b", sent), drawn(np.ones(DAYS, np.bool_)))
    with pytest.raises(NotEnoughData, match="0 are over"):
        round_effects(write(tmp_path / "c", sent), [DrawnRound(SINCE, SINCE + 5_000 * DAY, True, 0.5)])


def test_intervals_over_rounds_hold_and_weights_undo_unlike_chances() -> None:
    """Else: weekends, on which more is sent and more is bought, are the message's effect."""
    covered, plain = [], []
    for seed in range(300):
        random = np.random.default_rng(seed)
        n = 60
        weekend = np.arange(n) % 7 >= 5
        silence = np.where(weekend, 0.2, 0.6)
        sent = random.random(n) >= silence
        y = 1.0 + 2.0 * weekend + 0.5 * sent + random.normal(size=n)
        weight = 1 / np.where(sent, 1 - silence, silence)
        each = np.arange(n)
        found = between(*(arm(y[of], each[of], weight[of]) for of in (sent, ~sent)))  # type: ignore[call-arg]
        naive = between(*(arm(y[of], each[of]) for of in (sent, ~sent)))  # type: ignore[call-arg]
        covered.append(found.low < 0.5 < found.high)
        plain.append(naive.low < 0.5 < naive.high)
    assert np.mean(covered) > 0.91  # of 95 %: fewer come by chance once in a thousand times
    assert np.mean(plain) < 0.7


def test_the_holdouts_truth_says_who_heard_what_was_said_to_all(tmp_path: Path) -> None:
    """Else the difference is read as all that marketing brings, though both groups saw the banner."""
    at = {"known_at": SINCE - DAY, "at": SINCE - DAY}
    ids = [f"c{k}" for k in range(400)]
    log = write_log(tmp_path, {
        "customers": [{"customer_id": id, **at} for id in ids],
        "orders": [{"order_id": f"o{id}", "customer_id": id, "at": SINCE + DAY, "known_at": SINCE + DAY,
                    "amount": 10} for id in ids[::2]],
    })  # fmt: skip
    policy = replace(shop_of(Settings()).policy(SINCE), holdout=0.3)
    plain = realised(log, policy, SINCE, 14)
    assert (plain.exposed, plain.told_exposed) == (0, None)
    held = plain.effects[0].held_out.n
    both = realised(log, policy, SINCE, 14, heard=Heard(3, frozenset(ids[:50])))
    assert both.exposed == held
    assert both.told_exposed is not None
    assert f"{held} of {held} held out are exposed: 3 messages to everyone and what" in both.told_exposed.en
    assert "3条全员消息与社群消息" in both.told_exposed.zh
    some = realised(log, policy, SINCE, 14, heard=Heard(0, frozenset(ids[:50])))
    assert 0 < some.exposed < 50
    assert both.effects == plain.effects, "both groups heard it, so they are still compared"
    assert both.warnings == plain.warnings
