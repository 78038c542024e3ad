"""Weights count by the inputs they really get."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compress.core.errors import InputError
from compress.methods.importance.activation import ActivationMagnitude
from compress.methods.training.calibration import show_examples
from compress.nn.family import layers_of
from compress.nn.scale import fold_scales


@torch.no_grad()
def test_constant_inputs_by_hand(make_model: Callable, make_context: Callable, plain_type: str, notes: list) -> None:
    model = make_model(plain_type, layers=1)
    fold_scales(model)
    layer = layers_of(model)[0]
    for part in ("value", "attention_output", "ffn_in", "ffn_out"):
        layer.part(part).weight.zero_()
        layer.part(part).bias.zero_()
    # Attention mixes equal values: head 1 gives 2 in its first column, of which 3 and 4 are written.
    layer.part("value").bias[8] = 2
    layer.part("attention_output").weight[:2, 8] = torch.tensor([3.0, 4.0])
    # A large number goes through GELU unchanged.
    layer.part("ffn_in").bias[7] = 10
    layer.part("ffn_out").weight[:, 7] = 0.5
    layer.part("ffn_out").weight[:, 8] = 9
    found = ActivationMagnitude(examples=5).of(model, make_context(model))[0]
    torch.testing.assert_close(found.heads, torch.tensor([0, 10, 0, 0], dtype=torch.float64))
    # 10 times the norm of 32 halves; neuron 8 has large weights, and never anything to weigh.
    expected = 10 * (32 * 0.25) ** 0.5
    torch.testing.assert_close(found.neurons, expected * (torch.arange(64) == 7).double())
    torch.testing.assert_close(found.layer, (100 + expected**2) ** 0.5)
    assert notes == ["importance from 5 examples (activation-weighted magnitude)"]


@torch.no_grad()
def test_mean_over_positions(make_model: Callable, make_context: Callable) -> None:
    model, seen = make_model(layers=1), []
    layer, context = layers_of(model)[0], make_context(model)
    show_examples(model, context, {"": layer.part("ffn_out")}, 3, lambda _, inputs: seen.append(inputs))
    # Adding up what each neuron really adds, position by position.
    inputs = torch.cat(seen).double()
    added = inputs[:, :, None] * layer.weight("ffn_out").double().T
    expected = added.pow(2).sum(dim=2).mean(dim=0).sqrt()
    torch.testing.assert_close(ActivationMagnitude(examples=3).of(model, context)[0].neurons, expected)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"importance.examples is 0; it must be a whole number of at least 1"):
        ActivationMagnitude(examples=0)
