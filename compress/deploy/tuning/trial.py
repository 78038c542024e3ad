"""One way to serve an export, timed in a process of its own: the whole of it, from texts to answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.runtime import OneCall
from compress.core.signature import BATCH, Port, Signature
from compress.deploy.predictor import Predictor
from compress.deploy.settings import Settings
from compress.deploy.tuning.sample import Example
from compress.measure.worker import save_batches

# A call brings its examples as JSON, in bytes: the process that times it need not know what they are.
EXAMPLES = "examples"
SIGNATURE = Signature(inputs=(Port(EXAMPLES, (BATCH,), "uint8"),), output=Port("answers", (BATCH,), "int64"), mask=None)


@dataclass(frozen=True)
class Serve:
    """described: `Settings.to_json`."""

    described: Mapping[str, Any]

    @property
    def threads(self) -> int:
        """How many threads compute one operator."""
        return int(self.described["session"]["threads"])

    def open(self, folder: Path, signature: Signature) -> Calls:
        """A predictor with these settings. Raises InputError where the export cannot be served."""
        return Calls(Predictor(folder, settings=Settings.from_json(self.described)))


class Calls(OneCall):
    """A predictor that a worker calls as it calls a session."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """How many answers a call got."""
        given = [tuple(one) if isinstance(one, list) else one for one in json.loads(inputs[EXAMPLES].tobytes())]
        return np.array([len(self._predictor(given))])


@dataclass(frozen=True)
class Trial:
    """What a worker opens. See `measure.processes.Timed`."""

    runtime: Serve
    folder: Path
    signature: Signature

    @classmethod
    def of(cls, settings: Settings, folder: Path) -> Trial:
        """The export of `folder`, served with these settings."""
        return cls(Serve(settings.to_json()), folder, SIGNATURE)


def write_calls(examples: Sequence[Example], size: int, path: Path) -> int:
    """Write calls of so many examples each, in their order, and return how many there are."""
    parts = [examples[start : start + size] for start in range(0, len(examples), size)]
    texts = [json.dumps(part).encode() for part in parts]
    save_batches(({EXAMPLES: np.frombuffer(text, dtype=np.uint8)} for text in texts), path)
    return len(parts)
