"""Releases: published whole, followed at once, and a broken one never serves."""

import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from running import audited
from tiny import tiny_model, tiny_rows

from features.errors import ReleaseCorrupt, ReleaseError, UsageError
from features.moments import DAY, parse_moment
from serving import releases
from serving.following import AT_ONCE, Releases

ROWS = tiny_rows(50, seed=31)


def folder_of(settings, version: str) -> Path:
    return settings.home / "releases" / "churn_28d" / version


def damage(settings, version: str) -> None:
    (folder_of(settings, version) / "booster-0.txt").write_text("nothing")


def point_at(settings, version: str) -> None:
    """What an operator's script might do: write the pointer by hand."""
    path = folder_of(settings, "CURRENT")
    path.with_name("new").write_text(version)
    path.with_name("new").replace(path)


def test_a_published_model_scores_as_the_folder_it_came_from(tiny_settings, tmp_path):
    from serving import models

    folder = tiny_model(tmp_path / "m")
    release = releases.publish(tiny_settings, folder, "churn_28d", "1")
    assert (release.name, release.version) == ("churn_28d", "1")
    again = releases.load(tiny_settings, "churn_28d")
    assert again.model.score(ROWS).tobytes() == models.load(folder).score(ROWS).tobytes()
    assert releases.names(tiny_settings) == ["churn_28d"]


def test_the_newest_is_in_force_and_older_ones_stay_at_hand(tiny_settings, tiny_release):
    """Replay of an old decision needs the release that took it."""
    one, two = tiny_release(version="1"), tiny_release(version="2", seed=1)
    assert releases.load(tiny_settings, "churn_28d").version == "2"
    back = releases.load(tiny_settings, "churn_28d", "1")
    assert back.model.score(ROWS).tobytes() == one.model.score(ROWS).tobytes()
    assert back.model.score(ROWS).tobytes() != two.model.score(ROWS).tobytes()


def test_publishing_the_same_again_only_puts_it_in_force(tiny_settings, tiny_release, tmp_path):
    tiny_release(version="1")
    tiny_release(version="2", seed=1)
    for _ in range(2):
        releases.publish(tiny_settings, folder_of(tiny_settings, "1"), "churn_28d", "1")
    assert releases.load(tiny_settings, "churn_28d").version == "1"
    actions = [line["action"] for line in audited(tiny_settings.home)]
    assert actions == [f"release churn_28d {version}" for version in "121"], "who put it in force, and when?"


def test_since_when_a_version_is_in_force_is_kept(tiny_settings, tiny_release, tmp_path):
    """Else: after a promotion nobody can tell which version an earlier score, and its fault, is of."""
    first, then = parse_moment("2018-01-01"), parse_moment("2018-02-01")
    tiny_release(version="1")
    (folder_of(tiny_settings, "HISTORY")).unlink()  # as homes of before have none
    assert releases.in_force(tiny_settings, "churn_28d", then) is None
    one, two = folder_of(tiny_settings, "1"), tiny_model(tmp_path / "two", seed=1, version="2")
    for version, folder, at in (("2", two, first), ("2", two, then), ("1", one, then)):
        releases.publish(replace(tiny_settings, as_of=at), folder, "churn_28d", version)
    with folder_of(tiny_settings, "HISTORY").open("a") as file:
        file.write("2018-03-01T00:00:00Z")  # a crash cut it off
    assert releases.history(tiny_settings, "churn_28d") == ((first, "2"), (then, "1"))
    asked = [first - DAY, first, then - DAY, then, then + 60 * DAY]
    in_force = [releases.in_force(tiny_settings, "churn_28d", at) for at in asked]
    assert in_force == [None, "2", "2", "1", "1"]


def test_a_version_never_changes_its_content(tiny_settings, tiny_release, tmp_path):
    """The ledger names versions: a version that meant two models could not be replayed."""
    tiny_release(version="1")
    sums = (folder_of(tiny_settings, "1") / "SHA256SUMS").read_bytes()
    other = tiny_model(tmp_path / "other", version="1", seed=1)
    with pytest.raises(ReleaseError, match="other content"):
        releases.publish(tiny_settings, other, "churn_28d", "1")
    assert (folder_of(tiny_settings, "1") / "SHA256SUMS").read_bytes() == sums


def test_a_broken_folder_is_not_published_and_leaves_nothing_behind(tiny_settings, tiny_release, tmp_path):
    tiny_release(version="1")
    broken = tiny_model(tmp_path / "broken", version="2")
    (broken / "booster-0.txt").write_text("nothing")
    with pytest.raises(ReleaseCorrupt, match="booster-0.txt was changed"):
        releases.publish(tiny_settings, broken, "churn_28d", "2")
    assert releases.load(tiny_settings, "churn_28d").version == "1"
    left = {p.name for p in folder_of(tiny_settings, "1").parent.iterdir()}
    assert left == {"1", "CURRENT", "HISTORY"}


def test_a_model_is_published_only_under_its_own_name_and_version(tiny_settings, tmp_path):
    """Else answers would carry the version of another model."""
    folder = tiny_model(tmp_path / "m", version="1")
    for name, version in (("churn_28d", "2"), ("repurchase_7d", "1")):
        with pytest.raises(ReleaseCorrupt, match="by its card"):
            releases.publish(tiny_settings, folder, name, version)
    assert releases.names(tiny_settings) == []


def test_a_release_that_was_damaged_on_disk_is_refused_with_the_reason(tiny_settings, tiny_release):
    tiny_release()
    damage(tiny_settings, "1")
    with pytest.raises(ReleaseCorrupt, match="booster-0.txt was changed"):
        releases.load(tiny_settings, "churn_28d")


def add_a_byte(folder: Path) -> None:
    with (folder / "card.json").open("ab") as file:
        file.write(b" ")


@pytest.mark.parametrize(
    "spoil",
    [
        add_a_byte,
        lambda folder: (folder / "booster-0.txt").unlink(),
        lambda folder: (folder / "of an editor~").touch(),
        lambda folder: (folder / "SHA256SUMS").unlink(),
        lambda folder: (folder / "SHA256SUMS").write_text("nothing"),
    ],
    ids=["changed", "missing", "added", "no sums", "other sums"],
)
def test_a_damaged_release_is_put_right_by_publishing_it_again(
    tiny_settings, tiny_release, tmp_path, caplog, spoil
):
    """Its error says to promote it again: else that is a dead end on the day when the service is down."""
    folder = tiny_model(tmp_path / "kept", version="1")
    releases.publish(tiny_settings, folder, "churn_28d", "1")
    spoil(folder_of(tiny_settings, "1"))
    followed = Releases(tiny_settings)
    with pytest.raises(ReleaseError):
        followed.get("churn_28d")
    with caplog.at_level(logging.WARNING):
        assert releases.publish(tiny_settings, folder, "churn_28d", "1").repaired
    assert "release churn_28d 1 was damaged, and is replaced from" in caplog.text
    assert not releases.publish(tiny_settings, folder, "churn_28d", "1").repaired
    assert followed.get("churn_28d").version == "1"
    assert followed.errors == {}
    kept = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {path.name: path.read_bytes() for path in folder_of(tiny_settings, "1").iterdir()} == kept
    assert {p.name for p in folder_of(tiny_settings, "1").parent.iterdir()} == {"1", "CURRENT", "HISTORY"}


def test_a_damaged_release_is_not_replaced_by_what_is_damaged_too_or_another_model(
    tiny_settings, tiny_release, tmp_path
):
    """Else: the last copy that could be mended is gone, or a version means two models."""
    folder = tiny_model(tmp_path / "kept", version="1")
    releases.publish(tiny_settings, folder, "churn_28d", "1")
    damage(tiny_settings, "1")
    before = {path.name: path.read_bytes() for path in folder_of(tiny_settings, "1").iterdir()}
    with pytest.raises(ReleaseError, match="other content"):
        releases.publish(tiny_settings, tiny_model(tmp_path / "o", version="1", seed=1), "churn_28d", "1")
    add_a_byte(folder)
    with pytest.raises(ReleaseCorrupt, match="kept is not what was saved: card.json was changed"):
        releases.publish(tiny_settings, folder, "churn_28d", "1")
    assert {path.name: path.read_bytes() for path in folder_of(tiny_settings, "1").iterdir()} == before


def test_what_a_crash_left_of_a_replacement_is_cleared(tiny_settings, tmp_path):
    """Else: the first crash on a full disk makes every later repair fail."""
    folder = tiny_model(tmp_path / "kept", version="1")
    releases.publish(tiny_settings, folder, "churn_28d", "1")
    shutil.copytree(folder, folder_of(tiny_settings, ".1.damaged"))
    damage(tiny_settings, "1")
    releases.publish(tiny_settings, folder, "churn_28d", "1")
    assert releases.load(tiny_settings, "churn_28d").version == "1"
    assert {p.name for p in folder_of(tiny_settings, "1").parent.iterdir()} == {"1", "CURRENT", "HISTORY"}


@pytest.mark.parametrize("name", ["", "..", "../churn_28d", "a/b", ".hidden", "x" * 65, "churn 28d"])
def test_names_and_versions_cannot_leave_the_folder_of_releases(tiny_settings, name):
    for look in (releases.load, releases.current):
        with pytest.raises(UsageError, match="is not a model's name"):
            look(tiny_settings, name)
    if name:
        with pytest.raises(UsageError, match="is not a version"):
            releases.load(tiny_settings, "churn_28d", name)


def test_what_was_never_released_is_said_with_what_to_do(tiny_settings, tiny_release):
    assert releases.names(tiny_settings) == []
    with pytest.raises(ReleaseError, match="propensity promote churn_28d"):
        releases.load(tiny_settings, "churn_28d")
    with pytest.raises(ReleaseError, match="propensity promote churn_28d"):
        Releases(tiny_settings).get("churn_28d")
    tiny_release()
    with pytest.raises(ReleaseError, match="churn_28d 9 is not released"):
        releases.load(tiny_settings, "churn_28d", "9")


def test_a_promotion_and_a_rollback_are_followed_without_a_restart(tiny_settings, tiny_release):
    tiny_release(version="1")
    followed = Releases(tiny_settings)
    first = followed.get("churn_28d")
    assert followed.get("churn_28d") is first
    tiny_release(version="2", seed=1)
    assert followed.get("churn_28d").version == "2"
    point_at(tiny_settings, "1")
    assert followed.get("churn_28d") is first
    assert followed.errors == {}


def test_a_broken_new_release_leaves_the_old_one_serving_and_says_so(tiny_settings, tiny_release, caplog):
    tiny_release(version="1")
    followed = Releases(tiny_settings)
    followed.get("churn_28d")
    tiny_release(version="2", seed=1)
    damage(tiny_settings, "2")
    with caplog.at_level(logging.ERROR):
        assert {followed.get("churn_28d").version for _ in range(3)} == {"1"}
    assert "booster-0.txt was changed" in str(followed.errors["churn_28d"])
    assert len(caplog.records) == 1
    tiny_release(version="3", seed=2)
    assert followed.get("churn_28d").version == "3"
    assert followed.errors == {}


def test_a_broken_only_release_is_refused_with_the_reason_until_it_is_replaced(tiny_settings, tiny_release):
    tiny_release(version="1")
    damage(tiny_settings, "1")
    followed = Releases(tiny_settings)
    for _ in range(2):
        with pytest.raises(ReleaseCorrupt, match="booster-0.txt was changed"):
            followed.get("churn_28d")
    tiny_release(version="2", seed=1)
    assert followed.get("churn_28d").version == "2"


def test_requests_during_a_promotion_all_get_a_whole_release(tiny_settings, tiny_release):
    """Each answer is the old one's or the new one's; and after it, every one is the new one's."""
    expected = {tiny_release(version="1").model.score(ROWS).tobytes()}
    followed = Releases(tiny_settings)
    followed.get("churn_28d")
    expected.add(tiny_release(version="2", seed=1).model.score(ROWS).tobytes())
    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(lambda _: followed.get("churn_28d").model.score(ROWS).tobytes(), range(200)))
    assert got <= expected
    assert followed.get("churn_28d").version == "2"


def test_a_copy_of_a_releases_folder_is_no_target_of_its_own(tiny_settings, tiny_release):
    """A backup beside it would fail in every answer that names no target."""
    tiny_release()
    folder = folder_of(tiny_settings, "1").parent
    shutil.copytree(folder, folder.with_name("churn_28d.bak"))
    followed = Releases(tiny_settings)
    assert followed.targets() == ["churn_28d"]
    assert "by its card" in str(followed.errors["churn_28d.bak"]), "somebody should hear of it"


def test_a_pointer_to_a_version_that_is_not_there_is_a_damaged_release(tiny_settings, tiny_release):
    """Else, after a restart, "nothing is released: train" is said of what was promoted and lost."""
    tiny_release()
    point_at(tiny_settings, "9")
    with pytest.raises(ReleaseCorrupt, match=r"CURRENT names 9, which is not there: promote churn_28d again"):
        Releases(tiny_settings).get("churn_28d")
    with pytest.raises(ReleaseError, match="is not released") as asked:
        releases.load(tiny_settings, "churn_28d", "8")
    assert not isinstance(asked.value, ReleaseCorrupt)


def test_what_has_no_models_name_beside_the_releases_is_no_model(tiny_settings, tiny_release):
    """Else a copy that somebody left fails in every answer, with a code that no journey knows."""
    tiny_release()
    folder = folder_of(tiny_settings, "1").parent
    for stray in (".churn_28d.bak", "churn_28d (copy)", "客户流失"):
        shutil.copytree(folder, folder.with_name(stray))
    followed = Releases(tiny_settings)
    assert followed.targets() == followed.names() == releases.names(tiny_settings) == ["churn_28d"]
    assert followed.errors == {}


def test_a_pointer_that_cannot_be_looked_at_is_a_damaged_release(tiny_settings, tiny_release):
    """Else an internal error is all that anybody is told, and after a restart nothing."""
    release = tiny_release()
    followed, pointer = Releases(tiny_settings), folder_of(tiny_settings, "CURRENT")
    assert followed.get("churn_28d").version == "1"
    aside = pointer.rename(pointer.with_name("aside"))
    pointer.symlink_to(pointer)
    time.sleep(AT_ONCE)
    assert followed.get("churn_28d").version == release.version
    assert "CURRENT cannot be read" in str(followed.errors["churn_28d"])
    other = pointer.parent.with_name("value") / "CURRENT"
    other.parent.mkdir()
    other.symlink_to(other)
    anew = Releases(tiny_settings)
    assert (anew.targets(), anew.names()) == (["churn_28d"], ["churn_28d", "value"])
    for _ in range(2):
        with pytest.raises(ReleaseCorrupt, match="CURRENT cannot be read"):
            anew.get("churn_28d")
    aside.replace(pointer)
    time.sleep(AT_ONCE)
    for one in (followed, anew):
        assert one.get("churn_28d").version == "1"
        assert "churn_28d" not in one.errors


def test_a_refused_release_whose_files_are_put_right_in_their_place_is_loaded(tiny_settings, tiny_release):
    """Else whoever gives a folder back its rights, or a file its bytes, has to start every service again."""
    tiny_release()
    path = folder_of(tiny_settings, "1") / "booster-0.txt"
    text = path.read_bytes()
    damage(tiny_settings, "1")
    followed = Releases(tiny_settings)
    for _ in range(2):
        with pytest.raises(ReleaseCorrupt, match="booster-0.txt was changed"):
            followed.get("churn_28d")
    path.write_bytes(text)
    assert followed.get("churn_28d").version == "1"
    assert followed.errors == {}
