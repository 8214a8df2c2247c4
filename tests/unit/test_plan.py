"""What the rules ask of the configuration: inputs, cores that are worth it, GPUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from matinee.config import Configuration, PathSource, paths
from matinee.config.checking import parse_configuration
from matinee.config.plan import Plan
from matinee.messages.documents import open_document
from matinee.runtime.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def plan(datasets: list[dict[str, Any]], data: list[dict[str, Any]]) -> Plan:
    values = {
        "models": [{"id": "tiny", "sources": [{"kind": "random"}]}],
        "datasets": datasets,
        "variants": [
            {
                "id": "chat",
                "model": "tiny",
                "template": "chatml_hermes",
                "data": data,
                "training": {"learning_rate": 0.01, "epochs": 1, "batch_size": 4},
            }
        ],
        "evaluation": {"suites": [{"id": "zh", "scenarios": "scenarios", "tools": "tools.json"}]},
    }
    return Plan(Configuration.model_validate(values))


def fetched(*paths: str) -> dict[str, Any]:
    sources = [{"kind": "path", "path": path} for path in paths]
    return {"id": "mine", "reader": "openai", "sources": sources}


def made(rows: int) -> dict[str, Any]:
    return {"id": "made", "synthesis": {"conversations": rows}}


def test_files_of_local_data_sets_are_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder/inner").mkdir(parents=True)
    for name in ("rows.jsonl", "folder/a.json", "folder/inner/b.json"):
        (tmp_path / name).write_text("[]")
    found = plan([fetched("rows.jsonl", "folder", "gone.json")], [{"dataset": "mine"}])
    assert found.dataset_files("mine") == ["folder/a.json", "folder/inner/b.json", "rows.jsonl"]


def test_what_a_stage_reads_is_its_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scenarios/a.yaml", "scenarios/b.yml", "scenarios/notes.txt", "mine/config.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = plan([made(10)], [{"dataset": "made"}])
    assert found.suite_files("zh") == ["scenarios/a.yaml", "scenarios/b.yml", "tools.json"]
    source = PathSource(kind="path", path=Path("mine"))
    found.configuration.models[0].sources[:] = [source]
    assert found.model_files("tiny") == ["mine/config.json"]


def test_all_that_is_made_on_the_way_is_asked_for() -> None:
    asked = set(plan([made(10)], [{"dataset": "made"}]).everything())
    assert {
        "results/model/tiny",
        "results/dataset/made/conversations.jsonl",
        "results/data/chat/tokens.parquet",
        "results/training/chat/s42/adapter",
        "results/merged/chat/s42/merge.json",
        "results/merged/chat/s42/model",
        "results/evaluation/chat-tuned-s42/zh/parts/0.jsonl",
        "results/evaluation/chat-untuned/zh/transcripts.jsonl",
    } <= asked


@pytest.mark.parametrize(
    ("data", "threads"),
    [
        ([{"dataset": "made"}], 1),
        ([{"dataset": "mine"}], 8),
        ([{"dataset": "mine", "max_samples": 100}], 1),
        ([{"dataset": "made"}, {"dataset": "mine", "max_samples": 4000}], 8),
    ],
)
def test_cores_are_asked_for_where_there_may_be_many_rows(
    data: list[dict[str, Any]], threads: int
) -> None:
    assert plan([made(3000), fetched("rows.jsonl")], data).tokenize_threads("chat") == threads


def test_only_testing_depends_on_recorded_answers() -> None:
    found = plan([made(10)], [{"dataset": "made"}])
    assert found.fixture_files("zh") == []
    suite = found.configuration.suite("zh")
    with_answers = suite.model_copy(update={"fixtures": Path("answers.yaml")})
    found.configuration.evaluation.suites[:] = [with_answers]
    assert found.fixture_files("zh") == ["answers.yaml"]
    rules = (ROOT / "workflow/rules/evaluate.smk").read_text(encoding="utf-8")
    assert "fixtures=lambda wildcards: plan.fixture_files(wildcards.suite)," in rules
    training = (ROOT / "workflow/rules/train.smk").read_text(encoding="utf-8")
    assert "fixture" not in training


def test_variants_that_start_or_mix_alike_share_what_is_the_same() -> None:
    found = plan([made(10)], [{"dataset": "made"}])
    first = found.configuration.variants[0]
    warm = first.model_copy(update={"id": "warm", "seeds": [1, 2]})
    other = first.model_copy(update={"id": "other", "cutoff_length": 64})
    found = Plan(found.configuration.model_copy(update={"variants": [first, warm, other]}))
    assert [name for name in found.subjects if "untuned" in name] == ["chat-untuned"]
    assert found.tokens("warm") == found.tokens("chat") == "results/data/chat/tokens.parquet"
    assert found.with_rows(paths.TOKENS) == [found.tokens("chat"), found.tokens("other")]


def test_the_results_can_be_named() -> None:
    found = plan([made(10)], [{"dataset": "made"}])
    named = Plan(found.configuration.model_copy(update={"results": "mine"}))
    files = [*named.everything(), *named.subject_model("chat-tuned-s42"), named.tokens("chat")]
    assert {file.split("/")[0] for file in files} == {"mine"}
    assert paths.under("mine").TOKENS.of(variant="chat") == named.tokens("chat")
    # The name is no parameter of a stage.
    assert named.train_adapter("chat", "42") == found.train_adapter("chat", "42")


def test_each_variant_asks_for_its_kind_of_gpu() -> None:
    values = open_document(ROOT / "config.yaml").value
    values["variants"][0]["gpu_model"] = "a100"
    found = Plan(parse_configuration(values, ROOT))
    assert found.asked_for(variant="chat", seed="42") == ("yi_6b_chat", "a100")
    assert found.asked_for(subject="chat-tuned-s42", suite="zh") == ("yi_6b_chat", "a100")
    assert found.asked_for(subject="base-untuned") == ("yi_6b", "")
    assert found.asked_for(model="yi_6b") == ("yi_6b", "")
    # Another machine trains the same.
    assert "a100" not in found.train_adapter("chat", "42")


def test_the_validation_share_reaches_the_mix() -> None:
    found = plan([made(10)], [{"dataset": "made"}])
    assert '"validation_share":0.0' in found.mix_data("chat")


@pytest.mark.parametrize(
    ("cores", "gpus", "threads"),
    [
        (8, 2, 4),  # two trainings at once
        (8, 1, 8),
        (64, 4, 8),
        (2, 4, 1),
        (8, None, 8),
        (None, None, 8),  # a cluster: the job has the cores to itself
    ],
)
def test_jobs_on_gpus_share_the_cores(cores: int | None, gpus: int | None, threads: int) -> None:
    assert Plan.gpu_threads(cores, gpus) == threads


def with_engine(engine: str, **evaluation: Any) -> Plan:
    values = open_document(ROOT / "config.yaml").value
    values["evaluation"] |= {"engine": engine, **evaluation}
    values["export"] = {"formats": {"gguf": ["q8_0", "q4_k_m"]}}
    return Plan(parse_configuration(values, ROOT))


@pytest.mark.parametrize(
    ("devices", "command", "engine"),
    [
        (["GPU-1"], "/bin/vllm", "vllm"),
        ([], "/bin/vllm", "transformers"),
        (["GPU-1"], None, "transformers"),
    ],
)
def test_vllm_is_the_engine_of_a_gpu_that_has_it(
    devices: list[str], command: str | None, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MATINEE_ENGINE", raising=False)
    monkeypatch.setattr("matinee.config.plan.visible_devices", lambda: devices)
    monkeypatch.setattr("shutil.which", lambda name: command)
    found = with_engine("auto", constrained=True)
    assert found.engine("chat-untuned") == engine
    # No server keeps to the grammar of every form.
    assert found.engine("chat-untuned.constrained") == "transformers"
    monkeypatch.setenv("MATINEE_ENGINE", "vllm" if engine == "transformers" else "transformers")
    assert found.engine("chat-untuned") != engine, "what the driver found holds for its jobs"


def test_every_gguf_file_that_is_to_be_tested_is_a_subject_of_llama_cpp() -> None:
    found = with_engine("transformers", gguf=["q8_0"])
    assert found.engine("chat-tuned-s42.q8_0") == "llama_cpp"
    assert json.loads(found.run_scenarios("chat-tuned-s42.q8_0", "zh", "0"))["server"]
    assert "server" not in json.loads(found.run_scenarios("chat-tuned-s42", "zh", "0"))
    file = "results/merged/chat/s42/gguf/q8_0.gguf"
    assert found.gguf_option("chat-tuned-s42.q8_0") == f"--gguf {file}"
    assert found.gguf_option("chat-tuned-s42") == ""
    assert "chat-tuned-s42.q4_k_m" not in found.subjects
    assert with_engine("gold", gguf=["q8_0"]).engine("chat-tuned-s42.q8_0") == "gold"
    with pytest.raises(ConfigurationError, match=r"export\.formats\.gguf"):
        with_engine("transformers", gguf=["f16"])


@pytest.mark.parametrize(
    ("engine", "of_model"), [("transformers", 1), ("vllm", 1), ("llama_cpp", 1), ("gold", 0)]
)
def test_only_what_computes_here_takes_a_gpu(engine: str, of_model: int) -> None:
    values = open_document(ROOT / "config.yaml").value
    values["evaluation"]["engine"] = engine
    values["evaluation"]["references"] = [
        {"id": "vendor", "base_url": "http://127.0.0.1:9/v1", "model": "x"}
    ]
    found = Plan(parse_configuration(values, ROOT))
    assert found.gpus("chat-untuned") == of_model
    assert found.gpus("ref-vendor") == 0
