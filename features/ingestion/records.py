"""A reject as it is handed out: its columns there, and SQL of its record and of what could not be read."""

# Of a row handed out: what says which one it is. The columns of its table follow, then its file's record.
HEAD = ("reject", "source", "table", "file", "row", "reason")
RECORD = "as in the file"  # the column of a correction with the record that its file had
GIVEN = "TRY_CAST(row->>'$._given' AS JSON)"
UNREAD = f"({GIVEN}->'unread')"
# Of a record that could not be read `_given` is its line, or its fields with those too many in `_more`.
UNREADABLE = f"((row->>'$._given') IS NOT NULL AND ({GIVEN}->'file') IS NULL)"
RAW = f"""CASE WHEN json_type({GIVEN}) = 'OBJECT' THEN
             json_merge_patch(coalesce({GIVEN}->'file', {GIVEN}),
                              '{{"_file": null, "_line": null}}')::VARCHAR ELSE row->>'$._given' END"""


def in_sheet(column: str) -> str:
    """A table's column in the CSV, apart from ours. `line` was one of ours."""
    return f"given {column}" if column in (*HEAD, "line") else column
