"""Records of a CSV file with more fields than its header: all that stands there, so that nothing is lost."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from features.sources.raw import Format, opened


def rests(path: Path, how: Format, records: Mapping[int, Sequence[str | None]]) -> dict[int, str]:
    """Place of a record, from 0 -> what follows its columns, written as the file writes it.

    records: place -> its columns as they were read. A record that is not found so again is left out: then
    the first field too many is all that is known of it.
    """
    found: dict[int, str] = {}
    if not records:
        return found
    last = max(records)
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding=how.encoding, errors="surrogateescape", newline="")
        for place, record in enumerate(_records(text, how)):
            if place > last:
                break
            if (columns := records.get(place)) is None:
                continue
            width = len(columns)
            if [field or None for field in record[:width]] == list(columns) and len(record) > width:
                found[place] = _written(record[width:], how)
    return found


def _records(text: io.TextIOWrapper, how: Format) -> Iterator[list[str]]:
    """Every record but the header and empty lines, as DuckDB counts them."""
    for _ in range(how.skip):
        text.readline()
    reader = csv.reader(
        text,
        delimiter=how.separator,
        quotechar=how.quote or None,
        quoting=csv.QUOTE_MINIMAL if how.quote else csv.QUOTE_NONE,
    )
    filled = (record for record in reader if record)
    if how.header is None:
        next(filled, None)
    try:
        yield from filled
    except csv.Error:  # a field longer than it reads, or a null byte
        return


def _written(fields: list[str], how: Format) -> str:
    if not how.quote:
        return how.separator.join(fields)
    line = io.StringIO()
    csv.writer(line, delimiter=how.separator, quotechar=how.quote, lineterminator="").writerow(fields)
    return line.getvalue().encode("utf-8", "replace").decode()
