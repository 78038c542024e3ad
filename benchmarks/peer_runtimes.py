"""What runs the peers that compress itself has no runtime for. A worker process builds these by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.signature import Signature
from compress.runtimes.openvino.runtime import OpenVinoRuntime, OpenVinoSession
from compress.runtimes.torch.runtime import TorchRuntime, TorchSession

ENCODER, HEAD = "encoder", "head.npz"


@dataclass(frozen=True, kw_only=True)
class TorchDynamicInt8(TorchRuntime):
    """PyTorch's own dynamic INT8 of a checkpoint, made when it is opened: it has no file format of its own."""

    label: ClassVar[str] = "PyTorch"

    def open(self, folder: Path, signature: Signature) -> TorchSession:
        """Load the checkpoint and quantize its dense layers."""
        import torch

        from compress.nn.checkpoint import load_model

        torch.set_num_threads(self.threads)
        return TorchSession(dynamic_int8(load_model(folder)), signature)


def dynamic_int8(model: Any) -> Any:
    """The model with its dense layers in PyTorch's dynamic INT8, a scale per output channel."""
    import torch
    from torch.ao import quantization

    scheme = quantization.per_channel_dynamic_qconfig
    return quantization.quantize_dynamic(model, {torch.nn.Linear: scheme}, inplace=True).eval()


@dataclass(frozen=True, kw_only=True)
class OpenVinoFile(OpenVinoRuntime):
    """OpenVINO on a file of its own form, as NNCF leaves it."""

    def open(self, folder: Path, signature: Signature) -> OpenVinoSession:
        """Open `folder/model.xml`."""
        return self.compile(folder / "model.xml", signature)


@dataclass(frozen=True, kw_only=True)
class CTranslate2:
    """A BERT encoder in CTranslate2, with pooler and classifier in NumPy."""

    threads: int

    name: ClassVar[str] = "ctranslate2"
    libraries: ClassVar[tuple[str, ...]] = ("ctranslate2",)
    label: ClassVar[str] = "CTranslate2"

    def open(self, folder: Path, signature: Signature) -> CTranslate2Session:
        """Open `folder/encoder` and `folder/head.npz`."""
        # It would import torch for its converters, and its memory would then be torch's.
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
        import ctranslate2

        encoder = ctranslate2.Encoder(
            str(folder / ENCODER), device="cpu", compute_type="int8", inter_threads=1, intra_threads=self.threads
        )
        with np.load(folder / HEAD, allow_pickle=False) as arrays:
            return CTranslate2Session(encoder, dict(arrays))


class CTranslate2Session:
    """One opened encoder with its head."""

    def __init__(self, encoder: Any, head: Mapping[str, np.ndarray]) -> None:
        self._encoder, self._head = encoder, head

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits of one batch."""
        import ctranslate2

        lengths = inputs["attention_mask"].sum(axis=1).astype(np.int32)
        view = ctranslate2.StorageView.from_array
        output = self._encoder.forward_batch(view(inputs["input_ids"].astype(np.int32)), view(lengths))
        first = np.asarray(output.last_hidden_state)[:, 0]
        head = self._head
        pooled = np.tanh(first @ head["pooler.weight"].T + head["pooler.bias"])
        return pooled @ head["classifier.weight"].T + head["classifier.bias"]
