"""The campaigns of the Complete Journey log as actions: decisions and the log speak of the same ones."""

from features.words import Words
from serving.actions import Action, Condition, Effect


def _assumed(points: float) -> Effect:
    """A prior for a coupon mailing, in points of order probability; interval 0 to 2 points.

    The largest public randomised trial of a retailer's mailings (64,000 customers, two weeks) found .3 and
    .7 points; coupons were not tested there, and these campaigns never were randomised.
    """
    reason = Words(
        "An assumption: randomised mailings of other retailers moved orders by 0 to 2 points; "
        "not measured on this shop's customers",
        "仅为假设：其他零售商的随机试验中，邮寄触达对下单概率的影响在0到2个百分点之间；尚未在本店客户上测量",
    )
    return Effect(points / 100, 0.0, 0.02, "prior", reason)


# The campaign types of the Complete Journey log, by the names that its contacts table uses.
# redeem: share of mailed households that redeemed in that log (rounded). incentive: the shop's own share of
# their coupons, makers pay the rest. send_cost: a page in a mailing that goes out anyway. The last two are
# assumptions of the demo: a shop declares its own actions with its own costs.
ACTIONS = [
    Action(
        name="campaign_a",
        channel="mail",
        words=Words("Mail the large coupon booklet (campaign type A)", "邮寄大额优惠券手册（A类活动）"),
        goal=Words("One more order from an active customer", "促使活跃客户再次下单"),
        effect=_assumed(1.2),
        send_cost=0.04,
        incentive=0.60,
        redeem=0.16,
        validity_days=47,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_most=90), Condition("orders_365d", at_least=2)),
    ),
    Action(
        name="campaign_b",
        channel="mail",
        words=Words("Mail the coupons of one range (campaign type B)", "邮寄单一品类优惠券（B类活动）"),
        goal=Words("One more order from an active customer", "促使活跃客户再次下单"),
        effect=_assumed(0.8),
        send_cost=0.02,
        incentive=0.50,
        redeem=0.065,
        validity_days=32,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_most=90),),
    ),
    Action(
        name="campaign_c",
        channel="mail",
        words=Words("Mail the long-running coupons (campaign type C)", "邮寄长期优惠券（C类活动）"),
        goal=Words("Bring back a customer who has paused", "唤回暂停购物的客户"),
        effect=_assumed(0.7),
        send_cost=0.02,
        incentive=0.40,
        redeem=0.06,
        validity_days=64,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_least=14, at_most=180),),
    ),
]
