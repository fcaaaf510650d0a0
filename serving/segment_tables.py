# ruff: noqa: E501  # one row of words reads best unbroken
"""Who is called what, and by which rule: RFM tiers, value quadrants, life cycle stages, reasons of churn.

To change a rule, or to add one, change the table here: rules read features, and what a segmentation makes of
them (`segment_rules.MADE`). One whose features a log lacks is left out of the model, by name. A released
model carries its tables with it, so what is changed here changes what is trained next.

Reasons come from what was recorded of cases, returns and surveys alone, around the time that a customer fell
silent. What a model's score owes to which feature is no reason.
"""

from serving.cards import Text
from serving.segment_rules import Entry, Label, Table

USUAL = 0.9  # of such customers who came again did so within the usual gap: "nine of ten" in the words below
BACK = 0.2  # of such customers came back from a silence: fewer, and it is taken for the end ("one in five")
REGULAR = 4  # days with an order: three gaps, the fewest that say what is usual for a customer
NEAR = 30  # days before the last order from which on a complaint may have to do with the silence after it
_IN_RHYTHM = f"order_days >= {REGULAR} and days_since_order <= usual_gap"


def _label(name: str, en: str, zh: str, means: str, means_zh: str) -> Label:
    return Label(name, Text(en, zh), Text(means, means_zh))


def _entry(name: str, gives: str, when: str, en: str, zh: str) -> Entry:
    return Entry(name, gives, when, Text(en, zh))


# fmt: off
TIERS = Table(
    (
        _label("champions", "Champions", "冠军客户", "Bought lately, buy often, and spend most.", "近期购买、频繁且消费最高。"),
        _label("loyal", "Loyal", "忠诚客户", "Buy often, and not long ago.", "购买频繁，且距上次购买不久。"),
        _label("new", "New", "新客户", "Bought for the first time, lately.", "近期首次购买。"),
        _label("promising", "Promising", "潜力客户", "Bought lately, but not often yet.", "近期购买，但尚不频繁。"),
        _label("attention", "Need attention", "待关注客户", "Neither lately nor long ago, and not often.", "距上次购买时间居中，且不频繁。"),
        _label("in_rhythm", "In their rhythm", "节奏内客户", "Others bought later, but for them it is no long time.", "其他客户购买更近，但按其自身节奏并不久。"),
        _label("at_risk", "At risk", "流失风险客户", "Bought often or much, but have stayed away.", "曾频繁或大额购买，但已久未购买。"),
        _label("hibernating", "Hibernating", "休眠客户", "Bought seldom and little, and have stayed away.", "购买少、金额低，且久未购买。"),
        _label("lost", "Lost", "已流失客户", "Bought seldom and little, longest ago of all.", "购买少、金额低，且距上次购买最久。"),
    ),
    (
        _entry("champions", "champions", "r >= 4 and f >= 4 and m >= 4", "Among the upper two fifths by recency, frequency and money.", "最近购买、频率、金额均居前五分之二。"),
        _entry("loyal", "loyal", "r >= 3 and f >= 4", "Among the upper two fifths by frequency, and not the lower two by recency.", "频率居前五分之二，最近购买不在后五分之二。"),
        _entry("new", "new", "r >= 4 and order_days == 1", "One day with an order, among the upper two fifths by recency.", "仅一个下单日，最近购买居前五分之二。"),
        _entry("promising", "promising", "r >= 4", "Among the upper two fifths by recency, not by frequency.", "最近购买居前五分之二，频率不在。"),
        _entry("attention", "attention", "r >= 3", "In the middle fifth by recency.", "最近购买居中间五分之一。"),
        # Else whom the stage calls regular would be called lost: of a shop that most visit weekly, who comes monthly.
        _entry("in_rhythm", "in_rhythm", f"r >= 1 and {_IN_RHYTHM}", "In the lower two fifths by recency, but ordered on four days or more, and is within the own rhythm.", "最近购买居后五分之二，但下单日达四天及以上，且在自身购买节奏之内。"),
        _entry("at_risk", "at_risk", "r >= 1 and (f >= 4 or m >= 4)", "Among the upper two fifths by frequency or money, but the lower two by recency.", "频率或金额居前五分之二，但最近购买居后五分之二。"),
        _entry("hibernating", "hibernating", "r >= 2", "In the fourth fifth by recency.", "最近购买居第四个五分之一。"),
        _entry("lost", "lost", "r >= 1", "In the last fifth by recency.", "最近购买居最后五分之一。"),
    ),
)

QUADRANTS = Table(
    (
        _label("core", "Core", "核心客户", "Worth much now and in the year to come: keep.", "当前与未来一年价值均高：重点维系。"),
        _label("rising", "Rising", "成长客户", "Worth little so far, much in the year to come: develop.", "当前价值低，未来一年价值高：重点培育。"),
        _label("fading", "Fading", "下滑客户", "Worth much in the past year, little in the one to come: find out why.", "过去一年价值高，未来一年价值低：查明原因。"),
        _label("basic", "Basic", "一般客户", "Worth little, now and in the year to come: serve at low cost.", "当前与未来价值均低：低成本服务。"),
    ),
    (
        _entry("core", "core", "present > 0 and potential > 0", "Spending of the last 365 days and expected profit of the next are both in the upper half.", "近365天消费与未来365天预期利润均居上半区。"),
        _entry("rising", "rising", "present <= 0 and potential > 0", "Spending of the last 365 days is in the lower half, expected profit of the next in the upper.", "近365天消费居下半区，未来365天预期利润居上半区。"),
        _entry("fading", "fading", "present > 0 and potential <= 0", "Spending of the last 365 days is in the upper half, expected profit of the next in the lower.", "近365天消费居上半区，未来365天预期利润居下半区。"),
        _entry("basic", "basic", "present <= 0 and potential <= 0", "Spending of the last 365 days and expected profit of the next are both in the lower half.", "近365天消费与未来365天预期利润均居下半区。"),
    ),
)

STAGES = Table(
    (
        _label("contact", "Contact", "触达", "Known, and nothing more.", "已识别，尚无互动。"),
        _label("awareness", "Awareness", "认知", "Has come into touch with the shop.", "已与店铺有接触。"),
        _label("interest", "Interest", "兴趣", "Looks at goods, has not bought yet.", "浏览商品，尚未购买。"),
        _label("purchase", "Purchase", "首购", "Has bought once.", "已首次购买。"),
        _label("use", "Use", "使用", "Has bought again, without a steady rhythm now.", "已复购，目前节奏不稳定。"),
        _label("maintenance", "Maintenance", "维系", "Buys regularly, within the own rhythm.", "按自身节奏规律购买。"),
        _label("exit", "Exit", "流失", "Silent for so long that hardly any come back.", "沉默过久，极少有人返回。"),
    ),
    (
        _entry("gone", "exit", "days_since_order > gone_after", "Silent for longer than the time after which fewer than one in five such customers came back.", "沉默时间已超过同类客户返回比例低于五分之一的时点。"),
        _entry("regular", "maintenance", _IN_RHYTHM, "Ordered on four days or more, and is within the own rhythm.", "下单日达四天及以上，且在自身购买节奏之内。"),
        _entry("pausing", "use", f"order_days >= {REGULAR}", "Ordered on four days or more, but has paused for longer than usual.", "下单日达四天及以上，但暂停时间超过通常。"),
        _entry("again", "use", "order_days >= 2", "Ordered on two or three days.", "下单日为两至三天。"),
        _entry("first", "purchase", "order_days >= 1", "Ordered on one day.", "下单日为一天。"),
        _entry("cart", "interest", "carts_90d > 0", "Put goods into the cart in the last 90 days.", "近90天有加购。"),
        _entry("view", "interest", "views_90d > 0", "Looked at goods in the last 90 days.", "近90天浏览过商品。"),
        _entry("click", "interest", "clicks_90d > 0", "Clicked a message in the last 90 days.", "近90天点击过营销信息。"),
        _entry("active", "awareness", "active_days_365d > 0", "Visited, logged in or commented in the last 365 days.", "近365天有访问、登录或评论。"),
        _entry("opened", "awareness", "opens_90d > 0", "Opened a message in the last 90 days.", "近90天打开过营销信息。"),
        _entry("group", "awareness", "groups > 0", "Is in a group.", "在社群中。"),
        _entry("staff", "awareness", "staff_contacts > 0", "Has a member of staff as contact.", "已添加导购。"),
        _entry("known", "contact", "", "Known, without an order or an interaction.", "已识别，无订单亦无互动。"),
    ),
)

_LATE = "days_since_order > usual_gap and"
_AROUND = f"<= days_since_order + {NEAR}"
REASONS = Table(
    (
        _label("open_complaint", "A complaint is open", "投诉未结", "Close the complaint before anything is offered.", "先处理完投诉，再考虑营销。"),
        _label("complaint", "A complaint", "投诉", "Have customer service ask whether it was settled well.", "由客服回访投诉处理是否满意。"),
        _label("open_case", "A case is open", "工单未结", "Answer the question or settle the return.", "答复咨询或完成退货。"),
        _label("return", "Goods came back", "退货", "Ask what was wrong with the goods; offer an exchange.", "询问商品问题，提供换货。"),
        _label("dissatisfied", "A bad survey answer", "问卷差评", "Have a person call back about the answer.", "由专人就评价回访。"),
        _label("unknown", "Unknown", "原因未知", "Nothing is on record: ask, do not guess.", "无记录：请询问，勿猜测。"),
    ),
    (
        _entry("open_complaint", "open_complaint", f"{_LATE} open_complaints > 0", "A complaint is not closed.", "有投诉未结。"),
        _entry("complaint", "complaint", f"{_LATE} days_since_complaint {_AROUND}", "Complained around the last order or since.", "在最近一次下单前后或之后有投诉。"),
        _entry("open_case", "open_case", f"{_LATE} open_cases > 0", "A question or a return request is not closed.", "有咨询或退货申请未结。"),
        _entry("return_case", "return", f"{_LATE} days_since_return_case {_AROUND}", "Asked for a return around the last order or since.", "在最近一次下单前后或之后申请过退货。"),
        _entry("returned", "return", f"{_LATE} days_since_return {_AROUND}", "Goods came back around the last order or since.", "在最近一次下单前后或之后有退货。"),
        _entry("satisfaction", "dissatisfied", f"{_LATE} last_satisfaction <= 2 and days_since_survey {_AROUND}", "The last satisfaction score was 1 or 2 of 5.", "最近一次满意度为1或2分（满分5分）。"),
        _entry("nps", "dissatisfied", f"{_LATE} last_nps <= 6 and days_since_survey {_AROUND}", "The last likelihood to recommend was 6 of 10 or less.", "最近一次推荐意愿不高于6分（满分10分）。"),
        _entry("unknown", "unknown", "days_since_order > usual_gap", "Silent for longer than usual, and nothing recorded says why.", "沉默超过通常时间，且无任何记录说明原因。"),
    ),
)
# fmt: on

TABLES = {"tier": TIERS, "quadrant": QUADRANTS, "stage": STAGES, "churn_reason": REASONS}
