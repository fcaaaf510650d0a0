"""Features that look ahead. If these fail, a model is praised for what nobody can know when it serves."""

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from copies import copy_of

from features.compute.builds import Build
from features.compute.engine import compute
from features.definitions import catalogue
from features.errors import TrainingError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from features.shop import shop_of
from propensity import steps
from propensity.wanted import Refused
from training import foresight, leaks, registered, samples
from training.fit import train
from training.samples import Dataset
from training.targets import catalogue as targets

CHURN = targets()["churn_28d"]
PLANTED = "orders_7d"


@dataclass(frozen=True)
class World:
    """A home, and what a training of churn reads in it."""

    settings: Settings
    log: Log
    build: Build
    data: Dataset

    @classmethod
    def of(cls, settings: Settings) -> "World":
        log, build = Log.open(settings), Build.open(settings)
        when = samples.timeline(CHURN, build, settings.now(), origins=1)
        names, _ = samples.columns(build, catalogue(), when)
        return cls(settings, log, build, samples.read(settings, log, build, CHURN, when, names))

    def recomputed(self) -> list[str]:
        known = {name: feature for name, feature in catalogue().items() if name in self.build.features}
        return leaks.recomputed(self.log, shop_of(self.settings), known, self.data)


@pytest.fixture(scope="module")
def honest(journey: Settings, churn_data: Dataset) -> World:
    """The real log as it is."""
    return World(journey, Log.open(journey), Build.open(journey), churn_data)


@pytest.fixture(scope="module")
def leaky(small_journey: Settings, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Of fewer households, and one column of every snapshot is that of the day after."""
    settings = copy_of(small_journey, tmp_path_factory.mktemp("leaky") / "home")
    build, log, known = Build.open(settings), Log.open(settings), catalogue()
    moments = [m for m in build.moments if m + DAY <= log.complete_until]
    later: dict[object, list[pa.Table]] = {}
    for moment, table in compute(
        log, shop_of(settings), {PLANTED: known[PLANTED]}, [m + DAY for m in moments]
    ):
        later.setdefault(moment - DAY, []).append(table)
    for moment in moments:
        stored, ahead = build.read(moment), pa.concat_tables(later[moment])
        rows = pc.index_in(stored["customer_id"].combine_chunks(), ahead["customer_id"].combine_chunks())
        place = stored.column_names.index(PLANTED)
        path = build.path(moment)
        path.unlink()
        pq.write_table(stored.set_column(place, PLANTED, ahead[PLANTED].take(rows)), path)
    build.write_manifest()
    return World.of(settings)


def test_training_names_a_feature_that_peeks_one_day_ahead(leaky: World) -> None:
    """Else: a shop buys a model for figures that it has only in a backtest."""
    with pytest.raises(TrainingError, match=rf"churn_28d is not trained.*: {PLANTED} had other values"):
        train(leaky.settings, CHURN.name, leaky.settings.now(), origins=1)
    assert leaky.recomputed() == [PLANTED]


def test_what_looks_ahead_for_one_target_of_a_run_does_so_for_all(leaky: World) -> None:
    """Else: a file that is refused for churn passes, in the same run, for the target beside it."""
    refused: Refused = []
    assert (
        steps.train_targets(leaky.settings, ["churn_28d", "repurchase_7d"], 1, origins=1, refused=refused)
        == []
    )
    for name, error in zip(("churn_28d", "repurchase_7d"), refused, strict=True):
        assert f"{name} is not trained, features look ahead: {PLANTED}" in str(error)
    assert f"{PLANTED}, read for churn_28d had other values" in str(refused[1])
    assert registered.registered(leaky.settings) == []
    # Also where what it was read for shows nothing by itself.
    other = leaks.Looked("repurchase_7d", {}, {"imported": (" (by 0.12 of AUC)", "told what came")})
    with pytest.raises(
        TrainingError, match="imported, read for repurchase_7d .by 0.12 of AUC. told what came"
    ):
        leaks.require_none([other], CHURN, ["imported", "orders_7d"])
    leaks.require_none([other], CHURN, ["orders_7d"])


def test_a_peek_shows_in_its_power_where_no_log_can_tell(leaky: World) -> None:
    """Else: rows that are made from what followed, but claim an earlier date, are never found out."""
    assert [one.feature for one in foresight.looked(CHURN, leaky.data) if one.share > 1] == [PLANTED]


def test_a_list_of_ids_in_a_declaration_is_named(honest: World) -> None:
    """Else: a list of everybody's last order, pasted into a `where`, tells at every moment who was lost."""
    log, shop, name = honest.log, shop_of(honest.settings), "orders_365d"
    orders = log.read("orders", ["customer_id", "order_id", "at"]).sort_by("at")
    last = orders.group_by("customer_id", use_threads=False).aggregate([("order_id", "last")])
    listed = ", ".join(f"'{id}'" for id in last["order_id_last"].to_pylist())
    pasted = {name: replace(catalogue()[name], where=f"order_id in ({listed})")}
    data = honest.data.of([honest.data.features.index("orders_7d")])
    data = replace(data, features=(name,))
    done = 0
    for moment, table in compute(
        log, shop, pasted, sorted({*data.timeline.moments, data.timeline.test}), bucket=10_000
    ):
        part = data.at(moment)
        ids = pa.array([data.ids[number] for number in part.customer])
        rows = pc.index_in(ids, table["customer_id"].combine_chunks())
        data._rows.matrix[done : done + len(part), 0] = table[name].take(rows).to_numpy()
        done += len(part)
    looked = leaks.look(log, honest.build, shop, pasted, CHURN, data)
    with pytest.raises(TrainingError, match=f"look ahead: {name} depended on ids"):
        leaks.require_none([looked], CHURN, data.features)


def test_no_feature_of_the_real_log_is_blamed(honest: World) -> None:
    """Else: a false alarm keeps a shop from training at all."""
    assert honest.recomputed() == []


def test_a_build_is_judged_by_the_log_that_it_was_made_of(honest: World) -> None:
    """Else: rows that arrived since, of days before, make every feature look like a peek."""
    log, build = honest.log, honest.build
    grown = replace(log, folder=log.folder.with_name("grown"), fingerprint="grown")
    assert leaks.made_of(build, grown).folder == log.folder
    assert leaks.made_of(build, log) is log
