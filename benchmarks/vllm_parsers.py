"""vLLM's tool parsers as judges of ours: the same texts through both.

    python benchmarks/vllm_parsers.py write FOLDER [FILE …]   in the workflow's environment
    VLLM/bin/python benchmarks/vllm_parsers.py judge FOLDER    in one where vLLM is installed

`write` puts texts in every form that has a parser of vLLM's, what ours reads in them, and a
tokenizer that knows the form's marks into the folder; FILE: transcripts.jsonl of a finished run,
whose texts are added. `judge` prints where vLLM reads otherwise.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "exact": {"type": "boolean"},
        "share": {"type": "number"},
        "stops": {"type": "array", "items": {"type": "string"}},
        "filter": {"type": "object"},
    },
    "required": ["city"],
}
CALLS = [
    {"city": "上海"},
    {"city": "007", "days": 3},
    {"city": "a \"b\" 'c' \\ d"},
    {"city": "x\ny", "exact": True, "share": -1.5},
    {"city": "true", "stops": ["a, b", "[c]"], "filter": {"k": {"n": [1, None]}}},
    {"city": " spaced ", "days": 0},
    {},
]


PLUGIN = Path(__file__).resolve().parents[1] / "workflow/resources/vllm_action_parser.py"


def stored(paths: list[Path]) -> dict[str, list[str]]:
    """The texts that models wrote in finished runs, by the form of their calls."""
    texts: dict[str, list[str]] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            told = json.loads(line)
            texts.setdefault(told["form"], []).extend(step["text"] for step in told["steps"])
    return texts


def write(folder: Path, *paths: Path) -> None:
    from matinee.data.sources.tiny import make_tokenizer
    from matinee.messages.conversations import Tool, ToolCall, canonical_json
    from matinee.messages.forms import forms
    from matinee.messages.parsing import parse, write_calls

    tools = [
        Tool("get_weather", "Weather", canonical_json(SCHEMA)),
        Tool("now", "Time", canonical_json({"type": "object", "properties": {}})),
    ]
    cases: list[dict[str, Any]] = []
    found_texts = stored(list(paths))
    for name, form in forms().items():
        if not form.vllm:
            continue
        tokenizer = make_tokenizer()
        tokenizer.add_special_tokens({"extra_special_tokens": list(form.marks)})
        tokenizer.save_pretrained(folder / name)
        calls = [
            ToolCall("get_weather" if values else "now", canonical_json(values)) for values in CALLS
        ]
        texts = [write_calls(name, [call]) for call in calls]
        texts += [write_calls(name, calls[:2], "好的。"), "今天晴。", texts[1][:-4]]
        texts += found_texts.get(name, [])
        for text in texts:
            read = parse(name, text, tools=tools)
            found = [[call.name, json.loads(call.arguments)] for call in read.calls]
            cases.append(
                {"form": name, "parser": form.vllm, "text": text, "calls": found}
                | {"error": str(read.error or ""), "content": read.content}
            )
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False), encoding="utf-8")
    (folder / "tools.json").write_text(
        json.dumps([tool.as_openai() for tool in tools]), encoding="utf-8"
    )


def judge(folder: Path) -> None:
    from transformers import AutoTokenizer
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    ToolParserManager.import_tool_parser(str(PLUGIN))
    tools = json.loads((folder / "tools.json").read_text(encoding="utf-8"))
    counts: dict[str, list[int]] = {}
    for case in json.loads((folder / "cases.json").read_text(encoding="utf-8")):
        request = ChatCompletionRequest(
            messages=[{"role": "user", "content": "?"}], model="m", tools=tools
        )
        tally = counts.setdefault(case["form"], [0, 0])
        tally[1] += 1
        try:
            kind = ToolParserManager.get_tool_parser(case["parser"])
            tokenizer = AutoTokenizer.from_pretrained(folder / case["form"])
            try:
                parser = kind(tokenizer, request.tools)
            except TypeError:
                parser = kind(tokenizer)
            read = parser.extract_tool_calls(case["text"], request)
            found = [
                [call.function.name, json.loads(call.function.arguments)]
                for call in read.tool_calls
            ]
        except Exception as error:  # noqa: BLE001 (a judge that fails is a finding)
            found = [[f"{type(error).__name__}: {str(error)[:80]}", {}]]
        if found == case["calls"]:
            tally[0] += 1
        else:
            print(case["form"], "|", case["text"], "| ours", case["calls"], case["error"])
            print("    vLLM", found)
    for form, (same, all_) in counts.items():
        print(f"{form}: {same} of {all_}")


if __name__ == "__main__":
    {"write": write, "judge": judge}[sys.argv[1]](*map(Path, sys.argv[2:]))
