"""`propensity online`: what readers are served, as a whole and of one customer."""

from __future__ import annotations

import json
import math

import click

from features.definitions import UNITS, catalogue
from features.errors import PropensityError
from features.moments import from_us, iso
from features.online import COMPLAINED, UNKNOWN, OnlineRows
from features.settings import Settings
from features.shop import shop_of
from features.words import Words
from propensity.tables import console, say, table


def show_online(settings: Settings) -> None:
    """What is published, and what a rollback would go to."""
    rows = OnlineRows.open(settings)
    current = rows.current()
    columns = ("build", "as of", "customers", "features", "with fresh events", "")
    shown = table(f"Published in {rows.where}", *columns, right=columns[2:5])
    before = rows.before()
    for kept, fresh in rows.publications():
        of = kept.published
        state = "withdrawn" if kept.turn == 0 else "kept"
        if of.number == current.number:
            state = "served now"
        elif before is not None and of.number == before.number:
            state = "a rollback goes here"
        shown.add_row(of.build, iso(of.moment), f"{of.rows:,}", str(len(of.features)), f"{fresh:,}", state)
    console().print(shown)


def show_row(settings: Settings, customer_id: str, language: str, as_json: bool) -> None:
    """One customer's row as the service reads it: every feature in words, and since when it is known.

    PropensityError if nobody is published under that id.
    """
    rows = OnlineRows.open(settings)
    published, (whose,), got = rows.followed([customer_id])  # expired ones too: they are to be seen
    if got.status[0] == UNKNOWN:
        raise PropensityError(
            f"{customer_id}: no such customer among the {published.rows:,} of {rows.where}; ids are as the "
            "log has them, zeros before them included"
        )
    expired = settings.now() - from_us(int(got.known_at[0])) > settings.expire_after
    known_at, names = from_us(int(got.known_at[0])), list(published.features)
    values = [None if math.isnan(v) else v for v in got.matrix[0].tolist()]
    consents = sorted(of for of in got.consents(0).items() if of[0] != COMPLAINED)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "customer_id": whose,
                    "known_at": iso(known_at),
                    "expired": expired,
                    "features": dict(zip(names, values, strict=True)),
                    "consents": [
                        {"channel": channel, "purpose": purpose, "granted": granted}
                        for (channel, purpose), granted in consents
                    ],
                }
            )
        )
        return
    declared = catalogue(shop_of(settings).declared("FEATURES"))
    in_words = {"en": ("feature", "value", "unit", "what it is"), "zh": ("特征", "数值", "单位", "说明")}
    titles = in_words[language]
    shown = table(f"{whose}, known {iso(known_at)}", *titles, right=titles[1:2])
    for name, value in zip(names, values, strict=True):
        feature = declared.get(name)
        unit = UNITS.get(feature.unit, Words(feature.unit, feature.unit)) if feature else Words("", "")
        said = getattr(feature.words, language) if feature else ""
        shown.add_row(name, "-" if value is None else f"{value:.6g}", getattr(unit, language), said)
    console().print(shown)
    for (channel, purpose), granted in consents:
        say(f"consent: {channel}, {purpose}: {'granted' if granted else 'withdrawn'}")
    if expired:
        say(f"WARNING: expired: older than {settings.expire_after.days} days, so no score is made of it")
