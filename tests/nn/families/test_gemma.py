"""Gemma 3: what is looked up is multiplied, and each block is normalised twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.methods.training.refit import require_refittable
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.family import layers_of
from compress.nn.layers import Int4Embedding, Int8Embedding
from compress.nn.layers.embedding import rows_as_read
from compress.nn.structure import replace_module
from compress.nn.surgery import drop_attention, drop_ffn, keep_layers
from compress.nn.vocabulary import factorize_word_embeddings, keep_tokens, word_embeddings


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Four layers, of which the second and the fourth see all tokens before them."""
    return make_model("gemma3_text")


@pytest.fixture
def words() -> dict[str, Tensor]:
    """Two rows of 9 and 5 tokens."""
    mask = (torch.arange(9) < torch.tensor([9, 5])[:, None]).long()
    ids = torch.randint(4, 34, (2, 9), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


def test_a_table_as_it_is_read(model: PreTrainedModel) -> None:
    table = word_embeddings(model)
    torch.testing.assert_close(rows_as_read(table), table.weight.detach() * 32**0.5)
    keep_tokens(model, [0, 1, 2, 3, 9])
    assert word_embeddings(model) is table
    torch.testing.assert_close(rows_as_read(table), table.weight.detach() * 32**0.5)
    plain = torch.nn.Embedding(5, 4)
    assert torch.equal(rows_as_read(plain), plain.weight)


@pytest.mark.parametrize(("kind", "error"), [(Int8Embedding, 1 / 127), (Int4Embedding, 1 / 7)])
def test_a_quantized_table_gives_what_was_read(kind: type, error: float, model: PreTrainedModel) -> None:
    table = word_embeddings(model)
    read = rows_as_read(table)
    found = kind.of(table)(torch.arange(34))
    assert (found - read).abs().max() <= read.abs().max() * error


def test_a_factorized_table_gives_what_was_read(model: PreTrainedModel, words: dict, tmp_path: Path) -> None:
    before, read = logits(model, words), rows_as_read(word_embeddings(model))
    up, singular, down = torch.linalg.svd(read, full_matrices=False)
    factorize_word_embeddings(model, up * singular, down.T)
    torch.testing.assert_close(logits(model, words), before, rtol=1e-4, atol=1e-6)
    save_model(settle(model), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(model, words))


def test_a_quantized_table_is_saved_and_read(model: PreTrainedModel, words: dict, tmp_path: Path) -> None:
    replace_module(model, "model.embed_tokens", Int8Embedding.of(word_embeddings(model)))
    save_model(settle(model), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(model, words))


def test_a_layer_keeps_the_window_it_has(model: PreTrainedModel) -> None:
    full, window = "full_attention", "sliding_attention"
    assert model.config.layer_types == [window, full] * 2
    keep_layers(model, [0, 1, 3])
    assert model.config.layer_types == [window, full, full]
    assert [layer.part("attention").sliding_window for layer in layers_of(model)] == [3, None, None]


def test_without_its_blocks_a_layer_gives_what_it_was_given(model: PreTrainedModel, words: dict) -> None:
    drop_attention(model, layers_of(model)[1])
    drop_ffn(model, layers_of(model)[1])
    states = model(**words, output_hidden_states=True).hidden_states
    assert torch.equal(states[2], states[1])


def test_a_refit_is_refused(model: PreTrainedModel) -> None:
    message = r"stages.prune.refit: a gemma3_text model cannot be refitted in closed form, .* Set refit=false"
    with pytest.raises(InputError, match=message):
        require_refittable(model, "stages.prune.refit")
