"""`get_toutiao_news`: invented headlines by type, paged, another set every day."""

from __future__ import annotations

import datetime
from typing import Any

from matinee.evaluation.simulation.arguments import required_choice, required_number
from matinee.evaluation.simulation.resources import between, pick, share, world_file

_SHARE_WITH_TEXT = 0.7
_SOURCES = ("晨间资讯", "每日快讯", "新闻速览", "城市观察", "今日要闻")


def get_toutiao_news(
    today: datetime.date,
    *,
    type: str = "top",
    page: str = "1",
    page_size: str = "30",
    is_filter: str = "0",
) -> dict[str, Any]:
    """One page of the type's headlines; with `is_filter` "1" only those with full text."""
    required_choice("type", type, world_file("news"))
    required_choice("is_filter", is_filter, ("0", "1"))
    number = required_number("page", page, 1, 50)
    size = required_number("page_size", page_size, 1, 30)
    items = [item for item in _items(type, today) if is_filter == "0" or item["is_content"] == "1"]
    start = (number - 1) * size
    return {
        "stat": "1",
        "page": page,
        "pageSize": page_size,
        "data": items[start : start + size],
    }


def _items(kind: str, today: datetime.date) -> list[dict[str, str]]:
    """All headlines of a type that day: every subject with every event, in the day's order."""
    parts = world_file("news")[kind]
    titles = [subject + event for subject in parts["subjects"] for event in parts["events"]]
    titles.sort(key=lambda title: share("order", kind, today, title))
    return [_item(kind, parts["name"], title, today) for title in titles]


def _item(kind: str, name: str, title: str, today: datetime.date) -> dict[str, str]:
    key = (kind, today, title)
    hour, minute = between(0, 23, "hour", *key), between(0, 59, "minute", *key)
    return {
        "uniquekey": f"{between(0, 16**12 - 1, 'key', *key):012x}",
        "title": title,
        "date": f"{today - datetime.timedelta(days=1)} {hour:02d}:{minute:02d}:00",
        "category": name,
        "author_name": pick(_SOURCES, "source", *key),
        "is_content": "1" if share("text", *key) < _SHARE_WITH_TEXT else "0",
    }
