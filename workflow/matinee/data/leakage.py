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
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from matinee.messages.conversations import Conversation, Tool
from matinee.messages.scenarios import Suite

Kind = Literal["tool_name", "tool_description", "tool_parameters", "question"]
Exactness = Literal["exact", "near"]

# Names are compared as sorted words: get_history_weather is getWeatherHistory.
NAME_THRESHOLD = 90.0
# Descriptions of one sentence; one changed clause leaves more than this in common.
DESCRIPTION_THRESHOLD = 80.0
# Parameter names in common, of all of both. One or two names such as `city` or `page` mean
# nothing alone, so that small sets must be equal and sets of one are not compared.
PARAMETERS_THRESHOLD = 75.0
FEWEST_PARAMETERS_EXACT = 2
FEWEST_PARAMETERS_NEAR = 3
# Shared characters in order (indel similarity), without spaces and punctuation.
QUESTION_THRESHOLD = 80.0
# Shorter questions ("Hello", "谢谢") are everyone's; they neither leak nor teach the test.
SHORTEST = {"tool_name": 1, "tool_description": 6, "question": 6}
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
        counts = Counter(f"{leak.kind}_{leak.exactness}" for leak in self.leaks)
        return {**asdict(self), "counts": dict(sorted(counts.items())), "clean": self.clean}


@dataclass
class _Text:
    """A text of the training data with where it first stood and in how many rows."""

    text: str
    row: str
    source: str
    rows: int = 0


# A text of the test, and what it belongs to: a scenario's id or a tool's name.
_TestText = tuple[str, str]
_Texts = dict[Kind, dict[str, _Text]]


def find_leaks(training: Iterable[Conversation], suite: Suite) -> LeakReport:
    """Compares everything trained on with every tool and question of the suite.

    Found are exact and near-equal tool names, descriptions and sets of parameters, and questions
    (of every turn) that are equal, contained in a longer message, or nearly equal. Texts are
    compared without case, width, spaces and punctuation. The training data is read once; 50,000
    rows with 120,000 different questions against 300 scenarios take about 10 s on two cores.
    """
    known: _Texts = {kind: {} for kind in get_args(Kind)}
    different: set[Tool] = set()
    rows = 0
    for conversation in training:
        rows += 1
        different.update(conversation.tools)
        for kind, text in _texts_of(conversation):
            new = _Text(text, conversation.id, conversation.source)
            known[kind].setdefault(text, new).rows += 1
    tools = [Tool.from_openai(tool) for tool in suite.all_tools()]
    names = [(tool.name, tool.name) for tool in tools]
    descriptions = [(tool.description, tool.name) for tool in tools]
    questions = [(turn.user, case.id) for case in suite.scenarios for turn in case.turns]
    leaks = [
        *_compare("tool_name", known, names, NAME_THRESHOLD),
        *_compare("tool_description", known, descriptions, DESCRIPTION_THRESHOLD),
        *_compare_parameters(known, tools),
        *_compare("question", known, questions, QUESTION_THRESHOLD),
        *_contained(known, questions),
    ]
    order = get_args(Kind)
    leaks.sort(key=lambda leak: (order.index(leak.kind), -leak.score, leak.test_item))
    return LeakReport(
        leaks=tuple(leaks),
        training_rows=rows,
        training_tools=len(different),
        training_questions=len(known["question"]),
        test_tools=len(tools),
        test_questions=len(questions),
    )


def alike(rows: Sequence[Conversation]) -> list[list[int]]:
    """Places of the rows in groups: where a user of one says nearly what a user of another says,
    both are in one, so that rows of different groups do not leak into one another."""
    import numpy as np
    from rapidfuzz import fuzz, process
    from scipy.sparse.csgraph import connected_components

    said = [
        (normal(text), place)
        for place, row in enumerate(rows)
        for kind, text in _texts_of(row)
        if kind == "question"
    ]
    texts = [text for text, _ in said]
    near = process.cdist(texts, texts, score_cutoff=QUESTION_THRESHOLD, dtype=np.uint8) > 0
    within = process.cdist(
        texts, texts, scorer=fuzz.partial_ratio, score_cutoff=100, dtype=np.uint8
    )
    long = np.array([len(text) >= SHORTEST_CONTAINED for text in texts])
    linked = near | ((within > 0) & np.outer(long, long))
    owners = np.array([place for _, place in said])
    between = np.zeros((len(rows), len(rows)), dtype=bool)
    first, second = linked.nonzero()
    between[owners[first], owners[second]] = True
    _, labels = connected_components(between, directed=False)
    return [np.flatnonzero(labels == label).tolist() for label in dict.fromkeys(labels.tolist())]


def _texts_of(conversation: Conversation) -> Iterator[tuple[Kind, str]]:
    for tool in conversation.tools:
        yield "tool_name", tool.name
        yield "tool_description", tool.description
        yield "tool_parameters", tool.parameters
    for message in conversation.messages:
        if message.role == "user":
            yield "question", message.content


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
    kind: Kind, training: _Texts, tests: Sequence[_TestText], threshold: float
) -> Iterator[Leak]:
    """Pairs of training and test texts whose similarity reaches the threshold."""
    import numpy as np
    from rapidfuzz import fuzz, process

    normalise = normal_name if kind == "tool_name" else normal
    targets = {test: normalise(test[0]) for test in tests}
    wanted = [test for test, text in targets.items() if len(text) >= SHORTEST[kind]]
    if not wanted:
        return
    # Texts that no test text can reach for their length alone are left out of the comparison.
    lengths = [len(targets[test]) for test in wanted]
    reach = (200 - threshold) / threshold
    candidates = [
        (text, known)
        for known in training[kind].values()
        if min(lengths) / reach <= len(text := normalise(known.text)) <= max(lengths) * reach
    ]
    for start in range(0, len(candidates), BLOCK_ROWS):
        block = candidates[start : start + BLOCK_ROWS]
        scores = process.cdist(
            [text for text, _ in block],
            [targets[test] for test in wanted],
            scorer=fuzz.ratio,
            score_cutoff=threshold,
            dtype=np.float32,
            workers=-1,
        )
        for row, column in np.argwhere(scores >= threshold):
            yield _leak(kind, float(scores[row, column]), wanted[column], block[row][1])


def _leak(kind: Kind, score: float, test: _TestText, known: _Text) -> Leak:
    return Leak(
        kind=kind,
        exactness="exact" if score == 100 else "near",
        score=round(score, 1),
        test_item=test[1],
        test_text=test[0],
        training_row=known.row,
        training_source=known.source,
        training_text=known.text,
        rows=known.rows,
    )


def _compare_parameters(training: _Texts, tools: Sequence[Tool]) -> Iterator[Leak]:
    wanted = [(tool, _parameter_names(tool.schema)) for tool in tools]
    for parameters, known in training["tool_parameters"].items():
        found = _parameter_names(Tool("", "", parameters).schema)
        for tool, names in wanted:
            together = len(names & found)
            smaller = min(len(names), len(found))
            score = 100.0 * together / len(names | found) if together else 0.0
            exact = score == 100 and smaller >= FEWEST_PARAMETERS_EXACT
            near = score >= PARAMETERS_THRESHOLD and smaller >= FEWEST_PARAMETERS_NEAR
            if exact or near:
                yield _leak("tool_parameters", score, (tool.parameters, tool.name), known)


def _parameter_names(schema: dict[str, Any]) -> frozenset[str]:
    properties = schema.get("properties")
    return frozenset(map(normal_name, properties)) if isinstance(properties, dict) else frozenset()


def _contained(training: _Texts, tests: Sequence[_TestText]) -> Iterator[Leak]:
    """Questions that stand whole inside a longer message."""
    from rapidfuzz import fuzz

    known = [(normal(text.text), text) for text in training["question"].values()]
    starts = list(itertools.accumulate((len(text) + 1 for text, _ in known), initial=0))
    everything = "\n".join(text for text, _ in known)
    for test in tests:
        question = normal(test[0])
        position = everything.find(question) if len(question) >= SHORTEST_CONTAINED else -1
        while position >= 0:
            place = bisect.bisect_right(starts, position) - 1
            text, holder = known[place]
            # Where the two are nearly equal as wholes, the comparison of wholes has named them.
            if fuzz.ratio(text, question) < QUESTION_THRESHOLD:
                yield _leak("question", 100.0, test, holder)
            position = everything.find(question, starts[place + 1])
