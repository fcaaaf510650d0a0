"""SQL over a reject: the record that its file has, and which of its cells could not be read."""

RECORD = "as in the file"  # the column of a correction with the record that its file had
GIVEN = "TRY_CAST(row->>'$._given' AS JSON)"
UNREAD = f"({GIVEN}->'unread')"
# Of a record that could not be read `_given` is its line, or its fields with those too many in `_more`.
UNREADABLE = f"((row->>'$._given') IS NOT NULL AND ({GIVEN}->'file') IS NULL)"
RAW = f"""CASE WHEN json_type({GIVEN}) = 'OBJECT' THEN
             json_merge_patch(coalesce({GIVEN}->'file', {GIVEN}),
                              '{{"_file": null, "_line": null}}')::VARCHAR ELSE row->>'$._given' END"""
