"""A change that no single column shows: can a classifier tell this week's customers from last week's?

Customers whose rows were joined to the wrong keys look the same column by column, and like nobody together.
"""

import numpy as np

from monitoring.histograms import Float32, Float64

ROWS = 20_000  # of each side: some 2 s of CPU
FOLDS = 2
FEWEST = 200
ENOUGH = 0.6  # of an AUC between two usual weeks: room is left for a week that is not


def steady(before: Float32, after: Float32, seed: int = 0) -> list[int]:
    """The columns whose relations are the same in two weeks in which nothing was wrong.

    Those that tell the weeks apart most (days since a campaign that everybody got) are left out, a fifth at a
    time, until an AUC of ENOUGH is left.
    """
    columns = [*range(before.shape[1])]
    while len(columns) > 4:
        auc, gain = _told_apart(before[:, columns], after[:, columns], seed)
        if not auc > ENOUGH:
            break
        worst = {*np.argsort(-gain, kind="stable")[: -(-len(columns) // 5)].tolist()}
        columns = [column for place, column in enumerate(columns) if place not in worst]
    return columns


def separable(before: Float32, after: Float32, seed: int = 0) -> float:
    """Area under the ROC curve of telling rows of `after` from rows of `before`, out of fold; .5: not at all.

    Sides are thinned evenly to ROWS, and to the same number. Each column is replaced by the eighth of its
    side that a row is in, ties in random order: what a single column shows is gone, and what columns show
    together is left. As both sides have as many rows in each eighth, a change of nothing gives a little less
    than .5. nan of fewer than FEWEST rows.
    """
    return _told_apart(before, after, seed)[0]


def _told_apart(before: Float32, after: Float32, seed: int) -> tuple[float, Float64]:
    """The area, and what each column gained."""
    import lightgbm
    from sklearn.metrics import roc_auc_score

    rows = min(len(before), len(after), ROWS)
    gain = np.zeros(before.shape[1])
    if rows < FEWEST or not before.shape[1]:
        return float("nan"), gain
    random = np.random.default_rng(seed)
    thinned = [side[np.linspace(0, len(side) - 1, rows).astype(np.int64)] for side in (before, after)]
    values = np.concatenate([_eighths(side, random) for side in thinned])
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
    return float(roc_auc_score(label, told)), gain


def _eighths(values: Float32, random: np.random.Generator) -> Float32:
    """float32 [rows, columns]: 0 to 7, unknown before the least."""
    known = np.nan_to_num(values, nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    mixed = random.permutation(len(values))  # a stable sort then leaves ties in random order
    order = np.argsort(known[mixed], axis=0, kind="stable")
    ranks = np.empty(values.shape, np.float32)
    np.put_along_axis(ranks, mixed[order], np.arange(len(values), dtype=np.float32)[:, None], axis=0)
    return np.asarray(np.floor(ranks * np.float32(8 / len(values))))
