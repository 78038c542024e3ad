"""Timing a model's pieces on devices, each inside the whole model, or as much of it as the device holds.

A block alone would be read from a processor's cache; one of many is read from memory, as in use. So all blocks are
called in order, and marks are set between them. Devices take turns, so that what disturbs one disturbs all.
"""

from __future__ import annotations

import copy
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.placement import Device, DeviceCosts, Taken
from compress.measure.placement.torch_device import (
    computing_on,
    finish,
    free_bytes,
    mark,
    milliseconds,
    torch_device,
)
from compress.nn.family import Layer, layers_of
from compress.nn.pieces import Part, pieces_of, window_of, with_random_weights

# Rounds of a prompt and tokens after it, each device in each. The first is thrown away.
ROUNDS, TOKENS = 6, 16
# As elsewhere: of all that were timed, what it takes where little disturbs it.
FASTEST = 0.25
# Of what is free, for weights alone: what is computed needs some too, and so do others.
MOST_OF_FREE = 0.6

Kind = tuple[Any, ...]


@dataclass(frozen=True)
class Timed:
    """One call, in milliseconds: of each block that was there, and of what is around them."""

    embeddings: float
    entry: float
    blocks: tuple[float, ...]
    head: float


def time_pieces(
    model: PreTrainedModel, devices: Sequence[Device], *, prompt_tokens: int, dtype: torch.dtype
) -> dict[str, DeviceCosts]:
    """What each piece takes on each device, a prompt and a token after it; blocks of one kind are taken together.

    model: one without weights, whose shapes are timed with random ones. Raises InputError where a device cannot hold
    one block of each kind.
    """
    kinds = [kind_of(layer, number) for number, layer in enumerate(layers_of(model))]
    numbers = {device.name: _chosen(model, kinds, device, dtype) for device in devices}
    parts = _built(model, devices, numbers, dtype)
    calls: dict[str, tuple[list[Timed], list[Timed]]] = {device.name: ([], []) for device in devices}
    for number in range(ROUNDS + 1):
        for device in devices:
            prompt, tokens = _request(parts[device.name], device, prompt_tokens)
            if number:
                calls[device.name][0].append(prompt)
                calls[device.name][1].extend(tokens)
    return {name: _costs(*found, [kinds[i] for i in numbers[name]], kinds) for name, found in calls.items()}


def kind_of(layer: Layer, number: int) -> Kind:
    """What tells layers apart whose times differ: the shapes and types of their tensors, and how far they look back."""
    state = layer.module.state_dict()
    return (window_of(layer, number), *((name, tuple(one.shape), one.dtype) for name, one in sorted(state.items())))


def _chosen(model: PreTrainedModel, kinds: Sequence[Kind], device: Device, dtype: torch.dtype) -> list[int]:
    """The layers that are timed there: one of each kind, and as many more as fit into what is free."""
    each = dtype.itemsize / 4
    sizes = [each * _bytes(layer.module) for layer in layers_of(model)]
    pieces = pieces_of(model)
    around = each * sum(_bytes(model.get_submodule(path)) for path in (pieces.embeddings, *pieces.head))
    first = {kind: number for number, kind in reversed(list(enumerate(kinds)))}
    order = [*sorted(first.values()), *(number for number in range(len(kinds)) if number not in first.values())]
    free = MOST_OF_FREE * free_bytes(device)
    chosen: list[int] = []
    for number in order:
        if around + sum(sizes[i] for i in [*chosen, number]) <= free:
            chosen.append(number)
        elif len(chosen) < len(first):
            raise InputError(
                f"--devices names {device.name}, where {free / 2**30:.2f} GiB are to be had now; timing one block of "
                "each kind, with embeddings and head, needs more. Free some, or give times: --costs FILE."
            )
    return sorted(chosen)


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _built(
    model: PreTrainedModel, devices: Sequence[Device], numbers: Mapping[str, list[int]], dtype: torch.dtype
) -> dict[str, Part]:
    """The part that each device times. Those that are one processor with other threads share one."""
    shared: dict[tuple[torch.device, tuple[int, ...]], Part] = {}
    found = {}
    for device in devices:
        place = (torch_device(device), tuple(numbers[device.name]))
        if place not in shared:
            part = Part(copy.deepcopy(model), numbers[device.name], embeddings=True, head=True)
            shared[place] = with_random_weights(part, torch_device(device), dtype)
        found[device.name] = shared[place]
    return found


def _request(part: Part, device: Device, prompt_tokens: int) -> tuple[Timed, list[Timed]]:
    part.forget()
    place = torch_device(device)
    with computing_on(device):
        prompt = _call(part, torch.zeros(1, prompt_tokens, dtype=torch.long, device=place), device)
        token = torch.zeros(1, 1, dtype=torch.long, device=place)
        return prompt, [_call(part, token, device) for _ in range(TOKENS)]


def _call(part: Part, tokens: torch.Tensor, device: Device) -> Timed:
    """One call with a mark after the embeddings, before the first block, after each, and at the end."""
    assert part.base is not None and part.words is not None
    marks: list[Any] = []
    blocks = [layer.module for layer in part.layers]
    hooks = [part.words.register_forward_hook(lambda *_: marks.append(mark(device)))]
    hooks.append(blocks[0].register_forward_pre_hook(lambda *_: marks.append(mark(device))))
    hooks += [block.register_forward_hook(lambda *_: marks.append(mark(device))) for block in blocks]
    try:
        finish(device)
        start = mark(device)
        part(tokens)
        end = mark(device)
        finish(device)
    finally:
        for hook in hooks:
            hook.remove()
    times = [milliseconds(one, other, device) for one, other in zip([start, *marks], [*marks, end], strict=True)]
    return Timed(times[0], times[1], tuple(times[2:-1]), times[-1])


def _costs(
    prompts: Sequence[Timed], tokens: Sequence[Timed], timed: Sequence[Kind], kinds: Sequence[Kind]
) -> DeviceCosts:
    """What counts of all calls. timed: the kinds of the blocks that were there; kinds: of all of the model."""

    def both(name: str) -> Taken:
        return Taken(*(_fast([getattr(call, name) for call in calls]) for calls in (prompts, tokens)))

    found: dict[Kind, list[Taken]] = defaultdict(list)
    for place, kind in enumerate(timed):
        found[kind].append(Taken(*(_fast([call.blocks[place] for call in calls]) for calls in (prompts, tokens))))
    means = {
        kind: Taken(statistics.fmean(one.prompt for one in every), statistics.fmean(one.token for one in every))
        for kind, every in found.items()
    }
    blocks = tuple(means[kind] for kind in kinds)
    return DeviceCosts(embeddings=both("embeddings"), entry=both("entry"), blocks=blocks, head=both("head"))


def _fast(values: Sequence[float]) -> float:
    return float(np.quantile(values, FASTEST))
