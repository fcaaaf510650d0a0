"""What a segmentation says of itself: its card, and what it cannot tell."""

from datetime import datetime

import numpy as np

from features.compute.builds import Build
from features.definitions import catalogue
from features.log import Log
from features.moments import DAY
from features.shop import Shop
from serving import segmentation as served
from serving.cards import FeatureCard, ModelCard, TargetCard, TestedOn, Text, TrainedOn
from serving.segment_tables import TABLES
from serving.segmentation import SegmentationFile
from training import kinds_page
from training.evaluate import DIGITS
from training.segmentation import YEAR
from training.transitions import FEWEST, STEP


def card_of(
    shop: Shop, log: Log, build: Build, file: SegmentationFile, moment: datetime, version: str, seed: int
) -> ModelCard:
    """The card before the model was judged. base_rate: of those who had ordered by the moment."""
    features = catalogue(shop.declared("FEATURES"))
    silent = build.read(moment, ["days_since_order"])["days_since_order"].to_numpy()
    rows, base_rate = len(silent), round(float((~np.isnan(silent)).mean()), DIGITS)
    return ModelCard(
        name=served.KIND,
        version=version,
        kind=served.KIND,
        currency=shop.currency,
        target=TargetCard(
            name=served.KIND,
            horizon_days=STEP.days,
            population=kinds_page.KNOWN.en,
            label="order",
            words=Text("RFM tier, value quadrant, life cycle stage", "RFM分层、价值象限、生命周期阶段"),
            higher_is="good",
        ),
        features=tuple(
            FeatureCard(n, build.features[n], features[n].unit, *features[n].words)
            for n in served.features_of(file.tables)
        ),
        trained_on=TrainedOn(
            build=build.id,
            log=log.fingerprint,
            start=log.starts_at,
            end=moment,
            rows=rows,
            base_rate=base_rate,
            seed=seed,
        ),
        tested_on=TestedOn(moment=moment, rows=rows, base_rate=base_rate),
        metrics={},
        baselines={},
        notes=tuple(_notes(file, (moment - log.starts_at) // DAY)),
    )


def _notes(file: SegmentationFile, days: int) -> list[Text]:
    """What the model cannot tell, and why."""
    notes = [
        Text(
            "Brackets: of shares Wilson's 95 % intervals, of how many moved otherwise bootstrap ones. Of a "
            f"stage with fewer than {FEWEST} customers nothing is told.",
            f"方括号：占比为Wilson的95%区间，去向不同者为自助法区间。不足{FEWEST}名客户的阶段不作说明。",
        )
    ]
    out = [
        entry.name for n, t in TABLES.items() for entry in t.entries if entry not in file.tables[n].entries
    ]
    if out:
        notes.append(
            Text(
                f"Rules left out, because the log lacks what they read: {', '.join(out)}.",
                f"因日志缺少所需数据而未使用的规则：{'、'.join(out)}。",
            )
        )
    after = [*map(str, range(1, len(file.gone.days) + 1)), f"{len(file.gone.days) + 1} or more"]
    never = [n for n, limit in zip(after, (*file.gone.days, file.gone.gaps), strict=True) if limit is None]
    if never:
        whom = ", ".join(never)
        notes.append(
            Text(
                f"Nobody with {whom} days with an order is in the stage exit: at no length of silence that "
                "the log shows often enough did fewer than one in five come back within "
                f"{file.horizon_days} days.",
                f"下单日数为{whom.replace(', ', '、').replace(' or more', '及以上')}的客户不会进入流失阶段："
                f"在日志充分可见的任何沉默长度上，{file.horizon_days}天内返回的比例都不低于五分之一。",
            )
        )
    if days < YEAR:
        notes.append(
            Text(
                f"The log held only {days} days: frequency and money of 365 days were still growing, so that "
                "later more customers stand in the upper fifths. Train again after a year.",
                f"日志仅有{days}天：365天的频率与金额尚在增长，之后会有更多客户进入较高分层。"
                "满一年后请重新训练。",
            )
        )
    if file.potential is None:
        notes.append(
            Text(
                "Nobody has a value quadrant, as there is no value model: run `propensity train value`, then "
                "train this again.",
                "没有价值模型，因此没有价值象限：请先运行 `propensity train value`，再重新训练。",
            )
        )
    return notes
