"""What a training takes on, and what of the shop's declarations it leaves aside, with why."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import LogError, NoBuild, NotEnoughData, TrainingError, UsageError
from features.log import Log
from features.settings import Settings
from features.shop import shop_of

if TYPE_CHECKING:
    from training.targets import Target


def wanted_of(settings: Settings, names: Sequence[str]) -> dict[str, Target | None]:
    """What is to be trained, by name, in the order asked for; None: it is of no target."""
    from training.trainers import OF_NO_TARGET

    of_targets = [name for name in names if name not in OF_NO_TARGET]
    found = {one.name: one for one in _targets(settings, of_targets)} if of_targets or not names else {}
    return {name: found.get(name) for name in names or found}


def _targets(settings: Settings, names: Sequence[str]) -> list[Target]:
    """The declared targets of those names, or those that are trained by default and that the log holds.

    UsageError names what is not declared, TrainingError what is asked for and declared wrongly, NotEnoughData
    what is asked for and absent.
    """
    from training import targets
    from training.happened import told
    from training.trainers import OF_NO_TARGET

    shop = shop_of(settings)
    wanted = targets.chosen(targets.of_shop(shop), names, shop.targets, OF_NO_TARGET)
    log, build = Log.open(settings), Build.open(settings)
    strange = {t.name: wrong for t in wanted if (wrong := targets.strange_categories([t], log))}
    if strange and names:
        said = "; ".join(one for wrong in strange.values() for one in wrong)
        raise UsageError(f"{said}: correct it in the shop's shop.py")
    wanted = [target for target in wanted if target.name not in strange]
    if not wanted:  # of all that the shop asks for
        raise TrainingError("; ".join(declared_wrongly(settings)))
    whys = {t.name: targets.lacking(t, told(t, log), build.features) for t in wanted}
    absent = {name: why for name, why in whys.items() if why}
    if absent and (names or len(absent) == len(wanted)):
        raise NotEnoughData("; ".join(f"{name} cannot be told: {why.en}" for name, why in absent.items()))
    return [target for target in wanted if target.name not in absent]


def declared_wrongly(settings: Settings) -> list[str]:
    """What is wrong with each of the shop's targets for which nothing can be trained."""
    from training import targets

    declared = targets.of_shop(shop_of(settings))
    found = list(declared.wrong.values())
    with suppress(LogError):  # what needs the log says so
        found += targets.strange_categories(declared.values(), Log.open(settings))
    return found


def passed_over(settings: Settings) -> list[str]:
    """What the shop declares, and no training would take notice of; nothing without a log and a build.

    Attributes that the log has of nobody, features that the build lacks.
    """
    from features.compute import engine
    from training import segments

    try:
        log, build = Log.open(settings), Build.open(settings)
    except (LogError, NoBuild):  # what needs them says so
        return []
    shop = shop_of(settings)
    found = segments.strange_attributes(log, shop)
    known = engine.available(log, catalogue(shop.declared("FEATURES")))
    if new := [name for name in known if name not in build.features]:
        how = "backfill" if build.log == log.fingerprint else "build"  # of a log that has grown, all anew
        found.append(
            f"build {build.id} lacks features that are declared, and no model learns from them: "
            f"{', '.join(new)}. `propensity features {how}` computes them"
        )
    return found
