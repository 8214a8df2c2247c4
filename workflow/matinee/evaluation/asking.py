"""Asking back: when a reply asks for something, for which slots, and what the user answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from matinee.messages.scenarios import Turn

# The scripted user answers at most so many replies of one turn.
MAXIMUM_ROUNDS = 3
UNKNOWN_ANSWER = "这个我不知道。"

# "Is there anything else?" ends a reply politely and asks for nothing.
_REST = r"[^。！？!?\n]{0,30}"
_OFFER = re.compile(
    rf"(请问)?(您|你)?还(有|需要|想){_REST}(帮|服务|效劳|了解){_REST}[？?。！!]?"
    rf"|(请问)?(您|你)?有(什么|任何|其他|其它|别的){_REST}(需要|问题|帮){_REST}[？?。！!]?"
    rf"|(需要|要不要)我(再|继续|帮|为|给){_REST}[？?]"
    rf"|如(果|有|需){_REST}(告诉|联系|找|问)我?(们)?($|[。！!])"
    rf"|{_REST}随时(再)?(告诉|联系|问|提问|找|说){_REST}[。！!]?"
    rf"|(anything else|let me know if){_REST}[?.!]?",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"[?？]|请问|(请|麻烦|劳驾|烦请|需要|还需|还要|得|能否|可否|可以)(您|你)?(先|再|您|你)?"
    r"(告诉|告知|提供|补充|说明|说一下|说下|输入|填写|确认|指定|明确|选择|给出|给我|发我|知道|描述|问)"
    r"|(告诉|告知)(我|一下)|缺少|还(缺|差|少)|(没有|未|没)(提供|给出|说明|指定|告诉)"
    r"|(哪|(?<![没为])什么|何时|多少|(?<![近这那前后好])几[年月号点])[^。！!，,\n]{0,10}[。.]?$"
    r"|[吗呢][。.]?$|please|could you|which|what|let me know",
    re.IGNORECASE,
)


def is_question(text: str) -> bool:
    """Whether a reply asks the user for something; polite offers of more help do not count."""
    return _QUESTION.search(_OFFER.sub("", text)) is not None


def asked_slots(turn: Turn, text: str, answered: Collection[str]) -> tuple[str, ...]:
    """Slots of the turn that a reply asks for and that have not been answered yet.

    Only in turns where something must be asked; elsewhere the scripted user stays silent.
    """
    if not turn.ask or not is_question(text):
        return ()
    asking = _OFFER.sub("", text)
    return tuple(
        name
        for name, slot in turn.slots.items()
        if name not in answered and any(word in asking for word in slot.asked_by)
    )


def answer(turn: Turn, slots: Sequence[str]) -> str:
    """What the scripted user says to these slots; one sentence for all that he does not know."""
    known = [turn.slots[name].answer for name in slots]
    said = "，".join(text for text in known if text is not None)
    unknown = any(text is None for text in known)
    if not said:
        return UNKNOWN_ANSWER
    return f"{said}。别的我不知道。" if unknown else said
