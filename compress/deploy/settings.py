"""How an export is served: what a runtime's session is set up with, and how texts become batches. Plain values."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.checks import require_boolean, require_choice, require_integer
from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.runtime import OneCall, Session
from compress.core.signature import Signature
from compress.deploy.batching import PADDINGS
from compress.runtimes.onnxruntime.session import OnnxSession, SessionSettings

MODEL = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Batching:
    """batch_size: how many examples are computed together at most. padding: see `batching.padded_length`."""

    batch_size: int
    padding: str

    def __post_init__(self) -> None:
        require_integer("batch_size", self.batch_size, 1, "Use 1 for one example at a time.")
        require_choice("padding", self.padding, PADDINGS)


@dataclass(frozen=True, kw_only=True)
class OnnxServing(SessionSettings):
    """A session of ONNX Runtime."""

    name: ClassVar[str] = "onnxruntime"

    def __post_init__(self) -> None:
        require_integer("threads", self.threads, 1, "Leave it out to use every core this process may use.")
        require_integer("inter_op_threads", self.inter_op_threads, 1, "Use 1 for one operator after the other.")
        for setting in ("spinning", "pinned", "memory_arena", "memory_pattern"):
            require_boolean(setting, getattr(self, setting))

    def open_folder(self, folder: Path, signature: Signature) -> Session:
        """Open an export. Raises InputError where the package is missing, or the file cannot be used."""
        if find_spec("onnxruntime") is None:
            raise InputError(
                f"{folder} runs on ONNX Runtime, whose package is not installed. Install it: pip install onnxruntime"
            )
        session = self.start(_model_of(folder))
        _require_ports(
            folder,
            signature,
            {entry.name for entry in session.get_inputs()},
            {entry.name for entry in session.get_outputs()},
        )
        return OnnxSession(session, signature)


@dataclass(frozen=True, kw_only=True)
class OpenVinoServing:
    """A compiled model of OpenVINO. precision: of float arithmetic, as the run measured it."""

    threads: int
    precision: str

    name: ClassVar[str] = "openvino"

    def __post_init__(self) -> None:
        require_integer("threads", self.threads, 1, "Leave it out to use every core this process may use.")

    def open_folder(self, folder: Path, signature: Signature) -> Session:
        """Open an export. Raises InputError where the package is missing, or the file cannot be used."""
        if find_spec("openvino") is None:
            raise InputError(
                f"{folder} runs on OpenVINO, whose package is not installed. Install it: pip install openvino"
            )
        from compress.runtimes.openvino.runtime import OpenVinoRuntime

        runtime = OpenVinoRuntime(threads=self.threads, precision=self.precision)
        return OneAtATime(runtime.compile(_model_of(folder), signature))


class OneAtATime(OneCall):
    """A session that several threads may call, of one that computes for one of them at a time."""

    def __init__(self, session: Session) -> None:
        self._session, self._lock = session, threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch, the caller's own: the session's is overwritten by the next call."""
        with self._lock:
            return np.array(self._session.run(inputs))


SessionKind = OnnxServing | OpenVinoServing
SESSIONS: Mapping[str, type[OnnxServing] | type[OpenVinoServing]] = {
    kind.name: kind for kind in (OnnxServing, OpenVinoServing)
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that changes how fast an export is served."""

    session: SessionKind
    batching: Batching

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"runtime": self.session.name, "session": asdict(self.session), "batching": asdict(self.batching)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """What `to_json` gave. Raises KeyError, TypeError or InputError for anything else."""
        kind = SESSIONS[data["runtime"]]
        return cls(session=kind(**data["session"]), batching=Batching(**data["batching"]))


def usual_session(runtime: Mapping[str, Any], name: str, threads: int) -> SessionKind:
    """How a session is set up where nobody has tuned it. runtime: what the run's settings say of its own; name: of it.

    Threads are not pinned to processors, as a run's are while they are timed: the threads of several servers on one
    machine would be pinned to the same ones.
    """
    if name == OpenVinoServing.name:
        return OpenVinoServing(threads=threads, precision=str(runtime["precision"]))
    return OnnxServing.usual(threads, pinned=False)


def _require_ports(folder: Path, signature: Signature, inputs: set[str], outputs: set[str]) -> None:
    if not inputs <= set(signature.names) or signature.output.name not in outputs:
        raise InputError(
            f"{folder / MODEL} takes {', '.join(sorted(inputs))} and gives {', '.join(sorted(outputs))}; the folder's "
            f"manifest says {', '.join(signature.names)} and {signature.output.name}. Export the model again."
        )


def _model_of(folder: Path) -> Path:
    path = folder / MODEL
    if not path.is_file():
        raise InputError(f"{folder} has no {MODEL}. Give a folder that a run exported.")
    require_inside(folder, path)
    return path
