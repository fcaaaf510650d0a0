"""The page of a described log: the verdict first, then what to look at, then the detail."""

from features.describe import sheets
from features.describe.facts import Facts
from features.describe.say import words
from features.describe.sheets import Sheet
from features.describe.verdict import Verdict
from features.pages import Html, banner, bars, page, paragraph, section, table, tiles
from features.words import Words


def render(facts: Facts, verdict: Verdict, language: str = "en") -> str:
    """One self-contained HTML document in both languages; `language`: the one that it shows at first."""
    return page(
        words("Customer log of {shop}", "{shop}的客户日志", shop=facts.shop),
        banner("good" if verdict.enough else "bad", verdict.words),
        tiles(sheets.headline(facts)),
        _shown(verdict.sheet),
        _shown(sheets.months(facts), *_charts(facts)),
        _shown(sheets.gaps(facts)),
        _shown(sheets.customers(facts)),
        _shown(sheets.returns(facts)),
        _shown(sheets.parts(facts)),
        _shown(sheets.fates(facts)),
        _shown(sheets.absent(facts)),
        _shown(sheets.consents(facts)),
        note=sheets.states(facts),
        language=language,
    )


def _shown(sheet: Sheet, *pictures: Html) -> Html:
    if not sheet.rows:
        body = paragraph(sheet.empty)
    elif len(sheet.head) == 2:
        body = tiles((name, number) for name, number in sheet.rows)
    else:
        body = table(sheet.head, sheet.rows, sheet.right)
    return section(sheet.title, *pictures, body, note=sheet.note or "")


def _charts(facts: Facts) -> list[Html]:
    months = [month for month in facts.months if month.days]
    names = [f"{month.start:%Y-%m}" for month in months]
    pictures = (
        (Words("Orders", "订单"), [month.orders for month in months]),
        (words("Sales, {c}", "销售额（{c}）", c=facts.currency), [round(month.sales) for month in months]),
        (Words("Active customers", "活跃客户"), [month.active for month in months]),
    )
    return [bars(list(zip(names, values, strict=True)), title) for title, values in pictures]
