"""Whether an output without a call is a reply at all: ended, not empty, no copy, noise or call.

What a reply says is not judged here, only that it is one. Where in doubt it is: a reply may quote
the user, name a tool, list what the tools can do, hold code or the JSON that was asked for.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence

from rapidfuzz import fuzz

from matinee.evaluation.scoring.schemas import SchemaFault, ToolSchemas, blame
from matinee.messages.parsing import call_in_any_form
from matinee.messages.transcripts import Step

_SENTENCES = re.compile(r"[。！？!?\n；;]+|(?<=\w)\.\s")
_PERSONS = str.maketrans({"您": "你", "我": "你"})
# In a reply, not in a tool's text: someone speaks.
_SPEAKS = re.compile(r"[我您你]|\b(?:i|you|we|can|my|your)\b", re.IGNORECASE)
_GREETING = re.compile(
    r"(?:你|大家)?(?:好|早|们好)|[早上下中午晚]{1,2}[好安]|晚安|谢谢.?|再见|拜拜|(?:新年|节日|生日)快乐|"
    r"hello|hi|hey|good(?:morning|evening|afternoon|night)|(?:good)?bye|thanks?(?:you)?",
    re.IGNORECASE,
)
_LOOP = re.compile(r"(.{1,80}?)\1{4,}", re.DOTALL)
_LAUGHTER = re.compile(r"[哈嘿呵嘻啦haeo~～!！\s_=*.|:-]+", re.IGNORECASE)
_TABLE_LINES = re.compile(r"^[\s|:+=*_~-]+$", re.MULTILINE)
_LONGEST_READ = 4_000


def reply_fault(step: Step, users: Sequence[str], schemas: ToolSchemas) -> SchemaFault | None:
    """What keeps an output without a call from being a reply. `users`: what the user had said."""
    text = step.parse.content.strip()
    call = call_in_any_form(text, schemas.names)
    if call is not None:
        return blame("call_in_other_form", "other_form", text=call)
    if any(_copies_user(text, user) for user in users) or _copies_tools(text, schemas):
        return blame("echo", "echo", text=text[:60])
    if not re.sub(r"[\s\u200b-\u200f\ufeff\u2060]|<\|?/?[\w ]{1,20}\|?>", "", text):
        return blame("empty", "empty")
    if _is_noise(text):
        return blame("garbage", "garbage", text=text[:60])
    if step.finish == "length":
        return blame("cut_off", "cut_off")
    return None


def _plain(text: str) -> str:
    """Letters and digits alone, in one width and case."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text).casefold())


def _covered(text: str, source: str) -> list[bool]:
    """Per character of a text, whether it lies in a passage that the source holds too."""
    han = sum("\u3400" <= letter <= "\u9fff" for letter in text) * 3 > len(text)
    length = min(len(text), 5 if han else 14)
    found = [False] * len(text)
    for start in range(len(text) - length + 1 if length else 0):
        if text[start : start + length] in source:
            found[start : start + length] = [True] * length
    return found


def _copies_user(text: str, user: str) -> bool:
    """Whether a reply is what the user said and nothing else, the persons changed or not."""
    said, own = (_plain(one.translate(_PERSONS)) for one in (text[:_LONGEST_READ], user))
    if len(own) < 4 or len(said) < 4 or _GREETING.fullmatch(said):
        return False
    if said == own or (len(said) < 2 * len(own) and fuzz.ratio(said, own) > 85):
        # "Correct this: …" is answered with what stood behind the colon.
        head = _plain(re.split(r"[:：“\"「]", user.translate(_PERSONS))[0])
        return head in said or fuzz.ratio(head, said[: len(head)]) > 60
    for sentence in filter(None, map(_plain, _SENTENCES.split(text[:_LONGEST_READ]))):
        part = sentence.translate(_PERSONS)
        if sum(_covered(part, own)) < 0.7 * len(part):
            return False
    return sum(_covered(own, said)) > 0.7 * len(own)


def _copies_tools(text: str, schemas: ToolSchemas) -> bool:
    """Whether a reply is the text of tools and nothing else."""
    sentences = [part for part in _SENTENCES.split(text[:_LONGEST_READ]) if len(_plain(part)) >= 4]
    whole = "".join(map(_plain, sentences))
    if len(whole) < 10 or (_SPEAKS.search(text) and "properties" not in text):
        return False
    source = schemas.plain_texts
    if sum(_covered(whole, source)) < 0.8 * len(whole):
        return False
    return all(sum(_covered(s, source)) >= 0.6 * len(s) for s in map(_plain, sentences))


def _is_noise(text: str) -> bool:
    """Repeated punctuation, broken bytes, letters of everywhere, or the same over and over."""
    shown = _TABLE_LINES.sub("", text) or text
    bare = re.sub(r"\s", "", shown)[:_LONGEST_READ]
    kinds = Counter(unicodedata.category(letter)[0] for letter in bare)
    letters = [letter for letter in bare if letter.isalpha()]
    broken = sum(unicodedata.category(letter) in ("Cc", "Co", "Cn") for letter in bare)
    if broken + bare.count("\ufffd") > 0.05 * len(bare):
        return True
    if not letters and not kinds["N"]:
        # An emoji alone is an answer, "……？！" is none.
        return not any(unicodedata.category(letter) == "So" for letter in bare)
    if len(bare) >= 8 and kinds["P"] + kinds["S"] > 0.6 * len(bare):
        return True
    return _is_soup(bare, letters) or _loops(text[:_LONGEST_READ])


def _is_soup(bare: str, letters: Sequence[str]) -> bool:
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in letters}
    mixed = len(scripts - {"CJK", "LATIN", "HIRAGANA", "KATAKANA", "FULLWIDTH", "GREEK"}) > 1
    high = sum("\x80" <= letter <= "\xff" for letter in bare) > 0.25 * len(bare)
    word = re.fullmatch(r"[\w+/=-]{24,}", bare, re.ASCII) is not None
    jumbled = word and len(re.findall(r"\d[A-Za-z]|[a-z][A-Z]", bare)) > 5
    return (mixed and len(scripts) > 3) or high or jumbled


def _loops(text: str) -> bool:
    if len(text) < 20:
        return False
    looped = sum(
        len(found[0]) for found in _LOOP.finditer(text) if not _LAUGHTER.fullmatch(found[1])
    )
    parts = [part.strip() for part in _SENTENCES.split(text) if part.strip()]
    most = Counter(parts).most_common(1)
    told = text.encode()
    return (
        looped > 0.5 * len(text)
        or (bool(most) and most[0][1] >= 5 and most[0][1] > 0.6 * len(parts))
        or (len(told) > 400 and len(zlib.compress(told)) < 0.1 * len(told))
    )
