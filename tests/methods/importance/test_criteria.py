"""What every criterion must do, found by its YAML alone; a new one is tested by existing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import pytest
import torch

from compress.cli.config import build, compose_settings, settings_root
from compress.core.words import Importance
from compress.nn.family import layers_of
from compress.nn.surgery import keep_heads, keep_neurons

CRITERIA = sorted(path.stem for path in (settings_root() / "conf" / "importance").glob("*.yaml"))


@cache
def criterion_of(name: str) -> Importance:
    """The criterion as a user chooses it on the command line."""
    given = ["model.path=nowhere", "data.train=nowhere", f"importance@stages.prune.importance={name}"]
    stage = build(compose_settings("text_classification", given), "criteria").stages["prune"]
    return stage.importance  # type: ignore[attr-defined, no-any-return]


def test_the_criteria_are_found() -> None:
    assert {"magnitude", "activation", "fisher", "random"} <= set(CRITERIA)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_value_for_every_part_of_every_layer(
    name: str, model_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(model_type, layers=3)
    units = layers_of(model)[1].heads
    keep_heads(model, layers_of(model)[1], torch.arange(0, units, 2))
    keep_neurons(model, layers_of(model)[2], torch.arange(24))
    before, context = copy.deepcopy(model.state_dict()), make_context(make_model(model_type))
    for parameter in model.parameters():
        parameter.requires_grad_(name == "magnitude")
    found = criterion_of(name).of(model, context)
    assert [tuple(layer.heads.shape) for layer in found] == [(units,), (-(-units // 2),), (units,)]
    assert [tuple(layer.neurons.shape) for layer in found] == [(64,), (64,), (24,)]
    for layer in found:
        values = torch.cat([layer.heads, layer.neurons, torch.tensor([layer.layer], dtype=torch.float64)])
        assert values.dtype == torch.float64
        assert torch.isfinite(values).all() and (values > 0).all()
        assert len(set(layer.neurons.tolist())) > len(layer.neurons) / 2
    # The model is as it was: no value changed, no hook and no gradient left.
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", CRITERIA)
def test_the_same_twice(name: str, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=2)
    first, second = (criterion_of(name).of(model, make_context(model)) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.heads, other.heads) and torch.equal(one.neurons, other.neurons)
        assert one.layer == other.layer
