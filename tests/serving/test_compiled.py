"""Compiled trees: the library's own bits, or a bulk score is another than the one that was judged."""

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from tiny import tiny_booster, tiny_rows

from serving.booster import MANY, Booster
from serving.compiled import compiled
from serving.effects import SQUARES
from serving.trees import parse


def _trained(label: Callable[[np.ndarray], np.ndarray], trees: int = 20, **changes: object) -> str:
    import lightgbm

    rows = _rows(2_000)
    parameters = {"objective": "regression", "num_leaves": 31, "num_threads": 1, "verbosity": -1, "seed": 1}
    data = lightgbm.Dataset(rows, label(rows), categorical_feature=changes.pop("categorical", []))
    return lightgbm.train(parameters | changes, data, trees).model_to_string()


def _rows(n: int) -> np.ndarray:
    """Numbers, counts, numbers near zero, a column without nulls, and one that is always null."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(n, 6))
    rows[:, 1] = random.integers(0, 5, n)
    rows[:, 2] *= 10.0 ** random.integers(-40, 3, n)
    rows[random.random((n, 6)) < 0.1] = np.nan
    rows[:, 3] = np.nan_to_num(rows[:, 3])
    rows[:, 5] = np.nan
    return rows.astype(np.float32)


def _sum(rows: np.ndarray) -> np.ndarray:
    return np.nan_to_num(rows[:, :4], nan=1.7).sum(axis=1)


@pytest.mark.parametrize("changes", [
    {}, {"num_leaves": 64}, {"num_leaves": 32}, {"num_leaves": 33}, {"num_leaves": 2}, {"max_bin": 15},
    {"use_missing": False}, {"learning_rate": 1e3}, {"min_data_in_leaf": 1_900},
], ids=str)  # fmt: skip
def test_scores_of_many_rows_are_the_librarys_to_the_last_bit(changes: dict[str, object]) -> None:
    booster = Booster(_trained(_sum, **changes), SQUARES)
    rows = np.concatenate([_rows(500), -_rows(100), np.full((3, 6), np.inf, np.float32)])
    theirs = booster.raw(rows)
    assert booster.hasten(rows[:50])
    assert booster.raw(rows).tobytes() == theirs.tobytes()


@pytest.mark.parametrize("n", [0, 1, MANY - 1, MANY, MANY + 1, 127, 128, 129, 300])
def test_every_number_of_rows_scores_alike(n: int) -> None:
    """A customer's score must not depend on how many others are asked for with her."""
    rows, plain, hastened = tiny_rows(300), Booster(tiny_booster()), Booster(tiny_booster())
    assert hastened.hasten(rows[:64])
    assert hastened.raw(rows[:n]).tobytes() == plain.raw(rows)[:n].tobytes()


def test_a_view_of_rows_is_read_as_the_rows_it_shows() -> None:
    rows, booster = tiny_rows(200), Booster(tiny_booster())
    theirs = booster.raw(rows)
    booster.hasten(rows)
    wide = np.concatenate([rows, rows], axis=1)[::-1]
    assert booster.raw(wide[:, 8:])[::-1].tobytes() == theirs.tobytes()
    by_column = np.asfortranarray(rows)
    assert booster.raw(by_column).tobytes() == theirs.tobytes()
    assert booster.raw(by_column[:5]).tobytes() == theirs[:5].tobytes()
    assert booster.raw(by_column[7:8]).tobytes() == theirs[7:8].tobytes()
    assert (booster.leaves(by_column) == booster.leaves(rows)).all()
    with pytest.raises(ValueError, match="expected float32 rows"):
        booster.raw(rows[:, :7])


@pytest.mark.parametrize("changes", [
    {"num_leaves": 65, "min_data_in_leaf": 2}, {"categorical": [1], "min_data_per_group": 1},
    {"zero_as_missing": True},
], ids=str)  # fmt: skip
def test_what_masks_cannot_tell_is_left_to_the_library(changes: dict[str, object]) -> None:
    text = _trained(_sum, **changes)
    assert compiled(list(parse(text))) is None
    booster = Booster(text, SQUARES)
    theirs = booster.raw(_rows(200))
    assert not booster.hasten(_rows(200))
    assert booster.raw(_rows(200)).tobytes() == theirs.tobytes()


def test_trees_that_give_another_bit_are_not_used() -> None:
    """Should LightGBM change how it scores, a release is scored slower, never otherwise."""
    booster = Booster(tiny_booster())
    theirs = booster.raw(tiny_rows(100))
    booster._text = tiny_booster(seed=1)  # stands for a library that scores otherwise
    assert not booster.hasten(tiny_rows(100))
    assert booster.raw(tiny_rows(100)).tobytes() == theirs.tobytes()


def test_where_nothing_compiled_can_be_kept_it_is_compiled_anew() -> None:
    """Else no release loads in a container whose file system is read-only."""
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/proc/nowhere"}
    code = "from serving.compiled import _raw; print(type(_raw).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | nowhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["CPUDispatcher"]


def test_the_rows_of_the_proof_lie_on_both_sides_of_every_split() -> None:
    """Else the proof would pass for trees with a wrong threshold."""
    found = compiled(list(parse(tiny_booster())))
    assert found is not None
    around = found.around(8)
    for c, feature in enumerate(found.feature):
        for at in found.thresholds[found.first[c] : found.first[c + 1]]:
            near = np.nextafter(at, np.array([-np.inf, np.inf], np.float32))
            assert np.isin([at, *near], around[:, feature]).all()
