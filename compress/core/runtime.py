"""What runs a model for the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np


class Session(Protocol):
    """An opened model on a runtime."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits of one batch."""
        ...


class Runtime(Protocol):
    """What runs the model for the user.

    libraries: the packages whose versions its results depend on. refuses: what a stage may not leave behind for it,
    in the words of `Stage.leaves`, with the reason. attention_operator: whether it is fastest with ONNX's operator for
    attention in its exports.
    """

    name: ClassVar[str]
    needs_export: ClassVar[bool]
    attention_operator: ClassVar[bool]
    libraries: ClassVar[tuple[str, ...]]
    refuses: ClassVar[Mapping[str, str]]

    @property
    def threads(self) -> int:
        """How many threads one inference uses."""
        ...

    @property
    def label(self) -> str:
        """Its name as its makers write it, with the precision of float arithmetic where that is not always FP32. Two
        runtimes of one label, and of the same versions, compute the same."""
        ...

    @property
    def rounds(self) -> bool:
        """Whether it computes float arithmetic in less than FP32."""
        ...

    @property
    def snippet(self) -> tuple[str, str, str]:
        """Python for `Task.usage`: the package to import, a line that opens an export as it was measured, and an
        expression for the logits of INPUTS, a dictionary of lists."""
        ...

    def open(self, folder: Path) -> Session:
        """Open an artifact's folder (its export, where `needs_export`)."""
        ...
