"""Which weights become zero, and that they stay so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.methods.prune.magnitude import PruneMagnitude
from compress.methods.training.imitation import Imitation
from compress.nn.family import dense_layers
from compress.nn.layers import MaskedLinear
from compress.nn.structure import structure_of

# Of four layers: 4 * 4 * 32 * 32 + 4 * 2 * 64 * 32.
WEIGHTS = 32768


@pytest.fixture
def stage(imitation: Imitation) -> PruneMagnitude:
    """Half of each layer, without recovery."""
    return PruneMagnitude(weights=0.5, scope="layer", pattern=None, recovery_epochs=0, imitation=imitation)


def masks(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {path: module.weight.detach() != 0 for path, module in dense_layers(model)}


def test_half_of_each_layer(
    stage: PruneMagnitude, model_type: str, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model(model_type)
    before = {path: module.weight.detach().clone() for path, module in dense_layers(model)}
    names = [name for name in model.state_dict() if name.rpartition(".")[0] not in before]
    others = {name: model.state_dict()[name].clone() for name in names}
    found = stage.apply(model, make_context(model))
    for path, module in dense_layers(found):
        assert isinstance(module, MaskedLinear)
        kept = module.weight.detach() != 0
        assert int(kept.sum()) == kept.numel() // 2
        assert torch.equal(module.weight, before[path] * kept)
        assert before[path][kept].abs().min() >= before[path][~kept].abs().max()
    assert all(torch.equal(found.state_dict()[name], value) for name, value in others.items())
    assert structure_of(found).kinds() == {"masked_linear"}
    weights = WEIGHTS if len(before) == 24 else sum(weight.numel() for weight in before.values())
    assert notes == [
        f"{weights // 2} of {weights} weights in {len(before)} layers are zero; the runtimes here multiply by "
        "zeros as by any other number, so this saves no time"
    ]


def test_one_threshold_for_the_model(stage: PruneMagnitude, make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    large = "bert.encoder.layer.1.intermediate.dense"
    with torch.no_grad():
        model.get_submodule(large).weight.fill_(-9.0)
    found = masks(dataclasses.replace(stage, weights=0.25, scope="model").apply(model, make_context(model)))
    assert bool(found[large].all())
    assert sum(int(mask.sum()) for mask in found.values()) == WEIGHTS // 4


def test_n_of_m(stage: PruneMagnitude, make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    path = "bert.encoder.layer.0.attention.self.query"
    with torch.no_grad():
        model.get_submodule(path).weight[0, :8] = torch.tensor([4.0, -3.0, 2.0, 1.0, 0.1, 0.2, -0.3, 0.4])
    found = masks(dataclasses.replace(stage, pattern="2:4").apply(model, make_context(model)))
    assert found[path][0, :8].int().tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    for mask in found.values():
        assert bool((mask.reshape(-1, 4).sum(dim=1) == 2).all())


@pytest.mark.parametrize("pattern", [None, "1:4"])
def test_zeros_stay_while_the_model_recovers(
    pattern: str | None, stage: PruneMagnitude, make_model: Callable, make_context: Callable
) -> None:
    model = make_model()
    context = make_context(make_model())
    stage = dataclasses.replace(stage, pattern=pattern)
    expected = masks(stage.apply(make_model(), context))
    found = dataclasses.replace(stage, recovery_epochs=2).apply(model, context)
    changed = 0
    for (path, module), (_, original) in zip(dense_layers(found), dense_layers(make_model()), strict=True):
        assert torch.equal(module.weight.detach() != 0, expected[path])
        changed += not torch.equal(module.weight, original.weight * expected[path])
    assert changed == 24


def test_a_pattern_that_does_not_fit_is_seen_before_any_work(
    stage: PruneMagnitude, make_model: Callable, make_context: Callable
) -> None:
    stage = dataclasses.replace(stage, pattern="2:5")
    message = (
        r"stages.prune.pattern is '2:5'; bert.encoder.layer.0.attention.self.query has 32 inputs, which is no mult"
    )
    with pytest.raises(InputError, match=message):
        stage.check(make_model())
    with pytest.raises(InputError, match=message):
        stage.apply(make_model(), make_context(make_model()))
    dataclasses.replace(stage, pattern="3:16").check(make_model())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": 0}, r"stages.prune.weights is 0; it must lie in \(0, 1\]"),
        ({"scope": "all"}, r"stages.prune.scope is 'all'; it must be one of layer, model"),
        ({"recovery_epochs": -1}, r"stages.prune.recovery_epochs is -1"),
        *(
            ({"pattern": pattern}, r"must read N:M with 0 < N < M. Use '2:4'")
            for pattern in ("4:2", "4:4", "0:4", "2", "a:b", "-1:4", "2:4:8", "")
        ),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: PruneMagnitude) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)
