"""Scenarios through our engine against one-by-one `generate`, in turn, same texts.

python benchmarks/evaluation.py --model FOLDER [--template chatml_hermes] [--cases 12] [--rounds 1]

Prints cases per minute of both, their ratio, and how many texts are the same. `FOLDER` holds a
model as the workflow fetches or exports it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from matinee.config import CALL_FORMS
from matinee.devices import place
from matinee.engines.base import Completion, Reply, Request
from matinee.engines.transformers import TransformersEngine
from matinee.memory import keep_freed
from matinee.rendering import Renderer
from matinee.suites import load_suite, select

RESOURCES = Path(__file__).parents[1] / "workflow" / "resources"


class OneByOne:
    """What one would write first: a `generate` per request, its cache thrown away."""

    def __init__(self, model: Any, renderer: Renderer) -> None:
        self._model = model
        self._renderer = renderer

    def serve(self, requests: Any, reply: Reply) -> None:
        waiting = list(requests)
        while waiting:
            request = waiting.pop(0)
            following = reply(request, self._complete(request))
            if following is not None:
                waiting.insert(0, following)

    def _complete(self, request: Request) -> Completion:
        import torch

        started = time.perf_counter()
        prompt = self._renderer.prompt(request.messages, request.tools)
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request.max_new_tokens,
                do_sample=False,
                eos_token_id=sorted(self._renderer.stop_ids),
                pad_token_id=self._renderer.end_id,
            )[0, len(prompt) :].tolist()
        stopped = written[-1] in self._renderer.stop_ids
        text = self._renderer.tokenizer.decode(written[:-1] if stopped else written)
        finish = "stop" if stopped else "length"
        seconds = time.perf_counter() - started
        return Completion(text, len(prompt), len(written), finish, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--template", default="chatml_hermes")
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()

    from transformers import AutoModelForCausalLM, AutoTokenizer

    from matinee.playing import run_suite

    keep_freed()
    placement = place("auto")
    suite = select(
        load_suite(RESOURCES / "scenarios", RESOURCES / "tools.json"), limit=arguments.cases
    )
    plain = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=placement.dtype).eval()
    renderer = Renderer(AutoTokenizer.from_pretrained(arguments.model), arguments.template)
    engines = {
        "one by one": OneByOne(plain, renderer),
        "ours": TransformersEngine.load(
            arguments.model, arguments.template, placement, arguments.batch
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    texts: dict[str, list[list[str]]] = {}
    for _ in range(arguments.rounds):
        for name, engine in engines.items():
            started = time.perf_counter()
            transcripts = run_suite(
                suite,
                engine,
                subject=name,
                form=CALL_FORMS[arguments.template],
                max_steps=3,
                max_new_tokens=arguments.tokens,
            )
            seconds[name].append(time.perf_counter() - started)
            texts[name] = [[step.text for step in one.steps] for one in transcripts]
    for name, taken in seconds.items():
        rate = 60 * len(suite.scenarios) / statistics.median(taken)
        print(f"{name:11} {rate:7.1f} cases/min  ({statistics.median(taken):.1f} s)")
    pairs = zip(seconds["one by one"], seconds["ours"], strict=True)
    print(f"ratio: median {statistics.median(slow / fast for slow, fast in pairs):.2f}")
    same = sum(a == b for a, b in zip(texts["one by one"], texts["ours"], strict=True))
    print(f"same texts in {same} of {len(suite.scenarios)} cases")


if __name__ == "__main__":
    main()
