"""One customer's decision as it is answered: from rules, inputs and a row of features, and nothing else.

`answer` is pure, so what `decisions.take_decision` recorded can be taken again from its record. The value of
an action (`decide` has the formula) is made of:

    P(order)          inputs.order_probability, within the shop's value horizon. It bounds what an action can
                      add, and never ranks customers by risk. Not known: effects stay as declared.
    margin per order  her average order of the last 365 days x the shop's margin rate
    lifetime value    by the released value model, beyond the value horizon; else as declared; else 0, and
                      what an action does to remaining and opting out does not count (`lifetime`)
    contacts          those of her features, of other systems that her features do not have yet, and of
                      decisions, held or sent (`contacts`)
    consent           what she said of channel and purpose, or of all channels; else the shop's default
    open complaint    one that her features know of, or one that came in since

A feature that the build lacks, because the shop has no such table, counts as not known. An effect is assumed
(`evidence: "prior"`) until decisions drawn by lot showed another ("randomised"), and every answer says which.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from features.moments import DAY, iso
from features.policy import PERIODS
from features.words import Words
from serving.actions import Action, Evidence
from serving.answer_types import ActionAnswer, DecisionAnswer, Scored, StepAnswer, Used
from serving.cards import Text
from serving.contacts import in_log, within
from serving.decide import REASONS, Decisions, Situation, decide, expected_loss, reason
from serving.evidence import RANDOMISED
from serving.lifetime import words_of
from serving.pauses import pause_told
from serving.prices import KIND as PRICES
from serving.rulebook import KIND as POLICY
from serving.sending import WORDS, Slot
from serving.situation import (
    ORDER_VALUE,
    Inputs,
    Rules,
    decided,
    held_until,
    keeps_back,
    left_of,
    limits_of,
    situation_of,
    slot_of,
    slots_of,
    told,
    zone_of,
)
from serving.standing import granted, with_complaints
from serving.why import binding_of, reject_words, text_of

EVIDENCE: tuple[Evidence, ...] = ("prior", "randomised", "none")  # the weakest first


def answer(rules: Rules, inputs: Inputs, row: Mapping[str, float], decision_id: str | None) -> DecisionAnswer:
    """The decision of one customer, from its recorded inputs alone: what `replay` runs again."""
    policy, actions = rules.policy, rules.actions
    values, said = np.array([*row.values()], np.float64)[:, None], inputs.standing
    rows = dict(zip(row, values, strict=True))
    situation = situation_of(rules, [inputs], rows)
    if said.complaints:
        row = {name: float(of[0]) for name, of in with_complaints(rows, [said]).items()}
    prices = rules.prices.of(actions)
    made = decide(actions, limits_of(rules, inputs.scenario), situation, inputs.candidates, prices)
    chosen = actions[made.chosen[0]]
    slots = slots_of(rules, inputs.as_of, row)
    places = range(len(actions))
    answers = [_action_answer(rules, inputs, row, made, slots, float(prices[j]), j) for j in places]
    evidence = _weakest(answers)
    others = [a for a in answers if a.eligible and a.score is not None and a.action != chosen.name]
    runner_up = max(others, key=lambda a: (a.score or 0.0) - a.price, default=None)
    goes = slot_of(rules, inputs.as_of, row, chosen, slots, inputs.not_before)
    valid_until = inputs.as_of + chosen.validity_days * DAY if chosen.channel is not None else None
    if valid_until is not None and goes is not None:
        valid_until = max(valid_until, goes.at)
    until = None if goes is None or chosen.purpose == "service" else held_until(policy, goes)
    holdout = bool(situation.holdout[0])
    binding = binding_of(actions, answers, made)
    loss = None if policy.person_above is None else expected_loss(made, 0)
    route = _route(rules, situation, chosen, loss)
    shown = policy.overall
    return DecisionAnswer(
        decision_id=decision_id,
        customer_id=inputs.customer_id,
        as_of=iso(inputs.as_of),
        known_at=iso(inputs.known_at),
        stale=inputs.stale,
        preview=decision_id is None,
        policy=policy.version,
        action=chosen.name,
        channel=chosen.channel,
        valid_until=None if valid_until is None else iso(valid_until),
        text=text_of(
            chosen,
            rules,
            bool(made.explored[0]),
            answers,
            binding,
            evidence,
            bool(situation.open_complaint[0]),
        ),
        score=float(made.net[0, made.chosen[0]]),
        scenario=inputs.scenario,
        context=inputs.context,
        duals=rules.prices.duals,
        interval=(float(made.low[0, made.chosen[0]]), float(made.high[0, made.chosen[0]])),
        evidence=evidence,
        propensity=float(made.propensity[0, made.chosen[0]]),
        explore=bool(made.explored[0]),
        holdout=holdout,
        runner_up=None if runner_up is None else Scored(runner_up.action, runner_up.score or 0.0),
        binding_constraint=binding,
        actions=answers,
        used=Used(
            order_probability=inputs.order_probability,
            order_model=inputs.order_model,
            effects_model=inputs.effects_model,
            lifetime_value=inputs.lifetime.value,
            lifetime_from=inputs.lifetime.source,
            lifetime_text=None if (why := words_of(inputs.lifetime)) is None else _words(why),
            order_value=_known(row.get(ORDER_VALUE)),
            margin_rate=rules.margin_rate,
            horizon_days=rules.horizon_days,
            currency=rules.currency,
            contacts_in_log=int(in_log(shown, rows, 1)[0]),
            contacts_decided=within(shown, decided(inputs), inputs.as_of),
            max_contacts=shown.contacts if shown.channel is None else None,
            per_days=shown.days if shown.channel is None else None,
            consent={
                channel: granted(rules.consent, said, channel, "marketing") for channel in rules.consent
            },
            contacts_told=within(shown, told(inputs), inputs.as_of),
            recorded_consent=said.consents,
            open_complaint=bool(situation.open_complaint[0]),
            budgets_left=[
                budget.amount - spent for budget, spent in zip(policy.budgets, inputs.spent, strict=True)
            ],
            paused=rules.paused,
            zone=None if slots is None else zone_of(rules, row),
            policy_release=_named(rules, POLICY),
            prices_release=_named(rules, PRICES),
        ),
        send_at=None if goes is None else goes.text,
        send_text=None if goes is None else _words(WORDS[goes.why]),
        reserved_until=None if until is None else iso(until),
        expected_loss=loss,
        route="automatic" if route is None else "person",
        route_text=None if route is None else _words(route),
        follows=inputs.follows,
    )


def _named(rules: Rules, kind: str) -> str | None:
    return next((f"{name}@{version}" for name, version in rules.released if name == kind), None)


def _weakest(answers: Sequence[ActionAnswer]) -> Evidence:
    """What the choice among these rests on."""
    weighed = {a.evidence for a in answers if a.reject_reason != "not_a_candidate"} - {"none"}
    known = weighed or {a.evidence for a in answers}
    return next(of for of in EVIDENCE if of in known)


def _route(rules: Rules, situation: Situation, chosen: Action, loss: float | None) -> Words | None:
    """Why a person decides; None where nobody is asked. Doing nothing needs nobody's yes, but of one whom no
    machine may decide about."""
    policy = rules.policy
    if policy.send is None:  # an old record
        return None
    if not situation.automation[0]:
        return REASONS["no_automation"]
    if not chosen.steps or loss is None or policy.person_above is None or loss <= policy.person_above:
        return None
    amount = f"{loss:,.2f} {rules.currency}"
    return Words(
        f"Being wrong is expected to lose {amount}, more than the {policy.person_above:,.2f} that the "
        "policy allows",
        f"决策失误的预期损失为{amount}，超过策略允许的{policy.person_above:,.2f}",
    )


def _action_answer(
    rules: Rules, inputs: Inputs, row: Mapping[str, float], made: Decisions,
    slots: Mapping[str, Slot] | None, price: float, j: int,
) -> ActionAnswer:  # fmt: skip
    action, why = rules.actions[j], reason(int(made.reject[0, j]))
    goes = slot_of(rules, inputs.as_of, row, action, slots, inputs.not_before)
    score = _known(float(made.net[0, j]))
    known = score is not None
    failed = int(made.failed[0, j])
    limit = None if slots is None else _limit(rules, inputs, made, action, why, j)
    return ActionAnswer(
        action=action.name,
        channel=action.channel,
        slot=None if goes is None else goes.text,
        text=_words(action.words),
        eligible=bool(made.eligible[0, j]),
        propensity=float(made.propensity[0, j]),
        score=score,
        price=price,
        interval=(float(made.low[0, j]), float(made.high[0, j])) if known else None,
        terms={name: float(of[0, j]) for name, of in made.terms.items()} if known else None,
        evidence="randomised" if action.name in inputs.effects else action.effect.evidence,
        evidence_text=RANDOMISED if action.name in inputs.effects else _words(action.effect.reason),
        reject_reason=why,
        reject_text=None if why is None else _words(reject_words(rules, inputs, action.name, why)),
        condition=_condition(rules, inputs, row, action, why, failed),
        steps=[
            StepAnswer(step.channel, _words(step.words), step.after_hours, step.send_cost, step.reach)
            for step in action.steps
        ],
        by_person=action.by_person,
        unfair_by=list(rules.unfair.get(action.name, ())),
        order_value=None if action.name in inputs.effects else _assumed(action, row),
        limit=None if limit is None else limit.en,
        limit_text=None if limit is None else _words(limit),
    )


def _assumed(action: Action, row: Mapping[str, float]) -> float | None:
    return action.order_value if _known(row.get(ORDER_VALUE)) is None else None


def _condition(
    rules: Rules, inputs: Inputs, row: Mapping[str, float], action: Action, why: str | None, failed: int
) -> str | None:
    if why == "not_now":
        return str(keeps_back(rules, inputs, row))
    if why in ("not_eligible", "excluded"):
        return str((*action.eligible, *action.suppressed_if)[failed])
    return None


def _limit(
    rules: Rules, inputs: Inputs, made: Decisions, action: Action, why: str | None, j: int
) -> Words | None:
    """What exactly keeps an action back, where its reason alone does not say it."""
    policy, cap, rest = rules.policy, int(made.cap[0, j]), int(made.cooldown[0, j])
    if why == "paused":
        return pause_told(action, rules.paused, inputs.scenario)
    if why == "unfair_offer":
        by = ", ".join(rules.unfair[action.name])
        return Words(f"unequal by {by}", f"按{by}不均等")
    if why == "contact_cap":
        of = policy.caps[cap]
        return Words(
            f"{of.contacts} in {of.days} days{f' on {of.channel}' if of.channel else ''}",
            f"{f'{of.channel}渠道' if of.channel else ''}{of.days}天内{of.contacts}次",
        )
    if why == "suppressed" and rest >= 0:
        cooldown = policy.cooldowns[rest]
        named = "".join(f" of {name}" for name in (cooldown.channel, cooldown.action) if name)
        about = "、".join(name for name in (cooldown.channel, cooldown.action) if name)
        return Words(f"{cooldown.days:g} days of rest{named}", f"{about}须间隔{cooldown.days:g}天")
    if why == "suppressed":
        days = action.suppress_days
        return Words(f"{days} days of rest before {action.name}", f"{action.name}之前须间隔{days}天")
    if why == "budget":
        left, budget = left_of(policy, inputs.spent, inputs.scenario)[0]
        scenario = f" for {budget.scenario}" if budget.scenario else ""
        per, of_scenario = PERIODS[budget.per], f"场景{budget.scenario}的" if budget.scenario else ""
        return Words(
            f"{left:,.2f} left of {budget.amount:,.2f} a {budget.per}{scenario}",
            f"{of_scenario}{per}预算{budget.amount:,.2f}仅余{left:,.2f}",
        )
    return None


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _words(words: Words) -> Text:
    return Text(words.en, words.zh)
