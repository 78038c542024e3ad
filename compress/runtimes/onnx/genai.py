"""What ONNX Runtime GenAI reads beside a decoder's graph: which inputs keys and values have, and where a text ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.core.signature import Decoding

FILE = "genai_config.json"


def genai_config(
    config: Any, *, heads: Sequence[int], shared: Sequence[int], head_size: int, context: int, decoding: Decoding
) -> dict[str, Any] | None:
    """The contents of `genai_config.json`; None where that library has no words for the model: layers that keep
    different numbers of keys, or a text without a token for its end.

    config: the model's. heads, shared: of each layer that attends, the heads of its queries, and its keys and values.
    context: the most tokens that a request may have in all.
    """
    end = config.eos_token_id
    if end is None or len(set(shared)) != 1:
        return None
    first_end = end[0] if isinstance(end, list) else end
    state, present = decoding.state, decoding.present
    return {
        "model": {
            "type": config.model_type,
            "bos_token_id": first_end if config.bos_token_id is None else config.bos_token_id,
            "eos_token_id": end,
            "pad_token_id": first_end if config.pad_token_id is None else config.pad_token_id,
            "context_length": context,
            "vocab_size": config.vocab_size,
            "decoder": {
                "session_options": {"provider_options": []},
                "filename": "model.onnx",
                "hidden_size": config.hidden_size,
                "head_size": head_size,
                "num_hidden_layers": len(shared),
                "num_attention_heads": max(heads),
                "num_key_value_heads": shared[0],
                "inputs": {
                    "input_ids": "input_ids",
                    "attention_mask": "attention_mask",
                    "past_key_names": f"{state}.%d.key",
                    "past_value_names": f"{state}.%d.value",
                },
                "outputs": {
                    "logits": "logits",
                    "present_key_names": f"{present}.%d.key",
                    "present_value_names": f"{present}.%d.value",
                },
            },
        },
        "search": {"do_sample": False, "max_length": context, "past_present_share_buffer": True},
    }
