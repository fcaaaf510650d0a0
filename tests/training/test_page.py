"""The page of a model's card. If it fails, somebody decides by a page that leaves out what was measured."""

import doctest
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cards_by_hand import WHOM, figures_by_hand, model_by_hand

from features.words import Words
from serving import kinds, models
from serving.cards import ModelCard
from training import describe, figures, kinds_page, page, samples, targets, transitions

_VOID = {"meta", "input", "line", "circle", "polyline"}
_CHINESE = re.compile("[\u4e00-\u9fff]")


class Reader(HTMLParser):
    """The text of a page by language (None: the same in both), its sections and its tables' headers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[tuple[str, str | None]] = []
        self.said: list[tuple[str | None, str]] = []
        self.sections: list[str] = []
        self.addresses: list[str] = []
        self.tables: list[int] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [
            str(given[name]) for name in ("src", "href", "action", "xlink:href") if name in given
        ]
        if tag == "table":
            self.tables.append(0)
        if tag == "th":
            assert given["scope"] == "col"
            self.tables[-1] += 1
        if tag not in _VOID:
            self.stack.append((tag, given.get("lang")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.stack]
        if not data.strip() or {"style", "title", "nav"} & set(tags):
            return
        language = next((lang for tag, lang in reversed(self.stack) if lang and tag != "html"), None)
        self.said.append((language, data))
        if "h2" in tags and language == "en":
            self.sections.append(data)

    def text(self, language: str) -> str:
        """What a reader of that language sees."""
        return " | ".join(data for lang, data in self.said if lang in (None, language))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_by_hand(tmp_path_factory.mktemp("card") / "model")


@pytest.fixture(scope="module")
def read(folder: Path) -> Reader:
    out = page.write(folder.parent / "card.html", folder, WHOM)
    return Reader(out.read_text("utf-8"))


def numbers(told: Any) -> Iterator[float]:
    """Every number in it."""
    if isinstance(told, dict):
        for value in told.values():
            yield from numbers(value)
    elif isinstance(told, list | tuple):
        for value in told:
            yield from numbers(value)
    elif isinstance(told, int | float) and not isinstance(told, bool):
        yield told


@pytest.mark.parametrize("language", ["en", "zh-Hans"])
def test_every_figure_of_the_card_is_on_the_page_in_both_languages(
    folder: Path, read: Reader, language: str
) -> None:
    """Else: the figure that speaks against a model is the one that nobody reads."""
    card, text = models.load(folder).card, read.text(language)
    found = list(numbers([card.metrics, card.baselines, card.backtest, card.segments, card.fairness]))
    assert len(found) > 200
    for number in found:
        styles = (",", ".3f", ".2f", "+.1f", "+.3f", "+.2f", ".1%")
        spellings = {f"{number:{style}}" for style in styles}
        assert any(spelling in text for spelling in spellings), number
    learnt = card.trained_on
    for given in ("43,210", "12.3%", "2,345", "23.4%", learnt.build, learnt.log, "2017-04-01", "2017-11-05"):
        assert given in text


def test_both_languages_say_the_same_things(read: Reader) -> None:
    """Else: a reader of Chinese gets half of the warnings, or English in between."""
    english = [data for lang, data in read.said if lang == "en"]
    chinese = [data for lang, data in read.said if lang == "zh-Hans"]
    assert len(english) == len(chinese)
    assert not [data for data in english if _CHINESE.search(data)]
    same = {"AUC", "Venn-Abers"} | {f"2017-{month}-03" for month in (10, 11, 12)}
    plain = [data for data in chinese if not _CHINESE.search(data) and data.split(":")[0] not in same]
    assert plain == []
    words = [data for lang, data in read.said if lang is None and re.search("[a-z]{3} [a-z]{3}", data)]
    assert words == [], "a sentence that is in neither language"


def test_the_page_is_told_in_the_order_of_what_matters(read: Reader) -> None:
    """Else: the reader finds an AUC first, and what the model must not be used for never."""
    starts = [
        "What it predicts", "What it must not be used for", "What it learned from",
        "How good it is: at the test", "How good it is: over all", "Every moment", "Customers of each kind",
        "Who is found first", "Left alone and contacted", "What it looks at", "Notes",
    ]  # fmt: skip
    assert len(read.sections) == len(starts)
    assert all(title.startswith(start) for title, start in zip(read.sections, starts, strict=True))
    for language, place in (("en", 0), ("zh-Hans", 1)):
        text = read.text(language)
        assert WHOM[place] in text
        assert all(never[place] in text for never in targets.NEVER)


def test_it_stands_alone_and_every_table_has_headers(folder: Path, read: Reader) -> None:
    """Else: it is broken where there is no internet, or cannot be read aloud; or a name runs as a script."""
    text = (folder.parent / "card.html").read_text("utf-8")
    assert read.addresses == []
    assert "http" not in text.replace("http-equiv", "")
    assert "<in words>" not in text
    assert "<in words>" in read.text("en")
    assert len(read.tables) > 6
    assert min(read.tables) > 1
    assert "@media print" in text


def test_a_moment_whose_level_is_off_is_flagged_by_words(read: Reader) -> None:
    """Else: who cannot tell red from green, or prints in grey, takes its probabilities at their word."""
    text = read.text("en")
    assert "Level off at 1 of 3 moments." in text
    assert text.count("⚠ off") == 1 + 3 + 1, "the last moment, the contacted at each, a segment"
    assert text.count("holds") == 2 + 3 + 1
    assert read.text("zh-Hans").count("⚠ 有偏差") == 5


@pytest.mark.parametrize(
    ("changes", "well", "said"),
    [
        ({}, True, "better than every baseline tried; at its test as many came true as it said"),
        ({"untuned_lightgbm": -0.05}, False, "but is not shown to rank them better than untuned LightGBM;"),
        (
            {"recency": -0.1, "logistic_rfm": -0.1, "untuned_lightgbm": -0.1},
            False,
            "not shown to rank customers better than any baseline",
        ),
        ({"level": 1.3}, False, "it came true more often than it said."),
        ({"level": 0.7}, False, "it came true less often than it said."),
    ],
)
def test_the_first_sentence_is_what_the_figures_say(
    folder: Path, changes: dict[str, float], well: bool, said: str
) -> None:
    """Else: a model that beats nothing is praised in the one sentence that everybody reads."""
    card = msgspec.structs.replace(models.load(folder).card, **figures_by_hand(1, **changes))
    good, sentence = figures.verdict(card)
    assert good is well
    assert said in sentence.en
    text = page.render(card)
    assert f'<p class="banner {"good" if well else "bad"}">' in text
    assert sentence.zh in Reader(text).text("zh-Hans")


def test_a_baseline_that_was_tried_at_the_test_alone_is_told_apart(folder: Path) -> None:
    """Else: `better than every baseline tried` is read of the untuned LightGBM too, which was tried once."""
    card = msgspec.structs.replace(models.load(folder).card, **figures_by_hand(1, untuned_lightgbm=-0.05))
    gains = {name: gain for name, gain in card.backtest["gains"].items() if name != "untuned_lightgbm"}
    changed = msgspec.structs.replace(card, backtest={**card.backtest, "gains": gains})
    assert figures.tried_once(card) is None
    shown = figures.shown(card.baselines["untuned_lightgbm"]["auc_gain"], "+")
    said = f"gains in AUC {shown} over untuned LightGBM", f"对比未调参LightGBM为{shown}"
    for place, language in enumerate(("en", "zh-Hans")):
        assert said[place] in Reader(page.render(changed)).text(language)
        assert said[place] in describe.verdict_of(changed)[place]
    assert figures.verdict(changed)[1].en.startswith(
        "Averaged over its 3 moments, it ranks customers better than every baseline tried, untuned LightGBM "
        "aside, which was tried at the last alone;"
    ), "else: better at every single moment, which nothing shows"


def test_the_best_baseline_is_the_one_that_leaves_the_least(folder: Path) -> None:
    """Else: the gain is told over a baseline that nobody would have used."""
    card = models.load(folder).card
    changes = figures_by_hand(1, recency=0.3, logistic_rfm=0.02, untuned_lightgbm=0.05)
    head = figures.headline(msgspec.structs.replace(card, **changes))
    assert head.best == "logistic_rfm"
    assert head.gain == changes["backtest"]["gains"]["logistic_rfm"]["auc_gain"]
    assert head.auc == changes["backtest"]["metrics"]["model"]["auc"]
    older = figures.headline(msgspec.structs.replace(card, **{**changes, "backtest": {}}))
    assert older.auc == changes["metrics"]["auc"], "without a backtest: of the test"
    assert (older.best, older.origins) == ("logistic_rfm", 0)


def test_a_level_that_is_off_at_most_moments_is_no_good_news(folder: Path) -> None:
    """Else: a model that was right at its last moment by luck stands there in green."""
    card = models.load(folder).card
    origins = [dict(one, z=5.0) for one in card.backtest["origins"]]
    changed = msgspec.structs.replace(card, backtest={**card.backtest, "origins": origins})
    good, sentence = figures.verdict(changed)
    assert not good
    assert "off at 3 of 3 moments" in sentence.en
    origins = [dict(one, z=0.5) for one in origins]
    changed = msgspec.structs.replace(card, backtest={**card.backtest, "origins": origins})
    assert figures.verdict(changed)[1].en.endswith("; its probabilities held.")


def test_figures_and_baselines_stand_in_the_order_of_what_matters(read: Reader) -> None:
    """Else: card.json's alphabet puts the model between its baselines."""
    text = read.text("en").replace("\u00a0", " ")
    table = text[text.index("How good it is: over all") :]
    places = [table.index(who) for who in ("this model", "recency alone", "logistic", "untuned LightGBM")]
    assert places == sorted(places)
    assert figures.in_order({"b", "a", "brier_gain", "auc_gain"}) == ["auc_gain", "brier_gain", "a", "b"]


def test_features_stand_by_what_they_move_the_score(folder: Path, read: Reader) -> None:
    """Else: the page says that a model looks at what it does not look at."""
    model = models.load(folder)
    rows = np.random.default_rng(1).uniform(0, 90, (50, 3)).astype(np.float32)
    part = samples.Part(rows, (rows[:, 0] > 45).astype(float), np.arange(50), np.zeros(50, bool))
    card = describe.with_details(model.card, model, part, {"model": model.score(rows)})
    exact = np.abs(model.contributions(rows, exact=True)[0]).mean(axis=0)
    assert list(card.importance.values()) == pytest.approx(exact, abs=1e-6), "of the test's customers"
    reader = Reader(page.render(card))
    for language in ("en", "zh-Hans"):
        assert f"{exact[0]:.4f}" in reader.text(language)
    text = reader.text("en")
    places = [text.index(f"{name} <in words>") for name in ("days_since_order", "spend_90d", "orders_90d")]
    assert places == sorted(places)
    assert "made-up" not in text
    assert "customers of the test" in text


def test_a_card_without_backtest_or_figures_has_a_page_all_the_same(folder: Path) -> None:
    """Else: an older version, or one that was never judged, cannot be read."""
    card = models.load(folder).card
    older = msgspec.structs.replace(card, backtest={})
    bare = msgspec.structs.replace(older, metrics={}, baselines={}, notes=())
    assert "The card does not say." in Reader(page.render(older)).text("en")
    text = Reader(page.render(bare)).text("en")
    assert "It was compared with nothing; nothing is known of its level." in text
    strange = {"mae": {"value": 0.4321, "low": 0.4, "high": 0.5}}
    odd = msgspec.structs.replace(bare, metrics=strange, baselines={"last_year": strange})
    assert "0.432 [0.400,\u00a00.500]" in Reader(page.render(odd)).text("en")


def test_a_model_that_reads_no_features_and_ranks_nobody_is_told_by_its_own_verdict(folder: Path) -> None:
    """Else: a value model's page says that it was compared with nothing."""
    gain = {"poisson_deviance_gain": {"value": 0.2, "low": 0.1, "high": 0.3}}
    card = msgspec.structs.replace(
        models.load(folder).card, features=(), metrics={}, baselines={"bgnbd": gain}, backtest={}
    )
    text = page.render(card)
    assert '<p class="banner good"><span lang="en">A note on what was left out.' in text
    assert "What it looks at" not in text


def of_value(folder: Path) -> ModelCard:
    """A value model's card, with figures of the names that its training gives."""
    figure = {"value": 0.2, "low": 0.1, "high": 0.3}
    both = dict.fromkeys(("orders_ratio", "money_ratio", "poisson_deviance", "mean_absolute_error"), figure)
    own = dict.fromkeys(("below_p10", "below_p50", "below_p90", "came_by_next_order_date", "auc"), figure)
    gained = both | {"poisson_deviance_gain": figure}
    card = models.load(folder).card
    target = msgspec.structs.replace(card.target, population=kinds_page.WITH_AN_ORDER.en, members=None)
    return msgspec.structs.replace(
        card, kind="value", target=target, features=(), metrics=own | both, backtest={}, segments=(),
        baselines={"bgnbd": gained, "run_rate": gained}, parameters={},
        tested_on=msgspec.structs.replace(card.tested_on, days=91),
    )  # fmt: skip


def test_a_value_models_page_says_its_own_figures_in_words_of_both_languages(folder: Path) -> None:
    """Else: a merchant reads `came true among them: 98 %` of a profit, dashes for an AUC, and English names
    in a Chinese page."""
    reader = Reader(page.render(of_value(folder)))
    english, chinese = reader.text("en"), reader.text("zh-Hans")
    assert "Orders that came / expected | 0.200 [0.100, 0.300]" in english
    assert "Deviance gained over BG/NBD | +0.200 [+0.100, +0.300]" in english
    assert english.count("✓ better") == 2
    assert "customers with an order" in english
    assert "下过单的客户" in chinese
    assert "91 days" in english
    for never in ("does not say", "Came true", "below p10", "run rate", "deviance gain |"):
        assert never not in english
    plain = [
        data
        for lang, data in reader.said
        if lang in (None, "zh-Hans") and re.search("[a-z]{3} [a-z]{3}", data)
    ]
    assert [one for one in plain if "<in words>" not in one] == []
    titles = ["What it predicts", "What it must not", "What it learned from", "How good it is", "Notes"]
    assert [one[:10] for one in reader.sections] == [one[:10] for one in titles]


def test_every_model_of_no_target_has_its_words() -> None:
    """Else: the next kind's page shows an AUC that it has not."""
    assert set(kinds_page.TOLD) == set(kinds.OF_NO_TARGET)
    for stage in transitions.WORDS:
        assert figures.metric(f"{stage}_to_{stage}") != f"{stage} to {stage}"
        assert _CHINESE.search(str(figures.metric(f"orders_after_{stage}")))


def test_the_language_that_is_asked_for_is_shown_first(folder: Path) -> None:
    card = models.load(folder).card
    assert 'id="zh" checked' in page.render(card, Words("a", "乙"), language="zh")


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(figures).failed == 0
