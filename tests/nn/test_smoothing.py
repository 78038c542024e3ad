"""Where channels may be scaled, and that the model computes the same afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.nn.family import layers_of
from compress.nn.fusion import fuse_embeddings, fuse_layers
from compress.nn.layers import LowRankLinear, MaskedLinear
from compress.nn.smoothing import Pair, read_after_relu, scalable_pairs, scale_between
from compress.nn.structure import replace_module
from compress.nn.surgery import change_activation, drop_attention, drop_ffn, keep_heads, keep_neurons


def answer(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return model(**batch).logits


def factorize(model: PreTrainedModel, path: str) -> None:
    """A product of rank 6 in place of a whole one."""
    module = model.get_submodule(path)
    assert isinstance(module, nn.Linear)
    draw = torch.Generator().manual_seed(len(path))
    up, down = (torch.randn(shape, generator=draw) / 8 for shape in ((module.out_features, 6), (6, module.in_features)))
    replace_module(model, path, LowRankLinear.of(up, down, module.bias.detach()))


def varied(model: PreTrainedModel, *, cut: bool, factors: bool) -> PreTrainedModel:
    """With ReLU; `cut`: fewer heads and neurons, two blocks gone; `factors`: products in two, of every kind."""
    change_activation(model, "relu")
    draw = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.bias.data.normal_(generator=draw)
    if cut:
        keep_heads(model, layers_of(model)[0], torch.tensor([0, 2, 3]))
        keep_neurons(model, layers_of(model)[3], torch.arange(0, 64, 4))
        drop_attention(model, layers_of(model)[1])
        drop_ffn(model, layers_of(model)[2])
    if factors:
        for number, parts in ((0, ("query", "value", "ffn_out")), (3, ("attention_output", "ffn_in"))):
            for part in parts:
                factorize(model, layers_of(model)[number].path_of(part))
    return model


@pytest.mark.parametrize("form", ["plain", "fused", "first token"])
@pytest.mark.parametrize(("cut", "factors"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_function_stays_the_same(
    first_token_type: str, cut: bool, factors: bool, form: str, make_model: Callable, batch: dict[str, Tensor]
) -> None:
    model = varied(make_model(first_token_type), cut=cut, factors=factors)
    if form != "plain":
        fuse_layers(model, first_token=form == "first token")
        fuse_embeddings(model, types=False)
    before = answer(model, batch)
    pairs, others = scalable_pairs(model)
    assert len(pairs) == 8 - 2 * cut + 5 * factors
    assert others == []
    draw = torch.Generator().manual_seed(0)
    for pair in pairs:
        weight = model.get_submodule(pair.consumer).weight.detach().clone()
        scale_between(model, pair, torch.rand(weight.shape[1], generator=draw) * 4 + 0.1)
        assert not torch.equal(model.get_submodule(pair.consumer).weight, weight)
    torch.testing.assert_close(answer(model, batch), before, atol=1e-5, rtol=1e-5)


def test_where_channels_may_be_scaled(make_model: Callable) -> None:
    model = make_model(layers=2)
    change_activation(model, "relu")
    paths = [layer.path_of for layer in layers_of(model)]
    factorize(model, paths[1]("ffn_out"))
    expected = [
        Pair(paths[0]("value"), paths[0]("attention_output")),
        Pair(paths[0]("ffn_in"), paths[0]("ffn_out")),
        Pair(paths[1]("value"), paths[1]("attention_output")),
        Pair(paths[1]("ffn_in"), f"{paths[1]('ffn_out')}.down"),
        Pair(f"{paths[1]('ffn_out')}.down", f"{paths[1]('ffn_out')}.up"),
    ]
    assert scalable_pairs(model) == (expected, [])
    assert read_after_relu(model) == [expected[1].consumer, expected[3].consumer]
    fuse_layers(model, first_token=True)
    layer = "bert.encoder.layer"
    assert scalable_pairs(model)[0] == [
        Pair(f"{layer}.0.query_key_value", f"{layer}.0.attention_output"),
        Pair(f"{layer}.0.ffn_in", f"{layer}.0.ffn_out"),
        Pair(f"{layer}.1.key_value", f"{layer}.1.attention_output"),
        Pair(f"{layer}.1.ffn_in", f"{layer}.1.ffn_out.down"),
        Pair(f"{layer}.1.ffn_out.down", f"{layer}.1.ffn_out.up"),
    ]


@pytest.mark.parametrize("fused", [False, True])
def test_no_factor_passes_gelu(plain_type: str, fused: bool, make_model: Callable) -> None:
    model = make_model(plain_type, layers=2)
    expected = [layer.path_of("ffn_out") for layer in layers_of(model)]
    if fused:
        expected = [f"{layer.path}.ffn_out" for layer in layers_of(model)]
        fuse_layers(model, first_token=True)
    pairs, others = scalable_pairs(model)
    assert len(pairs) == 2
    assert others == expected
    assert read_after_relu(model) == []


def test_by_hand() -> None:
    model = nn.ModuleDict({"three": nn.Linear(1, 3), "reads": nn.Linear(2, 2)})
    three, reads = model["three"], model["reads"]
    with torch.no_grad():
        three.weight.copy_(torch.tensor([[8.0], [8.0], [9.0]]))
        three.bias.copy_(torch.tensor([2.0, 4.0, 6.0]))
        reads.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        reads.bias.fill_(7.0)
    scale_between(model, Pair("three", "reads"), torch.tensor([2.0, 3.0]))
    # The first output is read by something else.
    assert three.weight.flatten().tolist() == [8.0, 4.0, 3.0]
    assert three.bias.tolist() == [2.0, 2.0, 2.0]
    assert reads.weight.tolist() == [[2.0, 6.0], [6.0, 12.0]]
    assert reads.bias.tolist() == [7.0, 7.0]


def test_pruned_weights_stay_zero(make_model: Callable) -> None:
    model = make_model(layers=1)
    layer = layers_of(model)[0]
    for part in ("value", "attention_output"):
        module = layer.part(part)
        replace_module(model, layer.path_of(part), MaskedLinear.of(module, module.weight > 0))
    zeros = {part: layer.weight(part) == 0 for part in ("value", "attention_output")}
    (pair,) = scalable_pairs(model)[0]
    scale_between(model, pair, torch.arange(1.0, 33.0))
    assert all(torch.equal(layer.weight(part) == 0, where) for part, where in zeros.items())
