"""Logged decisions that have no outcome yet: left out, they bias what is found if arms lack it unlike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import MonteCarloMethod, chi2_contingency

from features.words import Words
from training.uplift_balance import LEVEL, differ, said

_DRAWS = 9_999


@dataclass(frozen=True)
class Immature:
    """All decisions of a log. arm: what was done; propensity: its chance; none: whether it has no outcome;
    customer: whose it is; each [n]."""

    arm: NDArray[np.str_]
    propensity: NDArray[np.float64]
    none: NDArray[np.bool_]
    customer: NDArray[np.int64]

    @property
    def total(self) -> int:
        """How many have no outcome."""
        return int(self.none.sum())

    def by_arm(self) -> Words:
        """Of each arm, how many."""
        of = [(arm, self.none[self.arm == arm]) for arm in np.unique(self.arm)]
        return Words(
            ", ".join(f"{int(own.sum()):,} of {len(own):,} ({own.mean():.1%}) of {arm}" for arm, own in of),
            "、".join(f"{arm}{len(own):,}次中{int(own.sum()):,}次（{own.mean():.1%}）" for arm, own in of),
        )

    def biased(self) -> Words | None:
        """Why the others show nothing, where arms lack outcomes unlike by more than chance."""
        if (p := self._alike()) >= LEVEL:
            return None
        told = self.by_arm()
        return Words(
            f"Outcomes are missing by arm more than chance explains ({said(p)}): {told.en}. To "
            "leave such decisions out biases what is found: if nothing recorded means that nothing came, "
            "write 0; else ask whoever keeps the data what came of them, or leave out all decisions of the "
            "days not yet over",
            f"各方案缺失结果的差异超出随机误差（{said(p)}）：{told.zh}。直接剔除会使结果有偏：若无记录即表示没有结果，"
            "请填0；否则请向数据负责人确认，或剔除尚未到期日期的全部决策",
        )

    def _alike(self) -> float:
        """The p-value of decisions without an outcome being of all arms alike: by their chances, so that it
        does not count to whom an arm was given more often, and by how rarely arms of such sizes have so many.
        """
        arms, place = np.unique(self.arm, return_inverse=True)
        if len(arms) < 2 or self.none.all() or not self.none.any():
            return 1.0
        counts = np.array([np.bincount(self.none[place == k], minlength=2) for k in range(len(arms))])
        drawn = MonteCarloMethod(n_resamples=_DRAWS, rng=np.random.default_rng(0))
        p = float(chi2_contingency(counts, correction=False, method=drawn).pvalue)
        if p >= LEVEL:
            return p
        # Of each arm, how often it lacks an outcome if all had had it, less how often all do.
        flags = np.eye(len(arms))[place] / np.where(self.propensity > 0, self.propensity, 1.0)[:, None]
        shares = (flags * self.none[:, None]).sum(axis=0) / flags.sum(axis=0)
        # A share's influence: all arms' must be one, so each is compared with the first.
        moved = flags * (self.none[:, None] - shares) / flags.mean(axis=0)
        gaps = (moved[:, 1:] - moved[:, :1]) + (shares[1:] - shares[:1])
        return max(p, differ(gaps, self.customer))
