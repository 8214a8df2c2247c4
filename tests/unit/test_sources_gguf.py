"""GGUF files become plain safetensors folders, and their metadata is read in bulk."""

from __future__ import annotations

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


def test_the_folder_loads_as_plain_bf16_and_the_gguf_is_gone(tiny: Path, tmp_path: Path) -> None:
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = config.PathSource(kind="path", path=tiny)
    model = config.Model(id="tiny", sources=[source])
    facts = fetch_model(model, tmp_path / "out", offline=True, root=tmp_path)
    assert "model.safetensors" in facts["files"]
    assert not any(name.endswith(".gguf") for name in facts["files"])
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.dtype == torch.bfloat16
    stored = next(one for one in gguf.GGUFReader(tiny).tensors if one.name == "token_embd.weight")
    expected = torch.from_numpy(np.array(gguf.dequantize(stored.data, stored.tensor_type)))
    assert torch.equal(loaded.model.embed_tokens.weight, expected.to(torch.bfloat16))
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("ab")["input_ids"] == [len(TOKENS) - 1]


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"not at all" * 100)
    source = config.PathSource(kind="path", path=tmp_path / "broken.gguf")
    model = config.Model(id="broken", sources=[source])
    with pytest.raises(SourceError, match=r"broken\.gguf is not a GGUF file"):
        fetch_model(model, tmp_path / "out", offline=True, root=tmp_path)
