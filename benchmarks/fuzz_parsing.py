"""python benchmarks/fuzz_parsing.py [--count 100000] [--seed 0]

Plays mutated outputs of the gold engine through every parser, strict and lenient, and the scorer.
Prints the rate and the slowest single parse. Ends with an error where anything raises, a result
cannot be stored, or one parse takes longer than `--limit` seconds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import get_args

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from matinee.evaluation.playing import Play, run_suite  # noqa: E402
from matinee.evaluation.scoring import score_suite  # noqa: E402
from matinee.evaluation.scripted import GoldEngine  # noqa: E402
from matinee.evaluation.suites import load_suite  # noqa: E402
from matinee.messages.parsing import CallForm, parse  # noqa: E402
from matinee.messages.scenarios import Suite  # noqa: E402
from matinee.messages.transcripts import Transcript  # noqa: E402

FORMS: tuple[CallForm, ...] = get_args(CallForm)
PIECES = (
    "<tool_call>", "</tool_call>", "＜tool_call＞", "Action:", "Action Input:", "Action：",
    "```json\n", "```", "{", "}", "[", "]", '"', "'", "“", "”", "：", "，", "｛", "｝", ",", ":",
    "\\", "\\u", "\ud800", "\x00", "\u2028", "\n", "NaN", "-Infinity", "1e999", "9" * 400,
    "null", "None", "名",
    '"name"', '"arguments"', "[" * 300, '{"a":' * 300, '{"a "b" ' * 200,
)  # fmt: skip


def gold_transcripts(suite: Suite, form: CallForm) -> list[Transcript]:
    return run_suite(
        suite,
        GoldEngine(suite, form),
        Play(subject="fuzz", form=form, max_steps=8, max_new_tokens=512),
    )


def mutated(text: str, texts: list[str], source: random.Random) -> str:
    """One to three edits: cut, double, move, insert a piece, splice another output in."""
    for _ in range(source.randint(1, 3)):
        a, b = sorted((source.randrange(len(text) + 1), source.randrange(len(text) + 1)))
        other = source.choice(texts)
        cut = source.randrange(len(other) + 1)
        edit = source.randrange(5)
        if edit == 0:
            text = text[:a] + text[b:]
        elif edit == 1:
            text = text[:b] + text[a:b] + text[b:]
        elif edit == 2:
            text = text[b:] + text[:a] + text[a:b]
        elif edit == 3:
            text = text[:a] + source.choice(PIECES) + text[a:]
        else:
            text = text[:a] + other[cut:] + text[b:]
        text = text[:20_000]
    return text


class Fuzz:
    """What has been found so far."""

    def __init__(self, suite: Suite, seed: int) -> None:
        self.suite = suite
        self.source = random.Random(seed)
        self.outputs = 0
        self.slowest = 0.0
        self.parse_seconds = 0.0
        self.outcomes: Counter[str] = Counter()

    def play(self, gold: Transcript, form: CallForm, texts: list[str]) -> None:
        """Mutates each output of a transcript, parses it both ways, and scores the whole."""
        for lenient in (False, True):
            steps = []
            for step in gold.steps:
                text = mutated(step.text, texts, self.source)
                began = time.perf_counter()
                parsed = parse(form, text, lenient=lenient)
                taken = time.perf_counter() - began
                self.parse_seconds += taken
                self.slowest = max(self.slowest, taken)
                self.outputs += 1
                outcome = "error" if parsed.error else "calls" if parsed.calls else "text"
                self.outcomes[f"{'lenient' if lenient else 'strict'} {outcome}"] += 1
                steps.append(step.model_copy(update={"text": text, "parse": parsed}))
            transcript = gold.model_copy(update={"steps": tuple(steps)})
            (verdict,) = score_suite(self.suite, [transcript])
            verdict.model_dump_json().encode("utf-8")
            parsed.model_dump_json().encode("utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="mutated outputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=2.0, help="seconds for one parse")
    arguments = parser.parse_args()
    resources = ROOT / "workflow" / "resources"
    suite = load_suite(resources / "scenarios", resources / "tools.json")
    fuzz = Fuzz(suite, arguments.seed)
    golds = {form: gold_transcripts(suite, form) for form in FORMS}
    texts = [step.text for found in golds.values() for one in found for step in one.steps]
    began = time.perf_counter()
    while fuzz.outputs < arguments.count:
        form = fuzz.source.choice(FORMS)
        fuzz.play(fuzz.source.choice(golds[form]), form, texts)
    taken = time.perf_counter() - began
    print(f"{fuzz.outputs} mutated outputs parsed and scored in {taken:.1f} s")
    alone = fuzz.outputs / fuzz.parse_seconds
    print(f"{fuzz.outputs / taken:.0f} outputs/s; parsing alone {alone:.0f}/s")
    print(f"slowest parse {fuzz.slowest * 1000:.1f} ms; {dict(sorted(fuzz.outcomes.items()))}")
    if fuzz.slowest > arguments.limit:
        print(f"a parse took longer than {arguments.limit} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
