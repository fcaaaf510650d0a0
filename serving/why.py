"""Why a decision came out as it did: the constraint that binds it, and one sentence that says the same."""

from collections import Counter
from collections.abc import Sequence

from features.words import Words
from serving.actions import NOTHING, Action, Evidence
from serving.answer_types import ActionAnswer, Binding
from serving.cards import Text
from serving.decide import NONE_ELIGIBLE, PRICE, REASONS, Decisions
from serving.situation import Inputs, Rules

_NOT_ASKED = ("not_a_candidate", "not_personal")  # reasons that are none of the customer's
_OF_ALL = ("no_automation", "open_complaint", "holdout")  # keep every action for marketing back

OWED = Words("Owed to the customer, whatever it earns", "属于对客户应尽的服务，不以收益衡量")
DRAWN = Words("Drawn at random among the eligible actions, to learn", "在符合条件的行动中随机抽取，用于学习")
PART = Words(
    "Part of a bundle that was decided for all of them, and nothing keeps it back here",
    "属于已为全体决定的组合行动，且此处无任何限制",
)


def reject_words(rules: Rules, inputs: Inputs, action: str, why: str) -> Words:
    """Of an action that waits for its scenario, which; of another that was not asked about, what was."""
    said, waits = REASONS[why], rules.scenarios.get(action, ())
    if why != "not_a_candidate":
        return said
    if waits and inputs.scenario not in waits:
        names = ", ".join(waits)
        return Words(
            f"Belongs to scenario {names}, which this request does not name",
            f"属于场景{names}，本次请求未指定该场景",
        )
    names = ", ".join(name for name in inputs.candidates or () if name != NOTHING.name) or NOTHING.name
    of = f"scenario {inputs.scenario}: {names}" if inputs.scenario else names
    return Words(f"{said.en} ({of})", f"{said.zh}（{of}）")


def binding_of(actions: Sequence[Action], answers: Sequence[ActionAnswer], made: Decisions) -> Binding | None:
    """What binds one customer's decision; None if she got the best of what could be for her."""
    best = float(made.net[0, made.best[0]])
    kept_out = [
        (a.score, a.action, a.reject_reason or PRICE)
        for j, (action, a) in enumerate(zip(actions, answers, strict=True))
        # Else another limit may come first, and it could not be taken without that one either.
        if a.reject_reason not in _NOT_ASKED and action.unit == "person" and made.failed[0, j] < 0
        if a.score is not None and a.score > best
    ]
    if kept_out:
        _, action, why = max(kept_out, key=lambda of: of[0])
        return Binding(action, why)
    kept = Counter(a.reject_reason for a in answers if a.reject_reason not in (None, *_NOT_ASKED))
    if any(a.eligible and a.action != NOTHING.name for a in answers) or not kept:
        return None
    most = max(kept.values())
    return Binding(NOTHING.name, NONE_ELIGIBLE, next(why for why in REASONS if kept[why] == most))


def text_of(
    chosen: Action,
    rules: Rules,
    explored: bool,
    answers: Sequence[ActionAnswer],
    binding: Binding | None,
    evidence: Evidence,
    complaint: bool = False,
) -> Text:
    """What is done, and why: of nothing, as the binding constraint has it. complaint: one is open."""
    days = rules.horizon_days
    assumed = Words("under assumed effects", "按假设的效果")
    if evidence == "randomised":
        assumed = Words("by effects that decisions by lot showed", "按随机决策显示的效果")
    alone = not any(a.eligible and a.action != NOTHING.name for a in answers)
    if chosen.name == NOTHING.name and alone:  # so there was nothing to weigh, nor to draw
        why = _alone(rules, answers, binding)
    elif chosen.part_of is not None:
        why = PART
    elif chosen.goal_kind == "service":
        why = OWED
    elif explored:
        why = DRAWN
    elif chosen.name == NOTHING.name and binding is not None and binding.reject_reason != PRICE:
        why = _kept_back(rules, answers, binding)
    elif chosen.name == NOTHING.name and binding is not None:
        why = Words(
            f"Nothing eligible is expected to earn within {days} days what its budget or channel earns with "
            f"other customers, {assumed.en}",
            f"{assumed.zh}，符合条件的行动在{days}天内的预期收益均不及其预算或渠道用于其他客户的收益",
        )
    elif chosen.name == NOTHING.name:
        why = Words(
            f"Nothing eligible is expected to earn back its cost within {days} days, {assumed.en}",
            f"{assumed.zh}，符合条件的行动预计在{days}天内均无法收回成本",
        )
    else:
        why = Words(
            f"The largest expected net value over {days} days of what is eligible, {assumed.en}",
            f"{assumed.zh}，在符合条件的行动中{days}天预期净值最大",
        )
    en, zh = [chosen.words.en, why.en], [chosen.words.zh, why.zh]
    waits = REASONS["open_complaint"]  # keeps all marketing back, also what another reason is told of
    if complaint and chosen.name == NOTHING.name and waits.zh not in why.zh:  # said once
        en, zh = [*en, waits.en], [*zh, waits.zh]
    return Text(f"{'. '.join(en)}.", f"{'。'.join(zh)}。")


def _alone(rules: Rules, answers: Sequence[ActionAnswer], binding: Binding | None) -> Words:
    """Why there was nothing to choose from, as the binding constraint has it."""
    if binding is None:
        if any(a.action in rules.scenarios for a in answers):
            return Words(
                "Every action that could be chosen waits for a scenario, which this request does not name",
                "可选的行动均属于特定场景，本次请求未指定",
            )
        return Words("No action was asked about", "没有可选的行动")
    if binding.commonest is not None:
        said = _exactly(answers, binding.commonest)
        return Words(
            f"No action is open to this customer; mostly: {_lowered(said.en)}",
            f"没有适用于该客户的行动，主要原因：{said.zh}",
        )
    kept = {a.reject_reason for a in answers if a.reject_reason not in (None, *_NOT_ASKED)}
    if binding.reject_reason in _OF_ALL or len(kept) == 1:
        return _exactly(answers, binding.reject_reason)
    return _kept_back(rules, answers, binding)


def _kept_back(rules: Rules, answers: Sequence[ActionAnswer], binding: Binding) -> Words:
    of = next(a for a in rules.actions if a.name == binding.action).words
    said = _exactly([a for a in answers if a.action == binding.action], binding.reject_reason)
    return Words(
        f"What would be worth most is kept back ({of.en}: {said.en})",
        f"预期价值最高的行动受限（{of.zh}：{said.zh}）",
    )


def _exactly(answers: Sequence[ActionAnswer], why: str) -> Words:
    """A reason, and the limit that it met, where that is one for all of these."""
    said = REASONS[why]
    limits = {a.limit_text for a in answers if a.reject_reason == why}
    limit = next(iter(limits)) if len(limits) == 1 else None
    if limit is None:
        return said
    return Words(f"{said.en}: {limit.en}", f"{said.zh}：{limit.zh}")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
