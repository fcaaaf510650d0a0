"""What the shop's calendar says at a moment, the same for every customer: what is ahead, running, behind."""

from features.definitions.declaration import Feature
from features.definitions.rows import measured

_KINDS = {  # of the calendar's rows: the name in features, English (one, several), Chinese
    "holiday": ("holiday", "public holiday", "public holidays", "公共假日"),
    "sale": ("sale", "sale", "sales", "大促"),
    "live": ("live_event", "live event", "live events", "直播活动"),
}
_AHEAD = (7, 30)

# fmt: off
FEATURES: tuple[Feature, ...] = (
    *(
        feature
        for kind, (name, one, several, zh) in _KINDS.items()
        for feature in measured("calendar", (
            (f"days_until_{name}", f"Days until the next {one}", f"距下一次{zh}天数", "days", "until_next", None, f"kind = '{kind}'", ()),
            (f"days_since_{name}", f"Days since the last {one} began", f"距上一次{zh}开始天数", "days", "since_last", None, f"kind = '{kind}'", ()),
            (f"{name}s_ahead", f"{several.capitalize()} that begin", f"开始的{zh}数", "events", "ahead", None, f"kind = '{kind}'", _AHEAD),
            (f"{name}s_running", f"{several.capitalize()} running now", f"正在进行的{zh}数", "events", "running", None, f"kind = '{kind}'", ()),
        ))
    ),
    *measured("calendar", (
        ("days_until_event", "Days until the next event of the calendar", "距日历下一事件天数", "days", "until_next", None, None, ()),
        ("events_ahead", "Events of the calendar that begin", "开始的日历事件数", "events", "ahead", None, None, _AHEAD),
    )),
)
# fmt: on
