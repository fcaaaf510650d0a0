"""Files of other things than orders, recognised by what columns are called and by the words in them.

A reading is proposed only if each column that its table must have is found, or can be said once for all rows.
"""

import json
import re
from collections.abc import Callable

from features.sources.cases import cases, own_number
from features.sources.raw import literal, quoted
from features.sources.sheet import (
    Reads,
    Sheet,
    always,
    channel_of,
    declared,
    known_words,
    meanings,
    rows_with,
    text,
    translated,
)
from features.sources.vocabulary import WORDS

SCORES = r"scor|risk|risik|churn|bonit|评分|得分|分数|信用分|风险|puntuaci|risque"
NAMED = r"name|model|kind|type|score|名|模型|类型|mod[eè]l"  # of a column that says which score a row is
MOSTLY = 0.95  # of the values: so many numbers, and a word among them is a mistake
FEW = 20  # different values of a score that is none of numbers


def propose_kind(sheet: Sheet) -> list[Reads]:
    """The readings of a file of other things; none if it is not recognised for certain."""
    rules: tuple[Callable[[Sheet], list[Reads]], ...] = (
        _memberships, _consents, cases, _surveys, _coupons, _responses, _contacts, _interactions, _tags, _scores,
    )  # fmt: skip
    if sheet.of_people:  # who takes the newsletter is said of them, and is none that was sent
        rules = (_memberships, _consents)
    for rule in rules:
        if found := rule(sheet):
            return found
    return []


def _memberships(sheet: Sheet) -> list[Reads]:
    staff = r"staff|advisor|guide|employee|导购|店员|顾问|员工|conseill|berater|vendeur"
    place = sheet.named(rf"group|群|{staff}|community|社群|groupe|gruppe", time=False)
    if place is None or meanings(place, "membership"):
        place = sheet.named(
            r"(group|群|staff|导购|顾问|店员).*(id|no|name|号|名)|^(group|群|staff|导购)$", time=False
        )
    if place is None:
        return []
    kind = always("staff" if re.search(staff, place.name, re.I) else "group")
    change = sheet.worded("membership", (place,))
    if change is not None and sheet.main_time is not None:
        more = {"kind": kind, "place_id": text(place.name), "change": translated(change, "membership")}
        return [Reads("memberships", declared(sheet, sheet.main_time, **more))]
    joined = sheet.named(
        r"join|add(ed)?|enter|入群|进群|加入|添加|入会|entr[ée]e|inscri|beitritt|alta", time=True
    )
    left = sheet.named(
        r"left|leave|quit|exit|delet|退群|退出|离开|退会|移除|删除|流失|sortie|d[ée]part|austritt|baja",
        time=True,
    )
    if joined is None:
        return []
    more = {"kind": kind, "place_id": text(place.name), "change": always("joined")}
    found = [Reads("memberships", declared(sheet, joined, **more))]
    if left is not None:
        more["change"] = always("left")
        found.append(Reads("memberships", declared(sheet, left, **more), rows_with(left)))
    return found


def _consents(sheet: Sheet) -> list[Reads]:
    about = r"consent|opt.?(in|out)|subscri|gdpr|rgpd|dsgvo|permission|同意|授权|退订|订阅|许可|einwillig|consentement"
    if not sheet.about(about) or sheet.main_time is None:
        return []
    purpose = sheet.worded("purpose")
    means = translated(purpose, "purpose") if purpose else always("marketing", "or service, automation")
    wide = [
        (c, to)
        for c in sheet.columns
        for to, said in WORDS["channel"].items()
        if re.search(rf"(^|[\W_])({said})($|[\W_])|[\u4e00-\u9fff]*({said})[\u4e00-\u9fff]", c.name, re.I)
        and re.search(about, c.name, re.I)
        and meanings(c, "consent")
    ]
    if wide:
        return [
            Reads(
                "consents",
                declared(
                    sheet,
                    sheet.main_time,
                    channel=always(to),
                    purpose=means,
                    status=translated(c, "consent"),
                ),
            )
            for c, to in dict(wide).items()
        ]
    status = sheet.named(rf"{about}|status|状态|statut", time=False)
    if status is None or not meanings(status, "consent"):
        status = sheet.worded("consent", (purpose,) if purpose else ())
    if status is None:
        return []
    channel = channel_of(sheet, "all", "all channels; or name one", (status,))
    more = {"channel": channel, "purpose": means, "status": translated(status, "consent")}
    return [Reads("consents", declared(sheet, sheet.main_time, **more))]


def _tags(sheet: Sheet) -> list[Reads]:
    tag = sheet.named(
        r"^(tag|label|标签|标记|[ée]tiquette|etikett|etiqueta)[ _.-]?(name|名称?)?s?$", time=False
    )
    if tag is None or sheet.main_time is None or tag.number >= 0.5:
        return []
    a_row_each = (
        sheet.customer.distinct >= 0.99 * sheet.customer.rows
    )  # of people, who have tags among others
    if a_row_each and len(sheet.columns) > 4 and not re.search(r"tag|label|标签", sheet.file, re.I):
        return []
    change = sheet.worded("tagging", (tag,))
    more = {"tag": text(tag.name), "change": translated(change, "tagging") if change else always("set")}
    return [Reads("tags", declared(sheet, sheet.main_time, **more))]


def _surveys(sheet: Sheet) -> list[Reads]:
    score = sheet.named(
        r"nps|rating|satisf|zufrieden|score|note|bewertung|puntuaci|评分|满意|打分|得分|星级", time=False
    )
    about = r"nps|survey|satisf|zufrieden|csat|questionnaire|问卷|满意|调研|评分|umfrage|enqu[êe]te|encuesta"
    if score is None or sheet.main_time is None or not sheet.about(about) or score.whole < 0.99:
        return []
    highest = max((int(v) for v, _ in score.top if str(v).lstrip("-").isdigit()), default=99)
    if highest > 10 or score.negative:
        return []
    nps = sheet.about(r"nps|推荐") or highest > 5
    more = {"kind": always("nps" if nps else "satisfaction"), "score": text(score.name)}
    id = sheet.named(r"(survey|response|answer|问卷|答卷).*(id|no|号|编号)", time=False)
    if id is not None and id.distinct == id.rows:
        more["survey_id"] = text(id.name)
    return [Reads("surveys", declared(sheet, sheet.main_time, **more))]


def _coupons(sheet: Sheet) -> list[Reads]:
    """Coupons as they were given out, and from the same file again as they were used."""
    if not sheet.about(r"coupon|voucher|优惠券|代金券|卡券|bon[ _]?(de[ _])?r[ée]duction|gutschein|cup[óo]n"):
        return []
    if sheet.named(r"sku|product|商品|quantity|数量"):
        return []
    used = sheet.named(
        r"use|redeem|核销|使用|兑换|utilis|eingel|canje", time=True, but=tuple(c for c in sheet.columns if re.search("expir|valid|until|过期|有效|失效", c.name, re.I))
    )  # fmt: skip
    given = sheet.named(
        r"issue|sent|send|given|receiv|claim|grant|creat|发放|发券|领取|领券|发送|[ée]mi|envoi|ausgegeben|emitid",
        time=True,
    )
    given = given or (sheet.main_time if sheet.main_time is not used else None)
    if given is None and used is None:
        return []
    id = sheet.named(r"(coupon|voucher|券|gutschein).*(id|no|num|code|号|编号|码)", time=False)
    if id is not None and id.distinct < id.rows:
        id = None
    what = sheet.named(
        r"(coupon|voucher|券).*(type|name|kind|类型|名称)|campaign|活动|批次",
        time=False,
        but=(id,) if id else (),
    )
    found = []
    if given is not None:
        more = {
            "action": text(what.name) if what else always("coupon", "the action's name"),
            "channel": channel_of(sheet, "app", "how it reached the customer"),
        }
        if id is not None:
            more["contact_id"] = text(id.name)
        until = sheet.named(r"expir|valid|until|过期|有效期|失效|ablauf|caduc", time=True)
        if until is not None:
            more["until"] = sheet.at(until)
        found.append(Reads("contacts", declared(sheet, given, **more)))
    if used is not None:
        more = {"kind": always("redeem")}
        if id is not None and given is not None:
            more["contact_id"] = text(id.name)
        found.append(Reads("responses", declared(sheet, used, **more), rows_with(used)))
    return found


def _responses(sheet: Sheet) -> list[Reads]:
    about = (
        r"response|campaign|contact|message|mailing|newsletter|click|活动|短信|触达|营销|r[ée]ponse|antwort"
    )
    kind = sheet.worded("response")
    if kind is None or sheet.main_time is None or not sheet.about(about):
        return []
    more = {"kind": translated(kind, "response")}
    for column, pattern in (
        ("contact_id", r"(contact|message|触达|消息|短信).*(id|no|号)"),
        ("campaign_id", r"campaign|活动"),
    ):
        named = sheet.named(pattern, time=False, but=(kind,))
        if named is not None:
            more[column] = text(named.name)
    return [Reads("responses", declared(sheet, sheet.main_time, **more))]


def _contacts(sheet: Sheet) -> list[Reads]:
    about = r"campaign|contact|sms|message|\bmsg|mailing|newsletter|push|outreach|活动|短信|触达|群发|推送|campagne|kampagne|envoi"
    if sheet.main_time is None or not sheet.about(about):
        return []
    if sheet.named(
        r"sku|product|商品|quantity|数量|order|订单|amount|金额|montant|betrag|paid|total|event|事件"
    ):
        return []
    action = sheet.named(
        r"action|campaign|活动|template|模板|message|内容|campagne|kampagne|subject", time=False
    )
    more = {
        "action": text(action.name) if action else always("message", "the action's name"),
        "channel": channel_of(
            sheet, "sms", "how it reached the customer", (action,) if action is not None else ()
        ),
    }
    id = sheet.named(r"(contact|message|msg|send|消息|触达|发送).*(id|no|号|编号)", time=False)
    answered = {}
    if id is not None and id.distinct == id.rows:
        more["contact_id"] = answered["contact_id"] = text(id.name)
    cost = sheet.named(r"cost|成本|费用|co[ûu]t|kosten", time=False)
    if cost is not None and cost.number > 0.95:
        more["cost"] = text(cost.name)
    answers = {
        kind: sheet.named(pattern, time=True)
        for kind, pattern in (
            ("open", r"open|read|打开|阅读|已读|ouvert|ge[öo]ffnet"),
            ("click", r"click|点击|clic|klick"),
            ("opt-out", r"opt.?out|unsub|退订"),
        )
    }
    sent = sheet.named(r"sent|send|deliver|发送|推送|触达|群发|envoi|versand", time=True)
    at = sent or (sheet.main_time if sheet.main_time not in answers.values() else None)
    if at is None:
        return []
    return [
        Reads("contacts", declared(sheet, at, **more)),
        *(
            Reads("responses", declared(sheet, column, kind=always(kind), **answered), rows_with(column))
            for kind, column in answers.items()
            if column is not None
        ),
    ]


def _interactions(sheet: Sheet) -> list[Reads]:
    kind = sheet.worded("interaction", most=0.5)
    about = r"event|visit|view|action|page|session|log|behavi|track|行为|事件|浏览|访问|类型|[ée]v[ée]nement|ereignis|evento"
    if sheet.main_time is None:
        return []
    named = None  # all of a file of visits are visits
    if kind is None or not re.search(about, f"{kind.name} {sheet.file}", re.I):
        kind, named = None, sheet.called("interaction")
        if named is None:
            return []
    but = (kind,) if kind else ()
    more = {
        "kind": translated(kind, "interaction")
        if kind
        else always(str(named), "the file is called so; visit, view, cart, comment, live, login"),
        "channel": channel_of(sheet, "web", "where this happened: web, app, store ...", but),
    }
    for column, pattern in (
        ("product_id", r"sku|(product|item|商品|产品).*(id|号|编号)|^(product|item|sku)$"),
        ("seconds", r"duration(?!.*(ms|milli))|seconds|时长|停留|dur[ée]e|dauer"),
    ):
        found = sheet.named(pattern, time=False, but=but)
        if found is not None and (column != "seconds" or found.whole > 0.99):
            more[column] = text(found.name)
    id = sheet.named(r"^(event|visit|log|事件|行为).*(id|编号)$", time=False, but=but)
    if id is None and kind is None:
        id = own_number(sheet)
    if id is not None and id.distinct == id.rows:
        more["interaction_id"] = text(id.name)
    tail: tuple[str, ...] = ()
    if kind is not None and len(known := known_words(kind, "interaction")) < kind.distinct:
        sql = f"{quoted(kind.name)} NOT IN ({', '.join(literal(word) for word in known)})"
        tail = ("aside", f'"another kind of event" = {text(sql)}')
    return [Reads("interactions", declared(sheet, sheet.main_time, **more), tail=tail)]


def _scores(sheet: Sheet) -> list[Reads]:
    """Scores that others computed, each a column; or one a row, beside its name. Of nothing else in the file."""
    if sheet.main_time is None or not sheet.about(SCORES):
        return []
    others = [c for c in sheet.columns if c.rows and c not in (sheet.customer, sheet.main_time)]
    numbers = [c for c in others if c.number > MOSTLY]
    if not numbers or any(c not in numbers and (c.format is not None or c.distinct > FEW) for c in others):
        return []
    if sheet.named(r"sku|product|商品|quantity|数量|order|订单|amount|金额|betrag|montant"):
        return []
    at = sheet.main_time
    known = text(at.name) if at.format == "" and re.search("known", at.name, re.I) else sheet.at(at)
    values = {"customer_id": sheet.customer_id, "known_at": known}
    names = [c for c in others if c not in numbers]
    if len(names) == len(numbers) == 1 and re.search(NAMED, names[0].name, re.I):
        values |= {"name": text(names[0].name), "value": text(numbers[0].name)}
        return [Reads("scores", tuple(f"{column} = {value}" for column, value in values.items()))]
    head = f"scores = {json.dumps([c.name for c in others], ensure_ascii=False)}"
    return [Reads("scores", tuple(f"{column} = {value}" for column, value in values.items()), (head,))]
