"""Units of features, and the values of those that are codes, in words for people."""

from features.words import Words

UNITS: dict[str, Words] = {
    "money": Words("money in the shop's currency", "金额（门店货币）"),
    "days": Words("days", "天"),
    "share": Words("share, 1 is all of it", "占比（1为全部）"),
    "ratio": Words("times", "倍"),
    "yes": Words("1 yes, 0 no", "1为是，0为否"),
    "points": Words("points", "分"),
    "score": Words("score", "评分"),
    "minutes": Words("minutes", "分钟"),
    "seconds": Words("seconds", "秒"),
    "hour": Words("hour of the day, 0 to 23", "时段（0至23点）"),
    "weekday": Words("weekday, Monday 1 to Sunday 7", "星期（周一为1，周日为7）"),
    "channel": Words("channel, as a code", "渠道（代码）"),
    "orders": Words("orders", "单"),
    "stores": Words("stores", "家门店"),
    "lines": Words("order lines", "行商品"),
    "items": Words("items", "件"),
    "categories": Words("categories", "个品类"),
    "departments": Words("departments", "个部门"),
    "contacts": Words("contacts", "次触达"),
    "coupons": Words("coupons", "张优惠券"),
    "campaigns": Words("campaigns", "个营销活动"),
    "responses": Words("responses", "次响应"),
    "visits": Words("visits", "次到访"),
    "views": Words("product views", "次浏览"),
    "carts": Words("additions to the cart", "次加购"),
    "comments": Words("comments", "条评论"),
    "sessions": Words("live sessions", "场直播"),
    "logins": Words("logins", "次登录"),
    "channels": Words("channels", "个渠道"),
    "groups": Words("groups", "个社群"),
    "staff": Words("members of staff", "位导购"),
    "cases": Words("cases", "个工单"),
    "answers": Words("answers", "份问卷"),
    "tags": Words("tags", "个标签"),
    "changes": Words("changes", "次变更"),
    "accounts": Words("accounts", "个账号"),
    "scores": Words("scores", "项评分"),
    "events": Words("events", "个活动"),
}

# What the codes 0, 1, ... of a channel mean. Frozen: add at the end only, or releases read other channels.
CHANNELS: dict[str, Words] = {
    "store": Words("store", "门店"),
    "web": Words("web shop", "网上商城"),
    "app": Words("app", "App"),
    "mini_program": Words("mini program", "小程序"),
    "wechat": Words("WeChat", "微信"),
    "live": Words("live stream", "直播间"),
    "sms": Words("text message", "短信"),
    "email": Words("e-mail", "邮件"),
    "push": Words("app notification", "App推送"),
    "phone": Words("phone", "电话"),
    "mail": Words("mail", "信函"),
    "marketplace": Words("marketplace", "电商平台"),
    "staff": Words("member of staff", "导购"),
    "group": Words("chat group", "社群"),
}
WEEKDAYS = (
    *(
        Words("Monday", "周一"),
        Words("Tuesday", "周二"),
        Words("Wednesday", "周三"),
        Words("Thursday", "周四"),
    ),
    *(Words("Friday", "周五"), Words("Saturday", "周六"), Words("Sunday", "周日")),
)

# Units whose values are codes -> what each means.
CODES: dict[str, dict[int, Words]] = {
    "channel": dict(enumerate(CHANNELS.values())),
    "weekday": dict(enumerate(WEEKDAYS, start=1)),
    "yes": {0: Words("no", "否"), 1: Words("yes", "是")},
}
