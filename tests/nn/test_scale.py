"""What multiplies a block's output channel by channel, and the projection that takes it over."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from compress.nn.family import layers_of
from compress.nn.layers import LowRankLinear
from compress.nn.scale import fold_scales
from compress.nn.structure import replace_module
from compress.nn.surgery import drop_attention


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Of four layers, whose scales are of either sign, and some of them 0."""
    found = make_model("dinov2")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in layers_of(found):
            for part in ("attention_output", "ffn_out"):
                scale = layer.scale(part)
                assert scale is not None
                scale.normal_(generator=draw)[3] = 0
    return found


@torch.no_grad()
def test_by_hand(model: PreTrainedModel) -> None:
    layer = layers_of(model)[0]
    output, scale = layer.part("ffn_out"), layer.scale("ffn_out")
    assert scale is not None
    output.weight[:2, :2], output.bias[:2] = torch.tensor([[1.0, 3.0], [4.0, -2.0]]), torch.tensor([5.0, 6.0])
    scale[:2] = torch.tensor([2.0, -0.5])
    assert layer.weight("ffn_out")[:2, :2].tolist() == [[2, 6], [-2, 1]]
    fold_scales(model)
    assert output.weight[:2, :2].tolist() == layer.weight("ffn_out")[:2, :2].tolist() == [[2, 6], [-2, 1]]
    assert output.bias[:2].tolist() == [10, -3]
    assert scale.tolist() == [1] * 32


def test_the_function_stays_the_same(model: PreTrainedModel) -> None:
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    drop_attention(model, layers_of(model)[1])
    layer = layers_of(model)[2]
    output = layer.part("ffn_out")
    thin = LowRankLinear.of(torch.eye(32), output.weight.detach(), output.bias.detach())
    replace_module(model, layer.path_of("ffn_out"), thin)
    folded = copy.deepcopy(model)
    fold_scales(folded)
    with torch.no_grad():
        before, after = (found(pixel_values=pixels).logits for found in (model, folded))
    torch.testing.assert_close(after, before)
    assert torch.equal(layers_of(folded)[0].weight("attention_output"), layers_of(model)[0].weight("attention_output"))


def test_without_scales_nothing_changes(make_model: Callable) -> None:
    model = make_model("vit")
    before = copy.deepcopy(model.state_dict())
    fold_scales(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert layers_of(model)[0].scale("ffn_out") is None
