"""What an operator understands as one thing: features that tell the same story, and how it is told.

A reason speaks of a topic: its features' contributions are summed, so that ten windows of one habit are one
reason. A sentence is told if all that it names is known of the customer; else the topic's strongest feature
speaks for itself. A feature in no topic is a topic of its own, with its windows.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from features.words import Words

_WINDOW = re.compile(r"_\d+d$")
_PLACE = re.compile(r"{(\w+)}")


class Topic(NamedTuple):
    """families: features without their windows. sentences: the first that can be told is; `{feature}` stands
    for its value as a person reads it."""

    families: frozenset[str]
    sentences: tuple[Words, ...] = ()


def _topic(families: str, *sentences: tuple[str, str]) -> Topic:
    return Topic(frozenset(families.split()), tuple(Words(*sentence) for sentence in sentences))


TOPICS: tuple[Topic, ...] = (
    _topic(
        "days_since_order gap_median gap_mean gap_std gap_max overdue",
        ("No order for {days_since_order} days; usually every {gap_median}", "已{days_since_order}天未下单；通常每{gap_median}天一次"),
    ),
    _topic(
        "silence visit_gap_median visit_gap_max visit_overdue days_since_interaction days_since_login",
        ("No visit for {silence} days; usually every {visit_gap_median}", "已{silence}天未访问；通常每{visit_gap_median}天一次"),
    ),
    _topic(
        "orders order_days orders_trend orders_trend_year lines items",
        ("Orders: {orders_30d} in the last 30 days, {orders_90d} in the last 90", "近30天{orders_30d}单，近90天{orders_90d}单"),
    ),
    _topic(
        "spend spend_trend order_max order_value items_per_order",
        ("Spent: {spend_30d} in the last 30 days, {spend_90d} in the last 90", "近30天消费{spend_30d}，近90天{spend_90d}"),
    ),
    _topic("discount discount_share discounted_lines coupon_lines"),
    _topic(
        "visits views active_days visits_trend active_days_trend logins",
        ("Visits: {visits_30d} in the last 30 days, {visits_90d} in the last 90", "近30天访问{visits_30d}次，近90天{visits_90d}次"),
    ),
    _topic("categories departments viewed_categories"),
    _topic("carts cart_days abandoned_cart_days days_since_cart"),
    _topic("live_sessions live_seconds live_minutes days_since_live comments days_since_comment"),
    _topic(
        "contacts contact_channels contact_cost unanswered_contacts contacts_trend days_since_contact",
        ("Campaign contacts in the last 90 days: {contacts_90d}, without an answer {unanswered_contacts_90d}", "近90天触达{contacts_90d}次，其中{unanswered_contacts_90d}次无回应"),
    ),
    _topic("responses response_campaigns answered_contacts response_rate opens clicks open_rate click_rate days_since_response days_since_answer"),
    _topic(
        "returns refunds refund_share return_cases return_share days_since_return days_since_return_case",
    ),
    _topic(
        "complaints complaints_ever complaints_closed_ever open_complaints complaint_rate days_since_complaint days_since_complaint_closed",
        ("Complaints: {complaints_90d} in the last 90 days, open now {open_complaints}", "近90天投诉{complaints_90d}次，{open_complaints}件未结"),
    ),
    _topic("last_satisfaction satisfaction_mean satisfaction_change satisfaction_sum last_nps nps_mean nps_sum bad_surveys"),
    _topic("groups groups_joined groups_left groups_joined_ever groups_left_ever group_tenure days_since_group_joined days_since_group_left"),
    _topic("staff_contacts staff_joined staff_left staff_joined_ever staff_left_ever days_since_staff_left"),
    _topic("opt_outs days_since_opt_out consents_withdrawn days_since_consent_withdrawn"),
    _topic("days_until_holiday days_since_holiday holidays_ahead holidays_running"),
    _topic("days_until_sale days_since_sale sales_ahead sales_running"),
    _topic("days_until_live_event days_since_live_event live_events_ahead live_events_running"),
)  # fmt: skip

_OF = {family: place for place, topic in enumerate(TOPICS) for family in topic.families}


def topics(names: Sequence[str]) -> list[tuple[list[int], tuple[Words, ...]]]:
    """Features by name -> of each topic the places of its features, in their order, and its sentences.

    >>> topics(["overdue", "contacts_30d", "days_known", "gap_median"])[0][0]
    [0, 3]
    """
    found: dict[int | str, list[int]] = {}
    for place, name in enumerate(names):
        family = _WINDOW.sub("", name)
        found.setdefault(_OF.get(family, family), []).append(place)
    return [
        (places, TOPICS[topic].sentences if isinstance(topic, int) else ()) for topic, places in found.items()
    ]


def named(sentence: Words) -> list[str]:
    """The features that a sentence names."""
    return list(dict.fromkeys(_PLACE.findall(sentence.en)))
