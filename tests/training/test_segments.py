"""Figures by group. If these fail, a model that fails one kind of customer hides behind its mean."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from cards_by_hand import model_by_hand
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from logs import write_log
from sklearn.metrics import roc_auc_score

from features.moments import DAY, parse_moment
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving import models
from training import describe, segments, segments_page
from training.segments import Grouped, Judged, by_attribute, by_feature, fairness, figures

M = parse_moment("2017-06-01")
UNITS = {"spend_90d": "money", "tenure": "days", "last_order_channel": "channel"}


def rows_of(n: int = 3_000, origins: int = 1, seed: int = 1) -> Judged:
    """Honest probabilities of n customers at each origin."""
    random = np.random.default_rng(seed)
    score = random.uniform(0.05, 0.6, n * origins)
    label = (random.random(n * origins) < score).astype(np.float64)
    matrix = np.column_stack(
        [
            random.gamma(2, 50, n * origins),
            random.uniform(0, 700, n * origins),
            random.integers(0, 2, n * origins),
        ]
    ).astype(np.float32)
    customer = np.tile(np.arange(n), origins)
    origin = np.repeat(np.arange(origins), n)
    return Judged(matrix, score, label, customer, origin, [str(c) for c in customer])


def halves(rows: Judged) -> Grouped:
    at = (rows.customer % 2).astype(np.int64)
    return Grouped("half", Words("half", "半"), [Words("even", "偶"), Words("odd", "奇")], at)


def test_a_group_that_the_model_fails_is_named_and_the_others_are_not() -> None:
    """Else: the mean level holds, and one half is promised too little, the other too much."""
    rows = rows_of()
    assert not any(one["off"] for one in figures(rows, [halves(rows)]))
    wrong = rows._replace(score=np.where(rows.customer % 2, rows.score * 0.7, rows.score))
    even, odd = figures(wrong, [halves(rows)])
    assert (even["off"], odd["off"]) == (False, True)
    assert odd["observed_over_expected"] == pytest.approx(1 / 0.7, abs=0.15)
    inside = rows.customer % 2 == 1
    assert odd["auc"]["value"] == pytest.approx(
        roc_auc_score(rows.label[inside], rows.score[inside]), abs=1e-6
    )
    assert (odd["rows"], odd["group"]) == (1_500, {"en": "odd", "zh": "奇"})


def test_the_card_names_the_groups_that_it_fails_right_after_its_verdict(tmp_path: Path) -> None:
    """Else: the mean holds, and nobody reads on to the table in which one group does not."""
    card = models.load(model_by_hand(tmp_path / "model")).card
    rows = rows_of()
    wrong = rows._replace(score=np.where(rows.customer % 2, rows.score * 0.7, rows.score))
    told = {"segments": tuple(figures(wrong, [halves(rows)])), "fairness": ()}
    noted = describe.with_segments(card, told)
    assert noted.notes[0] == card.notes[0]
    assert "off in 1 group of customers (observed/expected): half odd (1.38)" in noted.notes[1].en
    assert "半 奇" in noted.notes[1].zh
    assert "no attribute" not in noted.notes[1].en
    unread = {"segments": tuple(figures(wrong, [halves(rows)._replace(unread=True)])), "fairness": ()}
    assert "It reads no attribute of customers" in describe.with_segments(card, unread).notes[1].en
    fine = {"segments": tuple(figures(rows, [halves(rows)])), "fairness": ()}
    assert describe.with_segments(card, fine).notes == card.notes


def test_whoever_tells_an_attribute_is_judged_together_where_its_groups_are_too_small() -> None:
    """Else: a card says `too few to say` eleven times of customers who were lost half as often as it said."""
    rows = rows_of(n=400)
    known = rows.customer % 2 == 1
    twice = rows._replace(score=np.where(known, np.minimum(rows.score * 2, 0.99), rows.score))
    at = np.where(known, rows.customer // 2 % 9, -1).astype(np.int64)
    kind = Grouped("income", Words("income", "income"), [Words(f"{n}K", f"{n}K") for n in range(9)], at, True)
    told = figures(twice, [kind])
    assert [one["group"]["en"] for one in told if "z" in one] == ["not known", "known, all together"]
    assert (told[0]["off"], told[-1]["off"]) == (False, True)
    assert told[-1]["observed_over_expected"] == pytest.approx(0.5, abs=0.1)
    assert told[-1]["rows"] == 200
    assert len(figures(twice, [kind._replace(unread=False)])) == 10, "what a model reads it can tell apart"


def test_a_customer_who_comes_back_at_every_origin_is_no_new_evidence() -> None:
    """Else: six copies of the same accident look like a proof."""
    one = rows_of(400)
    six = Judged(*(np.concatenate([part] * 6) for part in one[:4]), np.repeat(np.arange(6), 400), one.ids * 6)
    once, often = (figures(rows, [halves(rows)])[0] for rows in (one, six))
    assert often["z"] == pytest.approx(once["z"])
    assert often["auc"] == pytest.approx(once["auc"])


def test_groups_with_few_labels_are_counted_and_not_judged() -> None:
    """Else: the figures of five customers are taken for a finding."""
    rows = rows_of(60)
    told = figures(rows, [halves(rows)])
    assert [one["rows"] for one in told] == [30, 30]
    assert not any("auc" in one or "off" in one for one in told)
    (told,) = fairness(rows, [halves(rows)], 1)
    assert not {"chosen", "found", "wrongly"} & set(told)


def test_a_protected_group_that_is_not_compared_is_told_with_its_labels(tmp_path: Path) -> None:
    """Else: a card without a gap reads as a card without a wrong, and the smallest group is nowhere."""
    rows = rows_of(1_000)
    thirds = halves(rows)._replace(groups=[Words(of, of) for of in ("a", "b", "small")])
    thirds.at[:40] = 2
    (told,) = fairness(rows, [thirds], 1)
    labels = int(min(rows.label[:40].sum(), 40 - rows.label[:40].sum()))
    assert (told["groups"], told["few"]) == (2, [{"group": {"en": "small", "zh": "small"}, "labels": labels}])
    assert told["chosen"]["value"] >= 0
    log = write_log(tmp_path, {"customers": [], "orders": []})
    shop = replace(shop_of(Settings()), protected=("religion",))
    (absent,) = segments.described(log, shop, rows, [M], dict.fromkeys("abc", "days"), 1)["fairness"]
    assert (absent["by"], absent["groups"]) == ("religion", 0)
    card = models.load(model_by_hand(tmp_path / "model", fairness=(told, absent))).card
    page = segments_page.by_segment(card)
    for words in (
        f"small (too few: {labels} labels)",
        f"small（样本不足：{labels}例）",
        "the log knows it of no customer",
    ):
        assert words in page


def test_gaps_are_fairlearns_and_a_planted_one_is_found() -> None:
    """Else: a model that never chooses one group is called fair."""
    rows = rows_of()
    (fair,) = fairness(rows, [halves(rows)], 1)
    chosen = rows.score >= np.quantile(rows.score, 1 - segments.TOP)
    of = {"y_true": rows.label, "y_pred": chosen, "sensitive_features": halves(rows).at}
    assert fair["chosen"]["value"] == pytest.approx(demographic_parity_difference(**of), abs=1e-6)
    odds = max(fair["found"]["value"], fair["wrongly"]["value"])
    assert odds == pytest.approx(equalized_odds_difference(**of), abs=1e-6)
    assert fair["chosen"]["value"] < 0.03
    (unfair,) = fairness(rows._replace(score=rows.score * (1 - 0.5 * (rows.customer % 2))), [halves(rows)], 1)
    assert unfair["chosen"]["low"] > 0.1


def test_features_tell_thirds_codes_and_edges_and_what_is_not_known_is_in_no_group() -> None:
    """Else: customers of whom nothing is known are counted as the smallest."""
    rows = rows_of()
    rows.matrix[:300, 0] = np.nan
    tier, tenure, channel = by_feature(rows, UNITS)
    assert (tier.name, tenure.name, channel.name) == ("tier", "tenure", "channel")
    assert (tier.at[:300] == -1).all()
    assert np.bincount(tier.at[300:]) == pytest.approx(np.full(3, 900), abs=2)
    assert [words.en for words in tenure.groups] == ["up to 90", "over 90 to 365", "over 365"]
    assert {channel.groups[number].en for number in np.unique(channel.at)} == {"store", "web shop"}
    assert [kind.name for kind in by_feature(rows, {"a": "days", "b": "days", "c": "days"})] == []
    told = [one["group"]["en"] for one in figures(rows, [tier])]
    assert told[0] == "not known"


def test_an_attribute_counts_from_when_it_was_known(tmp_path: Path) -> None:
    """Else: the card judges by what nobody knew then."""
    log = write_log(
        tmp_path,
        {
            "customers": [
                {"customer_id": "0", "at": M, "known_at": M, "attributes": [("region", "north")]},
                {"customer_id": "1", "at": M, "known_at": M + 30 * DAY, "attributes": [("region", "south")]},
            ],
            "orders": [],
        },
    )
    rows = rows_of(3, origins=2)
    (region,) = by_attribute(log, rows, [M, M + 40 * DAY], ["region", "unheard_of"])
    assert [words.en for words in region.groups] == ["north", "south"]
    assert region.at.tolist() == [0, -1, -1, 0, 1, -1]
    lacking = replace(log, files={k: v for k, v in log.files.items() if k != "customers"})
    assert list(by_attribute(lacking, rows, [M, M + timedelta(days=40)], ["region"])) == []


def test_an_attribute_that_nobody_has_is_named_with_what_was_meant(tmp_path: Path) -> None:
    """Else: a typo in `protected` and nobody is asked to be treated alike, without a word."""
    log = write_log(
        tmp_path / "log",
        {"customers": [{"customer_id": "0", "at": M, "known_at": M, "attributes": [("region", "north")]}]},
    )
    shop = replace(shop_of(Settings()), segments=("region",), protected=("regoin",))
    (said,) = segments.strange_attributes(log, shop)
    assert "protected names 'regoin', an attribute that the log has of nobody; did you mean 'region'?" in said
