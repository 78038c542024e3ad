"""Squared derivatives of the loss by masks, against the definition: turn one part down and look at the loss."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.context import Context
from compress.core.errors import InputError
from compress.methods.importance.fisher import FisherImportance, _within
from compress.nn.family import Layer, dense_layers, layers_of
from compress.nn.structure import replace_module


def derivatives(model: PreTrainedModel, context: Context, changes: list[tuple[Layer, str, slice]]) -> torch.Tensor:
    """For each example, in float64, the loss's central difference when the given columns are scaled together."""
    step, values = 1e-4, []
    for row in context.train:
        batch: dict[str, Any] = context.collate([row])
        losses = []
        for scale in (1 + step, 1 - step):
            hooks = []
            for layer, part, columns in changes:

                def scaled(module: Any, inputs: Any, columns: slice = columns, scale: float = scale) -> Any:
                    changed = inputs[0].clone()
                    changed[..., columns] *= scale
                    return (changed,)

                hooks.append(layer.part(part).register_forward_pre_hook(scaled))
            with torch.no_grad():
                logits = model(**{name: batch[name] for name in context.task.signature(model.config).names}).logits
            # The task's own loss rounds to float32, too coarse for a difference.
            losses.append(torch.nn.functional.cross_entropy(logits, batch["labels"]))
            for hook in hooks:
                hook.remove()
        values.append((losses[0] - losses[1]) / (2 * step))
    return torch.stack(values)


def test_the_definition(plain_type: str, make_model: Callable, make_context: Callable) -> None:
    model = make_model(plain_type, layers=2)
    with torch.no_grad():
        for _, module in dense_layers(model):
            module.weight.mul_(8)
    # Twenty examples: two batches, the second with padding.
    context = make_context(model, count=20)
    found = FisherImportance(examples=20, most_tokens=16384).of(model, context)
    exact = model.double()
    for number, layer in enumerate(layers_of(exact)):
        head = derivatives(exact, context, [(layer, "attention_output", slice(8, 16))])
        torch.testing.assert_close(found[number].heads[1], head.pow(2).sum(), rtol=1e-3, atol=1e-9)
        neuron = derivatives(exact, context, [(layer, "ffn_out", slice(5, 6))])
        torch.testing.assert_close(found[number].neurons[5], neuron.pow(2).sum(), rtol=1e-3, atol=1e-9)
        everything = [(layer, part, slice(None)) for part in ("attention_output", "ffn_out")]
        whole = float(derivatives(exact, context, everything).pow(2).sum())
        assert found[number].layer == pytest.approx(whole, rel=1e-3, abs=1e-9)


def test_what_writes_nothing_does_not_matter(make_model: Callable, make_context: Callable, notes: list) -> None:
    model = make_model(layers=1)
    layer = layers_of(model)[0]
    with torch.no_grad():
        layer.part("attention_output").weight[:, 16:24] = 0
        layer.part("ffn_out").weight[:, 3] = 0
    with torch.no_grad():  # as a caller may have it
        found = FisherImportance(examples=8, most_tokens=1).of(model.train(), make_context(model))[0]
    assert [bool(value) for value in found.heads] == [True, True, False, True]
    assert found.neurons.count_nonzero() == 63 and found.neurons[3] == 0
    assert notes == ["importance from 8 examples (Fisher information)"]


class Masked(nn.Module):
    """up @ diag(mask) @ down in place of a product."""

    def __init__(self, linear: nn.Linear, up: torch.Tensor, down: torch.Tensor) -> None:
        super().__init__()
        self.up, self.down, self.bias = up, down, linear.bias.detach()
        self.mask = torch.ones(len(down), dtype=up.dtype, requires_grad=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ self.down.T * self.mask @ self.up.T + self.bias


def test_components_by_the_gradient_of_an_explicit_mask(
    plain_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(plain_type, layers=2).requires_grad_(False)
    with torch.no_grad():
        for _, module in dense_layers(model):
            module.weight.mul_(8)
    context = make_context(model, count=20)
    layer = layers_of(model)[0]
    paths = [layer.path_of(part) for part in ("attention_output", "ffn_in", "ffn_out")]
    factors = {}
    for path in paths:
        left, singular, right = torch.linalg.svd(model.get_submodule(path).weight.double(), full_matrices=False)
        factors[path] = left * singular, right
    found = FisherImportance(examples=20, most_tokens=16384).of_components(model, context, factors)
    exact = copy.deepcopy(model).double()
    for path in paths:
        masked = copy.deepcopy(exact)
        module = Masked(masked.get_submodule(path), *factors[path])
        replace_module(masked, path, module)
        expected = torch.zeros(len(module.mask), dtype=torch.float64)
        for row in context.train:
            batch = context.collate([row])
            logits = masked(**{name: batch[name] for name in context.task.signature(model.config).names}).logits
            loss = torch.nn.functional.cross_entropy(logits, batch["labels"])
            expected += torch.autograd.grad(loss, module.mask)[0].pow(2)
        torch.testing.assert_close(found[path], expected, rtol=1e-3, atol=1e-9)


def test_settings_are_checked() -> None:
    with pytest.raises(InputError, match=r"importance.examples is 1.5; it must be a whole number of at least 1"):
        FisherImportance(examples=1.5, most_tokens=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("most", "expected"), [(9, [2, 0]), (8, [2]), (1, [2]), (14, [2, 0, 1]), (13, [2, 0])])
def test_language_models_are_shown_no_more_tokens_than_asked(most: int, expected: list[int]) -> None:
    # Of 8, 1 and 5 tokens, in the order drawn.
    assert _within([2, 0, 1], [1, 5, 8], most) == expected
