"""Merging an adapter: ours, streamed, against peft's merge_and_unload, in turn.

    python benchmarks/merging.py                 # a random Llama of 1.5 billion parameters
    python benchmarks/merging.py --model FOLDER  # a model of yours

Each merge runs in a process of its own, from files to files in bf16, and reports seconds from the
start of the merge (imports not counted) and its peak resident memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

SHARD_SIZE = "2GB"
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    arguments = _arguments()
    if arguments.one:
        _report_one(arguments.one, arguments.model, arguments.adapter, arguments.output)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        base, adapter = arguments.model, Path(scratch) / "adapter"
        if base is None:
            base = Path(scratch) / "base"
            _make_base(base)
        _make_adapter(base, adapter)
        _compare(base, adapter, Path(scratch) / "merged", arguments.pairs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of the base model")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--scratch", type=Path, help="where the files go (about 10 GB)")
    parser.add_argument("--one", choices=sorted(MERGES), help=argparse.SUPPRESS)
    parser.add_argument("--adapter", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _make_base(folder: Path) -> None:
    """A Llama of 1.54 billion parameters in bf16, in two shards."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64000,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=29,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    print(f"base: {sum(p.numel() for p in model.parameters()):,} parameters, bf16")
    model.save_pretrained(folder, max_shard_size=SHARD_SIZE)


def _make_adapter(base: Path, folder: Path) -> None:
    """A rank 8 adapter over all linear layers, with factors that are not zero."""
    import peft
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            AutoConfig.from_pretrained(base)
        )
        adapted = peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=8, lora_alpha=16, target_modules=TARGETS, task_type=peft.TaskType.CAUSAL_LM
            ),
        )
    factors = {
        name: torch.randn(parameter.shape) * 0.02
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad
    }
    adapted.save_pretrained(str(folder), state_dict=factors)


def _with_ours(base: Path, adapter: Path, output: Path) -> Callable[[], None]:
    import torch  # noqa: F401 (imported before the clock starts, as for peft)

    from matinee.export.merging import merge

    return lambda: print(merge(base, adapter, output, SHARD_SIZE), file=sys.stderr)


def _with_peft(base: Path, adapter: Path, output: Path) -> Callable[[], None]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def work() -> None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        merged.save_pretrained(output, max_shard_size=SHARD_SIZE)

    return work


MERGES = {"ours": _with_ours, "peft": _with_peft}


def _report_one(name: str, base: Path, adapter: Path, output: Path) -> None:
    work = MERGES[name](base, adapter, output)
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": _peak_bytes() / 1e6}))


def _peak_bytes() -> int:
    """The largest resident set of this process (Linux).

    Not getrusage: a program started by a large process inherits that one's maximum there.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _compare(base: Path, adapter: Path, output: Path, pairs: int) -> None:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MERGES}
    for number in range(pairs):
        # Whoever goes second finds the files in the page cache: take turns.
        for name in sorted(MERGES, reverse=number % 2 == 1):
            command = [sys.executable, __file__, "--one", name, "--model", str(base)]
            command += ["--adapter", str(adapter), "--output", str(output)]
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[name].append(json.loads(run.stdout.splitlines()[-1]))
            for file in output.iterdir():
                file.unlink()
            print(f"{name}: {found[name][-1]}", flush=True)
    for measure in ("seconds", "peak_mb"):
        ours, theirs = (
            statistics.median(entry[measure] for entry in found[name]) for name in ("ours", "peft")
        )
        print(f"median {measure}: ours {ours:.1f}, peft {theirs:.1f}, ratio {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
