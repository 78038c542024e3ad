"""How far a model's answers move when parts of it are exchanged, one variant after the other, on the same examples."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from compress.core.task import Task
from compress.nn.exchange import Part, exchanged
from compress.nn.forward import forward, output_mask
from compress.nn.ops.losses import softened_logits_loss

Batch = Mapping[str, Any]
# Below this the order of the parts is mostly noise; time is then no reason to stop.
FEWEST = 8


@dataclass(frozen=True)
class Shift:
    """What variants of a model answer, (variants, examples).

    divergence: KL(reference || variant) over the outputs' last axis, in nats, mean over an example's positions; of
    vectors one minus their cosine; where the task has a loss of its own to imitate, that. logits: each variant's
    outputs, for each example (1, ...).
    """

    divergence: np.ndarray
    logits: list[list[np.ndarray]]

    @property
    def mean(self) -> np.ndarray:
        """Mean divergence of each variant."""
        return self.divergence.mean(axis=1)


def _distance(answer: Tensor, expected: Tensor, task: Task, mask: Tensor | None) -> Tensor:
    if task.vectors:
        return 1 - nn.functional.cosine_similarity(answer.double(), expected.double(), dim=-1).mean()
    own = task.imitation_loss(answer, expected)
    return softened_logits_loss(answer, expected, 1.0, mask) if own is None else own


def answers(model: PreTrainedModel, batches: Sequence[Batch], task: Task) -> list[Tensor]:
    """The outputs of each batch, on the CPU."""
    model.eval()
    signature = task.signature(model.config)
    with torch.no_grad():
        return [forward(model, signature, batch).output.cpu() for batch in batches]


def shift_of(
    model: PreTrainedModel,
    variants: Sequence[Sequence[Part]],
    batches: Sequence[Batch],
    reference: Sequence[Tensor],
    task: Task,
    *,
    seconds: float | None = None,
    title: str | None = None,
) -> Shift:
    """Run every variant (parts that replace the model's own; none for the model itself) on every example.

    batches: one example each, so that nothing is padding and a range is found as it will be in use. reference: the
    outputs to compare with, in their order, of as many positions. Stops after `seconds`, with as many examples as every
    variant has seen, but at least 8. title: of a bar that shows progress, where one is wanted.
    """
    began = time.monotonic()
    found: list[list[float]] = []
    logits: list[list[np.ndarray]] = [[] for _ in variants]
    pairs = list(zip(batches, reference, strict=True))
    model.eval()
    signature = task.signature(model.config)
    with torch.no_grad():
        for batch, expected in tqdm(pairs, desc=title, unit="example", leave=False, disable=title is None):
            row = []
            for parts, seen in zip(variants, logits, strict=True):
                with exchanged(model, parts):
                    answer = forward(model, signature, batch).output.cpu()
                row.append(float(_distance(answer, expected, task, output_mask(signature, batch))))
                seen.append(answer.numpy())
            found.append(row)
            if seconds is not None and len(found) >= FEWEST and time.monotonic() - began >= seconds:
                break
    return Shift(np.asarray(found).T, logits)


def products_of(model: PreTrainedModel, batches: Sequence[Batch], task: Task) -> dict[str, float]:
    """Multiply-adds of every dense layer, by path, summed over these examples."""
    total: dict[str, float] = {}

    def hook_for(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            assert isinstance(module, nn.Linear)
            total[path] = total.get(path, 0.0) + inputs[0].numel() * module.out_features

        return count

    dense = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    hooks = [module.register_forward_pre_hook(hook_for(path)) for path, module in dense.items()]
    try:
        answers(model, batches, task)
    finally:
        for hook in hooks:
            hook.remove()
    return total
