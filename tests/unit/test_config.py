# ruff: noqa: E501 (a table reads best with one mistake a line)
"""Every mistake in the configuration is one line: the key, what was found, what is allowed."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from config_mutations import mutation, outcome

from matinee.config import (
    CALL_FORMS,
    Configuration,
    json_schema,
)
from matinee.config.checking import parse_configuration, read_configuration
from matinee.messages.documents import open_document
from matinee.messages.forms import templates
from matinee.runtime.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]


def valid() -> dict[str, Any]:
    hub = {"kind": "hf", "repo": "owner/name", "revision": "main"}
    return {
        "models": [{"id": "small", "sources": [hub]}],
        "datasets": [{"id": "made", "synthesis": {"conversations": 10}}],
        "variants": [
            {
                "id": "first",
                "model": "small",
                "template": "chatml_hermes",
                "data": [{"dataset": "made"}],
                "training": {"learning_rate": 1e-4, "epochs": 1, "batch_size": 4},
            }
        ],
        "evaluation": {
            "suites": [{"id": "suite", "scenarios": "scenarios", "tools": "tools.json"}]
        },
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "tools.json").write_text("[]")
    return tmp_path


def changed(path: str, value: Any) -> dict[str, Any]:
    """The valid configuration with one key, such as `models/0/id`, set to a value."""
    values = copy.deepcopy(valid())
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    place: Any = values
    for part in parents:
        place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
    if isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return values


def problems(values: Any, root: Path) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(values, root)
    headline, *lines = str(caught.value).splitlines()
    assert headline.startswith(f"The configuration has {len(lines)} problem")
    assert all(line.startswith("  - ") for line in lines)
    return [line[4:] for line in lines]


def test_the_valid_one_is_accepted_with_defaults(root: Path) -> None:
    configuration = parse_configuration(valid(), root)
    assert configuration.variant("first").training.lora.r == 8
    assert configuration.model("small").id == "small"
    assert configuration.dataset("made").id == "made"
    assert configuration.suite("suite").tools == Path("tools.json")
    assert configuration.report.title == "Matinee"


MISTAKES: list[tuple[str, Any, str]] = [
    ("extra", 1, "extra: unknown key (found 1)"),
    ("variants/0/training/learning_rat", 1, "variants[0].training.learning_rat: unknown key"),
    ("models/0/id", "Big Model", "models[0].id: found 'Big Model'."),
    ("models/0/sources", [], "models[0].sources: found a list."),
    ("models/0/sources/0", {"kind": "ftp"}, "models[0].sources[0].kind: found 'ftp'. Input should be 'hf'"),
    ("models/0/sources/0", {"repo": "a/b"}, "models[0].sources[0]: `kind` is missing"),
    ("models/0/sources/0/repo", 3, "models[0].sources[0].repo: found 3."),
    ("models/0/sources/0/hf", 3, "models[0].sources[0].hf: unknown key (found 3)"),
    ("models/0/sources/0", {"kind": "path"}, "models[0].sources[0].path: missing"),
    ("models/0/sources/0", {"kind": "path", "path": "no/such"}, "models[0].sources[0].path: no/such does not exist"),
    ("models/0/sources/0", {"kind": "random", "layers": 0}, "models[0].sources[0].layers: found 0. Input should be greater than or equal to 1"),
    ("datasets/0/reader", "xlam", "datasets[0]: has `synthesis` and also `sources` or `reader`"),
    ("datasets/0", {"id": "made"}, "datasets[0]: needs `sources` and `reader`, or `synthesis`"),
    ("datasets/0", {"id": "made", "reader": "xlam", "sources": [{"kind": "url", "url": "https://x/y"}]}, "datasets[0].sources[0]: needs `sha256`"),
    ("datasets/0/synthesis/mix", {"odd": 1}, "datasets[0].synthesis.mix.odd: found 'odd'. Input should be 'single'"),
    ("datasets/0/catalogue", "no/such", "datasets[0].catalogue: no/such does not exist"),
    ("variants/0/model", "other", "variants[0].model: 'other' is not among models: ['small']"),
    ("variants/0/data", [{"dataset": "other"}], "variants[0].data[0].dataset: 'other' is not among datasets: ['made']"),
    ("variants/0/template", "chatml", "variants[0].template: 'chatml' is no template; allowed are native, chatml_action"),
    ("variants/0/seeds", [1, 1], "variants[0]: seeds repeat: [1, 1]"),
    ("variants/0/training/batch_size", "4", "variants[0].training.batch_size: found '4'. Input should be a valid integer"),
    ("variants/0/training/batch_size", True, "variants[0].training.batch_size: found True."),
    ("variants/0/training/learning_rate", 0, "variants[0].training.learning_rate: found 0. Input should be greater than 0"),
    ("variants/0/training/lora", {"target": 3}, "variants[0].training.lora.target: found 3. Input should be 'all-linear' or a list of names"),
    ("variants/0/training/packing", "all", "variants[0].training.packing: found 'all'. Input should be 'none', 'plain' or 'shared_prefix'"),
    ("variants/0/training/devices", 2, "variants[0].training: gradient_accumulation 1 cannot be divided over devices 2"),
    ("variants/0/training/sharding", "fsdp", "variants[0].training: sharding fsdp needs devices 2 or more"),
    ("evaluation/suites", [], "evaluation.suites: found a list."),
    ("evaluation/suites/0/tools", "no.json", "evaluation.suites[0].tools: no.json does not exist"),
    ("evaluation/suites/0", {"id": "s"}, "evaluation.suites[0]: needs `scenarios` and `tools`, or `bfcl`"),
    ("evaluation/suites/0/bfcl", {}, "evaluation.suites[0]: has `bfcl` and also `scenarios`, `tools` or `fixtures`"),
    ("evaluation/suites/0", {"id": "s", "bfcl": {"package": "bfcl-eval"}}, "evaluation.suites[0].bfcl.package: found 'bfcl-eval'."),
    ("evaluation/suites/0", {"id": "s", "bfcl": {"path": "no"}}, "evaluation.suites[0].bfcl.path: no does not exist"),
    ("evaluation/suites/0", {"id": "s", "bfcl": {}, "categories": ["rest"]}, "evaluation.suites[0]: BFCL categories rest cannot be run; choose among simple_python"),
    ("evaluation/references", [{"id": "r", "base_url": "ftp://x", "model": "m"}], "evaluation.references[0].base_url: found 'ftp://x'."),
    ("evaluation/sampling", {"temperature": 0}, "evaluation.sampling.temperature: found 0. Input should be greater than 0"),
    ("evaluation/sampling", {"repeats": 1}, "evaluation.sampling.repeats: found 1. Input should be greater than or equal to 2"),
    ("models/1", valid()["models"][0], "models[1].id: 'small' is used twice"),
    ("publish", {"owner": "no/slash"}, "publish.owner: found 'no/slash'."),
    ("publish", {"owner": "me", "name": "{other}"}, "publish.name: found '{other}'."),
    ("export", {"shard_size": "2 gigabytes"}, "export.shard_size: found '2 gigabytes'."),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), MISTAKES, ids=[m[2][:50] for m in MISTAKES])
def test_one_mistake_is_one_line_with_its_key(
    path: str, value: Any, message: str, root: Path
) -> None:
    (line,) = problems(changed(path, value), root)
    assert line.startswith(message)


def test_a_spread_model_measures_no_validation_loss(root: Path) -> None:
    values = changed("variants/0/validation_share", 0.1)
    spread = {"devices": 2, "sharding": "fsdp", "gradient_accumulation": 2}
    values["variants"][0]["training"].update(spread)
    assert problems(values, root) == ["variants[0]: validation_share needs sharding none"]


def test_two_models_cannot_be_published_under_one_name(root: Path) -> None:
    values = changed("variants/0/seeds", [1, 2])
    values["publish"] = {"owner": "me", "name": "{variant}"}
    assert problems(values, root) == ["publish.name: '{variant}' names one repository for 2 models"]


def test_offline_nothing_can_be_published(root: Path) -> None:
    values = changed("offline", True)
    values["publish"] = {"owner": "me"}
    (line,) = problems(values, root)
    assert line.startswith("publish: needs the network")


@pytest.mark.parametrize("key", ["models", "datasets", "variants", "evaluation"])
def test_a_missing_part_is_named(key: str, root: Path) -> None:
    values = valid()
    del values[key]
    assert problems(values, root) == [f"{key}: missing; it is required."]


@pytest.mark.parametrize("value", [None, [], "text"])
def test_what_is_no_mapping_is_refused(value: Any, root: Path) -> None:
    (line,) = problems(value, root)
    assert line.startswith("the configuration: found")


def test_all_problems_come_at_once(root: Path) -> None:
    values = changed("variants/0/training/lora", {"r": 0, "target": 3})
    values["models"][0]["sources"] = [{"kind": "hf", "repo": 1}, {"kind": "no"}]
    values["surplus"] = {}
    keys = [line.split(":")[0] for line in problems(values, root)]
    assert sorted(keys) == [
        "models[0].sources[0].repo",
        "models[0].sources[0].revision",
        "models[0].sources[1].kind",
        "surplus",
        "variants[0].training.lora.r",
        "variants[0].training.lora.target",
    ]


CONFIG = """\
models: [{id: small, sources: [{kind: random}]}]
datasets: [{id: made, synthesis: {conversations: 10}}]
variants:
  - id: first
    model: small
    template: chatml_hermes
    data: [{dataset: made}]
    training:
      learning_rate: 5e-4
      epochs: 1
      batch_size: 4
evaluation:
  suites: [{id: suite, scenarios: scenarios, tools: tools.json}]
  references: [{id: r, base_url: "http://h/v1", model: m, api_key_env: KEY}]
"""


def read(root: Path, text: str | bytes, over: str = "", given: Any = None) -> Configuration:
    (root / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "over.yaml").write_text(over)
    names = ["config.yaml", "over.yaml"] if over else ["config.yaml"]
    return read_configuration([root / name for name in names], given or {}, root)


class TestFiles:
    def test_numbers_are_those_of_yaml_1_2(self, root: Path) -> None:
        assert read(root, CONFIG).variants[0].training.learning_rate == 5e-4
        ten = read(root, CONFIG.replace("batch_size: 4", "batch_size: 010"))
        assert ten.variants[0].training.batch_size == 10

    def test_what_lies_over_it_merges_mappings_and_replaces_lists(self, root: Path) -> None:
        found = read(root, CONFIG, "evaluation: {parts: 2}\nreport: {title: T}", {"offline": True})
        assert (found.evaluation.parts, found.report.title, found.offline) == (2, "T", True)
        assert found.evaluation.suites[0].id == "suite"

    @pytest.mark.parametrize(
        ("change", "line", "words"),
        [
            (("epochs: 1", "epochs: true"), 10, "epochs: found True. Input should be a valid number"),
            (("epochs: 1", "epochs: 1:30"), 10, "epochs: found '1:30'"),
            (("epochs: 1", "epochs: '1'"), 10, "epochs: found '1'"),
            (("epochs: 1", "epochs: .inf"), 10, ".inf is not a finite number"),
            (("epochs: 1", "epochs: " + "9" * 5000), 10, "a number of 5000 characters"),
            (("epochs: 1", "epochs: 1e999"), 10, "1e999"),
            (("epochs: 1", "epochs: 1\n      epochs: 2"), 11, "duplicate key 'epochs'"),
            (("epochs: 1", "epohcs: 1"), 10, "unknown key (found 1). Did you mean `epochs`?"),
            (("batch_size: 4", f"batch_size: {2**60}"), 11, "No number here is above"),
            (("batch_size: 4", "batch_size: 4\n    seeds: [-1]"), 12, "seeds[0]: found -1"),
            (("batch_size: 4", f"batch_size: 4\n    seeds: [{2**32}]"), 12, "seeds[0]: found"),
            (("conversations: 10", "conversations: true"), 2, "conversations: found True"),
            (("conversations: 10", "noise_share: true"), 2, "noise_share: found True"),
            (("conversations: 10", "mix: {single: true}"), 2, "mix.single: found True"),
            (("conversations: 10", "tools_per_list: [true, 4]"), 2, "tools_per_list[0]: found True"),
            (("model: small", "model: smal"), 5, "'smal' is not among models"),
            (("scenarios: scenarios", "scenarios: tools.json"), 13, "tools.json is not a folder"),
            (("tools: tools.json", "tools: scenarios"), 13, "scenarios is not a file"),
            (("tools: tools.json", "tools: ''"), 13, "tools: is empty"),
            (("tools: tools.json", "tools: 'a{b}'"), 13, "tools: holds '{'"),
            (("tools: tools.json", "tools: " + "x" * 300), 13, "cannot be looked at"),
            (("http://h/v1", "http://[h"), 14, "base_url: is no address"),
            (("models:", "models: &a [*a]\nmodel:"), 1, "*a contains itself"),
            (("models:", "models: " + "[" * 500), 1, "nested deeper"),
            (("models:", "models: ]"), 1, "not YAML"),
        ],
        ids=lambda value: str(value)[:40],
    )  # fmt: skip
    def test_a_mistake_is_told_with_file_and_line(
        self, root: Path, change: tuple[str, str], line: int, words: str
    ) -> None:
        with pytest.raises(ConfigurationError) as refused:
            read(root, CONFIG.replace(*change))
        told = str(refused.value)
        assert f"{root / 'config.yaml'}:{line}: " in told
        assert words in told

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_other_encodings_are_named(self, root: Path, encoding: str) -> None:
        with pytest.raises(ConfigurationError, match=r"config\.yaml:\d+: not UTF-8"):
            read(root, (CONFIG + "# é\n").encode(encoding))

    def test_the_file_that_says_it_last_is_named(self, root: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"over\.yaml:2: evaluation\.parts: found 0"):
            read(root, CONFIG, "evaluation:\n  parts: 0\n")
        with pytest.raises(ConfigurationError, match=r"--config: report\.title: found 3"):
            read(root, CONFIG, given={"report": {"title": 3}})

    @pytest.mark.parametrize("secret", ["sk-abcdefghijkl", "hf_abcdefghijkl", "AbCdEfGh123"])
    def test_a_key_in_the_place_of_its_variable_is_refused_and_not_shown(
        self, root: Path, secret: str
    ) -> None:
        with pytest.raises(ConfigurationError, match="name of an environment variable") as refused:
            read(root, CONFIG.replace("api_key_env: KEY", f"api_key_env: {secret}"))
        assert secret not in str(refused.value)

    def test_a_source_on_a_hub_says_which_files(self, root: Path) -> None:
        source = "{kind: hf, repo: a/b, revision: main, files: []}"
        text = CONFIG.replace(
            "synthesis: {conversations: 10}", f"reader: alpaca, sources: [{source}]"
        )
        with pytest.raises(ConfigurationError, match=r"config\.yaml:2: datasets\[0\]: .*`files`"):
            read(root, text)


def test_no_mistake_ends_in_a_traceback(root: Path) -> None:
    draw = random.Random(14)
    found = [outcome(mutation(draw), root) for _ in range(300)]
    assert {"accepted", "refused"} == set(found)


def test_every_template_has_a_call_form() -> None:
    assert CALL_FORMS.keys() == templates().keys()


def test_every_key_outside_of_the_obvious_tells_what_it_does() -> None:
    def properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        models = [schema, *schema["$defs"].values()]
        return [item for model in models for item in model.get("properties", {}).items()]

    described = [name for name, value in properties(json_schema()) if value.get("description")]
    assert len(described) > 30


def test_the_published_schema_is_that_of_the_models() -> None:
    path = REPOSITORY / "workflow/schemas/config.schema.json"
    expected = json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert path.read_text(encoding="utf-8") == expected, (
        "stale; run `python workflow/run.py schema > workflow/schemas/config.schema.json`"
    )


def test_the_preset_of_bfcl_lies_over_the_demo() -> None:
    demo, overlay = (
        open_document(REPOSITORY / f"workflow/presets/{name}.yaml").value
        for name in ("demo", "bfcl")
    )
    merged = demo | overlay | {"evaluation": demo["evaluation"] | overlay["evaluation"]}
    configuration = parse_configuration(merged, REPOSITORY)
    assert configuration.suite("bfcl").limit == 200
    assert configuration.variants == parse_configuration(demo, REPOSITORY).variants


@pytest.mark.parametrize(
    "overlay",
    [None, *sorted((REPOSITORY / "workflow/presets").glob("*.yaml"))],
    ids=lambda path: path.stem if path else "published",
)
def test_every_shipped_configuration_is_valid(overlay: Path | None) -> None:
    """Presets lie over config.yaml, and `bfcl` over the demo besides; a list replaces a list."""
    layers = [REPOSITORY / "config.yaml", REPOSITORY / "workflow/presets/demo.yaml", overlay]
    values: dict[str, Any] = {}
    for path in layers if overlay and overlay.stem == "bfcl" else (layers[0], overlay):
        if path is not None:
            values = _laid_over(values, open_document(path).value)
    assert isinstance(parse_configuration(values, REPOSITORY), Configuration)


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """As Snakemake lays one configuration file over another."""
    both = {
        key: _laid_over(below[key], value)
        for key, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(key), dict)
    }
    return below | above | both
