"""Diagonal Fisher information: what changes the loss on real examples when it is turned down matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.checks import require_integer
from compress.core.context import Context, LayerImportance
from compress.methods.training.calibration import chosen_rows
from compress.nn.family import layers_of, output_projections
from compress.nn.forward import forward
from compress.nn.ops.importance import component_gradient, mask_gradient, per_head

BATCH = 16
# Where outputs are too large to be kept, such as a number for every token there is at every position.
BATCH_OF_LARGE_OUTPUTS = 4


@dataclass(frozen=True, kw_only=True)
class FisherImportance:
    """examples: training examples shown, with their labels. most_tokens: of models that give a number for every token
    there is at every position, so many tokens in all at most: examples are then fewer, the longer they are.

    Every head and neuron is thought to be multiplied by a mask of 1; its importance is the square of the derivative of
    an example's loss by that mask, summed over the examples (Kwon et al. 2022, A Fast Post-Training Pruning Framework
    for Transformers; Michel et al. 2019, Are Sixteen Heads Really Better than One?, take the absolute value). The loss
    is the task's own against the labels: against the teacher's answers it would be flat, because the model that is cut
    first is the teacher. A layer's mask multiplies all its heads and neurons at once. A backward pass, and no step.
    The singular components of a product are masked in the same way: what a rank leaves out is turned down.
    """

    examples: int
    most_tokens: int

    # All are shares of one loss.
    compares_layers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_integer("importance.examples", self.examples, 1, "Use 256, for example.")
        require_integer("importance.most_tokens", self.most_tokens, 1, "Use 16384, for example.")

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """Sums of squared derivatives by the mask of each head, neuron and layer."""
        layers = layers_of(model)
        modules = output_projections(layers)
        heads = [torch.zeros(layer.heads, dtype=torch.float64) for layer in layers]
        neurons = [torch.zeros(layer.neurons, dtype=torch.float64) for layer in layers]
        whole = torch.zeros(len(layers), dtype=torch.float64)
        shown = 0
        for batch in self._batches(model, context):
            gradients = _mask_gradients(model, context, modules, batch)
            rows = len(batch["labels"])
            shown += rows
            for i, layer in enumerate(layers):
                # A block that was dropped has no columns.
                none = torch.zeros(rows, 0, dtype=torch.float64)
                by_head = per_head(gradients.get(layer.path_of("attention_output"), none), layer.head_width)
                by_neuron = gradients.get(layer.path_of("ffn_out"), none)
                heads[i] += by_head.pow(2).sum(dim=0)
                neurons[i] += by_neuron.pow(2).sum(dim=0)
                whole[i] += (by_head.sum(dim=1) + by_neuron.sum(dim=1)).pow(2).sum()
        context.note(f"importance from {shown} examples (Fisher information)")
        return [LayerImportance(*values) for values in zip(heads, neurons, whole.tolist(), strict=True)]

    def of_components(
        self, model: PreTrainedModel, context: Context, factors: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Sums of squared derivatives by the mask of each component of these products: see `Importance`."""
        modules = {path: model.get_submodule(path) for path in factors}
        placed = {
            path: (up.to(model.device, torch.float32), down.to(model.device, torch.float32))
            for path, (up, down) in factors.items()
        }
        found = {path: torch.zeros(len(down), dtype=torch.float64) for path, (_, down) in factors.items()}
        for batch in self._batches(model, context):
            with torch.enable_grad(), _keeping_both(modules) as kept:
                loss = _summed_loss(model, context, batch)
                gradients = torch.autograd.grad(loss, [outputs for _, outputs in kept.values()])
            for (path, (inputs, _)), gradient in zip(kept.items(), gradients, strict=True):
                found[path] += component_gradient(inputs, gradient, *placed[path]).pow(2).sum(dim=0)
        return found

    def _batches(self, model: PreTrainedModel, context: Context) -> Iterator[dict[str, Any]]:
        """The examples, those of similar lengths together, so that little is padding."""
        lengths = list(context.train["length"])
        large = context.task.signature(model.config).asked is not None
        chosen = chosen_rows(context.seed, len(lengths), self.examples)
        if large:
            chosen = _within(chosen, lengths, self.most_tokens)
        order = sorted(chosen, key=lambda row: lengths[row])
        size = BATCH_OF_LARGE_OUTPUTS if large else BATCH
        for start in range(0, len(order), size):
            yield context.collate([context.train[row] for row in order[start : start + size]])


def _within(rows: Sequence[int], lengths: Sequence[int], most: int) -> list[int]:
    """The first of these rows, as many as have `most` tokens together, and one at least."""
    totals = np.cumsum([lengths[row] for row in rows])
    return list(rows[: max(1, int(np.searchsorted(totals, most, side="right")))])


def _mask_gradients(
    model: PreTrainedModel, context: Context, modules: Mapping[str, nn.Module], batch: Mapping[str, Any]
) -> dict[str, Tensor]:
    """For each module the derivative of each example's loss by a mask on its inputs, (examples, width)."""
    with torch.enable_grad(), _keeping_inputs(modules) as inputs:
        loss = _summed_loss(model, context, batch)
        found = torch.autograd.grad(loss, list(inputs.values()))
    return {
        path: mask_gradient(value.detach(), grad) for (path, value), grad in zip(inputs.items(), found, strict=True)
    }


def _summed_loss(model: PreTrainedModel, context: Context, batch: Mapping[str, Any]) -> Tensor:
    """The task's own loss is a mean over labels, and the sum of those of one example is what is derived."""
    model.eval()
    on_device = {name: value.to(model.device) for name, value in batch.items()}
    output = forward(model, context.task.signature(model.config), on_device).output
    return context.task.label_loss(output, on_device) * context.task.labelled(on_device)


@contextmanager
def _keeping_inputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What each module receives, as part of the graph, even in a model whose weights ask for no gradient."""
    kept: dict[str, Tensor] = {}

    def hook_for(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            kept[path] = inputs[0] if inputs[0].requires_grad else inputs[0].requires_grad_()
            return (kept[path], *inputs[1:])

        return hook

    hooks = [module.register_forward_pre_hook(hook_for(path)) for path, module in modules.items()]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _keeping_both(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """What each module receives, and what it gives as part of the graph, as above."""
    kept: dict[str, tuple[Tensor, Tensor]] = {}

    def hook_for(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
            kept[path] = inputs[0].detach(), outputs if outputs.requires_grad else outputs.requires_grad_()
            return kept[path][1]

        return hook

    hooks = [module.register_forward_hook(hook_for(path)) for path, module in modules.items()]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()
