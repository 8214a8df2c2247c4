"""A GGUF file into a plain transformers folder: dequantised bf16 safetensors and a tokenizer."""

from __future__ import annotations

import contextlib
import functools
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from matinee.data.sources.integrity import make_readable
from matinee.runtime.errors import SourceError, storage_problem

# https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
MAGIC = b"GGUF"
# More than any model has (the largest vocabularies hold 262,144 pieces and twice as many merges):
# a header that claims more would fill the memory with values of its own choice.
MOST_VALUES = 4_000_000
MOST_ENTRIES = 100_000


def convert_gguf(file: Path, folder: Path) -> None:
    """Writes configuration, bf16 safetensors and tokenizer of the GGUF `file` into `folder`.

    Raises SourceError when transformers cannot read the file or its architecture.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _metadata_read_once() as opened:
        try:
            _require_layers(opened(file))
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.bfloat16
            )
            tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        # What a foreign file can do to its readers has no end of kinds.
        except Exception as error:
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
def _metadata_read_once() -> Iterator[Callable[[Path], Any]]:
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
        yield open_once


def _require_layers(reader: Any) -> None:
    """Raises ValueError where the metadata promises more layers than there are tensors."""
    for name, field in reader.fields.items():
        if name.endswith(".block_count") and field.contents() > len(reader.tensors):
            raise ValueError(f"{name} is {field.contents()}, with {len(reader.tensors)} tensors")


def bulk_reader() -> type[Any]:
    """gguf's `GGUFReader` with the same fields and tensors, but arrays read in one go.

    It raises ValueError for what lies beyond the file's end, which gguf's own takes as empty, and
    for more than any model holds.
    """
    import gguf
    import numpy as np

    class BulkReader(gguf.GGUFReader):
        def _get(self, offset: int, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError(f"cut short, or {int(count):,} values promised at {offset:,}")
            return super()._get(offset, dtype, count, override_order)

        def _build_fields(self, offs: int, count: Any) -> Any:
            _require_fewer(count, MOST_ENTRIES, "keys")
            if self.byte_order != "I":
                raise ValueError("written for machines of the other byte order")
            return super()._build_fields(offs, count)

        def _build_tensor_info(self, offs: int, count: Any) -> Any:
            _require_fewer(count, MOST_ENTRIES, "tensors")
            return super()._build_tensor_info(offs, count)

        def _get_field_parts(self, orig_offs: int, raw_type: int) -> Any:
            if raw_type == gguf.GGUFValueType.ARRAY:
                return _array_parts(self, orig_offs)
            return super()._get_field_parts(orig_offs, raw_type)

    return BulkReader


def _require_fewer(count: Any, most: int, what: str) -> None:
    if count > most:
        raise ValueError(f"{int(count):,} {what}, more than any model has")


def _array_parts(reader: Any, start: int) -> Any:
    """Size, parts, data positions and types as gguf's reader returns them."""
    import gguf
    import numpy as np

    data: Any = np.asarray(reader.data)
    kind, count = struct.unpack_from("<IQ", data, start)
    _require_fewer(count, MOST_VALUES, "values in one list")
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
        raise ValueError("a list of lists")
    values = reader._get(offset, scalar, count)
    end = offset + values.nbytes
    parts += [values[index : index + 1] for index in range(count)]
    return end - start, parts, list(range(2, 2 + count)), kinds
