"""An experiment of one's own: configuration, tools, rows and test cases out of what is at hand."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from matinee.apps.cases import as_yaml, category_of, due_call
from matinee.messages.conversations import Conversation, Message, Tool
from matinee.runtime import records
from matinee.runtime.errors import ConfigurationError, DataError
from matinee.runtime.places import RESOURCES

TEMPLATE = RESOURCES / "experiment.yaml.jinja"
# Of the logged conversations this share becomes test cases, and is never trained on.
KEPT_SHARE = 0.3
# A suite needs about so many cases before a gain of a quarter of them could be told from chance.
FEW_CASES = 30


@dataclass(frozen=True)
class Beginning:
    """What the user has. Of `tools` and `openapi` one, or neither where `logs` name their tools.

    `model`: a folder, or OWNER/NAME on the hub. `logs`: conversations in the format of `reader`.
    """

    folder: Path
    model: str
    tools: Path | None = None
    openapi: Path | None = None
    logs: Path | None = None
    reader: str = "openai"
    language: Literal["zh", "en"] = "zh"


@dataclass(frozen=True)
class Begun:
    """What was written: rows to train on, test cases, and files that need the user's hand."""

    rows: int
    cases: int
    notes: tuple[str, ...]


def begin(given: Beginning) -> Begun:
    """Writes the experiment's folder. Raises ConfigurationError where it holds one already."""
    folder = given.folder
    if (folder / "experiment.yaml").exists():
        raise ConfigurationError(f"{folder} holds an experiment already (experiment.yaml).")
    logged = list(_read_logs(given)) if given.logs else []
    tools = _tools(given, logged)
    trained, kept, differ = _split(logged)
    (folder / "scenarios").mkdir(parents=True, exist_ok=True)
    records.write_json(folder / "tools.json", [tool.as_openai()["function"] for tool in tools])
    records.write_lines(folder / "rows.jsonl", [_as_openai(row, tools) for row in trained])
    cases = _write_suite(folder, kept, tools)
    _write_fixtures(folder / "fixtures.yaml", kept)
    (folder / "experiment.yaml").write_text(
        _experiment(given, len(trained), differ), encoding="utf-8"
    )
    notes = []
    if cases == 0:
        notes.append(f"Write your test cases into {folder / 'scenarios/cases.yaml'}.")
    elif cases < FEW_CASES:
        notes.append(f"{cases} test cases show only very large gains; {FEW_CASES} are a beginning.")
    if not differ:
        notes.append(
            "Nearly all logged questions are alike, so training shows what the test asks "
            "(`leakage: warn`). Cases of your own, asked otherwise, say more."
        )
    if not trained:
        notes.append("No rows of your own: the models train on made conversations alone.")
    return Begun(len(trained), cases, tuple(notes))


def _read_logs(given: Beginning) -> Iterator[Conversation]:
    from matinee.data.readers import READERS, read_dataset

    if given.reader not in READERS:
        raise ConfigurationError(f"no reader `{given.reader}`; there are {', '.join(READERS)}")
    assert given.logs is not None
    if not given.logs.is_file():
        raise DataError(f"{given.logs}: no such file of conversations")
    named = given.tools is not None or given.openapi is not None
    tools = [tool.as_openai() for tool in _tools(given, ())] if named else []
    yield from read_dataset(
        given.reader, [given.logs], source="logs", on_bad_row="error", tools=tools
    )


def _tools(given: Beginning, logged: Iterable[Conversation]) -> list[Tool]:
    """From the list, the OpenAPI document, or the logs; the first that is given."""
    if given.tools is not None:
        from matinee.evaluation.tool_lists import read_tools

        listed, problems = read_tools(given.tools)
        if problems:
            raise ConfigurationError("\n".join(map(str, problems)))
    elif given.openapi is not None:
        from matinee.evaluation.openapi import import_openapi

        listed = list(import_openapi(given.openapi, []).tools)
    else:
        listed = [tool.as_openai() for row in logged for tool in row.tools]
    tools = {tool.name: tool for tool in map(Tool.from_openai, listed)}
    if not tools:
        raise ConfigurationError("No tools: give --tools or --openapi, or logs that list them.")
    return list(tools.values())


def _split(
    logged: Sequence[Conversation],
) -> tuple[list[Conversation], list[Conversation], bool]:
    """Rows to train on, rows to test with, and whether their questions differ.

    Rows whose questions are alike stay together. Where that leaves too little for a test, because
    nearly all are alike, equal questions alone do.
    """
    from matinee.data.leakage import alike

    wanted = round(KEPT_SHARE * len(logged))
    order = sorted(range(len(logged)), key=lambda place: _hash(logged[place]))
    kept = _taken(alike(logged), order, wanted) if logged else set()
    differ = 2 * len(kept) >= wanted
    if not differ:
        equal: dict[str, list[int]] = {}
        for place, row in enumerate(logged):
            equal.setdefault(_question(row), []).append(place)
        kept = _taken(equal.values(), order, wanted)
    trained = [row for place, row in enumerate(logged) if place not in kept]
    return trained, [logged[place] for place in sorted(kept)], differ


def _taken(groups: Iterable[list[int]], order: Sequence[int], wanted: int) -> set[int]:
    """Whole groups, at most so many places."""
    taken: set[int] = set()
    for group in sorted(groups, key=lambda group: order.index(group[0])):
        if len(taken) + len(group) <= wanted:
            taken.update(group)
    return taken


def _hash(row: Conversation) -> bytes:
    return sha256(_question(row).encode()).digest()


def _question(row: Conversation) -> str:
    return next((message.content for message in row.messages if message.role == "user"), "")


def _as_openai(row: Conversation, tools: Sequence[Tool]) -> dict[str, Any]:
    """A row as the reader `openai` takes it; rows without a list have the experiment's."""
    messages = []
    for message in row.messages:
        value = message.as_openai()
        for call in value.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(
                call["function"]["arguments"], ensure_ascii=False
            )
        # What was not to be learned there is not to be learned here.
        messages.append(value if message.supervised else {**value, "weight": 0})
    return {"messages": messages, "tools": [tool.as_openai() for tool in row.tools or tools]}


def _write_suite(folder: Path, kept: Iterable[Conversation], tools: Sequence[Tool]) -> int:
    """`suite.yaml`, and the cases by category; one commented example where there are none."""
    today = datetime.date.today().isoformat()
    (folder / "scenarios/suite.yaml").write_text(f'id: own\ntoday: "{today}"\n', encoding="utf-8")
    by_category: dict[str, list[dict[str, Any]]] = {}
    known = {tool.name for tool in tools}
    for number, row in enumerate(kept, 1):
        turns = _turns(row.messages)
        if not {call["tool"] for turn in turns for call in turn["calls"]} <= known:
            continue
        case = {"id": f"log-{number}", "family": f"log-{number}", "turns": turns}
        by_category.setdefault(category_of(_rounds(row)), []).append(case)
    for category, cases in by_category.items():
        text = as_yaml({"category": category, "cases": cases})
        (folder / f"scenarios/{category}.yaml").write_text(text, encoding="utf-8")
    if not by_category:
        (folder / "scenarios/cases.yaml").write_text(_example(tools[0]), encoding="utf-8")
    return sum(map(len, by_category.values()))


def _turns(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What the user said, and the calls that were made for it; later outputs wait for earlier."""
    turns: list[dict[str, Any]] = []
    earlier: list[int] = []
    for message in messages:
        if message.role == "user":
            turns.append({"user": message.content, "calls": []})
            earlier = []
        elif message.role == "assistant" and turns:
            calls = turns[-1]["calls"]
            first = len(calls)
            for call in message.tool_calls:
                calls.append(due_call(call.name, call.values, earlier))
            earlier += range(first, len(calls))
    return turns


def _rounds(row: Conversation) -> list[list[int]]:
    """How many calls each output made, turn by turn."""
    turns: list[list[int]] = []
    for message in row.messages:
        if message.role == "user":
            turns.append([])
        elif message.tool_calls and turns:
            turns[-1].append(len(message.tool_calls))
    return turns


def _write_fixtures(file: Path, kept: Iterable[Conversation]) -> None:
    """What the tools answered in the logs, so that the cases can be played."""
    answers = []
    for row in kept:
        waiting = [call for message in row.messages for call in message.tool_calls]
        results = [message for message in row.messages if message.role == "tool"]
        for call, result in zip(waiting, results, strict=False):
            answer = {"tool": call.name, "when": call.values, "returns": _value(result.content)}
            if answer not in answers:
                answers.append(answer)
    file.write_text(as_yaml(answers), encoding="utf-8")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _example(tool: Tool) -> str:
    """One case over the first tool, for the user to go on from."""
    schema = tool.schema
    named = {name: f"a value for {name}" for name in schema.get("required", [])}
    return (
        "# Replace this case by your own: what a user says, and the call that is right.\n"
        "# All that can be said: docs/scenarios.md\n"
        "category: single_tool\n"
        "cases:\n"
        "  - id: first\n"
        "    family: first\n"
        "    turns:\n"
        f"      - user: a question that needs {tool.name}\n"
        f"        calls: [{{tool: {tool.name}, arguments: {json.dumps(named)}}}]\n"
    )


def _experiment(given: Beginning, rows: int, differ: bool) -> str:
    """The configuration. Few rows of one's own are stretched by made ones."""
    from jinja2 import Environment

    model = Path(given.model)
    if model.exists():
        source = f"{{kind: path, path: {json.dumps(str(model.absolute()))}}}"
    else:
        source = f"{{kind: hf, repo: {given.model}, revision: main}}"
    written = Environment(keep_trailing_newline=True).from_string(TEMPLATE.read_text("utf-8"))
    return written.render(
        source=source,
        rows=rows,
        differ=differ,
        template=_template(model),
        title=f"{model.name} learns to call the tools of {given.folder.name}",
        language=given.language,
    )


def _template(model: Path) -> str:
    """The model's own; a form of the project's where a folder shows that it has none."""
    if not model.is_dir() or (model / "chat_template.jinja").exists():
        return "native"
    settings = model / "tokenizer_config.json"
    own = settings.exists() and "chat_template" in records.read_json(settings)
    return "native" if own else "chatml_action"


def trial(folder: Path) -> dict[str, Any]:
    """The experiment made small, to see in a minute whether everything fits together: a few rows,
    cases and tokens, and one optimizer step. Paths are absolute; its place is another folder."""
    import yaml

    written = yaml.safe_load((folder / "experiment.yaml").read_text(encoding="utf-8"))
    values: dict[str, Any] = _absolute(written, folder.absolute())
    for dataset in values.get("datasets", ()):
        if "synthesis" in dataset:
            dataset["synthesis"] |= {"conversations": 6}
    for variant in values.get("variants", ()):
        variant["data"] = [part | {"max_samples": 3} for part in variant["data"]]
        variant["training"] |= {"epochs": 1, "warmup_steps": 0, "logging_steps": 1}
        variant["seeds"] = [variant.get("seeds", [42])[0]]
    evaluation = values.setdefault("evaluation", {})
    for suite in evaluation.get("suites", ()):
        suite["limit"] = 5
    evaluation |= {"max_steps": 2, "max_new_tokens": 32}
    return values


def _absolute(value: Any, folder: Path) -> Any:
    """The values with every text that names something in the folder as an absolute path."""
    if isinstance(value, dict):
        return {key: _absolute(inner, folder) for key, inner in value.items()}
    if isinstance(value, list):
        return [_absolute(inner, folder) for inner in value]
    named = isinstance(value, str) and value and (folder / value).exists()
    return str(folder / value) if named else value
