from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from compress.core.errors import InputError
from compress.nn.layers import LowRankEmbedding
from compress.nn.vocabulary import (
    factorize_word_embeddings,
    keep_tokens,
    named_tokens,
    require_only_read,
    require_trimmable,
    word_embeddings,
)

KEPT = [0, 1, 2, 3, 5, 8, 9, 20, 33]


@torch.no_grad()
def test_kept_tokens_mean_what_they_meant(text_type: str, make_model: Callable) -> None:
    model, trimmed = make_model(text_type), make_model(text_type)
    keep_tokens(trimmed, KEPT)
    places = torch.tensor([[2, 4, 5, 8, 3], [2, 7, 3, 0, 0]])
    mask = (places != 0).long()
    expected = model(input_ids=torch.tensor(KEPT)[places], attention_mask=mask).logits
    assert torch.equal(trimmed(input_ids=places, attention_mask=mask).logits, expected)
    assert torch.equal(word_embeddings(trimmed).weight, word_embeddings(model).weight[KEPT])
    assert word_embeddings(trimmed).weight.requires_grad
    assert trimmed.config.vocab_size == 9
    width = word_embeddings(model).embedding_dim
    left = sum(value.numel() for value in trimmed.parameters())
    assert sum(value.numel() for value in model.parameters()) - left == 25 * width


@torch.no_grad()
def test_the_table_of_factorized_embeddings_is_trimmed(text_type: str, make_model: Callable) -> None:
    model = make_model(text_type)
    up = torch.eye(word_embeddings(model).embedding_dim)[:, :3]
    factorize_word_embeddings(model, word_embeddings(model).weight[:, :3], up)
    trimmed = copy.deepcopy(model)
    keep_tokens(trimmed, KEPT)
    assert word_embeddings(trimmed).weight.shape == (9, 3)
    assert trimmed.config.vocab_size == trimmed.get_input_embeddings().num_embeddings == 9
    words = trimmed.get_input_embeddings()
    assert isinstance(words, LowRankEmbedding) and torch.equal(words.up.weight, up)
    places = torch.tensor([[2, 4, 5, 8, 3], [2, 7, 3, 0, 0]])
    mask = (places != 0).long()
    expected = model(input_ids=torch.tensor(KEPT)[places], attention_mask=mask).logits
    assert torch.equal(trimmed(input_ids=places, attention_mask=mask).logits, expected)


def test_the_configuration_follows(make_model: Callable) -> None:
    model = make_model("roberta")
    model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id = 0, 8, 7
    assert named_tokens(model.config, 34) == {0, 7, 8}
    assert named_tokens(model.config, 8) == {0, 7}
    keep_tokens(model, KEPT)
    assert (model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id) == (0, 5, None)
    assert word_embeddings(model).padding_idx == 0


def test_a_model_of_images_has_no_words(make_model: Callable) -> None:
    for use in (require_only_read, word_embeddings, lambda model: keep_tokens(model, KEPT)):
        with pytest.raises(InputError, match="a ViTForImageClassification, which reads no tokens and has no word"):
            use(make_model("vit"))


def test_a_model_that_writes_tokens_is_refused(make_model: Callable) -> None:
    require_only_read(make_model())
    config = AutoConfig.for_model("bert", vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(InputError, match="a BertForMaskedLM, which also writes tokens"):
        require_only_read(AutoModelForMaskedLM.from_config(config))


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3", "gemma3_text"])
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_a_head_writes_kept_tokens_as_before(model_type: str, tied: bool, make_decoder: Callable) -> None:
    settings = {"tie_word_embeddings": tied, "eos_token_id": [8, 33], "bos_token_id": 2, "pad_token_id": 0}
    model, trimmed = make_decoder(model_type, **settings), make_decoder(model_type, **settings)
    assert named_tokens(model.config, 34) == {0, 2, 8, 33}
    keep_tokens(trimmed, KEPT)
    places = torch.tensor([[2, 4, 5, 8, 3]])
    expected = model(input_ids=torch.tensor(KEPT)[places]).logits[..., KEPT]
    assert torch.allclose(trimmed(input_ids=places).logits, expected, atol=1e-6)
    head, words = trimmed.get_output_embeddings(), word_embeddings(trimmed)
    assert head.weight.shape == words.weight.shape == (9, 32) and head.out_features == 9
    assert (head.weight is words.weight) == tied
    assert (trimmed.config.eos_token_id, trimmed.config.bos_token_id, trimmed.config.vocab_size) == ([5, 8], 2, 9)


def test_a_head_of_another_kind_is_refused(make_decoder: Callable) -> None:
    model = make_decoder()
    require_trimmable(model)
    model.set_output_embeddings(type("OtherHead", (torch.nn.Linear,), {})(32, 34, bias=False))
    with pytest.raises(InputError, match=r"the model's head is a OtherHead, of which no rows are cut"):
        keep_tokens(model, KEPT)
