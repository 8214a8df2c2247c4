"""Every causal language model of the installed transformers, tiny and random: how it is computed.

    python benchmarks/architectures.py [--output FILE.md] [NAME …]

`fast`: our attention, packed rows and shared prompts. `own`: transformers' own attention with
padded rows, one cache per conversation. `rows alone`: one row at a time, because padding changes
it. `not made`: no tiny model could be made of it here, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

# A default that nothing here makes small can be as large as the published model.
SECONDS, MEMORY = 60, 12 * 2**30
SMALL = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    # Experts, latent attention, states.
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_d_state": 8,
    "mamba_d_ssm": 64,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_num_heads": 4,
    "mamba_head_dim": 32,
    "n_groups": 1,
    "ssm_state_size": 8,
    "state_size": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "block_ff_dim": 64,
    "conv_L_cache": 3,
}
STATEFUL = {
    "qwen3_next": ["linear_attention", "full_attention"],
    "qwen3_5_text": ["linear_attention", "full_attention"],
    "qwen3_5_moe_text": ["linear_attention", "full_attention"],
    "lfm2": ["conv", "full_attention"],
    "lfm2_moe": ["conv", "full_attention"],
    "granitemoehybrid": ["mamba", "attention"],
    "nemotron_h": ["linear_attention", "full_attention"],
    "zamba2": ["linear_attention", "hybrid"],
}
# What a type needs besides to be small, or to have both kinds of its layers.
MORE: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 8},
    "gemma3n_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 16}
    | {"vocab_size_per_layer_input": 128, "laurel_rank": 8, "altup_num_inputs": 2}
    | {"activation_sparsity_pattern": [0.0, 0.0]},
    "mamba2": {"num_heads": 4, "head_dim": 32},
    "zamba2": {"adapter_rank": 8, "num_mem_blocks": 1},
    "apertus": {"hidden_act": "silu"},
}

UNTOLD = ("falcon_h1",)  # its layer types cannot be set
OWN_SIZES = {
    "falcon_h1": {"vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 2, "mamba_d_ssm": 64}
    | {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "num_attention_heads": 4}
    | {"num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 64, "mamba_n_groups": 1},
}


def made(kind: str) -> Any:
    """A model of that type with two layers, about 64 wide."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    plain = AutoConfig.for_model(kind)
    known = set(plain.to_dict()) | set(getattr(type(plain), "attribute_map", {}))
    settings: dict[str, Any] = {name: value for name, value in SMALL.items() if name in known}
    if "kv_lora_rank" in known:  # latent attention: as many keys as queries
        settings |= {"qk_rope_head_dim": 16, "num_key_value_heads": 4, "head_dim": 16}
    if kind in STATEFUL:
        settings["layer_types"] = STATEFUL[kind]
    elif (
        getattr(plain, "layer_types", None)
        and kind not in UNTOLD
        and not isinstance(getattr(type(plain), "layer_types", None), property)
        and not isinstance(getattr(type(plain), "layers_block_type", None), property)
    ):
        settings["layer_types"] = (sorted(set(plain.layer_types), reverse=True) * 2)[:2]
    settings |= MORE.get(kind, {})
    torch.manual_seed(0)
    if kind in OWN_SIZES:
        settings = OWN_SIZES[kind]
    model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        AutoConfig.for_model(kind, **settings)
    )
    return model.float().train(False)


def row(kind: str) -> tuple[str, str]:
    """How a type of model is computed, and why not faster."""
    from matinee.engines.slots import lend_slots
    from matinee.models.selfcheck import first_line, padded_problem

    try:
        model = made(kind)
        model(input_ids=model.dummy_inputs["input_ids"] % 64)
    except Exception as error:  # noqa: BLE001 (the reason stands in the table)
        return "not made", first_line(error)[:120]
    problem = lend_slots(model)
    if problem is None:
        return "fast", ""
    return ("rows alone" if padded_problem(model) else "own"), problem[:120]


def apart(kind: str) -> tuple[str, str]:
    """The row of a type, computed in a process of its own that may fail, take long or be large."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        os.write(writer, json.dumps(row(kind)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        found = told.read()
    ended = os.waitpid(child, 0)[1]
    way, why = json.loads(found or '["not made", ""]')
    if not found:
        late = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGXCPU
        why = f"no answer in {SECONDS} s of computing" if late else "its process died"
    return way, why


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    names = arguments.names or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    lines = ["| model type | computed | why |", "| --- | --- | --- |"]
    for name in names:
        way, why = apart(name)
        lines.append(f"| {name} | {way} | {why.replace('|', '/')} |")
        print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
