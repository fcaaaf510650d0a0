"""What `propensity features list` and `features page` show."""

from __future__ import annotations

import json
from pathlib import Path

from rich.text import Text

from features.definitions import catalogue, feature_hash
from features.describe.absent import remarks
from features.errors import LogError, UsageError
from features.files import write_atomically
from features.listing import Listed, listed, page
from features.log import Log
from features.settings import Settings
from features.shop import shop_of
from features.tables import TABLES
from features.words import Words
from propensity.tables import console, table


def list_features(
    settings: Settings, language: str, as_json: bool, find: str, of_table: str | None, available: bool
) -> None:
    """The declared features that were asked for, one a row; or one JSON object a line, with hashes."""
    if of_table is not None and of_table not in TABLES:
        raise UsageError(f"there is no table {of_table!r} in the log; there are: {', '.join(TABLES)}")
    shop, log = shop_of(settings), _log(settings)
    if available and log is None:
        Log.open(settings)  # says what is lacking
    features = catalogue(shop.declared("FEATURES"))
    rows = listed(
        features,
        log.tables if log else None,
        find,
        of_table,
        available,
        remarks(log, features) if log else None,
    )

    def tell(words: Words) -> Text:
        return Text(words.zh if language == "zh" else words.en)

    if as_json:
        for row in rows:
            hash = feature_hash(row.feature, features, shop.of_log)
            console().out(json.dumps(_json(row, hash), ensure_ascii=False))
        return
    names = ("name", "meaning", "unit", "from", "in the log")
    shown = table(f"{len(rows)} of {len(features)} features", *names)
    for row in rows:
        cells = (Text(row.feature.name), tell(row.feature.words), tell(row.unit), Text(row.feature.source))
        shown.add_row(*cells, tell(row.state))
    console().print(shown)


def _json(row: Listed, hash: str) -> dict[str, object]:
    feature = row.feature
    return {
        "name": feature.name,
        "hash": hash,
        "en": feature.words.en,
        "zh": feature.words.zh,
        "unit": feature.unit,
        "window": feature.window,
        "source": feature.source,
        "tables": sorted(row.tables),
        "lacking": row.lacking,
        "remark": row.remark and row.remark.en,
    }


def write_page(settings: Settings, out: Path) -> str:
    """Write the page of all features; say so."""
    shop, log = shop_of(settings), _log(settings)
    features = catalogue(shop.declared("FEATURES"))
    rows = listed(features, log.tables if log else None, remarks=remarks(log, features) if log else None)
    write_atomically(out, page(shop.name, rows).encode())
    return f"{len(rows)} features: {out}"


def _log(settings: Settings) -> Log | None:
    """The log; None if nothing was ingested yet: declarations can be read all the same."""
    try:
        return Log.open(settings)
    except LogError:
        return None
