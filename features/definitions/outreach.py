"""What is known of contacts and their responses: what she received, what she answered, what tires her."""

from features.definitions.declaration import WINDOWS, Feature
from features.definitions.rows import computed, measured
from features.definitions.units import CHANNELS

_ANSWER = "kind in ('click', 'redeem', 'buy')"  # an opened message is seen, not answered
_LONG = (30, 90, 365)
_YEAR = (365,)

# fmt: off
FEATURES: tuple[Feature, ...] = (
    *measured("contacts", (
        ("contacts", "Campaign contacts received", "收到的营销触达次数", "contacts", "count", None, None, WINDOWS),
        ("contact_channels", "Different channels contacted through", "触达渠道数", "channels", "distinct", "channel", None, (90,)),
        ("contact_cost", "Cost of contacting", "触达成本", "money", "sum", "cost", None, (90, 365)),
        ("days_since_contact", "Days since the last campaign contact", "距上次营销触达天数", "days", "since_last", None, None, ()),
    )),
    *measured("contacts", (
        ("last_contact_channel", "Channel of the last campaign contact", "上次营销触达渠道", "channel", "last", "channel", None, ()),
    ), vocabulary=tuple(CHANNELS)),
    *measured("responses", (
        ("responses", "Coupons redeemed", "核销优惠券数", "coupons", "count", None, "kind = 'redeem'", WINDOWS),
        ("response_campaigns", "Campaigns answered", "有响应的营销活动数", "campaigns", "distinct", "campaign_id", None, WINDOWS),
        ("answered_contacts", "Campaign contacts answered by a click, a coupon or a purchase", "有响应的营销触达次数（点击、用券或购买）", "contacts", "distinct", "contact_id", _ANSWER, _LONG),
        ("opens", "Messages opened", "打开消息次数", "responses", "count", None, "kind = 'open'", (30, 90)),
        ("clicks", "Messages clicked", "点击消息次数", "responses", "count", None, "kind = 'click'", (30, 90)),
        ("opt_outs", "Opt-outs", "退订次数", "responses", "count", None, "kind = 'opt-out'", _YEAR),
        ("answer_hour", "Usual hour of answering a message", "常响应消息时段", "hour", "mode", "hour", "kind in ('open', 'click')", _YEAR),
        ("days_since_response", "Days since the last response to a campaign", "距上次营销响应天数", "days", "since_last", None, None, ()),
        ("days_since_answer", "Days since a contact was last answered by a click, a coupon or a purchase", "距上次响应营销触达天数（点击、用券或购买）", "days", "since_last", None, _ANSWER, ()),
        ("days_since_opt_out", "Days since the last opt-out", "距上次退订天数", "days", "since_last", None, "kind = 'opt-out'", ()),
    )),
    *computed((
        ("unanswered_contacts", "Fatigue: campaign contacts without an answer", "疲劳度：未响应的营销触达次数", "contacts", "max(contacts_{w}d - answered_contacts_{w}d, 0)", _LONG),
        ("open_rate", "Messages opened per contact", "消息打开率", "share", "opens_{w}d / contacts_{w}d", (90,)),
        ("click_rate", "Messages clicked per contact", "消息点击率", "share", "clicks_{w}d / contacts_{w}d", (90,)),
        ("contacts_trend", "Contacts of the last 30 days against the 90-day pace", "近30天触达相对近90天节奏", "ratio", "3 * contacts_30d / contacts_90d", ()),
        ("response_rate", "Campaigns answered per contact, last 365 days", "近365天营销响应率", "share", "response_campaigns_365d / contacts_365d", ()),
    )),
)
# fmt: on
