"""Parts of a model, one after the other, give what the whole model gives, for a prompt and for what follows it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.nn.family import known_families, layers_of
from compress.nn.layers import Int8BlockEmbedding, TiedBlockHead
from compress.nn.pieces import (
    Part,
    cached_width,
    computed_in,
    is_decoder,
    is_tied,
    pieces_of,
    window_of,
    with_random_weights,
)
from compress.nn.structure import replace_module

DECODERS = sorted(name for name, family in known_families().items() if family.decoder is not None)
PROMPT, NEXT = torch.tensor([[3, 7, 11, 2, 5]]), torch.tensor([[9]])


def tiny(model_type: str = "llama", *, tied: bool = True, device: str = "cpu") -> PreTrainedModel:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 34,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 40,
        "tie_word_embeddings": tied,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(model_type, **(sizes | known_families()[model_type].typical))
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config).eval()


def parts(model: PreTrainedModel) -> list[Part]:
    """Embeddings alone; the first layer; all the others with the head."""
    cuts = (((), True, False), ((0,), False, False), ((1, 2, 3), False, True))
    return [Part(copy.deepcopy(model), blocks, embeddings=embeddings, head=head) for blocks, embeddings, head in cuts]


@torch.inference_mode()
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("model_type", DECODERS)
def test_parts_give_what_the_whole_gives(model_type: str, tied: bool) -> None:
    model = tiny(model_type, tied=tied)
    split = parts(model)
    whole = model(input_ids=PROMPT, use_cache=True)
    expected = [whole.logits[:, -1:], model(input_ids=NEXT, past_key_values=whole.past_key_values).logits]
    # Two texts in turns, each with what was kept of it.
    for text in (0, 1):
        for tokens, logits in zip((PROMPT, NEXT), expected, strict=True):
            values = tokens
            for part in split:
                values = part(values, text)
            torch.testing.assert_close(values, logits, atol=1e-5, rtol=1e-5)
    # What was forgotten begins anew.
    values = PROMPT
    for part in split:
        part.forget()
        values = part(values, 0)
    torch.testing.assert_close(values, expected[0], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_head_that_reads_the_embeddings_integers_has_them_wherever_it_is() -> None:
    model = tiny()
    table = Int8BlockEmbedding.of(model.get_input_embeddings())
    replace_module(model, "model.embed_tokens", table)
    replace_module(model, "lm_head", TiedBlockHead(32, 34).read(table))
    expected = model(input_ids=PROMPT).logits[:, -1:]
    values = PROMPT
    for part in parts(model):
        values = part(values)
    # The head alone holds a table, which is moved with it.
    assert {tuple(one.shape) for one in parts(model)[2].buffers()} >= {(34, 32)}
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-5)


def test_what_a_decoder_is_made_of() -> None:
    model = tiny()
    found = pieces_of(model)
    assert found.embeddings == "model.embed_tokens" and found.head == ("model.norm", "lm_head")
    assert found.blocks == tuple(f"model.layers.{number}" for number in range(4))
    assert found.beside == ("model.rotary_emb",)
    assert is_decoder(model) and is_tied(model) and not is_tied(tiny(tied=False))
    # Two heads of keys and two of values, each of eight numbers.
    assert [cached_width(layer) for layer in layers_of(model)] == [32] * 4


def test_layers_with_a_window_keep_no_more() -> None:
    model = tiny("qwen2")
    assert [window_of(layer, number) for number, layer in enumerate(layers_of(model))] == [None, None, 3, 3]
    assert [window_of(layer, number) for number, layer in enumerate(layers_of(tiny()))] == [None] * 4


@torch.inference_mode()
@pytest.mark.parametrize("model_type", DECODERS)
def test_a_part_of_a_model_without_weights_can_be_filled_and_called(model_type: str) -> None:
    model = tiny(model_type, device="meta")
    whole = Part(copy.deepcopy(model), (0, 3), embeddings=True, head=True)
    with_random_weights(whole, torch.device("cpu"), torch.bfloat16)
    assert {tensor.device.type for tensor in (*whole.parameters(), *whole.buffers())} == {"cpu"}
    logits = whole(PROMPT)
    assert logits.shape == (1, 1, 34) and logits.dtype == torch.bfloat16 and bool(torch.isfinite(logits).all())
    assert whole.head.weight is whole.words.weight  # type: ignore[union-attr]
    assert next(model.parameters()).device.type == "meta"


def test_integers_are_computed_with_in_full_precision() -> None:
    model = tiny()
    assert (computed_in(model, 16), computed_in(model, 8)) == (torch.bfloat16, torch.float32)
    replace_module(model, "model.embed_tokens", Int8BlockEmbedding.of(model.get_input_embeddings()))
    assert computed_in(model, 16) == torch.float32
