"""A trial from a plain table: one row a customer, with columns, the arm that was given, what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.errors import UsageError
from serving.booster import Rows
from serving.effects import EVIDENCE
from training import uplift_outcome as outcome
from training.uplift_learners import Ints, Numbers
from training.uplift_overlap import ENOUGH, estimated
from training.uplift_trial import OF, Aside, Trial

CONTROLS = ("nothing", "control", "none", "no", "holdout", "0", "false")  # names that say so themselves
_HARDLY = 1e-6  # the chance of what no lottery is believed to have done
ARMS = 50  # with more, it is hardly the column of the arm
LEVELS = 20  # of a column of text: one with more is an identifier, or too fine to learn from


def read(path: Path) -> pa.Table:
    """A CSV or Parquet file. UsageError if it is neither, or cannot be read."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pq.read_table(path)
        with path.open("rb") as file:
            first = file.readline()
        parted = pyarrow.csv.ParseOptions(delimiter=max(",;\t", key=lambda of: first.count(of.encode())))
        nulls = pyarrow.csv.ConvertOptions(strings_can_be_null=True)  # else an empty cell is a word
        return pyarrow.csv.read_csv(path, parse_options=parted, convert_options=nulls)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError(
            f"{path} cannot be read as a CSV or Parquet file (a CSV in UTF-8, parted by commas, semicolons "
            f"or tabs): {error}"
        ) from None


def trial_of(
    table: pa.Table, arm: str, outcomes: Sequence[str], *, control: str | None = None,
    propensity: str | None = None, shares: Mapping[str, float] | None = None, randomised: bool = True,
    ignore: Sequence[str] = (), customer: str | None = None, seed: int = 1, missing: float | None = None,
) -> Trial:  # fmt: skip
    """The trial that a table tells.

    outcomes: columns, or `column=value` for whether it has that value. missing: what a row without an outcome
    had; None: there must be none.
    propensity: the column with the propensity of the arm that was given. shares: of the arms in a lottery
    for all alike; without both, `randomised`: shares as they were found. Not randomised: propensities are
    estimated from the columns, and the evidence is observational, or prior where they do not overlap.
    ignore: columns that are not to be learnt from, but still tell whether the draw was what it is said to be.
    customer: a column; rows of one customer count as one.
    UsageError for what the table does not have.
    """
    told = [outcome.split(table, asked)[0] for asked in outcomes]
    named = [arm, *told, *ignore, *(name for name in (propensity, customer) if name)]
    if absent := [name for name in named if name not in table.column_names]:
        raise UsageError(
            f"the table has no column {', '.join(absent)}: its columns are {', '.join(table.column_names)}"
        )
    arms, place = _arms(table[arm].cast(pa.string()), arm, control)
    came = {asked: outcome.numbers(table, asked) for asked in outcomes}
    lacking = next((asked for asked, (_, none) in came.items() if missing is None and none.any()), None)
    results = {
        asked: np.where(none, np.nan if missing is None else missing, values)
        if lacking is None
        else none.astype(np.float64)
        for asked, (values, none) in came.items()
    }
    matrix, names, unread = _matrix(table.drop_columns(list(dict.fromkeys(named))))
    roles = {arm, *told, propensity, customer}
    left, out, _ = _matrix(table.select([name for name in dict.fromkeys(ignore) if name not in roles]))
    aside = Aside(out, left) if out else None
    if randomised and (group := _drawn_by(table.drop_columns(list(dict.fromkeys(named))), place, len(arms))):
        by, values = group
        raise UsageError(
            f"each of the {values:,} values of {by} came with one arm only: so the arm was drawn by {by}, or "
            f"{by} was written after it. If drawn, say --customer {by}, whose rows then count as one"
            + (f", and --ignore {customer}" if customer else "")
            + f"; if written afterwards, --ignore {by}"
        )
    if not names:
        raise UsageError("the table has no column to learn from besides the arm and the outcomes")
    who = np.arange(len(table))
    if customer:
        who = np.asarray(table[customer].combine_chunks().dictionary_encode().indices, np.int64)
    evidence: EVIDENCE = "randomised"
    chances = None
    if propensity:
        given = _number(table, propensity)
    elif shares is not None or randomised:
        given = _shares(arms, place, shares)[place]
    else:
        chances, reached = estimated(matrix, place, len(arms), seed)
        evidence = "observational" if reached >= ENOUGH else "prior"
        given = chances[np.arange(len(place)), place]
    trial = Trial(
        matrix, names, arms, place, given, results, who, evidence, unread=unread, chances=chances, aside=aside
    )
    if lacking is not None:
        raise outcome.refused(trial, lacking)
    if same := [asked for asked, values in results.items() if np.ptp(values) == 0]:
        raise UsageError(
            f"{', '.join(same)} is the same in every row: nothing can be compared. Is it the outcome?"
        )
    return trial


def _drawn_by(table: pa.Table, place: Ints, arms: int) -> tuple[str, int] | None:
    """(a column whose every value came with one arm, how many values), if lots drawn one by one would hardly
    ever do that; None if there is no such column. Rows of one draw are no more than one customer."""
    shares = np.bincount(place, minlength=arms) / len(place)
    for name in table.column_names:
        if pa.types.is_nested(table[name].type):
            continue
        codes = table[name].combine_chunks().dictionary_encode()
        known = np.asarray(pc.is_valid(codes))
        value = np.asarray(pc.fill_null(codes.indices, 0), np.int64)[known]
        counts = np.zeros((len(codes.dictionary), arms))
        np.add.at(counts, (value, place[known]), 1)
        sizes = counts.sum(axis=1)
        if (counts.max(axis=1, initial=0) < sizes).any() or len(sizes) <= arms:
            continue
        if np.log((shares ** sizes[sizes > 0, None]).sum(axis=1)).sum() < np.log(_HARDLY):
            return name, len(sizes)
    return None


def _arms(given: pa.ChunkedArray, column: str, control: str | None) -> tuple[tuple[str, ...], Ints]:
    """(the arms, the control first, [n] places)."""
    if given.null_count:
        raise UsageError(
            f"{given.null_count:,} rows have no {column}: if they were never in the draw, leave them out; if "
            "nothing recorded means that nothing was done, name that arm; if it got lost what they were "
            "given, ask whoever drew, as leaving those out may bias what is found"
        )
    names = sorted(pc.unique(given).to_pylist())
    if len(names) > ARMS:
        raise UsageError(
            f"{column} has {len(names):,} values, such as {', '.join(names[:3])}: is it the arm?"
        )
    told = control or next((name for name in names if name.lower() in CONTROLS), None)
    if told is None or told not in names:
        raise UsageError(
            f"which arm of {column} is the control? Say --control with one of: {', '.join(names)}"
        )
    names.remove(told)
    arms = (told, *names)
    return arms, np.asarray(pc.index_in(given, pa.array(arms)).to_numpy(), np.int64)


def _shares(arms: Sequence[str], place: Ints, shares: Mapping[str, float] | None) -> Numbers:
    if shares is None:
        return np.asarray(np.bincount(place, minlength=len(arms)) / len(place), np.float64)
    if set(shares) != set(arms) or abs(sum(shares.values()) - 1) > 1e-6 or min(shares.values()) <= 0:
        raise UsageError(
            f"--share must name each of {', '.join(arms)} once, with shares that sum to 1, such as .5"
        )
    return np.array([shares[arm] for arm in arms])


def _number(table: pa.Table, name: str) -> Numbers:
    column = table[name]
    if column.null_count:
        raise UsageError(
            f"{column.null_count:,} rows have no {name}: each draw had a chance, which whoever drew can "
            "tell. Rows that were never in the draw are no part of the trial: leave those out"
        )
    try:
        numbers: Numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise UsageError(f"the column {name} holds {column.type}, where numbers are expected") from None
    return numbers


def _matrix(table: pa.Table) -> tuple[Rows, tuple[str, ...], tuple[str, ...]]:
    """(float32 [n, F], names, what was left out): numbers as they are, dates as days, text by value."""
    names: list[str] = []
    unread = []
    columns: list[np.ndarray] = []
    for name in table.column_names:
        column = table[name]
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            column = pc.divide(column.cast(pa.timestamp("s")).cast(pa.int64()), 86_400)
        elif pa.types.is_temporal(column.type):  # a time of the day, or how long
            column = column.cast(pa.int32() if column.type.bit_width == 32 else pa.int64())
        if pa.types.is_nested(column.type) or _numbered(column):
            unread.append(name)
            continue
        if not _numeric(column.type):
            text = column.cast(pa.string())
            levels = sorted(value for value in pc.unique(text).to_pylist() if value is not None)
            if len(levels) > LEVELS:
                unread.append(name)
                continue
            for level in levels[1:] if len(levels) == 2 else levels:
                names.append(f"{name}{OF}{level}")
                columns.append(_floats(pc.equal(text, level)))
            continue
        names.append(name)
        columns.append(_floats(column))
    matrix = np.column_stack(columns) if columns else np.empty((len(table), 0), np.float32)
    return matrix.astype(np.float32), tuple(names), tuple(unread)


def _numbered(column: pa.ChunkedArray) -> bool:
    """Whether whole numbers are of one row each, as ids and line numbers are: they tell of no customer, and
    of a table that is sorted by arm they tell the arm."""
    return bool(
        pa.types.is_integer(column.type)
        and len(column) > LEVELS
        and pc.count_distinct(column, mode="all").as_py() == len(column)
    )


def _numeric(kind: pa.DataType) -> bool:
    of = pa.types
    return any(test(kind) for test in (of.is_integer, of.is_floating, of.is_decimal, of.is_boolean))


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    numbers = column.cast(pa.float64() if not pa.types.is_boolean(column.type) else pa.int8())
    found: np.ndarray = numbers.cast(pa.float64()).to_numpy()  # null becomes NaN
    return found
