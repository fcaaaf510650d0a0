"""May a version be released? It must beat what a sceptic would do, and not harm what is in force.

Against the champion, over all origins of the backtest (contest.py): no worse by more than a margin, and
better in something: in loss or ranking beyond the paired interval, or in its level where the champion's is
off. Whoever knows better says why (`--force`), and that is recorded.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from features.words import Words
from serving.cards import ModelCard
from serving.models import Model
from training import baselines, describe, pooled
from training.comparison import Comparison
from training.samples import LEAST_ORIGINS

# What a release must beat; the untuned LightGBM is a tool, no sceptic.
SCEPTICS = ("recency", "logistic_rfm", "bgnbd", "own_history", "declared")
MARGIN = 0.005  # of AUC, that a challenger's paired lower bound may lie below the champion's
SEGMENT = 0.02  # of AUC, that no segment may lose beyond its interval
_OF_GOODS = Words(
    ". Is the category's own history among its features? `goods` in FEATURES of shop.py declares it, and "
    "`propensity features backfill` computes it",
    "。该品类自身的历史是否在特征中？在shop.py的FEATURES中用`goods`声明，"
    "再运行`propensity features backfill`",
)
BYTES, SECONDS = 50_000_000, 0.01  # of a release; of the processor, to score one customer
TIMED = 15


def objections(model: Model, folder: Path, champion: Comparison | None) -> list[Words]:
    """Why it may not be released; empty: it may. champion: the model against what is in force, if any."""
    found = against_sceptics(model.card)
    if _few(model.card) and not model.card.backtest.get("scarce"):
        at = _moments(model.card)
        found.append(
            Words(
                f"it was judged {at.en}, which a season can flatter, and {LEAST_ORIGINS} are needed: "
                "train without --origins",
                f"仅{at.zh}评估，可能受季节影响而偏乐观，至少需{LEAST_ORIGINS}个：请不带 --origins 重新训练",
            )
        )
    if champion is not None:
        found += against_champion(champion)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > BYTES:
        found.append(Words(f"it takes {size / 1e6:.0f} MB", f"体积达 {size / 1e6:.0f} MB"))
    row = np.zeros((1, len(model.card.features)), np.float32)
    took = cpu_seconds(lambda: model.score(row))
    if took > SECONDS:
        found.append(
            Words(f"scoring one customer takes {took * 1e3:.0f} ms", f"单客户评分耗时 {took * 1e3:.0f} 毫秒")
        )
    return found


def cautions(card: ModelCard) -> list[Words]:
    """What does not keep a classifier from being released, and whoever releases it has to know."""
    if "observed_over_expected" not in card.metrics:
        return []
    found = []
    few = card.backtest.get("scarce") if _few(card) else describe.separate(card) < LEAST_ORIGINS
    if few:
        at = _moments(card)
        found.append(
            Words(
                f"It was judged {at.en}, which a season can flatter: the log gives this target no more. "
                "Watch it (`propensity monitor run`), and train it again when the log is longer, or now a "
                "target with a shorter horizon.",
                f"仅{at.zh}评估，可能受季节影响而偏乐观：日志只能为该目标提供这些时点。请持续监控"
                "（`propensity monitor run`），日志更长后重新训练，或现在改为训练预测期更短的目标。",
            )
        )
    holds, level = describe.level_of(card)
    groups = describe.groups_off(card)
    return [*found, *([] if holds else [level]), *([groups] if groups else [])]


def _few(card: ModelCard) -> bool:
    return len(card.backtest.get("origins", ())) < LEAST_ORIGINS


def _moments(card: ModelCard) -> Words:
    origins, worth = len(card.backtest.get("origins", ())), describe.separate(card)
    en, zh = f"at {origins} moment{'s' * (origins != 1)} only", f"在{origins}个时点"
    if worth < origins:
        en += f", worth about {worth:.1f} separate ones since their windows overlap"
        zh += f"（窗口相互重叠，约相当于{worth:.1f}个独立时点）"
    return Words(en, zh)


def against_sceptics(card: ModelCard) -> list[Words]:
    """The baselines that it does not beat: whose paired interval of the log-loss does not lie above 0.

    One that cannot be fitted, because the log lacks its features, is no baseline; without any, nothing is
    known of the model.
    """
    gains: Mapping[str, Any] = {**card.baselines, **card.backtest.get("gains", {})}
    known = {name: gains.get(name, {}).get("log_loss_gain") for name in SCEPTICS}
    judged = {name: gain for name, gain in known.items() if gain is not None}
    if not judged:
        return [Words("it was judged against no baseline of a sceptic", "没有与任何怀疑者会选的基线比较过")]
    found = []
    for name, gain in judged.items():
        words = baselines.WORDS[name]
        if not gain["low"] > 0:
            shown = f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
            more = (
                _OF_GOODS
                if name == "own_history" and card.target.label == "category_order"
                else Words("", "")
            )
            found.append(
                Words(
                    f"it does not beat {words.en} by log-loss, beyond chance: gain {shown}{more.en}",
                    f"按对数损失未超出偶然地优于{words.zh}：改善 {shown}{more.zh}",
                )
            )
    return found


def against_champion(compared: Comparison) -> list[Words]:
    """What the comparison with the champion (the second side) says against the first."""
    auc, loss = compared.gains["auc_gain"], compared.gains["log_loss_gain"]
    shown = f"AUC {auc['value']:+.4f} [{auc['low']:+.4f}, {auc['high']:+.4f}]"
    over = Words(f" (over {compared.origins} origins)", f"（{compared.origins}个时点）")
    if not auc["low"] > -MARGIN:
        return [
            Words(
                f"it may rank worse than the champion by more than {MARGIN}: {shown}{over.en}",
                f"排序能力可能比现行冠军差超过 {MARGIN}：{shown}{over.zh}",
            )
        ]
    found = []
    repaired = pooled.off(compared.levels[1]) and not pooled.off(compared.levels[0])
    if not (loss["low"] > 0 or auc["low"] > 0 or repaired):
        shown += f", log-loss {loss['value']:+.4f} [{loss['low']:+.4f}, {loss['high']:+.4f}]"
        found.append(
            Words(
                "it is not better than the champion beyond chance, nor does it mend its level: "
                f"{shown}{over.en}",
                f"与现行冠军相比没有超出偶然的改善，也未修正其概率水平：{shown}{over.zh}",
            )
        )
    for segment in compared.segments:
        gain = segment.auc_gain
        if gain["value"] < -SEGMENT and gain["high"] < 0:
            feature, where = segment.feature, segment.values
            found.append(
                Words(
                    f"it ranks worse where {feature} is {where.en}: AUC {gain['value']:+.3f}{over.en}",
                    f"在 {feature} 为{where.zh}的客户中排序变差：AUC {gain['value']:+.3f}{over.zh}",
                )
            )
    return found


def cpu_seconds(work: Callable[[], object]) -> float:
    """The processor's time that some work takes in this thread: the least of several. How busy the machine is
    while it is asked lengthens a time by the clock, and most of the runs, and must not decide a release."""
    taken = []
    for _ in range(TIMED):
        started = time.thread_time()
        work()
        taken.append(time.thread_time() - started)
    return min(taken)
