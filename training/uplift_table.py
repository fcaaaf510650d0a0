"""A trial from a plain table: one row a customer, with columns, the arm that was given, what came of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.errors import UsageError
from features.sources.raw import encoding_of
from serving.booster import Rows
from serving.effects import EVIDENCE
from training import uplift_outcome as outcome
from training.uplift_draw import refused as drawn_by
from training.uplift_learners import Ints, Numbers
from training.uplift_overlap import ENOUGH, estimated
from training.uplift_tidied import copied, named
from training.uplift_trial import OF, Aside, Trial

CONTROLS = ("nothing", "control", "none", "no", "holdout", "0", "false")  # names that say so themselves
ARMS = 50  # with more, it is hardly the column of the arm
LEVELS = 20  # of a column of text: one with more is an identifier, or too fine to learn from


def read(path: Path) -> pa.Table:
    """A CSV or Parquet file. UsageError if it is neither, cannot be read, or has two columns of one name."""
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return named(pq.ParquetFile(path).read(), path)
        with path.open("rb") as file:
            first = file.readline()
        parted = pyarrow.csv.ParseOptions(delimiter=max(",;\t", key=lambda of: first.count(of.encode())))
        nulls = pyarrow.csv.ConvertOptions(strings_can_be_null=True)  # else an empty cell is a word
        coded = pyarrow.csv.ReadOptions(encoding=encoding_of(path))
        table = pyarrow.csv.read_csv(path, read_options=coded, parse_options=parted, convert_options=nulls)
        return named(table, path)
    except (pa.ArrowInvalid, UnicodeError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read as a CSV or Parquet file (a CSV parted by commas, semicolons or tabs; "
            f"best in UTF-8): {error}"
        ) from None


def trial_of(
    table: pa.Table, arm: str, outcomes: Sequence[str], *, control: str | None = None,
    propensity: str | None = None, shares: Mapping[str, float] | None = None, randomised: bool = True,
    ignore: Sequence[str] = (), customer: str | None = None, cluster: str | None = None, seed: int = 1,
    missing: float | None = None,
) -> Trial:  # fmt: skip
    """The trial that a table tells.

    outcomes: columns, or `column=value` for whether it has that value. missing: what a row without an outcome
    had; None: there must be none.
    propensity: the column with the propensity of the arm that was given. shares: of the arms in a lottery
    for all alike; without both, `randomised`: shares as they were found. Not randomised: propensities are
    estimated from the columns, and the evidence is observational, or prior where they do not overlap.
    ignore: columns that are not to be learnt from, but still tell whether the draw was what it is said to be.
    customer: a column; rows of one customer count as one. cluster: a column by whose values the arm was
    drawn, such as the store; its values then stand for customers, of whom each may have many rows.
    UsageError for what the table does not have.
    """
    told = [outcome.split(table, asked)[0] for asked in outcomes]
    named = [arm, *told, *ignore, *(name for name in (propensity, customer, cluster) if name)]
    if absent := [name for name in named if name not in table.column_names]:
        raise UsageError(
            f"the table has no column {', '.join(absent)}: its columns are {', '.join(table.column_names)}"
        )
    if not len(table):
        raise UsageError("the table has no rows: there is nothing to judge")
    if not (customer or cluster):
        _no_copies(table)
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
    roles = {arm, *told, propensity, customer, cluster}
    ignored = tuple(name for name in dict.fromkeys(ignore) if name not in roles)
    left, out, _ = _matrix(table.select(ignored))
    aside = Aside(out, left) if out else None
    if not names:
        raise UsageError("the table has no column to learn from besides the arm and the outcomes")
    unit = cluster or customer
    who = _units(table, unit) if unit else np.arange(len(table))
    evidence: EVIDENCE = "randomised"
    chances = None
    if propensity:
        given = _chances(table, propensity)
    elif shares is not None or randomised:
        given = _shares(arms, place, shares)[place]
    else:
        chances, reached = estimated(matrix, place, len(arms), seed)
        evidence = "observational" if reached >= ENOUGH else "prior"
        given = chances[np.arange(len(place)), place]
    if cluster:
        _one_draw(table, cluster, who, place, given if chances is None else np.ones(len(given)))
    trial = Trial(
        matrix, names, arms, place, given, results, who, evidence, unread=unread, chances=chances,
        aside=aside, values=_values(table.select([name for name in table.column_names if name not in roles])),
        ignored=ignored, unit=customer, cluster=cluster,
    )  # fmt: skip
    if lacking is not None:
        raise outcome.refused(trial, lacking)
    if same := [asked for asked, values in results.items() if np.ptp(values) == 0]:
        raise UsageError(
            f"{', '.join(same)} is the same in every row: nothing can be compared. Is it the outcome?"
        )
    _no_arms_name(arms, place, results)
    if evidence == "randomised" and (wrong := drawn_by(trial)) is not None:
        raise wrong
    return trial


def _values(table: pa.Table) -> dict[str, Ints]:
    """Of each column in which some value comes twice, which of its values each row has [n]; 0: null."""
    found = {}
    for name in table.column_names:
        if pa.types.is_nested(table[name].type):
            continue
        codes = table[name].combine_chunks().dictionary_encode()
        if len(codes.dictionary) < len(codes):
            found[name] = np.asarray(pc.fill_null(codes.indices.cast(pa.int64()), -1), np.int64) + 1
    return found


def _units(table: pa.Table, name: str) -> Ints:
    """Which rows have the same value of the column that tells the customer or the cluster, [n]."""
    if missing := table[name].null_count:
        raise UsageError(
            f"{missing:,} rows have no {name}, which tells what rows count as one: give each one, or leave "
            "out what was never in the draw"
        )
    return np.asarray(table[name].combine_chunks().dictionary_encode().indices, np.int64)


def _one_draw(table: pa.Table, cluster: str, who: Ints, place: Ints, given: Numbers) -> None:
    """UsageError if the arm, or its propensity, differs between rows of what is said to have had one draw."""
    first = np.unique(who, return_index=True)[1]
    for of, what in ((place, "several arms"), (given, "several propensities of its arm")):
        if len(wrong := np.unique(who[of != of[first][who]])):
            raise UsageError(
                f"{len(wrong):,} of {len(first):,} values of {cluster} have {what}, such as "
                f"{table[cluster][int(first[wrong[0]])]}: so the arm was not drawn by {cluster}. Leave "
                "--cluster out if it was drawn row by row, or name the column by which it was drawn. If a "
                "few rows got another arm than the one drawn for them, count them with the one that was drawn"
            )


def _no_copies(table: pa.Table) -> None:
    """UsageError for rows that are copies of others, where a column shows that no two others are alike."""
    rows = len(table)
    different = rows - copied(table)
    if different == rows or different <= LEVELS:
        return
    telling = [name for name in table.column_names if len(pc.unique(table[name])) == different]
    ids = [name for name in telling if not pa.types.is_floating(table[name].type)]  # a measure is no name
    if telling:
        raise UsageError(
            f"{rows - different:,} of {rows:,} rows are copies of others in every column"
            + (f": each value of {ids[0]} comes {rows / different:.3g} times on average" if ids else "")
            + ". Copies are no further customers: leave them out"
            + (f", or say --customer {ids[0]}, whose rows then count as one" if ids else "")
        )


def _no_arms_name(arms: Sequence[str], place: Ints, results: Mapping[str, Numbers]) -> None:
    """UsageError for an outcome that differs between arms, and within none."""
    for asked, values in results.items():
        each = [values[place == k] for k in range(len(arms))]
        if all(np.ptp(own) == 0 for own in each):
            had = ", ".join(f"{own[0]:g} of {arm}" for arm, own in zip(arms, each, strict=True))
            raise UsageError(
                f"{asked} is the same in every row of an arm ({had}): it tells which arm was given, and not "
                "what came of it. Is it the outcome?"
            )


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
    if len(names) == 1:
        raise UsageError(
            f"every row had the same arm: {column} is {names[0]} throughout. A trial compares two arms or "
            "more: give the rows of the others as well, the control's among them"
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


def _chances(table: pa.Table, name: str) -> Numbers:
    """The propensity of the arm that was given, in (0, 1], [n]."""
    column = table[name]
    if column.null_count:
        raise UsageError(
            f"{column.null_count:,} rows have no {name}: each draw had a chance, which whoever drew can "
            "tell. Rows that were never in the draw are no part of the trial: leave those out"
        )
    try:
        given: Numbers = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        raise UsageError(f"the column {name} holds {column.type}, where numbers are expected") from None
    if not (good := (given > 0) & (given <= 1)).all():
        raise UsageError(
            f"{name} must be the chance with which the arm was given, above 0 and at most 1: in "
            f"{(~good).sum():,} rows it is not, such as {given[~good][0]:g}"
            + (". If it is in percent, divide it by 100" if ((given > 0) & (given <= 100)).all() else "")
        )
    return given


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
