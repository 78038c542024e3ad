"""What the runtimes that read ONNX declare alike."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compress.core.signature import Signature

if TYPE_CHECKING:
    from torch import Tensor


class OnnxForm:
    """Runs `model.onnx`. attention_operator: whether it is fastest with ONNX's operator for attention."""

    form: ClassVar[str | None] = "onnx"
    files: ClassVar[tuple[str, ...]] = ("model.onnx",)
    has_latency_table: ClassVar[bool] = True
    attention_operator: ClassVar[bool]

    def export(self, model: Any, signature: Signature, batch: Mapping[str, Tensor], folder: Path) -> None:
        """Write `folder/model.onnx`."""
        # A worker opens exports by the hundred, and needs no torch.
        if signature.decoding is not None:
            from compress.runtimes.onnx.decoder import export_decoder

            export_decoder(model, signature, folder)
            return
        from compress.runtimes.onnx.export import export_onnx

        export_onnx(model, signature, batch, folder, attention_operator=self.attention_operator)

    def export_part(self, module: Any, signature: Signature, batch: Mapping[str, Tensor], folder: Path) -> None:
        """Write `folder/model.onnx` of a part of a model."""
        from compress.runtimes.onnx.export import export_module

        export_module(module, signature, batch, folder, attention_operator=self.attention_operator)
