"""Weights that are not whole are refused by name, before anything is computed with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from matinee.models.weights import INDEX, require_whole
from matinee.runtime.errors import DataError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_file({"a": torch.ones(4, 4), "b": torch.ones(3)}, tmp_path / "one.safetensors", {"x": "y"})
    save_file({"c": torch.ones(5)}, tmp_path / "two.safetensors")
    (tmp_path / INDEX).write_text(
        json.dumps({"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}})
    )
    return tmp_path


def test_whole_weights_pass(model: Path) -> None:
    require_whole(model)


@pytest.mark.parametrize(
    ("kept", "words"),
    [(-1, "bytes and should have"), (60, "cut short"), (0, "cut short")],
)
def test_a_shard_that_was_cut_is_refused(model: Path, kept: int, words: str) -> None:
    shard = model / "one.safetensors"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(DataError, match=words) as refused:
        require_whole(model)
    assert str(shard) in str(refused.value)
    assert "Delete" in str(refused.value)


def test_a_file_that_grew_is_refused(model: Path) -> None:
    with (model / "two.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match=r"two\.safetensors has"):
        require_whole(model)


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1", b"\x00" * 64])
def test_what_is_no_safetensors_is_refused(model: Path, content: bytes) -> None:
    (model / "two.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"two\.safetensors is no safetensors file"):
        require_whole(model)


def test_a_header_that_is_no_json_is_refused(model: Path) -> None:
    file = model / "two.safetensors"
    content = bytearray(file.read_bytes())
    content[8] = ord("x")
    file.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged header"):
        require_whole(model)


def test_a_shard_that_the_index_names_must_be_there(model: Path) -> None:
    (model / "two.safetensors").unlink()
    with pytest.raises(DataError, match=r"lacks two\.safetensors"):
        require_whole(model)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff{",
        b"[]",
        b"{}",
        b'{"weight_map": []}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": "../one.safetensors"}}',
        b'{"weight_map": {"a": "/etc/passwd"}}',
        b'{"weight_map": {"a": "two.safetensors"}}',
    ],
)
def test_an_index_that_does_not_fit_its_folder_is_refused(model: Path, content: bytes) -> None:
    (model / INDEX).write_bytes(content)
    with pytest.raises(DataError, match=str(model)):
        require_whole(model)


@pytest.mark.parametrize(
    "tensor",
    [
        None,
        [],
        {"dtype": "F32"},
        {"dtype": "F32", "shape": 5, "data_offsets": [0, 20]},
        {"dtype": "F32", "shape": [5], "data_offsets": [0]},
        {"dtype": "F32", "shape": [5], "data_offsets": ["x", 20]},
        {"dtype": "F32", "shape": [5], "data_offsets": [4, 20]},
        {"dtype": "F32", "shape": [5], "data_offsets": [20, 0]},
    ],
)
def test_a_header_that_describes_no_tensors_is_refused(model: Path, tensor: object) -> None:
    header = json.dumps({"c": tensor}).encode()
    content = len(header).to_bytes(8, "little") + header + b"\0" * 20
    (model / "two.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"two\.safetensors has a damaged header"):
        require_whole(model)
