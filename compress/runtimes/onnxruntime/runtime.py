"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compress.core.checks import require_integer
from compress.core.signature import Signature
from compress.runtimes.onnx.file import onnx_file
from compress.runtimes.onnx.form import OnnxForm
from compress.runtimes.onnxruntime.decoder import DecoderSession
from compress.runtimes.onnxruntime.session import OnnxSession, SessionSettings


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime(OnnxForm):
    """threads: how many threads one inference uses."""

    threads: int

    name: ClassVar[str] = "onnxruntime"
    attention_operator: ClassVar[bool] = True
    decodes: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("onnxruntime",)
    refuses: ClassVar[Mapping[str, str]] = {}
    label: ClassVar[str] = "ONNX Runtime"
    rounds: ClassVar[bool] = False
    snippet: ClassVar[tuple[str, str, str]] = (
        "onnxruntime",
        'session = onnxruntime.InferenceSession("model.onnx")',
        "session.run(None, INPUTS)[0]",
    )

    def __post_init__(self) -> None:
        require_integer("runtime.threads", self.threads, 1, "Leave it out to use every core this process may use.")

    def open(self, folder: Path, signature: Signature) -> OnnxSession | DecoderSession:
        """Open `folder/model.onnx`. Raises InputError where it is missing, damaged or names a file elsewhere."""
        session = SessionSettings.usual(self.threads, pinned=True).start(onnx_file(folder))
        return OnnxSession(session, signature) if signature.decoding is None else DecoderSession(session, signature)
