"""What `propensity tags` and `propensity portraits` do and show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
from rich.text import Text

from features import tagging
from features.compute.builds import Build
from features.errors import NoBuild, UsageError
from features.files import write_atomically
from features.moments import iso
from features.settings import Settings
from features.tags import Tag
from features.words import Words
from propensity.tables import console, say, table


def list_tags(settings: Settings, language: str) -> None:
    """Every declared tag and its rule."""
    declared = tagging.declared(settings)
    shown = table(f"{len(declared)} tags", "name", "tag", "meaning", "rule")
    for tag in declared.values():
        cells = (tag.name, _tell(tag.words, language), _tell(tag.meaning, language), tag.when)
        shown.add_row(*map(Text, cells))
    console().print(shown)


def build_tags(
    settings: Settings, dry_run: bool, progress: Callable[[str, int, int], None] | None = None
) -> str:
    """Derive what is due; say what changed."""
    done = tagging.tag(settings, dry_run, progress)
    would = "would write" if dry_run else "wrote"
    lines = [f"{done.moments} snapshots evaluated; {would} {sum(map(sum, done.changes.values())):,} changes"]
    for name, number in done.holders.items():
        began, ended = done.changes[name]
        lines.append(f"{name}: {number:,} customers have it ({began:,} set, {ended:,} removed)")
    lines += [f"absent: {name}, the build lacks {', '.join(lacks)}" for name, lacks in done.absent.items()]
    if any(map(sum, done.changes.values())) and not dry_run:
        lines.append(
            "The changes are in the log already, as tags of origin `derived`, which no feature reads."
        )
    return "\n".join(lines)


def show_portraits(settings: Settings, language: str) -> None:
    """How many customers of the last snapshot fit each portrait."""
    build, moment = _last(settings)
    rules, absent = tagging.usable(settings, build)
    known, fits = _holding(build, moment, {n: tag for n, tag in rules.items() if tag.portrait})
    right = ("customers", "share")
    shown = table(f"Portraits as of {iso(moment)}", "name", "portrait", *right, "meaning", right=right)
    for name, holds in fits.items():
        tag = rules[name]
        number = (f"{int(holds.sum()):,}", f"{holds.mean():.1%}" if len(holds) else "")
        shown.add_row(*map(Text, (name, _tell(tag.words, language), *number, _tell(tag.meaning, language))))
    console().print(shown)
    some = np.logical_or.reduce([*fits.values(), np.zeros(len(known), bool)])
    none, all = f"{int((~some).sum()):,}", f"{len(known):,}"
    say(
        _tell(
            Words(f"{none} of {all} customers fit none.", f"{all}位客户中有{none}位不属于任何画像。"),
            language,
        )
    )
    for name, lacks in absent.items():
        if tagging.declared(settings)[name].portrait:
            features = ", ".join(lacks)
            say(
                _tell(
                    Words(f"absent: {name}, the build lacks {features}", f"暂缺：{name}，缺少特征{features}"),
                    language,
                )
            )


def list_customers(settings: Settings, name: str, out: Path | None) -> None:
    """The customers of the last snapshot that fit a tag, to a CSV file or one a line."""
    build, moment = _last(settings)
    rules, absent = tagging.usable(settings, build)
    if name in absent:
        raise UsageError(f"{name} cannot be told: the build lacks {', '.join(absent[name])}")
    if name not in rules:
        raise UsageError(f"there is no tag {name!r}; there are: {', '.join(rules)}")
    known, fits = _holding(build, moment, {name: rules[name]})
    ids = known.filter(pa.array(fits[name])).to_pylist()
    if out is None:
        for id in ids:
            click.echo(id)
        return
    lines = ["customer_id", *('"' + id.replace('"', '""') + '"' for id in ids)]
    write_atomically(out, ("\n".join(lines) + "\n").encode())
    click.echo(f"{len(ids):,} customers are {name} as of {iso(moment)}: {out}")


def _holding(
    build: Build, moment: datetime, rules: Mapping[str, Tag]
) -> tuple[pa.ChunkedArray, dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]]:
    """(customers of a snapshot, tag -> which of them fit)."""
    wanted = sorted({i for tag in rules.values() for i in tag.inputs})
    snapshot = build.read(moment, ["customer_id", *wanted])
    values = {name: snapshot[name].to_numpy() for name in wanted}
    return snapshot["customer_id"], {n: tag.holds(values, len(snapshot)) for n, tag in rules.items()}


def _last(settings: Settings) -> tuple[Build, datetime]:
    """The build and its last snapshot by now. NoBuild if there is none."""
    build = Build.open(settings)
    moments = [m for m in build.moments if m <= settings.now()]
    if not moments:
        raise NoBuild(
            f"build {build.id} has no snapshot by {iso(settings.now())}: run `propensity features build`"
        )
    return build, moments[-1]


def _tell(words: Words, language: str) -> str:
    return words.zh if language == "zh" else words.en
