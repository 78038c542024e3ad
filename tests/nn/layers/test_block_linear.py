"""Layers in blocks: what they store, what they compute, and the bytes that it takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn, tensor
from torch.nn import functional

from compress.nn.layers import Int4BlockLinear, Int8BlockLinear
from compress.nn.ops.blocks import dequantize_blocks, quantize_blocks

KINDS = [Int8BlockLinear, Int4BlockLinear]


def test_by_hand() -> None:
    dense = nn.Linear(3, 2)
    with torch.no_grad():
        dense.weight.copy_(tensor([[4.0, 1.1, -0.3], [0.0, 0.0, 0.0]]))
        dense.bias.copy_(tensor([10.0, 20.0]))
    layer = Int4BlockLinear.of(dense)
    # -8, -2 and 1 of -0.5: 4, 1 and -0.5. Two's complement: 8, 14, 1; the rows run on into each other.
    assert layer.values.tolist() == [[-8, -2, 1], [0, 0, 0]]
    assert layer.weight_blocks.tolist() == [0xE8, 0x01, 0x00]
    assert layer.weight.tolist() == [[4, 1, -0.5], [0, 0, 0]]
    assert layer(tensor([[1.0, 2.0, 4.0]])).tolist() == [[14, 20]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_computes_with_what_the_integers_stand_for(kind: type[Int8BlockLinear], bias: bool) -> None:
    torch.manual_seed(0)
    dense = nn.Linear(70, 9, bias=bias)
    layer, inputs = kind.of(dense), torch.randn(2, 5, 70)
    weight = dequantize_blocks(*quantize_blocks(dense.weight.detach(), kind.bits))
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer(inputs), functional.linear(inputs, weight, dense.bias))


@pytest.mark.parametrize(("kind", "bits"), [(Int8BlockLinear, 8.5), (Int4BlockLinear, 4.5)])
def test_bits_a_weight(kind: type[Int8BlockLinear], bits: float) -> None:
    layer = kind.of(nn.Linear(384, 64, bias=False))
    assert 8 * sum(value.numel() * value.element_size() for value in layer.state_dict().values()) == bits * 384 * 64
    assert not list(layer.parameters())
