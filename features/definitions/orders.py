"""What is known of orders and their lines: how often, how much, what, when, in which rhythm.

A return is a row of its own with a `ref`: it lowers sums of money and goods, and counts as no order.
"""

from features.definitions.declaration import WINDOWS, Feature
from features.definitions.rows import Row, computed, measured
from features.definitions.units import CHANNELS
from features.words import Words

_BOUGHT = "ref is null"
_TOTALS = "ref is null or corrected > 0"  # a correction says what its order came to
_RETURNED = "ref is not null and amount < 0"
_RETURNS = f"{_RETURNED} and corrected is null"  # what corrects a return is not another one
_LONG = (30, 90, 365)
_YEAR = (365,)


def goods(name: str, words: Words, *categories: str) -> tuple[Feature, ...]:
    """How often, when last and in which rhythm a customer buys goods of some categories, for FEATURES of a
    shop.py: no built-in feature knows one category from another, and whoever predicts one needs its own.

    name: begins every feature's name, as in `milk_lines_30d`. words: what they are called, as "milk".
    """
    en, zh = words
    listed = ", ".join("'" + one.replace("'", "''") + "'" for one in categories)
    of = f"category in ({listed}) and ref is null"
    rows: tuple[Row, ...] = (
        (f"{name}_lines", f"Lines of {en}", f"{zh}购买行数", "lines", "count", None, of, (7, 30, 90)),
        (f"{name}_days", f"Days with {en}", f"购买{zh}的天数", "days", "days", None, of, (30, 90)),
        (f"days_since_{name}", f"Days since {en} was last bought", f"距上次购买{zh}天数", "days", "since_last", None, of, ()),
        (f"{name}_gap_median", f"Usual days between days with {en} (median)", f"通常购买{zh}间隔天数（中位数）", "days", "gap_median", None, of, ()),
        (f"{name}_gap_mean", f"Average days between days with {en}", f"平均购买{zh}间隔天数", "days", "gap_mean", None, of, ()),
    )  # fmt: skip
    return tuple(measured("order_lines", rows))


# fmt: off
FEATURES: tuple[Feature, ...] = (
    *measured("orders", (
        ("orders", "Orders", "订单数", "orders", "count", None, _BOUGHT, WINDOWS),
        ("spend", "Money spent", "消费金额", "money", "sum", "amount", None, WINDOWS),
        ("discount", "Discount received", "优惠金额", "money", "sum", "discount", None, WINDOWS),
        ("order_max", "Largest order", "最大单笔订单金额", "money", "max", "total", _TOTALS, WINDOWS),
        ("order_days", "Days with an order", "有订单的天数", "days", "days", None, _BOUGHT, WINDOWS),
        ("stores", "Different stores", "光顾门店数", "stores", "distinct", "store_id", _BOUGHT, WINDOWS),
        ("order_channels", "Different channels ordered through", "下单渠道数", "channels", "distinct", "channel", _BOUGHT, _LONG),
        ("weekend_orders", "Weekend orders", "周末订单数", "orders", "count", None, "isodow(local_at) >= 6 and ref is null", WINDOWS),
        ("evening_orders", "Orders after 17:00", "17点后订单数", "orders", "count", None, "hour >= 17 and ref is null", WINDOWS),
        ("order_hour", "Usual hour of ordering", "常下单时段", "hour", "mode", "hour", _BOUGHT, _YEAR),
        ("order_weekday", "Usual weekday of ordering", "常下单星期", "weekday", "mode", "weekday", _BOUGHT, _YEAR),
        ("returns", "Returns", "退货单数", "orders", "count", None, _RETURNS, _LONG),
        ("refunds", "Refunds (a negative amount)", "退款金额（负数）", "money", "sum", "amount", _RETURNED, _LONG),
        ("days_since_order", "Days since the last order", "距上次下单天数", "days", "since_last", None, _BOUGHT, ()),
        ("days_since_return", "Days since the last return", "距上次退货天数", "days", "since_last", None, _RETURNS, ()),
        ("tenure", "Days since the first known order", "首单至今天数", "days", "since_first", None, _BOUGHT, ()),
        ("gap_median", "Usual days between shopping days (median)", "通常购物间隔天数（中位数）", "days", "gap_median", None, _BOUGHT, ()),
        ("gap_mean", "Average days between shopping days", "平均购物间隔天数", "days", "gap_mean", None, _BOUGHT, ()),
        ("gap_std", "Irregularity of the days between shopping days", "购物间隔波动（标准差）", "days", "gap_std", None, _BOUGHT, ()),
        ("gap_max", "Longest pause between shopping days", "最长购物间隔天数", "days", "gap_max", None, _BOUGHT, ()),
    )),
    *measured("orders", (
        ("preferred_order_channel", "Channel most often ordered through", "常用下单渠道", "channel", "mode", "channel", _BOUGHT, _YEAR),
        ("last_order_channel", "Channel of the last order", "上次下单渠道", "channel", "last", "channel", _BOUGHT, ()),
    ), vocabulary=tuple(CHANNELS)),
    *measured("order_lines", (
        ("lines", "Order lines", "购买商品行数", "lines", "count", None, _BOUGHT, WINDOWS),
        ("items", "Items", "购买件数", "items", "sum", "items", None, WINDOWS),
        ("categories", "Different product categories", "购买品类数", "categories", "distinct", "category", _BOUGHT, WINDOWS),
        ("departments", "Different departments", "购买部门数", "departments", "distinct", "department", _BOUGHT, WINDOWS),
        ("private_spend", "Money spent on own brands", "自有品牌消费金额", "money", "sum", "amount", "brand = 'Private'", WINDOWS),
        ("discounted_lines", "Discounted lines", "打折商品行数", "lines", "count", None, "discount > 0 and ref is null", WINDOWS),
        ("coupon_lines", "Lines bought with a coupon", "用券商品行数", "lines", "count", None, "coupon > 0 and ref is null", WINDOWS),
    )),
    *computed((
        ("order_value", "Average order", "平均客单价", "money", "spend_{w}d / orders_{w}d", WINDOWS),
        ("discount_share", "Discount as a share of the price", "优惠占原价比例", "share", "discount_{w}d / (spend_{w}d + discount_{w}d)", WINDOWS),
        ("items_per_order", "Items per order", "每单件数", "items", "items_{w}d / orders_{w}d", WINDOWS),
        ("weekend_share", "Share of weekend orders", "周末订单占比", "share", "weekend_orders_{w}d / orders_{w}d", WINDOWS),
        ("private_share", "Own brands' share of spending", "自有品牌消费占比", "share", "private_spend_{w}d / spend_{w}d", WINDOWS),
        ("refund_share", "Refunds as a share of spending", "退款占消费比例", "share", "-refunds_{w}d / (spend_{w}d - refunds_{w}d)", _YEAR),
        ("overdue", "Time since the last order, as a multiple of the usual gap", "距上次下单时间相当于通常间隔的倍数", "ratio", "days_since_order / gap_median", ()),
        ("orders_trend", "Orders of the last 30 days against the 90-day pace", "近30天订单相对近90天节奏", "ratio", "3 * orders_30d / orders_90d", ()),
        ("spend_trend", "Spending of the last 30 days against the 90-day pace", "近30天消费相对近90天节奏", "ratio", "3 * spend_30d / spend_90d", ()),
        ("orders_trend_year", "Orders of the last 90 days as a share of the year's", "近90天订单占近一年比例", "share", "orders_90d / orders_365d", ()),
    )),
)
# fmt: on
