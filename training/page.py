"""The card of a model as one page for people: what it is for, what it must not be used for, how good it is.

The page holds every figure of card.json. It asks nothing of the network, and reads nothing but the folder.
"""

import json
from pathlib import Path

from features.definitions import UNITS
from features.files import write_atomically
from features.moments import iso
from features.pages import Content, Html, banner, bullets, code, page, paragraph, section, table, tiles
from features.words import Words
from serving import folders, value
from serving.cards import ModelCard, Text
from training import contacts_page, judged, kinds_page, segments_page, targets
from training.comparison import Contest
from training.describe import KINDS
from training.figures import baseline, headline, shown, verdict


def write(
    out: Path,
    folder: Path,
    population: Words | None = None,
    against: Contest | None = None,
    forced: Words | None = None,
) -> Path:
    """Write the page of a model's folder; return `out`.

    population: whom the model speaks of, in both languages; without it, as the card says it, in English.
    against: how it does beside the version in force, which is kept beside the folder. forced: that it was
    released against the gate, and why.
    ReleaseError if the folder holds no model, ReleaseCorrupt if it was changed.
    """
    folders.verify(folder)
    card = folders.read_json(folder / "card.json", ModelCard)
    write_atomically(out, render(card, population, against=against, forced=forced).encode())
    return out


def render(
    card: ModelCard,
    population: Words | None = None,
    language: str = "en",
    against: Contest | None = None,
    forced: Words | None = None,
) -> str:
    """The page. `language`: en or zh, what it shows first."""
    well, sentence = verdict(card)
    whom = population or kinds_page.population(card)
    whom = whom or Words(card.target.population, card.target.population)
    told = kinds_page.TOLD.get(card.kind)  # of no target: judged once, by figures of its own
    return page(
        Words(
            f"{card.name}, version {card.version}: {card.target.words.en}",
            f"{card.name}，版本{card.version}：{card.target.words.zh}",
        ),
        banner("good" if well else "bad", sentence),
        banner("bad", forced) if forced else "",
        tiles(_tiles(card)),
        section(
            Words("What it predicts, and for whom", "预测什么，针对哪些客户"),
            table(_TWO, _about(card, whom)),
            note=""
            if "calibration_slope" not in card.metrics
            else Words(
                "A score is a probability: of 100 customers with 30 %, about 30 are expected to come true.",
                "分数是概率：100名得分为30%的客户中，预计约有30名会发生。",
            ),
        ),
        section(Words("What it must not be used for", "不得用于"), bullets(targets.NEVER)),
        section(Words("What it learned from", "训练数据"), table(_TWO, _data(card))),
        judged.at_the_test(card),
        *((segments_page.by_band(card),) if card.kind == value.KIND else ()),
        *(() if told else _judged(card, against)),
        _features(card),
        section(Words("Notes", "备注"), bullets(_words(note) for note in card.notes)),
        note=Words(
            "The card of a model, written from what training measured. Brackets are 95 % intervals.",
            "模型卡片，内容均来自训练时的实测结果。方括号内为95%置信区间。",
        ),
        language=language,
    )


def _judged(card: ModelCard, against: Contest | None) -> tuple[Content, ...]:
    """What is known of a classifier beyond its test."""
    return (
        judged.over_the_origins(card),
        judged.in_force(card, against),
        judged.each_origin(card),
        segments_page.by_segment(card),
        judged.gain(card),
        contacts_page.contacts(card),
    )


_TWO = (Words("What", "项目"), Words("Value", "内容"))


def _words(text: Text) -> Words:
    return Words(text.en, text.zh)


def _tiles(card: ModelCard) -> list[tuple[Content, Content]]:
    if (told := kinds_page.TOLD.get(card.kind)) is not None:
        found = [
            (words, name, (card.metrics if who is None else card.baselines.get(who, {})).get(name), who)
            for words, name, who in told.tiles
        ]
        return [
            (words, judged.flagged(name, one, shown(one, "+" if who else "")))
            for words, name, one, who in found
            if one is not None
        ]
    head = headline(card)
    over = baseline(head.best) if head.best else Words("baselines", "基准")
    at = Words("at the test", "测试时点")
    if head.origins:
        at = Words(f"mean of {head.origins} moments", f"{head.origins}个时点平均")
    return [
        (Words(f"AUC, {at.en}", f"AUC（{at.zh}）"), shown(head.auc)),
        (Words(f"AUC gained over {over.en}", f"AUC提升（对比{over.zh}）"), shown(head.gain, "+")),
        (
            Words("Observed / expected at the test", "测试时点 实际/预期"),
            shown(card.metrics.get("observed_over_expected")),
        ),
        (Words("Customers at the test", "测试客户数"), card.tested_on.rows),
    ]


def _about(card: ModelCard, population: Words) -> list[tuple[Content, Content]]:
    target = card.target
    if (told := kinds_page.TOLD.get(card.kind)) is not None:
        return [
            (Words("Predicts", "预测"), _words(target.words)),
            (Words("For whom", "适用人群"), population),
            (Words("Horizon", "预测期"), Words(f"{target.horizon_days} days", f"{target.horizon_days}天")),
            (Words("Kind of model", "模型类型"), told.kind),
        ]
    bad = target.higher_is == "bad"
    rows: list[tuple[Content, Content]] = [
        (Words("Predicts", "预测"), _words(target.words)),
        (Words("For whom", "适用人群"), population),
        (Words("Horizon", "预测期"), Words(f"{target.horizon_days} days", f"{target.horizon_days}天")),
        (
            Words("A high score is", "分数高表示"),
            Words("bad news", "不利") if bad else Words("good news", "有利"),
        ),
        (Words("Kind of model", "模型类型"), KINDS.get(card.kind, card.kind)),
        (Words("Label", "标签"), code(target.label)),
    ]
    if target.score is not None:
        rows.insert(3, (Words("The score is called", "分数名称"), _words(target.score)))
    if target.members is not None:
        of = target.members
        value = "" if of.op == "unknown" else f"{of.value:g}"
        rows.append((Words("Told by", "判定条件"), code(f"{of.feature} {of.op} {value}".rstrip())))
    return rows


def _data(card: ModelCard) -> list[tuple[Content, Content]]:
    learnt, tested = card.trained_on, card.tested_on
    came = Words("Came true among them", "其中命中比例")
    told, days = kinds_page.TOLD.get(card.kind), tested.days
    shares = (came, came) if told is None else told.shares
    return [
        (
            Words("Fitted on moments", "训练时点"),
            Words(f"{iso(learnt.start)} to {iso(learnt.end)}", f"{iso(learnt.start)} 至 {iso(learnt.end)}"),
        ),
        (Words("Rows fitted on", "训练行数"), learnt.rows),
        *([(shares[0], f"{learnt.base_rate:.1%}")] if shares else []),
        (Words("Judged as of", "测试时点"), iso(tested.moment)),
        (Words("Customers judged on", "测试客户数"), tested.rows),
        *([(Words("Days that judge it", "评估天数"), Words(f"{days} days", f"{days}天"))] if days else []),
        *([(shares[1], f"{tested.base_rate:.1%}")] if shares else []),
        (Words("Currency", "货币"), card.currency),
        (Words("Seed", "随机种子"), code(str(learnt.seed))),
        *_parameters(card),
        (Words("Fingerprint of the features' build", "特征构建指纹"), code(learnt.build)),
        (Words("Fingerprint of the customer log", "客户日志指纹"), code(learnt.log)),
    ]


def _parameters(card: ModelCard) -> list[tuple[Content, Content]]:
    if not card.parameters:
        return []
    told = json.dumps(card.parameters, sort_keys=True)
    return [(Words("Parameters of its candidates", "候选模型参数"), code(told))]


def _features(card: ModelCard) -> Html | str:
    if not card.features:
        return ""
    title = Words(
        f"What it looks at: {len(card.features)} features by importance",
        f"使用的{len(card.features)}个特征（按重要性）",
    )
    if not card.importance:
        names = [code(feature.name) for feature in card.features]
        return section(title, paragraph(judged.NOT_JUDGED), bullets(names))
    total = sum(card.importance.values()) or 1.0
    rows = [
        (
            place + 1, Words(feature.en, feature.zh), code(feature.name),
            UNITS.get(feature.unit, feature.unit),
            f"{card.importance[feature.name]:.4f}", f"{card.importance[feature.name] / total:.1%}",
        )
        for place, feature in enumerate(sorted(card.features, key=lambda one: -card.importance[one.name]))
    ]  # fmt: skip
    head = (
        Words("Rank", "排名"), Words("Feature", "特征"), Words("Name", "名称"), Words("Unit", "单位"),
        Words("Importance", "重要性"), Words("Share", "占比"),
    )  # fmt: skip
    return section(
        title,
        *_agreement(card),
        table(head, rows, right=(0, 4, 5)),
        note=Words(
            "Importance: how far a feature moves the log-odds, up or down, on average over customers of the "
            "test (the mean absolute Shapley value of up to 2,000 of them). It says what the model looks at, "
            "not what causes anything.",
            "重要性：特征对测试客户（至多2,000名）对数几率的平均绝对影响（Shapley值绝对值的均值）。"
            "它说明模型看重什么，不代表因果。",
        ),
    )


def _agreement(card: ModelCard) -> list[Html]:
    if not card.reasons:
        return []
    first, three = (f"{card.reasons[name]:.0%}" for name in ("first", "first_three"))
    correlation = f"{card.reasons['correlation']:.2f}"
    return [
        paragraph(
            Words(
                "Reasons given with scores are approximate, unless exact ones are asked for. At the test the "
                f"first reason is that of exact Shapley values (TreeSHAP) for {first} of the customers, "
                f"{three} of the first three are the same, and contributions correlate by {correlation}.",
                f"随分数给出的原因默认为近似值，可要求精确值。在测试时点，{first}的客户首要原因与精确Shapley值"
                f"（TreeSHAP）一致，前三个原因有{three}相同，贡献值的相关系数为{correlation}。",
            )
        )
    ]
