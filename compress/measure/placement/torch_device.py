"""A device as torch computes on it: its clock, its threads, its memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psutil
import torch
from torch import Tensor

from compress.core.placement import Device
from compress.measure.environment import allowed_cpus


def torch_device(device: Device) -> torch.device:
    """Where its tensors lie."""
    return torch.device("cuda", device.index) if device.kind == "cuda" else torch.device("cpu")


def threads_of(device: Device) -> int:
    """How many of the CPU's it computes with."""
    return device.threads or len(allowed_cpus())


@contextlib.contextmanager
def computing_on(device: Device) -> Iterator[None]:
    """With its threads, without gradients; the caller's number of threads is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of(device))
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def free_bytes(device: Device) -> int:
    """What is free there now, whatever the user allows."""
    if device.kind == "cuda":
        return int(torch.cuda.mem_get_info(torch_device(device))[0])
    return int(psutil.virtual_memory().available)


def finish(device: Device) -> None:
    """Wait until all that was asked of it is done."""
    if device.kind == "cuda":
        torch.cuda.synchronize(torch_device(device))


def mark(device: Device) -> Any:
    """This moment on the device's own clock."""
    if device.kind == "cuda":
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(torch_device(device)))
        return event
    return time.perf_counter()


def milliseconds(start: Any, end: Any, device: Device) -> float:
    """Between two marks of the device; a share of its time makes it so much longer."""
    passed = start.elapsed_time(end) if device.kind == "cuda" else 1000 * (end - start)
    return passed / device.share


def rest(seconds: float, device: Device) -> None:
    """After working so long, the pause of a device that works a share of the time."""
    if device.share < 1:
        time.sleep(seconds * (1 / device.share - 1))


def host(values: Tensor) -> Tensor:
    """The same in the memory of the host."""
    return values.cpu()
