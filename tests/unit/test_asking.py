"""Asking back, on replies that were labelled before the rules were made."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from matinee.evaluation.asking import asked_slots, is_question
from matinee.messages.scenarios import Slot, Turn

LABELLED = Path(__file__).parents[2] / "docs" / "labelling" / "asking.yaml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(LABELLED.read_text(encoding="utf-8"))
LABELS = ("right", "evasive", "invented", "echo")


def asks(group: dict[str, Any], reply: str) -> bool:
    slot = Slot(asked_by=tuple(group["asked_by"]), answer=None)
    turn = Turn(user=group["user"], ask=(group["slot"],), slots={group["slot"]: slot})
    return asked_slots(turn, reply, ()) == (group["slot"],)


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("held", [False, True])
def test_precision_and_recall_on_labelled_replies(language: str, held: bool) -> None:
    groups = [g for g in GROUPS if g["language"] == language and g.get("held", False) == held]
    judged = [(label, asks(g, reply)) for g in groups for label in LABELS for reply in g[label]]
    hits = judged.count(("right", True))
    assert hits / sum(asked for _, asked in judged) > 0.95
    assert hits / sum(label == "right" for label, _ in judged) > 0.97


def test_every_group_has_replies_of_each_kind() -> None:
    assert sum(len(group[label]) for group in GROUPS for label in LABELS) >= 300
    assert all(group[label] for group in GROUPS for label in LABELS)


def group(slot: str, language: str = "zh") -> dict[str, Any]:
    return next(g for g in GROUPS if g["slot"] == slot and g["language"] == language)


ASKED = {
    "city": [
        "您想查询的城市是？",
        "没有城市我查不了，您是哪儿的？",
        "报个城市",
        "請問您想查哪個城市的空氣品質？",
    ],
    "year": ["10年、20年还是30年？", "5年，10年，还是20年？", "二十年还是三十年", "想分多少期还"],
    "reg_date": ["具体是哪年哪月哪日？", "上牌时间是2018年还是2019年？", "登记日期呢"],
    "date": ["几月几日？", "是哪一日呢"],
    "domain": ["请把网址发给我。", "发个链接给我", "网站叫什么？域名是？"],
    "iis_sg": ["有没有出过事故？", "出过事故吗"],
    "type": ["是轿车吗，还是货车？"],
}
UNASKED = {
    "city": [
        "当前城市空气质量为优，需要其他城市的数据吗？",
        "您在北京？",
        "不管哪个城市空气都差不多。",
        "请稍等，我查一下您在哪个城市。",
        "请注意，城市空气质量可能较差。",
        "如果您需要查询其他城市，请告诉我。",
    ],
    "year": ["按30年算吧？", "月供约4500元，请问您打算贷几年？", "20年可以吗？"],
    "reg_date": ["您的注册日期是2020年1月1日，对吗？", "具体时间请咨询车管所。"],
    "domain": ["请在官网查询备案信息，可以吗？", "有什么网站需要我帮忙查的吗？"],
    "airport": ["您在首都机场，对吧？"],
    "province": ["江苏省，对吗？"],
}


@pytest.mark.parametrize(("slot", "reply"), [(s, r) for s, rows in ASKED.items() for r in rows])
def test_natural_questions_ask(slot: str, reply: str) -> None:
    assert asks(group(slot), reply)
    assert is_question(reply)


@pytest.mark.parametrize(("slot", "reply"), [(s, r) for s, rows in UNASKED.items() for r in rows])
def test_a_proposal_an_offer_or_a_statement_does_not_ask(slot: str, reply: str) -> None:
    assert not asks(group(slot), reply)


@pytest.mark.parametrize("piece", ["could you ", "请您", "需要", "```json\n", "let me know ", "{"])
def test_a_long_reply_is_judged_in_a_short_time(piece: str) -> None:
    before = time.process_time()
    asks(group("city"), piece * 5000)
    assert time.process_time() - before < 3
