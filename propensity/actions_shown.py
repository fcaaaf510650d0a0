"""How what contacts brought is shown: by scenario and channel, its guardrails, and channels together."""

from __future__ import annotations

from collections.abc import Sequence

from features.describe.say import words
from features.describe.sheets import Sheet
from features.words import Words
from propensity.credited import shown
from propensity.evaluated import interval, number
from training import attribution, roi
from training.logged import Logged, moment
from training.roi import Brought, Harm
from training.sequential import Difference


def use(one: Brought) -> Words:
    """Scenario and channel, as rows and pictures name them."""
    if not one.scenario:
        return words("no scenario, {c}", "无场景，{c}", c=one.channel)
    return Words(f"{one.scenario}, {one.channel}", f"{one.scenario}，{one.channel}")


_VERDICTS = {
    "pays": Words("pays", "盈利"),
    "loses": Words("loses", "亏损"),
    "unsaid": Words("not shown: whether it was sent is not known", "未显示：不知是否送出"),
    "open": Words("not shown: too wide an interval", "未显示：区间过宽"),  # final outcomes, too few of them
    "owed": Words("owed", "应尽的服务"),
    "unknown": Words("not known", "未知"),
}
_STATES = {
    "broken": Words("BROKEN: stop", "已突破：停止"), "holds": Words("holds", "未突破"),
    "open": Words("not told yet", "尚无法判断"),  # a sequence: more customers tell
    None: Words("not known", "未知"),
}  # fmt: skip


def brought_sheet(logged: Logged, found: Sequence[Brought], currency: str) -> Sheet:
    """Each scenario and channel: what was decided and sent, what it cost and brought."""
    return Sheet(
        words("By scenario and channel, {c}", "按场景与渠道（{c}）", c=currency),
        (Words("use", "用途"), Words("decided", "已决策"), Words("sent", "已送出"),
         Words("not told", "无回报"), Words("cost", "成本"), Words("if all was sent", "若全部送出"),
         Words("margin brought", "带来的毛利"), Words("return on cost", "投资回报率"),
         Words("verdict", "结论")),
        tuple(
            (use(one), one.decided, one.sent, one.untold, f"{one.cost:,.2f}", f"{one.most:,.2f}",
             one.why or shown(one.margin, "+,.0f"), one.return_words, _VERDICTS[one.verdict])
            for one in found
        ),
        right=(1, 2, 3, 4, 5, 6, 7),
        note=Words(
            "Cost: of what was sent. Margin brought: what those whom a contact was decided for earned beyond "
            "what they would have if left alone, by the lots that decisions drew; 95 % intervals that hold "
            "together, of one look. Decisions whose outcome is not final are left out; what is owed to "
            "customers, such as an answer to a complaint, is not judged by margin.",
            "成本：仅含已送出的触达。带来的毛利：决定触达的客户相对未被触达时多出的毛利，依据决策时的随机抽取推断；"
            "95%区间同时成立，为单次查看。结果未成熟的决策不计入；对客户应尽的服务（如处理投诉）不以毛利衡量。",
        ),
        empty=_none_final(logged),
    )  # fmt: skip


def _none_final(logged: Logged) -> Words:
    """That no contact has a final outcome, and from when on one has."""
    young = ~logged.mature & (logged.action > 0) & ~logged.holdout
    if not young.any():
        return Words("No contact has a final outcome yet.", "尚无结果成熟的触达。")
    return words(
        "No contact has a final outcome yet: the first is not matured until {day}.",
        "尚无结果成熟的触达：最早于{day}成熟。",
        day=f"{moment(logged.matures_at[young].min()):%Y-%m-%d}",
    )  # fmt: skip


def harms_sheet(logged: Logged, harms: Sequence[Harm]) -> Sheet:
    """Each guardrail of each action."""
    return Sheet(
        Words("Guardrails", "护栏指标"),
        (Words("action", "行动"), Words("harm", "负面影响"), Words("rise", "上升"),
         Words("tolerated", "容忍上限"), Words("state", "状态")),
        tuple(
            (one.action, one.guardrail.name, shown(one.difference, "+.2%"), f"{one.guardrail.most:.2%}",
             _STATES[one.state])
            for one in harms
        ),
        right=(2, 3),
        note=Words(
            "The rise against being left alone, with intervals that hold together and at every look "
            "(confidence sequences): that any is called broken, or to hold, is wrong in 5 % at most.",
            "相对未触达的上升；区间同时成立，且任何时候查看都成立（置信序列）："
            "误判任一突破或未突破的概率各不超过5%。",
        ),
        # While nothing is final, none may have come yet; that nobody tells shows only later.
        empty=Words("Nobody told of an opt-out or a complaint.", "无人上报退订或投诉。")
        if logged.mature.any() and not set(roi.HARMS) & set(logged.outcomes)
        else _none_final(logged),
    )  # fmt: skip


def together_sheet(found: Sequence[attribution.Interaction], comparable: bool) -> Sheet:
    """Whether two channels help or hinder each other; comparable: else nothing is said of it."""
    differences = [of.difference if comparable else None for of in found]

    def state(difference: Difference | None) -> Words:
        if not comparable:
            return roi.UNLIKE
        if difference is None:
            return Words("too few customers", "客户过少")
        if difference.low <= 0 <= difference.high:
            return Words("not shown", "未显示")
        return Words("they help each other", "相互促进") if difference.value > 0 else Words(
            "they hinder each other", "相互削弱"
        )  # fmt: skip

    return Sheet(
        Words("Channels together", "渠道之间的交互"),
        (Words("channels", "渠道"),
         Words("customers: both, one, other, none", "客户数：两者、其一、其二、均无"),
         Words("margin beyond the sum", "超出两者之和的毛利"), Words("interval", "区间"),
         Words("verdict", "结论")),
        tuple(
            (f"{of.first} + {of.second}", ", ".join(f"{n:,}" for n in of.pairs),
             None if difference is None else number(difference.value),
             None if difference is None else interval(difference.low, difference.high),
             state(difference))
            for of, difference in zip(found, differences, strict=True)
        ),
        right=(2,),
        note=Words(
            "Customers for whom both were drawn by lot within one window; margin a customer.",
            "在同一窗口内两种渠道均经随机抽取的客户；每位客户的毛利。",
        ),
        empty=Words(
            "No two channels were drawn by lot for the same customers.",
            "没有两种渠道在相同客户上同时随机抽取。",
        ),
    )  # fmt: skip
