"""A GGUF file into a plain transformers folder: dequantised bf16 safetensors and a tokenizer."""

from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from matinee.data.sources.integrity import make_readable
from matinee.runtime.errors import SourceError, storage_problem


def convert_gguf(file: Path, folder: Path) -> None:
    """Writes configuration, bf16 safetensors and tokenizer of the GGUF `file` into `folder`.

    Raises SourceError when transformers cannot read the file or its architecture.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _metadata_read_once():
        try:
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.bfloat16
            )
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        except (ValueError, KeyError, OSError, NotImplementedError, struct.error) as error:
            if storage_problem(error):
                raise
            raise SourceError(
                f"{file.name} is not a GGUF file that transformers can read ({error}). "
                "Give the model as a folder with safetensors instead."
            ) from error
    # The weights are plain by now; with these two left, save_pretrained refuses to write them.
    model.hf_quantizer = None  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    make_readable(folder)


@contextlib.contextmanager
def _metadata_read_once() -> Iterator[None]:
    """While open, transformers reads GGUF metadata through `bulk_reader`, and each file once.

    It opens the file for the configuration, the weights and the tokenizer. gguf's own reader
    makes a small memory map per value: 15 s each time for a vocabulary of 262,144 tokens.
    """
    import gguf

    reader = bulk_reader()
    opened: dict[str, Any] = {}

    def open_once(path: str | Path, mode: str = "r") -> Any:
        if str(path) not in opened:
            opened[str(path)] = reader(path, mode)
        return opened[str(path)]

    # It also rebuilds the table of tensor names, of which there is one, for every module.
    name_map = functools.cache(gguf.get_tensor_name_map)
    with (
        mock.patch.object(gguf, "GGUFReader", open_once),
        mock.patch.object(gguf, "get_tensor_name_map", name_map),
    ):
        yield


def bulk_reader() -> type[Any]:
    """gguf's `GGUFReader` with the same fields and tensors, but arrays read in one go."""
    import gguf

    class BulkReader(gguf.GGUFReader):
        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == gguf.GGUFValueType.ARRAY and self.byte_order == "I":
                parts = _array_parts(self, orig_offs)
                if parts is not None:
                    return parts
            return super()._get_field_parts(orig_offs, raw_type)

    return BulkReader


def _array_parts(reader: Any, start: int) -> Any:
    """Size, parts, data positions and types as gguf's reader returns them; None if nested."""
    import gguf
    import numpy as np

    data: Any = np.asarray(reader.data)
    kind, count = struct.unpack_from("<IQ", data, start)
    offset = start + 12
    parts = [data[start : start + 4].view(np.uint32), data[start + 4 : offset].view(np.uint64)]
    kinds = [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType(kind)][: 1 + (count > 0)]
    if kind == gguf.GGUFValueType.STRING:
        for _ in range(count):
            begin = offset + 8
            offset = begin + struct.unpack_from("<Q", data, offset)[0]
            parts += [data[begin - 8 : begin].view(np.uint64), data[begin:offset]]
        return offset - start, parts, list(range(3, 3 + 2 * count, 2)), kinds
    scalar = reader.gguf_scalar_to_np.get(kind)
    if scalar is None:
        return None
    end = offset + count * np.dtype(scalar).itemsize
    values = data[offset:end].view(scalar)
    parts += [values[index : index + 1] for index in range(count)]
    return end - start, parts, list(range(2, 2 + count)), kinds
