"""What came of each row of a trial, from a plain table: a number, yes or no, or whether it is a given value.

A row without an outcome is never dropped, nor guessed: who has none may depend on the arm, as of those who
were not contacted nobody may have asked. So it is told of which arms rows lack it, and whether that is more
than chance; what it means only whoever keeps the data knows.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import chi2_contingency

from features.errors import UsageError
from training.uplift_balance import by_the_lot, said
from training.uplift_learners import Bools, Numbers
from training.uplift_trial import Trial

YES, NO = ("yes", "y", "true", "t", "是"), ("no", "n", "false", "f", "否")
_SHOWN = 5  # values of a column, in an error
_MORE_THAN_CHANCE = 0.05  # below this p it is said so: to see it too often does less harm than to miss it


def split(table: pa.Table, asked: str) -> tuple[str, str | None]:
    """(column, value) of `column=value`; a column of just that name goes first, and has no value."""
    name, sign, value = asked.partition("=")
    return (asked, None) if asked in table.column_names or not sign else (name, value)


def numbers(table: pa.Table, asked: str) -> tuple[Numbers, Bools]:
    """([n] the outcome, NaN where there is none; [n] whether there is none). UsageError for what is none."""
    name, value = split(table, asked)
    column = table[name]
    if value is not None:
        text = column.cast(pa.string())
        if value not in (seen := pc.unique(text).to_pylist()):
            raise UsageError(f"no row has {name}={value}: its values are {_some(seen)}")
        return _known(pc.equal(text, value))
    if pa.types.is_temporal(column.type):
        raise UsageError(
            f"{name} holds dates, where an outcome is a number: make it 1 if there is a date within the time "
            "that is judged, and else 0"
        )
    try:
        return _known(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(column.cast(pa.string())))
    seen = [of for of in pc.unique(text).to_pylist() if of is not None]
    if seen and set(seen) <= {*YES, *NO}:
        return _known(pc.if_else(pc.is_valid(text), pc.is_in(text, pa.array(YES)), None))
    raise UsageError(
        f"the column {name} holds text ({_some(pc.unique(column).to_pylist())}), where an outcome is a "
        f"number, or yes or no. To ask whether it is one of these, name it: --outcome {name}={seen[0]}"
    )


def _known(column: pa.ChunkedArray) -> tuple[Numbers, Bools]:
    kind = pa.int8() if pa.types.is_boolean(column.type) else pa.float64()
    values = np.array(column.cast(kind).cast(pa.float64()).to_numpy(), np.float64)
    return values, ~np.isfinite(values)


def _some(values: Sequence[object]) -> str:
    known = [str(of) for of in values if of is not None]
    return ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")


def lacking(trial: Trial, outcome: str) -> UsageError:
    """What to say of a trial of which `outcome` tells whether there is none, 0 or 1 [n]."""
    none = trial.outcomes[outcome]
    parts = {arm: none[trial.arm == k] for k, arm in enumerate(trial.arms)}
    counts = ", ".join(
        f"{int(of.sum()):,} of {len(of):,} ({of.mean():.1%}) of {arm}" for arm, of in parts.items()
    )
    if trial.evidence == "randomised":
        p = by_the_lot(trial, none - none.mean())
    else:
        table = np.array([[(of == value).sum() for value in (0, 1)] for of in parts.values()])
        p = float(chi2_contingency(table).pvalue) if table.sum(axis=0).all() else 1.0
    differs = (
        f"that differs between arms by more than chance ({said(p)}), so to leave them out would bias what is "
        "found"
        if p < _MORE_THAN_CHANCE
        else f"that differs between arms no more than by chance ({said(p)}), which is no proof that to leave "
        "them out would do no harm"
    )
    return UsageError(
        f"{outcome} is missing in {int(none.sum()):,} of {len(none):,} rows: {counts}; {differs}. If nothing "
        "recorded means that nothing came, count them as zero: --missing-outcome 0. If not, ask whoever "
        "keeps the data what came of them"
    )
