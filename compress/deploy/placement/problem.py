"""What a placement is, what it needs on each device, and what it takes: arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from compress.core.placement import DeviceCosts, Link, Step

# A token's number, as it goes back from the head to the embeddings.
TOKEN_BYTES = 8
Phase = Literal["prompt", "token"]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes. blocks: weights of each. caches: keys and values of each for the whole context, of one request.
    shared: of the table that embeddings and head have in common, 0 where each has its own. activations: what any device
    needs besides, to compute."""

    embeddings: int
    blocks: tuple[int, ...]
    caches: tuple[int, ...]
    head: int
    shared: int
    activations: int

    @property
    def total(self) -> int:
        """On a single device."""
        return sum((self.embeddings, *self.blocks, *self.caches, self.head, self.activations)) - self.shared


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything that a choice depends on. memory: bytes of each device, in the user's order. links: by device from and
    to. hidden_bytes: of the hidden state of one token."""

    needs: Needs
    memory: Mapping[str, int]
    costs: Mapping[str, DeviceCosts]
    links: Mapping[tuple[str, str], Link]
    hidden_bytes: int
    prompt_tokens: int

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self.needs.blocks)

    def hop(self, start: str, end: str, phase: Phase) -> float:
        """Milliseconds of the hidden states from one device to another; 0 where it is the same."""
        if start == end:
            return 0.0
        tokens = self.prompt_tokens if phase == "prompt" else 1
        return self.links[start, end].milliseconds(tokens * self.hidden_bytes)

    def back(self, start: str, end: str, phase: Phase) -> float:
        """Milliseconds until the embeddings know the token that the head chose: of every token, once."""
        if start == end or phase == "prompt":
            return 0.0
        return self.links[start, end].milliseconds(TOKEN_BYTES)


@dataclass(frozen=True)
class Run:
    """Blocks `start` to `end` - 1, one after the other on one device."""

    device: str
    start: int
    end: int


@dataclass(frozen=True)
class Placement:
    """embeddings, head: the devices of these. runs: of all blocks, in order; no device has two."""

    embeddings: str
    runs: tuple[Run, ...]
    head: str

    @property
    def devices(self) -> tuple[str, ...]:
        """Those that hold anything, in the order in which a token reaches them."""
        return tuple(dict.fromkeys((self.embeddings, *(run.device for run in self.runs), self.head)))


def steps_of(placement: Placement) -> tuple[Step, ...]:
    """What is done from the embeddings to the head, in order; neighbours on one device are one step."""
    last = placement.runs[-1].end
    parts = [
        Step(placement.embeddings, True, 0, 0, False),
        *(Step(run.device, False, run.start, run.end, False) for run in placement.runs),
        Step(placement.head, False, last, last, True),
    ]
    steps = [parts[0]]
    for part in parts[1:]:
        before = steps[-1]
        if before.device != part.device:
            steps.append(part)
            continue
        steps[-1] = Step(part.device, before.embeddings, before.start, part.end, part.head)
    return tuple(steps)


def bytes_on(needs: Needs, placement: Placement, *, requests: int = 1) -> dict[str, int]:
    """What each device that holds anything must hold. requests: how many are in flight, each with its own cache."""
    found = dict.fromkeys(placement.devices, needs.activations)
    found[placement.embeddings] += needs.embeddings
    found[placement.head] += needs.head
    if placement.embeddings == placement.head:
        found[placement.head] -= needs.shared
    for run in placement.runs:
        inside = slice(run.start, run.end)
        found[run.device] += sum(needs.blocks[inside]) + requests * sum(needs.caches[inside])
    return found


def fits(problem: Problem, placement: Placement, *, requests: int = 1) -> bool:
    """Whether every device holds what it must."""
    found = bytes_on(problem.needs, placement, requests=requests)
    return all(count <= problem.memory[device] for device, count in found.items())


def busy_ms(problem: Problem, placement: Placement, phase: Phase) -> dict[str, float]:
    """Milliseconds that each device computes, for a prompt or for one token after it."""
    found = dict.fromkeys(placement.devices, 0.0)
    found[placement.embeddings] += getattr(problem.costs[placement.embeddings].embeddings, phase)
    found[placement.head] += getattr(problem.costs[placement.head].head, phase)
    for run in placement.runs:
        costs = problem.costs[run.device]
        inside = sum(getattr(block, phase) for block in costs.blocks[run.start : run.end])
        found[run.device] += getattr(costs.entry, phase) + inside
    return found


def total_ms(problem: Problem, placement: Placement, phase: Phase) -> float:
    """Milliseconds of a prompt, or of one token after it, with nothing else in flight."""
    path = (placement.embeddings, *(run.device for run in placement.runs), placement.head)
    hops = sum(problem.hop(start, end, phase) for start, end in pairwise(path))
    back = problem.back(placement.head, placement.embeddings, phase)
    return sum(busy_ms(problem, placement, phase).values()) + hops + back


def period_ms(problem: Problem, placement: Placement, requests: int = 2) -> float:
    """Milliseconds from one token to the next, of any request, with so many in flight.

    No device can give them faster than it computes one, and none faster than each of the requests goes round: the
    cycle time of a closed line of machines whose times do not vary is the larger of the two (Baccelli et al. 1992,
    Synchronization and Linearity, chapter 1). Where a device is passed twice, a bound.
    """
    bottleneck = max(busy_ms(problem, placement, "token").values())
    return max(bottleneck, total_ms(problem, placement, "token") / requests)


def alone(device: str, blocks: int) -> Placement:
    """All of it on one device, whether it fits or not."""
    return Placement(device, (Run(device, 0, blocks),), device)
