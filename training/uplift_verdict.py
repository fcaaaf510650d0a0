"""What a trial shows, in a few sentences, and what is chosen by default where it shows nothing."""

from collections.abc import Sequence

import numpy as np

from features.describe.say import words
from features.words import Words
from training.uplift import Uplift
from training.uplift_balance import LOTS, LOTTERY, Check
from training.uplift_estimates import shown

LEARNERS = {
    "ridge": Words("ridge regression on splines", "样条岭回归"),
    "trees": Words("shallow trees", "浅层树"),
    "s": Words("S-learner", "S-learner"),
}


_PROVEN = Words("proven", "已证实")
_IF_SO = Words("shown on that condition", "在此前提下成立")


def failed(checks: Sequence[Check]) -> list[Check]:
    """Those that do not hold."""
    return [check for check in checks if check.holds is False]


def called(*arms: str) -> Words:
    """Arms as a sentence names them: one whose name is a number, so that it is not read as a figure."""
    said = [words("arm {of}", "方案{of}", of=of) if _is_number(of) else Words(of, of) for of in arms]
    return Words(", ".join(of.en for of in said), ", ".join(of.zh for of in said))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def verdict(found: Uplift, checks: Sequence[Check]) -> Words:
    """What is shown, and what is chosen by default where nothing is. Nothing is claimed without a lottery, or
    if a check fails."""
    lots = (check for check in checks if check.name == LOTTERY)
    if not any(check.holds is not None or check.doubtful for check in lots):
        kind = Words(
            *{
                "observational": ("observational", "观察性"),
                "prior": ("prior: a guess", "先验：仅为猜测"),
            }[found.evidence]
        )
        few = next((check.words for check in checks if check.name == LOTS), None)
        return words(
            "No uplift is claimed: {why}. The evidence is {kind}; figures are adjusted for the columns only. "
            "Explore{more}: give a {share} share of customers an arm by lot.",
            "不声称任何增益：{why}。证据等级：{kind}；数字仅按现有列调整。请{more}探索：对{share}部分客户随机分配。",
            kind=kind, why=few or Words("nobody drew lots", "未随机分配"),
            more=Words(" more", "更多") if few else "",
            share=Words("larger", "更大") if few else Words("small", "一小"),
        )  # fmt: skip
    if wrong := failed(checks):
        named = Words(
            "; ".join(f"{check.name.en}: {check.words.en}" for check in wrong),
            "；".join(f"{check.name.zh}：{check.words.zh}" for check in wrong),
        )
        return words(
            "No uplift is claimed: the trial cannot be believed. {why}.",
            "不声称任何增益：试验不可信。{why}。",
            why=named,
        )
    why = doubt(checks)
    if (rests := only_if(checks)) is None:
        return _joined(_first(found, None), _constant(found, _PROVEN), _personal(found, _PROVEN, why))
    return _joined(_first(found, rests), words(
        "All of this rests on your word that {rests}, for the arms differ in that. If it is not so, nothing "
        "is shown.",
        "结论以您确认{rests}为前提，因其在各组间存在差异；若并非如此，则什么也未证实。",
        rests=rests,
    ), _constant(found, _IF_SO), _personal(found, _IF_SO, why))  # fmt: skip


def doubt(checks: Sequence[Check]) -> Words | None:
    """Why nothing is claimed of choosing for each customer; None: it may be."""
    found = [check for check in checks if check.doubtful]
    return Words(
        "; ".join(f"{check.name.en}: {check.words.en}" for check in found),
        "；".join(f"{check.name.zh}：{check.words.zh}" for check in found),
    ) if found else None  # fmt: skip


def only_if(checks: Sequence[Check]) -> Words | None:
    """What must be so for anything to be shown, that only whoever knows the table can tell; None: nothing."""
    found = [check.only_if for check in checks if check.only_if is not None]
    return Words(" and ".join(of.en for of in found), "，且".join(of.zh for of in found)) if found else None


def _first(found: Uplift, rests: Words | None) -> Words:
    """What to do, in one sentence. rests: what must be so for that."""
    arm, control = called(found.arms[found.default]), called(found.arms[0])
    proven = words("is shown, if {rests},", "在{rests}的前提下显示", rests=rests) if rests else Words(
        "is proven", "已证实"
    )  # fmt: skip
    if found.personal and found.gain.low > 0:
        return words(
            "Choose for each customer: that {proven} to bring more than one arm for all.",
            "请为每位客户分别选择：{proven}比所有人同一方案更好。", proven=proven,
        )  # fmt: skip
    if found.personal:
        return words(
            "Choose for each customer: that {proven} to bring more than {arm} for everyone, while {best} for "
            "everyone is not.",
            "请为每位客户分别选择：{proven}优于所有人{arm}；所有人{best}则未证实。",
            arm=arm, best=called(found.arms[found.best]), proven=proven,
        )  # fmt: skip
    if found.default:
        return words(
            "Give everyone {arm}: it {proven} to bring more than {control}; that choosing for each customer "
            "brings still more is not.",
            "请对所有人采用{arm}：{proven}优于{control}；为每位客户分别选择是否更好，未证实。",
            arm=arm, control=control, proven=proven,
        )  # fmt: skip
    return words(
        "Give everyone {control}: no arm is shown to bring more, after its cost, nor is choosing for each "
        "customer.",
        "请对所有人采用{control}：扣除成本后未显示任何方案更好，为每位客户分别选择亦然。", control=control,
    )  # fmt: skip


def _constant(found: Uplift, proven: Words) -> Words:
    """What is shown of one arm for all, and which is chosen by default where that does not decide it."""
    best, control = called(found.arms[found.best]), called(found.arms[0])
    told: dict[str, Words | str] = {
        "best": best, "control": control, "outcome": found.outcome, "gain": shown(found.over[0], sign=True),
    }  # fmt: skip
    if not found.better:
        largest = words(
            "The largest estimate is that of {best}: {gain} {outcome} a customer over {control}; to tell, "
            "try it on more customers.",
            "估计值最大的是{best}：每位客户的{outcome}比{control}多{gain}；须扩大试验才能判断。",
            **told,
        ) if found.best else words(
            "No estimate is larger than that of {control}.", "没有比{control}更大的估计值。", **told
        )  # fmt: skip
        return _joined(*_beside(found), largest)
    free = Words("(no cost was given)", "未给出成本")
    net = Words("after costs", "扣除成本后") if np.any(found.costs) else free
    said = words(
        "Best for everyone: {best}, {gain} {outcome} a customer over {control} {net}; that is {proven}.",
        "对所有人最好的是{best}：{net}，每位客户的{outcome}比{control}多{gain}；{proven}。",
        net=net, proven=proven, **told,
    )  # fmt: skip
    close = [found.arms[k] for k, one in enumerate(found.over) if k not in (0, found.best) and one.low <= 0]
    if not close:
        return said
    return _joined(said, words(
        "It is not told apart from {arms}: of these it is taken by default, as its estimate is the largest.",
        "它与{arms}尚无法区分：默认选择其中估计值最大的。", arms=called(*close),
    ))  # fmt: skip


def _beside(found: Uplift) -> list[Words]:
    """Which arms are shown to bring more, or less, than the control after their cost, if any; that none is
    shown to bring more only where the first sentence has not said it."""

    def named(*places: int) -> dict[str, Words]:
        return {"control": called(found.arms[0]), "arms": called(*(found.arms[k] for k in places))}

    more = [k for k, one in enumerate(found.net) if one.low > 0]
    less = [k for k, one in enumerate(found.net) if one.high < 0]
    said = []
    if more:
        said.append(words(
            "Shown to be better than {control}, after cost: {arms}.",
            "已证实扣除成本后优于{control}：{arms}。", **named(*more),
        ))  # fmt: skip
    elif found.personal or found.default:
        said.append(words(
            "No arm is shown to be better than {control}, after its cost.",
            "未显示出任何方案在扣除成本后优于{control}。", **named(),
        ))  # fmt: skip
    if less:
        said.append(words(
            "Shown to be worse, after cost: {arms}.", "已证实扣除成本后更差：{arms}。", **named(*less)
        ))  # fmt: skip
    return said


def _joined(*said: Words) -> Words:
    return Words(" ".join(one.en for one in said), "".join(one.zh for one in said))


def _personal(found: Uplift, proven: Words, why: Words | None) -> Words:
    gain, moved = shown(found.gain, sign=True), found.chosen != found.constant
    if found.personal and found.gain.low <= 0:
        return words(
            "If every column was known before the decision, choosing for each customer ({learner}) is "
            "{proven} to bring {instead} more a customer than {arm} for everyone; {share} of customers get "
            "another arm. Over {best} for everyone it is not proven: {gain}.",
            "若所有列在决策之前均已可知，则为每位客户分别选择（{learner}）{proven}：每位客户比所有人{arm}多"
            "{instead}；{share}的客户得到其他方案。与所有人{best}相比未证实：{gain}。",
            proven=proven, instead=shown(found.instead, sign=True), gain=gain,
            arm=called(found.arms[found.default]), best=called(found.arms[found.best]),
            share=f"{np.mean(found.chosen != found.default):.0%}", learner=LEARNERS[found.learner],
        )  # fmt: skip
    if found.personal:
        return words(
            "Personal uplift is {proven}, if every column was known before the decision: choosing for each "
            "customer ({learner}) brings {gain} more a customer than one arm for all; {share} of customers "
            "get another arm.",
            "若所有列在决策之前均已可知，则个性化增益{proven}：为每位客户分别选择（{learner}），"
            "每位客户比所有人同一方案多{gain}；{share}的客户得到其他方案。",
            proven=proven, gain=gain, share=f"{np.mean(moved):.0%}", learner=LEARNERS[found.learner],
        )  # fmt: skip
    if not moved.any():
        return Words(
            "Personal uplift is not proven: nobody is predicted to do better with another arm.",
            "个性化增益未证实：未预测到任何人适合其他方案。",
        )
    if why is not None:
        return words(
            "Personal uplift is not proven (choosing for each customer: {gain}), and by default all get the "
            "same: {why}.",
            "个性化增益未证实（为每位客户分别选择：{gain}），默认所有人相同：{why}。",
            gain=gain, why=why,
        )  # fmt: skip
    return words(
        "Personal uplift is not proven (choosing for each customer: {gain}): by default all get the same.",
        "个性化增益未证实（为每位客户分别选择：{gain}）：默认所有人相同。",
        gain=gain,
    )
