"""How good are scores, how sure are we of that, and are they better than what a sceptic would do instead?

Everything is computed on one later moment that nothing was fitted on. Intervals are percentile bootstrap
intervals over customers: the same drawn customers for every model, so that differences are paired. Of the
calibration error, which resampling pushes up, see `distance`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import TrainingError
from features.words import Words

Numbers = NDArray[np.float64]
Figure = dict[str, float]  # value, low, high: a 95 % interval

REPLICATES = 1_000
_CELLS = 1_000_000  # of a block of bootstrap weights: with more, each pass waits for memory
_GAIN = 51  # points of a gain curve
_BINS = 10  # of the calibration error and plot: customers in equal parts, by score
_NOISE = "calibration_noise"  # draws alone: of what `distance` makes the calibration error's interval
_CLIP = 1e-9
_FAR = 500.0  # log-odds beyond which a probability is 0 or 1
DIGITS = 6  # a figure's; beyond, another processor may differ

# Smaller is better for these; a gain is then what the baseline has more.
LOSSES = ("log_loss", "brier")
COMPARED = ("auc", "average_precision", *LOSSES)


@dataclass(frozen=True)
class Judged:
    """figures: metric -> figure of one model. draws: metric -> its bootstrap draws [REPLICATES]."""

    figures: dict[str, Figure]
    draws: dict[str, Numbers]


def judge(label: Numbers, scores: Mapping[str, Numbers], seed: int) -> dict[str, Judged]:
    """Judge each model's probabilities [n] against the labels [n] of 0 and 1. All share their draws."""
    measured = {name: _Measured(label, score) for name, score in scores.items()}
    points = {name: one.metrics(np.ones((1, len(label)))) for name, one in measured.items()}
    blocks: dict[str, list[dict[str, Numbers]]] = {name: [] for name in scores}
    for weights in _resamples(len(label), seed):
        weights = weights[(weights @ label > 0) & (weights @ (1 - label) > 0)]  # else there is no AUC
        for name, one in measured.items():
            blocks[name].append(one.metrics(weights))
    judged = {}
    for name, parts in blocks.items():
        draws = {metric: np.concatenate([part[metric] for part in parts]) for metric in points[name]}
        noise = draws.pop(_NOISE)
        figures = {m: figure(float(points[name][m][0]), draw) for m, draw in draws.items()}
        error = float(points[name]["calibration_error"][0])
        figures["calibration_error"] = distance(error, noise)
        judged[name] = Judged(figures, draws)
    return judged


def gains(model: Judged, baseline: Judged) -> dict[str, Figure]:
    """What the model has more than the baseline (of a loss: less), by metric, with paired intervals."""
    result = {}
    for metric in COMPARED:
        sign = -1.0 if metric in LOSSES else 1.0
        value = sign * (model.figures[metric]["value"] - baseline.figures[metric]["value"])
        draws = sign * (model.draws[metric] - baseline.draws[metric])
        result[f"{metric}_gain"] = figure(value, draws)
    return result


def figure(value: float, draws: Numbers) -> Figure:
    """A value with the central 95 % of its draws."""
    low, high = np.quantile(draws, (0.025, 0.975))
    three = {"value": value, "low": float(low), "high": float(high)}
    return {name: round(number, DIGITS) for name, number in three.items()}


def distance(value: float, noise: Numbers) -> Figure:
    """A calibration error with a 95 % interval: the value, less and more what noise alone makes of it.

    The error is a mean of |d|, d being what came less what was said in each tenth. Noise in d only ever adds
    to |d| where d is small, so the value is too high, and each resample, noisy twice, higher still: the
    central draws lie above the truth (of the bias: Roelofs et al. 2022, Mitigating bias in calibration error
    estimation), and a kink at 0 defeats the basic bootstrap, too (Andrews 2000, Inconsistency of the
    bootstrap when a parameter is on the boundary). What holds at every truth D is the triangle inequality:
    the mean of |d| and that of |D| differ by no more than the mean of |d - D|, whose distribution the
    resamples do give: `noise`, their mean |d* - d| [REPLICATES]. So the interval covers 95 %
    where a model is calibrated, more where it is not, and holds its own value; it ends at 0.

    >>> distance(0.02, np.linspace(0, 0.04, 101))
    {'value': 0.02, 'low': 0.0, 'high': 0.058}
    """
    margin = float(np.quantile(noise, 0.95))
    three = {"value": value, "low": max(value - margin, 0.0), "high": value + margin}
    return {name: round(number, DIGITS) for name, number in three.items()}


def _resamples(n: int, seed: int) -> Iterator[Numbers]:
    """Blocks of weights [replicates, n]: how often each row is drawn."""
    random, left = np.random.default_rng(seed), REPLICATES
    while left:
        block = min(left, max(1, _CELLS // n))
        yield random.multinomial(n, np.full(n, 1 / n), size=block).astype(np.float64)
        left -= block


class _Measured:
    """One model's scores, sorted once, so that every resample is a weighted sum."""

    def __init__(self, label: Numbers, score: Numbers) -> None:
        self.order = np.argsort(score, kind="stable")
        self.y, self.p = label[self.order], score[self.order]
        self.groups = np.flatnonzero(np.r_[True, np.diff(self.p) > 0])  # starts of equal scores
        self.z = log_odds(self.p)
        self.start = recalibration(self.y, self.p)
        self.loss = losses(self.y, self.p)
        edges = np.linspace(0, len(self.p), min(_BINS, len(self.p)) + 1).astype(int)[:-1]
        self.bins = np.unique(np.searchsorted(self.p, self.p[edges]))  # equal scores share a bin
        self.off = np.add.reduceat(self.y - self.p, self.bins) / len(self.p)

    def metrics(self, weights: Numbers) -> dict[str, Numbers]:
        """weights [replicates, n], rows in the original order -> metric [replicates]."""
        w = weights[:, self.order]
        ones, total = w * self.y, w.sum(axis=1)
        p_group = np.add.reduceat(ones, self.groups, axis=1)
        n_group = np.add.reduceat(w - ones, self.groups, axis=1)
        positives, negatives = p_group.sum(axis=1), n_group.sum(axis=1)
        below = np.cumsum(n_group, axis=1) - n_group / 2  # half of the ties count as below
        found = np.cumsum(p_group[:, ::-1], axis=1)
        shown = found + np.cumsum(n_group[:, ::-1], axis=1)
        precision = np.divide(found, shown, out=np.zeros_like(found), where=shown > 0)
        a, b = self._recalibrations(w)
        off = np.add.reduceat(w * (self.y - self.p), self.bins, axis=1) / total[:, None]
        return {
            "auc": (p_group * below).sum(axis=1) / (positives * negatives),
            "average_precision": (p_group[:, ::-1] * precision).sum(axis=1) / positives,
            "log_loss": (w * self.loss).sum(axis=1) / total,
            "brier": (w * (self.y - self.p) ** 2).sum(axis=1) / total,
            "calibration_error": np.abs(off).sum(axis=1),
            _NOISE: np.abs(off - self.off).sum(axis=1),
            "observed_over_expected": positives / (w * self.p).sum(axis=1),
            "calibration_slope": a,
            "calibration_intercept": b,
        }

    def _recalibrations(self, w: Numbers) -> tuple[Numbers, Numbers]:
        """Slopes and intercepts of each resample: Newton's steps from the whole sample's solution."""
        a, b = np.full(len(w), self.start[0]), np.full(len(w), self.start[1])
        for _ in range(4):
            p = 1 / (1 + np.exp(-(a[:, None] * self.z + b[:, None])))
            da, db = _newton(w, self.z, self.y - p, p * (1 - p))
            a, b = a + da, b + db
        return a, b


def recalibration(label: Numbers, score: Numbers) -> tuple[float, float]:
    """(slope a, intercept b) that make sigmoid(a * log-odds + b) most likely. A perfect score has 1 and 0.

    Slope below 1: scores are too extreme; above 1: too timid (Cox 1958). TrainingError if all scores are
    equal, or separate the labels.
    """
    z, w = log_odds(score), np.ones((1, len(score)))
    middle, spread = z.mean(), z.std() or 1.0  # of scores that hardly differ the slope is far from 1
    z = (z - middle) / spread
    a, b = spread, middle
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(a * z + b, -_FAR, _FAR)))
        steps = _newton(w, z, (label - p)[None, :], (p * (1 - p))[None, :])
        da, db = (float(np.clip(step[0], -1, 1)) for step in steps)  # from afar, a whole step would overshoot
        a, b = a + da, b + db
        if not abs(a) + abs(b) < 1e6:
            break
        if abs(da) + abs(db) < 1e-10:
            return float(a / spread), float(b - a * middle / spread)
    raise TrainingError(
        "scores cannot be calibrated: they are all equal, or they separate the labels entirely. Look for a "
        "feature that gives the label away, or train on more customers"
    )


def _newton(w: Numbers, z: Numbers, residual: Numbers, curvature: Numbers) -> tuple[Numbers, Numbers]:
    """One Newton step for (a, b), by resample."""
    c = w * curvature
    ga, gb = (w * residual * z).sum(axis=1), (w * residual).sum(axis=1)
    haa, hab, hbb = (c * z * z).sum(axis=1), (c * z).sum(axis=1), c.sum(axis=1)
    determinant = haa * hbb - hab * hab
    with np.errstate(divide="ignore", invalid="ignore"):  # not finite: the caller says so
        return (hbb * ga - hab * gb) / determinant, (haa * gb - hab * ga) / determinant


def losses(label: Numbers, score: Numbers) -> Numbers:
    """Negative log-likelihood of each row [n], probabilities held within 1e-9 of 0 and 1."""
    inside = np.clip(score, _CLIP, 1 - _CLIP)
    each: Numbers = -(label * np.log(inside) + (1 - label) * np.log(1 - inside))
    return each


def log_odds(score: Numbers) -> Numbers:
    """Probability -> log-odds, held within 1e-9 of 0 and 1."""
    inside = np.clip(score, _CLIP, 1 - _CLIP)
    odds: Numbers = np.log(inside / (1 - inside))
    return odds


def reliability(label: Numbers, score: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Customers in ten equal parts by score: (mean score, share of ones, standard error), for the plot."""
    parts = np.array_split(np.argsort(score, kind="stable"), min(_BINS, len(score)))
    expected = np.array([score[part].mean() for part in parts])
    observed = np.array([label[part].mean() for part in parts])
    size = np.array([len(part) for part in parts])
    return expected, observed, np.sqrt(np.maximum(observed * (1 - observed), 1 / size) / size)


def curves(label: Numbers, scores: Mapping[str, Numbers]) -> dict[str, Any]:
    """What plots need: reliability of "model" by tenths, gain of each: share of the ones among the share of
    customers with the highest scores, at 0, 2, ... 100 %."""
    places = np.linspace(0, len(label), _GAIN).astype(int)
    gain = {}
    for name, score in scores.items():
        found = np.r_[0, np.cumsum(label[np.argsort(-score, kind="stable")])] / label.sum()
        gain[name] = [_short(share) for share in found[places]]
    tenths = [
        {"expected": _short(said), "observed": _short(came), "error": _short(error)}
        for said, came, error in zip(*reliability(label, scores["model"]), strict=True)
    ]
    return {"reliability": tenths, "gain": gain}


def _short(value: float) -> float:
    return round(float(value), DIGITS)


def verdict(
    name: str,
    metrics: Mapping[str, Figure],
    baselines: Mapping[str, Mapping[str, Figure]],
    words: Mapping[str, Words],
    origins: int = 0,
    off: Sequence[str] = (),
) -> Words:
    """The comparison as a person can act on it: what the model beats, and whether to believe its level.

    A baseline is beaten when the whole paired interval of the gain in log-loss lies above 0, as the gate has
    it; in AUC, where a baseline gives no probabilities. words: the baselines' names, in the order in which
    they are told. origins: over how many the gains are means; 0: of the test alone. off: the days of those
    at which the level was off.

    >>> auc, fine = ({"value": v, "low": v - 0.1, "high": v + 0.1} for v in (0.8, 1.02))
    >>> none = {"auc_gain": {"value": 0.0, "low": -0.01, "high": 0.01}}
    >>> metrics = {"auc": auc, "observed_over_expected": fine}
    >>> said = verdict("churn_28d", metrics, {"recency": none}, {"recency": Words("recency", "R")}).en
    >>> said.split(". ")[0]
    'churn_28d (AUC 0.800) does not beat recency (AUC +0.000 [-0.010, +0.010])'
    >>> said.split(". ")[1]
    'Its level holds: observed/expected 1.02 [0.92, 1.12].'
    """
    told: dict[bool, list[Words]] = {True: [], False: []}
    for baseline, here in words.items():
        if baseline not in baselines:
            continue
        gains = baselines[baseline]
        auc, loss = gains["auc_gain"], gains.get("log_loss_gain")
        shown = f"AUC {auc['value']:+.3f} [{auc['low']:+.3f}, {auc['high']:+.3f}]"
        if loss is not None:
            shown = f"log-loss {loss['value']:+.4f} [{loss['low']:+.4f}, {loss['high']:+.4f}], {shown}"
        told[(loss or auc)["low"] > 0].append(Words(f"{here.en} ({shown})", f"{here.zh}（{shown}）"))
    _, said = level(metrics["observed_over_expected"], origins, off)
    ranks = f"{metrics['auc']['value']:.3f}"
    en = [f"{'beats' if b else 'does not beat'} {', '.join(w.en for w in t)}" for b, t in told.items() if t]
    zh = [f"{'优于' if b else '未优于'}{'、'.join(w.zh for w in t)}" for b, t in told.items() if t]
    if origins > 1:
        en[-1] += f"; the gains are means over {origins} origins"
        zh[-1] += f"（提升为{origins}个时点的平均）"
    last = Words(", at the last origin alone", "，仅最后时点") if origins > 1 else Words("", "")
    return Words(
        f"{name} (AUC {ranks}{last.en}) {' and '.join(en)}. {said.en}",
        f"{name}（AUC {ranks}{last.zh}）{'，'.join(zh)}。{said.zh}",
    )


def level(ratio: Figure, origins: int, off: Sequence[str]) -> tuple[bool, Words]:
    """Whether the probabilities may be taken at their word at every origin, and one sentence that says it.

    ratio: observed/expected at the last. off: the days of those origins at which level or slope was off.

    >>> level({"value": 1.0, "low": 0.9, "high": 1.1}, 3, ["2024-01-01"])[1].en.split("; ")[0]
    'Its level or slope is off at 1 of 3 origins (2024-01-01)'
    """
    shown = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    if off and origins > 1:
        return False, Words(
            f"Its level or slope is off at {len(off)} of {origins} origins ({', '.join(off)}); "
            f"observed/expected at the last: {shown}.",
            f"{origins}个时点中有{len(off)}个的概率水平或斜率有偏差（{'、'.join(off)}）；"
            f"最后时点实际/预期 {shown}。",
        )
    if off:
        return False, Words(
            f"Its level or slope is off: observed/expected {shown}.",
            f"概率水平或斜率有偏差：实际/预期 {shown}。",
        )
    if not ratio["low"] <= 1 <= ratio["high"]:
        return False, Words(
            f"Its level is off: observed/expected {shown}.", f"概率水平有偏差：实际/预期 {shown}。"
        )
    if origins > 1:
        return True, Words(
            f"Its level holds at all {origins} origins; observed/expected at the last: {shown}.",
            f"{origins}个时点的概率水平均可信；最后时点实际/预期 {shown}。",
        )
    return True, Words(f"Its level holds: observed/expected {shown}.", f"概率水平可信：实际/预期 {shown}。")
