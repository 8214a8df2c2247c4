"""Runs stages again under other circumstances and writes what came out the same, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matinee.determinism import Check, Determinism, Repeat
from matinee.messages.transcripts import Transcript
from matinee.runtime import progress, records
from matinee.runtime.errors import EngineError
from matinee.runtime.places import WORKFLOW
from matinee.stages.evaluation import read_suite

RUN = WORKFLOW / "run.py"
THREADS = 2
TRAINED_STEPS = 4

Settings = dict[str, int]


def check_determinism(
    values: Mapping[str, Any],
    *,
    suite: Path,
    model: Path,
    base: Path,
    tokens: Path,
    output: Path,
) -> None:
    """Writes a `Determinism`.

    `values`: `cases` (how many), `run` and `train` (the parameters of those stages). A few cases
    are played, and a few training steps done: once, once more, and in other numbers of threads,
    conversations side by side and scattered parts. Raises EngineError where a stage fails.
    """
    recorder = records.Recorder("check_determinism", dict(values))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checks = (
            _check_scenarios(values["run"], values["cases"], suite, model, folder),
            _check_training(values["train"], base, tokens, folder),
        )
    records.write_json(output, Determinism(checks=checks).model_dump(mode="json"))
    recorder.write(output.with_name("determinism.run.json"))
    equal = [again.equal_bytes == one.compared for one in checks for again in one.repeats]
    progress.say(f"✓ determinism: {sum(equal)} of {len(equal)} repeats equal bit for bit")


def _check_scenarios(
    values: Mapping[str, Any], cases: int, suite: Path, model: Path, folder: Path
) -> Check:
    chosen = _some_cases(suite, cases, folder / "suite.json")
    usual = {"batch_size": int(values["limits"]["batch_size"]), "parts": 1, "threads": THREADS}
    other = [{"run": 2}, {"batch_size": 1}, {"batch_size": 3}, {"parts": 2}, {"threads": 1}]

    def play(settings: Settings, place: Path) -> dict[str, Transcript]:
        limits = values["limits"] | {name: settings[name] for name in ("batch_size", "parts")}
        played: dict[str, Transcript] = {}
        for part in range(settings["parts"]):
            params = {**values, "limits": limits, "part": part}
            file = place / f"{part}.jsonl"
            _stage(
                settings["threads"],
                *("run-scenarios", "--params", json.dumps(params), "--suite", str(chosen)),
                *("--model", str(model), "--output", str(file)),
            )
            rows = map(Transcript.model_validate, records.read_lines(file))
            played |= {transcript.case: transcript for transcript in rows}
        return played

    compared, repeats = _repeat(play, usual, other, folder / "run", _texts, _calls)
    return Check(
        stage="run_scenarios",
        artefact=f"{values['subject']} on {read_suite(suite).id}",
        compared=compared,
        settings=dict(usual),
        repeats=repeats,
    )


def _some_cases(suite: Path, cases: int, file: Path) -> Path:
    """Cases from the whole length of the suite, so that several categories are among them."""
    whole = read_suite(suite)
    stride = max(1, len(whole.scenarios) // cases)
    some = whole.model_copy(update={"scenarios": whole.scenarios[::stride][:cases]})
    file.write_text(some.model_dump_json(), encoding="utf-8")
    return file


def _texts(transcript: Transcript) -> Any:
    return [(step.text, step.reply) for step in transcript.steps]


def _calls(transcript: Transcript) -> Any:
    return [[(call.name, call.arguments) for call in step.parse.calls] for step in transcript.steps]


def _check_training(values: Mapping[str, Any], base: Path, tokens: Path, folder: Path) -> Check:
    training = values["training"]
    rows = TRAINED_STEPS * training["batch_size"] * training["gradient_accumulation"]
    some = _first_rows(tokens, rows, folder / "tokens.parquet")
    params = {**values, "training": training | {"epochs": 1.0}}

    def train(settings: Settings, place: Path) -> dict[str, bytes]:
        _stage(
            settings["threads"],
            *("train-adapter", "--params", json.dumps(params), "--model", str(base)),
            *("--tokens", str(some), "--checkpoints", str(place / "checkpoints")),
            *("--output", str(place)),
        )
        return _tensors(place / "adapter/adapter_model.safetensors")

    usual = {"threads": THREADS}
    other = [{"run": 2}, {"threads": 1}]
    compared, repeats = _repeat(train, usual, other, folder / "train", lambda tensor: tensor, None)
    return Check(
        stage="train_adapter",
        artefact=f"{values['variant']}, {TRAINED_STEPS} steps, tensors of the adapter",
        compared=compared,
        settings=dict(usual),
        repeats=repeats,
    )


def _first_rows(tokens: Path, rows: int, file: Path) -> Path:
    import pyarrow.parquet as pq

    trained_on = pq.read_table(tokens, filters=[("held_out", "==", False)])
    pq.write_table(trained_on.slice(0, rows), file)
    return file


def _tensors(file: Path) -> dict[str, bytes]:
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        return {name: opened.get_tensor(name).tobytes() for name in opened.keys()}  # noqa: SIM118


def _repeat(
    make: Callable[[Settings, Path], Mapping[str, Any]],
    usual: Settings,
    other: list[Settings],
    folder: Path,
    bits: Callable[[Any], Any],
    calls: Callable[[Any], Any] | None,
) -> tuple[int, tuple[Repeat, ...]]:
    """Makes the artefact as usual and otherwise; how many things it holds, and what differed."""
    (folder / "first").mkdir(parents=True)
    first = make(usual, folder / "first")
    repeats = []
    for number, changed in enumerate(other):
        place = folder / str(number)
        place.mkdir()
        again = make(usual | changed, place)
        if again.keys() != first.keys():
            raise EngineError(f"With {changed} other things came out: {sorted(again)}.")
        differing = [name for name in first if bits(again[name]) != bits(first[name])]
        same_calls = (
            None if calls is None else [calls(again[name]) == calls(first[name]) for name in first]
        )
        repeats.append(
            Repeat(
                settings=dict(changed),
                equal_bytes=len(first) - len(differing),
                equal_calls=None if same_calls is None else sum(same_calls),
                differing=tuple(differing),
            )
        )
    return len(first), tuple(repeats)


def _stage(threads: int, *arguments: str) -> None:
    """A stage in a process of its own, for the number of threads is fixed when it starts."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "WANDB_MODE": "disabled"}
    environment["MKL_NUM_THREADS"] = environment["OMP_NUM_THREADS"]
    # The terminal's descriptor is not handed on: its number may be anything there.
    environment.pop("MATINEE_TERMINAL", None)
    command = [sys.executable, str(RUN), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"{arguments[0]} failed while it was repeated: {last}")
