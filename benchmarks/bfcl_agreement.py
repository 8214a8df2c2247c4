"""python benchmarks/bfcl_agreement.py [--every] [--show 3] [--output FILE]

Our verdict against that of BFCL's own AST checker, on accepted answers of BFCL v4 and systematic
variations of them. The checker runs in an environment of its own, `.venv-bfcl`, which is made
when it is missing. Prints the agreement by kind of variation; `--show` also so many
disagreements of each kind. Ends with an error below 99 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import venv
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "workflow"))

from bfcl_corruptions import Calls, Question, variations  # noqa: E402

from matinee.config import BfclSource  # noqa: E402
from matinee.data.sources import fetch_bfcl  # noqa: E402
from matinee.evaluation.bfcl import load_bfcl  # noqa: E402
from matinee.evaluation.scoring import score_suite  # noqa: E402
from matinee.messages.conversations import ToolCall, canonical_json  # noqa: E402
from matinee.messages.details import said  # noqa: E402
from matinee.messages.parsing import parse, write_calls  # noqa: E402
from matinee.messages.scenarios import Suite  # noqa: E402
from matinee.messages.transcripts import Step, Transcript  # noqa: E402

ENVIRONMENT = ROOT / ".venv-bfcl"
FEWEST_PAIRS = 20_000
LEAST_AGREEMENT = 0.99


@dataclass(frozen=True)
class Pair:
    """Calls made in reply to one question."""

    kind: str
    case: str
    category: str
    question: Question
    calls: Calls


@dataclass(frozen=True)
class Outcome:
    """What both judges say; the errors say why, empty where the calls are right."""

    pair: Pair
    ours: bool
    theirs: bool
    our_error: str
    their_error: str


def questions(data: Traversable, suite: Suite) -> dict[str, tuple[str, Question]]:
    """Category and question, as published, of every case with accepted calls."""
    found: dict[str, tuple[str, Question]] = {}
    categories = dict.fromkeys(s.category for s in suite.scenarios if s.turns[0].calls)
    kept = {scenario.id for scenario in suite.scenarios}
    for category in categories:
        name = f"BFCL_v4_{category}.json"
        asked = _lines(data / name)
        answered = _lines(data / "possible_answer" / name)
        for question, answer in zip(asked, answered, strict=True):
            if question["id"] in kept:
                entry = Question(question["function"], answer["ground_truth"])
                found[question["id"]] = (category, entry)
    return found


def _lines(file: Traversable) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line.strip()]


def transcript(pair: Pair) -> Transcript:
    """The calls as a model would write them, read back by the parser."""
    calls = [ToolCall(tool, canonical_json(arguments)) for tool, arguments in pair.calls]
    text = write_calls("hermes", calls) or "No."
    step = Step(
        turn=0,
        text=text,
        parse=parse("hermes", text),
        prompt_tokens=0,
        completion_tokens=0,
        finish="stop",
        seconds=0.0,
    )
    return Transcript(
        case=pair.case, subject="pair", suite="bfcl", messages=(), steps=(step,), stop="done"
    )


def their_verdicts(pairs: Sequence[Pair], package: str) -> list[dict[str, Any]]:
    """BFCL's verdicts, from its own environment."""
    lines = "".join(
        json.dumps(
            {
                "category": pair.category,
                "functions": pair.question.functions,
                "answer": pair.question.answer,
                "calls": [{tool: arguments} for tool, arguments in pair.calls],
            }
        )
        + "\n"
        for pair in pairs
    )
    judge = [str(_environment(package)), str(ROOT / "benchmarks" / "bfcl_judge.py")]
    done = subprocess.run(judge, input=lines, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"BFCL's checker did not run:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _environment(package: str) -> Path:
    """The Python of BFCL's environment; only its wheel is installed, without what it asks for."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", package], check=True
        )
    return python


def _pairs(case: str, category: str, question: Question, every: bool) -> list[Pair]:
    """One variation of each kind, which one by the case's id; or every one."""
    by_kind: dict[str, list[Calls]] = defaultdict(list)
    for kind, calls in variations(question):
        by_kind[kind].append(calls)
    return [
        Pair(kind, case, category, question, calls)
        for kind, made in by_kind.items()
        for calls in (made if every else [made[zlib.crc32(f"{case} {kind}".encode()) % len(made)]])
    ]


def compare(pairs: Sequence[Pair], suite: Suite, package: str) -> list[Outcome]:
    """Both verdicts on every pair."""
    ours = score_suite(suite, [transcript(pair) for pair in pairs])
    theirs = their_verdicts(pairs, package)
    return [
        Outcome(
            pair,
            mine.success,
            their["valid"],
            f"{mine.error}: {said(mine.detail)}" if mine.error else "",
            "" if their["valid"] else their["error"],
        )
        for pair, mine, their in zip(pairs, ours, theirs, strict=True)
    ]


def table(outcomes: Sequence[Outcome]) -> str:
    """Agreement by kind, as Markdown."""
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.pair.kind].append(outcome)
    rows = [
        "| variation | pairs | both right | both wrong | only we accept | only BFCL accepts |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, group in [*by_kind.items(), ("**all**", list(outcomes))]:
        counts = Counter((one.ours, one.theirs) for one in group)
        cells = [
            counts[key] for key in ((True, True), (False, False), (True, False), (False, True))
        ]
        rows.append(f"| {kind} | {len(group):,} | " + " | ".join(f"{n:,}" for n in cells) + " |")
    return "\n".join(rows)


def show(outcomes: Sequence[Outcome], most: int) -> None:
    """Some disagreements of each kind, by what the other judge said against the calls."""
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.ours != one.theirs:
            reason = one.our_error.partition(":")[0] or one.their_error
            groups[one.pair.kind, f"{'we' if one.ours else 'BFCL'} accept; {reason}"].append(one)
    for (kind, reason), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        print(f"\n{kind}: {reason}: {len(group)}")
        for one in group[:most]:
            print(f"  {one.pair.case} {one.our_error}")
            print(f"    calls    {json.dumps(one.pair.calls, ensure_ascii=False)[:400]}")
            print(f"    accepted {json.dumps(one.pair.question.answer, ensure_ascii=False)[:400]}")


def main() -> None:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", type=int, default=0)
    parser.add_argument("--values", choices=("plain", "meaning"), default="plain")
    parser.add_argument("--every", action="store_true", help="all pairs, not one per case and kind")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    source = BfclSource()
    data, _ = fetch_bfcl(source, offline=False, root=Path.cwd())
    read = load_bfcl(data, "bfcl")
    suite = read.suite.model_copy(update={"values": arguments.values})
    began = time.perf_counter()
    pairs = [
        pair
        for case, (category, question) in questions(data, suite).items()
        for pair in _pairs(case, category, question, arguments.every)
    ]
    outcomes = compare(pairs, suite, source.package)
    agreed = sum(one.ours == one.theirs for one in outcomes)
    print(table(outcomes))
    cases = len({pair.case for pair in pairs})
    print(
        f"\n{len(pairs):,} pairs of {cases:,} questions; {len(read.left_out)} questions that no "
        f"call could answer are left out; agreement {agreed / len(pairs):.2%} "
        f"({len(pairs) - agreed:,} disagreements); {time.perf_counter() - began:.0f} s"
    )
    show(outcomes, arguments.show)
    if arguments.output:
        rows = [
            {"kind": o.pair.kind, "case": o.pair.case, "calls": o.pair.calls,
             "ours": o.our_error, "theirs": o.their_error}
            for o in outcomes if o.ours != o.theirs
        ]  # fmt: skip
        arguments.output.write_text(json.dumps(rows, ensure_ascii=False, indent=1), "utf-8")
    if len(pairs) < FEWEST_PAIRS or agreed / len(pairs) < LEAST_AGREEMENT:
        raise SystemExit(f"Fewer than {FEWEST_PAIRS:,} pairs or below {LEAST_AGREEMENT:.0%}.")


if __name__ == "__main__":
    main()
