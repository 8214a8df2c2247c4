"""Fetching from ModelScope: its real client, where installed, against a server on loopback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Hub, serving
from model_files import MODEL as FILES

from matinee import config
from matinee.data.sources import fetch_model
from matinee.runtime.errors import SourceError

MODEL = config.Model(
    id="tiny", sources=[config.HubSource(kind="modelscope", repo="owner/model", revision="master")]
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    pytest.importorskip("modelscope_hub", reason="the optional ModelScope client is not installed")
    offered = Hub(files={**FILES, "pytorch_model.bin": b"pickle"})
    with serving(offered):
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", offered.address)
        monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "modelscope"))
        monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
        yield offered


def test_a_model_arrives_without_its_pickles(hub: Hub, tmp_path: Path) -> None:
    facts = fetch_model(MODEL, tmp_path / "out", offline=False, root=tmp_path)
    assert set(facts["files"]) == set(FILES)
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content
    assert facts["kind"] == "modelscope"


def test_offline_it_serves_from_its_cache(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="without the network"):
        fetch_model(MODEL, tmp_path / "out", offline=True, root=tmp_path)
    fetch_model(MODEL, tmp_path / "out", offline=False, root=tmp_path)
    hub.requests.clear()
    fetch_model(MODEL, tmp_path / "again", offline=True, root=tmp_path)
    assert (tmp_path / "again/model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert hub.requests == []


def test_a_missing_client_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    with pytest.raises(SourceError, match="pip install modelscope"):
        fetch_model(MODEL, tmp_path / "out", offline=False, root=tmp_path)
