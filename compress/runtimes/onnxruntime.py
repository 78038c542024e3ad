"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """threads: how many threads one inference uses."""

    threads: int

    name: ClassVar[str] = "onnxruntime"
    needs_export: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_integer("runtime.threads", self.threads, 1, "Leave it out to use every core this process may use.")

    def open(self, folder: Path) -> OnnxSession:
        """Open `folder/model.onnx`. Raises InputError where it is missing, damaged or names a file elsewhere."""
        import onnxruntime

        path = folder / "model.onnx"
        if not path.is_file():
            raise InputError(f"{folder} has no model.onnx. Give a folder that a run exported.")
        require_data_inside(path)
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


def require_data_inside(path: Path) -> None:
    """Raise InputError where an ONNX file keeps weights outside its own folder, or cannot be read at all."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors

    try:
        graph = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or no ONNX file ({error}). Export the model again.") from error
    for tensor in _get_all_tensors(graph):
        for entry in tensor.external_data:
            outside = Path(entry.value).is_absolute() or ".." in Path(entry.value).parts
            if entry.key == "location" and outside:
                raise InputError(f"{path} keeps weights in {entry.value!r}, which leaves its folder. Do not use it.")
