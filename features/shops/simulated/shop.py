"""The actions of the simulated retailer's campaigns, so that decisions and the log speak of the same ones.

What they truly do stands in the truth tables. Here is what a shop would believe beforehand. The examples
of scenarios are taken over as they are, with their actions.
"""

from features.words import Words
from serving import retail
from serving.actions import Action, Condition, Effect

_REASON = Words(
    "An assumption before any evaluation: randomised messages of others moved orders by 0 to 2 points",
    "评估之前的假设：其他零售商的随机试验中，触达对下单概率的影响在0到2个百分点之间",
)
_EFFECT = Effect(0.005, 0.0, 0.02, "prior", _REASON)
_ORDER = Words("One more order", "促成一笔新订单")
_STAY = Words("Keep a customer who may be lost", "挽留可能流失的客户")

ACTIONS = [
    Action(
        name="sms_coupon",
        channel="sms",
        words=Words("Text a coupon of 20 CNY", "短信发送20元优惠券"),
        goal=_ORDER,
        effect=_EFFECT,
        send_cost=0.05,
        incentive=20.0,
        redeem=0.02,
        validity_days=14,
        suppress_days=7,
    ),
    Action(
        name="app_new_arrivals",
        channel="app",
        words=Words("Push the new arrivals in the app", "应用内推送新品"),
        goal=_ORDER,
        effect=_EFFECT,
        validity_days=14,
        suppress_days=7,
    ),
    Action(
        name="staff_greeting",
        channel="staff",
        words=Words("A personal greeting by the member of staff in charge", "专属导购一对一问候"),
        goal=_STAY,
        effect=_EFFECT,
        send_cost=0.5,
        validity_days=14,
        suppress_days=7,
    ),
    Action(
        name="live_invite",
        channel="mini_program",
        words=Words("Invite to the next live show", "邀请观看下一场直播"),
        goal=_ORDER,
        effect=_EFFECT,
        send_cost=0.01,
        validity_days=14,
        suppress_days=7,
    ),
    Action(
        name="mail_magazine",
        channel="mail",
        words=Words("Mail the magazine", "邮寄会刊"),
        goal=_ORDER,
        effect=_EFFECT,
        send_cost=1.5,
        validity_days=14,
        suppress_days=7,
    ),
    Action(
        name="win_back_call",
        channel="phone",
        words=Words("Call a customer who has paused", "电话回访暂停购物的客户"),
        goal=_STAY,
        effect=_EFFECT,
        send_cost=3.0,
        validity_days=14,
        suppress_days=7,
        eligible=(Condition("days_since_order", at_least=30),),
    ),
    Action(
        name="group_offer",
        channel="group",
        reach="group",
        words=Words("An offer of 10 CNY in the group chat", "社群内发放10元优惠"),
        goal=_ORDER,
        effect=_EFFECT,
        incentive=10.0,
        redeem=0.02,
        validity_days=14,
        suppress_days=7,
    ),
    *retail.ACTIONS,
]
SCENARIOS = retail.SCENARIOS
