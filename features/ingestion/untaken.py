"""What the log did not take of the events that the inbox told, so that their sender can learn it."""

from features import duck
from features.ingestion.mended import INBOX
from features.settings import Settings
from features.sources.raw import literal


def untaken(settings: Settings, generation: str) -> list[tuple[int, str, str]]:
    """(event, table, why) of each event that a generation of the log rejected; no reason if it was mended.

    What a file brought again is no such event: the log has it.
    """
    path = settings.home / "rejects" / generation / f"{INBOX}.parquet"
    if not path.exists():  # a home that was restored without them
        return []
    with duck.connect() as connection:
        rows = connection.execute(
            f"""SELECT line, "table", any_value(CASE WHEN mended THEN '' ELSE reason END)
                FROM read_parquet({literal(path)}) WHERE line IS NOT NULL GROUP BY ALL ORDER BY ALL"""
        ).fetchall()
    return [(number, table, why) for number, table, why in rows]
