"""Model folders: what was judged is what is served, or nothing is."""

import hashlib
import json
import pickle
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny import TINY_FEATURES, tiny_booster, tiny_card, tiny_model, tiny_rows

from features.errors import ReleaseCorrupt, ReleaseError
from serving import models
from serving.models import IdentityCalibration, Logistic, Term, Trees

ROWS = tiny_rows(200, seed=11)
EXAMPLES = tiny_rows(20, seed=12)
BLEND = [
    Trees(tiny_booster(0), weight=0.5),
    Trees(tiny_booster(1), weight=0.3),
    Logistic(0.1, (Term("days_since_order", (0.0, 90.0), (20.0,), (15.0,), (1.2,), -0.3),), weight=0.2),
]
TREES = {"kind": "lightgbm", "file": "booster-0.txt"}
FILES = ["SHA256SUMS", "booster-0.txt", "card.json", "examples.parquet", "model.json", "reasons.npz"]


def resign(folder: Path) -> None:
    """Make the sums right for what is there now, as a tamperer would."""
    paths = sorted(p for p in folder.iterdir() if p.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in paths]
    (folder / "SHA256SUMS").write_text("".join(lines))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))
    resign(path.parent)


def test_a_loaded_model_scores_as_the_saved_one_to_the_last_bit(tmp_path):
    saved = models.save(tmp_path / "m", tiny_card(kind="blend"), BLEND, IdentityCalibration(), EXAMPLES)
    assert models.load(tmp_path / "m").score(ROWS).tobytes() == saved.score(ROWS).tobytes()


def test_a_folder_holds_the_plain_files_that_are_documented(tmp_path):
    assert sorted(p.name for p in tiny_model(tmp_path / "m").iterdir()) == FILES


def test_the_same_model_is_the_same_bytes(tmp_path):
    """Else nobody could tell a retrained model from the one that was approved."""
    a, b = tiny_model(tmp_path / "a"), tiny_model(tmp_path / "b")
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in FILES)


def test_a_score_is_the_weighted_log_odds_of_its_parts_calibrated(tmp_path):
    import lightgbm

    model = models.save(
        tmp_path / "m", tiny_card(kind="blend"), BLEND, models.LogisticCalibration(a=1.2, b=0.1), EXAMPLES
    )
    raw = [lightgbm.Booster(model_str=tiny_booster(i)).predict(ROWS, raw_score=True) for i in (0, 1)]
    days = ROWS[:, 0].astype(float)
    logistic = 0.1 + 1.2 * (np.clip(days, 0, 90) - 20) / 15
    log_odds = 0.5 * raw[0] + 0.3 * raw[1] + 0.2 * logistic
    assert model.score(ROWS) == pytest.approx(1 / (1 + np.exp(-(1.2 * log_odds + 0.1))), rel=1e-12)


def test_one_row_scores_as_it_does_among_others_to_the_last_bit(tmp_path):
    model = models.save(tmp_path / "m", tiny_card(kind="blend"), BLEND, IdentityCalibration(), EXAMPLES)
    alone = np.concatenate([model.score(row[None]) for row in ROWS])
    assert alone.tobytes() == model.score(ROWS).tobytes()
    assert model.score(ROWS[:0]).shape == (0,)
    assert [chance for row in ROWS for chance in model.chances(row[None])] == model.score(ROWS).tolist()
    assert model.chances(ROWS) == model.score(ROWS).tolist()


def test_the_card_comes_back_as_it_was_saved(tmp_path):
    card = tiny_card(notes=(models.Text("365-day windows are truncated", "365天窗口被截断"),))
    models.save(tmp_path / "m", card, [Trees(tiny_booster())], IdentityCalibration(), EXAMPLES)
    assert models.load(tmp_path / "m").card == card
    raw = json.loads((tmp_path / "m" / "card.json").read_text("utf-8"))
    assert raw["target"]["words"]["zh"] == "未来28天内不下单"
    assert raw["trained_on"]["from"] == "2017-04-01T00:00:00Z"


@pytest.mark.parametrize("name", [n for n in FILES if n != "SHA256SUMS"])
def test_a_single_changed_bit_in_any_file_is_refused(tmp_path, name):
    path = tiny_model(tmp_path / "m") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=f"{name} was changed"):
        models.load(tmp_path / "m")


def test_a_missing_or_added_file_is_refused_by_name(tmp_path):
    folder = tiny_model(tmp_path / "m")
    (folder / "card.json").rename(folder / "card.txt")
    with pytest.raises(ReleaseCorrupt, match=r"card.json is missing, card.txt was added"):
        models.load(folder)


def test_a_folder_without_sums_is_no_model(tmp_path):
    """What an interrupted save leaves: the sums are written last."""
    folder = tiny_model(tmp_path / "m")
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseError, match="holds no model"):
        models.load(folder)


def test_another_booster_with_right_sums_is_refused_by_the_examples(tmp_path):
    """Sums alone show that files were not damaged, not that they are the model that was judged."""
    folder = tiny_model(tmp_path / "m")
    (folder / "booster-0.txt").write_text(tiny_booster(seed=1))
    resign(folder)
    with pytest.raises(
        ReleaseCorrupt, match=r"gives another log_odds .*\(example \d+: -?\d[^()]*, expected -?\d[^()]*\)"
    ):
        models.load(folder)


def test_another_calibration_in_its_last_digit_is_refused_by_the_examples(tmp_path):
    folder = tiny_model(tmp_path / "m")
    edit(folder / "model.json", calibration={"kind": "logistic", "a": 1.1 + 2.3e-16, "b": -0.05})
    with pytest.raises(ReleaseCorrupt, match="gives another probability"):
        models.load(folder)


def test_columns_in_another_order_than_the_booster_knows_are_refused(tmp_path):
    """LightGBM would score them without a word, wrongly."""
    folder = tiny_model(tmp_path / "m")
    features = json.loads((folder / "card.json").read_text("utf-8"))["features"]
    edit(folder / "card.json", features=features[::-1])
    with pytest.raises(ReleaseCorrupt, match="in another order"):
        models.load(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": 2}, "of format 2"),
        ({"kind": "policy"}, "expected the card's kind 'lightgbm'"),
        ({"components": [{"kind": "hazard"}]}, "cannot be read as a ModelFile"),
        ({"components": []}, "must sum to 1"),
        ({"components": [{"kind": "lightgbm", "file": "booster-0.txt", "weight": 0.9}]}, "must sum to 1"),
        (
            {"components": [{"kind": "lightgbm", "file": "booster-0.txt", "weight": 0.5}] * 2},
            "does not explain",
        ),
        ({"calibration": {"kind": "logistic", "a": -1.0, "b": 0.0}}, "must be positive"),
    ],
)
def test_a_model_file_that_does_not_fit_is_refused_with_the_reason(tmp_path, changes, reason):
    folder = tiny_model(tmp_path / "m")
    edit(folder / "model.json", **changes)
    with pytest.raises(ReleaseCorrupt, match=reason):
        models.load(folder)


def test_a_saved_model_is_never_written_over(tmp_path):
    folder = tiny_model(tmp_path / "m")
    before = (folder / "SHA256SUMS").read_bytes()
    with pytest.raises(ReleaseError, match="not empty"):
        tiny_model(folder, seed=1)
    assert (folder / "SHA256SUMS").read_bytes() == before


def test_a_model_without_examples_cannot_be_verified_and_is_not_saved(tmp_path):
    with pytest.raises(ReleaseCorrupt, match="example rows"):
        models.save(tmp_path / "m", tiny_card(), [Trees(tiny_booster())], IdentityCalibration(), EXAMPLES[:0])


def test_rows_of_another_width_are_refused(tmp_path):
    model = models.load(tiny_model(tmp_path / "m"))
    for score in (model.raw, model.score, model.contributions, model.explain):
        with pytest.raises(ValueError, match="select the card's features in its order"):
            score(np.zeros((2, 7), np.float32))


def test_synthetic_examples_are_nobodys_rows_within_the_quantiles_given():
    """A release travels; a customer's row must not travel in it."""
    real = tiny_rows(2_000)
    quantiles = np.nanquantile(real, np.linspace(0.01, 0.99, 21), axis=0)
    missing = np.isnan(real).mean(axis=0)
    made = models.synthetic_examples(quantiles, missing, seed=1, rows=500)
    assert made.dtype == np.float32
    assert made.tobytes() == models.synthetic_examples(quantiles, missing, seed=1, rows=500).tobytes()
    assert np.isnan(made[0]).all()
    body = made[3:]
    assert np.abs(np.isnan(body).mean(axis=0) - missing).max() < 0.05
    known = body[~np.isnan(body).any(axis=1)]
    assert np.all(known >= quantiles[0] * 0.9)
    assert np.all(known <= quantiles[-1] * 1.1)
    columns = np.corrcoef(known.T)
    assert np.abs(columns - np.eye(8)).max() < 0.25  # independent, unlike a customer's own
    continuous = [0, 3, 5, 6]
    assert not set(real[:, continuous].ravel().tolist()) & set(known[:, continuous].ravel().tolist())


def test_examples_are_stored_with_nulls_as_they_were(tmp_path):
    """A null that came back as 0 would verify another model."""
    models.save(tmp_path / "m", tiny_card(), [Trees(tiny_booster())], IdentityCalibration(), EXAMPLES)
    table = pq.read_table(tmp_path / "m" / "examples.parquet")
    back = np.column_stack([table[name].to_numpy() for name in TINY_FEATURES])
    assert back.tobytes() == EXAMPLES.tobytes()


def test_a_card_that_lists_a_feature_twice_is_refused(tmp_path):
    card = tiny_card()
    twice = msgspec.structs.replace(card, features=(card.features[0], card.features[0]))
    with pytest.raises(ReleaseCorrupt, match="each once"):
        models.save(tmp_path / "m", twice, [Logistic(0.0, ())], IdentityCalibration(), np.zeros((1, 2), "f4"))


class _Runs:
    """Pickled, it runs when it is read."""

    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "booster-0.txt.pickle", "weights"])
def test_a_release_with_a_pickle_in_it_is_refused_also_where_it_is_signed(tmp_path, monkeypatch, name):
    """Else whoever can write a folder of releases runs code in the service."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "m"
    tiny_model(folder)
    (folder / name).write_bytes(pickle.dumps(_Runs()))
    resign(folder)
    with pytest.raises(ReleaseCorrupt, match=f"{name} is no plain file"):
        models.load(folder)
    assert not (tmp_path / "ran").exists()


def test_arrays_that_hold_pickled_objects_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "m"
    tiny_model(folder)
    with np.load(folder / "reasons.npz") as saved:
        arrays = dict(saved)
    arrays[next(iter(arrays))] = np.array([_Runs()], dtype=object)
    np.savez(folder / "reasons.npz", **arrays)
    resign(folder)
    with pytest.raises(ReleaseCorrupt, match="cannot be read: Object arrays cannot be loaded"):
        models.load(folder)
    assert not (tmp_path / "ran").exists()
