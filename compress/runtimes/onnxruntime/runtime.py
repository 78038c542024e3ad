"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.errors import InputError
from compress.core.runtime import OneCall
from compress.core.signature import Signature
from compress.runtimes.onnx.file import onnx_file
from compress.runtimes.onnx.form import OnnxForm
from compress.runtimes.onnxruntime.decoder import DecoderSession


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
        import onnxruntime

        path = onnx_file(folder)
        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts all cores of the machine, not those it may use.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        processors = pool_processors(self.threads)
        if processors:
            # Numbered from 1. A session that is told nothing does this by itself; one that is told how many threads
            # does not, and then two threads that spin on one processor wait for each other until the next tick.
            places = ";".join(str(number + 1) for number in processors)
            options.add_session_config_entry("session.intra_op_thread_affinities", places)
        try:
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path} is refused by ONNX Runtime ({error}). Export the model again.") from error
        return OnnxSession(session, signature) if signature.decoding is None else DecoderSession(session, signature)


def pool_processors(threads: int) -> list[int]:
    """The processor of each thread of a session's pool, numbered from 0; the calling thread is one more, and free.

    None where there are fewer processors than threads, or where the system does not say which may be used.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[1:threads] if len(allowed) >= threads else []


class OnnxSession(OneCall):
    """One opened graph."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session, self._output = session, signature.output.name
        self._names = [entry.name for entry in session.get_inputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch."""
        return self._session.run([self._output], {name: inputs[name] for name in self._names})[0]
