"""What a model takes and gives: declared by its task, read by everything that calls or exports one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

BATCH = "batch"
# The axis along which rows may have different lengths.
SEQUENCE = "sequence"
# The input that says of each token of a pair whether it is of the first text, 0, or of the second, 1.
TYPES = "token_type_ids"


@dataclass(frozen=True)
class Port:
    """One named tensor. axes: the name of each axis, the first is `batch`. dtype: as numpy calls it."""

    name: str
    axes: tuple[str, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """One use of a model that goes on from what it has said: a prompt is read in one call, then each new token in one.

    state: what a call takes from the one before, as names of inputs begin: `past_key_values`. present: how the outputs
    that hold it begin. prompt_tokens, new_tokens: how many of each one request has, where such uses are timed.
    """

    state: str
    present: str
    prompt_tokens: int
    new_tokens: int


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The tensors of one call, in order.

    inputs: what the model is called with, by name. output: what a student imitates and a runtime returns; `name` is the
    attribute of the model's answer that holds it, and what an export calls it. mask: the input that is 1 where a
    position along `sequence` is real and 0 where it is padding; None where there is no padding. fixed: axes that have
    one size only, such as the height of an image; every other axis of an input may have any. more: what an export gives
    besides, for libraries that read it; nothing here does. asked: where an output is too large to be kept, such as a
    number for every token there is at every position: the name of an array in each batch, (rows, positions, k), of
    places along the output's last axis. What is kept is `compress.measure.kept`. decoding: where one use of the model
    is many calls.
    """

    inputs: tuple[Port, ...]
    output: Port
    mask: str | None
    fixed: Mapping[str, int] = field(default_factory=dict)
    more: tuple[Port, ...] = ()
    asked: str | None = None
    decoding: Decoding | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names."""
        return tuple(port.name for port in self.inputs)

    @property
    def per_position(self) -> bool:
        """Whether there is an output for each position, and not only for each row."""
        return SEQUENCE in self.output.axes

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """For each input the axes whose size may change, by name."""
        return {
            port.name: {i: axis for i, axis in enumerate(port.axes) if axis not in self.fixed} for port in self.inputs
        }

    def positions(self, batch: Mapping[str, Any]) -> int | None:
        """How many positions a batch has, padding among them; None where only the model knows."""
        return None if self.mask is None else int(batch[self.mask].shape[1])

    def lengths(self, batch: Mapping[str, np.ndarray]) -> list[int] | None:
        """How many positions of each row are real; None where all are, or where there are no positions."""
        return None if self.mask is None else np.asarray(batch[self.mask]).sum(axis=1).astype(int).tolist()

    def rows(self, output: np.ndarray, batch: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """The output of each row of a batch without what belongs to padding. Padding is at the end of a row."""
        lengths = self.lengths(batch)
        if not self.per_position or lengths is None:
            return list(output)
        axis = self.output.axes.index(SEQUENCE) - 1
        return [row[(slice(None),) * axis + (slice(length),)] for row, length in zip(output, lengths, strict=True)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return {**asdict(self), "fixed": dict(self.fixed)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Signature:
        """What `to_json` gave, after a round trip through JSON."""
        return cls(
            inputs=tuple(_port(port) for port in data["inputs"]),
            output=_port(data["output"]),
            mask=data["mask"],
            fixed=data["fixed"],
            more=tuple(_port(port) for port in data["more"]),
            asked=data["asked"],
            decoding=None if data["decoding"] is None else Decoding(**data["decoding"]),
        )


def _port(data: Mapping[str, Any]) -> Port:
    return Port(data["name"], tuple(data["axes"]), data["dtype"])
