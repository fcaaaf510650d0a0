"""Complaints as events tell them: opened, and not closed."""

from collections.abc import Iterable

from features.inbox import Kept

OPEN_COMPLAINTS = "open_complaints"  # the feature that counts those that a build knows of


def open_of(rows: Iterable[Kept]) -> set[str]:
    """Ids of the complaints in these rows that were opened and not closed."""
    cases = [row.body for row in rows if row.table == "cases" and row.body["kind"] == "complaint"]
    closed = {case["case_id"] for case in cases if case["change"] == "closed"}
    return {case["case_id"] for case in cases} - closed
