"""Did the test leak into the training data? Tools and questions of both, compared.

Thresholds are on a scale of 0 to 100. Questions: a question that only gained a word of politeness,
or changed one value, stays above 80 and is found; one that asks for the same in other words
usually falls below 70 and is not. Among the 53,000 pairs of this project's own questions, which
were written to differ, one pair reaches 80; between them and 3,000 messages of public data the
most similar pair reaches 62. Finding paraphrases too would need a model of meaning, and would
call every weather question a leak.
"""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from matinee.messages.conversations import Conversation, Tool
from matinee.messages.scenarios import Suite

Kind = Literal["tool_name", "tool_description", "tool_parameters", "question"]
Exactness = Literal["exact", "near"]

# Names are compared as sorted words: get_history_weather is getWeatherHistory.
NAME_THRESHOLD = 90.0
# Descriptions of one sentence; one changed clause leaves more than this in common.
DESCRIPTION_THRESHOLD = 80.0
SHORTEST_DESCRIPTION = 6
# Parameter names in common, of all of both. One or two names such as `city` or `page` mean
# nothing alone, so that small sets must be equal and sets of one are not compared.
PARAMETERS_THRESHOLD = 75.0
FEWEST_PARAMETERS_EXACT = 2
FEWEST_PARAMETERS_NEAR = 3
# Shared characters in order (indel similarity), without spaces and punctuation.
QUESTION_THRESHOLD = 80.0
# Shorter questions ("Hello", "谢谢") are everyone's; they neither leak nor teach the test.
SHORTEST_QUESTION = 6
# A question inside a longer message counts as copied from this length on.
SHORTEST_CONTAINED = 12

BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Leak:
    """One hit. `rows`: how many training rows hold the text; `training_row` is the first."""

    kind: Kind
    exactness: Exactness
    score: float
    test_item: str
    test_text: str
    training_row: str
    training_source: str
    training_text: str
    rows: int


@dataclass(frozen=True)
class LeakReport:
    """All hits, worst first, and how much was compared."""

    leaks: tuple[Leak, ...]
    training_rows: int
    training_tools: int
    training_questions: int
    test_tools: int
    test_questions: int

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.leaks

    def as_dict(self) -> dict[str, Any]:
        """The JSON form, with counts by kind and exactness."""
        counts: dict[str, int] = {}
        for leak in self.leaks:
            key = f"{leak.kind}_{leak.exactness}"
            counts[key] = counts.get(key, 0) + 1
        return {**asdict(self), "counts": dict(sorted(counts.items())), "clean": self.clean}


@dataclass
class _Text:
    """A text of the training data with where it first stood and in how many rows."""

    text: str
    row: str
    source: str
    rows: int = 1


@dataclass(frozen=True)
class _TestText:
    """A text of the test and what it belongs to: a scenario's id or a tool's name."""

    text: str
    item: str


class _Training:
    """The different tools and questions of the training data; `texts` by kind, then by text."""

    def __init__(self, conversations: Iterable[Conversation]) -> None:
        self.rows = 0
        self.texts: dict[Kind, dict[str, _Text]] = {
            "tool_name": {},
            "tool_description": {},
            "tool_parameters": {},
            "question": {},
        }
        self.tools: set[Tool] = set()
        for conversation in conversations:
            self.rows += 1
            for tool in conversation.tools:
                self._note("tool_name", tool.name, conversation)
                self._note("tool_description", tool.description, conversation)
                self._note("tool_parameters", tool.parameters, conversation)
                self.tools.add(tool)
            for message in conversation.messages:
                if message.role == "user":
                    self._note("question", message.content, conversation)

    def _note(self, kind: Kind, text: str, conversation: Conversation) -> None:
        known = self.texts[kind].get(text)
        if known is None:
            self.texts[kind][text] = _Text(text, conversation.id, conversation.source)
        else:
            known.rows += 1


def find_leaks(training: Iterable[Conversation], suite: Suite) -> LeakReport:
    """Compares everything trained on with every tool and question of the suite.

    Found are exact and near-equal tool names, descriptions and sets of parameters, and questions
    (of every turn) that are equal, contained in a longer message, or nearly equal. Texts are
    compared without case, width, spaces and punctuation. The training data is read once; 50,000
    rows with 120,000 different questions against 300 scenarios take about 10 s on two cores.
    """
    known = _Training(training)
    tools = [Tool.from_openai(tool) for tool in suite.all_tools()]
    questions = [
        _TestText(turn.user, scenario.id) for scenario in suite.scenarios for turn in scenario.turns
    ]
    leaks = [
        *_compare(
            "tool_name",
            known,
            [_TestText(tool.name, tool.name) for tool in tools],
            normal_name,
            NAME_THRESHOLD,
            shortest=1,
        ),
        *_compare(
            "tool_description",
            known,
            [_TestText(tool.description, tool.name) for tool in tools],
            normal,
            DESCRIPTION_THRESHOLD,
            shortest=SHORTEST_DESCRIPTION,
        ),
        *_compare_parameters(known, tools),
        *_compare(
            "question", known, questions, normal, QUESTION_THRESHOLD, shortest=SHORTEST_QUESTION
        ),
        *_contained(known, questions),
    ]
    order = ("tool_name", "tool_description", "tool_parameters", "question")
    leaks.sort(key=lambda leak: (order.index(leak.kind), -leak.score, leak.test_item))
    return LeakReport(
        leaks=tuple(leaks),
        training_rows=known.rows,
        training_tools=len(known.tools),
        training_questions=len(known.texts["question"]),
        test_tools=len(tools),
        test_questions=len(questions),
    )


def normal(text: str) -> str:
    """The text in lower case and usual width, letters and digits only."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"[\W_]+", "", folded)


def normal_name(name: str) -> str:
    """A tool name as its sorted words: `getWeather_v2` is `get v2 weather`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = re.split(r"[\W_]+", unicodedata.normalize("NFKC", spaced).casefold())
    return " ".join(sorted(word for word in words if word))


def _compare(
    kind: Kind,
    training: _Training,
    tests: Sequence[_TestText],
    normalise: Callable[[str], str],
    threshold: float,
    shortest: int,
) -> Iterator[Leak]:
    """Pairs of training and test texts whose similarity reaches the threshold."""
    import numpy as np
    from rapidfuzz import fuzz, process

    wanted = [(test, text) for test in tests if len(text := normalise(test.text)) >= shortest]
    if not wanted:
        return
    targets = [text for _, text in wanted]
    # Texts that no test text can reach for their length alone are left out of the comparison.
    low, high = min(map(len, targets)), max(map(len, targets))
    reach = (200 - threshold) / threshold
    candidates = [
        (text, known)
        for known in training.texts[kind].values()
        if low / reach <= len(text := normalise(known.text)) <= high * reach
    ]
    for start in range(0, len(candidates), BLOCK_ROWS):
        block = candidates[start : start + BLOCK_ROWS]
        scores = process.cdist(
            [text for text, _ in block],
            targets,
            scorer=fuzz.ratio,
            score_cutoff=threshold,
            dtype=np.float32,
            workers=-1,
        )
        for row, column in np.argwhere(scores >= threshold):
            score = float(scores[row, column])
            yield _leak(kind, score, wanted[column][0], block[row][1])


def _leak(kind: Kind, score: float, test: _TestText, known: _Text) -> Leak:
    return Leak(
        kind=kind,
        exactness="exact" if score == 100 else "near",
        score=round(score, 1),
        test_item=test.item,
        test_text=test.text,
        training_row=known.row,
        training_source=known.source,
        training_text=known.text,
        rows=known.rows,
    )


def _compare_parameters(training: _Training, tools: Sequence[Tool]) -> Iterator[Leak]:
    wanted = [(tool, _parameter_names(tool.schema)) for tool in tools]
    for parameters, known in training.texts["tool_parameters"].items():
        found = _parameter_names(Tool("", "", parameters).schema)
        for tool, names in wanted:
            together = len(names & found)
            smaller = min(len(names), len(found))
            score = 100.0 * together / len(names | found) if together else 0.0
            exact = score == 100 and smaller >= FEWEST_PARAMETERS_EXACT
            near = score >= PARAMETERS_THRESHOLD and smaller >= FEWEST_PARAMETERS_NEAR
            if exact or near:
                yield _leak("tool_parameters", score, _TestText(tool.parameters, tool.name), known)


def _parameter_names(schema: dict[str, Any]) -> frozenset[str]:
    properties = schema.get("properties")
    return frozenset(map(normal_name, properties)) if isinstance(properties, dict) else frozenset()


def _contained(training: _Training, tests: Sequence[_TestText]) -> Iterator[Leak]:
    """Questions that stand whole inside a longer message."""
    known = [(normal(text.text), text) for text in training.texts["question"].values()]
    known.sort(key=lambda pair: len(pair[0]))
    starts = list(itertools.accumulate((len(text) + 1 for text, _ in known), initial=0))
    everything = "\n".join(text for text, _ in known)
    for test in tests:
        question = normal(test.text)
        if len(question) < SHORTEST_CONTAINED:
            continue
        yield from _occurrences(test, question, everything, starts, known)


def _occurrences(
    test: _TestText,
    question: str,
    everything: str,
    starts: Sequence[int],
    known: Sequence[tuple[str, _Text]],
) -> Iterator[Leak]:
    from rapidfuzz import fuzz

    position = everything.find(question)
    while position >= 0:
        place = bisect.bisect_right(starts, position) - 1
        text, holder = known[place]
        # Where the two are nearly equal as wholes, the comparison of wholes has named them.
        if fuzz.ratio(text, question) < QUESTION_THRESHOLD:
            yield _leak("question", 100.0, test, holder)
        position = everything.find(question, starts[place + 1])
