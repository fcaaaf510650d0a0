"""May a value model be released? It must not lose to BG/NBD, nor to the value model in force.

Both by the paired Poisson deviance of the orders that came. To replace what is in force it must also be
better in something: in deviance beyond the paired interval, or in its total where the champion's is off.
Whether its own total holds is told, with every objection and by its verdict.
"""

from datetime import datetime
from pathlib import Path

from features.errors import NotEnoughData, TrainingError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving.cards import ModelCard
from serving.releases import Release
from serving.summaries import Orders
from serving.value import ValueModel
from training.evaluate import Figure
from training.past import Past
from training.value_figures import Paired, paired

MARGIN = 0.02  # of what is lost to, that the lower bound of the gain in deviance may lie below it
LEAST_DAYS = 28  # of what came, to compare by


def objections(settings: Settings, release: Release, folder: Path, champion: Release | None) -> list[Words]:
    """Why it may not be released; empty: it may."""
    found = against_bgnbd(release.model.card)
    if champion is not None:
        try:
            found += against_champion(compared(settings, release, champion))
        except TrainingError as error:
            found.append(incomparable(error))
    return found


def against_bgnbd(card: ModelCard) -> list[Words]:
    """Whether it may lose to BG/NBD by more than the margin, as it was judged."""
    alone = card.baselines["bgnbd"]
    gain, total = alone["poisson_deviance_gain"], _total(card.metrics["orders_ratio"])
    if not _may_lose(gain, alone["poisson_deviance"]["value"]):
        return []
    return [
        Words(
            f"it may do worse than BG/NBD: Poisson deviance gain {_shown(gain)}; its total: {total.en}",
            f"可能不如BG/NBD：泊松偏差改善 {_shown(gain)}；总量：{total.zh}",
        )
    ]


def against_champion(pair: Paired) -> list[Words]:
    """What the comparison with the champion (the second) says against the first."""
    first, second = pair.totals
    totals = Words(
        f"totals: {_total(first).en}, the champion's {_total(second).en}",
        f"总量：{_total(first).zh}，现行冠军 {_total(second).zh}",
    )
    if _may_lose(pair.gain, pair.deviances[1]):
        return [
            Words(
                f"it may do worse than the champion: Poisson deviance gain {_shown(pair.gain)}; {totals.en}",
                f"可能不如现行冠军：泊松偏差改善 {_shown(pair.gain)}；{totals.zh}",
            )
        ]
    if pair.gain["low"] > 0 or (_off(second) and not _off(first)):
        return []
    return [
        Words(
            "it is not better than the champion beyond chance, nor does it mend its total: Poisson deviance "
            f"gain {_shown(pair.gain)}; {totals.en}",
            f"与现行冠军相比无超出偶然的改善，也未修正其总量：泊松偏差改善 {_shown(pair.gain)}；{totals.zh}",
        )
    ]


def compared(settings: Settings, release: Release, champion: Release) -> Paired:
    """Both on what came after the later of the moments that they were fitted as of.

    NotEnoughData if too little of that is known yet.
    """
    moment = max(one.model.card.tested_on.moment for one in (release, champion))
    log = Log.open(settings)
    return paired(_value(release), _value(champion), _past(settings, log, moment, _value(release)))


def incomparable(error: TrainingError) -> Words:
    """An objection: nobody knows whether it is better."""
    return Words(f"it cannot be compared with the champion: {error}", f"无法与现行冠军比较：{error}")


def _past(settings: Settings, log: Log, moment: datetime, model: ValueModel) -> Past:
    days = min(model.file.horizon_days, (log.complete_until - moment) // DAY)
    if days < LEAST_DAYS:
        raise NotEnoughData(
            f"the log holds {days} days after {moment:%Y-%m-%d}, by which both were fitted: it takes "
            f"{LEAST_DAYS} to judge them"
        )
    return Past.of(Orders.of(log, shop_of(settings).zone), moment, days, log.complete_until)


def _value(release: Release) -> ValueModel:
    assert isinstance(release.model, ValueModel)
    return release.model


def _may_lose(gain: Figure, deviance: float) -> bool:
    return not gain["low"] > -MARGIN * deviance


def _off(total: Figure) -> bool:
    return not total["low"] <= 1 <= total["high"]


def _total(ratio: Figure) -> Words:
    shown = f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return Words(f"orders that came / expected {shown}", f"实际订单/预期 {shown}")


def _shown(gain: Figure) -> str:
    return f"{gain['value']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]"
