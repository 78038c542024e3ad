"""Which heads, neurons and layers survive."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.models.family import Layer, dense_layers, layers_of
from compress.models.structure import structure_of
from compress.stages.prune.magnitude_structured import PruneStructured
from compress.training import gradual
from compress.training.gradual import Gradual
from compress.training.imitation import Imitation


@pytest.fixture
def stage(imitation: Imitation) -> PruneStructured:
    """Keeps everything; tests change what they are about."""
    return PruneStructured(
        heads=1.0,
        neurons=1.0,
        layers=1.0,
        scope="layer",
        neuron_multiple=1,
        recovery_epochs=0,
        gradual=Gradual(cuts=1, between=0.5),
        imitation=imitation,
    )


@torch.no_grad()
def set_heads(layer: Layer, importance: list[float]) -> None:
    """Make the heads as important as given, each from its value's weights alone."""
    for part in ("query", "key", "attention_output"):
        layer.part(part).weight.zero_()
    for head, value in enumerate(importance):
        layer.part("value").weight[head * 8 : head * 8 + 8] = value


@torch.no_grad()
def set_neurons(layer: Layer, importance: list[float]) -> None:
    layer.part("ffn_in").weight.copy_(torch.tensor(importance)[:, None].expand(-1, 32))
    layer.part("ffn_out").weight.fill_(1.0)


def kept_heads(model: PreTrainedModel) -> list[list[float]]:
    """For each layer the importance that was given to the heads that are left."""
    return [[round(float(value), 3) for value in layer.weight("value")[::8, 0]] for layer in layers_of(model)]


def test_the_strongest_heads_of_each_layer(
    stage: PruneStructured, model_type: str, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model(model_type, layers=3)
    for layer, importance in zip(layers_of(model), ([1, 2, 3, 4], [4, 3, 2, 1], [1, 9, 2, 8]), strict=True):
        set_heads(layer, importance)
    found = dataclasses.replace(stage, heads=0.5).apply(model, make_context(model))
    assert kept_heads(found) == [[3, 4], [4, 3], [9, 8]]
    assert [layer.heads for layer in layers_of(found)] == [2, 2, 2]
    assert notes == [f"{layer.path}: 2 heads, 64 neurons" for layer in layers_of(found)]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        # Each relative to its layer's mean: 4 0 0 0 | 1.6 1.2 .8 .4 | 3 .5 .3 .2 | 1 1.01 .99 1.
        (5 / 16, [[8.0], [1.6, 1.2], [3.0], [101.0]]),
        (2 / 16, [[8.0], [1.6], [3.0], [101.0]]),  # at least one in each layer
        (9 / 16, [[8.0], [1.6, 1.2, 0.8], [3.0], [100.0, 101.0, 99.0, 100.0]]),
    ],
)
def test_all_heads_ranked_together(
    share: float, expected: Any, stage: PruneStructured, make_model: Callable, make_context: Callable
) -> None:
    model = make_model()
    given = ([8, 0, 0, 0], [1.6, 1.2, 0.8, 0.4], [3, 0.5, 0.3, 0.2], [100, 101, 99, 100])
    for layer, importance in zip(layers_of(model), given, strict=True):
        set_heads(layer, importance)
    found = dataclasses.replace(stage, heads=share, scope="model").apply(model, make_context(model))
    assert kept_heads(found) == expected


@pytest.mark.parametrize(
    ("share", "multiple", "kept"), [(0.5, 1, 32), (0.5, 16, 32), (0.6, 16, 32), (0.01, 16, 16), (0.3, 1, 19)]
)
def test_the_strongest_neurons_of_each_layer(
    share: float, multiple: int, kept: int, stage: PruneStructured, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(layers=2)
    given = [[float((7 * neuron) % 64 + 1) for neuron in range(64)], [float(neuron + 1) for neuron in range(64)]]
    for layer, importance in zip(layers_of(model), given, strict=True):
        set_neurons(layer, importance)
    stage = dataclasses.replace(stage, neurons=share, neuron_multiple=multiple)
    found = stage.apply(model, make_context(model))
    for layer, importance in zip(layers_of(found), given, strict=True):
        assert layer.weight("ffn_in")[:, 0].tolist() == [value for value in importance if value > 64 - kept]
        assert layer.weight("ffn_out").shape == (32, kept)
    # One width for all layers: the configuration says it, and there is nothing else to say.
    assert found.config.intermediate_size == kept
    assert structure_of(found).is_plain


def test_all_neurons_ranked_together(stage: PruneStructured, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=2)
    # The first layer's 16 strong neurons are 3.7 times its mean, its others below 0.1; the second's are all near 1.
    set_neurons(layers_of(model)[0], [10.0] * 16 + [0.2] * 48)
    set_neurons(layers_of(model)[1], [1.0 + neuron / 1000 for neuron in range(64)])
    stage = dataclasses.replace(stage, neurons=0.5, scope="model", neuron_multiple=16)
    found = stage.apply(model, make_context(model))
    assert [layer.neurons for layer in layers_of(found)] == [16, 48]
    assert layers_of(found)[0].weight("ffn_in")[:, 0].tolist() == [10.0] * 16
    assert structure_of(found).edits.keys() == {
        "bert.encoder.layer.0.intermediate.dense",
        "bert.encoder.layer.0.output.dense",
        "bert.encoder.layer.1.intermediate.dense",
        "bert.encoder.layer.1.output.dense",
    }


def test_the_heaviest_layers_in_their_order(
    stage: PruneStructured, model_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(model_type)
    with torch.no_grad():
        for number, scale in enumerate((1, 3, 1, 2)):
            layers_of(model)[number].part("ffn_in").weight.mul_(scale)
    modules = [layer.module for layer in layers_of(model)]
    found = dataclasses.replace(stage, layers=0.5).apply(model, make_context(copy.deepcopy(model)))
    assert [layer.module for layer in layers_of(found)] == [modules[1], modules[3]]
    assert structure_of(found).is_plain


def test_a_share_of_one_keeps_everything(stage: PruneStructured, make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    # 64 is no multiple of 24.
    found = dataclasses.replace(stage, neuron_multiple=24).apply(model, make_context(model))
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())


def test_recovery_compares_the_layers_that_are_left_with_themselves(
    stage: PruneStructured, make_model: Callable, make_context: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(gradual, "imitate", lambda model, context, settings, **how: seen.update(how))
    model = make_model()
    with torch.no_grad():
        for number in (0, 1, 3):
            layers_of(model)[number].part("ffn_in").weight.mul_(5)
    stage = dataclasses.replace(stage, layers=0.75, recovery_epochs=2)
    stage.apply(copy.deepcopy(model), make_context(model))
    assert seen == {"epochs": 2, "title": "recovery after pruning", "layer_map": [1, 2, 4], "share": 1.0}


def test_heads_and_neurons_leave_little_by_little(
    stage: PruneStructured, make_model: Callable, make_context: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[list[tuple[int, int]]] = []

    def imitate(model: PreTrainedModel, *arguments: Any, **how: Any) -> None:
        sizes.append([(layer.heads, layer.neurons) for layer in layers_of(model)])

    monkeypatch.setattr(gradual, "imitate", imitate)
    stage = dataclasses.replace(stage, heads=0.25, neurons=0.5, recovery_epochs=1, gradual=Gradual(cuts=2, between=0.5))
    model = make_model(layers=2)
    stage.apply(model, make_context(make_model()))
    # After the first of two cuts 7/8 of the way: 4 heads -> 4 (1 - 0.75 * 7/8) = 1.4, 64 neurons -> 64 (1 - 7/16) = 36.
    assert sizes == [[(1, 36)] * 2, [(1, 32)] * 2]
    assert [(layer.heads, layer.neurons) for layer in layers_of(model)] == [(1, 32)] * 2


def test_recovery_comes_nearer_to_the_teacher(
    stage: PruneStructured, make_model: Callable, make_context: Callable
) -> None:
    teacher = make_model(layers=2)
    # Larger weights, so that pruning is felt.
    with torch.no_grad():
        for _, module in dense_layers(teacher):
            module.weight.mul_(8)
    context = make_context(teacher, count=48)
    stage = dataclasses.replace(stage, heads=0.5, neurons=0.5)
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in context.task.inputs}

    def distance(epochs: float) -> float:
        pruned = dataclasses.replace(stage, recovery_epochs=epochs).apply(copy.deepcopy(teacher), context)
        with torch.no_grad():
            states = [model(**inputs, output_hidden_states=True).hidden_states[-1] for model in (pruned, teacher)]
        return float((states[0] - states[1]).pow(2).mean())

    assert distance(4) < 0.8 * distance(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 1.5}, r"stages.prune.heads is 1.5; it must lie in \(0, 1\]. Use 0.5 to keep half of the heads"),
        ({"neurons": 0}, r"stages.prune.neurons is 0"),
        ({"layers": -1}, r"stages.prune.layers is -1"),
        ({"scope": "global"}, r"stages.prune.scope is 'global'; it must be one of layer, model"),
        ({"neuron_multiple": 0}, r"stages.prune.neuron_multiple is 0"),
        ({"recovery_epochs": -1}, r"stages.prune.recovery_epochs is -1"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: PruneStructured) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)
