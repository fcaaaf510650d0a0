"""What the arm of a trial was drawn by: rows, or the values of a column."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from features.errors import NotEnoughData, UsageError
from training.uplift_checks import checks
from training.uplift_draw import alike, assumed
from training.uplift_estimates import estimate
from training.uplift_table import trial_of
from training.uplift_trial import Trial

N = 3_000
Columns = dict[str, object]


def by_store(stores: int = 40, seed: int = 1, n: int = N) -> Columns:
    """A trial that was drawn by store, in which no arm does anything."""
    random = np.random.default_rng(seed)
    sizes = random.lognormal(0, 0.7, stores)
    store = random.choice(stores, n, p=sizes / sizes.sum())
    mail = (random.permutation(stores) < stores // 2)[store]
    return {
        "a": random.normal(size=n), "arm": np.where(mail, "mail", "none"), "p": np.full(n, 0.5),
        "y": random.normal(0, 0.5, stores)[store] + random.normal(size=n), "store": [f"s{j}" for j in store],
    }  # fmt: skip


def by_row(seed: int, n: int = N, law: str = "half") -> Columns:
    """A trial that was drawn row by row, with columns of many values; by chances of its law."""
    random = np.random.default_rng(seed)
    x, city = random.normal(size=n), random.integers(0, 300, n)
    chance = {
        "half": np.full(n, 0.5), "rare": np.full(n, 0.06), "by row": 0.05 + 0.9 / (1 + np.exp(-2 * x)),
        "by city": (0.05 + 0.9 * random.random(300) ** 2)[city], "three": 0.3 + 0.25 * np.tanh(x),
    }[law]  # fmt: skip
    at, third = random.random(n), 0.6 if law == "three" else 1.0
    arm = np.select([at < chance, at > third], ["mail", "sms"], "none")
    given = np.select([at < chance, at > third], [chance, 1 - third], third - chance)
    return {
        "x": x, "city": [f"c{j}" for j in city], "id": [f"i{j}" for j in range(n)],
        "nearly": [f"n{j}" for j in random.integers(0, 4 * n, n)],
        "mail address": [None if j % 2 else f"m{j}" for j in range(n)],
        "arm": arm, "p": given, "y": random.normal(size=n),
    }  # fmt: skip


def trial(columns: Columns, **more: object) -> Trial:
    return trial_of(pa.table(columns), "arm", ["y"], propensity="p", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("stores", [22, 40, 200])
def test_stores_in_a_column_of_text_are_no_lottery_of_customers(stores: int) -> None:
    """Else: what a few stores happen to do alike is proven by their thousands of customers."""
    with pytest.raises(UsageError, match=r"each of the \d+ values of store .*--cluster store") as told:
        trial(by_store(stores))
    assert "if written afterwards, --ignore store" in str(told.value)


def test_a_column_written_afterwards_is_found_though_it_has_too_many_values() -> None:
    """Else: a coupon's batch, which only one arm has, is left out in silence."""
    random, columns = np.random.default_rng(3), by_row(3)
    mailed = np.array(columns["arm"]) == "mail"
    batch = random.integers(0, 100, N)
    each = [f"b{j}" if had else f"none{j}" for j, had in zip(batch, mailed, strict=True)]
    code = [f"code {j}" if had else None for j, had in enumerate(mailed)]
    with pytest.raises(UsageError, match="came with one arm only"):
        trial(columns | {"batch": each})
    some = [one if random.random() < 0.3 else f"x{j}" for one, j in zip(each, batch, strict=True)]
    for values in (some, code):
        said = {one.name.en: one for one in checks(trial(columns | {"batch": values}))}
        check = said["columns of too many values"]
        assert check.holds is False
        assert "batch (p" in check.words.en


def test_a_column_left_out_by_name_is_a_witness_whatever_it_holds() -> None:
    """Else: `--ignore store` makes a draw by store a proof."""
    (check,) = [
        one for one in checks(trial(by_store(), ignore=["store"])) if one.name.en.startswith("columns left")
    ]
    assert check.only_if is not None
    assert check.only_if.en == "store was written after the decision"
    assert "say --cluster store" in check.words.en


@pytest.mark.parametrize("law", ["half", "rare", "by row", "by city", "three"])
@pytest.mark.parametrize("n", [800, N])
def test_lots_drawn_row_by_row_raise_no_alarm(law: str, n: int) -> None:
    """Else: an honest trial is refused for its cities."""
    for seed in range(12):
        found = trial(by_row(seed, max(n, 1_500) if law == "rare" else n, law))
        assert not alike(found, found.values)


def test_pairs_of_a_rare_arm_are_judged_by_what_lots_do_and_not_by_a_normal_tail() -> None:
    """Else: two customers of one household who both got a rare arm, as happens, refuse the trial."""
    n, columns = 2_000, by_row(1, 2_000, "rare")
    first = np.flatnonzero(np.array(columns["arm"]) == "mail")[:2]
    house = [f"h{j}" for j in range(n)]
    house[first[1]] = house[first[0]]
    others = np.flatnonzero(np.array(columns["arm"]) == "none")[:40].reshape(-1, 2)
    for one, other in others:
        house[other] = house[one]
    assert not alike(trial(columns | {"house": house}), ["house"])


def test_a_draw_by_cluster_counts_clusters() -> None:
    """Else: nobody can say how a trial of stores was drawn."""
    found = trial(by_store(), cluster="store")
    assert "over its 40 values" in assumed(found).en
    assert not [one for one in checks(found) if one.holds is False]
    with pytest.raises(NotEnoughData, match="two arms, and 12 values of store .* in each: none has 10"):
        trial(by_store(20), cluster="store")
    with pytest.raises(NotEnoughData, match="say --cluster store"):
        trial(by_store(), customer="store")
    few = {name: column[:60] for name, column in by_row(1).items()}
    with pytest.raises(NotEnoughData, match="50 customers in each: [^.]*$"):
        trial(few | {"who": np.arange(60)}, customer="who")  # each has one row: no cluster could be meant


def test_what_was_not_drawn_by_cluster_is_not_taken_for_it() -> None:
    """Else: a wrong word gives intervals of another trial."""
    with pytest.raises(UsageError, match="29. of 300 values of city have several arms, such as c"):
        trial(by_row(1), cluster="city")
    columns = by_store()
    with pytest.raises(UsageError, match="several propensities"):
        trial(columns | {"p": np.random.default_rng(1).uniform(0.2, 0.8, N)}, cluster="store")
    with pytest.raises(UsageError, match="3 rows have no store"):
        trial(columns | {"store": [None] * 3 + list(columns["store"])[3:]}, cluster="store")  # type: ignore[call-overload]


def test_intervals_over_few_clusters_of_unlike_sizes_hold_as_often_as_they_say() -> None:
    """Else: of 30 stores that differ, one trial in ten shows an effect that is none."""
    held = 0
    for seed in range(1_500):
        random = np.random.default_rng(seed)
        size = random.lognormal(0, 0.7, 30)
        store = random.choice(30, 400, p=size / size.sum())
        mail = (random.permutation(30) < 15)[store]
        y = random.normal(size=30)[store] + 0.3 * random.normal(size=400)
        one = estimate(np.where(mail, 2, -2) * (y - y.mean()), store)
        held += one.low <= 0 <= one.high
    assert 0.935 <= held / 1_500 <= 0.975


Change = Callable[[Columns], Columns]


def test_a_customers_rows_are_pointed_out() -> None:
    """Else: rows that were written twice count as two customers, or a column is blamed for it."""
    columns = by_row(2)
    del columns["id"]
    ids = columns | {"cid": np.arange(N)}
    twice = pa.concat_tables([pa.table(ids)] * 2)
    with pytest.raises(UsageError, match=r"3,000 of 6,000 rows .*cid comes 2 times.*--customer cid"):
        trial_of(twice, "arm", ["y"], propensity="p")
    assert len(trial_of(twice, "arm", ["y"], propensity="p", customer="cid")) == 2 * N
    later = twice.set_column(0, "x", pa.array(np.random.default_rng(1).normal(size=2 * N)))
    later = later.drop_columns(["city", "nearly", "mail address"])
    with pytest.raises(UsageError, match="each value of cid comes twice, with one arm only.*--customer cid"):
        trial_of(later, "arm", ["y"], propensity="p")
    several = columns | {"cid": np.arange(N) // 2}
    said = {one.name.en: one for one in checks(trial(several))}["rows of a customer"]
    assert said.holds is None
    assert "each value of cid comes twice" in said.words.en
    said = {one.name.en: one for one in checks(trial(several, customer="cid"))}["rows of a customer"]
    assert said.holds is None
    assert "values of cid had several arms" in said.words.en


def test_rows_of_few_columns_may_be_alike() -> None:
    """Else: an honest table of yes and no is refused for its copies."""
    random = np.random.default_rng(1)
    mail = random.random(N) < 0.5
    few: Columns = {
        "x": random.integers(0, 9, N),
        "arm": np.where(mail, "mail", "none"),
        "p": np.full(N, 0.5),
    }
    assert len(trial(few | {"y": random.integers(0, 2, N)})) == N


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda of: of | {"arm": ["mail"] * N}, "every row had the same arm: arm is mail throughout"),
        (lambda of: {name: list(values)[:0] for name, values in of.items()}, "the table has no rows"),
        (lambda of: of | {"y": [np.inf, *list(of["y"])[1:]]}, "1 outcomes are infinite, the first in row 1"),
        (lambda of: of | {"p": [0.0] * N}, "p must be the chance .* in 3,000 rows it is not, such as 0"),
    ],
)
def test_bad_input_is_called_what_it_is(change: Change, said: str) -> None:
    """Else: an infinite outcome is called missing, and a table of one arm is asked for its control."""
    with pytest.raises(UsageError, match=said):
        trial(change(by_row(1)))
