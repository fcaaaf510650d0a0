"""Going back to a release, and one side judged against another: what the commands do, and how it is shown."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.compute.builds import Build
from features.errors import UsageError
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from propensity.tables import console, figure, say, table

PRICES = "prices"

if TYPE_CHECKING:
    from serving.cards import ModelCard
    from serving.models import Model
    from training.comparison import Comparison, Contest


def roll_back(settings: Settings, target: str, dry_run: bool) -> str:
    """Release the champion before the present one; the present one becomes the way back."""
    from training import registry

    if target == "policy":
        from propensity.stated import BINDS

        raise UsageError(f"policy cannot be rolled back: {BINDS}")
    named = registry.aliases(settings, target)
    if not named:
        raise UsageError(f"no version of {target} was ever released: see `propensity models list`")
    now, version = named.get(registry.CHAMPION), named.get(registry.ROLLBACK)
    if target == PRICES and now is not None:
        from training.stated import none_in_force

        if none_in_force(settings):
            raise UsageError(
                f"no {PRICES} are in force, and there is nothing further back; `propensity models list` "
                f"shows the versions, `propensity promote {PRICES} --version N` puts one in force"
            )
        version = _prices_before(settings, version)
        if version is None:
            return _withdraw(settings, now, dry_run)
    if version is None:
        raise UsageError(f"{target} has no version before the present one to go back to")
    if dry_run:
        return f"would go back from {target} version {now} to {version}"
    release = registry.promote(settings, target, version)
    then = (
        f"again, it goes on to what was before; `propensity promote {PRICES} --version {now}` undoes it"
        if target == PRICES
        else "`propensity rollback` again undoes it"
    )
    return f"{release.name} is back at version {release.version}; {then}"


def _prices_before(settings: Settings, champion_before: str | None) -> str | None:
    """The prices that those in force came in place of, and not those that were taken back since; None: none.

    champion_before: for a home that has no record of them.
    """
    from serving.releases import history

    way, known = list[str](), [one.version for one in history(settings, PRICES)]
    for version in known:  # whatever came after a version is undone by going back to it
        way = [*way[: way.index(version)], version] if version in way else [*way, version]
    if champion_before is not None and champion_before not in known:
        return champion_before
    return way[-2] if len(way) > 1 else None


def _withdraw(settings: Settings, first: str, dry_run: bool) -> str:
    """Before the first prices there were none."""
    from training.stated import withdraw_prices

    if dry_run:
        return f"would withdraw {PRICES} version {first}: there were none before, and nothing is charged then"
    release = withdraw_prices(settings)
    return (
        f"{PRICES} version {first} is withdrawn: there were none before, and version {release.version} "
        f"charges nothing; `propensity promote {PRICES} --version {first}` undoes it"
    )


def _is_file(side: str) -> bool:
    return Path(side).suffix in (".parquet", ".csv") or Path(side).exists()


def named_sides(settings: Settings, *sides: str) -> tuple[str, ...]:
    """The sides as they were asked for, of a model with the version that is meant: NAME is NAME:VERSION.

    UsageError for one version on both sides, which would be compared with itself.
    """
    from training import registered

    found = []
    for side in sides:
        name, _, version = side.partition(":")
        meant = side if _is_file(side) else f"{name}:{registered.resolve(settings, name, version or None)}"
        if meant in found:
            raise UsageError(
                f"both sides are {meant}: name another version, such as {name}:champion (NAME alone is the "
                "challenger, else the champion; `propensity models list` shows them all)"
            )
        found.append(meant)
    return tuple(found)


def compare_sides(
    settings: Settings, first: str, second: str, target: str | None, at: datetime | None
) -> Comparison:
    """Two models (NAME[:VERSION or alias]) or score files, at a moment: by default the last that can be."""
    from training import registered, samples
    from training.compare import compare
    from training.targets import of_shop

    def side(text: str) -> Model | Path:
        if _is_file(text):
            return Path(text)
        name, _, version = text.partition(":")
        return registered.model_of(settings, name, version or None)

    sides = side(first), side(second)
    named = {s.card.target.name for s in sides if not isinstance(s, Path)} | ({target} if target else set())
    if len(named) != 1:
        what = f"speak of {' and '.join(sorted(named))}" if named else "are files"
        raise UsageError(f"both sides {what}: name one target (--target NAME)")
    wanted = of_shop(shop_of(settings)).named(named.pop())
    log, build = Log.open(settings), Build.open(settings)
    moment = at or samples.timeline(wanted, build, log.latest(settings)).test
    return compare(settings, log, build, wanted, sides, moment)


def same_model(settings: Settings, *sides: str) -> bool:
    """Whether both sides are versions of the very same model, by their files."""
    from serving.folders import alike
    from training.registered import folder_of, resolve

    if any(_is_file(side) for side in sides):
        return False
    named = [side.partition(":") for side in sides]
    one, other = (folder_of(settings, name, resolve(settings, name, of or None)) for name, _, of in named)
    return alike(one, other)


def show_comparison(compared: Comparison, first: str, second: str, same: bool = False) -> None:
    """Both sides, what the first has more, and where. same: they are one model."""
    from training.comparison import left_out

    out = console()
    title = (
        f"{compared.target} as of {compared.moment:%Y-%m-%d}: {compared.rows:,} customers, "
        f"{compared.base_rate:.1%} of them 1"
    )
    numbers = ("AUC", "log-loss", "observed/expected", "slope")
    shown = table(title, "", *numbers, right=numbers)
    told, unsaid = ("observed_over_expected", "calibration_slope"), list[str]()
    for name, figures, level in zip((first, second), compared.figures, compared.levels, strict=True):
        shown.add_row(
            name,
            figure(figures["auc"]),
            figure(figures["log_loss"], digits=4),
            *(f"{level[of]:.2f}" if of in level else "" for of in told),
        )
        if told[1] not in level:
            unsaid.append(name)
    gains = (compared.gains["auc_gain"], compared.gains["log_loss_gain"])
    shown.add_row("gain of the first", *(figure(gain, digits=4, sign="+") for gain in gains), "", "")
    out.print(shown)
    say(
        "Brackets: 95 % intervals by each customer's influence (of AUC DeLong's), of the gains paired by "
        "customer; no bootstrap."
    )
    if compared.segments:
        by = table("AUC gain of the first, by group", "feature", "values", "customers", "gain")
        for one in compared.segments:
            by.add_row(one.feature, one.values.en, f"{one.rows:,}", figure(one.auc_gain, sign="+"))
        out.print(by)
    if (lacking := left_out(compared.left_out)) is not None:
        say(lacking.en)
    for name in unsaid:
        say(f"{name} has no slope: its scores are all equal, or separate the two outcomes entirely.")
    if same:
        say(f"{first} and {second} are the same model (same files): every score is the same.")
        return
    words = {
        name: "better" if gain["low"] > 0 else "worse" if gain["high"] < 0 else "not different beyond chance"
        for name, gain in zip(("ranking", "log-loss"), gains, strict=True)
    }
    say(f"{first} against {second}: " + ", ".join(f"{name} {word}" for name, word in words.items()) + ".")


def show_means(card: ModelCard, against: Contest | None) -> None:
    """The model, each baseline and the version in force over all origins: what the gate judges by."""
    from training.figures import in_order

    origins = len(card.backtest["origins"])
    numbers = ("AUC", "gain in AUC", "log-loss", "gain in log-loss")
    shown = table(
        f"{card.name} version {card.version}: means over {origins} origin{'s' * (origins > 1)}",
        "",
        *numbers,
        right=numbers,
    )
    means, gains = card.backtest["metrics"], card.backtest["gains"]
    rows = [(name.replace("_", " "), means[name], gains.get(name)) for name in in_order(means)]
    if against is not None:
        rows.append(
            (f"version {against.version}, in force", against.compared.figures[1], against.compared.gains)
        )
    for name, own, gain in rows:
        auc, loss = (figure(gain[f"{of}_gain"], 4, "+") if gain else "" for of in ("auc", "log_loss"))
        shown.add_row(
            name, figure(own["auc"]), auc, figure(own["log_loss"]), loss, style="" if gain else "bold"
        )
    console().print(shown)
    say(
        "Brackets here: 95 % intervals by each row's influence (of AUC DeLong's), summed by customer, since "
        "customers come back at every origin; no bootstrap."
    )
    if "bgnbd" not in means:
        say(
            "BG/NBD is no baseline here: it takes a target of an order or none, customers who have all "
            "ordered before each origin, and enough of them more than once."
        )
    if against is not None:
        from training.judged import contested

        say(contested(against.compared).en)


def show_origins(card: ModelCard) -> None:
    """The backtest, an origin a row; a level that is off is marked."""
    from training import pooled

    numbers = ("customers", "1", "AUC", "log-loss", "observed/expected", "z", "slope")
    columns = ("judged as of", "model", "calibration", *numbers)
    shown = table(f"{card.name}: the same recipe at earlier times", *columns, right=numbers)
    for one in card.backtest["origins"]:
        shown.add_row(
            one["moment"][:10],
            one["model"],
            one["calibration"].replace("_", " "),
            f"{one['rows']:,}",
            f"{one['base_rate']:.1%}",
            f"{one['auc']:.3f}",
            f"{one['log_loss']:.3f}",
            f"{one['observed_over_expected']:.2f}",
            f"{one['z']:+.1f}",
            f"{one['calibration_slope']:.2f}" + (" off" if pooled.off(one) else ""),
        )
    console().print(shown)
