"""Value models as folders: what was judged is what is served; figures that belong together."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from test_models import resign
from tiny import tiny_card
from value_orders import MONEY, TRUTH, made_up, moment

from features.errors import ReleaseCorrupt, ReleaseError
from serving import value
from serving.purchases import Histories
from serving.summaries import SIGNS, Summaries, summarise
from serving.value import ValueFile, ValueModel

FILE = ValueFile(1, "value", 365, 0.1, 0.3, TRUTH, MONEY, False)
FILES = ["SHA256SUMS", "booster.txt", "card.json", "draws.npz", "examples.npz", "model.json"]
KNOWN = summarise(made_up(400), moment(300))


def booster(seed: int = 0, objective: str = "poisson", names: tuple[str, ...] = tuple(SIGNS)) -> str:
    """LightGBM's text of a small pace: whoever is long silent lives slower."""
    import lightgbm

    random = np.random.default_rng(seed)
    rows = random.random((500, len(names)))
    parameters = {
        "objective": objective, "num_leaves": 4, "deterministic": True, "force_row_wise": True,
        "num_threads": 1, "verbosity": -1, "seed": seed,
    }  # fmt: skip
    came = random.poisson(2 - 1.5 * rows[:, 1]).astype(float)
    data = lightgbm.Dataset(rows, came, init_score=np.zeros(500), feature_name=list(names))
    return lightgbm.train(parameters, data, 10).model_to_string()


def saved(folder: Path, file: ValueFile = FILE, trees: str | None = None, seed: int = 1) -> ValueModel:
    card = tiny_card("value", kind="value", features=())
    return value.save(folder, card, msgspec.structs.replace(file, booster=trees is not None), trees, seed)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ValueModel:
    return saved(tmp_path_factory.mktemp("value") / "m", trees=booster())


def test_a_folder_holds_the_plain_files_that_are_documented(tmp_path):
    saved(tmp_path / "m", trees=booster())
    assert sorted(p.name for p in (tmp_path / "m").iterdir()) == FILES
    saved(tmp_path / "n")
    assert sorted(p.name for p in (tmp_path / "n").iterdir()) == [n for n in FILES if n != "booster.txt"]


def test_the_same_model_is_the_same_bytes_and_scores_the_same(tmp_path):
    a, b = saved(tmp_path / "a", trees=booster()), saved(tmp_path / "b", trees=booster())
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in FILES)
    again = value.load(tmp_path / "a")
    for now, then in zip(again.score(KNOWN), b.score(KNOWN), strict=True):
        assert now.tobytes() == then.tobytes()
    assert again.card == a.card


def test_a_customer_scores_alone_as_among_others_to_the_last_bit(model):
    together = model.score(KNOWN)
    alone = [model.score(KNOWN.part([i])) for i in range(100)]
    for place, column in enumerate(together):
        assert np.concatenate([one[place] for one in alone]).tobytes() == column[:100].tobytes()


@pytest.mark.parametrize("name", [n for n in FILES if n != "SHA256SUMS"])
def test_a_single_changed_bit_in_any_file_is_refused(tmp_path, name):
    saved(tmp_path / "m", trees=booster())
    content = bytearray((tmp_path / "m" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "m" / name).write_bytes(content)
    with pytest.raises(ReleaseCorrupt, match=f"{name} was changed"):
        value.load(tmp_path / "m")


def test_other_parameters_or_draws_with_right_sums_are_refused_by_the_examples(tmp_path):
    saved(tmp_path / "m", trees=booster())
    raw = json.loads((tmp_path / "m" / "model.json").read_text("utf-8"))
    raw["purchases"]["alpha"] += 1e-9
    (tmp_path / "m" / "model.json").write_text(json.dumps(raw))
    resign(tmp_path / "m")
    with pytest.raises(ReleaseCorrupt, match="gives another orders for example"):
        value.load(tmp_path / "m")
    saved(tmp_path / "n", trees=booster())
    saved(tmp_path / "o", trees=booster(), seed=2)
    (tmp_path / "n" / "draws.npz").write_bytes((tmp_path / "o" / "draws.npz").read_bytes())
    resign(tmp_path / "n")
    with pytest.raises(ReleaseCorrupt, match="gives another value_p10 for example"):
        value.load(tmp_path / "n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "of format 2"),
        ({"kind": "lightgbm"}, "a 'lightgbm'"),
        ({"discount": 1.0}, "discount"),
        ({"horizon_days": 0}, "1 to 3,650 days"),
        ({"margin": 0.0}, "margin"),
        ({"purchases": {"r": 0, "alpha": 1, "a": 1, "b": 1}}, "each must be positive"),
        ({"money": {"p": 1, "q": 1}}, "cannot be read as a ValueFile"),
    ],
)
def test_a_model_file_that_does_not_fit_is_refused_with_the_reason(tmp_path, change, reason):
    saved(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change))
    resign(tmp_path / "m")
    with pytest.raises(ReleaseCorrupt, match=reason):
        value.load(tmp_path / "m")


def test_a_booster_of_another_kind_or_of_other_columns_is_refused(tmp_path):
    """LightGBM would score either without a word, wrongly."""
    with pytest.raises(ReleaseCorrupt, match="expected boosting on `poisson`"):
        saved(tmp_path / "a", trees=booster(objective="regression"))
    with pytest.raises(ReleaseCorrupt, match=r"booster.txt reads"):
        saved(tmp_path / "b", trees=booster(names=tuple(SIGNS)[::-1]))


def test_a_saved_model_is_never_written_over_and_an_unsigned_one_is_none(tmp_path):
    saved(tmp_path / "m")
    with pytest.raises(ReleaseError, match="not empty"):
        saved(tmp_path / "m", seed=2)
    (tmp_path / "m" / "SHA256SUMS").unlink()
    with pytest.raises(ReleaseError, match="holds no model"):
        value.load(tmp_path / "m")


def test_figures_of_a_customer_belong_together(model):
    scored = model.score(KNOWN)
    assert np.all(scored.chance <= scored.orders + 1e-9)
    assert np.all((scored.chance >= 0) & (scored.chance <= 1))
    assert np.all(scored.value_p10 <= scored.value_p50)
    assert np.all(scored.value_p50 <= scored.value_p90)
    discounted = scored.value / (scored.orders * scored.profit_per_order)
    assert np.all((discounted > 0.9) & (discounted < 1))
    dated = ~np.isnan(scored.next_order_days)
    assert np.all((scored.next_order_days[dated] > 0) & (scored.next_order_days[dated] <= 365))
    assert np.all(scored.chance[dated] >= 0.5)
    assert np.all(scored.chance[~dated] < 0.5)


def test_the_date_is_told_by_the_level_of_the_customers_band(tmp_path, model):
    """Else: a level of frequent customers decides of silent ones; or a release of before there were levels
    tells other dates than it was judged by."""
    dates = value.Dates((1.0, 3.0), (0.5, 0.4, 0.5, 0.7))
    by_level = saved(tmp_path / "m", msgspec.structs.replace(FILE, dates=dates))
    gap = KNOWN.histories.last / np.maximum(KNOWN.histories.repeats, 1)
    silence = np.where(KNOWN.histories.repeats > 0, KNOWN.histories.age - KNOWN.histories.last, 0)
    band = np.where(
        KNOWN.histories.repeats == 0, 0, np.where(silence <= gap, 1, np.where(silence <= 3 * gap, 2, 3))
    )
    assert set(band) == {0, 1, 2, 3}
    told, half = by_level.next_order(KNOWN), saved(tmp_path / "half").next_order(KNOWN)
    known = ~np.isnan(told)
    assert (told[known] == np.round(told[known])).all()
    assert (told[known] >= 1).all()
    both = known & ~np.isnan(half)
    same = both & ((band == 0) | (band == 2))
    assert (np.abs(told - half)[same] <= 1).all()
    assert (told <= np.maximum(half + 0.5, 1))[both & (band == 1)].all()
    assert (told >= half - 0.5)[both & (band == 3)].all()
    assert model.file.dates is None
    with pytest.raises(ReleaseCorrupt, match="two levels more than edges"):
        value.Dates((1.0,), (0.5, 0.5))


def test_the_margin_scales_money_and_nothing_else(tmp_path):
    a = saved(tmp_path / "a").score(KNOWN)
    b = saved(tmp_path / "b", msgspec.structs.replace(FILE, margin=0.6)).score(KNOWN)
    assert b.value == pytest.approx(2 * a.value)
    assert b.value_p90 == pytest.approx(2 * a.value_p90)
    assert b.orders.tobytes() == a.orders.tobytes()


def test_money_today_is_worth_more_than_money_later(tmp_path):
    """At a tenth a year, spread over a year by a rate that falls, some 4.5 % are lost."""
    a = saved(tmp_path / "a", msgspec.structs.replace(FILE, discount=0.0)).score(KNOWN)
    b = saved(tmp_path / "b").score(KNOWN)
    assert a.value == pytest.approx(a.orders * a.profit_per_order)
    assert 0.93 < b.value.sum() / a.value.sum() < 0.97


def test_the_simulated_distribution_has_the_expected_mean(tmp_path):
    """Two ways to one figure: the closed formulas, and each customer's draws."""
    model = saved(tmp_path / "m")
    drawn = model.simulated(KNOWN, 365)
    expected = model.orders(KNOWN, 365) * model.money_per_order(KNOWN)
    assert drawn.mean() == pytest.approx(expected.mean(), rel=0.03)
    assert (drawn > 0).mean() == pytest.approx(model.chance(KNOWN, 365).mean(), abs=0.005)


def test_customers_of_the_model_come_and_spend_as_it_says(tmp_path):
    """Its own world: totals within noise, and the levels keep their shares."""
    orders = made_up(6_000, seed=3)
    known = summarise(orders, moment(250))
    model = saved(tmp_path / "m")
    came, money, wait = (
        v[known.customer] for v in orders.ahead(int(moment(250).timestamp() * 1e6), 250, 2**62)
    )
    assert model.orders(known, 250).sum() == pytest.approx(came.sum(), rel=0.05)
    assert (model.orders(known, 250) * model.money_per_order(known)).sum() == pytest.approx(
        money.sum(), rel=0.07
    )
    drawn = model.simulated(known, 250)
    for level in (0.5, 0.9):
        below = (money[:, None] > drawn).mean(axis=1) < level
        ties = (money[:, None] >= drawn).mean(axis=1) < level
        assert ties.mean() - 0.02 <= level <= below.mean() + 0.02
    date = model.next_order(known)
    dated = date <= 250
    assert (wait[dated] <= date[dated]).mean() == pytest.approx(0.5, abs=0.05)


def test_the_pace_moves_every_figure_the_same_way(tmp_path, model):
    plain = saved(tmp_path / "m")
    faster = model.pace(KNOWN) > 1.02
    slower = model.pace(KNOWN) < 0.98
    assert min(faster.sum(), slower.sum()) > 10
    for rows, sign in ((faster, 1), (slower, -1)):
        some = KNOWN.part(rows)
        assert np.all(sign * (model.orders(some, 90) - plain.orders(some, 90)) > 0)
        assert np.all(sign * (model.chance(some, 90) - plain.chance(some, 90)) > 0)


def test_hundreds_of_orders_and_nobody_at_all_are_scored(model):
    many = Histories(np.array([300.0, 0.0]), np.array([360.0, 0.0]), np.array([365.0, 0.0]))
    signs = np.full((2, len(SIGNS)), np.nan, np.float32)
    scored = model.score(Summaries(np.arange(2), many, np.array([5.0, 0.0]), signs))
    assert all(np.isfinite(column).all() for column in scored[:7])
    assert scored.orders[0] > 100
    assert all(len(column) == 0 for column in model.score(KNOWN.part(slice(0, 0))))


def test_loading_and_scoring_load_none_of_the_heavy_packages(tmp_path):
    """The service starts at once, and nothing that trains can change what it serves."""
    saved(tmp_path / "m", trees=booster())
    code = f"""
import sys
from pathlib import Path
import numpy as np
from serving import value, value_scores
from serving.value import _examples
model = value.load(Path({str(tmp_path / "m")!r}))
assert len(model.score(_examples(model.file, 5)).value) == 64
heavy = "lightgbm pandas sklearn scipy duckdb numba feast mlflow evidently training".split()
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
