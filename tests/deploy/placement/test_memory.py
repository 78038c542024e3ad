"""Bytes of a tiny model, by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.deploy.placement.memory import activation_bytes, needs_of, weight_bytes
from compress.deploy.placement.problem import Needs

# Of a layer: queries and their output 32 x 32, keys and values 16 x 32, three products of 64 x 32; two norms of 32.
MATRICES, VECTORS = 2 * 1024 + 2 * 512 + 3 * 2048, 64


def tiny(*, tied: bool = True, model_type: str = "llama", **more: object) -> PreTrainedModel:
    sizes = {
        "vocab_size": 34,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "tie_word_embeddings": tied,
    }
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **sizes, **more))


# In blocks of 32 weights: 34 bytes with 8 bits, 18 with 4. The head is as large as the embeddings, and a norm of 32.
BY_HAND = {
    32: (MATRICES * 4 + VECTORS * 4, 34 * 32 * 4, 32 * 4, 4),
    16: (MATRICES * 2 + VECTORS * 2, 34 * 32 * 2, 32 * 2, 2),
    8: (MATRICES // 32 * 34 + VECTORS * 4, 34 * 34, 32 * 4, 2),
    # A row of the table has eight bits.
    4: (MATRICES // 32 * 18 + VECTORS * 4, 34 * 34, 32 * 4, 2),
}


@pytest.mark.parametrize("bits", BY_HAND)
def test_what_a_tiny_model_needs(bits: int) -> None:
    block, table, norm, each = BY_HAND[bits]
    assert needs_of(tiny(), bits=bits, context=100) == Needs(
        embeddings=table,
        blocks=(block, block),
        # A hundred keys and values of two heads of eight.
        caches=(100 * 32 * each,) * 2,
        head=table + norm,
        shared=table,
        # Two hidden states, and what is larger: four more, or gate and up.
        activations=100 * each * (2 * 32 + 128),
    )


def test_a_head_of_its_own_shares_nothing() -> None:
    needs = needs_of(tiny(tied=False), bits=32, context=1)
    assert needs.shared == 0 and needs.head == 34 * 32 * 4 + 32 * 4
    assert needs.total == needs_of(tiny(), bits=32, context=1).total + 34 * 32 * 4


def test_a_layer_with_a_window_keeps_what_is_in_it() -> None:
    model = tiny(model_type="qwen2", use_sliding_window=True, sliding_window=10, max_window_layers=1)
    assert needs_of(model, bits=32, context=100).caches == (100 * 32 * 4, 10 * 32 * 4)
    assert needs_of(model, bits=32, context=5).caches == (5 * 32 * 4, 5 * 32 * 4)


def test_rows_that_are_no_whole_blocks_are_filled_up_and_integers_stay() -> None:
    # 33 weights of a row are two blocks.
    assert weight_bytes([torch.zeros(5, 33)], 8) == 5 * 2 * 34
    assert weight_bytes([torch.zeros(5, 33, dtype=torch.int8), torch.zeros(5, 2, dtype=torch.float16)], 4) == 165 + 20


def test_wide_layers_need_room_for_their_neurons() -> None:
    assert activation_bytes(10, 4, 100, 2) == 2 * 10 * (8 + 100)
    assert activation_bytes(10, 4, 10, 2) == 2 * 10 * (8 + 16)
