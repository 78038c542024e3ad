"""Twins make each other dispensable, but not both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compress.core.errors import InputError
from compress.methods.importance.reconstruction import Reconstruction
from compress.nn.family import layers_of
from compress.nn.ops.masks import strongest


def test_one_of_two_twins_goes_first(
    plain_type: str, make_model: Callable, make_context: Callable, notes: list
) -> None:
    model = make_model(plain_type, layers=1)
    layer = layers_of(model)[0]
    with torch.no_grad():
        for part in ("query", "key", "value"):
            layer.part(part).weight[16:24] = layer.part(part).weight[:8]
            layer.part(part).bias[16:24] = layer.part(part).bias[:8]
        layer.part("ffn_in").weight[40] = layer.part("ffn_in").weight[3]
        layer.part("ffn_in").bias[40] = layer.part("ffn_in").bias[3]
        # Both write much, so that weights alone would keep them.
        layer.part("attention_output").weight[:, :8] *= 5
        layer.part("attention_output").weight[:, 16:24] *= 5
        layer.part("ffn_out").weight[:, [3, 40]] *= 5
    found = Reconstruction(examples=24, ridge=1e-6).of(model, make_context(model))[0]
    # Of one twin is left what the ridge leaves, which may be more than another head writes.
    gone, left = sorted(found.heads[[0, 2]].tolist())
    assert gone < 1e-5 * left
    assert len({0, 2} & set(strongest(found.heads, 1).tolist())) == 1
    assert len({3, 40} & set(strongest(found.neurons, 1).tolist())) == 1
    assert len({3, 40} & set(strongest(found.neurons, 32).tolist())) == 1
    assert found.layer == pytest.approx(float(found.heads.max() + found.neurons.max()))
    assert notes == ["importance from 24 examples (reconstruction)"]


def test_what_is_constant_is_left_to_the_bias(make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    layer = layers_of(model)[0]
    with torch.no_grad():
        layer.part("ffn_in").weight[5] = 0
        layer.part("ffn_in").bias[5] = 100
    found = Reconstruction(examples=8, ridge=1e-6).of(model, make_context(model))[0]
    assert found.neurons[5] < 1e-5 * found.neurons.max()
    # Where there is none, nothing else is as large.
    layer.part("ffn_out").bias = None
    found = Reconstruction(examples=8, ridge=1e-6).of(model, make_context(model))[0]
    assert found.neurons.argmax() == 5


@pytest.mark.parametrize(("name", "value"), [("examples", 0), ("ridge", 0)])
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"importance.{name} is 0"):
        Reconstruction(**{"examples": 1, "ridge": 0.1, name: value})
