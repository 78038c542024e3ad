"""Qwen 2 and 3: Llama's layout; some layers may look at a window of the last tokens only."""

from dataclasses import replace

from compress.nn.families.llama import LLAMA

# The first two of a small model's layers see all tokens before them, those after only the last three.
WINDOWS = {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 2}

QWEN2 = replace(LLAMA, model_type="qwen2", head_size_field=None, layer_lists=("layer_types",), typical=WINDOWS)

# Queries and keys are normalised in each head, all of them by the same weights.
QWEN3 = replace(
    QWEN2,
    model_type="qwen3",
    attention=replace(LLAMA.attention, query_norm="self_attn.q_norm", key_norm="self_attn.k_norm"),
    head_size_field="head_dim",
)

FAMILIES = [QWEN2, QWEN3]
