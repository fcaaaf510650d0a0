"""What `propensity init` and `propensity ingest --propose` write: a shop's folder, every entry explained."""

from pathlib import Path

import click

from features.errors import UsageError

HEAD = """\
# A shop is a folder with this file and, if wanted, a shop.py with declarations of its own.
name = "My shop"
zone = "Asia/Shanghai"      # IANA time zone: a "day" is a date here; the log itself is UTC
currency = "CNY"
exponent = 2                # minor units: 2 means cents

[value]
margin_rate = 0.25          # gross margin as a share of sales
horizon_days = 28           # an action's effect is counted over this many days

# What holds for a customer of whom no consent is on record: channel = true or false.
# A channel that is not named is refused. Say here only what your terms and the law allow.
[consent]

# The contact policy in force from a date. All limits are yours to set; add a [[policy]] to change them.
[[policy]]
from = 2017-01-01
max_contacts = 2            # marketing contacts per customer ...
per_days = 30               # ... in this many days (7, 30, 90 or 365), in the log and decided here
holdout = 0.05              # share of customers that marketing never contacts, to measure against
explore = 0.05              # share of decisions drawn uniformly from what is eligible
salt = "my-shop-1"          # a new salt draws a new holdout

"""

MAPPING = """\
# Your files. `propensity ingest --propose FILES...` writes this part by looking; or take off the # below.
# A [mapping.NAME] is a source; each [[mapping.NAME.read]] is one kind of file, and the table of its rows:
# orders, order_lines, products, customers, identities, contacts, responses, interactions, memberships, cases,
# surveys, tags, consents, scores, calendar. An error names the key, what was expected, the nearest column.
#
# [mapping.web]
# folder = "data/web"               # from this file's folder, if relative
# zone = "Asia/Shanghai"            # of times without an offset; default the shop's
# complete_until = 2024-06-01       # default: the end of the last full day
# customer_prefix = "web:"          # if another source may have the same ids for other people
# first_day = 2020-01-01            # rows dated earlier are rejected
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
# customer_id = { column = "member", clean = ["trim", "whole"] }  # whole: 17850.0 is 17850
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
# [calendar]                        # what lies ahead, each known from its own moment: a source by itself
# countries = ["CN"]                # public holidays; "GB-ENG" is a part of a country
# festivals = ["618", "11.11", "12.12"]
# [[calendar.events]]
# name = "Members' live evening"
# kind = "live"                     # holiday, sale or live
# from = 2024-03-08T20:00:00
# until = 2024-03-08T22:00:00
# announced = 2024-03-01            # without it: known when it begins
"""

TOML = HEAD + MAPPING

PYTHON = '''\
"""This shop's own declarations: the same kinds as the built-in ones, under the same contracts.

`propensity check` holds them to those contracts; `propensity features list` shows them.
"""

from features.definitions import Feature
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
]
'''

TEMPLATES = {"shop.toml": TOML, "shop.py": PYTHON}


def write_proposal(files: list[Path], out: Path | None, dry_run: bool) -> None:
    """Print a mapping of the files, or write it into `out`: a new shop, or one without such a mapping."""
    from features.files import write_atomically
    from features.sources.propose import propose

    proposal = propose(files)
    for line in proposal.notes:
        click.echo(line, err=out is None)
    if out is None:
        click.echo(proposal.toml)
        click.echo(
            "Next: `--out myshop/shop.toml` writes it there, with all else that a shop needs", err=True
        )
        return
    before = out.read_text("utf-8") if out.exists() else HEAD
    if f"[mapping.{proposal.name}]" in before:
        raise UsageError(f"{out} has a [mapping.{proposal.name}] already: name another file with --out")
    if not dry_run:
        write_atomically(out, f"{before.rstrip()}\n\n{proposal.toml.rstrip()}\n".encode())
    click.echo(f"{'would write' if dry_run else 'wrote'}    {out}")
    click.echo(
        f"Next: read it, set zone and currency, then `export PROPENSITY_SHOP={out.parent}` and "
        f"`propensity ingest {proposal.name} --dry-run`"
    )
