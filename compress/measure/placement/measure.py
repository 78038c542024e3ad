"""All costs of a placement, measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from compress.core.placement import Costs, Device
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus, describe_processor, versions
from compress.measure.placement.links import time_links
from compress.measure.placement.times import time_pieces
from compress.measure.placement.torch_device import torch_device
from compress.measure.processes import one_measurement_at_a_time
from compress.nn.family import hidden_size, layers_of
from compress.nn.pieces import computed_in


def measure_costs(model: PreTrainedModel, devices: Sequence[Device], *, prompt_tokens: int, bits: int) -> Costs:
    """Costs of the model's pieces on these devices, and between them. model: without weights. bits: of its weights; 16
    are computed with in bfloat16, all others in FP32. Holds the machine-wide lock."""
    dtype = computed_in(model, bits)
    hidden = hidden_size(model) * dtype.itemsize
    bystanders = Bystanders(allowed_cpus())
    with one_measurement_at_a_time(), bystanders.watching(()):
        pieces = time_pieces(model, devices, prompt_tokens=prompt_tokens, dtype=dtype)
        links = time_links(list(devices), hidden, prompt_tokens)
    return Costs(
        blocks=len(layers_of(model)),
        hidden_size=hidden_size(model),
        prompt_tokens=prompt_tokens,
        bits=8 * dtype.itemsize,
        devices=pieces,
        links=links,
        about="; ".join([describe_processor()["cpu"], *_gpus(devices), f"torch {versions(['torch'])['torch']}"]),
        disturbed=bystanders.disturbed,
    )


def _gpus(devices: Sequence[Device]) -> list[str]:
    return [torch.cuda.get_device_name(torch_device(device)) for device in devices if device.kind == "cuda"]
