# ruff: noqa: E501  # a declaration in few lines is read at one glance
"""Scenarios of a retailer with a private domain, and actions for them: examples that run, to be taken over.

    from serving.retail import ACTIONS, SCENARIOS     # in a shop's shop.py; or single ones, changed

Costs, offers, values of orders, texts and days are made up; put your own. Every effect is an assumption, and no more. A shop
whose log lacks what a scenario reads is told so by `propensity due`, by name.

    channel        needs the consent, or a default in shop.toml, of
    sms            text messages           mini_program   notices in the mini program
    staff          the customer's own member of staff, who writes one to one
    phone          a call                  group          the group chats, decided by group
    service_desk   whoever answers a case; the customer turned to it, so its default may be true
"""

from features.words import Words
from serving.actions import Action, Condition, Effect, Step
from serving.scenarios import Anniversary, Scenario, Segment

_REASON = Words(
    "An assumption: randomised messages of other retailers moved orders by 0 to 2 points; not measured on "
    "this shop's customers",
    "仅为假设：其他零售商的随机试验中，触达对下单概率的影响在0到2个百分点之间；尚未在本店客户上测量",
)
_SOME = Effect(0.005, 0.0, 0.02, "prior", _REASON)
_OWED = Effect(0.0, 0.0, 0.0, "prior", Words("It is owed, whatever it earns", "属于应尽的服务，不以收益衡量"))
_CARE = Words("A customer who feels cared for, and stays", "让客户感受到关怀并留下")
_BACK = Words("Bring back a customer who has paused", "唤回暂停购物的客户")
_ORDER = Words("One more order", "促成一笔新订单")
_IN_STORE = Condition("now.in_store", at_least=1)  # of the live context that a decision may carry
_PAYING = Condition("now.checking_out", at_least=1)
_TIRED = Condition("unanswered_contacts_90d", at_least=6)  # six contacts, none answered: no more offers

# fmt: off
ACTIONS: tuple[Action, ...] = (
    Action(name="care_by_staff", channel="staff", goal_kind="retention", goal=_CARE, effect=_SOME,
           words=Words("Staff ask whether the purchase pleases", "专属导购询问商品使用情况"),
           send_cost=0.5, validity_days=2, suppress_days=2, by_person=True),
    Action(name="care_by_sms", channel="sms", goal_kind="retention", goal=_CARE, effect=_SOME,
           words=Words("Text how to use and keep the goods", "短信发送使用与保养提示"),
           send_cost=0.05, validity_days=2, suppress_days=2),
    Action(name="birthday_gift", channel="sms", goal_kind="retention", goal=_CARE, effect=_SOME,
           words=Words("Text birthday wishes with a voucher of 10", "短信送上生日祝福与10元礼券"),
           send_cost=0.05, incentive=10.0, redeem=0.05, validity_days=14),
    Action(name="greeting_by_staff", channel="staff", goal_kind="retention", goal=_CARE, effect=_SOME,
           words=Words("Staff send a personal greeting", "专属导购送上个人祝福"),
           send_cost=0.3, validity_days=3, by_person=True),
    Action(name="visit_reminder", channel="mini_program", goal_kind="retention", goal=_BACK, effect=_SOME,
           words=Words("Show what is new since the last visit", "推送上次到访后的新品"),
           send_cost=0.01, validity_days=14, suppress_days=7, suppressed_if=(_TIRED,)),
    Action(name="visit_coupon", channel="sms", goal_kind="retention", goal=_BACK, effect=_SOME,
           words=Words("Text a voucher of 10 for the next visit", "短信发送到访10元券"),
           send_cost=0.05, incentive=10.0, redeem=0.02, validity_days=14, suppress_days=7, suppressed_if=(_TIRED,)),
    Action(name="cart_reminder", channel="mini_program", goal=_ORDER, effect=_SOME,
           words=Words("Remind of the goods in the cart", "提醒购物车中的商品"), send_cost=0.01, validity_days=2),
    Action(name="cart_reminder_then_coupon", channel="mini_program", goal=_ORDER, effect=_SOME,
           words=Words("Remind of the goods in the cart", "提醒购物车中的商品"),
           send_cost=0.01, incentive=5.0, redeem=0.03, validity_days=3,
           then=(Step("sms", Words("Text 5 off what is in the cart", "短信发送购物车5元券"), 0.05, after_hours=24),)),
    Action(name="answer_complaint", channel="service_desk", goal_kind="service", purpose="service", effect=_OWED,
           words=Words("A person answers the complaint within 24 hours", "专人24小时内回复投诉"),
           goal=Words("Settle what went wrong", "解决客户的问题"), send_cost=5.0, validity_days=1, by_person=True,
           eligible=(Condition("open_complaints", at_least=1),)),
    Action(name="win_back_apology", channel="phone", goal_kind="retention", goal=_BACK, effect=_SOME,
           words=Words("Call to ask whether the complaint was settled well", "电话回访投诉处理是否满意"),
           send_cost=3.0, order_value=100.0, validity_days=14, suppress_days=7, by_person=True),
    Action(name="win_back_exchange", channel="sms", goal_kind="retention", goal=_BACK, effect=_SOME,
           words=Words("Text an offer to exchange what came back", "短信提供退货商品的换货服务"),
           send_cost=0.05, order_value=100.0, validity_days=14, suppress_days=7),
    Action(name="win_back_offer", channel="sms", goal_kind="retention", goal=_BACK, effect=_SOME,
           words=Words("Text a voucher of 20 to come back", "短信发送20元回归券"),
           send_cost=0.05, incentive=20.0, redeem=0.02, order_value=100.0, validity_days=14, suppress_days=7, suppressed_if=(_TIRED,)),
    Action(name="promotion_sms", channel="sms", goal=_ORDER, effect=_SOME,
           words=Words("Text this month's offers", "短信推送本月优惠"),
           send_cost=0.05, incentive=10.0, redeem=0.02, validity_days=14, suppress_days=7, suppressed_if=(_TIRED,)),
    Action(name="promotion_live", channel="mini_program", goal=_ORDER, effect=_SOME,
           words=Words("Announce the live show", "直播预告"), send_cost=0.01, validity_days=7, suppress_days=7,
           then=(Step("sms", Words("Text when the show begins", "开播短信提醒"), 0.05, after_hours=20),),
           suppressed_if=(_TIRED,)),
    Action(name="promotion_group", channel="group", reach="group", goal=_ORDER, effect=_SOME,
           words=Words("An offer of 5 in the group chat", "社群内发放5元优惠"),
           incentive=5.0, redeem=0.02, validity_days=7, suppress_days=7),
)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(name="after_purchase", words=Words("72 hours after a purchase", "购买后72小时关怀"),
             when="days_since_order >= 3 and days_since_order < 5", due_days=2,
             actions=("care_by_staff", "care_by_sms")),
    Scenario(name="birthday", words=Words("A birthday is near", "生日关怀"),
             anniversary=Anniversary("birthday", days_before=3), due_days=4,
             actions=("birthday_gift", "greeting_by_staff")),
    Scenario(name="holiday", words=Words("A public holiday is near", "节日关怀"),
             when="days_until_holiday <= 2 and tenure >= 0", due_days=3, actions=("greeting_by_staff",)),
    Scenario(name="silence", words=Words("No visit for 30 days", "30天未到访"),
             when="silence >= 30 and silence < 90", due_days=30, actions=("visit_reminder", "visit_coupon")),
    Scenario(name="cart_left", words=Words("Goods left in the cart", "购物车未结算"),
             when="days_since_cart >= 0.1 and days_since_cart < 2"
                  " and (days_since_cart < days_since_order or orders_365d == 0)",
             due_days=2, actions=("cart_reminder", "cart_reminder_then_coupon"), suppressed_if=(_IN_STORE, _PAYING)),
    Scenario(name="complaint", words=Words("A complaint waits for an answer, due within 24 hours", "投诉待24小时内回复"),
             when="open_complaints >= 1", due_days=1, purpose="service", actions=("answer_complaint",)),
    Scenario(name="win_back_complaint", words=Words("Stays away since a complaint", "投诉后流失的挽回"),
             segment=Segment("churn_reason", ("complaint", "dissatisfied")), due_days=90,
             actions=("win_back_apology",)),
    Scenario(name="win_back_return", words=Words("Stays away since goods came back", "退货后流失的挽回"),
             segment=Segment("churn_reason", ("return",)), due_days=90, actions=("win_back_exchange",)),
    Scenario(name="win_back", words=Words("Stays away, nobody knows why", "原因未知的流失挽回"),
             segment=Segment("churn_reason", ("unknown",)), when="days_since_order <= 730", due_days=90,
             actions=("win_back_offer", "visit_reminder")),
    Scenario(name="promotion", words=Words("The month's promotion", "月度促销"),
             when="tenure >= 0", due_days=30, actions=("promotion_sms", "promotion_live")),
)
# fmt: on
