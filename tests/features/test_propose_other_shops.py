"""A first mapping of shops that name their columns in other ways: nothing that their files say is lost."""

from collections import Counter
from pathlib import Path

import pytest
from dirty import Brought, bring_in, write_shop

from features.sources.propose import Proposal, propose

MEMBERS = [f"M-{n:04d}" for n in range(1, 41)]
GERMAN = ("Belegnummer;Mitglied;Kaufdatum;Umsatz", ";", "{d:02}.01.2024 10:30", "5,50")
ENGLISH = ("order_id,customer,created_at,total", ",", "2024-01-{d:02} 10:30", "5.50")
CHINESE = ("小票号,卡号,交易时间,实付", ",", "2024/01/{d:02} 10:30", "5.50")


def orders(folder: Path, how: tuple[str, str, str, str], ids: list[str] = MEMBERS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    head, separator, day, amount = how
    rows = [
        separator.join((f"A{n}", ids[n % len(ids)], day.format(d=1 + n % 28), amount))
        for n in range(2 * len(ids))
    ]
    (folder / "orders.csv").write_text("\n".join([head, *rows, ""]), "utf-8")
    return folder


def beside(folder: Path, name: str, head: str, rows: list[str]) -> None:
    (folder / name).write_text("\n".join([head, *rows, ""]), "utf-8")


def brought(raw: Path) -> tuple[Proposal, Brought]:
    """What is proposed, and what it brings in as it stands."""
    proposal = propose([raw])
    return proposal, bring_in(write_shop(raw.parent, proposal.toml, {}, zone="Europe/Berlin", currency="EUR"))


def changes(log: Brought) -> Counter[str]:
    return Counter(row["change"] for row in log.rows("cases"))


def still_open(log: Brought) -> int:
    state: dict[str, set[str]] = {}
    for row in log.rows("cases"):
        state.setdefault(row["case_id"], set()).add(row["change"])
    return sum(of == {"opened"} for of in state.values())


TICKETS = [
    (ENGLISH, "tickets.csv", "ticket,customer,kind,opened_at,closed_at", "T{n},{m},complaint,{o},{c}"),
    (
        GERMAN,
        "reklamationen.csv",
        "Vorgang;Mitglied;Art;Angelegt;Erledigt am",
        "V{n};{m};Beschwerde;{o};{c}",
    ),
    (CHINESE, "客诉.csv", "编码,卡号,类别,登记时间,办结时间", "GD{n},{m},投诉,{o},{c}"),
    (ENGLISH, "complaints.csv", "customer,received,reason,resolved_on", "{m},{o},late,{c}"),  # no number
]


@pytest.mark.parametrize(("how", "name", "head", "row"), TICKETS)
def test_a_case_is_closed_whatever_its_number_is_called(
    tmp_path: Path, how: tuple[str, str, str, str], name: str, head: str, row: str
) -> None:
    """Else every complaint stays open for ever, and binds each decision about its customer."""
    raw = orders(tmp_path / "raw", how)
    cases = [
        row.format(
            n=n, m=m, o=f"2024-02-{1 + n % 28:02} 09:00", c=f"2024-03-{1 + n % 28:02} 10:00" * (n % 4 > 0)
        )
        for n, m in enumerate(MEMBERS)
    ]
    beside(raw, name, head, cases)
    proposal, log = brought(raw)
    assert changes(log) == {"opened": 40, "closed": 30}
    assert still_open(log) == 10
    assert not any("not placed" in note for note in proposal.notes)


def test_a_status_says_that_a_case_is_closed_and_its_last_change_when(tmp_path: Path) -> None:
    """Else a desk that has no column of closings leaves every complaint open; what is assumed is asked."""
    raw = orders(tmp_path / "raw", ENGLISH)
    words = ("open", "closed", "resolved", "pending")
    rows = [
        f"R{n},{m},complaint,{words[n % 4]},2024-02-01 09:00,2024-02-{2 + n % 20:02} 10:00"
        for n, m in enumerate(MEMBERS)
    ]
    beside(raw, "support.csv", "reference,customer,category,status,created,updated", rows)
    proposal, log = brought(raw)
    assert (changes(log), still_open(log)) == ({"opened": 40, "closed": 20}, 20)
    assert any("DECIDE: taken as closed when updated says" in note for note in proposal.notes)
    rows = [row.rpartition(",")[0] for row in rows]
    beside(raw, "support.csv", "reference,customer,category,status,created", rows)
    proposal, log = brought(raw)
    assert changes(log) == {"opened": 40}
    asked = (
        "DECIDE: status says closed of 20 rows, and no column says when: they stay open until a reading does"
    )
    assert f"# {asked}" in proposal.toml
    assert f"  {asked}" in proposal.notes


def test_of_every_kind_of_file_is_said_what_its_columns_are_taken_for(tmp_path: Path) -> None:
    """Else a wrong guess in a file of cases is found when the log is full of them."""
    raw = orders(tmp_path / "raw", ENGLISH)
    beside(
        raw,
        "tickets.csv",
        TICKETS[0][2],
        [f"T{n},{m},complaint,2024-02-01 09:00," for n, m in enumerate(MEMBERS)],
    )
    beside(
        raw,
        "nps.csv",
        "customer,answered_at,nps",
        [f"{m},2024-02-01 09:00,{n % 11}" for n, m in enumerate(MEMBERS)],
    )
    notes = propose([raw]).notes
    for said in (
        "  case_id      <- 40 different values, another in every row; column 'ticket'",
        "  kind         <- 100.0% of its values are words that are known (complaint); column 'kind'",
        '  change       <- "opened" in every row',
        "  score        <- 100.0% of its values are numbers; column 'nps'",
        "  at           <- 100.0% of its values read as ISO times; column 'answered_at'",
    ):
        assert said in notes
    assert "  not placed: closed_at" in notes


def test_a_column_whose_name_is_in_another_word_is_not_passed_over(tmp_path: Path) -> None:
    """`no` is in `not` and `tone` in `stone`: what nobody placed is told, so that nothing is lost unseen."""
    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [f"{n},{m},2024-01-02 10:00,5.50,x,1" for n, m in enumerate(MEMBERS)]
    beside(raw, "orders.csv", "order_id,customer_id,order_date,total,ord,to", rows)
    assert "  not placed: ord, to" in propose([raw]).notes


PEOPLE = [
    (GERMAN, "stammdaten.csv", "Nr;PLZ;Nachname;Anmeldung", "{m};{z};Kurz;03.02.2023"),
    (GERMAN, "kunden.csv", "Mitglied;Ort;Seit", "{m};Wien;03.02.2023"),
    (ENGLISH, "people.csv", "id,email,city,signup_date", "{m},a{z}@example.org,York,2023-02-03"),
    (CHINESE, "档案.csv", "卡号,姓名,城市,开卡日期", "{m},李四,上海,2023-02-03"),
]


@pytest.mark.parametrize(("how", "name", "head", "row"), PEOPLE)
def test_a_list_of_customers_is_known_by_the_ids_that_the_sales_have(
    tmp_path: Path, how: tuple[str, str, str, str], name: str, head: str, row: str
) -> None:
    """Else where customers live and since when they came stays outside, though every id is the sales'."""
    raw = orders(tmp_path / "raw", how)
    beside(raw, name, head, [row.format(m=m, z=10_000 + 7 * n) for n, m in enumerate(MEMBERS)])
    _, log = brought(raw)
    assert log.fates("customers") == {"accepted": 40}
    assert {row["customer_id"] for row in log.rows("customers")} == set(MEMBERS)
    assert {row["at"].year for row in log.rows("customers")} == {2023}


def test_numbers_that_only_look_like_customers_are_none(tmp_path: Path) -> None:
    """Else the points of a price list, or the days of a table, are people."""
    raw = orders(tmp_path / "raw", ENGLISH, [str(n) for n in range(1, 41)])
    beside(raw, "shelf.csv", "place,note", [f"{n},x" for n in range(1, 41)])
    assert "not placed, and like no table" in propose([raw]).toml
    raw = orders(tmp_path / "more", ENGLISH, [str(n) for n in range(1001, 1041)])
    beside(raw, "shelf.csv", "place,price,note", [f"{n},{n}.5,x" for n in range(1001, 1041)])
    assert "not placed, and like no table" in propose([raw]).toml


@pytest.mark.parametrize(
    ("how", "name", "head", "row", "names"),
    [
        (ENGLISH, "scores.csv", "customer,credit_score,known_at", "{m},{x},{day} 00:00", ["credit_score"]),
        (GERMAN, "bonitaet.csv", "Mitglied;Bonität;Risiko;Tag", "{m};{x};{x};{day}", ["Bonität", "Risiko"]),
        (CHINESE, "信用分.csv", "卡号,信用分,评估日期", "{m},{x},{day}", ["信用分"]),
        (ENGLISH, "churn_scores.csv", "customer,model,score,scored_at", "{m},ltv,{x},{day} 02:00", ["ltv"]),
    ],
)  # fmt: skip
def test_scores_that_others_computed_come_in_as_they_are(
    tmp_path: Path, how: tuple[str, str, str, str], name: str, head: str, row: str, names: list[str]
) -> None:
    """Else the plainest table of scores waits until somebody has filled in a comment."""
    raw = orders(tmp_path / "raw", how)
    days = ("2024-02-01", "2024-03-01")
    beside(raw, name, head, [row.format(m=m, x=n, day=day) for n, m in enumerate(MEMBERS) for day in days])
    _, log = brought(raw)
    assert Counter(row["name"] for row in log.rows("scores")) == dict.fromkeys(names, 80)
    assert {row["known_at"].month for row in log.rows("scores")} == {2, 3} if names[0] == "ltv" else True


@pytest.mark.parametrize(
    ("how", "name", "head", "row", "kind"),
    [
        (ENGLISH, "visits.csv", "visit_id,customer,at,tz,channel", "v{n},{m},{day} 10:00,{z},web", "visit"),
        (GERMAN, "besuche.csv", "Besuch;Mitglied;Zeit;Ort;Zeitzone", "B{n};{m};{day} 10:00;Web;{z}", "visit"),
        (ENGLISH, "logins.csv", "session,customer,ts,device,tz", "s{n},{m},{day} 10:00:00,ios,{z}", "login"),
        (CHINESE, "到店.csv", "记录号,卡号,时间,时区", "{n},{m},{day} 10:00,{z}", "visit"),
    ],
)  # fmt: skip
def test_a_file_of_visits_says_by_its_name_what_they_are(
    tmp_path: Path, how: tuple[str, str, str, str], name: str, head: str, row: str, kind: str
) -> None:
    """Else a column of numbers is taken for their kind, and their zone is not seen: hours off."""
    raw = orders(tmp_path / "raw", how)
    beside(
        raw,
        name,
        head,
        [
            row.format(n=n, m=m, day=f"2024-02-{1 + n % 28:02}", z="Asia/Shanghai")
            for n, m in enumerate(MEMBERS)
        ],
    )
    _, log = brought(raw)
    assert {row["kind"] for row in log.rows("interactions")} == {kind}
    assert {row["at"].hour for row in log.rows("interactions")} == {2}, "10:00 in Shanghai"
    assert len({row["interaction_id"] for row in log.rows("interactions")}) == 40


def test_a_reading_to_fill_in_takes_no_number_for_a_word(tmp_path: Path) -> None:
    """Nobody can fill in a map of v0, v1, v10 ...; and what is called as the table's column is it."""
    raw = orders(tmp_path / "raw", ENGLISH)
    rows = [f"v{n},{m},2024-02-01 10:00:00,Asia/Shanghai,web" for n, m in enumerate(MEMBERS)]
    beside(raw, "pages.csv", "page_no,customer,at,tz,channel", rows)
    toml = propose([raw]).toml
    assert '# table = "interactions"' in toml
    assert '# kind = { value = "..." }  # visit, view, cart, comment, live, login' in toml
    assert '# channel = "channel"' in toml
    assert '# zone = { column = "tz" }' in toml
