"""A slip in a file of links must not make a living customer vanish, nor bring back who was erased."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dirty import TILL, Brought, bring_in, write_shop

from features.inbox import Arrival, Inbox
from features.ingestion.rejects import export, take_in
from features.moments import parse_moment
from features.settings import Settings
from features.tombstones import Tombstones
from propensity import main
from propensity.erasing import erase, obey
from propensity.steps import take_inbox

LINKS = (
    "[mapping.till]\n"
    + TILL
    + """
[[mapping.till.read]]
table = "identities"
files = "links*.csv"
optional = true
[mapping.till.read.columns]
source = { value = "SOURCE" }
source_id = "old"
customer_id = "new"
at = "since"
"""
)
HER, LIVING, THIRD = "her-7531024", "living-1", "third-1"
SALES = f"no,who,day,paid\n1,{HER},2024-01-02,10\n2,{LIVING},2024-01-03,7\n3,{THIRD},2024-01-04,5\n"


def _shop(folder: Path, source: str = "till", links: str = "") -> Settings:
    files = {"orders.csv": SALES} | ({"links.csv": f"old,new,since\n{links}"} if links else {})
    settings = write_shop(folder, LINKS.replace("SOURCE", source), files)
    bring_in(settings)
    return settings


def _linked(settings: Settings, *links: str) -> Brought:
    path = settings.shop / "links.csv"
    if links:
        path.write_text("old,new,since\n" + "".join(f"{link},2024-02-01\n" for link in links))
    else:
        path.unlink()
    return bring_in(settings)


def _owners(done: Brought) -> dict[str, str]:
    return {row["order_id"]: row["customer_id"] for row in done.rows("orders")}


def _run(settings: Settings, *words: str) -> Result:
    env = {"PROPENSITY_HOME": str(settings.home), "PROPENSITY_SHOP": str(settings.shop), "COLUMNS": "300"}
    return CliRunner().invoke(main, [*words], env=env)


def _names_her(settings: Settings) -> list[Path]:
    import pyarrow.parquet as pq

    def body(path: Path) -> bytes:
        told = str(pq.read_table(path, partitioning=None).to_pylist()) if path.suffix == ".parquet" else ""
        return path.read_bytes() + told.encode()

    return [p for p in settings.home.rglob("*") if p.is_file() and b"7531024" in body(p)]


@pytest.mark.parametrize("link", [f"{HER},{LIVING}", f"{LIVING},{HER}"])
def test_a_link_to_somebody_erased_is_refused_and_the_living_one_stays_whole(
    tmp_path: Path, link: str
) -> None:
    """Else one wrong line erases a customer for good, and no warning says whom."""
    settings = _shop(tmp_path)
    erase(settings, HER)
    whole, stones = {"2": LIVING, "3": THIRD}, Tombstones.of(settings).digest
    done = _linked(settings, link)
    assert _owners(done) == whole
    (odd,) = done.done.suspicions
    assert (odd.kind, LIVING in odd.what.en, "links.csv, row 1" in odd.what.en) == ("links", True, True)
    assert not done.done.lost, "told once"
    (sample,) = done.done.samples
    assert LIVING in sample.value
    assert sample.file == "links.csv"
    assert _names_her(settings) == [], "what is kept of the link does not name who was erased"
    result = _run(settings, "ingest")
    assert (result.exit_code, "same person as one who was erased" in result.output) == (3, True)
    withdrawn = _linked(settings)
    assert _owners(withdrawn) == whole
    assert (withdrawn.done.suspicions, withdrawn.done.shrunk) == ((), ())
    assert Tombstones.of(settings).digest == stones, "nobody was erased by it"
    assert "order" in _run(settings, "erase", "--dry-run", LIVING).output


def test_who_was_linked_before_is_erased_with_her_and_the_old_files_stay_quiet(tmp_path: Path) -> None:
    """Else each night warns of it, or her other card comes back as a new person."""
    settings = _shop(tmp_path, links=f"{HER},{LIVING},2024-02-01\n")
    assert erase(settings, LIVING).ids == 2
    done = bring_in(settings)
    assert (_owners(done), done.done.suspicions, done.done.samples) == ({"3": THIRD}, (), ())
    (settings.shop / "orders.csv").write_text(SALES + f"4,{HER},2024-02-02,10\n5,{LIVING},2024-02-02,10\n")
    done = bring_in(settings)
    assert (_owners(done), done.done.suspicions, done.done.samples) == ({"3": THIRD}, (), ())
    assert _run(settings, "ingest").exit_code == 0


def test_a_chain_reaches_nobody_through_her(tmp_path: Path) -> None:
    settings = _shop(tmp_path, source="crm")
    erase(settings, HER)
    done = _linked(settings, f"k9,{HER}", f"k9,{LIVING}", f"k8,{THIRD}", f"k8,{LIVING}")
    assert _owners(done) == {"2": LIVING, "3": LIVING}, "what links the living holds"
    (odd,) = done.done.suspicions
    assert "k9" in odd.what.en
    assert "erase --source crm --id k9" in odd.do.en
    assert _names_her(settings) == []


def test_a_refused_link_that_was_right_is_obeyed_as_it_says(tmp_path: Path) -> None:
    """An id that is hers alone can be erased by what the warning says, and is quiet from then on."""
    settings = _shop(tmp_path, source="crm")
    erase(settings, HER)
    done = _linked(settings, f"k9,{HER}")
    assert [odd.kind for odd in done.done.suspicions] == ["links"]
    assert _run(settings, "erase", "--source", "crm", "--id", "k9").exit_code == 0
    done = bring_in(settings)
    assert (done.done.suspicions, done.done.samples, _names_her(settings)) == ((), (), [])
    stones = Tombstones.of(settings)
    event = Arrival("crm", "e1", b"", "crm:k9", parse_moment("2024-02-05"), [], ("crm", "k9"))
    assert event.erased(stones), "and no event brings her back under it"


def test_a_source_that_comes_later_brings_nobody_back(tmp_path: Path) -> None:
    """Her account with another system is hers, although nobody knew of it when she was erased."""
    settings = _shop(tmp_path)
    erase(settings, HER)
    more = (settings.shop / "shop.toml").read_text() + "\n[mapping.web]\n" + TILL.replace("till", "web")
    (settings.shop / "shop.toml").write_text(
        more.replace('"orders.csv"\n[mapping.web', '"web.csv"\n[mapping.web')
    )
    (settings.shop / "web.csv").write_text(
        f"no,who,day,paid\nw1,{HER},2024-01-02,10\nw2,{THIRD},2024-01-03,7\n"
    )
    done = bring_in(settings)
    assert (_owners(done), done.done.suspicions) == ({"2": LIVING, "3": THIRD, "w2": THIRD}, ())
    assert Tombstones.of(settings).identities([("web", HER)]) == {("web", HER)}
    assert _names_her(settings) == []


def test_of_a_restored_log_that_linked_them_who_lives_stays(tmp_path: Path) -> None:
    """A backup from before the slip was found must not take the living along."""
    settings = _shop(tmp_path, links=f"{HER},{LIVING},2024-02-01\n")
    Tombstones.of(settings).having([HER], [("till", HER)]).write()  # as they come from where she was erased
    obey(settings)
    done = bring_in(settings)
    assert _owners(done) == {"2": LIVING, "3": THIRD}
    assert [odd.kind for odd in done.done.suspicions] == ["links"]
    assert not done.done.shrunk
    assert _names_her(settings) == []


def test_an_event_of_the_living_is_theirs_although_a_file_links_them_to_her(tmp_path: Path) -> None:
    """Else what a customer does now is lost, in the log and in the row that is served of them."""
    settings = _shop(tmp_path, source="crm")
    erase(settings, HER)
    visit = {"interaction_id": "v1", "kind": "visit", "channel": "web"}
    named = {"source": "crm", "source_id": "k9"}
    rows = [("interactions", visit), ("identities", named)]
    came = Arrival("crm", "e1", b"", "crm:k9", parse_moment("2024-02-05"), rows, ("crm", "k9"))
    with closing(Inbox(settings)) as inbox:
        assert inbox.accept([came], parse_moment("2024-02-05")) == [("accepted", "crm:k9")]
    take_inbox(settings)
    done = _linked(settings, f"k9,{HER}")
    assert [odd.kind for odd in done.done.suspicions] == ["links"]
    assert [row["customer_id"] for row in done.rows("interactions")] == ["crm:k9"]
    with closing(Inbox(settings)) as inbox:
        assert [row.customer_id for row in inbox.rows(["crm:k9"], ["interactions"])] == ["crm:k9"]
        again = replace(came, id="e2")
        (told,) = inbox.accept([again], parse_moment("2024-02-06"))
    assert told[0] != "customer_erased", "the link did not pass on her tombstone"


def test_a_mended_link_to_somebody_erased_is_no_better(tmp_path: Path) -> None:
    """What the files may not do, the sheet may not; the sheet can say who it is instead."""
    settings = _shop(tmp_path, source="crm")
    erase(settings, HER)
    _linked(settings, f"k9,{HER}")
    sheet = tmp_path / "rejects.csv"
    assert export(settings, sheet) == 1
    text = sheet.read_text()
    head, row = text.splitlines()
    cells = dict(zip(head.split(","), row.split(","), strict=True))

    def mended(customer: str) -> str:
        return head + "\n" + ",".join({**cells, "customer_id": customer}.values()) + "\n"

    sheet.write_text(mended(HER))
    done = take_in(settings, sheet)
    assert any("not mended" in c.what and "erased" in c.what for c in done.account)
    sheet.write_text(mended(LIVING))
    take_in(settings, sheet)
    done = bring_in(settings)
    assert ("crm", "k9", LIVING) in {
        (r["source"], r["source_id"], r["customer_id"]) for r in done.rows("identities")
    }
    assert _owners(done) == {"2": LIVING, "3": THIRD}
