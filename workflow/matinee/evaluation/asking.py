"""Asking back: when a reply asks for something, for which slots, and what the user answers.

A reply is read clause by clause. A clause asks where it holds an interrogative ("哪个城市"), a
choice ("10年还是20年？"), a request to tell ("请把网址发给我"), a need ("还差登记日期"), a question
whether something exists ("出过事故没有？"), or the slot's word and a question mark alone
("年限呢？"). The slot's word must stand in that clause, or in the one before where the clause only
says "请告诉我". A question mark by itself asks nothing: "您是在北京，对吗？" proposes a value.
docs/scenarios.md has precision and recall on replies that were labelled before these rules.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from matinee.messages.scenarios import Turn

# The scripted user answers at most so many replies of one turn.
MAXIMUM_ROUNDS = 3
UNKNOWN_ANSWER = "这个我不知道。"
# Of a long reply the beginning and the end are read, of a long clause the beginning: some of the
# patterns below take time with the square of a clause's length.
_LONGEST_REPLY = 2_000
_LONGEST_CLAUSE = 200

_CLAUSES = re.compile(r"(?:[^，,；;。！!？?.\n]|(?<=\w)[,.](?=\w))+([，,；;。！!？?.\n]*)")
_REST = r"[^。！？!?\n]{0,30}"
# "Is there anything else?" ends a reply politely and asks for nothing.
_OFFER = re.compile(
    rf"(请问)?(您|你)?还(有|需要|想|要){_REST}(帮|服务|效劳|了解|其他|其它|别的|什么|问题)"
    rf"{_REST}[？?。！!]?|(请问)?(您|你)?有(什么|任何|其他|其它|别的){_REST}(需要|问题|帮){_REST}[？?。！!]?"
    rf"|(需不?需要|要不要|是否需要)我?(再|继续|帮|为|给|替){_REST}[？?]"
    rf"|(请问)?(您|你)?需要我?(再|继续|帮|为|给|替){_REST}[？?]"
    rf"|如(果|有|需){_REST}(告诉|联系|找|问)我?(们)?($|[。！!])"
    rf"|{_REST}随时(再)?(告诉|联系|问|提问|找|说){_REST}[。！!]?"
    r"|(is there |do you need |would you like )?(anything else|something else|any other|another)"
    r"[^.!?\n]*[?.!]?|(please )?let me know (if|whether)[^.!?\n]*[?.!]?"
    r"|(how|what) (else )?(can|may|could) i (help|assist|do)[^.!?\n]*[?.!]?",
    re.IGNORECASE,
)
_TELL = (
    r"告诉|告知|提供|补充|说明|说一?下|讲一?下|说说|输入|填写|填一?下|确认|指定|明确|选择|选一?个|选一?下|给出|给我|给一?个|"
    r"发(?:给|来|过来|我|一?下|一?个|过去)|贴(?:过来|一?下|出来|给)|报(?:一?下|一?个|给)|留一?下|描述|回复|写一?下|分享|"
    r"知会|传(?:给|过来)|发到这|问一?下|透露"
)
_REQUEST = re.compile(
    rf"(?:请|麻烦|劳驾|烦请|劳烦|需要(?:您|你)|还?得(?:您|你)|能否|可否|能不能|可不可以|可以|能|方便|"
    rf"把|先|您|你|只要|那就|就|也|再){_REST}?(?:{_TELL})|^(?:{_TELL})|(?:{_TELL})(?:我|一?下)?(?:就行|就好|即可|吧|"
    rf"好吗)|发我|告诉我|"
    r"请(?:发|说|给|填|选|讲|报|留)|"
    r"\b(?:tell|give|send|show) me\b|\blet me (?:know|have)\b|"
    r"\b(?:could|can|would|will|might) you\b[^.?!]*\b(?:tell|give|share|send|provide|let|specify|"
    r"say|"
    r"confirm|type|paste|enter|clarify|mind)\b|\b(?:may|can|could) i (?:have|get|ask|know)\b|"
    r"(?:^|\b(?:please|just|kindly|first|then|and)\s+)"
    r"(?:share|provide|enter|paste|specify|choose|select|pick|send|type|state|name|add|tell|"
    r"give)\b|"
    r"\bplease\W*$|^please (?!wait|hold|note|visit|check|go|see|contact|refer|stand|allow|be|try)",
    re.IGNORECASE,
)
_NEED = re.compile(
    r"需要(?!我|帮|为)|还差|差(?=一|个|您|你)|还缺|缺少|缺(?=了|个|您|你)|得(?:先)?(?:知道|有|问)|要(?:先)?知道|必须(?:先)?知道|"
    r"(?:没有?|未|尚未|忘了?)(?:说|提供|给出|说明|指定|告诉|告知|提到|写|讲|填)|不(?:清楚|知道|确定)(?=您|你|是|具体)|"
    r"\b(?:need|require|missing|must know|have to know|don't know|didn't (?:say|mention|tell))\b",
    re.IGNORECASE,
)
_INTERROGATIVE = re.compile(
    r"哪|何时|何地|何种|几时|多少|多久|多长|多大|怎么称呼|谁|(?<![没为])什么|啥|"
    r"(?<![这那近前后好十几数])几(?=[^乎])|"
    r"\b(?:what|which|where|when|who|whose|how (?:many|much|long|old|big|large|far|often|soon))\b",
    re.IGNORECASE,
)
_OPENING = re.compile(
    r"^\W*(?:and |so |for |at |in |to )*(?:what|which|where|how |when (?:is|do|s))", re.I
)
# Interrogatives that ask nothing: "whatever", "that depends on where", "I shall see which".
_UNASKED = re.compile(
    r"(?:哪|什么|多少|几|谁|何).{0,12}(?:都|也)(?!不知道)|无论|不管|不论|任何|取决|"
    r"^\W*(?:我|让我)(?:来|会|将|这就|马上|已|先|正|查|看|帮|为|给)|"
    r"(?:we'll|i'll|i will|let me) (?:see|check|find|look)|depends? on|whatever|"
    r"no matter|什么的$|几(?:乎|天就)",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"还是|或者?[^，,。]*[？?]|(?<![a-z])or(?![a-z])", re.IGNORECASE)
_WHETHER = re.compile(
    r"有没有|有无|是否|是不是有|过.{0,8}(?:吗|没有?|么)\W*$|(?:您|你).{0,4}(?:有|知道|记得|晓得|清楚).{0,12}(?:吗|么)|"
    r"(?:有没|有).{0,10}吗\W*$|\b(?:do|did|have|has) you(?:r\w*)?\b.{0,30}\b(?:have|know|remember|"
    r"got|been|had)\b",
    re.IGNORECASE,
)
_PROPOSAL = re.compile(
    r"(?:对吗|对吧|对不对|是吗|是吧|没错吧|吧|没问题吧|right|correct|isn't it|okay|ok)\W*$",
    re.IGNORECASE,
)
_FILLER = re.compile(
    rf"请问?|麻烦|烦请|劳驾|您|你|我|一下|下|好吗|可以|能否|能|方便|吗|吧|呢|先|再|还|就行|即可|把|它|这个|那个|"
    rf"那儿|那边|有|知道|\W|{_TELL}|\b(?:could|can|would|will|please|you|tell|give|send|me|it|that|this|"
    rf"let|know|"
    r"provide|share|do|have|specify)\b",
    re.IGNORECASE,
)
_QUESTION_MARK = re.compile(r"[？?]|[吗呢么][。.]?$")
# "为45", "about 12": a figure that is told as a fact; not in rules and examples.
_FIGURE = re.compile(
    r"(?:为|是|约|共|达|还|有|is|are|be|about|around|over)\s*[:：]?\s*[$¥￥]?(\d[\d.,]*)",
    re.IGNORECASE,
)
_GENERAL = re.compile(
    r"最|一般|通常|往往|可以?选|可选|支持|默认|例如|比如|格式|举例|以上|以下|以后|以前|之间|从|范围|"
    r"上限|下限|限制|不超过|至少|只能|必须|"
    r"usually|between|at least|at most|for example|e\.g|such as|up to|from|must|default",
    re.IGNORECASE,
)
_PERSONS = str.maketrans({"您": "你", "我": "你", "贵": "你"})


@dataclass(frozen=True)
class _Clause:
    """A clause with its punctuation; `asked`: its sentence ends in a question mark."""

    text: str
    asked: bool


def is_question(text: str) -> bool:
    """Whether a reply asks the user for something; polite offers of more help do not count."""
    return any(_asks(one) or _QUESTION_MARK.search(one.text) for one in _clauses(text))


def asked_slots(turn: Turn, text: str, answered: Collection[str]) -> tuple[str, ...]:
    """Slots of the turn that a reply asks for, or says to be invalid, and that are still open.

    Only in turns where something must be asked or said; elsewhere the scripted user stays silent.
    The user's own words, given back, ask for nothing; nor does a reply that tells a made-up result.
    """
    clauses = [one for one in _clauses(text) if not _echoes(one.text, turn.user)]
    silent = _echoes(text, turn.user) or any(_invents(one, turn.user) for one in clauses)
    asking = list(_asking(clauses)) if turn.ask and not silent else []
    return tuple(
        name
        for name, slot in turn.slots.items()
        if name not in answered
        and (
            any(word in text for word in slot.asked_by)
            if name in turn.invalid
            else any(_names(part, word) for part in asking for word in slot.asked_by)
        )
    )


def asks_after(turn: Turn, text: str) -> bool:
    """Whether the reply that ends a turn asks for what a result left open (`ask_after`).

    An offer counts here: after "no record of that day", "要不要换一天？" is the question due.
    """
    asking = [
        sentence
        for sentence in re.findall(r"[^。！!？?\n]+[。！!？?\n]*", text)
        if re.search(r"[？?]|[吗呢]\W*$", sentence) or any(map(_asks, _clauses(sentence)))
    ]
    return bool(turn.ask_after) and all(
        any(word in sentence for sentence in asking for word in turn.slots[name].asked_by)
        for name in turn.ask_after
    )


def answer(turn: Turn, slots: Sequence[str]) -> str | None:
    """What the scripted user says to these slots; one sentence for all that he does not know.

    None where nothing is left to say, because a value was only to be refused.
    """
    known = [turn.slots[name].answer for name in slots]
    if not any(known) and all(name in turn.invalid for name in slots):
        return None
    said = "，".join(text for text in known if text is not None)
    unknown = any(text is None for text in known)
    if not said:
        return UNKNOWN_ANSWER
    return f"{said}。别的我不知道。" if unknown else said


def _clauses(text: str) -> list[_Clause]:
    found: list[str] = []
    if len(text) > _LONGEST_REPLY:
        half = _LONGEST_REPLY // 2
        text = f"{text[:half]}\n{text[-half:]}"
    for clause in _CLAUSES.finditer(_OFFER.sub("\n", text)):
        # "昨天，还是前天？" and "London, Paris, or …?" are one choice.
        if found and re.match(r"\s*(?:还是|或|or\b)", clause[0]) and found[-1][-1] in "，,":
            found[-1] += clause[0]
        else:
            found.append(clause[0])
    clauses: list[_Clause] = []
    asked = False
    for part in reversed(found):
        tag = bool(clauses) and _PROPOSAL.search(clauses[-1].text) is not None
        goes_on = asked and part.rstrip()[-1:] in "，," and not tag
        asked = goes_on or re.search(r"[？?]\s*$", part) is not None
        clauses.append(_Clause(part.strip()[:_LONGEST_CLAUSE], asked))
    return clauses[::-1]


def _asking(clauses: Sequence[_Clause]) -> Iterator[str]:
    """The parts of a reply that ask for something, each with what it is about."""
    before = ""
    for clause in clauses:
        if _asks(clause):
            bare = len(_FILLER.sub("", clause.text)) < 2
            yield before + clause.text if bare else _with_choices(clause)
        elif (clause.asked or clause.text.rstrip("。.").endswith("呢")) and not _PROPOSAL.search(
            clause.text
        ):
            yield f"\0{clause.text}"  # asks only where it is nothing but the slot's word
        before = clause.text


def _asks(clause: _Clause) -> bool:
    text = clause.text
    if _PROPOSAL.search(text) and not _REQUEST.search(text):
        return False
    yes_or_no = re.search(r"(?:吗|么)\W*$", text) is not None
    return bool(
        _REQUEST.search(text)
        or (_NEED.search(text) and not yes_or_no)
        or _WHETHER.search(text)
        or re.search(r"(?:是|\bis)\W*[？?]$", text)
        or (_CHOICE.search(text) and (clause.asked or "还是" in text))
        or (not _UNASKED.search(text) and _interrogative(clause))
    )


def _interrogative(clause: _Clause) -> bool:
    found = list(_INTERROGATIVE.finditer(clause.text))
    if not found:
        return False
    if clause.asked or re.search(r"呢\W*$", clause.text) or _OPENING.search(clause.text):
        return True
    # Without a question mark an interrogative asks near the end: "您的车是什么时候注册的".
    near = len(clause.text.rstrip("。.！! ")) - found[-1].end() <= 10
    return near and found[-1][0].isascii() is False


def _with_choices(clause: _Clause) -> str:
    """The clause; of a choice among numbers also what it asks: "10年还是20年" asks 几年."""
    if not _CHOICE.search(clause.text):
        return clause.text
    number = r"(?:\d+|[一两二三四五六七八九十百]+)(?=[^\d\s、，,])"
    return clause.text + re.sub(number, "几", clause.text)


def _names(part: str, word: str) -> bool:
    """Whether a part of a reply holds a slot's word, in any of the ways to say "which"."""
    if part.startswith("\0"):
        bare = re.sub(
            r"^(?:那么?|好的?|还有|请问|and|the|your|您的|你的|\W)+", "", part, flags=re.I
        )
        bare = re.sub(r"(?:呢|是|名称|名字|名|号|份|is)*\W*$", "", bare, flags=re.I)
        told = re.search(r"[是有帮查吗]|\b(?:is|are|was|a|my)\b|\d", bare, re.IGNORECASE)
        nouns = re.split(r"[和与及跟、/]|\band\b", bare.casefold())
        return told is None and any(noun.strip().endswith(word.casefold()) for noun in nouns)
    if word.isascii():
        return re.search(rf"(?<![a-z]){re.escape(word)}", part, re.IGNORECASE) is not None
    meant = _which(word)
    return word in part or (len(meant) > 1 and meant in _which(part))


def _which(text: str) -> str:
    text = re.sub(r"多少个?|几个|几几", "几", text)
    text = re.sub(r"几(?=[月号日点])", "哪", text)
    return re.sub(r"(?:哪(?:一个|一|个|座|家)|什么)(?=[\u4e00-\u9fff])", "哪", text)


def _echoes(clause: str, user: str) -> bool:
    """Whether a clause is the user's own words, with the persons changed or not."""
    said, own = (re.sub(r"\W|的", "", one.translate(_PERSONS)).casefold() for one in (clause, user))
    if len(said) < 5:
        return False
    return said in own or fuzz.ratio(said, own) > 85


def _invents(clause: _Clause, user: str) -> bool:
    """Whether a clause tells a figure that nobody gave."""
    for none in (_GENERAL, _REQUEST, _CHOICE, _QUESTION_MARK):
        if none.search(clause.text):
            return False
    return any(figure[1].rstrip(".,") not in user for figure in _FIGURE.finditer(clause.text))
