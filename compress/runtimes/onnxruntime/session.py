"""A session of ONNX Runtime, and how it is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from compress.core.errors import InputError
from compress.core.processors import allowed_processors
from compress.core.runtime import OneCall
from compress.core.signature import Signature


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """How a session is set up.

    threads: how many compute one operator. inter_op_threads: how many operators may run at once; 1 is one after the
    other. spinning: whether a thread that has nothing to do looks for work for a while before it sleeps. pinned:
    whether each thread of the pool stays on one processor. memory_arena: whether memory is kept for the next call.
    memory_pattern: whether the place of every tensor is planned for a shape that was seen before.
    """

    threads: int
    inter_op_threads: int
    spinning: bool
    pinned: bool
    memory_arena: bool
    memory_pattern: bool

    @classmethod
    def usual(cls, threads: int, *, pinned: bool) -> Self:
        """ONNX Runtime's own choices, with so many threads."""
        return cls(
            threads=threads, inter_op_threads=1, spinning=True, pinned=pinned, memory_arena=True, memory_pattern=True
        )

    def start(self, path: Path) -> Any:
        """ONNX Runtime's session of a file that was looked at. Raises InputError where ONNX Runtime refuses the
        file."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts all cores of the machine, not those it may use.
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = self.inter_op_threads
        if self.inter_op_threads > 1:
            options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = self.memory_arena
        options.enable_mem_pattern = self.memory_pattern
        if not self.spinning:
            for pool in ("intra_op", "inter_op"):
                options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
        processors = pool_processors(self.threads) if self.pinned else []
        if processors:
            # Numbered from 1. A session that is told nothing does this by itself; one that is told how many threads
            # does not, and then two threads that spin on one processor wait for each other until the next tick.
            places = ";".join(str(number + 1) for number in processors)
            options.add_session_config_entry("session.intra_op_thread_affinities", places)
        try:
            return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InputError(f"{path} is refused by ONNX Runtime ({error}). Export the model again.") from error


def pool_processors(threads: int) -> list[int]:
    """The processor of each thread of a session's pool, numbered from 0; the calling thread is one more, and free.

    None where there are fewer processors than threads, or where the system does not say which may be used.
    """
    allowed = allowed_processors()
    return [] if allowed is None or len(allowed) < threads else allowed[1:threads]


class OnnxSession(OneCall):
    """One opened graph."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session, self._output = session, signature.output.name
        self._names = [entry.name for entry in session.get_inputs()]

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch."""
        return self._session.run([self._output], {name: inputs[name] for name in self._names})[0]
