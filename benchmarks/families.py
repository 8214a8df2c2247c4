"""The whole chain for every chat template of the tests, with a tiny random model.

    python benchmarks/families.py [--output FILE.md] [NAME …]

Per family: rows out of a conversation with a system text, a call, its result and an answer; a few
steps of training; merge, export and certificate; then the exported folder answers, with the format
of calls guaranteed. `train = serve`: in the exported folder transformers' own apply_chat_template
gives the tokens that stand before each trained answer. The tokenizer is a tiny one that knows the
template's marks, since no package ships the families' own.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests/unit")]

from transformers import AutoTokenizer  # noqa: E402

from matinee.engines.base import Completion, Request  # noqa: E402
from matinee.engines.transformers import TransformersEngine  # noqa: E402
from matinee.export.certificate import certify  # noqa: E402
from matinee.export.exporting import complete_export  # noqa: E402
from matinee.export.merging import merge  # noqa: E402
from matinee.messages.conversations import Conversation, Message, ToolCall  # noqa: E402
from matinee.messages.parsing import parse  # noqa: E402
from matinee.messages.rendering import Renderer  # noqa: E402
from matinee.models.devices import Placement  # noqa: E402
from matinee.runtime.records import write_json  # noqa: E402
from matinee.training.batching import Job  # noqa: E402
from matinee.training.run import train  # noqa: E402

# The templates of the tests, and their tiny models.
tests: Any = importlib.import_module("test_native")
tiny: Any = importlib.import_module("tiny")
CPU = Placement("cpu", "fp32", "a tiny model")
CALL = ToolCall("get_weather", '{"city": "上海", "days": 3}')
TALK = Conversation(
    "c",
    (
        Message("system", "今天是2024年1月25日。"),
        Message("user", "上海天气？"),
        Message("assistant", "", (CALL,)),
        Message("tool", "晴", name="get_weather"),
        Message("assistant", "晴。"),
        Message("user", "谢谢"),
        Message("assistant", "不客气。"),
    ),
    tests.TOOLS,
)


def chain(name: str, folder: Path) -> dict[str, str]:
    """What came out of one family, column by column."""
    tokenizer = tests.with_template(
        tests.OURS.get(name) or tests.PUBLISHED[name].read_text(encoding="utf-8")
    )
    base, output, merged = folder / "base", folder / "output", folder / "merged"
    model = tiny.llama(vocabulary=len(tokenizer))
    model.save_pretrained(base)
    tokenizer.save_pretrained(base)
    write_json(base / "run.json", {"facts": {"source": "random"}, "parameters": {"id": name}})
    output.mkdir()
    renderer = Renderer(AutoTokenizer.from_pretrained(base), "native")
    rows = [(row.ids, row.mask) for row in renderer.rows([TALK])[0]]
    settings = tiny.training(batch_size=1, gradient_accumulation=1, epochs=2.0)
    metrics = train(Job(base, rows, settings, 1, True, folder / "c", output, name))
    told = {"training": settings.model_dump(mode="json"), "seed": 1, "variant": name}
    write_json(output / "run.json", {"parameters": told})
    merge(base, output / "adapter", merged, "2GB")
    complete_export(merged, "native", base=base, training=output)
    proof = certify(base, output / "adapter", merged, [rows[0][0][:60]], placement=CPU)
    written = {}

    def keep(request: Request, completion: Completion) -> None:
        written[request.key] = completion.text

    messages = tuple(message.as_openai() for message in TALK.messages)
    tools = tuple(tool.as_openai() for tool in tests.TOOLS)
    engine = TransformersEngine.load(merged, "native", CPU, 2, constrained=True)
    engine.serve([Request("a", messages[:2], tools, 64, must_call=("now",))], keep)
    read = parse(renderer.form, written["a"], tools=tools)
    return {
        "form": renderer.form,
        "rows": str(len(rows)),
        "train = serve": yes(served_alike(merged, renderer, rows)),
        "certified": f"{proof['largest_logit_difference']:.0e} after {metrics['steps']} steps",
        # Behind its first call a random model may begin further ones, and be cut off in them.
        "constrained call": yes([call.name for call in read.calls][:1] == ["now"]),
    }


def served_alike(folder: Path, renderer: Renderer, rows: list[Any]) -> bool:
    """Whether plain transformers spells each trained answer's prompt as it was trained."""
    assert renderer.native is not None
    plain: Any = copy.deepcopy(AutoTokenizer.from_pretrained(folder))
    answers = [n for n, message in enumerate(TALK.messages) if message.role == "assistant"]
    trained = [ids[:start] for ids, mask in rows for start, _ in tests.spans(ids, mask)]
    prompts = []
    for place in answers:
        said = [message.as_openai() for message in TALK.messages[:place]]
        text = plain.apply_chat_template(
            renderer.native._spelled(said),
            tools=[tool.as_openai() for tool in tests.TOOLS],
            tokenize=False,
            add_generation_prompt=True,
            enable_thinking=False,
            thinking=False,
        )
        prompts.append(plain(text, add_special_tokens=False)["input_ids"])
    return sorted(prompts) == sorted(trained)


def yes(true: bool) -> str:
    return "yes" if true else "NO"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    lines: list[str] = []
    for name in arguments.names or sorted(tests.FORMS):
        with tempfile.TemporaryDirectory() as folder:
            found = chain(name, Path(folder))
        if not lines:
            lines = [f"| template | {' | '.join(found)} |", "| --- " * (len(found) + 1) + "|"]
            print(*lines, sep="\n")
        lines.append(f"| {name} | {' | '.join(found.values())} |")
        print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
