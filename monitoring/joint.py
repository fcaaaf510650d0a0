"""A change that no single column shows: can a classifier tell this week's customers from last week's?

Customers whose rows were joined to the wrong keys look the same column by column, and like nobody together.
"""

import numpy as np

from monitoring.histograms import Float32

ROWS = 20_000  # of each side: some 2 s of CPU
FOLDS = 2


def separable(before: Float32, after: Float32, seed: int = 0) -> float:
    """Area under the ROC curve of telling rows of `after` from rows of `before`, out of fold; .5: not at all.

    Sides are thinned evenly to ROWS, and to the same number. Each column is replaced by the eighth of its side
    that a row is in, ties in random order: what a single column shows is gone, and what columns show together
    is left. As both sides have as many rows in each eighth, a change of nothing gives a little less than .5.
    """
    import lightgbm

    from sklearn.metrics import roc_auc_score

    rows = min(len(before), len(after), ROWS)
    if rows < 100:
        return float("nan")
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
        data = lightgbm.Dataset(values[~here], label[~here])
        told[here] = lightgbm.train(options, data, 40).predict(values[here])
    return float(roc_auc_score(label, told))


def _eighths(values: Float32, random: np.random.Generator) -> Float32:
    """float32 [rows, columns]: 0 to 7, unknown before the least."""
    known = np.nan_to_num(values, nan=-np.inf, neginf=-np.inf, posinf=np.inf)
    mixed = random.permutation(len(values))  # a stable sort then leaves ties in random order
    order = np.argsort(known[mixed], axis=0, kind="stable")
    ranks = np.empty(values.shape, np.float32)
    np.put_along_axis(ranks, mixed[order], np.arange(len(values), dtype=np.float32)[:, None], axis=0)
    return np.floor(ranks * np.float32(8 / len(values)))
