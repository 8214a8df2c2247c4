"""The template language of requests, and the small change of speech around them.

`{name}` is a value; `[…{name}…]` is left out when a value in it is not given; `<a|b>` is a
choice. Brackets and choices do not nest in themselves; a choice may stand in a bracket.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from matinee.config.synthesis import Language

_SLOT = re.compile(r"\{(\w+)\}")
_BRACKET = re.compile(r"\[([^\[\]]*)\]")
_CHOICE = re.compile(r"<([^<>]*)>")
_TOUCHING = re.compile(r"\{(\w+)\}(?=\{(\w+)\})")
_END = "。？！.?! "


def slots_of(template: str) -> frozenset[str]:
    """All names in the template."""
    return frozenset(_SLOT.findall(template))


def droppable_alone(template: str, name: str) -> bool:
    """Whether the template can leave out just this value."""
    inside = [slots_of(part) for part in _BRACKET.findall(template)]
    bare = slots_of(_BRACKET.sub("", template))
    return name not in bare and any(name in slots for slots in inside)


def must_drop(template: str, name: str) -> frozenset[str]:
    """The names that go together with this one: those in its brackets."""
    parts = (slots_of(part) for part in _BRACKET.findall(template))
    return frozenset().union(*(slots for slots in parts if name in slots))


def shape(rng: random.Random, template: str, given: frozenset[str]) -> str:
    """The template with choices made and brackets kept or dropped; values still open."""
    kept = _BRACKET.sub(lambda found: found[1] if slots_of(found[1]) <= given else "", template)
    return _CHOICE.sub(lambda found: rng.choice(found[1].split("|")), kept)


def fill(template: str, words: Mapping[str, str]) -> str:
    """Values put in. Raises KeyError when one is missing."""
    spaced = _TOUCHING.sub(lambda found: _apart(words[found[1]], words[found[2]], found), template)
    return _SLOT.sub(lambda found: words[found[1]], spaced)


def _apart(left: str, right: str, found: re.Match[str]) -> str:
    """A space between two values that stand side by side, where digits or letters would touch."""
    touching = left[-1:].isascii() and right[:1].isascii()
    return f"{found[0]} " if touching else found[0]


_LEADS_ZH = ("你好，", "您好，", "那个，", "哎，", "嗨，", "急，", "在吗？", "哈喽，")
_QUESTION_ZH = ("请问", "请问", "想问下，", "问一下，", "我想知道，", "麻烦问下，")
_REQUEST_ZH = ("请", "麻烦", "请你", "麻烦你", "劳驾，")
_TAILS_ZH = ("谢谢", "谢谢！", "多谢", "急用", "辛苦了")
_VERBS_ZH = tuple("帮查看给找搜订把列算翻预取加设开关提生")
_LEADS_EN = ("Hi, ", "Hello, ", "Hey, ", "Hi there, ")
_VERBS_EN = re.compile(
    r"(Find|Show|Look|Check|Book|Get|List|Tell|Give|Search|Add|Set|Turn|Order|Send|Play|Create|"
    r"Convert|Translate|Calculate|Track|Open|Cancel|Reserve|Read|Draw|Start|Compare|Recommend) "
)


def manner(rng: random.Random, text: str, language: Language) -> str:
    """The request in one of several manners: mostly bare, else polite or chatty."""
    question = text.endswith(("？", "?"))
    body = text.rstrip(_END)
    if language == "zh":
        body = _opening_zh(rng, body, question)
        end = "？" if question else rng.choice(("。", "。", ""))
        if question and rng.random() < 0.15:
            end = ""
        if rng.random() < 0.08:
            body, end = body + end + ("" if end else "，") + rng.choice(_TAILS_ZH), ""
        return body + end
    body = _grammar_en(body)
    if not question and _VERBS_EN.match(body) and rng.random() < 0.25:
        body, question = _polite_en(rng, body)
    if rng.random() < 0.12:
        body = rng.choice(_LEADS_EN) + _lower_first(body)
    thanks = rng.choice((" Thanks.", " Thank you!")) if rng.random() < 0.08 else ""
    return body + ("?" if question else ".") + thanks


def _opening_zh(rng: random.Random, body: str, question: bool) -> str:
    if question and rng.random() < 0.18 and not body.startswith(("请问", "能", "可以", "我")):
        body = rng.choice(_QUESTION_ZH) + body
    elif not question and rng.random() < 0.15 and body.startswith(_VERBS_ZH):
        body = rng.choice(_REQUEST_ZH) + body
    if rng.random() < 0.1:
        body = rng.choice(_LEADS_ZH) + body
    return body


_ADVERBS_EN = r"today|tomorrow|yesterday|the day|\d+ days ago|in \d+ days"


def _grammar_en(text: str) -> str:
    """Small words that depend on the value beside them: 'on tomorrow', 'a urgent'."""
    text = re.sub(rf"\b(?:on|for|from) ({_ADVERBS_EN})", r"\1", text)
    return re.sub(r"\b([Aa]) (?=[aeiou])(?!one|use|uni|eu)", r"\1n ", text)


def _polite_en(rng: random.Random, body: str) -> tuple[str, bool]:
    form = rng.choice(("Please ", "Can you ", "Could you "))
    return form + _lower_first(body), form != "Please "


def _lower_first(text: str) -> str:
    first = text.split(" ", 1)[0]
    keep = (first.startswith("I") and first in ("I", "I'm", "I'd", "I've")) or first.isupper()
    return text if keep else text[0].lower() + text[1:]


_SLIPS_ZH = (
    ("一下", "一吓"), ("帮我", "邦我"), ("帮我", "帮窝"), ("多少", "多小"), ("什么", "神马"),
    ("怎么", "肿么"), ("查", "察"), ("现在", "现再"), ("的", "滴"), ("有没有", "有木有"),
)  # fmt: skip
_FOREIGN_ZH = (
    ("帮我查", "帮我check"), ("酒店", "hotel"), ("电影", "movie"),
    ("价格", "price"), ("信息", "info"), ("会议", "meeting"), ("邮件", "email"), ("列表", "list"),
)  # fmt: skip
_SLIPS_EN = (
    ("the ", "teh "), ("please", "pls"), ("Please", "Pls"), ("you", "u"), ("what", "waht"),
    ("What", "Whats"), ("for ", "fro "), ("there", "ther"), ("Show", "Shwo"),
)  # fmt: skip


def roughen(rng: random.Random, template: str, language: Language) -> str:
    """One typing slip or foreign word, in the words between the values only."""
    pool = _SLIPS_EN if language == "en" else _SLIPS_ZH + _FOREIGN_ZH
    pieces = re.split(r"(\{\w+\})", template)
    fitting = [
        (index, old, new)
        for index, piece in enumerate(pieces)
        if not piece.startswith("{")
        for old, new in pool
        if old in piece
    ]
    if fitting:
        index, old, new = rng.choice(fitting)
        pieces[index] = pieces[index].replace(old, new, 1)
    return "".join(pieces)


def join_requests(rng: random.Random, first: str, second: str, language: Language) -> str:
    """Two requests in one message."""
    end = "？" if first.endswith("？") else "。"
    head, tail = first.rstrip(_END), second
    if language == "zh":
        link = rng.choice(
            (
                "，另外",
                "，顺便",
                "，还有",
                f"{end}另外，",
                f"{end}还有，",
                f"{end}再",
                "，再",
                "，同时",
            )
        )
        if "再" in link and not tail.startswith(_VERBS_ZH):
            link = "，另外"
        return head + link + tail
    link = rng.choice(
        (". Also, ", ". And ", "? Also, ") if first.endswith("?") else (" and ", ". Also, ")
    )
    return head + link.replace(".", "?" if first.endswith("?") else ".") + _lower_first(tail)


def question_back(
    rng: random.Random, labels: list[str], own: str | None, language: Language
) -> str:
    """The question for missing values: the tool's own wording or one made of the labels."""
    if own and len(labels) == 1 and rng.random() < 0.7:
        return own
    if language == "zh":
        asked = "和".join(labels)
        return rng.choice(
            (
                f"请问{asked}是什么？",
                f"请告诉我{asked}。",
                f"麻烦提供一下{asked}。",
                f"好的，请提供{asked}。",
            )
        )
    asked = " and ".join(labels)
    return rng.choice(
        (f"What is the {asked}?", f"Please tell me the {asked}.", f"Sure, which {asked}?")
    )


_ANSWERS = {
    "zh": ("{}", "{}", "{}", "{}。", "{}吧", "是{}", "{}，谢谢"),
    "en": ("{}", "{}", "{}.", "{}, please.", "It's {}."),
}


def answer_with(rng: random.Random, words: list[str], language: Language) -> str:
    """The user's answer to a question back."""
    return rng.choice(_ANSWERS[language]).format(("，" if language == "zh" else ", ").join(words))


def refuse(rng: random.Random, does: str, language: Language) -> str:
    """The reply when no tool of the list fits."""
    if language == "zh":
        return rng.choice(
            (
                f"抱歉，我目前的工具里没有可以{does}的。",
                f"不好意思，我这里没法{does}，现有工具不支持。",
                f"对不起，我暂时不能帮您{does}。",
                f"抱歉，现有的工具都不能{does}，建议您通过其他渠道办理。",
            )
        )
    return rng.choice(
        (
            f"Sorry, none of my tools can {does}.",
            f"I'm afraid I cannot {does} with the tools I have.",
            f"Sorry, I have no way to {does} right now.",
        )
    )


def correct(rng: random.Random, label: str, wrong: str, right: str, language: Language) -> str:
    """Words with which a user takes back a value at the end of a message."""
    if language == "zh":
        return rng.choice(
            (
                f"哦不对，{label}应该是{right}。",
                f"说错了，不是{wrong}，是{right}。",
                f"等等，{label}改成{right}吧。",
                f"啊不，{label}换成{right}。",
            )
        )
    return rng.choice(
        (f"Sorry, not {wrong}, I mean {right}.", f"Wait, make the {label} {right} instead.")
    )


def follow_up(rng: random.Random, right: str, language: Language) -> str:
    """A second message that only names the new value: one more, or the right one."""
    if language == "zh":
        return rng.choice(
            (
                f"那{right}呢？",
                f"{right}呢？",
                f"换成{right}再查一次",
                f"再看下{right}的",
                f"啊打错字了，要的是{right}",
                f"不对，应该是{right}",
            )
        )
    return rng.choice(
        (f"And {right}?", f"What about {right}?", f"Sorry, I meant {right}.", f"No, {right}.")
    )


_DECLINES = {
    "zh": (
        ("我也不知道", "没关系，等您确认了再告诉我，我马上帮您处理。"),
        ("不清楚，你看着办吧", "抱歉，缺少这个信息我没法继续，您确认后再告诉我吧。"),
        ("算了，不用了", "好的，有需要再找我。"),
        ("先不说这个了", "好的，那需要时再告诉我。"),
        ("这个不方便说", "理解，不过没有这个信息我暂时办不了，您方便时再告诉我。"),
    ),
    "en": (
        ("I don't know", "No problem, tell me once you know and I will go on."),
        ("Never mind", "All right, just ask when you need it."),
        ("I'd rather not say", "I understand, but without it I cannot go on."),
    ),
}


def decline(rng: random.Random, language: Language) -> tuple[str, str]:
    """A user who does not give what was asked for, and the reply: nothing is called."""
    return rng.choice(_DECLINES[language])
