"""What came of each row of a trial, from a plain table: a number, yes or no, or whether it is a given value.

A row without an outcome is never dropped, nor guessed: who has none may depend on the arm, as of those who
were not contacted nobody may have asked. So it is told of which arms rows lack it, and whether that is more
than chance; what it means only whoever keeps the data knows.
"""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import chi2_contingency

from features.errors import UsageError
from features.words import Words
from training.uplift_balance import Check, by_the_lot, said
from training.uplift_learners import Bools, Numbers
from training.uplift_trial import Trial

YES, NO = ("yes", "y", "true", "t", "是"), ("no", "n", "false", "f", "否")
_SIGN = r"[$€£¥￥₩₹₽฿%％元块]|usd|eur|gbp|cny|rmb|jpy|chf|kr\b"  # of a currency, or percent
_AMOUNT = re.compile(rf"(us|hk|{_SIGN}|[-+−(\s])*\d[\d.,'’\s]*({_SIGN}|[)\s])*")
_SHOWN = 5  # values of a column, in an error
_CHANCE = 0.05  # below this p it is said so: to see it too often does less harm than to miss it


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
        f"number, or yes or no. {_instead(name, seen)}"
    )


def _instead(name: str, seen: Sequence[str]) -> str:
    """What to do with an outcome of these texts: where most are amounts as people write them, they are to be
    numbers; else one of them may be asked for."""
    amounts = [of for of in seen if _AMOUNT.fullmatch(of)]
    if 2 * len(amounts) <= len(seen):
        return f"To ask whether it is one of these, name it: --outcome {name}={seen[0]}"
    marks = ["a decimal comma, or one between thousands"] * any("," in of for of in amounts)
    marks += ["a currency or percent sign"] * any(re.search(_SIGN, of) for of in amounts)
    other = next((of for of in seen if not _AMOUNT.fullmatch(of)), None)
    return (
        f"These are amounts{' with ' * bool(marks)}{' and '.join(marks)}: write plain numbers, such as 4.86, "
        "with a point before the decimals and nothing else"
        + f"; and what is none, such as {other}, as an empty cell"
        * (other is not None)
    )


def _known(column: pa.ChunkedArray) -> tuple[Numbers, Bools]:
    kind = pa.int8() if pa.types.is_boolean(column.type) else pa.float64()
    values = np.array(column.cast(kind).cast(pa.float64()).to_numpy(), np.float64)
    if len(endless := np.flatnonzero(np.isinf(values))):
        raise UsageError(
            f"{len(endless):,} outcomes are infinite, the first in row {endless[0] + 1}: that is no amount, "
            "and no mean can hold it. Most likely something was divided by 0: write what came"
        )
    return values, np.isnan(values)


def _some(values: Sequence[object]) -> str:
    known = [str(of) for of in values if of is not None]
    return ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")


def refused(trial: Trial, asked: str) -> UsageError:
    """What to say of a trial whose outcome `asked` tells whether a row has none, 1 or 0 [n]."""
    none = trial.outcomes[asked] > 0
    counts, p = _by_arm(trial, none), _alike(trial, none)
    differs = (
        f"that differs between arms by more than chance ({said(p)}), so to leave them out would bias what is "
        "found"
        if p < _CHANCE
        else f"that differs between arms no more than by chance ({said(p)}), which is no proof that to leave "
        "them out would do no harm"
    )
    return UsageError(
        f"{asked} is missing in {int(none.sum()):,} of {len(none):,} rows: {counts.en}; {differs}. If "
        "nothing recorded means that nothing came, count them as zero: --missing-outcome 0. If not, ask "
        "whoever keeps the data what came of them"
    )


def filled(trial: Trial, asked: str, none: Bools, value: float) -> Check:
    """What it means that rows of which `none` [n] holds were taken to have had a value. All rests on that, if
    such rows are not of all arms alike."""
    counts, p = _by_arm(trial, none), _alike(trial, none)
    return Check(
        Words("rows without an outcome", "没有结果的行"), None if p < _CHANCE else True,
        Words(
            f"counted as {value:g}: {counts.en}; by arm that differs "
            f"{'by more than chance' if p < _CHANCE else 'no more than by chance'} ({said(p)})",
            f"按{value:g}计：{counts.zh}；各方案间的差异"
            f"{'超出' if p < _CHANCE else '未超出'}随机误差（{said(p)}）",
        ),
        only_if=Words(
            f"rows without {asked} had {value:g}", f"没有{asked}的行其值为{value:g}"
        ) if p < _CHANCE else None,
    )  # fmt: skip


def _by_arm(trial: Trial, none: Bools) -> Words:
    of = [(arm, none[trial.arm == k]) for k, arm in enumerate(trial.arms)]
    return Words(
        ", ".join(f"{int(own.sum()):,} of {len(own):,} ({own.mean():.1%}) of {arm}" for arm, own in of),
        "、".join(f"{arm}{len(own):,}行中{int(own.sum()):,}行（{own.mean():.1%}）" for arm, own in of),
    )


def _alike(trial: Trial, none: Bools) -> float:
    """The p-value of rows without an outcome being of all arms alike."""
    if none.all():
        return 1.0
    if trial.evidence == "randomised":
        return by_the_lot(trial, none - none.mean())
    counts = np.array([np.bincount(none[trial.arm == k], minlength=2) for k in range(len(trial.arms))])
    return float(chi2_contingency(counts).pvalue)
