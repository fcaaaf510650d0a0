"""Where an error was raised: what a log says of one that nobody expected, as its message may say anything."""

import traceback


def frames(error: BaseException) -> str:
    """Each file, line and function that it passed, the innermost first."""
    return " < ".join(
        f"{f.filename}:{f.lineno} {f.name}" for f in reversed(traceback.extract_tb(error.__traceback__))
    )
