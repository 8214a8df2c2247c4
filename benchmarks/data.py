"""How fast rows are formatted and tokenized: the workflow's own two stages, as it calls them.

    python benchmarks/data.py --model FOLDER --template gemma [--rows 100000] [--processes 2]

The rows are like glaive's: one or two tools or none, questions, calls, observations and answers in
words, as sharegpt. Counted is the wall time of both stages with all that they load and write;
memory is the largest sum over a stage's processes, looked at ten times a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
sys.path.insert(0, str(WORKFLOW))

from matinee.data.synthesis import SynthesisSettings, generate  # noqa: E402
from matinee.messages.conversations import Conversation, Message, canonical_json  # noqa: E402

# Rows that are made; more are these again, each with a number of its own in the question.
DIFFERENT = 5000
MIX = {"single": 45, "missing_complete": 20, "follow_up": 15, "no_tool": 20}
ROLES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        write_rows(folder / "raw/rows.json", arguments.rows)
        found = {stage: _run(command) for stage, command in commands(arguments, folder).items()}
        profile = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    tokens = profile["tokens"]["total"]
    print(f"{profile['rows']:,} rows, {tokens:,} tokens, {tokens / profile['rows']:.0f} per row")
    for stage, (seconds, memory) in found.items():
        print(f"{stage:10} {seconds:7.1f} s  {tokens / seconds:12,.0f} tokens/s  {memory:5.2f} GB")
    total = sum(seconds for seconds, _ in found.values())
    print(f"{'together':10} {total:7.1f} s  {tokens / total:12,.0f} tokens/s")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--template", default="chatml_hermes")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cutoff", type=int, default=1024)
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def commands(arguments: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """The stages' command lines, as the rules have them."""
    run = [sys.executable, str(WORKFLOW / "run.py")]
    dataset = {
        "id": "rows",
        "reader": "sharegpt",
        "sources": [{"kind": "path", "path": str(folder / "raw")}],
    }
    prompts = {"template": arguments.template, "cutoff_length": arguments.cutoff}
    processes = ["--processes", str(arguments.processes)]
    rows = str(folder / "conversations.jsonl")
    return {
        "format": [
            *(*run, "format-dataset", "--params", json.dumps(dataset)),
            *("--raw", str(folder / "raw"), "--output", rows),
        ],
        "tokenize": [
            *(*run, "tokenize-data", "--params", json.dumps(prompts), "--conversations", rows),
            *("--model", str(arguments.model), "--output", str(folder / "tokens.parquet")),
            *("--profile", str(folder / "profile.json"), *processes),
        ],
    }


def write_rows(path: Path, count: int) -> None:
    """A JSON list of sharegpt rows."""
    settings = SynthesisSettings.model_validate(
        {
            "conversations": 2 * min(count, DIFFERENT),
            "conversations_per_list": 2,
            "tools_per_list": (1, 2),
            "answer_share": 1.0,
            "languages": {"zh": 0.5, "en": 0.5},
            "mix": MIX,
        }
    )
    halves = list(generate(settings, WORKFLOW / "resources/catalogue"))
    made = [joined(*pair) for pair in zip(halves[::2], halves[1::2], strict=True)]
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(itertools.islice(itertools.cycle(made), count)):
            file.write("[\n" if number == 0 else ",\n")
            file.write(canonical_json(as_sharegpt(row, number)))
        file.write("\n]\n")


def joined(first: Conversation, second: Conversation) -> Conversation:
    """Both conversations over their tool list in one row, which makes it as long as glaive's."""
    more = [message for message in second.messages if message.role != "system"]
    return replace(first, messages=(*first.messages, *more))


def as_sharegpt(row: Conversation, number: int) -> dict[str, Any]:
    """The row as LLaMA-Factory ships glaive, with a number in its first question."""
    turns = [turn for message in row.messages for turn in _turns(message)]
    first = next(turn for turn in turns if turn["from"] == "human")
    first["value"] += f" ({number})"
    tools = [tool.as_openai()["function"] for tool in row.tools]
    return {"conversations": turns, "tools": canonical_json(tools)}


def _turns(message: Message) -> Iterator[dict[str, str]]:
    if not message.tool_calls:
        yield {"from": ROLES[message.role], "value": message.content}
    for call in message.tool_calls:
        said = {"name": call.name, "arguments": call.values}
        yield {"from": "function_call", "value": canonical_json(said)}


def _run(command: list[str]) -> tuple[float, float]:
    """Seconds, and GB of memory at the highest, of the command and the processes that it starts."""
    started = time.perf_counter()
    process = psutil.Popen(command, stderr=subprocess.PIPE)
    highest = 0
    while process.poll() is None:
        highest = max(highest, _memory(process))
        time.sleep(0.1)
    if process.returncode != 0:
        raise SystemExit(process.stderr.read().decode())
    return time.perf_counter() - started, highest / 1e9


def _memory(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


if __name__ == "__main__":
    main()
