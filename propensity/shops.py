"""What `propensity init` writes: a shop's folder, every entry explained."""

TOML = """\
# A shop is a folder with this file and, if wanted, a shop.py with declarations of its own.
name = "My shop"
zone = "Asia/Shanghai"      # IANA time zone: a "day" is a date here; the log itself is UTC
currency = "CNY"
exponent = 2                # minor units: 2 means cents
sources = ["complete_journey"]  # a module of features/sources; bring your own, see the README

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
