"""Timing what goes from device to device: one hidden state for a token, many for a prompt.

Between a GPU and another device a tensor is moved. Between two CPU devices, which are two processes, it goes through a
pipe. Imported by the process at its other end too, so torch is imported only where a GPU is meant.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from multiprocessing.connection import Connection

import numpy as np

from compress.core.placement import Device, Link

SMALL, TIMES = 8, 50
# Of the larger of two messages, at least: on a smaller one bytes cannot be told from latency.
LARGE = 2**20


def time_links(devices: list[Device], hidden_bytes: int, prompt_tokens: int) -> dict[tuple[str, str], Link]:
    """Every direction between two devices. hidden_bytes: of the hidden state of one token."""
    large = max(LARGE, hidden_bytes * prompt_tokens)
    found: dict[tuple[str, str], Link] = {}
    with _piped(devices) as piped:
        for start, end in permutations(devices, 2):
            send = piped if start.kind == end.kind == "cpu" else _moved(start, end)
            found[start.name, end.name] = link_of(_seconds(send, SMALL), _seconds(send, large), large)
    return found


def link_of(small_s: float, large_s: float, large: int) -> Link:
    """From the seconds of a message of a few bytes and of one of `large` bytes."""
    slower = max(large_s - small_s, 1e-9)
    return Link(latency_ms=1000 * small_s, bytes_per_s=large / slower)


def _seconds(send: Callable[[bytes], float], size: int) -> float:
    message = bytes(size)
    return float(np.quantile([send(message) for _ in range(TIMES)], 0.25))


@contextmanager
def _piped(devices: list[Device]) -> Iterator[Callable[[bytes], float]]:
    """What sends bytes to another process and back, and gives half of the seconds that this took."""
    if sum(device.kind == "cpu" for device in devices) < 2:
        yield lambda _: 0.0
        return
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_echo, args=(theirs,), daemon=True)
    process.start()
    # Held here too, it would hide the end of the process.
    theirs.close()

    def send(message: bytes) -> float:
        began = time.perf_counter()
        ours.send_bytes(message)
        ours.recv_bytes()
        return (time.perf_counter() - began) / 2

    try:
        send(b"ready")
        yield send
    finally:
        ours.close()
        process.join()


def _echo(connection: Connection) -> None:
    try:
        while True:
            connection.send_bytes(connection.recv_bytes())
    except (EOFError, OSError):
        return


def _moved(start: Device, end: Device) -> Callable[[bytes], float]:
    """What moves so many bytes from one device to the other, and gives the seconds."""
    import torch

    from compress.measure.placement.torch_device import finish, torch_device

    def send(message: bytes) -> float:
        values = torch.zeros(len(message), dtype=torch.uint8, device=torch_device(start))
        finish(start)
        began = time.perf_counter()
        values.to(torch_device(end))
        finish(end)
        finish(start)
        return time.perf_counter() - began

    return send
