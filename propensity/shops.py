"""What `propensity init` writes: a shop's folder, every entry explained; and the tables of a mapping."""

from features.errors import UsageError

HEAD = """\
# A shop is a folder with this file and, if wanted, a shop.py with declarations of its own.
name = "My shop"
zone = "Asia/Shanghai"      # IANA time zone: a "day" is a date here; the log itself is UTC
currency = "CNY"
exponent = 2                # minor units: 2 means cents
# targets = ["churn_28d"]   # what `propensity train` trains by itself; `propensity targets list` shows all

[value]
margin_rate = 0.25          # gross margin as a share of sales
horizon_days = 28           # an action's effect is counted over this many days
# discount = 0.1            # a year: how much less profit counts that comes a year later, in `train value`
# lifetime = 100.0          # a customer's worth beyond them: what opting out loses, without a value model

# What holds for a customer of whom no consent is on record: channel = true or false.
# A channel that is not named is refused. Say here only what your terms and the law allow.
[consent]

# The contact policy in force from a date. All limits are yours to set; add a [[policy]] to change them.
[[policy]]
from = 2017-01-01
max_contacts = 2            # marketing contacts per customer ...
per_days = 30               # ... in this many days, in the log and decided here
holdout = 0.05              # share of customers that marketing never contacts, to measure against
explore = 0.05              # share of decisions drawn uniformly from what is eligible
salt = "my-shop-1"          # a new salt draws a new holdout
# reserve_hours = 48        # a contact and its cost are free again if no delivery is reported so long after
                            # it was due; leave it out if nobody reports deliveries
# person_above = 50.0       # expected loss of being wrong, in currency, above which a person decides
# price_fairness = "block"  # refuse a plan that offers like customers different worth; default "report"
# price_gap = 0.1           # ... by more than this share of the mean offer, between groups of `protected`
# quiet_rounds = 0.5        # of messages to everyone at once: share of their days (weeks, if they rest
                            # longer) that the lot leaves quiet, to measure against; default: as holdout
#
# [[policy.cap]]            # any number; without a channel, over all of them. Service messages are exempt
# channel = "sms"
# contacts = 1
# days = 7
#
# [[policy.cooldown]]       # rest after the last contact on a channel, by an action, or of any kind
# action = "win_back_sms"
# days = 14
#
# [policy.send]
# quiet = ["21:00", "09:00"]  # no message between these times of the customer's day
# zone = "home_zone"        # a feature of yours that knows the customer's zone; default: the shop's
# hours = ["answer_hour_365d", "preferred_hour_365d"]  # the customer's own hour, by the first that is known
# service = false           # quiet hours hold for service messages too
#
# [[policy.budget]]         # what marketing may be expected to cost; nothing is sent beyond it
# amount = 1000.0
# per = "month"             # day, week, month or year of the shop's zone
# scenario = "win_back"     # without it, all decisions together
#
# [[hooks]]                 # who is told of what changed: `propensity pushes`
# client = "crm"            # its secret is in PROPENSITY_HOOK_SECRETS; `propensity pushes secret` makes one
# url = "https://crm.example.com/propensity"
# events = ["warning", "segment.tea_lovers", "stage", "due", "baseline"]  # a kind, or one of it
# private = true            # if it stands in a private network
#
# [pushes]
# most = 10000              # events a run of `propensity pushes run`: more are asked about, not told
#
# [monitoring]              # who acts when something no longer holds: `propensity monitor`
# remind_days = 7           # a page that goes on is told again
# keep_days = 30            # `monitor run` removes older reports, but those of what is still on
# keep_drawn_days = 14      # and Evidently's pages beside them, which are large
# ended = ["surveys"]       # tables that bring nothing any more, as is meant: no source stopped
# reports = "https://ops.example.com/reports"  # where the home's reports are served, if they are
#
# [monitoring.owners.data]  # and models, operations
# name = "Data team"
# email = ["data@example.com"]
# wecom = ["zhang.wei"]     # whom the group robot mentions
#
# [monitoring.escalation]   # whom a page goes to that nobody acknowledged
# name = "Head of CRM"
# after_hours = 24
#
# [[sinks]]                 # where alerts go; its key, token or password is in PROPENSITY_SINK_<NAME>
# name = "group"
# kind = "wecom"            # webhook, alertmanager, wecom or mail: `url`; of mail `host`, `from`, `to`
# language = "zh"           # en, zh or both
# least = "warning"         # page: no warnings

"""

MAPPING = """\
# Your files. `propensity ingest --propose FILES...` writes this part by looking; or take off the # below.
# A [mapping.NAME] is a source; each [[mapping.NAME.read]] is one kind of file, and the table of its rows:
# orders, order_lines, products, customers, identities, contacts, responses, interactions, memberships, cases,
# surveys, tags, consents, scores, calendar. An error names the key, what was expected, the nearest column.
# `propensity ingest --tables memberships` prints a table's columns, its words and rules.
#
# [mapping.web]
# folder = "data/web"               # from this file's folder, if relative
# zone = "Asia/Shanghai"            # of times without an offset; default the shop's
# complete_until = 2024-06-01       # default: the midnight before the newest row; the one after it if you
#                                   # say instead: whole_days = true, no file ever holds a part of a day
# customer_prefix = "web:"          # if another source may have the same ids for other people
# first_day = 2020-01-01            # rows dated earlier are rejected; default: decades before others
#
# [[mapping.web.read]]
# table = "order_lines"             # an order is the sum of its lines, if no file of orders is read
# files = "orders*.csv.gz"          # csv, parquet, jsonl; .gz, .zst, .zip; tomorrow's file is found by itself
# encoding = "gb18030"              # default utf-8
# separator = ";"                   # default ,
# decimal = "."                     # or "," for 1.234,50
# currency = { column = "cur" }     # rows of another currency than the shop's are rejected
# where = "state <> 'test'"         # SQL over the raw columns, which are text: number(x) reads a number
# [mapping.web.read.columns]
# order_id = "order no"             # without it, a customer's day is the order
# customer_id = { column = "member", clean = ["trim", "whole"], pad = 5 }  # 101.0, and 101, is 00101
# at = { column = "paid at", format = "%Y/%m/%d %H:%M" }  # a day alone is known when it is over
# product_id = "sku"
# items = "qty"
# amount = { product_of = ["qty", "price"] }  # or "paid", or { column = "fen", scale = 100 }
# discount = "off"
# channel = { value = "web" }
# [mapping.web.read.returns]        # negative rows are returns by themselves
# column = "type"
# values = ["refund"]               # or prefix = "R", or only sql = "..."
# [mapping.web.read.cancelled]      # the order stays, and a return of all of it follows
# column = "state"
# values = ["cancelled"]
# at = "cancelled at"
# [mapping.web.read.aside]          # in order, but not for the log: reason = SQL; also .reject and .note
# "no product" = "sku in ('SHIPPING', 'FEE')"
#
# [[mapping.web.read]]              # scores of another system: known from their delivery on
# table = "scores"
# files = "scores_*.csv"
# delivered = { file_name = "scores_%Y%m%d.csv" }
# scores = ["risk", "segment"]
# [mapping.web.read.columns]
# customer_id = "member"
#
# [[mapping.web.read]]              # an id here and an id there that are one person
# table = "identities"
# files = "links.csv"
# [mapping.web.read.columns]
# source = { value = "web" }
# source_id = "member"
# customer_id = { column = "card", prefix = "card:" }
#
# [[mapping.web.read]]              # orders in a file of their own, beside their lines or without
# table = "orders"
# files = "paid_*.txt"
# format = "csv"                    # csv, parquet, jsonl; default by the file's name
# header = ["till", "no", "day", "member", "paid"]  # where the files have none
# skip = 2                          # lines before the header, or before the first row
# quote = "'"                       # default ", and "" for none
# optional = true                   # no such file is no error
# add_up = true                     # an order id that comes several times is one order: its rows are added up
# once = true                       # a row that is there again, the same in every column, counts once
# zone = "Europe/London"            # of this reading's times alone; or { column = "tz" }, of each row's
# known = "start"                   # of a day without a time: known when it begins; default "end"
# [mapping.web.read.columns]
# order_id = { join = ["till", "no"], separator = "-" }  # an id made of several columns
# customer_id = "member"
# at = { column = "day", day = true }  # its time means nothing (always 00:00): the day counts
# amount = { sql = "number(paid) / 1.06" }  # any SQL over the raw columns, which are text
# channel = { value = "store" }     # the same for every row
#
# [[mapping.web.read]]              # what is known of people
# table = "customers"
# files = "members.csv"
# attributes = ["city", "level"]    # raw columns kept as they are
# [mapping.web.read.columns]
# customer_id = "member"
# at = "since"
#
# [[mapping.web.read]]              # in a chat group, or with a member of staff: joining and leaving are rows
# table = "memberships"
# files = "groups.csv"
# null = ["-", "0"]                 # texts that mean nothing, besides the empty one, NULL and NaN
# [mapping.web.read.columns]
# customer_id = "member"
# at = "time"
# kind = { value = "group" }        # group, staff
# place_id = "group no"             # the group, or the member of staff
# change = { column = "event", map = { "入群" = "joined", "退群" = "left" } }  # joined, left
#
# [[mapping.web.read]]              # complaints as they are opened ...
# table = "cases"
# files = "complaints.csv"
# [mapping.web.read.columns]
# case_id = "no"
# customer_id = "member"
# at = "opened at"
# kind = { value = "complaint" }    # complaint, return, question
# change = { value = "opened" }     # opened, closed
#
# [[mapping.web.read]]              # ... and, from the same file again, as they are closed
# table = "cases"
# files = "complaints.csv"
# where = '"closed at" is not null'
# [mapping.web.read.columns]
# case_id = "no"
# customer_id = "member"
# at = "closed at"
# kind = { value = "complaint" }
# change = { value = "closed" }
#
# [[mapping.web.read]]              # who may be contacted, where and for what: the latest row holds
# table = "consents"
# files = "consents.csv"
# [mapping.web.read.columns]
# customer_id = "member"
# at = "time"
# channel = "how"                   # or { value = "all" }
# purpose = { value = "marketing" } # marketing, service, automation (of decisions)
# status = { column = "yes", map = { "1" = "granted", "0" = "withdrawn" } }  # granted, withdrawn
#
# [[mapping.web.read]]              # what people do without buying
# table = "interactions"
# files = "visits.jsonl"
# [mapping.web.read.columns]
# customer_id = "user"
# at = { column = "ms", format = "epoch_ms" }  # "epoch": seconds; ["iso", "%d/%m/%Y"]: tried in turn
# kind = { column = "event", map = { "PV" = "view" } }  # visit, view, cart, comment, live, login
# channel = { value = "app" }
#
# [[mapping.web.read]]              # answers to surveys
# table = "surveys"
# files = "nps.csv"
# [mapping.web.read.columns]
# customer_id = "member"
# at = { column = "time", format = "%Y/%m/%d %p %I:%M" }  # %p reads AM, PM, 上午, 下午
# kind = { value = "nps" }          # satisfaction: 1 to 5; nps: 0 to 10
# score = "score"
#
# [calendar]                        # what lies ahead, each known from its own moment: a source by itself
# countries = ["CN"]                # public holidays; "GB-ENG" is a part of a country
# festivals = ["618", "11.11", "12.12"]
# [[calendar.events]]
# name = "Members' live evening"
# kind = "live"                     # holiday, sale, live, or closed: no business on these days
# from = 2024-03-08T20:00:00
# until = 2024-03-08T22:00:00
# announced = 2024-03-01            # without it: known when it begins
"""

TOML = HEAD + MAPPING

PYTHON = '''\
"""This shop's own declarations: the same kinds as the built-in ones, under the same contracts.

`propensity check` holds them to those contracts; `propensity features list` shows them.
"""

from features.definitions import Feature, goods
from features.words import Words

FEATURES: list[Feature] = [
    # Feature(
    #     name="big_orders_90d",
    #     words=Words("Orders over 50 in the last 90 days", "近90天大额订单数"),
    #     unit="orders",
    #     measure="count",
    #     table="orders",
    #     where="amount > 50",
    #     window=90,
    # ),
    # *goods("tea", Words("tea", "茶叶"), "tea"),  # tea_lines_90d, days_since_tea ...: for who predicts tea
]

# from training.populations import Population
# from training.targets import Target
#
# TARGETS = [  # `propensity targets suggest` proposes some from the log; `targets list` shows all
#     Target(
#         name="tea_again_28d",
#         horizon_days=28,
#         population=Population(
#             words=Words("customers who bought tea in the last 90 days", "近90天购买过茶叶的客户"),
#             feature="tea_lines_90d",
#             days=90,  # that the log must reach back
#         ),
#         label="category_order",
#         categories=("tea",),
#         words=Words("Tea again in the next 28 days", "未来28天内再次购买茶叶"),
#         score=Words("chance of buying tea again", "茶叶复购可能性"),
#         higher_is="good",
#         returned=False,  # goods that came back in full do not count
#         reason="A packet lasts a month.",
#     ),
# ]

# from serving import retail
# from serving.actions import Action, Condition, Effect, Step
# from serving.conditions import Live
# from serving.scenarios import Scenario
#
# ACTIONS = [  # what may be done for a customer; without any, decisions are "nothing"
#     *retail.ACTIONS,  # examples with made-up costs: put your own, or take single ones
#     Action(
#         name="tea_sample",
#         channel="mail",
#         words=Words("Mail a sample of the new tea", "邮寄新茶试用装"),
#         goal=Words("One more order of tea", "促成再次购买茶叶"),
#         effect=Effect(0.01, 0.0, 0.02, "prior", Words("An assumption, not measured", "仅为假设，尚未测量")),
#         send_cost=1.2,
#         validity_days=28,
#         suppress_days=14,
#         eligible=(Condition("tea_lines_90d", at_least=1),),  # who may get it
#         suppressed_if=(Condition("days_since_order", at_most=7),),  # who must not
#         then=(  # the messages that follow: a bundle, decided as a whole
#             Step("sms", Words("Ask how it tasted", "询问口味"), send_cost=0.05, after_hours=240),
#         ),
#     ),
#     Action(
#         name="cup_of_tea",
#         channel="staff",
#         words=Words("Serve a cup of the new tea", "请客户品尝新茶"),
#         goal=Words("One more order of tea", "促成再次购买茶叶"),
#         effect=Effect(0.02, 0.0, 0.05, "prior", Words("An assumption, not measured", "仅为假设，尚未测量")),
#         by_person=True,
#         eligible=(Condition("now.table", at_least=1),),  # only while a decision's `context` says so
#     ),
#     Action(
#         name="tea_live",
#         channel="live_notice",  # what reaches everyone or a group is for `propensity decide --groups`
#         reach="everyone",
#         words=Words("Announce tonight's live show", "预告今晚的直播"),
#         goal=Words("More orders in the live show", "提升直播间下单"),
#         effect=Effect(0.01, 0.0, 0.02, "prior", Words("An assumption, not measured", "仅为假设，尚未测量")),
#         order_value=30.0,
#         validity_days=2,
#         then=(  # goes to those of them whose own limits allow it
#             Step("sms", Words("Remind by SMS", "短信提醒"), send_cost=0.05, after_hours=1),
#             Step("group_message", Words("Post the link", "发送直播链接"), after_hours=2, reach="group"),
#         ),
#     ),
# ]
#
# CONTEXT = [  # what a decision may be told of this moment, such as {"context": {"table": 7}}
#     Live("table", "number", Words("Table in the tea room", "茶室桌号")),  # beside in_store, cart_value ...
# ]
#
# SCENARIOS = [  # when it is time: `propensity due` tells who falls due
#     *retail.SCENARIOS,
#     Scenario(
#         name="tea_runs_out",
#         words=Words("The tea runs out", "茶叶即将用完"),
#         when="tea_lines_90d >= 1 and days_since_order >= 25 and days_since_order < 28",
#         actions=("tea_sample",),
#         due_days=3,
#     ),
# ]
#
# from serving.segments import DeclaredSegment
# from serving.watches import Watch
#
# SEGMENTS = [  # groups of customers: `propensity segments` counts and exports them
#     DeclaredSegment(
#         name="tea_lovers",
#         words=Words("Tea lovers", "爱茶客户"),
#         when="tea_lines_90d >= 3 and churn_28d < 0.4",  # features, and what models that are released say
#         stays="tea_lines_90d >= 2",  # whoever is in it stays so long
#     ),
# ]
#
# WATCHES = [  # thresholds at whose crossing somebody is told: `propensity pushes`
#     Watch(
#         name="churn_warning",
#         words=Words("About to leave", "流失预警"),
#         figure="churn_28d",
#         enters=0.6,
#         leaves=0.5,  # apart, so that nobody is told of a score that wavers
#     ),
# ]
#
# from monitoring.checks import Check, Reading
#
# def few_orders(evidence):  # of="shop" is asked of what every table received, day by day
#     received = evidence.received
#     now = received.shift([one.name for one in received.subjects].index("orders")).now
#     words = Words(f"{now:,.0f} orders on the last day", f"最近一日{now:,.0f}笔订单")
#     return Reading(value=10 / max(1, now), words=words)  # higher is worse; nan: nothing can be said yet
#
# CHECKS = [  # what `propensity monitor run` asks besides the built-in ones
#     Check(
#         name="few_orders",
#         words=Words("Orders of the last day", "最近一日订单"),
#         warning=1,  # from this value on it says so, and from page on it wakes somebody
#         page=float("inf"),  # never
#         reason="1 is ten orders a day, fewer than on any day of the last year",
#         measure=few_orders,
#         advice=Words("Ask the till's owner.", "联系收银系统负责人。"),
#         owner="data",  # or models, operations
#         of="shop",  # or release, indicator: each of them is asked
#     ),
# ]
'''

TEMPLATES = {"shop.toml": TOML, "shop.py": PYTHON}


def tables_text(name: str | None) -> str:
    """The tables that a mapping can fill, or one with its columns and rules. UsageError if there is none."""
    from features.sources.declared import made
    from features.tables import OURS, TABLES
    from features.toml import nearest

    if name is None:
        return "\n".join(f"{table:13} {', '.join(TABLES[table].columns)}" for table in TABLES)
    if name not in TABLES:
        raise UsageError(f"there is no table {name!r}{nearest(name, TABLES)} There are: {', '.join(TABLES)}")
    table = TABLES[name]
    lines = [f"{name}: a row is named by {', '.join(table.key)}; another with the same is rejected", ""]
    for column, of in table.columns.items():
        need = "required" if of.required else "optional"
        need = "made where a file lacks it" if of.required and column in made(name) else need
        need = "filled by ingestion" if column in OURS else need
        lines.append(f"  {column:14} {of.type:8} {need}")
    lines += ["", "  a row is rejected as               unless"] if table.rules else []
    lines += [f"  {reason:34} {' '.join(rule.split())}" for reason, rule in table.rules]
    return "\n".join(lines)
