"""What came of what was told. If these fail, a model is judged by what it never said, or by labels that are
not over yet."""

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from ledgers import write_ledger
from msgspec.structs import replace as changed
from told_world import HASHES, HORIZON, JUDGED, LAST, MOMENTS, World
from trials import trial_by_hand

from features.compute.builds import Build
from features.errors import NotEnoughData, TrainingError
from features.log import Log
from features.moments import DAY
from features.settings import Settings
from monitoring import labels, outcome_words, outcomes, retraining
from monitoring.labels import Facts
from monitoring.outcomes import Figures, Held
from serving import releases
from serving.ledger import Ledger
from serving.ledger_reports import Delivery
from serving.lots import in_holdout
from training.labels import labels as in_training

RELEASED = MOMENTS[16]
SALT = "complete-journey-2017"  # of the bundled shop's policy


def gathered(world: World, known_by: datetime | None = None) -> Held:
    return outcomes.gather(world.settings, "churn_28d", Build.open(world.settings), known_by)


def at(held: Held, moment: datetime, days: int, version: str = "1") -> Figures:
    (found,) = [f for f in held.figures if (f.moment, f.days, f.version) == (moment, days, version)]
    return found


@pytest.fixture
def world(home: Settings, tmp_path: Path) -> World:
    made = World(home, tmp_path)
    made.build()
    made.release()
    return made


def test_a_model_that_is_right_holds_by_thirds_and_when_mature(world: World) -> None:
    """Else: a shop in which nothing happens is told that its model is lost."""
    world.log()
    held = gathered(world)
    assert {one.days for one in held.figures} == {7, 21, HORIZON}
    for one in (*held.figures, *held.pooled):
        assert (one.calibration, one.ranking) == ("holds", "holds"), outcome_words.told(one).en
        assert one.judged_on == "everyone"
        assert one.backfilled, "nobody was told anything: it must not read as if"
        assert one.moment > JUDGED, "what it was judged by at its release is no news"
    whole = [one for one in held.pooled if not one.partial]
    assert [len(one.moments) for one in whole] == [4]
    gaps = np.diff([moment.timestamp() for moment in whole[0].moments])
    assert (gaps >= HORIZON * 86_400).all(), "windows that overlap are no independent evidence"
    kept = (world.settings.home / "profiles" / "labels" / "churn_28d").glob("*.json")
    assert sorted(path.name for path in kept) == ["1-21.json", "1-7.json"]
    assert gathered(world) == held


def test_labels_are_those_of_training(world: World) -> None:
    """Else: a second definition of the label judges the model by another question."""
    world.log()
    card = releases.load(world.settings, "churn_28d").classifier.card
    facts = Facts.of(world.settings, card)
    model = releases.load(world.settings, "churn_28d").classifier
    build = Build.open(world.settings)
    moment = MOMENTS[-5]
    (ours,) = labels.joined(facts, [labels.backfilled(model, build, moment)], HORIZON)
    theirs = in_training(facts.tables, labels._spine(ours.told), facts.target, {moment: facts.known_by})
    assert (ours.label == theirs).all()
    assert 0 < ours.label.sum() < len(ours.label)


def test_what_was_told_is_judged_and_not_what_would_be_said_now(world: World) -> None:
    """Else: a model that told everyone half the truth is found right, for asked again it is."""
    world.log()
    told, before = MOMENTS[-6], RELEASED - 7 * DAY
    world.tell(told, world.risk / 2)
    world.tell(before, world.risk / 2)  # nobody can have been told that: its test was not over
    world.tell(MOMENTS[-7], world.risk / 2, version="2")  # a challenger, which told nobody
    held = gathered(world)
    one = at(held, told, HORIZON)
    assert not one.backfilled
    assert one.decides.level.value == pytest.approx(2, rel=0.1)
    assert one.calibration == "off"
    for other in (at(held, before, HORIZON), at(held, MOMENTS[-7], HORIZON)):
        assert other.backfilled
        assert other.calibration == "holds"
    assert {one.version for one in held.figures} == {"1"}


def test_a_version_is_judged_by_what_it_told_after_another_came(world: World) -> None:
    """Else: the new version answers for what the one before it said, or its own first weeks are not used."""
    world.log()
    world.tell(MOMENTS[-6], world.risk)
    world.release(version="2", judged=MOMENTS[20])
    held = gathered(world)
    then = at(held, MOMENTS[-6], HORIZON, "1")
    assert not then.backfilled
    assert at(held, MOMENTS[-6], HORIZON, "2").backfilled, (
        "it may be asked: it has learnt from no label of then"
    )
    assert held.card.version == "2"
    newest = held.latest()
    assert newest is not None
    assert newest.version == "2"


def test_who_was_in_force_is_who_told_and_not_whoever_was_scored_beside(world: World) -> None:
    """Else: a challenger's scores, released months later, are judged as if customers had acted on them."""
    world.log()
    then = MOMENTS[-6]
    world.settings = replace(world.settings, as_of=RELEASED)
    (world.settings.home / "releases" / "churn_28d" / "HISTORY").unlink()
    releases.publish(world.settings, world.tmp / "model-1", "churn_28d", "1")
    world.tell(then, world.risk)
    world.tell(then, world.risk / 2, version="2")  # beside it
    world.settings = replace(world.settings, as_of=then + DAY)
    world.release(version="2", judged=MOMENTS[20])
    log = Log.open(world.settings)
    found = labels.told(world.settings, log, "churn_28d", then)
    assert found is not None
    assert found.version == "1"
    (world.settings.home / "releases" / "churn_28d" / "HISTORY").unlink()
    guessed = labels.told(world.settings, log, "churn_28d", then)
    assert guessed is not None
    assert guessed.version == "2", "what could have been, where nothing is on record"


def test_a_label_that_is_not_over_is_absent_and_not_zero(world: World) -> None:
    """Else: customers whose four weeks are not over count as lost, and every model looks too timid."""
    world.log(until=LAST - 20 * DAY)
    held = gathered(world)
    until = LAST - 20 * DAY
    assert held.figures
    assert all(one.known_at <= until for one in held.figures)
    assert max(one.moment for one in held.figures if one.days == 7) > max(
        one.moment for one in held.figures if one.days == HORIZON
    )
    facts = Facts.of(world.settings, held.card)
    model = releases.load(world.settings, "churn_28d").classifier
    late = labels.backfilled(model, Build.open(world.settings), MOMENTS[-5])
    with pytest.raises(NotEnoughData, match="not mature"):
        labels.joined(facts, [late], HORIZON)
    early = gathered(world, known_by=until - 30 * DAY)
    assert all(one.known_at <= until - 30 * DAY for one in early.figures)


def test_customers_who_were_merged_since_are_found_under_todays_id(world: World) -> None:
    """Else: whoever got another id bought nothing ever since, and counts as lost."""
    merges = [(id, id.replace("c", "m")) for id in world.ids[:1500]]
    world.log(merges=[*merges, (world.ids[1500], merges[0][1])])
    told = MOMENTS[-6]
    world.tell(told, world.risk)
    one = at(gathered(world), told, HORIZON)
    assert one.calibration == "holds"
    assert one.decides.rows == len(world.ids) - 1, "two who are one now are one"


def test_another_question_is_refused_by_name(world: World) -> None:
    """Else: after the shop changed what churn means, the model is judged by what it never predicted."""
    world.log()
    card = releases.load(world.settings, "churn_28d").classifier.card
    other = changed(card, target=changed(card.target, label="order"))
    with pytest.raises(TrainingError, match="predicts order within 28 days, and the shop declares"):
        Facts.of(world.settings, other)


def test_contacts_that_work_are_no_loss_of_the_model(home: Settings, tmp_path: Path) -> None:
    """Else: the better the coupons, the sooner a good model is thrown away."""
    world = World(home, tmp_path, customers=4_000, holdout=0.5)
    world.build()
    world.release()
    held = in_holdout(world.ids, SALT, 0.5)
    for moment in MOMENTS[13:]:
        world.contact(~held, moment + timedelta(hours=1))
    world.log(risk=np.where(held, world.risk, world.risk / 2), since=MOMENTS[13])
    found = gathered(world)
    last = [one for one in found.figures if one.moment >= MOMENTS[14]]
    for one in last:
        assert one.judged_on == "held_out"
        assert (one.calibration, one.ranking) == ("holds", "holds"), outcome_words.told(one).en
        assert one.groups["treated"].calibration == "off", "reported beside it"
        assert one.groups["treated"].level.value < 0.9
        assert "Beside it, of the contacted" in outcome_words.told(one).en
        assert "另：已触达客户" in outcome_words.told(one).zh
    assert retraining.recommend(found.card, found.figures, {}, ()) is None


def test_too_small_a_holdout_says_how_many_it_takes(home: Settings, tmp_path: Path) -> None:
    """Else: 'all is well' is said of a hundred customers who could not show anything else; or those decide in
    their place whom contacts left over, who are as few as they are lucky."""
    world = World(home, tmp_path, holdout=0.05)
    world.build()
    world.release()
    held = in_holdout(world.ids, SALT, 0.05)
    for moment in MOMENTS[13:]:
        world.contact(~held, moment + timedelta(hours=1))
    world.log(risk=np.where(held, world.risk, world.risk / 2), since=MOMENTS[13])
    found = gathered(world)
    one = found.latest()
    assert one is not None
    assert (one.calibration, one.ranking) == ("unsure", "unsure")
    assert one.judged_on == "held_out"
    few = outcome_words.lacking(one)
    assert few is not None
    group = one.groups["held_out"]
    assert group.rows == held.sum() < group.needed
    assert few.en.startswith(f"Too few for a verdict: {group.rows:,}, and it takes {group.needed:,} to see")
    assert few.zh.startswith(f"人数不足以下结论：现有{group.rows:,}人次，需{group.needed:,}人次")
    assert retraining.recommend(found.card, found.figures, {}, ()) is None


def test_whom_silence_has_contacted_leaves_no_measure_behind(home: Settings, tmp_path: Path) -> None:
    """Else: whoever is silent for a fortnight is written to, those left over are the lively ones, and a model
    that is right is lost by them, though a holdout, if a small one, shows nothing of it."""
    world = World(home, tmp_path)
    world.build()
    world.release()
    held = in_holdout(world.ids, SALT, 0.05)
    drawn = world.random.bit_generator.state
    world.log()
    orders = Log.open(world.settings).read("orders", ["customer_id", "at"]).to_pylist()
    for moment in MOMENTS[13:]:
        until = moment + 14 * DAY
        ordered = [one["customer_id"] for one in orders if moment < one["at"] <= until]
        world.contact(~np.isin(world.ids, ordered) & ~held, until)
    world.random.bit_generator.state = drawn  # the same orders again
    world.log()
    found = gathered(world)
    one = found.latest()
    assert one is not None
    left = one.groups["untreated"]
    assert left.level.value < 0.8
    assert left.calibration == "off", "so well is it known, and so wrong"
    assert one.judged_on == "held_out"
    assert one.calibration == "unsure"
    assert "Too few for a verdict" in outcome_words.told(one).en
    assert retraining.recommend(found.card, found.figures, {}, ()) is None


def test_a_changed_meaning_is_told_by_the_first_third_already(world: World) -> None:
    """Else: a quarter's customers are answered wrongly before anybody is told."""
    mixed = world.random.permutation(world.risk)
    world.log(risk=mixed, since=MOMENTS[22])
    held = gathered(world, known_by=MOMENTS[23] + 7 * DAY)
    last = held.latest(7)
    assert last is not None
    assert last.moment == MOMENTS[23]
    assert (last.calibration, last.ranking) == ("off", "off")
    assert last.estimated.auc > 0.7, "the scores alone see nothing of it"
    assert "valid only without concept drift" in outcome_words.estimated(last).en
    advice = retraining.recommend(held.card, held.figures, {}, ())
    assert advice is not None
    assert {reason.why for reason in advice.reasons} == {"calibration", "ranking"}
    thirds = retraining.recommend(held.card, [one for one in held.figures if one.days == 7], {}, ())
    assert thirds is not None
    assert "within 7 days of 2017-11-05 and 2017-11-12, of everyone" in thirds.words.en


def test_a_holiday_that_the_calendar_knows_is_no_loss(world: World) -> None:
    """Else: the model is lost every Christmas, and nobody reads what is said in January."""
    closed = [MOMENTS[22] + n * DAY for n in (2, 3)]
    for known in (True, False):
        world.log(closed=closed, calendar=known)
        one = at(gathered(world), MOMENTS[22], 7)
        assert one.decides.level.value > 1.05
        assert one.calibration == ("excused" if known else "off")
        assert ("events of the calendar" in outcome_words.told(one).en) == known


def test_whom_the_ledger_knows_as_contacted_is_not_left_alone(world: World) -> None:
    """Else: until the ledger is exported, what contacts bend is taken for the model's fault."""
    world.log()
    trial, _ = trial_by_hand("none", rows=200)
    write_ledger(world.settings, trial, MOMENTS[20] + timedelta(hours=1), told="contacts")
    sent = [
        Delivery(source="m", id=f"s{n}", decision_id=f"d{n:06}", status="sent", at=MOMENTS[20] + 2 * DAY)
        for n in np.flatnonzero(trial.arm > 0).tolist()[:60]
    ]
    with closing(Ledger(world.settings)) as ledger:
        ledger.report(sent, MOMENTS[20] + 3 * DAY)
    held = gathered(world)
    assert at(held, MOMENTS[20], 7).groups["treated"].rows == 60
    assert at(held, MOMENTS[20], 7).judged_on == "untreated"
    assert "treated" not in at(held, MOMENTS[21], 7).groups


def test_what_was_told_is_judged_after_its_features_are_gone(world: World) -> None:
    """Else: a changed feature silences what is known of the release that still answers from it."""
    world.log()
    world.tell(MOMENTS[-6], world.risk / 2)
    world.build({"overdue": "f" * 16, "orders_90d": HASHES["orders_90d"]})
    held = gathered(world)
    assert [(one.days, one.moment, one.calibration) for one in held.figures] == [
        (HORIZON, MOMENTS[-6], "off")
    ]
    assert held.unsaid is not None
    assert "overdue (defined differently)" in held.unsaid


def test_the_verdict_is_the_first_that_is_said(world: World) -> None:
    """Else: a message begins with dates and figures, and what is lost stands four lines below; or it is said
    in the words of another target."""
    world.log(risk=world.risk / 3, since=MOMENTS[14])
    last = gathered(world).latest()
    assert last is not None
    said = outcome_words.told(last, "calibration")
    assert said.en.startswith('"No order" came ')
    assert said.zh.startswith("“不下单”每预期100次，实际发生")
    assert outcome_words.told(last, "ranking").en.startswith("it tells worse than at its test who will")
    assert "AUC" not in said.en.split(". ")[0], "each check says its own"


def test_what_was_learnt_of_shorter_labels_outlives_the_snapshots_it_was_learnt_from(world: World) -> None:
    """Else every night learns it anew, for a fifth of its time, and is told nothing early once the snapshots
    of the training are deleted."""
    world.log()
    held = gathered(world)
    build = Build.open(world.settings)
    for moment in MOMENTS:
        if moment <= JUDGED:
            build.path(moment).unlink()
    assert gathered(world) == held
