"""What other programs take: a device map, lists of layers, the number of layers on the GPU; and the plan itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.placement import Device
from compress.core.whole import whole_folder
from compress.deploy.placement.problem import Placement, Problem

if TYPE_CHECKING:
    from compress.nn.pieces import Pieces


def device_map(pieces: Pieces, placement: Placement, devices: Mapping[str, Device]) -> dict[str, int | str]:
    """As Transformers and Accelerate take it: the path of each module, and the number of a GPU or `cpu`."""
    place = {name: device.index if device.kind == "cuda" else "cpu" for name, device in devices.items()}
    found: dict[str, int | str] = {pieces.embeddings: place[placement.embeddings]}
    found |= dict.fromkeys(pieces.beside, place[placement.runs[0].device])
    for run in placement.runs:
        found |= dict.fromkeys(pieces.blocks[run.start : run.end], place[run.device])
    return found | dict.fromkeys(pieces.head, place[placement.head])


def layers_of_devices(placement: Placement) -> dict[str, dict[str, Any]]:
    """What each device holds: for programs that make each layer themselves, such as those written with Candle."""
    return {
        name: {
            "embeddings": placement.embeddings == name,
            "layers": [number for run in placement.runs if run.device == name for number in range(run.start, run.end)],
            "head": placement.head == name,
        }
        for name in placement.devices
    }


def gpu_layers(problem: Problem, placement: Placement, gpus: Sequence[str]) -> int:
    """N of llama.cpp's `--n-gpu-layers`: at most as many as the plan has on GPUs, and no more than fit there.

    llama.cpp counts from the end, and the head as the first (`i_gpu_start` in src/llama-model.cpp; in releases of
    before 2026 N are blocks, and the head one more); the embeddings stay on the CPU.
    """
    needs = problem.needs
    planned = sum(run.end - run.start for run in placement.runs if run.device in gpus) + (placement.head in gpus)
    free = sum(problem.memory[name] for name in gpus) - needs.head - needs.activations
    each = [weights + kept for weights, kept in zip(needs.blocks, needs.caches, strict=True)]
    fitting = 0
    while fitting < problem.blocks and sum(each[problem.blocks - fitting - 1 :]) <= free:
        fitting += 1
    return min(planned, fitting + 1) if free >= 0 else 0


def write_files(folder: Path, contents: Mapping[str, Any]) -> None:
    """Each by its name, as JSON, in the new folder, whole or not at all."""
    with whole_folder(folder) as unfinished:
        for name, content in contents.items():
            (unfinished / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
