"""Gemma 3: Qwen 3's layout, a second normalisation after each block, and windows in all but every n-th layer."""

from dataclasses import replace

from compress.nn.block import Decoder
from compress.nn.families.qwen import QWEN3

FAMILIES = [
    replace(
        QWEN3,
        model_type="gemma3_text",
        attention=replace(QWEN3.attention, position="around", after="post_attention_layernorm"),
        ffn=replace(QWEN3.ffn, position="around", norm="pre_feedforward_layernorm", after="post_feedforward_layernorm"),
        decoder=Decoder(rms_offset=1.0, scaled_embeddings=True, angles_by_type=True),
        activation_field="hidden_activation",
        # Every second layer of a small model sees all tokens before it, the others only the last three.
        typical={"sliding_window": 3, "sliding_window_pattern": 2},
    )
]
