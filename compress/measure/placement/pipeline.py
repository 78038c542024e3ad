"""Running a placement: a process for each device, each with its part of the model; what they hand on goes in a ring.

With two requests in flight one device computes a token of the first while another computes one of the second.
"""

from __future__ import annotations

import copy
import multiprocessing
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from compress.core.errors import StageError
from compress.core.placement import Device, Step
from compress.measure.placement.torch_device import computing_on, rest, torch_device
from compress.nn.checkpoint import load_shapes
from compress.nn.pieces import Part, computed_in, with_random_weights

TOKENS, WARMUP, PROMPTS = 48, 4, 5
FASTEST = 0.25
IN_FLIGHT = 2


@dataclass(frozen=True)
class Ran:
    """Milliseconds that were measured: of a prompt and of a token after it with one request, and from one token to the
    next, of any of them, with two requests in flight."""

    prompt: float
    token: float
    period: float


@dataclass(frozen=True)
class Message:
    """For the step number `step`: tokens or hidden states of one request. token: how many were chosen before."""

    step: int
    request: int
    token: int
    values: np.ndarray
    began: float


def run_placement(
    folder: Path, steps: Sequence[Step], devices: Mapping[str, Device], *, bits: int, prompt_tokens: int
) -> Ran:
    """Run requests over these steps, with random weights, and time them. Raises StageError where a process ends."""
    with ExitStack() as stack:
        workers = _started(folder, steps, devices, bits, stack)
        # Short ones, of which the first is thrown away: a single prompt would be chance.
        short = [_requests(workers, steps, 1, WARMUP, prompt_tokens)[0] for _ in range(1 + PROMPTS)]
        alone = _requests(workers, steps, 1, TOKENS, prompt_tokens)
        together = _requests(workers, steps, IN_FLIGHT, TOKENS, prompt_tokens)
    (first,) = alone.values()
    prompts = [moments[1] - moments[0] for moments in (*short[1:], first)]
    return Ran(_fast(prompts), _fast(np.diff(first[1:])), period_of(together))


def period_of(moments: Mapping[int, Sequence[float]]) -> float:
    """Milliseconds from one token to the next, of any request, while all are in flight. moments: of each request, when
    it began and when it had each of its tokens, in milliseconds."""
    since, until = max(one[1] for one in moments.values()), min(one[-1] for one in moments.values())
    gaps = [
        later - earlier
        for one in moments.values()
        for earlier, later in pairwise(one[1:])
        if since <= earlier and later <= until
    ]
    return _fast(gaps) / len(moments)


def _fast(values: Any) -> float:
    return float(np.quantile(values, FASTEST))


@dataclass(frozen=True)
class Workers:
    """The processes, and how to talk to each, by their devices."""

    controls: Mapping[str, Connection]
    processes: Mapping[str, BaseProcess]

    def answer(self, name: str) -> Any:
        """What the process of this device says next. Raises StageError where any of them ends."""
        ended = {process.sentinel: other for other, process in self.processes.items()}
        for ready in wait([self.controls[name], *ended]):
            if ready is not self.controls[name]:
                raise StageError(
                    f"--verify: the process that ran blocks on {ended[ready]} ended by itself. "  # type: ignore[index]
                    "Is there memory for weights in 32 bits?"
                )
        return self.controls[name].recv()


def _started(
    folder: Path, steps: Sequence[Step], devices: Mapping[str, Device], bits: int, stack: ExitStack
) -> Workers:
    """A process for each device, each with its parts built."""
    context = multiprocessing.get_context("spawn")
    names = list(dict.fromkeys(step.device for step in steps))
    incoming: dict[str, list[Connection]] = {name: [] for name in names}
    outgoing: dict[str, dict[int, Connection]] = {name: {} for name in names}
    for number, step in enumerate(steps):
        following = (number + 1) % len(steps)
        if steps[following].device != step.device:
            receiving, sending = context.Pipe(duplex=False)
            incoming[steps[following].device].append(receiving)
            outgoing[step.device][following] = sending
    controls: dict[str, Connection] = {}
    processes: dict[str, BaseProcess] = {}
    for name in names:
        controls[name], theirs = context.Pipe()
        given = (str(folder), list(steps), devices[name], bits, incoming[name], outgoing[name], theirs)
        process = context.Process(target=serve, args=given, daemon=True)
        process.start()
        stack.callback(process.join)
        stack.callback(process.terminate)
        processes[name] = process
    workers = Workers(controls, processes)
    for name in names:
        workers.answer(name)
    return workers


def _requests(
    workers: Workers, steps: Sequence[Step], requests: int, tokens: int, prompt_tokens: int
) -> dict[int, list[float]]:
    """When each request began, and had each of its tokens, in milliseconds."""
    for name, control in workers.controls.items():
        control.send(("forget", requests, tokens, prompt_tokens))
        workers.answer(name)
    workers.controls[steps[0].device].send(("begin",))
    found: dict[int, list[float]] = workers.answer(steps[-1].device)
    return found


def serve(
    folder: str,
    steps: Sequence[Step],
    device: Device,
    bits: int,
    incoming: Sequence[Connection],
    outgoing: Mapping[int, Connection],
    control: Connection,
) -> None:
    """The process of one device: builds its parts, says that it is ready, and computes what arrives."""
    model, _ = load_shapes(Path(folder))
    dtype, place = computed_in(model, bits), torch_device(device)
    own = {number: step for number, step in enumerate(steps) if step.device == device.name}
    parts = {
        number: with_random_weights(part_of(copy.deepcopy(model), step), place, dtype) for number, step in own.items()
    }
    with computing_on(device):
        control.send("ready")
        Server(parts, len(steps), device, dtype, incoming, outgoing, control).run()


def part_of(model: Any, step: Step) -> Part:
    """What a step computes. model: used up."""
    return Part(model, range(step.start, step.end), embeddings=step.embeddings, head=step.head)


class Server:
    """Computes the steps of one device, in the order in which they arrive."""

    def __init__(
        self,
        parts: Mapping[int, Part],
        steps: int,
        device: Device,
        dtype: torch.dtype,
        incoming: Sequence[Connection],
        outgoing: Mapping[int, Connection],
        control: Connection,
    ) -> None:
        self._parts, self._steps, self._device, self._dtype = parts, steps, device, dtype
        self._incoming, self._outgoing, self._control = incoming, outgoing, control
        self._waiting: deque[Message] = deque()
        self._requests = self._tokens = self._prompt_tokens = 0
        self._moments: dict[int, list[float]] = defaultdict(list)

    def run(self) -> None:
        """Until the other end is gone."""
        while True:
            if self._waiting:
                self._compute(self._waiting.popleft())
                continue
            for ready in cast(list[Connection], wait([self._control, *self._incoming])):
                try:
                    found = ready.recv()
                except (EOFError, ConnectionError):
                    return
                if ready is self._control:
                    self._obey(found)
                else:
                    self._waiting.append(found)

    def _obey(self, command: tuple[Any, ...]) -> None:
        if command[0] == "begin":
            self._begin(0)
            return
        _, self._requests, self._tokens, self._prompt_tokens = command
        self._moments.clear()
        for part in self._parts.values():
            part.forget()
        self._control.send("done")

    def _begin(self, request: int) -> None:
        prompt = np.zeros((1, self._prompt_tokens), dtype=np.int64)
        self._waiting.append(Message(0, request, 0, prompt, time.perf_counter()))

    def _compute(self, message: Message) -> None:
        began = time.perf_counter()
        # Prompts are large: with two on their way two devices could wait for each other to read.
        if message.step == 0 and message.token == 1 and message.request + 1 < self._requests:
            self._begin(message.request + 1)
        values = self._parts[message.step](self._unpacked(message.values), message.request)
        last = message.step == self._steps - 1
        given = values.argmax(dim=-1) if last else values
        packed = _packed(given)
        rest(time.perf_counter() - began, self._device)
        if last:
            self._chosen(message, packed)
        else:
            self._hand_on(Message(message.step + 1, message.request, message.token, packed, message.began))

    def _chosen(self, message: Message, token: np.ndarray) -> None:
        moments = self._moments[message.request]
        if not moments:
            moments.append(1000 * message.began)
        moments.append(1000 * time.perf_counter())
        if message.token < self._tokens:
            self._hand_on(Message(0, message.request, message.token + 1, token, message.began))
        elif len(self._moments) == self._requests and all(
            len(found) == self._tokens + 2 for found in self._moments.values()
        ):
            self._control.send(dict(self._moments))

    def _hand_on(self, message: Message) -> None:
        if message.step in self._outgoing:
            self._outgoing[message.step].send(message)
        else:
            self._waiting.append(message)

    def _unpacked(self, values: np.ndarray) -> Tensor:
        found = torch.from_numpy(values)
        if found.dtype == torch.int16:
            found = found.view(torch.bfloat16)
        return found.to(torch_device(self._device))


def _packed(values: Tensor) -> np.ndarray:
    """On the host, for a pipe; numpy has no bfloat16."""
    values = values.contiguous().cpu()
    return (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).numpy()
