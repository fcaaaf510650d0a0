"""Files of complaints, returns and questions: which number names a case, and when each was closed.

A case that is opened and never closed binds every decision about its customer: what closes it is looked for in a time,
else in a status and the time of the last change, and what cannot be found is asked for.
"""

import re

from features.sources.guesses import Column
from features.sources.raw import literal, quoted
from features.sources.sheet import (
    PERSONAL,
    Reads,
    Sheet,
    always,
    declared,
    known_words,
    rows_with,
    text,
    translated,
)
from features.sources.vocabulary import OWN, WORDS

ABOUT = r"\b(case|ticket|complaint|claim)s?[ _.-]?(id|no|num|number)?|complain|complaint|工单|投诉|客诉|售后|r[ée]clamation|beschwerde|reklamation|queja|support|helpdesk"
NUMBER = r"(case|ticket|complaint|claim|dossier|vorgang|工单|投诉|r[ée]clamation|beschwerde|reklamation).*(id|no|num|号|编号|nr)|^(id|no|num|nr|n°)[ _.]?(de )?(case|ticket|complaint|claim|dossier|r[ée]clamation)"
ITSELF = r"^(case|ticket|complaint|claim|dossier|vorgang|fall|reference|工单|r[ée]clamation|beschwerde|reklamation|queja)$"
CLOSED = r"clos|resolv|solved|end|finish|结案|关闭|解决|完结|完成|办结|处理完|cl[ôo]tur|ferm|r[ée]solu|geschlossen|erledigt|gel[öo]st|beendet|cerr"
OPENED = r"open|creat|start|submi|receiv|raised|report|filed|logged|受理|创建|提交|登记|投诉时间|开始|ouver|cr[ée]|re[çc]u|er[öo]ffnet|angelegt|erfasst|eingang|gemeldet|abiert|recib"
CHANGED = r"updat|modif|chang|last|更新|修改|变更|ge[äa]ndert|aktualisiert|mis.?[àa].?jour|actualiz"


def own_number(sheet: Sheet, change: Column | None = None, but: tuple[Column, ...] = ()) -> Column | None:
    """The column that names what each row is of: another in every row, or in every row of one `change`.

    What is called so comes first; then a column without blanks in its values, for a sentence is no number.
    """

    def names_it(column: Column) -> bool:
        often = max(2, change.distinct) if change else 1
        return column.filled == 1 and column.distinct >= column.rows / often

    for pattern in (OWN, ITSELF):
        named = sheet.named(pattern, time=False, but=but)
        if named is not None and names_it(named):
            return named
    for column in sheet.columns:
        person = column is sheet.customer or re.search(PERSONAL, column.name, re.IGNORECASE)
        plain = all(re.fullmatch(r"\S{1,40}", str(value).strip()) for value, _ in column.top)
        fraction = any(re.search(r"\d[.,]\d", str(value)) for value, _ in column.top)
        if person or column in but or column.format is not None or fraction or not plain:
            continue
        if names_it(column):
            return column
    return None


def cases(sheet: Sheet) -> list[Reads]:
    """Openings, and closings if the file tells them; or changes, where it has a row of each."""
    if not sheet.about(ABOUT) or sheet.main_time is None:
        return []
    if sheet.named(r"sku|product|商品|quantity|数量") is not None:
        return []
    kind, channel = sheet.worded("case"), sheet.worded("channel")
    taken = tuple(c for c in (kind, channel) if c)
    change = sheet.worded("progress", taken, most=0.5)
    order = sheet.named(r"order|订单|commande|bestell|invoice|facture", time=False)
    reason = sheet.named(r"reason|cause|motif|grund|motivo|原因|内容|subject|sujet|betreff", time=False)
    more = {"kind": translated(kind, "case") if kind else _kind_of(sheet)}
    number = sheet.named(NUMBER, time=False)
    if number is None:
        number = own_number(sheet, change, (*taken, *(c for c in (change, order, reason) if c)))
    if number is not None:
        more["case_id"] = text(number.name)
    for column, found in (("ref", order), ("reason", reason)):
        if found is not None:
            more[column] = text(found.name)
    if channel is not None:
        more["channel"] = translated(channel, "channel")
    closed = sheet.named(CLOSED, time=True)
    opened = sheet.named(OPENED, time=True, but=(closed,) if closed else ())
    at = opened or (sheet.main_time if sheet.main_time is not closed else None)
    if at is None:
        return []
    a_row_a_change = closed is None and number is not None and number.distinct < number.rows
    if a_row_a_change and change is not None and sheet.worded("progress", taken) is change:
        return [Reads("cases", declared(sheet, at, **more, change=translated(change, "progress")))]
    if closed is not None and number is None:  # without an id nobody knows which one was closed
        made = f"concat_ws(' ', {quoted(sheet.customer.name)}, {quoted(at.name)})"
        more["case_id"] = (
            f"{{ sql = {text(made)} }}  # DECIDE: no column names a case, so its customer and time do"
        )
    openings = [Reads("cases", declared(sheet, at, **more, change=always("opened")))]
    if closed is not None:
        more["change"] = always("closed")
        return [*openings, Reads("cases", declared(sheet, closed, **more), rows_with(closed))]
    return _with_status(sheet, openings, more, change, at)


def _kind_of(sheet: Sheet) -> str:
    said = next((to for to, pattern in WORDS["case"].items() if sheet.about(pattern)), None)
    return always(said or "complaint", "" if said else "or return, question")


def _with_status(
    sheet: Sheet, opened: list[Reads], more: dict[str, str], change: Column | None, at: Column
) -> list[Reads]:
    """A row a case that says how it stands now: closed with its last change; else a person is asked."""
    done = [word for word, to in known_words(change, "progress").items() if to == "closed"] if change else []
    if change is None or not done:
        said = (
            "DECIDE: no column says when a case was closed, so all stay open: add a reading of the closings"
        )
        return [Reads(of.table, of.lines, (f"# {said}", *of.head)) for of in opened]
    last = sheet.named(CHANGED, time=True, but=(at,))
    if last is None or "case_id" not in more:
        rows = sum(n for word, n in change.top if str(word) in done)
        what = "no column says when" if last is None else "no column names the case"
        said = f"DECIDE: {change.name} says closed of {rows:,} rows, and {what}: they stay open until a reading does"
        return [Reads(of.table, of.lines, (f"# {said}", *of.head)) for of in opened]
    words = ", ".join(map(literal, done))
    where = f"where = {text(f'trim({quoted(change.name)}) IN ({words})')}"
    decide = f"# DECIDE: taken as closed when {last.name} says that it last changed"
    lines = declared(sheet, last, **{**more, "change": always("closed")})
    return [*opened, Reads("cases", lines, (where, decide))]
