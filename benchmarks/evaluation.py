"""Scenarios through our engine against one-by-one `generate` without a shared cache, in turn.

python benchmarks/evaluation.py --model FOLDER [--template chatml_hermes] [--cases 64] [--rounds 1]

Each round plays the demo's cases with both engines, one after the other, with the demo's limits.
Prints cases per minute, their ratio, and how many texts are the same; writes all of it as JSON.
`FOLDER` holds a model as the workflow fetches or exports it. Where two texts differ, the two tokens
at which they part are compared by the plain model: so close that rounding decides is a tie, and
counted.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from transformers import AutoTokenizer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from matinee.config import CALL_FORMS  # noqa: E402
from matinee.engines.base import Completion, Engine, Reply, Request  # noqa: E402
from matinee.engines.transformers import TransformersEngine  # noqa: E402
from matinee.evaluation.playing import Play, run_suite  # noqa: E402
from matinee.evaluation.suites import load_suite, select  # noqa: E402
from matinee.messages.rendering import Renderer  # noqa: E402
from matinee.messages.scenarios import Suite  # noqa: E402
from matinee.models.devices import place  # noqa: E402
from matinee.models.loading import load_model  # noqa: E402
from matinee.models.memory import keep_freed  # noqa: E402
from matinee.runtime.records import hardware, versions, write_json  # noqa: E402

RESOURCES = ROOT / "workflow" / "resources"
PRESET = ROOT / "workflow" / "presets" / "demo.yaml"
DEMO = yaml.safe_load(PRESET.read_text(encoding="utf-8"))["evaluation"]
# Logits of one model computed in two orders differ by less than this.
TIE = {"fp32": 1e-3, "bf16": 0.25, "fp16": 0.05}


class OneByOne:
    """What one would write first: a `generate` per request, its cache thrown away."""

    def __init__(self, model: Any, renderer: Renderer) -> None:
        self.model = model
        self.renderer = renderer

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        for request in requests:
            following: Request | None = request
            while following is not None:
                following = reply(following, self._complete(following))

    def _complete(self, request: Request) -> Completion:
        import torch

        started = time.perf_counter()
        prompt = self.renderer.prompt(request.messages, request.tools)
        ids = torch.tensor([prompt], device=self.model.device)
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request.max_new_tokens,
                do_sample=False,
                eos_token_id=sorted(self.renderer.stop_ids),
                pad_token_id=self.renderer.end_id,
            )[0, len(prompt) :].tolist()
        stopped = written[-1] in self.renderer.stop_ids
        text = self.renderer.tokenizer.decode(written[:-1] if stopped else written)
        finish: Literal["stop", "length"] = "stop" if stopped else "length"
        seconds = time.perf_counter() - started
        return Completion(str(text), len(prompt), len(written), finish, seconds)


Said = dict[str, list[tuple[Request, Completion]]]


class Listening:
    """An engine whose requests and completions are kept, by conversation."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.said: Said = {}

    def serve(self, requests: Iterable[Request], reply: Reply) -> None:
        def listen(request: Request, completion: Completion) -> Request | None:
            self.said.setdefault(request.key, []).append((request, completion))
            return reply(request, completion)

        self.engine.serve(requests, listen)


@dataclass(frozen=True)
class Parting:
    """Where the texts of a case part: the plain model's token, ours, and how far apart they are.

    `gap`: the difference of their logits, or None where ours is not among the ten likeliest.
    """

    case: str
    step: int
    token: int
    plain: str
    ours: str
    gap: float | None
    tie: bool


def parting(case: str, plain: Said, ours: Said, one: OneByOne, tolerance: float) -> Parting | None:
    """The first place at which a case's texts differ; None where they are the same."""
    pairs = zip(plain[case], ours[case], strict=False)
    for step, ((request, wanted), (_, found)) in enumerate(pairs):
        if wanted.text != found.text:
            return _token_parting(case, step, request, (wanted, found), one, tolerance)
    return None


def _token_parting(
    case: str,
    step: int,
    request: Request,
    texts: tuple[Completion, Completion],
    one: OneByOne,
    tolerance: float,
) -> Parting:
    """Follows the plain model along the common text, token by token, to where ours leaves it."""
    import torch

    wanted, found = texts
    stops, tokenizer = one.renderer.stop_ids, one.renderer.tokenizer
    ids = one.renderer.prompt(request.messages, request.tools)
    written: list[int] = []

    def leads_on(token: int) -> bool:
        if token in stops:
            return found.text == tokenizer.decode(written)
        # The first half of a character is shown as U+FFFD.
        begun = str(tokenizer.decode([*written, token])).rstrip("\ufffd")
        return found.text.startswith(begun) and len(written) < found.completion_tokens

    while True:
        given = torch.tensor([ids + written], device=one.model.device)
        with torch.inference_mode():
            logits = one.model(input_ids=given, logits_to_keep=1).logits[0, -1].float()
        values, likeliest = (part.tolist() for part in logits.topk(10))
        if leads_on(likeliest[0]) and likeliest[0] not in stops:
            written.append(likeliest[0])
            continue
        place = len(written)
        plain = str(tokenizer.decode(likeliest[:1]))
        for value, token in zip(values[1:], likeliest[1:], strict=True):
            if leads_on(token):
                gap = values[0] - value
                ours = str(tokenizer.decode([token]))
                return Parting(case, step, place, plain, ours, gap, tie=gap <= tolerance)
        return Parting(case, step, place, wanted.text, found.text, None, tie=False)


def played(
    engine: Engine, suite: Suite, template: str, arguments: argparse.Namespace
) -> tuple[float, Said]:
    """Seconds for all cases, and what was asked and written."""
    listening = Listening(engine)
    started = time.perf_counter()
    run_suite(
        suite,
        listening,
        Play(
            subject="benchmark",
            form=CALL_FORMS[template],
            max_steps=arguments.steps,
            max_new_tokens=arguments.tokens,
            max_observation=DEMO["max_observation"],
        ),
    )
    return time.perf_counter() - started, listening.said


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and the comparison of the texts of the last."""
    keep_freed()
    placement = place(arguments.precision)
    loaded = load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json")
    suite = select(loaded, limit=arguments.cases, categories=DEMO["suites"][0]["categories"])
    model = load_model(arguments.model, placement)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    one = OneByOne(model, Renderer(tokenizer, arguments.template))
    fast = TransformersEngine.load(arguments.model, arguments.template, placement, arguments.batch)
    warm = select(loaded, limit=1)
    rounds = []
    for engine in (one, fast):
        played(engine, warm, arguments.template, arguments)
    for _ in range(arguments.rounds):
        slow_seconds, plain = played(one, suite, arguments.template, arguments)
        fast_seconds, ours = played(fast, suite, arguments.template, arguments)
        rounds.append({"one_by_one_seconds": slow_seconds, "ours_seconds": fast_seconds})
    tolerance = TIE[placement.precision]
    found = [parting(case, plain, ours, one, tolerance) for case in plain]
    partings = [one_parting for one_parting in found if one_parting is not None]
    per_minute = {
        name: 60
        * len(suite.scenarios)
        / statistics.median(row[f"{name}_seconds"] for row in rounds)
        for name in ("one_by_one", "ours")
    }
    ratios = [row["one_by_one_seconds"] / row["ours_seconds"] for row in rounds]
    return {
        "model": arguments.model.resolve().name,
        "template": arguments.template,
        "cases": len(suite.scenarios),
        "outputs": sum(len(steps) for steps in plain.values()),
        "settings": {
            "max_steps": arguments.steps,
            "max_new_tokens": arguments.tokens,
            "batch_size": arguments.batch,
            "device": placement.device,
            "precision": placement.precision,
        },
        "rounds": rounds,
        "cases_per_minute": per_minute,
        "ratio": statistics.median(ratios),
        "same_texts": len(plain) - len(partings),
        "ties": sum(one_parting.tie for one_parting in partings),
        "different": sum(not one_parting.tie for one_parting in partings),
        "partings": [asdict(one_parting) for one_parting in partings],
        "versions": versions(),
        "hardware": hardware(),
    }


def table(found: dict[str, Any]) -> str:
    """The result as a table for reading."""
    rate = found["cases_per_minute"]
    lines = [
        f"{found['model']}: {found['cases']} cases, {found['outputs']} outputs, "
        f"{len(found['rounds'])} rounds",
        "| engine | cases per minute |",
        "| --- | ---: |",
        f"| one by one | {rate['one_by_one']:.1f} |",
        f"| ours | {rate['ours']:.1f} |",
        f"ratio (median of pairs): {found['ratio']:.2f}",
        f"same texts: {found['same_texts']} of {found['cases']}; "
        f"ties: {found['ties']}; different: {found['different']}",
    ]
    lines += [
        f"  {one['case']} step {one['step']} token {one['token']}: "
        f"{one['plain']!r} / {one['ours']!r}, gap {one['gap']}"
        for one in found["partings"]
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--template", default="chatml_hermes")
    parser.add_argument("--cases", type=int, default=DEMO["suites"][0]["limit"])
    parser.add_argument("--batch", type=int, default=DEMO["batch_size"])
    parser.add_argument("--tokens", type=int, default=DEMO["max_new_tokens"])
    parser.add_argument("--steps", type=int, default=DEMO["max_steps"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/evaluation.json"))
    arguments = parser.parse_args()
    found = measure(arguments)
    write_json(arguments.output, found)
    print(table(found))


if __name__ == "__main__":
    main()
