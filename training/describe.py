"""What a trained model says of itself: its card, its figures, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from features.compute.builds import Build
from features.definitions import Feature
from features.moments import DAY, iso, parse_moment
from features.shop import Shop
from features.words import Words
from serving.booster import Rows
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.models import Model
from training import baselines, evaluate, figures, pooled
from training.evaluate import Numbers
from training.targets import LABELS, Target, text

if TYPE_CHECKING:  # who reads a card need not load what fits models
    from training.backtest import Step
    from training.samples import Dataset, Part

KINDS = {
    "trees": Words("small trees", "小型提升树"),
    "spline": Words("a spline-logistic regression", "样条逻辑回归"),
    "blend": Words("trees and spline-logistic regression, half each", "提升树与样条逻辑回归各半"),
}
Bools = NDArray[np.bool_]
_ASKED = 2_000  # customers whose exact reasons are computed
CALIBRATIONS = {
    "identity": Words("as it is", "不作校准"),
    "slope": Words("slope alone", "仅校正斜率"),
    "platt": Words("Platt's scaling", "Platt缩放"),
    "isotonic": Words("isotonic", "保序回归"),
    "venn_abers": Words("Venn-Abers", "Venn-Abers"),
}


def card_of(
    shop: Shop, target: Target, build: Build, data: Dataset, step: Step, version: str, seed: int,
    features: Mapping[str, Feature], left_out: tuple[str, ...],
) -> ModelCard:  # fmt: skip
    """The card before the model was judged."""
    when = data.timeline
    known, moments = data.known(when.test), when.known(when.test)
    kind, calibration = KINDS[step.candidate], CALIBRATIONS[step.kind]
    notes = [
        Text(
            f"Fitted on {len(moments)} moments to {moments[-1]:%Y-%m-%d} ({len(known):,} rows; labels "
            f"overlap): {kind.en}. Calibration: {calibration.en}.",
            f"用截至{moments[-1]:%Y-%m-%d}的{len(moments)}个时点（{len(known):,}行，标签窗口有重叠）训练："
            f"{kind.zh}。校准：{calibration.zh}。",
        )
    ]
    if left_out:
        days = (moments[0] - build.log_starts_at).days
        notes.append(
            Text(
                f"Left out, because the log held only {days} days when the first row was fitted, and windows "
                f"that reach back beyond its start mean another thing each week: {', '.join(left_out)}.",
                f"首个训练时点日志仅有{days}天，超出日志起点的窗口含义会随时间变化，"
                f"故未使用：{'、'.join(left_out)}。",
            )
        )
    return ModelCard(
        name=target.name,
        version=version,
        kind=step.candidate,
        currency=shop.currency,
        target=TargetCard(
            name=target.name,
            horizon_days=target.horizon_days,
            population=target.population.words.en,
            label=target.label,
            words=text(target.words),
            higher_is=target.higher_is,
            score=text(target.score),
            members=target.population.members(build.features),
        ),
        features=tuple(
            FeatureCard(
                name=name,
                hash=build.features[name],
                unit=features[name].unit,
                en=features[name].words.en,
                zh=features[name].words.zh,
            )
            for name in data.features
        ),
        trained_on=TrainedOn(
            build=build.id,
            log=build.log,
            start=moments[0],
            end=moments[-1],
            rows=len(known),
            base_rate=round(known.base_rate, evaluate.DIGITS),
            seed=seed,
        ),
        tested_on=TestedOn(
            moment=when.test, rows=len(step.part), base_rate=round(step.part.base_rate, evaluate.DIGITS)
        ),
        metrics={},
        baselines={},
        notes=tuple(notes),
    )


def with_recipe(card: ModelCard, parameters: Mapping[str, Any], asked: Mapping[str, Any]) -> ModelCard:
    """The card with what its candidates are fitted with, and what was asked of its features before."""
    moments, largest = len(asked["recomputed_at"]), _largest(asked)
    told = Text(
        f"No feature was found to look ahead: all {asked['features']} were computed again for up to "
        f"{asked['customers']} customers at {moments} moments from a log that ended there and had other ids, "
        "and were the same; none tells what comes next by so much better than what comes after that, nor "
        "months before by so much better than what comes next, as one that peeks would. "
        f"What tells of few customers alone can still hide. {largest.en}",
        f"未发现窥视未来的特征：{asked['features']}个特征在{moments}个时点、至多"
        f"{asked['customers']}名客户上用截止到该时点、更换全部编号的日志重新计算，"
        "结果一致；也没有特征对近期的预测力异常高于其后时段，或提前数月对某一时段的预测力异常高于近期。"
        f"仅涉及少数客户的窥视仍可能未被发现。{largest.zh}",
    )
    return msgspec.structs.replace(
        card, parameters=dict(parameters), leaks=dict(asked), notes=(*card.notes, told)
    )


def _largest(asked: Mapping[str, Any]) -> Words:
    """The feature that came nearest to looking ahead, by how much, beside what is allowed."""
    one = asked["largest"]
    if one is None:
        least = asked["worth_telling"]
        return Words(
            "Asked about its own events and about orders over several horizons, none has an excess of "
            f"{least} of AUC or more, beyond chance.",
            f"以目标自身事件及多个期限内的订单检验，没有特征的超额AUC在偶然之外达到{least}。",
        )
    called, since = LABELS[one["of"]].called, one.get("from", "")[:10]
    return Words(
        f"The largest excess beyond chance is that of {one['feature']}, asked about {called.en}"
        f"{f' from {since} on' if since else ''}: {one['excess']:.3f} of AUC, where {one['allowed']:.2f} is "
        "allowed. No figure tells whether so little is honest: of an imported file, ask when it was known.",
        f"超出偶然的最大超额来自{one['feature']}"
        f"（以{'自' + since + '起的' if since else ''}{called.zh[1:]}检验）："
        f"AUC {one['excess']:.3f}，上限{one['allowed']:.2f}。低于上限是否真实无法由数字判定："
        "若为外部文件，请核实其真实知悉时间。",
    )


def with_search(card: ModelCard, origins: Sequence[datetime]) -> ModelCard:
    """The card of a model whose parameters were searched for, with the origins that decided."""
    first, last, number = origins[0], origins[-1], len(origins)
    note = Text(
        f"Its parameters were searched for: the log-loss at the {number} origins of {first:%Y-%m-%d} to "
        f"{last:%Y-%m-%d} decided. Figures at those are therefore too good, and so are means over all "
        "origins; those of the test are not.",
        f"参数经搜索得出：由{first:%Y-%m-%d}至{last:%Y-%m-%d}的{number}个时点的对数损失决定。"
        "因此这些时点的指标以及各时点的平均值偏乐观；测试时点的指标不受影响。",
    )
    return msgspec.structs.replace(card, notes=(*card.notes, note))


def with_figures(
    card: ModelCard, judged: Mapping[str, evaluate.Judged], backtest: Mapping[str, Any]
) -> ModelCard:
    """The card with figures of "model" and of each baseline, the gains over it, and the verdict first."""
    model = judged["model"]
    others = {
        name: {**one.figures, **evaluate.gains(model, one)} for name, one in judged.items() if name != "model"
    }
    card = msgspec.structs.replace(card, metrics=model.figures, baselines=others, backtest=dict(backtest))
    return msgspec.structs.replace(card, notes=(text(verdict_of(card)), *card.notes))


def with_details(card: ModelCard, model: Model, part: Part, scores: Mapping[str, Numbers]) -> ModelCard:
    """The card with the test's curves, what the model looks at, and how well its approximate reasons agree
    with exact ones, both over up to _ASKED of the test's customers."""
    rows = part.matrix[:: max(len(part) // _ASKED, 1)][:_ASKED]
    exact, _ = model.contributions(rows, exact=True)
    return msgspec.structs.replace(
        card,
        curves=evaluate.curves(part.label, scores),
        importance=importance(card, exact),
        reasons=agreement(model, rows, exact),
    )


def with_segments(card: ModelCard, described: Mapping[str, Any]) -> ModelCard:
    """The card with its figures by group; a note names the groups whose level is off, after the verdict."""
    card = msgspec.structs.replace(card, **described)
    said = groups_off(card)
    if said is None:
        return card
    return msgspec.structs.replace(card, notes=(*card.notes[:1], text(said), *card.notes[1:]))


def groups_off(card: ModelCard) -> Words | None:
    """The groups of customers whose level is off, by name; None: of none."""
    off = [one for one in card.segments if one.get("off")]
    if not off:
        return None
    off.sort(key=lambda one: -abs(one["observed_over_expected"] - 1))
    ratios = [f"({one['observed_over_expected']:.2f})" for one in off]
    en, zh = (
        sep.join(f"{one['words'][lang]} {one['group'][lang]} {r}" for one, r in zip(off, ratios, strict=True))
        for lang, sep in (("en", ", "), ("zh", "、"))
    )
    said = Words(
        f"Its level is off in {len(off)} group{'s' * (len(off) > 1)} of customers (observed/expected): {en}. "
        "Do not take its probabilities at their word there: below 1 it came true less often than it said, "
        "above 1 more often.",
        f"在{len(off)}个客户分组中概率水平有偏差（实际/预期）：{zh}。"
        "对这些分组，概率不可直接采信：小于1表示实际少于预测，大于1表示多于预测。",
    )
    if not any(one.get("unread") for one in off):
        return said
    return Words(
        f"{said.en} It reads no attribute of customers, so what only these tell stays hidden from it.",
        f"{said.zh}模型不读取客户属性，因此无法得知仅由属性体现的差异。",
    )


def importance(card: ModelCard, exact: Numbers) -> dict[str, float]:
    """Feature -> its mean absolute contribution to the log-odds. exact: Shapley values [n, F]."""
    mean = np.abs(exact).mean(axis=0)
    names = (feature.name for feature in card.features)
    return {name: round(float(one), evaluate.DIGITS) for name, one in zip(names, mean, strict=True)}


def agreement(model: Model, rows: Rows, contributions: Numbers) -> dict[str, float]:
    """Approximate against exact contributions [n, F] of some rows: the share whose first topic is the same,
    the mean overlap of the first three, and the correlation of all topics' contributions."""
    quick, exact = (model.teller.sums(of) for of in (model.contributions(rows)[0], contributions))
    first, firsts = (np.argsort(-np.abs(sums), axis=1, kind="stable")[:, :3] for sums in (quick, exact))
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(first.tolist(), firsts.tolist(), strict=True)]
    told = {
        "first": float((first[:, 0] == firsts[:, 0]).mean()),
        "first_three": float(np.mean(shared)),
        "correlation": float(np.corrcoef(quick.ravel(), exact.ravel())[0, 1]),
    }
    return {name: round(value, evaluate.DIGITS) for name, value in told.items()}


def backtest_of(
    steps: Sequence[Step],
    held_out: Sequence[Bools] | None = None,
    scarce: bool = False,
    adjusted: bool = True,
) -> dict[str, Any]:
    """What a card tells of a backtest: figures over all origins, gains over each baseline, every origin.

    held_out: who of each origin's customers is in the policy's holdout, and was left alone. scarce: whether
    the log gives fewer origins than a release wants. adjusted: whether the target is meant as if nobody were
    contacted; else nobody was told apart.
    """
    held_out = held_out or [np.zeros(len(step.part), np.bool_) for step in steps]
    names = [name for name in steps[0].scores if all(name in step.scores for step in steps)]
    metrics, gains = pooled.figures(
        [step.part.label for step in steps],
        [step.part.customer for step in steps],
        {name: [step.scores[name] for step in steps] for name in names},
    )
    return {
        "metrics": metrics,
        "gains": gains,
        "contacts": _groups(steps, held_out) if adjusted else {},
        "scarce": scarce,
        "origins": [_origin(step, held) for step, held in zip(steps, held_out, strict=True)],
    }


def _groups(steps: Sequence[Step], held_out: Sequence[Bools]) -> dict[str, Any]:
    """The level over all origins of those left alone, of the holdout among them, and of the contacted.

    z knows that a customer comes back at every origin. A group that is not there is absent.
    """
    parts = [step.part for step in steps]
    label = np.concatenate([part.label for part in parts])
    score = np.concatenate([step.scores["model"] for step in steps])
    customer = np.concatenate([part.customer for part in parts])
    treated = np.concatenate([part.treated for part in parts])
    told = {}
    for name, rows in _apart(treated, np.concatenate(held_out)).items():
        if not rows.any():
            continue
        missed = np.bincount(customer[rows], (label - score)[rows])
        told[name] = {
            "rows": int(rows.sum()),
            "observed_over_expected": round(float(label[rows].sum() / score[rows].sum()), evaluate.DIGITS),
            "z": round(float(missed.sum() / np.sqrt((missed**2).sum())), evaluate.DIGITS),
        }
    return told


def _apart(treated: Bools, held: Bools) -> dict[str, Bools]:
    return {"untreated": ~treated, "held_out": held, "treated": treated}


def _origin(step: Step, held: Bools) -> dict[str, Any]:
    label, score, treated = step.part.label, step.scores["model"], step.part.treated
    told = {
        "moment": iso(step.origin),
        "rows": len(label),
        "base_rate": round(step.part.base_rate, evaluate.DIGITS),
        "model": step.candidate,
        "calibration": step.kind,
        "auc": round(pooled.auc(label, score)[0], evaluate.DIGITS),
        "log_loss": round(pooled.log_loss(label, score)[0], evaluate.DIGITS),
        **pooled.level(label, score),
        "effect_of_contacts": round(step.fitted[step.candidate].effect, evaluate.DIGITS),
    }
    for name, rows in _apart(treated, held).items():
        if treated.any() and 0 < label[rows].sum() < rows.sum():
            told[name] = {"rows": int(rows.sum()), **pooled.level(label[rows], score[rows])}
    return told


def verdict_of(card: ModelCard) -> Words:
    """What the figures of a judged card say."""
    gains = card.backtest.get("gains") or card.baselines
    said = evaluate.verdict(card.name, card.metrics, gains, baselines.WORDS, *_off(card))
    for more in (figures.tried_once(card), overlap(card)):
        if more is not None:
            said = Words(f"{said.en} {more.en}", f"{said.zh}{more.zh}")
    return said


def separate(card: ModelCard) -> float:
    """How many windows that share no day its origins span: their number, or less where they overlap."""
    at = [parse_moment(one["moment"]) for one in card.backtest.get("origins", ())]
    whole = card.target.horizon_days * DAY
    if all(b - a >= whole for a, b in pairwise(at)):
        return len(at)
    return (at[-1] - at[0]) / whole + 1


def overlap(card: ModelCard) -> Words | None:
    """That the origins' label windows share days, and how many separate ones they span; None: they do not."""
    number, worth, days = len(card.backtest.get("origins", ())), separate(card), card.target.horizon_days
    if worth == number:
        return None
    return Words(
        f"The windows of {days} days of its {number} origins overlap: they are worth about {worth:.1f} "
        "separate ones.",
        f"{number}个时点的{days}天窗口相互重叠：约相当于{worth:.1f}个独立窗口。",
    )


def level_of(card: ModelCard) -> tuple[bool, Words]:
    """Whether its level holds at every origin, in the verdict's words."""
    return evaluate.level(card.metrics["observed_over_expected"], *_off(card))


def _off(card: ModelCard) -> tuple[int, list[str]]:
    """The number of origins, and the days of those at which the level is off: the last, also by its ratio."""
    origins, ratio = card.backtest.get("origins", ()), card.metrics["observed_over_expected"]
    held = ratio["low"] <= 1 <= ratio["high"]
    return len(origins), [
        one["moment"][:10]
        for place, one in enumerate(origins, start=1)
        if pooled.off(one) or (place == len(origins) and not held)
    ]
