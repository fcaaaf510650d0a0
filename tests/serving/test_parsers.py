"""Whatever bytes lie where ours should, a reader says what is wrong, and never falls over or believes them.

Each starts from a file that is right and damages it, which gets further in than noise does.
"""

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import segments_by_hand
import test_value
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from running import settings_of
from tiny import TINY_MOMENT, tiny_model, tiny_rows

import features.settings
from features.errors import PropensityError, ReleaseCorrupt
from features.moments import parse_moment
from features.settings import BUNDLED_SHOPS, Settings
from features.shop import Shop
from features.tombstones import Tombstones
from serving import folders, kinds, offers
from serving.keys import Keys
from serving.ledger import Ledger
from serving.pauses import listed

EXAMPLES = 60
QUIET = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"{",
    b"]",
    b'"',
    b"1e999",
    b"-1",
    b"9" * 400,
    b"null",
    b"[" * 900,
    b"\n",
    b"nan",
]
ODD_URLS = ["redis://[::1", "postgresql://a:b@h:99999/x", "a:b,a:c", "inf", "s3://"]
SETTINGS = Path(features.settings.__file__).read_text("utf-8")
Damage = tuple[float, int, bytes]  # where, as a share of the file; how much is cut; what is put there
damages = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.one_of(st.sampled_from(ODD), st.binary(max_size=12))),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, damage: list[Damage]) -> bytes:
    for share, cut, put in damage:
        place = int(share * len(data))
        data = data[:place] + put + data[place + cut :]
    return data


def told(read: Callable[[], object]) -> bool:
    """Whether it was read; if not, one of our errors says so, in words."""
    try:
        read()
    except PropensityError:
        return False
    return True


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parsers") / "model"
    tiny_model(folder, "churn_28d", "1")
    return folder


@pytest.fixture(scope="module")
def right(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a model that is right, by its kind."""
    folder = tmp_path_factory.mktemp("kinds")
    test_value.saved(folder / "value", trees=test_value.booster())
    segments_by_hand.saved(folder / "segmentation")
    return {"target": model, "value": folder / "value", "segmentation": folder / "segmentation"}.__getitem__


@pytest.mark.parametrize(
    ("kind", "name"),
    [("target", name) for name in ("model.json", "booster-0.txt", "examples.parquet", "reasons.npz")]
    + [("value", name) for name in ("model.json", "booster.txt", "draws.npz", "examples.npz")]
    + [("segmentation", name) for name in ("model.json", "examples.npz")]
    + [(kind, name) for kind in ("target", "value", "segmentation") for name in ("card.json", "SHA256SUMS")],
)
def test_a_release_that_was_damaged_and_signed_again(
    right: Callable[[str], Path], tmp_path: Path, kind: str, name: str
) -> None:
    """A bug in whatever wrote it, or somebody who meant it: it must not take the service down with it."""
    model, folder = right(kind), tmp_path / "model"
    whole = (model / name).read_bytes()
    shutil.copytree(model, folder)

    @QUIET
    @given(damages)
    def holds(damage: list[Damage]) -> None:
        (folder / name).write_bytes(damaged(whole, damage))
        if name != folders.SUMS:
            (folder / folders.SUMS).unlink(missing_ok=True)
            folders.sign(folder)
        if (
            told(lambda: kinds.load(folder)) and kind == "target"
        ):  # then it is the same in all that it answers
            rows, before, after = tiny_rows(50), kinds.load(model), kinds.load(folder)
            assert after.score(rows).tolist() == before.score(rows).tolist()
            after.explain(rows)

    holds()


# What whoever writes an array of numbers may get wrong of it.
WRONG: dict[str, Callable[[Any], Any]] = {
    "of letters": lambda array: array.astype("U10"),
    "complex": lambda array: array.astype("c16"),
    "of truths": lambda array: array.astype(bool),
    "of moments": lambda array: array.astype("f8").astype("M8[s]"),
    "shorter": lambda array: array[:-1],
    "empty": lambda array: array[:0],
    "flat": lambda array: array.reshape(-1),
    "deeper": lambda array: array[None],
    "one number": lambda array: array.reshape(-1)[0],
}


@pytest.mark.parametrize("wrong", [*WRONG])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("target", "reasons.npz"),
        ("value", "draws.npz"),
        ("value", "examples.npz"),
        ("segmentation", "examples.npz"),
    ],
)
def test_arrays_of_another_type_or_shape_are_told(
    right: Callable[[str], Path], tmp_path: Path, kind: str, name: str, wrong: str
) -> None:
    """Else one release that a broken writer signed makes an internal error of every answer, and a host that
    fetched it never follows the store again."""
    folder = tmp_path / "model"
    shutil.copytree(right(kind), folder)
    with folders.arrays(folder / name) as saved:
        arrays = dict(saved)
    for one, array in arrays.items():
        np.savez(folder / name, **arrays | {one: WRONG[wrong](array)})
        (folder / folders.SUMS).unlink()
        folders.sign(folder)
        if told(lambda: kinds.load(folder)) and kind == "target":  # then it answers
            kinds.load(folder).explain(tiny_rows(50))


@pytest.mark.parametrize("odd", [pa.nulls(1, pa.float32()), pa.array(["a"])])
def test_examples_that_are_no_numbers_are_told(model: Path, tmp_path: Path, odd: Any) -> None:
    """Else a release whose examples were damaged, and signed again, takes the service down with it."""
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    path = folder / "examples.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 1).set_column(0, table.column_names[0], odd), path)
    (folder / folders.SUMS).unlink()
    folders.sign(folder)
    with pytest.raises(ReleaseCorrupt, match=r"examples\.parquet cannot be read"):
        kinds.load(folder)


@pytest.mark.parametrize("shop", ["complete_journey", "online_retail", "simulated"])
def test_a_shop_toml_that_was_damaged(tmp_path: Path, shop: str) -> None:
    right = (BUNDLED_SHOPS / shop / "shop.toml").read_bytes()
    folder = tmp_path / "shop"
    folder.mkdir()

    @QUIET
    @given(damages)
    def holds(damage: list[Damage]) -> None:
        (folder / "shop.toml").write_bytes(damaged(right, damage))
        if told(lambda: Shop.load(folder)):
            told(lambda: Shop.load(folder).policy(TINY_MOMENT))

    holds()


def test_files_of_the_home_that_were_damaged(tmp_path: Path) -> None:
    """keys.json, what pauses and offers were in, tombstones: who may call, what binds, and who was erased."""
    home = settings_of(tmp_path / "home")
    Keys(home).add("journeys", ["score"])
    paused = b'[{"what": "everything", "reason": "a test", "since": "2017-12-31T00:00:00Z", "until": null}]'
    (home.home / "pauses.json").write_bytes(paused)
    measured = b'{"as_of": "2017-12-31T00:00:00Z", "build": "b", "unfair": {"large": ["age"]}}'
    (home.home / "fairness.json").write_bytes(measured)
    Tombstones.of(home).having(["c1"]).write()
    files = {path: path.read_bytes() for path in sorted(home.home.rglob("*")) if path.is_file()}
    readers: dict[str, Callable[[Settings], object]] = {
        "keys.json": lambda of: Keys(of).everything(),
        "pauses.json": lambda of: listed(of),
        "fairness.json": lambda of: taken(of),
        "erased": lambda of: Tombstones.of(of).customers(["c1"]),
    }
    for name, read in readers.items():
        found = [path for path in files if name in path.relative_to(home.home).as_posix()]
        assert found, (name, [*files])
        for path in found:
            _holds(path, files[path], lambda read=read: read(home))


def taken(settings: Settings) -> None:
    with closing(Ledger(settings)) as ledger:
        offers.former(ledger)


def _holds(path: Path, right: bytes, read: Callable[[], object]) -> None:
    @QUIET
    @given(damages)
    def holds(damage: list[Damage]) -> None:
        path.write_bytes(damaged(right, damage))
        told(read)

    holds()
    path.write_bytes(right)


@QUIET
@given(st.text(max_size=60))
def test_a_moment_is_read_or_refused(text: str) -> None:
    told(lambda: parse_moment(text))


@QUIET
@given(
    st.dictionaries(
        st.sampled_from(sorted(set(re.findall("PROPENSITY_[A-Z_]+[A-Z]", SETTINGS)))),
        st.one_of(st.text(st.characters(exclude_characters="\0"), max_size=20), st.sampled_from(ODD_URLS)),
    )
)
@example({"PROPENSITY_HOME": "~nobody-of-this-name"})
@example({"PROPENSITY_SHOP": "~nobody-of-this-name"})
@example({"PROPENSITY_KEYS": "~nobody-of-this-name/keys.json"})
def test_an_environment_is_read_or_refused(environ: dict[str, str]) -> None:
    told(lambda: Settings.from_env(environ))
