"""Plain PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compress.core.checks import require_integer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class TorchRuntime:
    """threads: how many threads one inference uses."""

    threads: int

    name: ClassVar[str] = "torch"
    needs_export: ClassVar[bool] = False
    attention_operator: ClassVar[bool] = False
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    refuses: ClassVar[Mapping[str, str]] = {}
    label: ClassVar[str] = "PyTorch"
    rounds: ClassVar[bool] = False
    snippet: ClassVar[tuple[str, str, str]] = (
        "compress, torch",
        'model = compress.load(".")',
        "model(**{name: torch.tensor(values) for name, values in INPUTS.items()}).logits.detach()",
    )

    def __post_init__(self) -> None:
        require_integer("runtime.threads", self.threads, 1, "Leave it out to use every core this process may use.")

    def open(self, folder: Path) -> TorchSession:
        """Load the checkpoint in `folder`, strictly. Raises InputError where that fails."""
        import torch

        from compress.nn.checkpoint import load_model

        torch.set_num_threads(self.threads)
        return TorchSession(load_model(folder))


class TorchSession:
    """One loaded model."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits of one batch."""
        import torch

        with torch.inference_mode():
            outputs = self._model(**{name: torch.from_numpy(value) for name, value in inputs.items()})
            return outputs.logits.numpy()
