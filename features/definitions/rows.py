"""Features from rows of words: how the tables' modules declare many alike in a line each."""

from collections.abc import Iterator, Sequence

from features.definitions.declaration import Feature, Measure
from features.words import Words

# name, English, Chinese, unit, measure, column, where; then the windows in days, or () for all known history
Row = tuple[str, str, str, str, Measure, str | None, str | None, tuple[int, ...]]
# name, English, Chinese, unit, expression ({w} is the window), windows
ExpressionRow = tuple[str, str, str, str, str, tuple[int, ...]]


def measured(table: str, rows: Sequence[Row], vocabulary: tuple[str, ...] | None = None) -> Iterator[Feature]:
    """A feature for each row and window: `orders` over 30 days is `orders_30d`. vocabulary: of every row."""
    for name, en, zh, unit, measure, column, where, windows in rows:
        for window in windows or (None,):
            yield Feature(
                name=f"{name}_{window}d" if window else name,
                words=_words(en, zh, window, ahead=measure == "ahead"),
                unit=unit,
                measure=measure,
                table=table,
                column=column,
                where=where,
                window=window,
                vocabulary=vocabulary,
            )


def computed(rows: Sequence[ExpressionRow]) -> Iterator[Feature]:
    """A feature for each row and window, computed from other features."""
    for name, en, zh, unit, expression, windows in rows:
        for window in windows or (None,):
            yield Feature(
                name=f"{name}_{window}d" if window else name,
                words=_words(en, zh, window),
                unit=unit,
                measure="expression",
                expression=expression.format(w=window),
            )


def _words(en: str, zh: str, window: int | None, ahead: bool = False) -> Words:
    if window is None:
        return Words(en, zh)
    if ahead:
        return Words(f"{en} in the next {window} days", f"未来{window}天{zh}")
    return Words(f"{en} in the last {window} days", f"近{window}天{zh}")
