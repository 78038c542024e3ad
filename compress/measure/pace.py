"""How long a training step takes here, timed for a few seconds where no earlier training tells."""

from __future__ import annotations

import time
from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import PreTrainedModel

from compress.core.task import Task
from compress.methods.training.loop import trains_in_bfloat16
from compress.nn.forward import forward

SECONDS, STEPS = 5.0, 5


def seconds_per_step(model: PreTrainedModel, batch: Mapping[str, Tensor], task: Task, device: str) -> float:
    """Of forward and backward of one batch, the least of a few tries after the first. The model is left as it was.

    An upper bound for a student that is cut from `model`: it has no more layers, and no wider ones. What the loss and
    the optimizer add is small beside that.
    """
    signature = task.signature(model.config)
    model.to(device).train()  # type: ignore[arg-type]
    taken: list[float] = []
    began = time.monotonic()
    try:
        while not taken or (len(taken) <= STEPS and time.monotonic() - began < SECONDS):
            start = time.monotonic()
            with torch.autocast(device, torch.bfloat16, enabled=trains_in_bfloat16(model, device)):
                output = forward(model, signature, batch, hidden_states=True).output
            output.float().square().mean().backward()
            taken.append(time.monotonic() - start)
    finally:
        model.zero_grad(set_to_none=True)
        model.cpu().eval()
    # The first one also allocates.
    return min(taken[1:] or taken)
