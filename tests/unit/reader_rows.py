"""Rows drawn from each format's grammar, every text, number and free key of which is told apart.

What a row holds is known by its marks alone: `q…z` must come out of a reader again, `l…z` stands
under a key that the format is documented to leave out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

MARK = re.compile(r"[ql]\d{7}z")
NUMBER = re.compile(r"(?<![\dql])9\d{6}(?!\d)")


ODD = ["“引号”", "a\nb", 'say "x"', "C:\\\\dir", "emoji 🙂", "{brace}", "’", "1.50", "<b>", ""]


class Dice:
    """A source of marks, numbers and choices, by a seed."""

    def __init__(self, seed: int | str) -> None:
        self.random = random.Random(seed)

    def text(self, kind: str = "q") -> str:
        return f"{kind}{self.random.randrange(10**7):07}z"

    def words(self) -> str:
        odd = [
            "“引号”",
            "a\nb",
            'say "x"',
            "C:\\\\dir",
            "emoji 🙂",
            "{brace}",
            "’",
            "1.50",
            "<b>",
            "",
        ]
        return f"{self.text()} {self.random.choice(odd)} {self.text()}".strip()

    def number(self) -> int:
        return self.random.randrange(9 * 10**6, 10**7)

    def maybe(self, share: float = 0.5) -> bool:
        return self.random.random() < share

    def some(self, low: int, high: int) -> range:
        return range(self.random.randint(low, high))

    def value(self, depth: int = 0) -> Any:
        kind = self.random.choice(
            ["text", "number", "list", "object", "bool"][: 5 if depth < 3 else 2]
        )
        if kind == "text":
            return self.words()
        if kind == "number":
            return self.number()
        if kind == "list":
            return [self.value(depth + 1) for _ in self.some(0, 3)]
        if kind == "object":
            return {self.text(): self.value(depth + 1) for _ in self.some(0, 3)}
        return self.maybe()


def talk(dice: Dice, *, plain: bool = False, parallel: bool = True) -> dict[str, Any]:
    """A conversation in no format: system text, tools, and turns of calls and answers."""
    tools = [] if plain else [tool(dice) for _ in dice.some(1, 3)]
    turns: list[dict[str, Any]] = []
    for _ in dice.some(1, 3):
        turns.append({"user": dice.words()})
        for _ in dice.some(0, 2 if tools else 0):
            calls = []
            for _ in dice.some(1, 2 if parallel else 1):
                called = dice.random.choice(tools)
                names = [name for name in called["parameters"]["properties"] if dice.maybe(0.7)]
                arguments = {name: dice.value() for name in names}
                calls.append({"name": called["name"], "arguments": arguments, "id": dice.text("l")})
            said = dice.words() if dice.maybe(0.3) else ""
            results = [dice.words() for _ in calls]
            turns.append({"calls": calls, "said": said, "results": results})
        turns.append({"assistant": dice.words()})
    return {"system": dice.words() if dice.maybe() else "", "tools": tools, "turns": turns}


def tool(dice: Dice) -> dict[str, Any]:
    properties = {
        f"{dice.text()}": {"type": "string", "description": dice.words(), "enum": [dice.text()]}
        if dice.maybe()
        else {"type": "array", "items": {"type": "integer", "minimum": dice.number()}}
        for _ in dice.some(1, 4)
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if dice.maybe()],
        "$defs": {dice.text(): {"anyOf": [{"const": dice.number()}, {"type": "null"}]}},
    }
    return {"name": dice.text(), "description": dice.words(), "parameters": schema}


def openai(dice: Dice) -> dict[str, Any]:
    said = talk(dice)
    messages: list[dict[str, Any]] = []
    if said["system"]:
        role = dice.random.choice(["system", "developer"])
        messages.append({"role": role, "content": said["system"]})
    for turn in said["turns"]:
        if "user" in turn:
            parts = [{"type": "text", "text": turn["user"]}]
            messages.append({"role": "user", "content": parts if dice.maybe() else turn["user"]})
        elif "assistant" in turn:
            messages.append({"role": "assistant", "content": turn["assistant"]})
            if dice.maybe(0.3):
                key = dice.random.choice(["reasoning_content", "reasoning", "thinking"])
                messages[-1][key] = dice.words()
            if dice.maybe(0.3):
                key = dice.random.choice(["weight", "loss", "training", "train"])
                messages[-1][key] = dice.random.choice([0, 1])
        else:
            calls = []
            for call in turn["calls"]:
                spelling = dice.random.choice(
                    ["arguments", "parameters", "args", "input", "kwargs"]
                )
                given: Any = call["arguments"]
                given = json.dumps(given, ensure_ascii=dice.maybe()) if dice.maybe() else given
                function = {"name": call["name"], spelling: given}
                wrapped = {"type": "function", "function": function}
                calls.append({"id": call["id"], **(wrapped if dice.maybe() else function)})
            messages.append({"role": "assistant", "content": turn["said"] or None})
            messages[-1]["tool_calls"] = json.dumps(calls) if dice.maybe(0.2) else calls
            answers = [
                {"role": "tool", "tool_call_id": call["id"], "content": result}
                for call, result in zip(turn["calls"], turn["results"], strict=True)
            ]
            dice.random.shuffle(answers)
            messages += answers
    return {"id": dice.text("l"), "messages": messages, "tools": listed(said["tools"], dice)}


def listed(tools: list[dict[str, Any]], dice: Dice) -> Any:
    key = dice.random.choice(["parameters", "input_schema", "inputSchema"])
    found: list[dict[str, Any]] = []
    for one in tools:
        told = {"name": one["name"], "description": one["description"], key: one["parameters"]}
        if dice.maybe(0.3):
            told["strict"] = dice.maybe()
        found.append({"type": "function", "function": told} if dice.maybe() else told)
    return json.dumps(found, ensure_ascii=dice.maybe()) if dice.maybe() else found


def anthropic(dice: Dice) -> dict[str, Any]:
    said = talk(dice)
    messages: list[dict[str, Any]] = []
    for turn in said["turns"]:
        if "user" in turn:
            messages.append({"role": "user", "content": turn["user"]})
        elif "assistant" in turn:
            parts = [{"type": "text", "text": turn["assistant"]}]
            if dice.maybe(0.3):
                thought = {
                    "type": "thinking",
                    "thinking": dice.words(),
                    "signature": dice.text("l"),
                }
                parts.insert(0, thought)
            messages.append({"role": "assistant", "content": parts})
        else:
            text = [{"type": "text", "text": turn["said"]}] if turn["said"] else []
            used = [
                {"type": "tool_use", "id": call["id"], "name": call["name"]}
                | {"input": call["arguments"]}
                for call in turn["calls"]
            ]
            results = [
                {"type": "tool_result", "tool_use_id": call["id"]}
                | {"content": [{"type": "text", "text": result}] if dice.maybe() else result}
                for call, result in zip(turn["calls"], turn["results"], strict=True)
            ]
            messages += [{"role": "assistant", "content": [*text, *used]}]
            messages += [{"role": "user", "content": results}]
    row = {"messages": messages, "tools": listed(said["tools"], dice), "model": dice.text("l")}
    return row | ({"system": said["system"]} if said["system"] else {})


def sharegpt(dice: Dice) -> dict[str, Any]:
    """LLaMA-Factory's and ms-swift's: calls are turns of their own."""
    said = talk(dice)
    swift = dice.maybe()
    role, content = ("role", "content") if swift else ("from", "value")
    names = ("user", "assistant", "tool_call", "tool_response")
    human, gpt, calling, answering = (
        names if swift else ("human", "gpt", "function_call", "observation")
    )
    turns: list[dict[str, Any]] = []
    for turn in said["turns"]:
        if "user" in turn:
            turns.append({role: human, content: turn["user"]})
        elif "assistant" in turn:
            turns.append({role: gpt, content: turn["assistant"]})
        else:
            calls = [{"name": one["name"], "arguments": one["arguments"]} for one in turn["calls"]]
            if swift:
                turns += [{role: calling, content: json.dumps(call)} for call in calls]
            else:
                turns.append({role: calling, content: json.dumps(calls)})
            turns += [{role: answering, content: result} for result in turn["results"]]
    key = "messages" if swift else "conversations"
    row = {key: turns, "tools": listed(said["tools"], dice), "source": dice.text("l")}
    return row | ({"system": said["system"]} if said["system"] else {})


def qwen_agent(dice: Dice) -> dict[str, Any]:
    said = talk(dice, parallel=False)
    messages: list[dict[str, Any]] = []
    for turn in said["turns"]:
        if "user" in turn:
            messages.append({"role": "user", "content": turn["user"]})
        elif "assistant" in turn:
            messages.append({"role": "assistant", "content": turn["assistant"]})
        else:
            (call,) = turn["calls"]
            function = {"name": call["name"], "arguments": json.dumps(call["arguments"])}
            messages += [
                {"role": "assistant", "content": turn["said"], "function_call": function},
                {"role": "function", "name": call["name"], "content": turn["results"][0]},
            ]
    return {"messages": messages, "functions": said["tools"]}


def llamafactory_v1(dice: Dice) -> dict[str, Any]:
    said = talk(dice, parallel=False)
    messages: list[dict[str, Any]] = []
    for turn in said["turns"]:
        if "user" in turn:
            parts = [{"type": "text", "value": turn["user"]}]
            messages.append({"role": "user", "content": parts, "loss_weight": 0.0})
        elif "assistant" in turn:
            parts = [{"type": "text", "value": turn["assistant"]}]
            if dice.maybe(0.3):
                parts.insert(0, {"type": "reasoning", "value": dice.words()})
            messages.append({"role": "assistant", "content": parts, "loss_weight": 1.0})
        else:
            (call,) = turn["calls"]
            value = json.dumps({"name": call["name"], "arguments": call["arguments"]})
            parts = [{"type": "tool_call", "value": value}]
            messages += [
                {"role": "assistant", "content": parts, "loss_weight": 1.0},
                {"role": "tool", "content": [{"type": "text", "value": turn["results"][0]}]},
            ]
    return {"messages": messages, "tools": json.dumps(said["tools"])}


def hermes_v1(dice: Dice) -> dict[str, Any]:
    said = talk(dice)
    tools = json.dumps([{"type": "function", "function": one} for one in said["tools"]])
    how = "You are a function calling AI model. You are provided with function signatures within "
    how += f"<tools> </tools> XML tags. Here are the available tools:<tools>{tools}</tools>"
    turns = [{"from": "system", "value": f"{said['system']}\n{how}"}]
    for turn in said["turns"]:
        if "user" in turn:
            turns.append({"from": "human", "value": turn["user"]})
        elif "assistant" in turn:
            turns.append({"from": "gpt", "value": turn["assistant"]})
        else:
            told = [{"name": one["name"], "arguments": one["arguments"]} for one in turn["calls"]]
            spelled = [repr(one) if dice.maybe(0.3) else json.dumps(one) for one in told]
            calls = "\n".join(f"<tool_call>\n{one}\n</tool_call>" for one in spelled)
            answers = "\n".join(
                f"<tool_response>\n{one}\n</tool_response>" for one in turn["results"]
            )
            turns += [
                {"from": "gpt", "value": f"{turn['said']}\n{calls}"},
                {"from": "tool", "value": answers},
            ]
    return {"id": dice.text("l"), "conversations": turns, "category": dice.text("l")}


def toolace(dice: Dice) -> dict[str, Any]:
    said = talk(dice)
    how = "Here is a list of functions in JSON format that you can invoke:\n"
    turns = []
    for turn in said["turns"]:
        if "user" in turn:
            turns.append({"from": "user", "value": turn["user"]})
        elif "assistant" in turn:
            turns.append({"from": "assistant", "value": turn["assistant"]})
        else:
            calls = ", ".join(
                f"{one['name']}("
                + ", ".join(f"{key}={json.dumps(value)}" for key, value in one["arguments"].items())
                + ")"
                for one in turn["calls"]
            )
            results = [
                {"name": call["name"], "results": result}
                for call, result in zip(turn["calls"], turn["results"], strict=True)
            ]
            turns += [
                {"from": "assistant", "value": f"{turn['said']} [{calls}]".strip()},
                {"from": "tool", "value": json.dumps(results)},
            ]
    return {"system": f"{said['system']} {how}{json.dumps(said['tools'])}", "conversations": turns}


def glaive_v2(dice: Dice) -> dict[str, Any]:
    said = talk(dice, parallel=False)
    tools = "\n".join(json.dumps(one, indent=2) for one in said["tools"])
    how = (
        "You are a helpful assistant with access to the following functions. Use them if required -"
    )
    chat = ""
    for turn in said["turns"]:
        if "user" in turn:
            chat += f"USER: {turn['user']}\n\n\n"
        elif "assistant" in turn:
            chat += f"ASSISTANT: {turn['assistant']} <|endoftext|>\n\n\n"
        else:
            (call,) = turn["calls"]
            arguments = json.dumps(call["arguments"]).replace("'", "\\'")
            head = f'{{"name": "{call["name"]}", "arguments": \'{arguments}\'}}'
            chat += f"ASSISTANT: {turn['said']} <functioncall> {head} <|endoftext|>\n\n\n"
            chat += f"FUNCTION RESPONSE: {turn['results'][0]}\n\n\n"
    return {"system": f"SYSTEM: {how}\n{tools}", "chat": chat}


def toolbench(dice: Dice) -> dict[str, Any]:
    said = talk(dice, parallel=False)
    how = "You are AutoGPT, you can use many tools(functions) to do the following task.\n"
    how += f"Specifically, you have access to the following APIs: {said['tools']!r}"
    turns = [{"from": "system", "value": how}]
    for turn in said["turns"]:
        if "user" in turn:
            turns.append({"from": "user", "value": turn["user"]})
        elif "assistant" in turn:
            turns.append({"from": "assistant", "value": turn["assistant"]})
        else:
            (call,) = turn["calls"]
            asked = f"Action: {call['name']}\nAction Input: {json.dumps(call['arguments'])}"
            turns += [
                {"from": "assistant", "value": f"\nThought: {turn['said']}\n{asked}"},
                {"from": "function", "value": turn["results"][0]},
            ]
    return {"id": dice.text("l"), "conversations": turns}


def xlam(dice: Dice) -> dict[str, Any]:
    tools, answers = [], []
    for _ in dice.some(1, 3):
        parameters = {
            dice.text(): {
                "description": dice.words(),
                "type": "str, optional",
                "default": dice.text(),
            }
            if dice.maybe()
            else {"description": dice.words(), "type": dice.random.choice(["int", "List[int]"])}
            for _ in dice.some(1, 3)
        }
        tools.append({"name": dice.text(), "description": dice.words(), "parameters": parameters})
        arguments = {name: dice.value() for name in parameters}
        answers.append({"name": tools[-1]["name"], "arguments": arguments})
    row = {"query": dice.words(), "tools": json.dumps(tools), "answers": json.dumps(answers)}
    return {"id": dice.number() % 100, **row}


def alpaca(dice: Dice) -> dict[str, Any]:
    row: dict[str, Any] = {"instruction": dice.words(), "output": dice.words()}
    if dice.maybe():
        row |= {"input": dice.words(), "system": dice.words()}
    if dice.maybe():
        row["history"] = [[dice.words(), dice.words()] for _ in dice.some(0, 3)]
    return row


GRAMMARS: dict[str, tuple[str, Callable[[Dice], dict[str, Any]]]] = {
    "openai": ("openai", openai),
    "anthropic": ("openai", anthropic),
    "sharegpt": ("sharegpt", sharegpt),
    "qwen_agent": ("openai", qwen_agent),
    "llamafactory_v1": ("openai", llamafactory_v1),
    "hermes_v1": ("hermes_v1", hermes_v1),
    "toolace": ("toolace", toolace),
    "glaive_v2": ("glaive_v2", glaive_v2),
    "toolbench": ("toolbench", toolbench),
    "xlam": ("xlam", xlam),
    "alpaca": ("alpaca", alpaca),
}


def marks(text: str) -> list[str]:
    """Every mark and number of a JSON text that must come out again."""
    found = [mark for mark in MARK.findall(text) if mark.startswith("q")]
    return found + NUMBER.findall(text)


def places(value: Any) -> list[dict[str, Any]]:
    """Every object in a row in which a further key is one of the format's own level."""
    if isinstance(value, list):
        return [place for one in value for place in places(one)]
    if not isinstance(value, dict):
        return []
    inner = [key for key in value if key in ("messages", "conversations", "tool_calls", "function")]
    return [value, *(place for key in inner for place in places(value[key]))]
