"""Tool names at OpenAI's API: changed only where it refuses them, and always found again."""

from __future__ import annotations

from typing import Any

from matinee.engines.wire_names import LONGEST_NAME, WireNames


def tools(*names: str) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "description": ""}} for name in names]


def test_allowed_names_stay() -> None:
    names = WireNames(tools("get_weather", "get-news2"))
    assert names.sent("get_weather") == names.meant("get_weather") == "get_weather"
    assert names.tools(tools("get-news2")) == tools("get-news2")


def test_a_refused_name_is_sent_in_a_form_that_leads_back_to_it() -> None:
    names = WireNames(tools("math.factorial"))
    assert names.sent("math.factorial") == "math_factorial"
    assert names.meant("math_factorial") == "math.factorial"
    assert names.tools(tools("math.factorial")) == tools("math_factorial")


def test_two_tools_never_share_a_name() -> None:
    own = ["a_b", "a.b", "a/b", "天气", "时间", "x" * 70, "x" * 71]
    names = WireNames(tools(*own))
    sent = [names.sent(name) for name in own]
    assert len(set(sent)) == len(own)
    assert all(len(name) <= LONGEST_NAME for name in sent)
    assert [names.meant(name) for name in sent] == own
    assert sent[0] == "a_b"


def test_a_name_that_no_tool_has_stays_as_the_model_wrote_it() -> None:
    assert WireNames(tools("a.b")).meant("made_up") == "made_up"
