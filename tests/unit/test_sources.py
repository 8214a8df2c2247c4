"""Fetching from hubs: the real client against a server on loopback, with faults."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import COMMIT, Hub, serving, sha256
from model_files import MODEL, lay_out

from matinee import config
from matinee.data.sources import fetch_dataset, fetch_model, missing_sources
from matinee.data.sources import hub as hub_source
from matinee.runtime.errors import SourceError

WEIGHTS = MODEL["model.safetensors"]
TOKEN = "hf_averysecrettoken"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub
    import huggingface_hub.file_download

    offered = Hub(
        files={
            **MODEL,
            "pytorch_model.bin": b"a pickle",
            "onnx/model.safetensors": b"an export",
            "modeling_own.py": b"print('mine')",
            "README.md": b"read me",
        }
    )
    with serving(offered):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("HF_ENDPOINT", offered.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        # The client waits a second before it resumes; the test need not.
        monkeypatch.setattr(huggingface_hub.file_download.time, "sleep", lambda seconds: None)
        # It resumes from its last whole block; small blocks suit a small file.
        monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
        monkeypatch.setattr(hub_source, "PAUSE_SECONDS", 0.0)
        yield offered


def model(**changes: object) -> config.Model:
    values = {"kind": "hf", "repo": "owner/model", "revision": "main", **changes}
    return config.Model.model_validate({"id": "tiny", "sources": [values]})


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestHub:
    def test_a_model_arrives_with_what_it_needs_and_nothing_else(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        facts = fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert names(tmp_path / "out") == ["config.json", "model.safetensors", "tokenizer.json"]
        assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
        assert facts["kind"] == "hf"
        assert facts["commit"] == COMMIT
        assert facts["licence"] == "apache-2.0"
        assert facts["files"]["model.safetensors"]["sha256"] == sha256(WEIGHTS)
        assert not any("pytorch_model.bin" in path for _, path, _ in hub.requests)

    def test_the_token_goes_to_the_hub_and_into_no_message(
        self, hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        facts = fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert TOKEN in hub.gets("/api/models")[0]["authorization"]
        assert not any("authorization" in headers for headers in hub.gets("/content/"))
        hub.faults["/api/"] = ["403"]
        with pytest.raises(SourceError) as failure:
            fetch_model(model(), tmp_path / "again", offline=False, root=tmp_path)
        printed = capsys.readouterr()
        assert TOKEN not in f"{facts}{failure.value}{printed.out}{printed.err}"

    def test_a_truncated_body_is_resumed(self, hub: Hub, tmp_path: Path) -> None:
        hub.faults["/content/model.safetensors"] = ["truncate"]
        fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
        ranges = [headers.get("range") for headers in hub.gets("/content/model.safetensors")]
        assert ranges == [None, f"bytes={len(WEIGHTS) // 2}-"]

    @pytest.mark.parametrize("place", ["/api/models", "/tree/", "/content/model.safetensors"])
    def test_a_busy_hub_is_asked_again(self, hub: Hub, tmp_path: Path, place: str) -> None:
        hub.faults[place] = ["503"]
        fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS

    def test_a_hub_that_stays_busy_is_given_up(self, hub: Hub, tmp_path: Path) -> None:
        hub.faults["/api/models"] = ["503"] * 50
        with pytest.raises(SourceError, match="status 503"):
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert len(hub.gets("/api/models")) == hub_source.ATTEMPTS

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_wrong_content_is_refused_and_kept_aside(
        self, hub: Hub, tmp_path: Path, name: str
    ) -> None:
        good = hub.files[name]
        hub.listed[name] = good[::-1] if name.endswith("tensors") else b"[]"
        with pytest.raises(SourceError, match="kept for inspection as") as failure:
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        (aside,) = (tmp_path / "cache/rejected").iterdir()
        assert str(aside) in str(failure.value)
        assert aside.read_bytes() == good

    def test_after_wrong_content_the_next_fetch_starts_afresh(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        other = WEIGHTS[:-1] + b"x"
        hub.listed["model.safetensors"] = other
        with pytest.raises(SourceError):
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        hub.files["model.safetensors"] = other
        fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        assert (tmp_path / "out/model.safetensors").read_bytes() == other

    def test_a_vanished_revision_is_said(self, hub: Hub, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="no such revision"):
            fetch_model(model(revision="v9"), tmp_path / "out", offline=False, root=tmp_path)

    def test_a_model_with_pickles_only_names_the_conversion(self, hub: Hub, tmp_path: Path) -> None:
        del hub.files["model.safetensors"]
        with pytest.raises(SourceError, match=r"pytorch_model\.bin.*save_pretrained"):
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)

    def test_an_unreachable_hub_gives_one_message_with_all_ways_out(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            port = nobody.getsockname()[1]
        # pragma: allowlist nextline secret
        monkeypatch.setenv("HF_ENDPOINT", f"http://user:password@127.0.0.1:{port}")
        with pytest.raises(SourceError) as failure:
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        message = str(failure.value)
        assert f"http://127.0.0.1:{port}" in message
        for way in ("owner/model@main", "HF_ENDPOINT", "modelscope", "kind: path"):
            assert way in message
        assert "password" not in message

    def test_the_clients_own_offline_switch_is_explained(
        self, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(SourceError, match="HF_HUB_OFFLINE is set"):
            fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)

    def test_a_data_set_must_name_its_files(self, hub: Hub, tmp_path: Path) -> None:
        source = config.HubSource(kind="hf", repo="owner/rows", revision="main")
        with pytest.raises(SourceError, match="`files` is empty"):
            fetch_dataset([source], tmp_path / "out", offline=False, root=tmp_path)

    def test_a_data_set_arrives(self, hub: Hub, tmp_path: Path) -> None:
        hub.files["data/rows.json"] = b"[]"
        source = config.HubSource(
            kind="hf", repo="owner/rows", revision=COMMIT, files=["data/*.json"]
        )
        facts = fetch_dataset([source], tmp_path / "out", offline=False, root=tmp_path)
        assert names(tmp_path / "out") == ["data/rows.json"]
        assert facts["commit"] == COMMIT


class TestOffline:
    def test_what_was_fetched_before_serves_without_the_network(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        hub.requests.clear()
        facts = fetch_model(model(), tmp_path / "again", offline=True, root=tmp_path)
        assert names(tmp_path / "again") == names(tmp_path / "out")
        assert facts["commit"] == COMMIT
        assert hub.requests == []

    def test_damaged_cached_weights_are_refused(self, hub: Hub, tmp_path: Path) -> None:
        fetch_model(model(), tmp_path / "out", offline=False, root=tmp_path)
        (tmp_path / "out/model.safetensors").write_bytes(WEIGHTS[:-1] + b"x")  # linked to the cache
        with pytest.raises(SourceError, match="kept for inspection"):
            fetch_model(model(), tmp_path / "again", offline=True, root=tmp_path)

    def test_what_was_never_fetched_is_refused(self, hub: Hub, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="without the network"):
            fetch_model(model(), tmp_path / "out", offline=True, root=tmp_path)
        assert hub.requests == []

    def test_everything_missing_is_listed_at_once(self, hub: Hub, tmp_path: Path) -> None:
        (tmp_path / "here").mkdir()
        configuration = config.Configuration.model_construct(
            models=[
                model(),
                config.Model(id="dice", sources=[config.RandomSource(kind="random")]),
                config.Model(
                    id="mine", sources=[config.PathSource(kind="path", path=Path("here"))]
                ),
            ],
            datasets=[
                config.Dataset(
                    id="rows",
                    reader="alpaca",
                    sources=[
                        config.UrlSource(kind="url", url="http://x/rows.json", sha256="0" * 64)
                    ],
                )
            ],
            evaluation=config.Evaluation.model_construct(suites=[]),
        )
        lines = missing_sources(configuration, tmp_path)
        assert [line.split(":")[0] for line in lines] == ["model `tiny`", "dataset `rows`"]
        assert missing_sources(configuration, tmp_path, made=["tiny", "rows"]) == []
        assert hub.requests == []


class TestFallbacks:
    def test_the_next_source_serves_and_the_failure_is_recorded(
        self, hub: Hub, tmp_path: Path
    ) -> None:
        both = config.Model(
            id="tiny",
            sources=[
                config.PathSource(kind="path", path=Path("nowhere")),
                config.HubSource(kind="hf", repo="owner/model", revision="main"),
            ],
        )
        facts = fetch_model(both, tmp_path / "out", offline=False, root=tmp_path)
        assert facts["kind"] == "hf"
        assert ["nowhere" in line for line in facts["failed_before"]] == [True]

    def test_nothing_stays_behind_of_a_source_that_failed(self, hub: Hub, tmp_path: Path) -> None:
        hub.listed["tokenizer.json"] = b"[]"
        lay_out(tmp_path / "mine", {**MODEL, "LICENSE-own": b""})
        hub.files["LICENSE"] = b""
        both = config.Model(
            id="tiny",
            sources=[
                config.HubSource(kind="hf", repo="owner/model", revision="main"),
                config.PathSource(kind="path", path=Path("mine")),
            ],
        )
        fetch_model(both, tmp_path / "out", offline=False, root=tmp_path)
        assert names(tmp_path / "out") == sorted([*MODEL, "LICENSE-own"])

    def test_the_failure_lists_every_source_in_order(self, hub: Hub, tmp_path: Path) -> None:
        both = config.Model(
            id="tiny",
            sources=[
                config.HubSource(kind="hf", repo="owner/model", revision="gone"),
                config.PathSource(kind="path", path=Path("nowhere")),
            ],
        )
        with pytest.raises(SourceError) as failure:
            fetch_model(both, tmp_path / "out", offline=False, root=tmp_path)
        lines = str(failure.value).splitlines()
        assert lines[1].startswith("  1. hf owner/model@gone")
        assert lines[2].startswith("  2. path nowhere")
