"""Which heads, neurons and layers survive."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.context import Context, LayerImportance
from compress.core.errors import InputError
from compress.core.fact_table import FactTable
from compress.methods.importance.magnitude import Magnitude
from compress.methods.prune.structured import PruneStructured
from compress.methods.training import gradual
from compress.methods.training.calibration import chosen_rows
from compress.methods.training.gradual import Gradual
from compress.methods.training.imitation import Imitation
from compress.nn.family import Layer, dense_layers, layers_of
from compress.nn.structure import structure_of
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def stage(imitation: Imitation) -> PruneStructured:
    """Keeps everything; tests change what they are about."""
    return PruneStructured(
        heads=1.0,
        neurons=1.0,
        layers=1.0,
        importance=Magnitude(),
        scope="layer",
        neuron_multiple=1,
        refit=False,
        refit_examples=24,
        ridge=0.01,
        recovery_epochs=0,
        gradual=Gradual(cuts=1, between=0.5),
        imitation=imitation,
    )


@dataclass(frozen=True)
class Told:
    """A criterion that says what it was told. compares_layers: as in words.Importance."""

    found: list[LayerImportance]
    compares_layers: bool

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        return self.found


def told(heads: list[list[float]], layers: list[float], compares_layers: bool = True) -> Told:
    """Neurons matter as much as their number."""
    neurons = torch.arange(64, dtype=torch.float64)
    values = [
        LayerImportance(torch.tensor(values, dtype=torch.float64), neurons, layer)
        for values, layer in zip(heads, layers, strict=True)
    ]
    return Told(values, compares_layers)


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
    stage: PruneStructured, plain_type: str, make_model: Callable, make_context: Callable, tables: list[FactTable]
) -> None:
    model = make_model(plain_type, layers=3)
    for layer, importance in zip(layers_of(model), ([1, 2, 3, 4], [4, 3, 2, 1], [1, 9, 2, 8]), strict=True):
        set_heads(layer, importance)
    found = dataclasses.replace(stage, heads=0.5).apply(model, make_context(model))
    assert kept_heads(found) == [[3, 4], [4, 3], [9, 8]]
    assert [layer.heads for layer in layers_of(found)] == [2, 2, 2]
    assert tables[0].rows == ((0, 0, 2, 64, ""), (1, 1, 2, 64, ""), (2, 2, 2, 64, ""))


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
    stage: PruneStructured, depth_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(depth_type)
    with torch.no_grad():
        for number, scale in enumerate((1, 3, 1, 2)):
            layers_of(model)[number].part("ffn_out").weight.mul_(scale)
    modules = [layer.module for layer in layers_of(model)]
    found = dataclasses.replace(stage, layers=0.5).apply(model, make_context(copy.deepcopy(model)))
    assert [layer.module for layer in layers_of(found)] == [modules[1], modules[3]]
    assert structure_of(found).is_plain


def test_the_criterion_decides(stage: PruneStructured, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=3)
    for layer in layers_of(model):
        set_heads(layer, [1, 2, 3, 4])
    importance = told([[0, 9, 1, 0], [9, 9, 9, 9], [5, 0, 0, 6]], [2, 1, 3])
    given = dataclasses.replace(stage, importance=importance, heads=0.5, neurons=0.5, layers=0.67)
    found = given.apply(copy.deepcopy(model), make_context(model))
    # The middle layer matters least; the others keep their own importance.
    assert kept_heads(found) == [[2, 3], [1, 4]]
    kept = layers_of(model)[2].weight("ffn_in")[32:]
    assert torch.equal(layers_of(found)[1].weight("ffn_in"), kept)


@pytest.mark.parametrize(("compares_layers", "expected"), [(True, [[1], [1, 2, 3, 4]]), (False, [[1, 2], [2, 3, 4]])])
def test_what_compares_layers_is_ranked_as_it_is(
    compares_layers: bool, expected: Any, stage: PruneStructured, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(layers=2)
    for layer in layers_of(model):
        set_heads(layer, [1, 2, 3, 4])
    # Relative to the means, 2.5 and 25: 2.4 1.2 .2 .2 | .8 1.0 1.04 1.16.
    importance = told([[6, 3, 0.5, 0.5], [20, 25, 26, 29]], [1, 1], compares_layers)
    given = dataclasses.replace(stage, importance=importance, heads=5 / 8, scope="model")
    assert kept_heads(given.apply(copy.deepcopy(model), make_context(model))) == expected


def test_layers_by_number(stage: PruneStructured, make_model: Callable, make_context: Callable, tables: list) -> None:
    model = make_model()
    modules = [layer.module for layer in layers_of(model)]
    found = dataclasses.replace(stage, layers=[0, 3]).apply(model, make_context(copy.deepcopy(model)))
    assert [layer.module for layer in layers_of(found)] == [modules[0], modules[3]]
    assert [row[:2] for row in tables[0].rows] == [(0, 0), (1, 3)]
    with pytest.raises(InputError, match=r"stages.prune.layers is \[0, 4\]; the model's layers are 0 to 3"):
        dataclasses.replace(stage, layers=[0, 4]).check(make_model())


def test_a_refit_comes_nearer_without_a_step(
    stage: PruneStructured, make_model: Callable, make_context: Callable, monkeypatch: pytest.MonkeyPatch, notes: list
) -> None:
    monkeypatch.setattr(gradual, "imitate", None)
    teacher = make_model()
    with torch.no_grad():
        for _, module in dense_layers(teacher):
            module.weight.mul_(8)
    context = make_context(teacher, count=60)
    stage = dataclasses.replace(stage, heads=0.5, neurons=0.5, layers=[0, 2], refit_examples=48)
    batch = context.collate(list(context.train))
    counts = batch["attention_mask"].bool()

    def distance(refit: bool) -> float:
        pruned = dataclasses.replace(stage, refit=refit).apply(copy.deepcopy(teacher), context)
        inputs = {name: batch[name] for name in SIGNATURE.names}
        with torch.no_grad():
            states = [model(**inputs, output_hidden_states=True).hidden_states[-1] for model in (pruned, teacher)]
        return float((states[0] - states[1])[counts].pow(2).mean())

    assert distance(True) < 0.6 * distance(False)
    assert notes.count("refitted on 48 examples") == 1


@pytest.mark.parametrize(
    ("scope", "heads", "neurons", "positions", "enough"),
    [
        ("layer", 0.5, 0.5, 34, True),  # 32 neurons and the bias
        ("layer", 0.5, 0.5, 33, False),
        ("layer", 1.0, 0.25, 34, True),  # 4 heads of 8
        ("layer", 1.0, 0.25, 33, False),
        ("model", 0.5, 0.5, 66, True),  # one layer may keep all 64 neurons
        ("model", 0.5, 0.5, 65, False),
    ],
)
def test_a_refit_needs_more_positions_than_unknowns(
    scope: str, heads: float, neurons: float, positions: int, enough: bool, stage: PruneStructured, make_model: Callable
) -> None:
    stage = dataclasses.replace(stage, scope=scope, heads=heads, neurons=neurons, refit=True, refit_examples=3)
    lengths = [positions // 3, positions // 3, positions - 2 * (positions // 3)]
    with torch.device("meta"):
        model = make_model()
    if enough:
        stage.check_examples(model, lengths, seed=0)
        return
    with pytest.raises(InputError) as refused:
        stage.check_examples(model, lengths, seed=0)
    assert str(refused.value) == (
        f"stages.prune.refit_examples is 3; the 3 training examples chosen have {positions} tokens, and each output of "
        f"the widest projection that is fitted has {positions} unknowns. Use 12 or more of such examples, or set "
        "refit=false."
    )
    dataclasses.replace(stage, refit=False).check_examples(model, lengths, seed=0)


def test_only_the_examples_that_are_shown_count(stage: PruneStructured, make_model: Callable) -> None:
    stage = dataclasses.replace(stage, refit=True, refit_examples=2)
    lengths = [1, 1, 100, 1]
    enough = [bool({2} & set(chosen_rows(seed, 4, 2))) for seed in range(8)]
    assert len(set(enough)) == 2
    for seed, passes in enumerate(enough):
        with contextlib.nullcontext() if passes else pytest.raises(InputError, match="have 2 tokens"):
            stage.check_examples(make_model(), lengths, seed)


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
    inputs = {name: batch[name] for name in SIGNATURE.names}

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
        ({"layers": [2, 1]}, r"stages.prune.layers is \[2, 1\]; it must be a share in \(0, 1\], or a list"),
        ({"layers": []}, r"stages.prune.layers is \[\]"),
        ({"layers": [-1, 2]}, r"stages.prune.layers is \[-1, 2\]"),
        ({"layers": "half"}, r"stages.prune.layers is half"),
        ({"importance": None}, r"stages.prune.importance is None; it must be a criterion"),
        ({"refit": "yes"}, r"stages.prune.refit is 'yes'; it must be true or false"),
        ({"refit_examples": 0}, r"stages.prune.refit_examples is 0"),
        ({"ridge": 0}, r"stages.prune.ridge is 0; it must be greater than 0. Use 0.01"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: PruneStructured) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)
