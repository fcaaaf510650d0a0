"""`propensity today`: gathers the morning page, shows its summary, and writes it."""

from __future__ import annotations

from pathlib import Path

from features.errors import UsageError
from features.files import write_atomically
from features.settings import Settings
from features.shop import shop_of
from monitoring.today import Today, gather
from monitoring.today.lights import WORDS
from monitoring.today.page import CSVS, PAGE, files, sheet, written
from propensity.held_out import matured
from propensity.sheets import show, told
from propensity.tables import say


def tell(settings: Settings, language: str, out: Path, dry_run: bool) -> None:
    """Show the summary; and unless it is a dry run, write page and CSVs into `out`, replacing older ones."""
    if out.is_file():
        raise UsageError(f"{out} is a file: --out names a folder")
    found = gather(settings, lambda: matured(settings, remember=not dry_run))
    if not dry_run:
        _write(found, shop_of(settings).zone.key, language, out)
    say(told(found.verdict, language))
    for light in (found.lights.data, found.lights.models):
        title, state, why = (told(of, language) for of in (light.title, WORDS[light.colour], light.words))
        say(f"  {title} [{state}] {why}")
    for number, one in enumerate(found.todo, start=1):
        say(f"  {number}. {told(one, language)}")
    show(sheet(found), language)
    say("dry run: nothing was written" if dry_run else str(out / PAGE))


def _write(found: Today, zone: str, language: str, out: Path) -> None:
    """The CSVs, then the page; for its owner alone, as it names customers."""
    beside = files(found, language)
    for name in CSVS:
        if f"{name}.csv" not in beside:  # of another day: it would speak of today
            (out / f"{name}.csv").unlink(missing_ok=True)
    for name, content in beside.items():
        write_atomically(out / name, content, mode=0o600)
    write_atomically(out / PAGE, written(found, zone, language).encode(), mode=0o600)
