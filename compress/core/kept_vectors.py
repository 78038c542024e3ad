"""Forms in which an exported model gives its vectors, besides the usual one, for an index that keeps many of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from compress.core.signature import Port, Signature

if TYPE_CHECKING:
    from compress.core.runtime import Runtime

# `int8`: 256 steps of each dimension's range. `binary`: one bit a dimension, eight in a byte, the first the highest.
FLOAT, INT8, BINARY = "float", "int8", "binary"
# What each form is called as an output: what sentence-transformers calls such a precision.
PRECISIONS: Mapping[str, str] = {INT8: "int8", BINARY: "ubinary"}
# The ranges of INT8, beside the graph: (2, dimensions) in float32, the least and the greatest value.
RANGES = "int8_ranges.npy"


@dataclass(frozen=True)
class VectorForm:
    """name: of the form. output: what the graph calls it. bytes_per_million: what an index keeps of a million texts.
    statistics: the metric's, (examples, columns), by the split they are of; empty for float, which others measured."""

    name: str
    output: str
    bytes_per_million: int
    statistics: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class KeptVectors:
    """folder: what the runtime opens, with all outputs. forms: float first."""

    folder: Path
    forms: tuple[VectorForm, ...]


@runtime_checkable
class KeepsVectors(Protocol):
    """A task whose vectors an index may keep in fewer bytes."""

    def kept_statistics(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], form: str, kept: np.ndarray
    ) -> np.ndarray:
        """The metric's statistics, as `Task.statistics`, where what is to be found was kept in a form and queries were
        not. outputs: each row's vector. kept: (rows, dimensions), the same as they read after being kept."""
        ...

    def kept_usage(self, runtime: Runtime, forms: Sequence[str]) -> str:
        """Python that makes an index of an exported folder's vectors in each form, and asks it."""
        ...


def port_of(output: Port, form: str) -> Port:
    """What a graph that gives vectors as `output` calls those of another form."""
    axes = (output.axes[0], "bytes") if form == BINARY else output.axes
    return Port(f"{output.name}_{PRECISIONS[form]}", axes, {INT8: "int8", BINARY: "uint8"}[form])


def ports_of(signature: Signature, forms: Sequence[str]) -> tuple[Port, ...]:
    """The same of several forms; none for float."""
    return tuple(port_of(signature.output, form) for form in forms if form != FLOAT)
