"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.errors import InputError
from compress.runtimes.onnx_file import onnx_file


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """threads: how many threads one inference uses."""

    threads: int

    name: ClassVar[str] = "onnxruntime"
    needs_export: ClassVar[bool] = True
    attention_operator: ClassVar[bool] = True
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

    def open(self, folder: Path) -> OnnxSession:
        """Open `folder/model.onnx`. Raises InputError where it is missing, damaged or names a file elsewhere."""
        import onnxruntime

        path = onnx_file(folder)
        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts all cores of the machine, not those it may use.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path} is refused by ONNX Runtime ({error}). Export the model again.") from error
        return OnnxSession(session)


class OnnxSession:
    """One opened graph."""

    def __init__(self, session: object) -> None:
        self._session = session
        self._names = [entry.name for entry in session.get_inputs()]  # type: ignore[attr-defined]

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits of one batch."""
        return self._session.run(["logits"], {name: inputs[name] for name in self._names})[0]  # type: ignore[attr-defined]
