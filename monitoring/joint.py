"""A change that no single column shows: can a classifier tell this week's customers from last week's?

Customers whose rows were joined to the wrong keys look the same column by column, and like nobody together.
"""

from typing import NamedTuple

import numpy as np

from monitoring.histograms import Float32, Float64, Int64

RECIPE = 2  # becomes another when the same rows give another figure
ROWS = 20_000  # of each side: some 2 s of CPU
FOLDS = 2
FEWEST = 200
ENOUGH = 0.6  # of an AUC between two usual weeks: room is left for a week that is not
COMMON = 1 / 8  # of the rows, from which on a column's least value is a state: nothing, or not known


class Apart(NamedTuple):
    """auc: of telling rows of one side from rows of the other, out of fold; .5: not at all. gain: what each
    column was worth to it. rows: of each side, that it was asked of."""

    auc: float
    gain: Float64
    rows: int


def steady(before: Float32, after: Float32, seed: int = 0, enough: float = ENOUGH) -> list[int]:
    """The columns whose relations are the same in two weeks in which nothing was wrong.

    Those that tell the weeks apart most (days since a campaign that everybody got) are left out, a fifth at a
    time, until an AUC of `enough` is left.
    """
    columns = [*range(before.shape[1])]
    while len(columns) > 4:
        apart = separable(before[:, columns], after[:, columns], seed)
        if not apart.auc > enough:
            break
        worst = {*np.argsort(-apart.gain, kind="stable")[: -(-len(columns) // 5)].tolist()}
        columns = [column for place, column in enumerate(columns) if place not in worst]
    return columns


def separable(before: Float32, after: Float32, seed: int = 0) -> Apart:
    """How well rows of `after` are told from rows of `before`.

    Sides are thinned evenly to ROWS, and to the same number. A lull empties many columns of the same
    customers at once, which is no change of how they belong together: sides are thinned further, to as many
    rows with so many columns at their least, where that is COMMON. Then each column is replaced by the eighth
    of its side that a row is in, ties in random order: what a single column shows is gone, and what columns
    show together is left. As both sides have as many rows in each eighth, a change of nothing gives a little
    less than .5. nan of fewer than FEWEST rows.
    """
    import lightgbm
    from sklearn.metrics import roc_auc_score

    rows = min(len(before), len(after), ROWS)
    gain = np.zeros(before.shape[1])
    if rows < FEWEST or not before.shape[1]:
        return Apart(float("nan"), gain, rows)
    random = np.random.default_rng(seed)
    thinned = [side[np.linspace(0, len(side) - 1, rows).astype(np.int64)] for side in (before, after)]
    alike = _alike(thinned[0], thinned[1], random)
    rows = len(alike[0])
    if rows < FEWEST / 4:
        return Apart(float("nan"), gain, rows)
    values = np.concatenate([_eighths(side, random) for side in alike])
    label = np.repeat([0.0, 1.0], rows)
    fold = random.permutation(2 * rows) % FOLDS
    told = np.empty(2 * rows)
    options = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.1,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.7,
        "seed": seed,
        "num_threads": 1,  # several wait for one another where the machine is busy
        "verbosity": -1,
    }
    for one in range(FOLDS):
        here = fold == one
        trees = lightgbm.train(options, lightgbm.Dataset(values[~here], label[~here]), 40)
        told[here] = trees.predict(values[here])
        gain += trees.feature_importance("gain")
    return Apart(float(roc_auc_score(label, told)), gain, rows)


def _alike(before: Float32, after: Float32, random: np.random.Generator) -> tuple[Float32, Float32]:
    """As many rows of each side, of every number of columns of which a row has the least value."""
    least = [known == known.min(axis=0) for known in map(_known, (before, after))]
    common = np.maximum(*(side.mean(axis=0) for side in least)) >= COMMON
    here, there = (side[:, common].sum(axis=1) for side in least)
    kept: tuple[list[Int64], list[Int64]] = ([], [])
    for several in np.unique(here):
        own = [random.permutation(np.flatnonzero(side == several)) for side in (here, there)]
        for rows, side in zip(kept, own, strict=True):
            rows.append(side[: min(map(len, own))])
    first, second = (np.sort(np.concatenate(rows)) for rows in kept)
    return before[first], after[second]


def _known(values: Float32) -> Float32:
    """Unknown before the least."""
    return np.nan_to_num(values, nan=-np.inf, neginf=-np.inf, posinf=np.inf)


def _eighths(values: Float32, random: np.random.Generator) -> Float32:
    """float32 [rows, columns]: 0 to 7, unknown before the least."""
    mixed = random.permutation(len(values))  # a stable sort then leaves ties in random order
    order = np.argsort(_known(values)[mixed], axis=0, kind="stable")
    ranks = np.empty(values.shape, np.float32)
    np.put_along_axis(ranks, mixed[order], np.arange(len(values), dtype=np.float32)[:, None], axis=0)
    return np.asarray(np.floor(ranks * np.float32(8 / len(values))))
