"""Topics of reasons. If these fail, an operator reads a sentence with a hole, or one thing three times."""

import re

from features.definitions import FEATURES
from features.definitions.topics import TOPICS, named, topics

NAMES = {feature.name for feature in FEATURES}
FAMILIES = {re.sub(r"_\d+d$", "", name) for name in NAMES}


def test_topics_speak_of_declared_features_each_in_one_topic() -> None:
    """Else a renamed feature leaves its topic unnoticed."""
    listed = [family for topic in TOPICS for family in topic.families]
    assert sorted(listed) == sorted(set(listed))
    assert set(listed) <= FAMILIES


def test_sentences_name_declared_features_of_their_topic_alike_in_both_languages() -> None:
    """Else the Chinese reader is told another number, or the sentence is never told at all."""
    for topic in TOPICS:
        for sentence in topic.sentences:
            names = named(sentence)
            assert len(names) > 1  # one value says its feature's own words
            assert set(names) <= NAMES
            assert sorted(names) == sorted(re.findall(r"{(\w+)}", sentence.zh))
            assert {re.sub(r"_\d+d$", "", name) for name in names} <= topic.families


def test_every_feature_has_one_place() -> None:
    """Else a contribution is counted twice, or lost from the sum."""
    names = sorted(NAMES)
    places = sorted(place for found, _ in topics([*names, "a_shops_own_7d"]) for place in found)
    assert places == list(range(len(names) + 1))
