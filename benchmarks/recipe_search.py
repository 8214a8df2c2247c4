"""Which recipe teaches a small model to call tools: trained on some domains, played on the others.

    python benchmarks/recipe_search.py run MODEL RECIPE.yaml … --results FOLDER
    python benchmarks/recipe_search.py table --results FOLDER

A recipe is YAML: `template`, `synthesis` and `training` as in config.yaml, and `seed`. Without
`synthesis` the start model is played as it is. Recipes of the demo: benchmarks/recipes/.

Three quarters of the catalogue's domains make the training rows. The workflow's own engine then
plays conversations over the fourth quarter, with eleven tools to a list, written out as public
interfaces are, some with parameters that nobody asks about. No tool, scenario or word of the tests
takes part. A case is played along the right way for as long as the model keeps to it: a turn that
calls must make the same calls with the same arguments, a turn that speaks must be words that end by
themselves and hold no call.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from heldout import split_catalogue  # noqa: E402

from matinee.config.training import CALL_FORMS  # noqa: E402
from matinee.data.synthesis import SynthesisSettings, generate  # noqa: E402
from matinee.engines.base import Completion, Request  # noqa: E402
from matinee.messages.conversations import Conversation, Message  # noqa: E402
from matinee.messages.parsing import parse  # noqa: E402
from matinee.messages.rendering import Renderer  # noqa: E402

CATALOGUE = ROOT / "workflow" / "resources" / "catalogue"
MAX_NEW_TOKENS = 96
LISTS, CASES_PER_LIST = 6, 14
PLAYED = {
    "conversations": LISTS * CASES_PER_LIST,
    "conversations_per_list": CASES_PER_LIST,
    "languages": {"zh": 1.0},
    "tools_per_list": (11, 11),
    "masked_share": 0.0,
    "answer_share": 1.0,
    "system_share": 1.0,
    "written_out_share": 1.0,
    "extras_share": 0.3,
    "shuffled_share": 0.5,
    "mix": {
        **{"single": 36, "coded": 10, "complete": 10, "chain": 10, "parallel": 8},
        **{"missing_asked": 8, "no_tool": 18},
    },
    "seed": 9001,
}
# Kinds in which nothing may be called.
SILENT = ("no_tool", "missing_asked")
ONE_CALL = ("single", "complete")


@dataclass
class Case:
    """A held-out conversation under way."""

    row: Conversation
    form: str
    place: int = 0  # of the message that the model has to write
    first: bool = False  # the first turn was right
    whole: bool = False
    slip: str = ""
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = self._next_turn(0)

    def _next_turn(self, start: int) -> int:
        roles = [message.role for message in self.row.messages]
        return roles.index("assistant", start) if "assistant" in roles[start:] else len(roles)

    def request(self) -> Request:
        said = tuple(message.as_openai() for message in self.row.messages[: self.place])
        tools = tuple(tool.as_openai() for tool in self.row.tools)
        return Request(self.row.id, said, tools, MAX_NEW_TOKENS)

    def advance(self, completion: Completion) -> Request | None:
        self.texts.append(completion.text)
        self.slip = slip(self.row.messages[self.place], self.form, completion)
        if self.slip:
            return None
        self.first = True
        self.place = self._next_turn(self.place + 1)
        self.whole = self.place == len(self.row.messages)
        return None if self.whole else self.request()


def slip(right: Message, form: str, completion: Completion) -> str:
    """What is wrong with a turn; nothing where it is right."""
    parsed = parse(form, completion.text)
    if completion.finish != "stop":
        return "endless"
    if parsed.error:
        return "unparsable"
    if not right.tool_calls:
        if parsed.calls or "Action" in completion.text:
            return "unneeded call"
        return "" if completion.text.strip() else "no words"
    due = [(call.name, json.loads(call.arguments)) for call in right.tool_calls]
    made = [(call.name, json.loads(call.arguments)) for call in parsed.calls]
    if _counted(due) == _counted(made):
        return ""
    if sorted(name for name, _ in due) != sorted(name for name, _ in made):
        return "wrong tool" if made else "no call"
    named = {name: set(values) for name, values in due}
    if any(set(values) - named[name] for name, values in made):
        return "extra argument"
    return "missing argument" if any(named[n] - set(v) for n, v in made) else "wrong value"


def _counted(calls: Iterable[tuple[str, Any]]) -> Counter[str]:
    return Counter(json.dumps(call, sort_keys=True) for call in calls)


def play(model: Any, renderer: Renderer, rows: Sequence[Conversation], form: str) -> list[Case]:
    from matinee.engines.transformers import TransformersEngine

    engine = TransformersEngine(model, renderer, 64)
    cases: list[Case] = []
    for name in dict.fromkeys(row.labels["list"] for row in rows):
        mine = {row.id: Case(row, form) for row in rows if row.labels["list"] == name}
        engine.serve([case.request() for case in mine.values()], partial(_reply, mine))
        cases += mine.values()
    return cases


def _reply(cases: dict[str, Case], request: Request, completion: Completion) -> Request | None:
    return cases[request.key].advance(completion)


def counted(cases: Sequence[Case]) -> dict[str, Any]:
    """Right cases and all, in groups and by kind, and what went wrong first in the others."""

    def right(kinds: Iterable[str], what: str = "whole") -> list[int]:
        some = [getattr(case, what) for case in cases if case.row.category in kinds]
        return [sum(some), len(some)]

    kinds = sorted({case.row.category for case in cases})
    due = [kind for kind in kinds if kind not in SILENT]
    return {
        "one call": right(ONE_CALL),
        "first turn": right(due, "first"),
        "due": right(due),
        "silent": right(SILENT),
        "kinds": {kind: right([kind]) for kind in kinds},
        "slips": Counter(case.slip for case in cases if case.slip),
    }


def trained(model: Path, renderer: Renderer, recipe: dict[str, Any], folder: Path) -> Path:
    """The adapter, made where it is not there yet; its metrics lie beside it."""
    from matinee.config import Training
    from matinee.training.batching import Job
    from matinee.training.run import train

    output = folder / "output"
    if (output / "metrics.json").exists():
        return output
    output.mkdir(parents=True, exist_ok=True)
    settings = SynthesisSettings.model_validate(recipe["synthesis"])
    with tempfile.TemporaryDirectory() as scratch:
        domains = split_catalogue(CATALOGUE, "train", Path(scratch) / "train")
        made = renderer.rows(list(generate(settings, domains)))
    job = Job(
        model=model,
        rows=[(row.ids, row.mask) for several in made for row in several],
        settings=Training.model_validate(recipe["training"]),
        seed=recipe["seed"],
        shuffle=True,
        checkpoints=folder / "checkpoints",
        output=output,
        label=folder.name,
    )
    train(job)
    return output


def run(model: Path, path: Path, results: Path) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    renderer = Renderer(AutoTokenizer.from_pretrained(model), recipe["template"])
    form = CALL_FORMS[recipe["template"]]
    found: dict[str, Any] = {"name": path.stem, "model": model.name, "recipe": recipe}
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    if "synthesis" in recipe:
        output = trained(model, renderer, recipe, results / path.stem)
        found["training"] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
        loaded = PeftModel.from_pretrained(loaded, output / "adapter").merge_and_unload()
    with tempfile.TemporaryDirectory() as scratch:
        domains = split_catalogue(CATALOGUE, "held_out", Path(scratch) / "held_out")
        rows = list(generate(SynthesisSettings.model_validate(PLAYED), domains))
    started = time.perf_counter()
    cases = play(loaded.bfloat16(), renderer, rows, form)
    found |= {**counted(cases), "seconds": round(time.perf_counter() - started)}
    with (results / f"{path.stem}.txt").open("w", encoding="utf-8") as out:
        for case in cases:
            said = [m.content for m in case.row.messages if m.role == "user"]
            print(case.row.category, case.slip or "right", said, case.texts, sep=" | ", file=out)
    return found


def table(results: Path) -> str:
    """The recipes' figures as Markdown."""
    lines = [
        "| recipe | seed | steps | minutes | loss | one call | first turn | due | silent |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for text in (results / "results.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(text)
        made = row.get("training")
        cells = (
            [made["steps"], f"{made['runtime_seconds'] / 60:.1f}", f"{made['train_loss']:.2f}"]
            if made
            else ["–"] * 3
        )
        shares = [
            "{} of {}".format(*row[key]) for key in ("one call", "first turn", "due", "silent")
        ]
        seed = row["recipe"].get("seed", "–")
        lines.append("| " + " | ".join(map(str, [row["name"], seed, *cells, *shares])) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("model", type=Path)
    running.add_argument("recipes", type=Path, nargs="+")
    for command in (running, commands.add_parser("table")):
        command.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "table":
        print(table(given.results))
        return
    given.results.mkdir(parents=True, exist_ok=True)
    for path in given.recipes:
        found = json.dumps(run(given.model, path, given.results), ensure_ascii=False)
        with (given.results / "results.jsonl").open("a", encoding="utf-8") as lines:
            lines.write(found + "\n")
        print(found, flush=True)


if __name__ == "__main__":
    main()
