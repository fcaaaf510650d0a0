"""What is known of how a customer is treated and what she allows: cases, surveys, tags, consents, records.

Of tags only imported ones count: derived tags are computed from features, and must not come back into them.
"""

from features.definitions.declaration import Feature
from features.definitions.rows import computed, measured

_LONG = (30, 90, 365)
_YEAR = (365,)
_IMPORTED = "origin = 'imported'"
_CONSENT_CHANNELS = {
    "sms": ("text messages", "短信"),
    "email": ("e-mail", "邮件"),
    "push": ("app notifications", "App推送"),
    "phone": ("phone calls", "电话"),
    "mail": ("mail", "信函"),
    "wechat": ("WeChat", "微信"),
}

# fmt: off
FEATURES: tuple[Feature, ...] = (
    *measured("cases", (
        ("complaints", "Complaints", "投诉次数", "cases", "count", None, "kind = 'complaint' and change = 'opened'", _LONG),
        ("return_cases", "Return requests", "退货申请次数", "cases", "count", None, "kind = 'return' and change = 'opened'", _LONG),
        ("questions", "Questions to customer service", "咨询客服次数", "cases", "count", None, "kind = 'question' and change = 'opened'", _LONG),
        ("complaints_ever", "Complaints ever", "累计投诉次数", "cases", "count", None, "kind = 'complaint' and change = 'opened'", ()),
        ("complaints_closed_ever", "Complaints ever closed", "累计已结投诉次数", "cases", "count", None, "kind = 'complaint' and change = 'closed'", ()),
        ("cases_ever", "Cases ever", "累计工单数", "cases", "count", None, "change = 'opened'", ()),
        ("cases_closed_ever", "Cases ever closed", "累计已结工单数", "cases", "count", None, "change = 'closed'", ()),
        ("days_since_complaint", "Days since the last complaint", "距上次投诉天数", "days", "since_last", None, "kind = 'complaint' and change = 'opened'", ()),
        ("days_since_return_case", "Days since the last return request", "距上次申请退货天数", "days", "since_last", None, "kind = 'return' and change = 'opened'", ()),
        ("days_since_complaint_closed", "Days since a complaint was last closed", "距上次投诉结案天数", "days", "since_last", None, "kind = 'complaint' and change = 'closed'", ()),
    )),
    *computed((
        ("open_complaints", "Complaints open now", "未结投诉数", "cases", "max(complaints_ever - complaints_closed_ever, 0)", ()),
        ("open_cases", "Cases open now", "未结工单数", "cases", "max(cases_ever - cases_closed_ever, 0)", ()),
        ("return_share", "Return requests per order", "退货率（退货申请占订单比例）", "share", "return_cases_{w}d / orders_{w}d", (90, 365)),
        ("complaint_rate", "Complaints per order", "投诉率（投诉占订单比例）", "share", "complaints_{w}d / orders_{w}d", _YEAR),
    )),
    *measured("surveys", (
        ("last_satisfaction", "Last satisfaction score (1 to 5)", "最近一次满意度（1至5分）", "points", "last", "score", "kind = 'satisfaction'", ()),
        ("last_nps", "Last likelihood to recommend (NPS, 0 to 10)", "最近一次推荐意愿（NPS，0至10分）", "points", "last", "score", "kind = 'nps'", ()),
        ("satisfaction_answers", "Satisfaction surveys answered", "满意度问卷数", "answers", "count", None, "kind = 'satisfaction'", _YEAR),
        ("satisfaction_sum", "Sum of satisfaction scores", "满意度总分", "points", "sum", "score", "kind = 'satisfaction'", _YEAR),
        ("nps_answers", "NPS surveys answered", "NPS问卷数", "answers", "count", None, "kind = 'nps'", _YEAR),
        ("nps_sum", "Sum of NPS scores", "NPS总分", "points", "sum", "score", "kind = 'nps'", _YEAR),
        ("bad_surveys", "Bad survey answers (satisfaction to 2, NPS to 6)", "差评问卷数（满意度不高于2分或NPS不高于6分）", "answers", "count", None, "(kind = 'satisfaction' and score <= 2) or (kind = 'nps' and score <= 6)", (90, 365)),
        ("days_since_survey", "Days since the last survey answered", "距上次填写问卷天数", "days", "since_last", None, None, ()),
    )),
    *computed((
        ("satisfaction_mean", "Average satisfaction (1 to 5)", "平均满意度（1至5分）", "points", "satisfaction_sum_{w}d / satisfaction_answers_{w}d", _YEAR),
        ("nps_mean", "Average likelihood to recommend (NPS, 0 to 10)", "平均推荐意愿（NPS，0至10分）", "points", "nps_sum_{w}d / nps_answers_{w}d", _YEAR),
        ("satisfaction_change", "Last satisfaction score against the year's average", "最近一次满意度较近一年平均变化", "points", "last_satisfaction - satisfaction_mean_365d", ()),
    )),
    *measured("tags", (
        ("tags_set", "Imported tags set", "导入标签新增次数", "tags", "count", None, f"{_IMPORTED} and change = 'set'", (90, 365)),
        ("tags_set_ever", "Imported tags ever set", "累计新增导入标签次数", "tags", "count", None, f"{_IMPORTED} and change = 'set'", ()),
        ("tags_removed_ever", "Imported tags ever removed", "累计移除导入标签次数", "tags", "count", None, f"{_IMPORTED} and change = 'removed'", ()),
        ("days_since_tag", "Days since an imported tag last changed", "距上次导入标签变更天数", "days", "since_last", None, _IMPORTED, ()),
    )),
    *computed((
        ("imported_tags", "Current imported tags", "当前导入标签数", "tags", "max(tags_set_ever - tags_removed_ever, 0)", ()),
    )),
    *(
        feature
        for channel, (en, zh) in _CONSENT_CHANNELS.items()
        for feature in measured("consents", (
            (f"{channel}_consent", f"Marketing consent for {en} now", f"当前是否同意{zh}营销", "yes", "last", "status", f"purpose = 'marketing' and channel = '{channel}'", ()),
        ), vocabulary=("withdrawn", "granted"))
    ),
    *measured("consents", (
        ("automation_consent", "Consent to automatic decisions now", "当前是否同意自动化决策", "yes", "last", "status", "purpose = 'automation'", ()),
    ), vocabulary=("withdrawn", "granted")),
    *measured("consents", (
        ("consents_withdrawn", "Marketing consents withdrawn", "撤回营销同意次数", "changes", "count", None, "purpose = 'marketing' and status = 'withdrawn'", (90, 365)),
        ("consents_granted", "Marketing consents granted", "给予营销同意次数", "changes", "count", None, "purpose = 'marketing' and status = 'granted'", _YEAR),
        ("days_since_consent_withdrawn", "Days since a marketing consent was last withdrawn", "距上次撤回营销同意天数", "days", "since_last", None, "purpose = 'marketing' and status = 'withdrawn'", ()),
        ("days_since_consent_granted", "Days since a marketing consent was last granted", "距上次给予营销同意天数", "days", "since_last", None, "purpose = 'marketing' and status = 'granted'", ()),
    )),
    *measured("customers", (
        ("days_known", "Days since first known", "成为客户至今天数", "days", "since_first", None, None, ()),
    )),
    *measured("identities", (
        ("accounts", "Systems that know the customer", "关联系统账号数", "accounts", "distinct", "source", None, ()),
    )),
    *measured("scores", (
        ("external_scores", "Different scores and attributes from other systems", "外部评分及属性项数", "scores", "distinct", "name", None, _YEAR),
        ("days_since_external_score", "Days since the last score from another system", "距上次外部评分天数", "days", "since_last", None, None, ()),
    )),
)
# fmt: on
