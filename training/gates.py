"""What stands before a release, by the kind of model: its own gate, with the champion as it would do today.

To add a kind's, add it to GATES.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from features.errors import FeatureMismatch, TrainingError
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from serving import effects, folders, kinds, segmentation, value
from serving.cards import Text
from serving.releases import Release
from training import contest, gate, registered, transitions, value_gate
from training.targets import of_shop

Gate = Callable[[Settings, Release, Path, Release | None], list[Words]]


def objections(settings: Settings, release: Release, folder: Path, champion: Release | None) -> list[Words]:
    """Why a model of a folder may not be released; empty: it may. champion: what is in force, if any.

    What scores nobody is the operator's own word: there is nothing to judge it by. The very model that is in
    force under another number is named as that, not judged.
    """
    if release.name in kinds.STATED:
        return []
    number = None if champion is None else champion.version
    if number not in (None, release.version) and folders.alike(
        folder, registered.folder_of(settings, release.name, number)
    ):
        return [
            Words(
                f"it is the same model as version {number}, the champion (same files): there is nothing to "
                "gain",
                f"它与现行冠军版本{number}是同一个模型（文件相同），发布不会带来任何变化",
            )
        ]
    return GATES.get(release.model.card.kind, of_target)(settings, release, folder, champion)


def of_target(settings: Settings, release: Release, folder: Path, champion: Release | None) -> list[Words]:
    """Of a classifier. TrainingError if its target is declared wrongly today, and it was to be compared."""
    card, compared, against = release.model.card, None, list[Words]()
    declared = of_shop(shop_of(settings))
    if champion is not None and card.target.name in {*declared, *declared.wrong}:
        declared.named(card.target.name)  # declared wrongly, it cannot be compared, nor released unseen
        try:
            compared = contest.compared(settings, folder, champion)
        except FeatureMismatch:
            pass  # the champion answers nobody any more (or the version does not, which `promote` says)
        except TrainingError as error:  # one of them has learnt what it would be judged by
            against = [value_gate.incomparable(error)]
    return against + gate.objections(release.classifier, folder, compared)


def of_segmentation(
    settings: Settings, release: Release, folder: Path, champion: Release | None
) -> list[Words]:
    """Of a segmentation: stages that promise the contrary of what came. It replaces whatever is in force."""
    return transitions.objections(release.model.card.metrics)


def of_effects(settings: Settings, release: Release, folder: Path, champion: Release | None) -> list[Words]:
    """Of a model of effects: guesses are not released. What was not proven gives everyone the best arm."""
    model = release.model
    assert isinstance(model, effects.EffectsModel)
    if model.file.evidence != "prior":
        return []
    why = model.card.notes[0] if model.card.notes else Text("", "")
    return [Words(f"its evidence is prior, a guess. {why.en}", f"证据等级为先验，仅为猜测。{why.zh}")]


GATES: Mapping[str, Gate] = {
    value.KIND: value_gate.objections,
    segmentation.KIND: of_segmentation,
    effects.KIND: of_effects,
}
