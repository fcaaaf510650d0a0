"""What people read of the features: found by their own words, and told what the log lacks."""

from test_pages import read

from features.definitions import FEATURES, catalogue
from features.listing import listed, page
from features.tables import TABLES

DECLARED = catalogue()
GROCER = {"orders", "order_lines", "contacts", "responses", "customers", "identities", "products"}


def names(**asked: object) -> list[str]:
    return [row.feature.name for row in listed(DECLARED, GROCER, **asked)]  # type: ignore[arg-type]


def test_a_feature_is_found_by_words_of_either_language() -> None:
    assert names(find="silence visit") == ["silence", "visit_overdue"]
    assert "silence" in names(find="沉默")
    assert names(find="no such words") == []


def test_a_missing_table_is_named_also_behind_an_expression() -> None:
    """`open_complaints` reads two features of `cases`: without that table it is not 0 but absent."""
    lacking = {row.feature.name: row.lacking for row in listed(DECLARED, GROCER)}
    assert lacking["open_complaints"] == ("cases",)
    assert lacking["return_share_90d"] == ("cases",)
    assert lacking["response_rate"] == ()
    assert "open_complaints" not in names(available=True)
    assert {"open_complaints", "complaints_30d", "return_share_90d"} <= set(names(table="cases"))


def test_without_a_log_nothing_is_claimed_of_it() -> None:
    assert {row.lacking for row in listed(DECLARED, None)} == {None}


def test_the_page_has_every_feature_in_both_languages_by_table() -> None:
    """An operator looks up what a reason means, on her phone, in her language."""
    parsed = read(page("Shop <&>", listed(DECLARED, GROCER)))
    text = " ".join(parsed.text)
    assert "Shop <&>" in text
    for feature in FEATURES:
        assert feature.words.en in text
        assert feature.words.zh in text
        assert feature.name in text
    assert "lacks interactions" in text
    assert "缺少interactions" in text
    assert parsed.addresses == []
    assert len(TABLES) > len({f.table for f in FEATURES if f.table}) > 10
