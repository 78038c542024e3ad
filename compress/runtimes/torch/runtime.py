"""Plain PyTorch on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.signature import Signature

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class TorchRuntime:
    """threads: how many threads one inference uses."""

    threads: int

    name: ClassVar[str] = "torch"
    form: ClassVar[str | None] = None
    files: ClassVar[tuple[str, ...]] = ("model.safetensors",)
    has_latency_table: ClassVar[bool] = False
    decodes: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("torch",)
    refuses: ClassVar[Mapping[str, str]] = {}
    label: ClassVar[str] = "PyTorch"
    rounds: ClassVar[bool] = False
    snippet: ClassVar[tuple[str, str, str]] = (
        "compress, torch",
        'model = compress.load(".")',
        "model(**{name: torch.tensor(values) for name, values in INPUTS.items()})[0].detach().numpy()",
    )

    def __post_init__(self) -> None:
        require_integer("runtime.threads", self.threads, 1, "Leave it out to use every core this process may use.")

    def export(self, model: Any, signature: Signature, batch: Mapping[str, Tensor], folder: Path) -> None:
        """Nothing is written: the checkpoint is what runs."""

    def export_part(self, module: Any, signature: Signature, batch: Mapping[str, Tensor], folder: Path) -> None:
        """Raises ValueError."""
        raise ValueError("no parts are timed in plain PyTorch")

    def open(self, folder: Path, signature: Signature) -> TorchSession:
        """Load the checkpoint in `folder`, strictly. Raises InputError where that fails."""
        import torch

        from compress.nn.checkpoint import load_model

        torch.set_num_threads(self.threads)
        return TorchSession(load_model(folder), signature)


class TorchSession:
    """One loaded model."""

    def __init__(self, model: PreTrainedModel, signature: Signature) -> None:
        self._model, self._signature = model, signature

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch."""
        import torch

        from compress.nn.forward import forward, torch_batch

        with torch.inference_mode():
            return forward(self._model, self._signature, torch_batch(inputs)).output.numpy()

    def reader(self) -> TorchReader:
        """A use that has read nothing yet. Raises ValueError where the signature has no decoding."""
        if self._signature.decoding is None:
            raise ValueError("this model keeps nothing from one call to the next")
        return TorchReader(self._model)


class TorchReader:
    """A model with Transformers' own cache of keys and values."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._kept = model, None

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        import torch

        from compress.nn.forward import continued

        with torch.inference_mode():
            logits, self._kept = continued(self._model, torch.from_numpy(tokens), torch.from_numpy(mask), self._kept)
        return logits.numpy()
