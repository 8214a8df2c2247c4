"""What the scorer lets pass: `python benchmarks/scenario_corruptions.py [--shown KIND]`.

Plays every shipped scenario rightly, then once more for each single change that makes it wrong, and
prints how many of each kind are still judged right, with their cases. `--shown` prints the outputs
of that kind's accepted ones.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from matinee.engines.base import Completion, Reply, Request  # noqa: E402
from matinee.evaluation.playing import Play, case_of, run_suite  # noqa: E402
from matinee.evaluation.scoring import score_suite  # noqa: E402
from matinee.evaluation.scripted import NULL_ANSWER, GoldEngine  # noqa: E402
from matinee.evaluation.suites import load_suite  # noqa: E402
from matinee.messages.conversations import ToolCall, canonical_json  # noqa: E402
from matinee.messages.parsing import write_calls  # noqa: E402
from matinee.messages.scenarios import Scenario, Suite  # noqa: E402
from matinee.messages.transcripts import Transcript  # noqa: E402

# Calls that their tools answer.
NEEDLESS = (
    ToolCall("get_province_list"),
    ToolCall("loan_calc_query", '{"money": 70, "year": 20}'),
    ToolCall("icp_query", '{"domainName": "juhe.cn"}'),
)
PLAY = Play("gold", "hermes", max_steps=9, max_new_tokens=200)


@dataclass(frozen=True)
class Corruption:
    """A case's outputs with one change. `cut`: the position of the one that met the limit."""

    kind: str
    case: str
    outputs: tuple[str, ...]
    cut: int = -1


class Script:
    """Writes each case's outputs in their order, and then a polite sentence."""

    def __init__(self, scripts: dict[str, Corruption]) -> None:
        self._scripts = scripts

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        """Plays the conversations one after the other; see `Engine`."""
        for request in requests:
            script = self._scripts[case_of(request.key)]
            following: Request | None = request
            position = 0
            while following is not None:
                known = position < len(script.outputs)
                text = script.outputs[position] if known else NULL_ANSWER
                finish: Literal["length", "stop"] = "length" if position == script.cut else "stop"
                following = reply(following, Completion(text, 0, 0, finish, 0.0))
                position += 1


def of_arguments(suite: Suite, case: Scenario, call: ToolCall) -> Iterator[tuple[str, ToolCall]]:
    """A call with one argument changed."""
    tool = next(tool for tool in suite.tools_of(case) if tool["name"] == call.name)
    properties = tool["parameters"].get("properties", {})
    values = json.loads(call.arguments)
    for name, value in values.items():
        required = name in tool["parameters"].get("required", [])
        kind = "a required argument left out" if required else "an optional argument left out"
        if _absence_means(suite, case, call.name, name):
            kind = "left out what absence says"
        rest = {key: one for key, one in values.items() if key != name}
        yield kind, ToolCall(call.name, canonical_json(rest))
        number = value + 1 if type(value) is int else None
        other = f"{value}x" if isinstance(value, str) else number
        yield "another value", ToolCall(call.name, canonical_json({**values, name: other}))
        # A keyword, a domain and pinyin are the same in small letters.
        if isinstance(value, str) and re.fullmatch("[A-Z]{3}", value):
            small = {**values, name: value.lower()}
            yield "a code in small letters", ToolCall(call.name, canonical_json(small))
    for name, schema in properties.items():
        if name not in values:
            made = 7 if schema.get("type") == "integer" else "7"
            yield "one more argument", ToolCall(call.name, canonical_json({**values, name: made}))
    yield "an argument that no tool has", ToolCall(call.name, canonical_json({**values, "zz": 1}))


def _absence_means(suite: Suite, case: Scenario, tool: str, name: str) -> bool:
    """Whether the gold lists absence, or the suite says that it means one of the values."""
    golds = [gold for turn in case.turns for way in turn.ways for gold in way if gold.tool == tool]
    default = suite.defaults.get(tool, {}).get(name, "no default")
    listed = [gold.arguments.get(name, []) for gold in golds]
    options = [one if isinstance(one, list) else [one] for one in listed]
    return any(None in one or default in one for one in options)


def corruptions(suite: Suite, case: Scenario, gold: Transcript) -> Iterator[Corruption]:
    """Every single change of a case's right outputs."""
    outputs = [step.text for step in gold.steps]
    wanted = {call.tool for turn in case.turns for way in turn.ways for call in way}
    strange = next(tool["name"] for tool in suite.tools_of(case) if tool["name"] not in wanted)
    needless = next(call for call in NEEDLESS if call.name not in wanted)

    def changed(kind: str, position: int, *instead: str, cut: int = -1) -> Corruption:
        written = (*outputs[:position], *instead, *outputs[position + 1 :])
        return Corruption(kind, case.id, written, cut)

    calling = [place for place, step in enumerate(gold.steps) if step.parse.calls]
    for position, step in enumerate(gold.steps):
        calls = [ToolCall(call.name, call.arguments) for call in step.parse.calls]
        text = outputs[position]
        if not calls:
            yield changed("a reply cut off", position, text, cut=position)
            yield changed("an empty reply", position, "")
            yield changed("a call in a reply", position, _written([needless]))
            if step.reply is not None and calling and position < calling[0]:
                yield changed("a call before the question", position, outputs[calling[0]], text)
            continue
        yield changed("all calls of an output left out", position)
        yield changed("an output made twice", position, text, text)
        bare = {"name": calls[0].name, "arguments": calls[0].values}
        yield changed("a call in another form", position, canonical_json(bare))
        for place, call in enumerate(calls):
            before, after = calls[:place], calls[place + 1 :]
            if before or after:
                yield changed("one of several calls left out", position, _written(before + after))
            yield changed("a call doubled in its output", position, _written([*calls, call]))
            other = ToolCall(strange, call.arguments)
            yield changed("another tool", position, _written([*before, other, *after]))
            for kind, wrong in of_arguments(suite, case, call):
                yield changed(kind, position, _written([*before, wrong, *after]))


def _written(calls: list[ToolCall]) -> str:
    return write_calls("hermes", calls)


def accepted(suite: Suite) -> tuple[dict[str, int], dict[str, list[Corruption]]]:
    """How many changes of each kind there are, and those that are judged right all the same."""
    gold = run_suite(suite, GoldEngine(suite, "hermes"), PLAY)
    cases = {case.id: case for case in suite.scenarios}
    made = [one for row in gold for one in corruptions(suite, cases[row.case], row)]
    scripts = {f"{one.case}~{number}": one for number, one in enumerate(made)}
    copies = tuple(cases[one.case].model_copy(update={"id": name}) for name, one in scripts.items())
    many = suite.model_copy(update={"scenarios": copies})
    verdicts = score_suite(many, run_suite(many, Script(scripts), PLAY))
    counts: dict[str, int] = defaultdict(int)
    right: dict[str, list[Corruption]] = defaultdict(list)
    for verdict in verdicts:
        corruption = scripts[verdict.case]
        counts[corruption.kind] += 1
        if verdict.success:
            right[corruption.kind].append(corruption)
    return counts, right


def main() -> None:
    """Prints a row per kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shown", default="", help="a kind whose accepted outputs are printed")
    asked = parser.parse_args()
    resources = ROOT / "workflow" / "resources"
    suite = load_suite(resources / "scenarios", resources / "tools.json")
    counts, right = accepted(suite)
    for kind, count in counts.items():
        cases = sorted({one.case for one in right[kind]})
        print(f"{kind:34} {count:6} {len(right[kind]):4}  {', '.join(cases)}")
        for one in right[kind] if kind == asked.shown else ():
            print(f"  {one.case}", *one.outputs, sep="\n    ")
    total = sum(map(len, right.values()))
    print(f"{'all':34} {sum(counts.values()):6} {total:4}")


if __name__ == "__main__":
    main()
