"""What is known between orders: visits, views, carts, comments, live sessions, logins, groups and staff."""

from features.definitions.declaration import WINDOWS, Feature
from features.definitions.rows import computed, measured
from features.definitions.units import CHANNELS

_LONG = (30, 90, 365)
_MID = (30, 90)
_YEAR = (365,)

# fmt: off
FEATURES: tuple[Feature, ...] = (
    *measured("interactions", (
        ("visits", "Visits", "到访次数", "visits", "count", None, "kind = 'visit'", WINDOWS),
        ("views", "Product views", "商品浏览次数", "views", "count", None, "kind = 'view'", WINDOWS),
        ("carts", "Additions to the cart", "加购次数", "carts", "count", None, "kind = 'cart'", WINDOWS),
        ("comments", "Comments", "评论数", "comments", "count", None, "kind = 'comment'", _LONG),
        ("live_sessions", "Live sessions watched", "观看直播场次", "sessions", "count", None, "kind = 'live'", _LONG),
        ("live_seconds", "Time spent in live sessions", "观看直播时长", "seconds", "sum", "seconds", "kind = 'live'", _MID),
        ("logins", "Logins", "登录次数", "logins", "count", None, "kind = 'login'", _LONG),
        ("active_days", "Active days (any interaction)", "活跃天数（任意互动）", "days", "days", None, None, WINDOWS),
        ("channels", "Different channels used", "使用渠道数", "channels", "distinct", "channel", None, _LONG),
        ("viewed_categories", "Different product categories viewed", "浏览品类数", "categories", "distinct", "category", "kind = 'view'", _MID),
        ("cart_days", "Days with an addition to the cart", "有加购的天数", "days", "days", None, "kind = 'cart'", _MID),
        ("preferred_hour", "Preferred hour", "偏好时段", "hour", "mode", "hour", None, _YEAR),
        ("preferred_weekday", "Preferred weekday", "偏好星期", "weekday", "mode", "weekday", None, _YEAR),
        ("silence", "Silence: days since the last visit", "沉默天数（距上次到访）", "days", "since_last", None, "kind = 'visit'", ()),
        ("days_since_interaction", "Days since the last interaction of any kind", "距上次任意互动天数", "days", "since_last", None, None, ()),
        ("days_since_view", "Days since a product was last viewed", "距上次浏览商品天数", "days", "since_last", None, "kind = 'view'", ()),
        ("days_since_cart", "Days since the last addition to the cart", "距上次加购天数", "days", "since_last", None, "kind = 'cart'", ()),
        ("days_since_comment", "Days since the last comment", "距上次评论天数", "days", "since_last", None, "kind = 'comment'", ()),
        ("days_since_live", "Days since the last live session", "距上次观看直播天数", "days", "since_last", None, "kind = 'live'", ()),
        ("days_since_login", "Days since the last login", "距上次登录天数", "days", "since_last", None, "kind = 'login'", ()),
        ("visit_gap_median", "Usual days between days with a visit (median)", "通常到访间隔天数（中位数）", "days", "gap_median", None, "kind = 'visit'", ()),
        ("visit_gap_max", "Longest pause between days with a visit", "最长到访间隔天数", "days", "gap_max", None, "kind = 'visit'", ()),
    )),
    *measured("interactions", (
        ("preferred_channel", "Preferred channel", "偏好渠道", "channel", "mode", "channel", None, _YEAR),
        ("last_channel", "Channel of the last interaction", "上次互动渠道", "channel", "last", "channel", None, ()),
    ), vocabulary=tuple(CHANNELS)),
    *computed((
        ("abandoned_cart_days", "Days with a cart beyond the days with an order", "加购未下单天数", "days", "max(cart_days_{w}d - order_days_{w}d, 0)", _MID),
        ("orders_per_visit", "Orders per visit", "到访下单转化（每次到访订单数）", "ratio", "orders_{w}d / visits_{w}d", (90, 365)),
        ("views_per_visit", "Product views per visit", "每次到访浏览商品数", "views", "views_{w}d / visits_{w}d", (90,)),
        ("live_minutes", "Minutes in live sessions", "观看直播分钟数", "minutes", "live_seconds_{w}d / 60", _MID),
        ("visit_overdue", "Time since the last visit, as a multiple of the usual gap", "距上次到访时间相当于通常间隔的倍数", "ratio", "silence / visit_gap_median", ()),
        ("visits_trend", "Visits of the last 30 days against the 90-day pace", "近30天到访相对近90天节奏", "ratio", "3 * visits_30d / visits_90d", ()),
        ("active_days_trend", "Active days of the last 30 days against the 90-day pace", "近30天活跃天数相对近90天节奏", "ratio", "3 * active_days_30d / active_days_90d", ()),
    )),
    *measured("memberships", (
        ("groups_joined", "Groups joined", "加入社群次数", "groups", "count", None, "kind = 'group' and change = 'joined'", (90, 365)),
        ("groups_left", "Groups left", "退出社群次数", "groups", "count", None, "kind = 'group' and change = 'left'", (30, 90, 365)),
        ("staff_joined", "Staff contacts added", "添加导购次数", "staff", "count", None, "kind = 'staff' and change = 'joined'", _YEAR),
        ("staff_left", "Staff contacts removed", "删除导购次数", "staff", "count", None, "kind = 'staff' and change = 'left'", (90, 365)),
        ("groups_joined_ever", "Groups ever joined", "累计加入社群次数", "groups", "count", None, "kind = 'group' and change = 'joined'", ()),
        ("groups_left_ever", "Groups ever left", "累计退出社群次数", "groups", "count", None, "kind = 'group' and change = 'left'", ()),
        ("staff_joined_ever", "Staff contacts ever added", "累计添加导购次数", "staff", "count", None, "kind = 'staff' and change = 'joined'", ()),
        ("staff_left_ever", "Staff contacts ever removed", "累计删除导购次数", "staff", "count", None, "kind = 'staff' and change = 'left'", ()),
        ("group_tenure", "Days since a group was first joined", "首次入群至今天数", "days", "since_first", None, "kind = 'group' and change = 'joined'", ()),
        ("days_since_group_joined", "Days since a group was last joined", "距上次入群天数", "days", "since_last", None, "kind = 'group' and change = 'joined'", ()),
        ("days_since_group_left", "Days since a group was last left", "距上次退群天数", "days", "since_last", None, "kind = 'group' and change = 'left'", ()),
        ("days_since_staff_left", "Days since a staff contact was last removed", "距上次删除导购天数", "days", "since_last", None, "kind = 'staff' and change = 'left'", ()),
    )),
    *computed((
        ("groups", "Current groups", "当前所在社群数", "groups", "max(groups_joined_ever - groups_left_ever, 0)", ()),
        ("staff_contacts", "Current staff contacts", "当前已添加导购数", "staff", "max(staff_joined_ever - staff_left_ever, 0)", ()),
    )),
)
# fmt: on
