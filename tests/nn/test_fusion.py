"""What of a model is rewritten, and what cannot be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.errors import InputError
from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import base_of, layers_of
from compress.nn.fusion import fuse_embeddings, fuse_layers, fused_sizes
from compress.nn.layers import FusedEmbeddings, LowRankEmbedding, LowRankLinear
from compress.nn.layers.fused_layer import ACTIVATIONS, FusedLayerSizes
from compress.nn.structure import replace_module
from compress.nn.surgery import keep_heads
from compress.nn.vocabulary import factorize_word_embeddings


def test_the_sizes_of_a_layer(fusable_type: str, make_model: Callable) -> None:
    model = make_model(fusable_type)
    keep_heads(model, layers_of(model)[1], torch.tensor([0, 2, 3]))
    expected = FusedLayerSizes(
        hidden=32,
        heads=3,
        head_size=8,
        neurons=64,
        activation=ACTIVATIONS.index("gelu"),
        epsilon_exponent=6 if fusable_type == "dinov2" else 12,
        first_token=0,
        separate=0,
        pre_norm=int(fusable_type in ("vit", "deit", "dinov2")),
    )
    assert fused_sizes(model, layers_of(model)[1]) == expected
    assert fused_sizes(model, layers_of(model)[1], activation="relu").activation == ACTIVATIONS.index("relu")


def test_query_key_and_value_are_stacked_and_the_query_scaled(fusable_type: str, make_model: Callable) -> None:
    model = make_model(fusable_type)
    before = [copy.deepcopy(layer) for layer in layers_of(model)]
    fuse_layers(model, first_token=True)
    scale = 8**-0.5
    first, last = layers_of(model)[0].module, layers_of(model)[-1].module
    query, key, value = (before[0].weight(part) for part in ("query", "key", "value"))
    assert torch.equal(first.query_key_value.weight, torch.cat([query * scale, key, value]))
    query, key, value = (before[-1].weight(part) for part in ("query", "key", "value"))
    assert torch.equal(last.query.weight, query * scale)
    assert torch.equal(last.key_value.weight, torch.cat([key, value]))
    assert [layer.module.sizes.first_token for layer in layers_of(model)] == [0, 0, 0, 1]


def test_products_without_a_bias_are_fused_where_one_was_factorized(make_model: Callable, tmp_path: Path) -> None:
    model = make_model("vit")
    for layer in layers_of(model):
        for part in ("query", "key", "value"):
            layer.part(part).bias = None
        value = layer.part("value")
        replace_module(model, layer.path_of("value"), LowRankLinear.of(torch.eye(32), value.weight.detach(), None))
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(pixel_values=pixels).logits
        fuse_layers(model, first_token=True)
        torch.testing.assert_close(model(pixel_values=pixels).logits, before, rtol=1e-5, atol=1e-6)
        save_model(model, tmp_path)
        assert torch.equal(load_model(tmp_path)(pixel_values=pixels).logits, model(pixel_values=pixels).logits)


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta"])
def test_positions_that_depend_on_the_tokens_stay(model_type: str, make_model: Callable) -> None:
    model = make_model(model_type)
    before = copy.deepcopy(model.state_dict())
    kind = type(base_of(model).embeddings)
    assert fuse_embeddings(model, types=False) is False
    assert type(base_of(model).embeddings) is kind is not FusedEmbeddings
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_embeddings_become_words_and_positions(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(model_type)
    source = copy.deepcopy(base_of(model).embeddings)
    assert fuse_embeddings(model, types=False) is True
    fused = base_of(model).embeddings
    assert isinstance(fused, FusedEmbeddings)
    # Only BERT's tokens have a type.
    positions = source.position_embeddings.weight
    if model_type == "bert":
        positions = positions + source.token_type_embeddings.weight[0]
    assert torch.equal(fused.positions.weight, positions)
    torch.testing.assert_close(fused(batch["input_ids"]), source(batch["input_ids"]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("model_type", ["bert", "electra"])
def test_embeddings_that_are_told_of_types_keep_them(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = make_model(model_type)
    types = torch.tensor([[0] * 4 + [1] * 5, [0, 0, 1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0]])
    with torch.no_grad():
        base_of(model).embeddings.token_type_embeddings.weight.mul_(50)
        before = model(**batch, token_type_ids=types).logits
        assert fuse_embeddings(model, types=True) is True
        found = model(**batch, token_type_ids=types).logits
        torch.testing.assert_close(found, before, atol=1e-5, rtol=1e-4)
        assert (model(**batch).logits - before).abs().max() > 1e-3
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path)(**batch, token_type_ids=types).logits, found)


@pytest.mark.parametrize("model_type", ["bert", "distilbert"])
def test_factorized_words_stay_factorized(
    model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]
) -> None:
    model = make_model(model_type)
    factorize_word_embeddings(model, torch.randn(34, 3), torch.randn(32, 3))
    source = copy.deepcopy(base_of(model.eval()).embeddings)
    assert fuse_embeddings(model, types=False) is True
    words = model.get_input_embeddings()
    assert isinstance(words, LowRankEmbedding) and words.rank == 3
    expected = source(batch["input_ids"])
    torch.testing.assert_close(base_of(model).embeddings(batch["input_ids"]), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("epsilon", [3e-6, 2e-12, 0.5])
def test_an_epsilon_that_is_no_power_of_ten_is_refused(make_model: Callable, epsilon: float) -> None:
    model = make_model()
    norm = layers_of(model)[0].part("attention_norm")
    assert isinstance(norm, nn.LayerNorm)
    norm.eps = epsilon
    with pytest.raises(InputError, match=f"layer_norm_eps is {epsilon}; only powers of ten can be fused"):
        fused_sizes(model, layers_of(model)[0])
    base_of(model).embeddings.LayerNorm.eps = epsilon
    with pytest.raises(InputError, match="only powers of ten"):
        fuse_embeddings(model, types=False)


@pytest.mark.parametrize("exponent", [5, 6, 12])
def test_a_power_of_ten_is_kept(make_model: Callable, exponent: int) -> None:
    model = make_model()
    for layer in layers_of(model):
        for part in ("attention_norm", "ffn_norm"):
            layer.part(part).eps = float(f"1e-{exponent}")
    fuse_layers(model, first_token=False)
    for layer in layers_of(model):
        assert layer.module.sizes.epsilon_exponent == exponent
        built = type(layer.module).build(layer.module.sizes_of(layer.module))
        assert built.attention_norm.eps == pytest.approx(10.0**-exponent, rel=1e-12)


def test_an_activation_without_a_number_is_refused(make_model: Callable) -> None:
    model = make_model()
    with pytest.raises(InputError, match=r"activation is 'mish'; layers with gelu, relu.*Leave fuse out of order"):
        fused_sizes(model, layers_of(model)[0], activation="mish")
