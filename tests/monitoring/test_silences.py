"""A silence holds what it is meant to hold, for as long as it is meant to, and nothing else."""

from datetime import timedelta

from alerting import (
    MONDAY,
    Days,
    SignedHttp,
    came,
    found,
)

OWN = """
from dataclasses import replace
from features.words import Words
from monitoring.checks import Check
from training.targets import TARGETS as BUILT_IN
CHECKS = [Check(name="basket", words=Words("b", "b"), warning=1, page=2, reason="a test", measure=print)]
TARGETS = [replace(BUILT_IN[0], name="churn_7d", horizon_days=7)]
"""


def test_a_silenced_subject_is_told_of_when_the_silence_is_over(days: Days, hook: SignedHttp) -> None:
    """A migration that was announced pages nobody; what it leaves broken does."""
    until = (MONDAY + timedelta(days=2)).isoformat()
    made = days.run("silence", "churn_28d", "--until", until, "--reason", "the warehouse moves", "--by", "li")
    assert made.exit_code == 0, made.output
    assert "silence 1 of churn_28d" in made.output
    assert "the warehouse moves" in days.run("silence").output
    taken = days.day(found(value=2.5), found("orders", "indicators", 2.5))
    assert taken.silenced == {"churn_28d|features"}
    days.day(found(value=2.5), found("orders", "indicators", 2.5))
    assert came(hook) == [("firing", "orders indicators")]
    days.day(found(value=2.5), found("orders", "indicators", 2.5))
    assert ("firing", "churn_28d features") in came(hook)[1:]


def test_a_warning_told_before_a_silence_is_told_once_more_when_it_ends(days: Days, hook: SignedHttp) -> None:
    """Else: what a migration leaves broken was told before it, and never again."""
    on = found(value=1.5)
    days.day(on)
    until = (days.now + timedelta(days=2)).isoformat()
    days.run("silence", "features", "--until", until, "--reason", "the warehouse moves", "--by", "li")
    for _ in range(2):
        days.day(on)
    assert came(hook) == [("firing", "churn_28d features")]
    assert days.run("send").exit_code == 0, "between two runs, too"
    for _ in range(3):
        days.day(on)
    assert came(hook) == [("firing", "churn_28d features"), ("reminder", "churn_28d features")]
    assert hook.bodies()[-1]["data"]["title"]["en"].startswith("[warning, still on] ")


def test_what_was_silenced_from_its_begin_to_its_end_is_told_of_never(days: Days, hook: SignedHttp) -> None:
    """Who never read that it began is not to read that it is over."""
    until = (MONDAY + timedelta(days=30)).isoformat()
    days.run("silence", "features", "--until", until, "--reason", "r", "--by", "li")
    for value in (2.5, 0.1, 0.1, 0.1):
        days.day(found(value=value))
    assert came(hook) == []
    assert "nothing is on" in days.run("alerts").output


def test_a_silence_is_taken_back_and_must_say_why(days: Days, hook: SignedHttp) -> None:
    until = (MONDAY + timedelta(days=30)).isoformat()
    lacking = days.run("silence", "features", "--until", until, "--by", "li")
    assert lacking.exit_code == 2
    assert "say until when, why and who" in lacking.output
    assert days.run("silence", "x", "--until", "2017-01-01", "--reason", "r", "--by", "li").exit_code == 2
    days.run("silence", "features", "--until", until, "--reason", "r", "--by", "li")
    days.day(found(value=2.5))
    assert days.run("silence", "--end", "1").exit_code == 0
    assert days.run("silence", "--end", "1").exit_code == 2
    days.day(found(value=2.5))
    assert came(hook) == [("firing", "churn_28d features")]


def test_a_silence_of_what_nothing_is_called_is_refused(days: Days, hook: SignedHttp) -> None:
    """Else: whoever mistypes a name at night is woken again, by what they believe is silenced."""

    def silence(what: str, *more: str) -> tuple[int, str]:
        given = ("--until", "2018-03-01", "--reason", "r", "--by", "li", *more)
        done = days.run("silence", what, *given)
        return done.exit_code, " ".join(done.output.split())

    days.day(found("orders", "received", 2.5, topic="data orders", contributors=[("orders.amount", 3.0)]))
    for what, meant in (
        ("featrues", "'featrues'; did you mean 'features'? What can be"),
        ("churn_28d|featrues", "'featrues'; did you mean 'features'?"),
        ("chrun_28d|features", "'chrun_28d'; did you mean 'churn_28d'?"),
        ("data orders", "'data orders': it is part of 'orders|received'. What can be"),
        ("orders.amount", "'orders.amount': it is part of 'orders|received'."),
        ("mine", "'mine'. What can be: a release, a table,"),
    ):
        code, said_of = silence(what)
        assert (code, meant in said_of) == (2, True), said_of
        assert "With --anyway it is kept" in said_of
    assert "nothing is silenced" in days.run("silence").output
    assert silence("mine", "--anyway")[0] == 0
    assert days.day(found("mine", value=2.5)).silenced == {"mine|features"}
    for what in ("orders", "received", "orders|received", "log", "average_order", "health:champions",
                 "churn_28d", "readable", "event_unnamed"):  # fmt: skip
        assert silence(what)[0] == 0, what


def test_a_shop_s_own_check_and_target_can_be_silenced_before_they_ever_fired(days: Days) -> None:
    (days.settings.shop / "shop.py").write_text(OWN, "utf-8")
    for what in ("basket", "basket|runs", "churn_7d"):
        done = days.run("silence", what, "--until", "2018-03-01", "--reason", "r", "--by", "li")
        assert done.exit_code == 0, done.output
