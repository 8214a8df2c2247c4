"""What an experiment takes before it runs: measured where it ran, computed where files are here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
from typer.testing import CliRunner

from matinee.config import Configuration
from matinee.config.checking import read_configuration
from matinee.config.plan import Plan
from matinee.data.tokens import as_batch, token_writer
from matinee.messages.rendering import TokenRow
from matinee.models.anatomy import folder_anatomy, gigabytes, named_anatomy
from matinee.models.machines import Machine, named_gpu
from matinee.runtime.errors import ConfigurationError
from matinee.stages import experiments
from matinee.stages.estimating import START, Estimator, Outlay, estimate, usual_machine

ROOT = Path(__file__).parents[2]
CPU = Machine("a made-up CPU", False, 8.0, {"fp32": 1e11})
BEGINNING = list(range(100, 140))


def plan(folder: Path, datasets: list[dict[str, Any]] | None = None, **training: Any) -> Plan:
    (folder / "start").mkdir(exist_ok=True)
    settings = {"learning_rate": 0.01, "epochs": 2, "batch_size": 4, **training}
    values = {
        "models": [{"id": "start", "sources": [{"kind": "path", "path": str(folder / "start")}]}],
        "datasets": datasets or [{"id": "made", "synthesis": {"conversations": 10}}],
        "variants": [
            {
                "id": "chat",
                "model": "start",
                "template": "chatml_hermes",
                "data": [{"dataset": (datasets or [{"id": "made"}])[0]["id"]}],
                "training": settings,
            }
        ],
        "evaluation": {
            "suites": [
                {
                    "id": "zh",
                    "scenarios": str(ROOT / "workflow/resources/scenarios"),
                    "tools": str(ROOT / "workflow/resources/tools.json"),
                    "limit": 13,
                }
            ]
        },
        "report": {"price_per_hour": 3.6},
    }
    return Plan(Configuration.model_validate(values))


def leave(run: Path, parameters: str, **record: Any) -> None:
    """What a stage leaves beside its artefact."""
    run.parent.mkdir(parents=True, exist_ok=True)
    record = {"facts": {}, "wall_seconds": 1.0, "peak_memory_mb": 100.0, **record}
    run.write_text(json.dumps({"parameters": json.loads(parameters), **record}))


def leave_tokens(asked: Plan, results: Path, rows: list[list[int]]) -> None:
    """Token rows with two supervised tokens each, as the data stages leave them."""
    folder = results / "data/chat"
    leave(folder / "mix.run.json", asked.mix_data("chat"))
    leave(folder / "run.json", asked.tokenize_data("chat"))
    made = [
        TokenRow(id=str(n), ids=ids, mask=[0] * (len(ids) - 2) + [1, 1], truncated=False)
        for n, ids in enumerate(rows)
    ]
    with token_writer(folder / "tokens.parquet") as writer:
        writer.write_batch(as_batch(made))


def outlays(asked: Plan, results: Path, machine: Machine = CPU) -> dict[str, Outlay]:
    return {one.job: one for one in Estimator(asked, machine, results).outlays()}


def test_the_published_steps_are_planned_from_nothing_but_the_settings(tmp_path: Path) -> None:
    published = Plan(read_configuration([ROOT / "config.yaml"], {}, ROOT))
    found = outlays(published, tmp_path, named_gpu("A100"))
    steps = {job: one.steps for job, one in found.items() if one.steps}
    assert steps == {"train chat s42": 1875, "train base s42": 12_344}
    chat = found["train chat s42"]
    assert not chat.measured
    # Published: 7,735.68 s on an A100.
    assert chat.seconds == pytest.approx(7735.68, rel=0.25)


def test_rows_that_are_here_are_counted_as_training_takes_them(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    asked = plan(tmp_path)
    leave_tokens(asked, tmp_path, [[7] * 50] * 10)
    found = outlays(asked, tmp_path)["train chat s42"]
    # Ten rows are two whole steps of four, twice.
    assert (found.steps, found.tokens) == (4, 4 * 4 * 50)


def test_a_common_beginning_is_computed_once(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    rows = [[*BEGINNING, 5, 200 + n, 6, 8] for n in range(8)]
    seconds = {}
    for packing in ("plain", "shared_prefix"):
        asked = plan(tmp_path, packing=packing)
        leave_tokens(asked, tmp_path, rows)
        found = outlays(asked, tmp_path, Machine("slow", False, 8.0, {"fp32": 1.0}))
        seconds[packing] = found["train chat s42"].seconds
    assert seconds["shared_prefix"] < 0.6 * seconds["plain"]


def test_a_finished_run_is_told_as_it_was_measured(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    asked = plan(tmp_path)
    leave_tokens(asked, tmp_path, [[7] * 50] * 10)
    training, merged = tmp_path / "training/chat/s42", tmp_path / "merged/chat/s42"
    # Killed and taken up again in the midst: the process that ended it saw half of the steps.
    facts = {"metrics": {"steps": 4, "resumed_from_step": 2}}
    run = training / "run.json"
    leave(run, asked.train_adapter("chat", "42"), wall_seconds=327.5 / 2, facts=facts)
    leave(merged / "run.json", asked.merge_model("chat"), wall_seconds=80.5)
    for subject in asked.subjects:
        part = tmp_path / f"evaluation/{subject}/zh/parts/0.run.json"
        leave(part, asked.run_scenarios(subject, "zh", "0"), wall_seconds=46.0, peak_memory_mb=450)
    found = outlays(asked, tmp_path)
    for job, seconds, memory in (
        ("train chat s42", 327.5, 0.1),
        ("merge chat s42", 80.5, 0.1),
        ("test chat-untuned", 46.0, 0.45),
        ("test chat-tuned-s42", 46.0, 0.45),
    ):
        one = found[job]
        assert (one.measured, one.seconds, one.memory) == (True, seconds, memory)
    lines = "\n".join(estimate(asked, CPU, tmp_path))
    # 500 s at 3.6 an hour.
    assert "8 min 20 s one job after another, 0.0 s of it to come" in lines
    assert "money: 0.50 USD at 3.6 an hour" in lines


def test_what_ran_with_other_settings_is_no_measurement(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    before, now = plan(tmp_path), plan(tmp_path, epochs=3)
    run = tmp_path / "training/chat/s42/run.json"
    leave(run, before.train_adapter("chat", "42"), wall_seconds=327.5)
    assert not outlays(now, tmp_path)["train chat s42"].measured


def test_a_training_that_ran_here_tells_the_speed_of_the_others(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    asked = plan(tmp_path)
    asked.configuration.variants[0].seeds.append(43)
    leave_tokens(asked, tmp_path, [[7] * 50] * 10)
    slow = Machine("slow", False, 8.0, {"fp32": 1e5}, here=True)
    expected = outlays(asked, tmp_path, slow)["train chat s43"].seconds
    metrics = {
        **{"steps": 4, "tokens": 800, "samples": 16, "supervised_tokens": 32, "computed_share": 1},
        **{"resumed_from_step": 2, "processes": 1, "device": "cpu", "precision": "fp32"},
        # Half of the steps took as long as all were expected to.
        "runtime_seconds": expected - START,
    }
    run = tmp_path / "training/chat/s42/run.json"
    leave(run, asked.train_adapter("chat", "42"), facts={"metrics": metrics})
    found = outlays(asked, tmp_path, slow)["train chat s43"].seconds
    assert found - START == pytest.approx(2 * (expected - START))
    elsewhere = outlays(asked, tmp_path, Machine("far", False, 8.0, {"fp32": 1e5}))
    assert elsewhere["train chat s43"].seconds == expected


def test_rows_of_own_files_are_read(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    row = {"messages": [{"role": role, "content": "Hi"} for role in ("user", "assistant")]}
    (tmp_path / "rows.jsonl").write_text((json.dumps(row) + "\n") * 9)
    sources = [{"kind": "path", "path": str(tmp_path / "rows.jsonl")}]
    asked = plan(tmp_path, [{"id": "own", "reader": "openai", "sources": sources}])
    assert outlays(asked, tmp_path)["train chat s42"].steps == 4


def test_what_nothing_tells_is_said_to_be_unknown(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    source = {"kind": "hf", "repo": "a/b", "revision": "main", "files": ["*.json"]}
    asked = plan(tmp_path, [{"id": "far", "reader": "sharegpt", "sources": [source]}])
    found = outlays(asked, tmp_path)["train chat s42"]
    assert found == Outlay(found.job, found.runs)
    assert "not counted: train chat s42" in "\n".join(estimate(asked, CPU, tmp_path))


def test_what_a_machine_without_a_gpu_cannot_do_is_said_first(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    asked = plan(tmp_path, precision="fp16", quantization="4bit")
    lines = list(estimate(asked, CPU, tmp_path))
    assert [line for line in lines[:2] if line.startswith("! variant chat")] == lines[:2]
    assert "precision fp16 needs a GPU" in lines[0]
    assert "quantization 4bit" in lines[1]
    assert not any(line.startswith("!") for line in estimate(asked, named_gpu("L4"), tmp_path))


def test_a_stage_that_is_larger_than_the_memory_is_named(tmp_path: Path) -> None:
    tiny.save(tmp_path / "start")
    small = Machine("small", False, 0.1, {"fp32": 1e11}, disk=1e-9)
    lines = list(estimate(plan(tmp_path), small, tmp_path))
    refused = [line.split(":")[0] for line in lines if line.startswith("!")]
    assert refused == [
        "! train chat s42",
        "! merge chat s42",
        "! test chat-untuned",
        "! test chat-tuned-s42",
        "! disk",
    ]


def test_a_gpu_is_found_by_its_usual_names_and_others_are_refused() -> None:
    assert named_gpu("rtx 4090") == named_gpu("4090")
    with pytest.raises(ConfigurationError, match="not in the table: H200, "):
        named_gpu("A1000")


def test_a_model_is_measured_by_its_headers_or_built_from_its_configuration(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "start")
    model = tiny.llama()
    found = folder_anatomy(folder)
    head = tiny.VOCABULARY * 32
    assert (found.head, found.layers, found.width, found.inner) == (head, 2, 32, 48)
    assert found.body == model.num_parameters() - 2 * head
    (folder / "model.safetensors").unlink()
    built = folder_anatomy(folder)
    assert (built.body, built.head, built.linear) == (found.body, found.head, found.linear)


@pytest.mark.parametrize(
    ("name", "size"),
    [("01-ai/Yi-6B-Chat", 6e9), ("qwen2_5_coder_0_5b", 5e8), ("gemma-270m", 2.7e8)],
)
def test_a_model_that_is_not_here_is_guessed_from_its_name(name: str, size: float) -> None:
    found = named_anatomy(name)
    assert found is not None
    assert found.guessed
    assert found.body + 2 * found.head == pytest.approx(size)
    assert named_anatomy("start") is None


def test_the_command_takes_the_experiment_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text("report: {price_per_hour: 2}\n")
    done = CliRunner().invoke(experiments.app, ["estimate", str(tmp_path), "--gpu", "A100"])
    assert done.exit_code == 0, done.output
    assert "12,344" in done.output
    assert "USD at 2 an hour" in done.output


def test_a_folder_without_an_experiment_is_told_how_to_begin(tmp_path: Path) -> None:
    done = CliRunner().invoke(experiments.app, ["estimate", str(tmp_path)])
    assert done.exit_code == 1
    assert "matinee init" in done.output


def test_a_models_size_is_that_of_its_files_or_of_its_name(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "start")
    size = (folder / "model.safetensors").stat().st_size / 1e9
    assert gigabytes([tmp_path / "none", folder], ["Yi-6B"]) == size
    assert gigabytes([tmp_path], ["mine", "Yi-6B"]) == 12
    assert gigabytes([tmp_path], ["mine"]) is None


def test_the_times_are_those_of_the_gpu_that_a_variant_asks_for(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    first = asked.configuration.variants[0].model_copy(update={"gpu_model": "a100"})
    asked.configuration.variants[:] = [first]
    assert usual_machine(asked) == named_gpu("A100")
