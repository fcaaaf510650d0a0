"""`train value` on the real log: registered, the same again, and scored for everyone."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from copies import untrained_copy_of
from logs import empty_shop
from scipy.stats import chi2, norm

import monitoring
from features import online
from features.compute.builds import Build
from features.errors import NotEnoughData, SettingsError, TrainingError, UsageError
from features.log import Log
from features.moments import DAY, DAY_US, parse_moment, to_us
from features.settings import Settings
from features.shop import Shop, shop_of
from propensity import scoring, steps
from propensity.compared import roll_back
from propensity.trained import show
from serving import releases, score_store, value, value_scores
from serving.releases import Release
from serving.summaries import Orders, summarise
from serving.value import Values
from training import page, registered, registry, value_gate
from training.figures import missed
from training.fit import Trained
from training.past import Past
from training.value_figures import Paired, by_group
from training.value_training import levels_off, pattern, train, verdict


@pytest.fixture(scope="module")
def home(journey: Settings, empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return untrained_copy_of(journey, empty_registry, tmp_path_factory.mktemp("value") / "home")


@pytest.fixture(scope="module")
def trained(home: Settings) -> Trained:
    return train(home, home.now())


@pytest.fixture(scope="module")
def release(trained: Trained) -> Release:
    return Release("value", trained.version, value.load(trained.folder))


@pytest.fixture(scope="module")
def scored(home: Settings, release: Release) -> Path:
    return value_scores.score(home, release, Build.open(home), home.now())


def test_a_version_is_registered_as_the_challenger_with_its_figures(home, trained):
    assert registry.aliases(home, "value") == {"challenger": trained.version}
    card = trained.card
    assert card.tested_on.moment == parse_moment("2017-10-02")
    assert card.trained_on.end == card.tested_on.moment
    assert card.metrics["orders_ratio"]["value"] == pytest.approx(1.0, abs=0.05)
    assert card.baselines["bgnbd"]["poisson_deviance_gain"]["low"] > 0
    assert 0.85 < card.metrics["below_p90"]["value"] < 0.95
    assert trained.verdict.en.startswith("value beats BG/NBD")
    assert card.notes[0].en == trained.verdict.en
    assert "下过单的客户" in (trained.folder.parent / "plots" / "card.html").read_text("utf-8")


def test_the_head_of_the_figures_says_over_how_many_days_they_are(trained, capsys):
    """Else: figures of some weeks are read as those of the year that the heading speaks of."""
    show(trained)
    days = trained.card.tested_on.days
    assert 0 < days < trained.card.target.horizon_days
    head = " ".join(capsys.readouterr().out.split("AUC")[0].split())
    assert f"every figure is over the {days} days after it" in head


def test_the_card_says_what_missed_and_by_what_profit_was_discounted(trained, home, tmp_path, capsys):
    """Else: a p50 that comes too seldom is taken at its word, and a planner who discounts discounts
    twice."""
    assert missed("below_p50", trained.card.metrics["below_p50"])
    assert not missed("below_p90", trained.card.metrics["below_p90"])
    said = trained.verdict.en.partition("Off beyond chance: ")[2]
    assert "Had less than their p50 0.4" in said
    assert "p90" not in said
    assert "低于各自p50的客户占比 0.4" in trained.verdict.zh
    show(trained)
    rows = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines() if "]" in line}
    assert rows["below p50"].rstrip().endswith("] off")
    assert not rows["below p90"].rstrip().endswith("off")
    html = page.write(tmp_path / "card.html", trained.folder).read_text("utf-8")
    judged = html.partition("Customers of each kind")[0]
    assert judged.count("⚠ off") == judged.count("⚠ 有偏差") == 1, "p50 alone"
    notes = " ".join(note.en for note in trained.card.notes)
    assert "Profit is 25.0% of money, discounted by 10.0% a year" in notes
    assert trained.card.notes[-1].zh.startswith("利润按金额的25.0%计，并按每年10.0%折现")
    assert value.load(trained.folder).file.discount == 0.1


@pytest.fixture(scope="module")
def past(home: Settings, trained: Trained) -> Past:
    """What judged the model."""
    log, tested = Log.open(home), trained.card.tested_on
    assert tested.days is not None
    orders = Orders.of(log, shop_of(home).zone)
    return Past.of(orders, tested.moment, tested.days, min(home.now(), log.complete_until))


def test_half_have_ordered_by_the_date_also_of_the_silent(trained):
    """Else: whom the journey waits for longest, those silent for three of their own gaps, are given a date by
    which a third has ordered; and the card, with one figure of all, says that half had."""
    found = {(one["kind"], one["group"]["en"]): one for one in trained.card.segments}
    assert len({kind for kind, _ in found}) == 2
    silent = found["silence", "over 3 gaps"]
    assert silent["dated"] > 150
    date = silent["came_by_next_order_date"]
    assert date["low"] <= 0.5 <= date["high"]
    for one in found.values():
        assert ("off" in one) == (one["dated"] >= 30)
    judged = [one for one in found.values() if one["kind"] == "silence" and "off" in one]
    assert sum(one["rows"] for one in judged) > 0.9 * trained.card.tested_on.rows
    assert not any(one["off"] for one in judged)


def test_the_day_that_is_judged_is_the_day_that_is_told(home, trained, release, past, scored):
    """Else: the card says .48 of a moment of the day, and by the date that operators read .56 order."""
    model = release.model
    assert isinstance(model, value.ValueModel)
    days = model.score(past.known).next_order_days
    dated = days <= past.days
    share = (past.wait <= np.where(dated, days, 0))[dated].mean()
    assert round(float(share), 6) == trained.card.metrics["came_by_next_order_date"]["value"]
    told = pq.read_table(scored)
    told = told.filter(pc.is_valid(told["next_order_date"]))
    told_days = told["next_order_date"].cast(pa.int32()).to_numpy() - (to_us(home.now()) // DAY_US - 1)
    assert (told["next_order_days"].to_numpy() == told_days).all()


def test_a_band_whose_date_misses_is_named(trained, release, past):
    """Else: a date that is wrong for the silent alone hides in the figure of all."""
    model = release.model
    assert isinstance(model, value.ValueModel)
    early = value.Dates(model.file.dates.edges, (*model.file.dates.levels[:-1], 0.2))
    wrong = replace(model, file=msgspec.structs.replace(model.file, dates=early))
    card = msgspec.structs.replace(trained.card, segments=by_group(wrong, past, 1))
    said = verdict(card)
    assert "The date misses beyond chance" in said.en
    assert "Silence over the own mean gap over 3 gaps (0." in said.en
    assert "大于3个间隔" in said.zh
    told = page.render(card)
    assert "⚠ off" in told.partition("Customers of each kind")[2].partition("</section>")[0]
    plain = msgspec.structs.replace(card, segments=())
    assert "The date misses" not in verdict(plain).en


def test_groups_whose_orders_are_off_are_named_though_the_total_holds(trained, capsys):
    """Else: `Its total holds` is believed of customers of whom a tenth less came than it said."""
    card = trained.card
    judged = [one for one in card.segments if "z" in one]
    (off,) = [one for one in judged if one["level_off"]]
    assert off["group"]["en"] == "over 1 to 2 gaps"
    assert off["orders_ratio"]["high"] < 1
    assert off["z"] < -norm.isf(0.025 / len(judged)), "beyond the worst of so many by chance"
    assert len({(one["rows"], one["orders_ratio"]["value"]) for one in judged}) == len(judged), "told once"
    show(trained)
    told = " ".join(capsys.readouterr().out.split())
    after = told.partition("Its total holds: orders that came / expected")[2].partition("Off beyond")[0]
    assert "Its level is off in 1 group: Silence over the own mean gap over 1 to 2 gaps 0.9" in after
    unsure = after.partition("It may be off in ")[2]
    assert unsure.startswith(f"4 of {len(judged)} groups"), "whose own interval lies beside 1"
    assert "Days with an order so far 3 to 5 1.3" in unsure
    assert "(n 124)" in unsure
    assert "在1个客户分组中水平有偏差：" in trained.verdict.zh
    page_of_groups = page.render(card).partition("Customers of each kind")[2].partition("</section>")[0]
    assert page_of_groups.count("⚠ off") == 1
    assert page_of_groups.count(">may be off<") == page_of_groups.count(">可能有偏差<") == 4


def test_small_misses_in_a_row_are_taken_together(trained):
    """Else: of customers with few orders a quarter more come than it says, each group within chance by
    itself, and who reads `may be off, as one in twenty does` takes a bent model for luck."""

    def with_z(*of_frequency):
        by = {"silence": iter([0.1] * 20), "order_days": iter(of_frequency)}
        groups = tuple({**one, "z": next(by[one["kind"]])} for one in trained.card.segments if "z" in one)
        return msgspec.structs.replace(trained.card, segments=groups)

    n = sum(one["kind"] == "order_days" for one in trained.card.segments if "z" in one)
    bent = pattern(with_z(*[2.0] * n))
    assert bent is not None
    p = chi2.sf(4.0 * n, n)
    assert bent.en == (
        f"Its level differs beyond chance by: Days with an order so far (all {n} groups together, p {p:.2g})."
    )
    assert "至今下单天数" in bent.zh
    assert pattern(with_z(2.0, *[0.5] * (n - 1))) is None, "one of them by chance"
    assert pattern(trained.card) is not None, "3 to 5 days 1.3, 6 to 10 days 1.2, 31 or more .98"
    assert pattern(trained.card).en in trained.verdict.en


def test_a_level_that_is_off_everywhere_is_said_of_every_group(trained, release, past):
    """Else: a model that expects half is off in the table, and nothing says in whom."""
    half = replace(past, came=past.came * 2)
    groups = by_group(release.model, half, 1)
    large = [one for one in groups if one["rows"] > 400]
    assert large
    assert all(one["level_off"] and one["z"] > 5 for one in large)
    said = levels_off(msgspec.structs.replace(trained.card, segments=groups))
    assert said is not None
    assert "Above 1 more came than it said" in said.en
    assert levels_off(msgspec.structs.replace(trained.card, segments=())) is None


def test_that_an_order_is_a_day_with_one_is_said(trained):
    """Else: three orders of a busy Saturday are looked for in a figure that counts one."""
    notes = " ".join(note.en for note in trained.card.notes)
    assert "Orders here are days with an order: two orders of one customer on one day are one" in notes
    assert any("下单日" in note.zh for note in trained.card.notes)


def test_a_shop_says_by_what_it_discounts(home, trained, tmp_path):
    """Else: a shop whose money costs 4 % a year is told of customers who are worth too little."""
    own = empty_shop(tmp_path / "shop")
    text = (own / "shop.toml").read_text("utf-8")
    for given, held in (("0.04", 0.04), ("0", 0.0)):
        (own / "shop.toml").write_text(text.replace("[value]", f"[value]\ndiscount = {given}"), "utf-8")
        assert Shop.load(own).discount == held
    other = train(replace(home, shop=own), home.now())
    assert value.load(other.folder).file.discount == 0.0
    (own / "shop.toml").write_text(text.replace("[value]", "[value]\ndiscount = 1.0"), "utf-8")
    with pytest.raises(SettingsError, match="discount is 1.0: expected a share from 0 to below 1"):
        Shop.load(own)


def test_the_same_again_is_found_not_fitted(home, trained):
    again = train(home, home.now())
    assert again.reused
    assert (again.version, again.run_id, again.verdict) == (trained.version, trained.run_id, trained.verdict)


def test_that_nothing_was_fitted_again_is_said_of_every_kind_of_model(home, trained, capsys):
    """Else: whoever trains again takes the old version for a new one."""
    show(trained)
    assert "was there" not in capsys.readouterr().out
    show(train(home, home.now(), seed=1))
    assert "value version 1 was there: the same log" in capsys.readouterr().out


def test_a_card_reads_no_feature_so_every_build_has_what_it_needs(home, trained):
    Build.open(home).require(trained.card.needs, by="value")


def test_everyone_of_the_snapshot_is_scored_from_what_was_known(home, release, scored):
    table = pq.read_table(scored)
    assert table.column_names == [
        "customer_id", "moment", "model_version", *Values._fields[:-1], "value_percentile",
        "next_order_date",
    ]  # fmt: skip
    assert Values._fields[-1] == "alive", "else: 1 of whoever ordered once, and an export is ranked by it"
    assert table["customer_id"].to_pylist() == Build.open(home).read(home.now())["customer_id"].to_pylist()
    orders = Orders.of(Log.open(home), shop_of(home).zone)
    known = summarise(orders, home.now())
    worth = release.model.score(known).value
    values = dict(zip(orders.ids.take(known.customer).to_pylist(), worth, strict=True))
    given = dict(zip(table["customer_id"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert {id: v for id, v in given.items() if v is not None} == values
    best = max(values, key=lambda id: values[id])
    assert table["value_percentile"][table["customer_id"].to_pylist().index(best)].as_py() == 100.0


def test_scoring_again_writes_the_same_bytes_and_elsewhere_leaves_the_store_alone(
    home, release, scored, tmp_path
):
    before = scored.read_bytes()
    out = tmp_path / "elsewhere.parquet"
    assert value_scores.score(home, release, Build.open(home), home.now(), out) == out
    assert out.read_bytes() == before == scored.read_bytes()


def test_whoever_has_no_order_yet_has_no_value_rather_than_an_average(home, release):
    """A snapshot of the log's first weeks: customers are known, most have not ordered."""
    moment = min(Build.open(home).moments)
    table = pq.read_table(value_scores.score(home, release, Build.open(home), moment))
    known = summarise(Orders.of(Log.open(home), shop_of(home).zone), moment)
    assert len(table) - table["value"].null_count == len(known)
    assert np.isfinite(table["orders"].drop_null().to_numpy()).all()


def test_a_log_too_short_to_be_judged_is_refused_with_what_it_needs(home):
    with pytest.raises(NotEnoughData, match="a value model needs 112, of which the last quarter judges it"):
        train(home, Log.open(home).starts_at + 100 * DAY)


@pytest.fixture(scope="module")
def served(home: Settings, trained: Trained) -> Settings:
    """The home with its features published, and the model released."""
    online.publish(home, Build.open(home), home.now())
    said = steps.promote_target(home, "value", None, dry_run=False)
    assert said.startswith(f"released value version {trained.version}")
    return home


def test_it_is_promoted_like_any_other_and_everyone_is_scored_at_once(served, trained, scored):
    """Else: the first answer after a promotion knows nobody's value."""
    assert registry.aliases(served, "value") == {"champion": trained.version}
    assert releases.load(served, "value").model.card == trained.card
    # Again: nothing is released, and nobody is told that it was.
    again = f"value version {trained.version} is in force already: nothing would change"
    assert steps.promote_target(served, "value", trained.version, dry_run=True) == again
    said = steps.promote_target(served, "value", trained.version, dry_run=False)
    assert said.startswith(f"value version {trained.version} was in force already: nothing changes")
    kept = score_store.path(served, "value", trained.version, served.now())
    assert kept.read_bytes() == scored.read_bytes()
    again = scoring.score_releases(served, Build.open(served), served.now())  # what a build does
    assert again == ((f"value {trained.version}",), ())


def test_everyones_worth_is_a_command_away(served, trained, scored, tmp_path):
    out = tmp_path / "value.parquet"
    said = scoring.score_everyone(served, "value", out, dry_run=False)
    assert f"customers scored with value {trained.version}" in said
    assert out.read_bytes() == scored.read_bytes()


def test_what_is_no_better_than_the_champion_needs_a_reason_and_there_is_a_way_back(served, trained):
    """Else: chance decides what customers are worth, or nobody knows who overruled the figures."""
    (other,) = steps.train_targets(served, ["value"], seed=2)
    refused = steps.promote_target(served, "value", other.version, dry_run=True)
    assert "not better than the champion beyond chance" in refused
    assert "orders that came / expected" in refused
    with pytest.raises(TrainingError, match="--force REASON"):
        registry.promote(served, "value", other.version)
    registry.promote(served, "value", other.version, force="a change of seed is to be tried")
    with registry.opened(served) as client:
        tags = client.get_model_version("value", other.version).tags
    assert tags["forced_because"] == "a change of seed is to be tried"
    assert "champion" in tags["gate_objected"]
    assert f"back at version {trained.version}" in roll_back(served, "value", dry_run=False)
    assert releases.current(served, "value") == trained.version


def test_it_is_not_compared_as_if_it_were_a_probability(served):
    with pytest.raises(UsageError, match="gives no probability"):
        registered.model_of(served, "value")
    verdict = monitoring.run(served, html=False, keep=False)
    of_value = [(f.check, f.status) for f in verdict.findings if f.subject == "value"]
    assert of_value == [("readable", "ok")]
    assert "not compared" in verdict.words.en


def card_with(trained, gain, total):
    alone = trained.card.baselines["bgnbd"]
    changed = {"bgnbd": {**alone, "poisson_deviance_gain": gain}}
    figures = {**trained.card.metrics, "orders_ratio": total}
    return msgspec.structs.replace(trained.card, baselines=changed, metrics=figures)


def figure(low: float, high: float) -> dict[str, float]:
    return {"value": (low + high) / 2, "low": low, "high": high}


HOLDS, OFF = figure(0.98, 1.02), figure(1.05, 1.09)


def test_the_gate_keeps_out_what_loses_to_bgnbd_and_tells_the_total(trained):
    """Else: whatever was trained last says what customers are worth, though four parameters say it better."""
    assert value_gate.against_bgnbd(trained.card) == []
    no_worse = card_with(trained, figure(-0.01, 0.02), OFF)
    assert value_gate.against_bgnbd(no_worse) == [], "its total is told, and does not refuse it"
    (found,) = value_gate.against_bgnbd(card_with(trained, figure(-0.2, 0.3), OFF))
    assert "may do worse than BG/NBD" in found.en
    assert "1.07 [1.05, 1.09]" in found.en
    assert "1.07 [1.05, 1.09]" in found.zh


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (Paired((HOLDS, HOLDS), (2.9, 3.0), figure(0.01, 0.2)), None),
        (Paired((HOLDS, HOLDS), (3.0, 3.0), figure(-0.01, 0.02)), "nor does it mend its total"),
        (Paired((HOLDS, OFF), (3.0, 3.0), figure(-0.01, 0.02)), None),  # a repair
        (Paired((OFF, OFF), (3.0, 3.0), figure(-0.01, 0.02)), "nor does it mend its total"),
        (Paired((HOLDS, OFF), (3.1, 3.0), figure(-0.3, 0.02)), "may do worse than the champion"),
    ],
)
def test_a_challenger_is_better_in_something_and_worse_in_nothing(pair: Paired, said: str | None) -> None:
    found = value_gate.against_champion(pair)
    assert [said in words.en for words in found] == ([] if said is None else [True])


def test_models_that_cannot_be_compared_yet_need_a_reason(served, release):
    """Else: the door is locked, or a champion of yesterday is compared with what it learnt from."""
    learnt = msgspec.structs.replace(
        release.model.card.tested_on, moment=Log.open(served).complete_until - 7 * DAY
    )
    young = replace(release.model, own=msgspec.structs.replace(release.model.card, tested_on=learnt))
    champion = replace(release, model=young)
    (found,) = value_gate.objections(served, release, Path(), champion)
    assert "cannot be compared with the champion: the log holds 7 days" in found.en
