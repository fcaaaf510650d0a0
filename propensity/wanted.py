"""What a training takes on, and what of the shop's declarations it leaves aside, with why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.definitions import catalogue
from features.errors import LogError, NoBuild, NotEnoughData, SettingsError, TrainingError, UsageError
from features.log import Log
from features.moments import DAY, iso
from features.settings import Settings, clock
from features.shop import shop_of
from features.words import several

if TYPE_CHECKING:
    from training.targets import Target


Refused = list[UsageError | TrainingError]
FEW = 7 * DAY  # that a log may lack without a word: most are delivered once a day or a week


def wanted_of(
    settings: Settings, names: Sequence[str], refused: Refused | None = None
) -> dict[str, Target | None]:
    """What is to be trained, by name, in the order asked for; None: it is of no target.

    refused: takes up why one of several names cannot be, so that the others are; None: the first ends it.
    """
    from training.trainers import OF_NO_TARGET

    if not names:
        return {one.name: one for one in _targets(settings, ())}
    found: dict[str, Target | None] = {}
    for name in names:
        with unless_refused(refused):
            found[name] = None if name in OF_NO_TARGET else _targets(settings, [name])[0]
    return found


@contextmanager
def unless_refused(refused: Refused | None) -> Iterator[None]:
    """What speaks against one of several is taken up, if there is a list for it; else it ends them all, as
    what speaks against the shop's settings does anyhow."""
    try:
        yield
    except (UsageError, TrainingError) as error:
        if refused is None or isinstance(error, SettingsError):
            raise
        refused.append(error)


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
        raise TrainingError("; ".join(declared_wrongly(settings).values()))
    whys = {t.name: targets.lacking(t, told(t, log), build.features) for t in wanted}
    absent = {name: why for name, why in whys.items() if why}
    if absent and (names or len(absent) == len(wanted)):
        raise NotEnoughData("; ".join(f"{name} cannot be told: {why.en}" for name, why in absent.items()))
    return [target for target in wanted if target.name not in absent]


def declared_wrongly(settings: Settings) -> dict[str, str]:
    """What is wrong with each of the shop's targets for which nothing can be trained, by name."""
    from training import targets

    declared = targets.of_shop(shop_of(settings))
    found = dict(declared.wrong)
    with suppress(LogError):  # what needs the log says so
        log = Log.open(settings)
        for name, target in declared.items():
            if strange := targets.strange_categories([target], log):
                found[name] = "; ".join(strange)
    return found


def warned_of(wrong: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """What is said of targets declared wrongly before a training: of all that is asked for, each; of some by
    name, that there are others: what is wrong with one of those is its error."""
    others = [name for name in wrong if name not in names]
    if not names:
        return list(wrong.values())
    if not others:
        return []
    are = "other target is" if len(others) == 1 else "other targets are"
    return [f"{len(others)} {are} declared wrongly: {several(others)}. `propensity check` says how"]


def passed_over(settings: Settings) -> list[str]:
    """What the shop declares, and no training would take notice of; nothing without a log and a build.

    Attributes that the log has of nobody, features that the build lacks, days that the log has not.
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
            f"{several(new)}. `propensity features {how}` computes them"
        )
    put = settings.as_of
    if put is not None and log.complete_until + FEW < put <= clock():
        found.append(
            f"the log is complete until {iso(log.complete_until)}, {(put - log.complete_until).days} days "
            f"before {iso(put)}: models are trained as of its end. Ingest what came since"
        )
    return found
