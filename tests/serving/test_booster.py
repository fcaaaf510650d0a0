"""LightGBM's library without its package: the same numbers, or every score of every model is wrong."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY_FEATURES, tiny_booster, tiny_rows

from features.errors import ReleaseCorrupt
from serving.booster import Booster
from serving.releases import Release


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Ordinary rows, and the odd ones: nothing known, zeros, infinities."""
    odd = np.array([[v] * 8 for v in (np.nan, 0, -0.0, np.inf, -np.inf, 1e-35)], dtype=np.float32)
    return np.concatenate([odd, tiny_rows(500, seed=7)])


@pytest.fixture(scope="module")
def theirs():
    import lightgbm

    return lightgbm.Booster(model_str=tiny_booster())


def test_a_batch_scores_as_lightgbm_itself_does_to_the_last_bit(rows, theirs):
    assert same_bits(Booster(tiny_booster()).raw(rows), theirs.predict(rows, raw_score=True))


def test_a_single_row_scores_as_it_does_in_a_batch_to_the_last_bit(rows):
    booster = Booster(tiny_booster())
    assert same_bits(np.concatenate([booster.raw(row[None]) for row in rows]), booster.raw(rows))


def test_a_view_of_rows_is_read_as_the_rows_it_shows(rows):
    """A slice of a wider or reversed matrix must not be read as raw memory."""
    booster = Booster(tiny_booster())
    wide = np.concatenate([rows, rows], axis=1)[::-1]
    assert same_bits(booster.raw(wide[:, 8:])[::-1], booster.raw(rows))
    assert same_bits(booster.raw(wide[5:6, :8]), booster.raw(rows[::-1][5:6]))


def test_leaves_are_lightgbms_own(rows, theirs):
    """Else reasons would be read from another leaf than the score."""
    assert np.array_equal(Booster(tiny_booster()).leaves(rows), theirs.predict(rows, pred_leaf=True))


def test_threads_that_score_at_once_get_their_own_answers(rows):
    booster = Booster(tiny_booster())
    expected = booster.raw(rows)

    def work(i: int) -> bool:
        i %= len(rows)
        return same_bits(booster.raw(rows[i : i + 1]), expected[i : i + 1]) and same_bits(
            booster.raw(rows[i:]), expected[i:]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1_000)))


@pytest.mark.parametrize("rows", [np.zeros((3, 7), np.float32), np.zeros((3, 8)), np.zeros(8, np.float32)])
def test_rows_of_another_type_or_width_are_refused_not_misread(rows):
    with pytest.raises(ValueError, match=r"expected float32 rows \[n, 8\]"):
        Booster(tiny_booster()).raw(rows)


def test_no_rows_are_no_scores():
    booster = Booster(tiny_booster())
    assert booster.raw(np.zeros((0, 8), np.float32)).shape == (0,)
    assert booster.leaves(np.zeros((0, 8), np.float32)).shape == (0, 30)


def test_a_booster_whose_raw_score_is_not_log_odds_is_refused():
    """A regression's output read as log-odds would be a probability of nothing."""
    text = tiny_booster().replace("objective=binary sigmoid:1", "objective=regression")
    with pytest.raises(ReleaseCorrupt, match="log-odds"):
        Booster(text)


def test_a_broken_text_is_refused_with_the_reason():
    text = tiny_booster()
    with pytest.raises(ReleaseCorrupt, match="max_feature_idx is no whole number"):
        Booster(text.replace("max_feature_idx=7\n", ""))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's count of pages")
def test_a_booster_that_is_dropped_gives_its_memory_back():
    """A service that follows releases for months would grow until it is killed."""
    # A process of its own: the heap of one that ran other tests has holes that fill while this one counts.
    code = """
import gc, sys
from pathlib import Path
from serving.booster import Booster

def pages():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1])

text = sys.stdin.read()
for _ in range(5):
    Booster(text)
before = pages()
for _ in range(30):
    Booster(text)
dropped = pages() - before
kept = [Booster(text) for _ in range(30)]
print(dropped, pages() - before)
"""
    ran = [sys.executable, "-c", code]
    done = subprocess.run(ran, input=tiny_booster(trees=200), capture_output=True, text=True, check=True)
    dropped, kept = map(int, done.stdout.split())
    assert dropped < kept / 10


def test_scoring_and_explaining_load_none_of_the_heavy_packages(
    tiny_release: Callable[..., Release], tiny_settings
):
    """They cost the service seconds at start and hundreds of megabytes."""
    tiny_release()
    code = f"""
import sys
from pathlib import Path
import numpy as np
from features.settings import Settings
from serving import batch, releases
release = releases.load(Settings(home=Path({str(tiny_settings.home)!r})), "churn_28d")
release.model.explain(np.zeros((1, {len(TINY_FEATURES)}), np.float32))
heavy = "lightgbm pandas sklearn scipy duckdb feast mlflow evidently training".split()
print(*(name for name in heavy if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
