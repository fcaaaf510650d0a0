"""The tags that we derive ourselves, on their way into the log: see `features/tagging.py`."""

from pathlib import Path

from features.log import DERIVED_TAGS
from features.sources import Source

FILE = "derived_tags.parquet"


def source(folder: Path) -> Source:
    """The rows of `FILE` in a folder: customer_id, at, tag, change. They state nothing of time."""
    return Source(
        name=DERIVED_TAGS,
        files=(folder / FILE,),
        tables={
            "tags": f"""
                SELECT customer_id, "at", "at" AS known_at, tag, 'derived' AS origin, change,
                       '{DERIVED_TAGS}' AS _file, file_row_number AS _line, NULL AS _note
                FROM read_parquet('{folder / FILE}', file_row_number = true)"""
        },
        complete_until="SELECT NULL::TIMESTAMPTZ",
    )
