"""What is declared, for people: a search through the features, and the page of all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from features import pages
from features.definitions import UNITS, Feature, tables_of
from features.tables import TABLES
from features.words import Words

# What a table of the log holds, in words; computed features come last.
_TABLES = {
    "orders": Words("Orders", "订单"),
    "order_lines": Words("Order lines", "订单商品行"),
    "contacts": Words("Campaign contacts", "营销触达"),
    "responses": Words("Responses", "营销响应"),
    "interactions": Words("Visits and other interactions", "到访与互动"),
    "memberships": Words("Groups and staff contacts", "社群与导购"),
    "cases": Words("Complaints, returns, questions", "投诉、退货与咨询"),
    "surveys": Words("Surveys", "问卷"),
    "tags": Words("Imported tags", "导入标签"),
    "consents": Words("Consents", "授权同意"),
    "customers": Words("Customers", "客户"),
    "identities": Words("Accounts in other systems", "其他系统账号"),
    "scores": Words("Scores of other systems", "外部评分"),
    "calendar": Words("Calendar", "营销日历"),
}
_COMPUTED = Words("Computed from other features", "由其他特征计算")


@dataclass(frozen=True)
class Listed:
    """One feature as it is listed.

    lacking: tables that it needs and the log has not; None without a log. remark: what else the log lacks.
    """

    feature: Feature
    tables: frozenset[str]
    lacking: tuple[str, ...] | None
    remark: Words | None = None

    @property
    def unit(self) -> Words:
        """Its unit in words; as it is declared, if nobody has put it in words."""
        return UNITS.get(self.feature.unit, Words(self.feature.unit, self.feature.unit))

    @property
    def state(self) -> Words:
        """Whether the log lets it be computed."""
        if self.lacking is None:
            return Words("no log yet", "尚无日志")
        if not self.lacking:
            return self.remark or Words("yes", "可用")
        return Words(f"lacks {', '.join(self.lacking)}", f"缺少{'、'.join(self.lacking)}")


def listed(
    features: Mapping[str, Feature],
    of_log: Collection[str] | None,
    find: str = "",
    table: str | None = None,
    available: bool = False,
    remarks: Mapping[str, Words] | None = None,
) -> list[Listed]:
    """The features in their order. of_log: the log's tables, if there is a log.

    find: words that must all be in the name, the words of either language, the unit or what it is computed
    from. table: only those that need it. available: only those that the log lets be computed.
    remarks: on features, see `Listed`.
    """
    rows = []
    for feature in features.values():
        needed = tables_of(feature, features)
        lacking = None if of_log is None else tuple(sorted(needed - set(of_log)))
        row = Listed(feature, needed, lacking, (remarks or {}).get(feature.name))
        text = " ".join((feature.name, *feature.words, *row.unit, feature.source)).lower()
        if (
            all(word in text for word in find.lower().split())
            and (table is None or table in needed)
            and not (available and lacking != ())
        ):
            rows.append(row)
    return rows


def page(shop: str, rows: Sequence[Listed]) -> str:
    """The page of the features, by table, in both languages, with a search box."""
    parts: list[pages.Html] = []
    for table in dict.fromkeys((*_TABLES, *TABLES, None)):
        here = [row for row in rows if row.feature.table == table]
        if here:
            parts.append(pages.section(_title(table, len(here)), _table(here), open=not parts))
    known = sum(row.lacking == () for row in rows)
    with_log = any(row.lacking is not None for row in rows)
    note = Words(
        f"{len(rows)} features of {shop}" + (f", {known} of them available in its log." if with_log else "."),
        f"{shop}共{len(rows)}个特征" + (f"，其中{known}个在其日志中可用。" if with_log else "。"),
    )
    return pages.page(Words("Features", "客户特征"), pages.search_box(), *parts, note=note)


def _title(table: str | None, number: int) -> Words:
    words = _COMPUTED if table is None else _TABLES.get(table, Words(table, table))
    return Words(f"{words.en} ({number})", f"{words.zh}（{number}）")


def _table(rows: Sequence[Listed]) -> pages.Html:
    head = (
        Words("Meaning", "含义"), Words("Name", "名称"), Words("Unit", "单位"),
        Words("Computed as", "计算方式"), Words("In the log", "日志中"),
    )  # fmt: skip
    return pages.table(
        head,
        [
            (
                row.feature.words, pages.code(row.feature.name), row.unit,
                pages.code(row.feature.source), row.state,
            )
            for row in rows
        ],
    )  # fmt: skip
