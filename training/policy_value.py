"""What a policy would have earned, from decisions that another one took by known chances.

w = pi(a) / p, the new policy's probability of the arm that was taken over the logged one; r: the outcome;
q: a model of the outcome of each arm.

    IPS         mean(w r)                                       Horvitz and Thompson 1952
    SNIPS       sum(w r) / sum(w)                               Swaminathan and Joachims 2015
    DR          mean(sum_a pi(a) q(a) + w (r - q))              Dudik, Langford and Li 2011
    Switch-DR   DR, with w = 0 in the last term where w > SWITCH    Wang, Agarwal and Dudik 2017

IPS and DR are unbiased if the logged chances are right, SNIPS nearly; Switch-DR trades variance for the
model's error where w is large. What the large weights say of that error, with how unsure they are, is in its
interval: so that is hardly narrower than DR's where the model decides much, and the same where it decides
nothing. Without predictions, q is the arm's mean outcome among the customers of the other fold.
Intervals are normal, from the sums of each customer's influence: decisions about one customer are not
independent. Gains over the policy that was logged are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import UsageError
from features.words import Words

Floats = NDArray[np.float64]

SWITCH = 10.0
CAPS = (np.inf, 100.0, 30.0, 10.0, 5.0, 2.0)  # of the clipping curve
FEW = 100.0  # effective customers; with fewer no verdict is given, as an interval is not to be believed
_STEADY = 0.5  # of DR's half interval: cutting weights moves it by less where no few decisions decide
_Z = 1.959964


@dataclass(frozen=True)
class LoggedDecisions:
    """n logged decisions among A arms.

    arm: column number of what was done [n]; propensity: its logged chance, 0 < p <= 1; outcome: matured;
    target: the judged policy's probability of every arm [n, A]; predicted: outcome of every arm [n, A], by a
    model that has not seen these outcomes; customer: ids [n], None if each decision is of another.
    """

    arm: NDArray[np.intp]
    propensity: Floats
    outcome: Floats
    target: Floats
    predicted: Floats | None = None
    customer: Sequence[str] | None = None

    def __post_init__(self) -> None:
        n = len(self.outcome)
        if n < 2 or not np.isfinite(self.outcome).all():
            raise UsageError(
                f"{n} decisions: expected 2 or more, each with a matured outcome that is a number"
            )
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            row = int(np.flatnonzero(~((self.propensity > 0) & (self.propensity <= 1)))[0])
            raise UsageError(
                f"row {row + 1}: propensity {self.propensity[row]:g}; expected the chance with which the arm "
                "was taken, above 0 and at most 1"
            )
        if self.target.shape[0] != n or not np.allclose(self.target.sum(axis=1), 1.0, atol=1e-6):
            raise UsageError("the policy's probabilities of a decision's arms must add up to 1")
        if (self.target < 0).any():
            raise UsageError("the policy has a negative probability")
        if self.predicted is not None and not np.isfinite(self.predicted).all():
            raise UsageError("a predicted outcome is not a number: every arm of every row needs one")


@dataclass(frozen=True)
class Estimate:
    """value with its 95 % interval; gain: over what was logged, paired."""

    name: str
    value: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class Clipped:
    """Estimates with weights cut at `cap`; share: of the decisions whose weight was cut."""

    cap: float
    share: float
    snips: float
    dr: float


@dataclass(frozen=True)
class PolicyValue:
    """effective: size of a sample of equal weights that would be as sure, in customers. logged: its mean.
    harm: less of the outcome is better."""

    decisions: int
    customers: int
    logged: float
    effective: float
    matched: float
    largest: float
    estimates: tuple[Estimate, ...]
    clipping: tuple[Clipped, ...]
    warnings: tuple[Words, ...]
    harm: bool = False
    refused: float | None = (
        None  # share of decisions at which the policy's choice was not possible; None: untold
    )

    @property
    def rule(self) -> Words:
        """Which figures decide the verdict, and why these."""
        side, zh = ("below", "低于") if self.harm else ("above", "高于")
        return Words(
            "DR and SNIPS decide, by their gain over what was done: both whole intervals must lie "
            f"{side} 0 for it to be called better. They err in different ways, DR by its model of the "
            "outcome, SNIPS by large weights. It is not proven if cutting weights moves DR by more than "
            f"{_STEADY:.0%} of its half interval, or Switch-DR does not show it; IPS is there to compare.",
            f"结论由DR与SNIPS相对实际执行的增益决定：两者的区间均须全部{zh}0，才称为更优。"
            "两者出错的方式不同：DR依赖结果模型，SNIPS受大权重影响。"
            f"若截断权重使DR变动超过其半区间的{_STEADY:.0%}，或Switch-DR未显示该差异，则视为尚未证实；IPS仅供对照。",
        )

    @property
    def elsewhere(self) -> Words:
        """What the policy does with customers for whom its choice was not possible."""
        if self.refused is None:
            return Words(
                "The policy is taken at its word, as a table does not tell whether its choice was possible: "
                "where it was not, its column must name what would be done instead.",
                "按表中所列策略评估，因为表格无法说明其选择当时是否可行：若不可行，策略列须填写实际会采取的做法。",
            )
        return Words(
            "Customers who could not have the policy's choice (not eligible, or never drawn for them) are "
            f"left alone: so it was at {self.refused:.1%} of the decisions.",
            "当时不可能得到该策略所选行动的客户（不符合条件或从未参与抽取）不作触达："
            f"占决策的{self.refused:.1%}。",
        )

    @property
    def verdict(self) -> Words:
        """Better or worse only if DR and SNIPS both say so, and nothing speaks against believing them; with
        what it depends on, if it does."""
        if self.warnings:
            return Words("The data cannot carry a verdict", "现有数据不足以得出结论")
        if not (side := self._side):
            return Words("No difference from what was done is shown", "未显示出与实际执行策略的差异")
        said = (
            Words("Worse than what was done", "劣于实际执行的策略")
            if (side > 0) == self.harm
            else Words("Better than what was done", "优于实际执行的策略")
        )
        if not (on := self.conditions):
            return said
        return Words(
            f"{said.en} by DR and SNIPS, but not proven: {'; '.join(of.en for of in on)}",
            f"按DR与SNIPS{said.zh}，但尚未证实：{'；'.join(of.zh for of in on)}",
        )

    @property
    def carried(self) -> bool:
        """Whether the data carry the verdict, without a condition."""
        return not (self.warnings or self.conditions)

    @property
    def _side(self) -> int:
        """1 if DR and SNIPS both show more of the outcome than was logged, -1 if less, else 0."""
        sure = [of for of in self.estimates if of.name in ("SNIPS", "DR")]
        more, less = all(of.gain_low > 0 for of in sure), all(of.gain_high < 0 for of in sure)
        return int(more) - int(less)

    @property
    def conditions(self) -> tuple[Words, ...]:
        """What the verdict depends on; none of one that is withheld, or shows no difference.

        A verdict is withheld where the chances or the sample are not to be believed (`warnings`). It is
        qualified where the sample is, and the gain may still be that of a few: a normal interval rests on
        many decisions that share the sum, and where few weights make it up it is too narrow, for DR and SNIPS
        alike, so that their agreement proves nothing more. By _STEADY: a shift of half of the half interval
        takes an interval of 95 % to 84 %. Not withheld, because cutting weights is itself biased, to the
        model: that an estimate moves says that it is unsure, not that it is wrong. Switch-DR stands on the
        same data with the large weights left to the model and the error of that in its interval: a claim
        that holds with it needs no large weight.
        """
        side = self._side
        if self.warnings or not side:
            return ()
        found = []
        if self.moved > _STEADY:
            found.append(Words(
                f"a few decisions decide much (cutting weights moves DR by {self.moved:.0%} of its half "
                "interval)",
                f"少数决策影响很大（截断权重使DR变动达其半区间的{self.moved:.0%}）",
            ))  # fmt: skip
        (switch,) = (of for of in self.estimates if of.name == "Switch-DR")
        if not (switch.gain_low > 0 if side > 0 else switch.gain_high < 0):
            found.append(Words(
                "Switch-DR, without the large weights, does not show it",
                "不依赖大权重的Switch-DR未显示该差异",
            ))  # fmt: skip
        return tuple(found)

    @property
    def moved(self) -> float:
        """How far cutting weights at SWITCH or more moves DR at most, as a share of its half interval."""
        (dr,) = (of for of in self.estimates if of.name == "DR")
        moved = max(abs(of.dr - dr.value) for of in self.clipping if of.cap >= SWITCH)
        return moved / (dr.high - dr.value) if dr.high > dr.value else 0.0

    @property
    def steady(self) -> Words:
        """Whether a few decisions with large weights decide, as far as the data can tell."""
        if self.effective < FEW:
            return Words(
                f"Steady or not, these figures are those of {self.effective:,.0f} effective customers, and "
                f"the same few may decide all of them: under {FEW:.0f} the data cannot carry a verdict.",
                f"无论是否稳定，这些数值仅来自{self.effective:,.0f}位有效客户，可能均由同样的少数客户决定："
                f"低于{FEW:.0f}时数据不足以得出结论。",
            )
        share = self.moved
        if share <= _STEADY:
            return Words(
                f"Steady: cutting weights at {SWITCH:g} or more moves DR by at most {share:.0%} of its half "
                "interval, so no few decisions decide.",
                f"稳定：权重在{SWITCH:g}及以上截断时，DR最多变动其半区间的{share:.0%}，结论不由少数决策左右。",
            )
        return Words(
            f"Not steady: cutting weights at {SWITCH:g} or more moves DR by {share:.0%} of its half "
            "interval, so a few decisions decide much.",
            f"不稳定：权重在{SWITCH:g}及以上截断时，DR变动达其半区间的{share:.0%}，少数决策影响很大。",
        )


def evaluate(log: LoggedDecisions) -> PolicyValue:
    """Every estimate of the policy's mean outcome a decision, and what speaks against believing them."""
    n = len(log.outcome)
    who = np.arange(n) if log.customer is None else np.unique(np.array(log.customer), return_inverse=True)[1]
    groups = int(who.max()) + 1
    if groups < 2:
        raise UsageError("all decisions are of one customer: nothing is known of how customers differ")
    rows = np.arange(n)
    weight = log.target[rows, log.arm] / log.propensity
    predicted = _arm_means(log, who) if log.predicted is None else log.predicted
    logged = float(log.outcome.mean())

    def estimate(
        name: str, value: float, influence: Floats, off: float = 0.0, unsure: float = 0.0
    ) -> Estimate:
        half = off + _Z * float(np.hypot(_error(influence, who, groups), unsure))
        apart = off + _Z * float(np.hypot(_error(influence - (log.outcome - logged), who, groups), unsure))
        gain = value - logged
        return Estimate(name, value, value - half, value + half, gain, gain - apart, gain + apart)

    def robust(w: Floats) -> Floats:
        model = (log.target * predicted).sum(axis=1)
        each: Floats = model + w * (log.outcome - predicted[rows, log.arm])
        return each

    each = {
        "IPS": weight * log.outcome,
        "DR": robust(weight),
        "Switch-DR": robust(np.where(weight > SWITCH, 0.0, weight)),
    }
    left = _left_to_model(np.where(weight > SWITCH, weight, 0.0), log.outcome - predicted[rows, log.arm], who)
    found = {
        name: estimate(name, float(of.mean()), of - of.mean(), *(left if name == "Switch-DR" else ()))
        for name, of in each.items()
    }
    snips, normal = _snips(weight, log.outcome), weight.mean() if weight.any() else 1.0
    of_snips = weight * (log.outcome - snips) / normal
    found["SNIPS"] = estimate("SNIPS", snips, of_snips)
    clipping = []
    for cap in CAPS:
        cut = np.minimum(weight, cap)
        share = float((weight > cap).mean())
        clipping.append(Clipped(cap, share, _snips(cut, log.outcome), float(robust(cut).mean())))
    a_customer = np.bincount(who, weight, groups)
    effective = float(a_customer.sum() ** 2 / (a_customer @ a_customer)) if weight.any() else 0.0
    off = max(_error(weight - weight.mean(), who, groups), _implied(log.propensity[weight > 0], n))
    apart = _error(of_snips - (each["DR"] - each["DR"].mean()), who, groups)
    warnings = [
        *_of_support(log, weight, effective, groups),
        *_of_agreement(found, clipping, float(weight.mean()), off, apart),
    ]
    return PolicyValue(
        decisions=n,
        customers=groups,
        logged=logged,
        effective=effective,
        matched=float((weight > 0).mean()),
        largest=float(weight.max()),
        estimates=tuple(found[name] for name in ("IPS", "SNIPS", "DR", "Switch-DR")),
        clipping=tuple(clipping),
        warnings=tuple(warnings),
    )


def _snips(weight: Floats, outcome: Floats) -> float:
    return float(weight @ outcome / weight.sum()) if weight.any() else float("nan")


def _error(influence: Floats, who: NDArray[np.intp], groups: int) -> float:
    """Standard error of a mean over decisions, clustered by customer. influence: [n], of mean 0."""
    sums = np.bincount(who, influence, groups)
    return float(np.sqrt(groups / (groups - 1) * (sums @ sums)) / len(influence))


def _implied(chances: Floats, n: int) -> float:
    """Standard error of the mean weight of n decisions, by the logged chances of those that the policy could
    have taken: that a small chance did not come up yet is no sign that there was none."""
    return float(np.sqrt((1 / chances - 1).mean() / n)) if len(chances) else 0.0


def _left_to_model(heavy: Floats, residual: Floats, who: NDArray[np.intp]) -> tuple[float, float]:
    """(how far off what Switch-DR leaves to the model is, the standard error of that).

    heavy: weights that are left out, else 0 [n]. Their rows tell the model's error there, whatever it comes
    from: its form, or the customers that it was fitted on. Few rows are not taken to be nearer to the model
    than all are.
    """
    usual = float(np.sqrt((residual**2).mean()))
    unsure = (
        max(float((np.bincount(who, of) ** 2).sum()) for of in (heavy * residual, heavy * usual))
        / len(who) ** 2
    )
    return abs(float((heavy * residual).mean())), float(np.sqrt(unsure))


def _arm_means(log: LoggedDecisions, who: NDArray[np.intp]) -> Floats:
    """Mean outcome of each arm in the other half of customers [n, A]; of all there if nobody had the arm."""
    fold = who % 2
    predicted = np.empty(log.target.shape)
    for side in (0, 1):
        others = fold != side
        others = others if others.any() else ~others
        n = np.bincount(log.arm[others], minlength=log.target.shape[1])
        sums = np.bincount(log.arm[others], log.outcome[others], log.target.shape[1])
        predicted[fold == side] = np.where(n > 0, sums / np.maximum(n, 1), log.outcome[others].mean())
    return predicted


def _of_support(log: LoggedDecisions, weight: Floats, effective: float, groups: int) -> list[Words]:
    """What the log does not show."""
    found = []
    if (log.propensity == 1).all():
        found.append(Words(
            "Every logged chance is 1: nothing was left to chance, so other choices cannot be judged",
            "所有记录的概率均为1：没有随机性，无法推断其他选择的效果",
        ))  # fmt: skip
    taken = np.bincount(log.arm, minlength=log.target.shape[1]) > 0
    unseen = float(log.target[:, ~taken].sum() / len(weight))
    if unseen > 0:
        found.append(Words(
            f"{unseen:.1%} of the policy's choices are arms that were never taken",
            f"该策略{unseen:.1%}的选择从未被执行过",
        ))  # fmt: skip
    if effective < FEW:
        found.append(Words(
            f"The effective sample is {effective:,.0f} of {groups:,} customers: a verdict needs {FEW:.0f}, "
            "as with fewer the intervals are too narrow. Explore more, or wait",
            f"有效样本仅为{groups:,}位客户中的{effective:,.0f}位：得出结论至少需要{FEW:.0f}，不足时区间过窄。"
            "请增加探索或继续等待",
        ))  # fmt: skip
    return found


def _of_agreement(
    found: dict[str, Estimate], clipping: Sequence[Clipped], mean_weight: float, off: float, apart: float
) -> list[Words]:
    """Signs that the logged chances are not those by which arms were taken, or that a few rows decide."""
    told = []
    if abs(mean_weight - 1) > 3 * off + 1e-9:
        told.append(Words(
            f"The mean weight is {mean_weight:.2f}, not 1: the logged chances are not those of what was "
            "done, or some choices of the policy were never possible",
            f"平均权重为{mean_weight:.2f}而非1：记录的概率与实际不符，或策略的部分选择从不可能被执行",
        ))  # fmt: skip
    snips, dr = found["SNIPS"], found["DR"]
    if not abs(snips.value - dr.value) <= 3 * apart + 1e-9:
        told.append(Words("SNIPS and DR disagree", "SNIPS与DR的估计不一致"))
    for cut in clipping:
        if cut.cap == SWITCH and not dr.low <= cut.dr <= dr.high:
            told.append(Words(
                f"Cutting weights at {cut.cap:g} moves DR out of its interval: a few decisions decide",
                f"将权重截断至{cut.cap:g}后，DR估计超出原区间：结论由少数决策左右",
            ))  # fmt: skip
    return told
