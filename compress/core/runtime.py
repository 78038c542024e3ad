"""What runs a model for the user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from compress.core.signature import Signature

if TYPE_CHECKING:
    import torch


class Reader(Protocol):
    """One use of a model that goes on from what it has read: see `compress.core.signature.Decoding`."""

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Read more tokens, and give the logits of what comes after the last, (rows, vocabulary).

        tokens: (rows, n), the new ones. mask: (rows, all that were read, these among them), 0 where a position is
        padding. Both int64.
        """
        ...


class Session(Protocol):
    """An opened model on a runtime."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The signature's output for one batch."""
        ...

    def reader(self) -> Reader:
        """A use that has read nothing yet. Raises ValueError where the signature has no decoding."""
        ...


class OneCall:
    """What a session says whose use is one call."""

    def reader(self) -> Reader:
        """Raises ValueError."""
        raise ValueError("this model keeps nothing from one call to the next")


class Runtime(Protocol):
    """What runs the model for the user.

    form: what an export for it is called, such as `onnx`; None where it runs the checkpoint itself. files: of what it
    opens, those that it executes. has_latency_table: whether parts of a model can be timed on it, which chooses sizes.
    decodes: whether it can go on from what it has read. libraries: the packages whose versions its results depend on.
    refuses: what a stage may not leave behind for it,
    in the words of `Stage.leaves`, with the reason.
    """

    name: ClassVar[str]
    form: ClassVar[str | None]
    files: ClassVar[tuple[str, ...]]
    has_latency_table: ClassVar[bool]
    decodes: ClassVar[bool]
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
        expression for the output for INPUTS, a dictionary of lists."""
        ...

    def export(self, model: Any, signature: Signature, batch: Mapping[str, torch.Tensor], folder: Path) -> None:
        """Write what it opens into `folder`: nothing, where it runs the checkpoint itself. batch: an example of at
        least two rows."""
        ...

    def export_part(self, module: Any, signature: Signature, batch: Mapping[str, torch.Tensor], folder: Path) -> None:
        """The same for a part of a model, whose `forward` takes a dictionary of the signature's inputs and gives its
        output. Raises ValueError where there is no latency table."""
        ...

    def open(self, folder: Path, signature: Signature) -> Session:
        """Open an export, or an artifact's folder where `form` is None. Raises InputError where it cannot be used."""
        ...
