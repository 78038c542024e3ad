"""A causal language model in ONNX Runtime: a prompt in one call, then each token in one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compress.core.signature import Decoding, Signature

KEEP = "logits_to_keep"


class DecoderSession:
    """One opened graph whose inputs and outputs hold keys and values: see `compress.runtimes.onnx.decoder`."""

    def __init__(self, session: Any, signature: Signature) -> None:
        assert signature.decoding is not None
        self._session, self._output, self._decoding = session, signature.output.name, signature.decoding
        self._empty = {
            entry.name: (entry.shape[1], entry.shape[3])
            for entry in session.get_inputs()
            if entry.name.startswith(f"{self._decoding.state}.")
        }

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits at every position of a batch, (rows, positions, vocabulary). Padding may be at either end."""
        given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        given |= {"position_ids": positions(given["attention_mask"], given["input_ids"].shape[1])}
        return self._session.run([self._output], {**given, **self._nothing(len(given["input_ids"]))})[0]

    def reader(self) -> OnnxReader:
        """A use that has read nothing yet."""
        return OnnxReader(self._session, self._output, self._decoding, self._nothing)

    def _nothing(self, rows: int) -> dict[str, np.ndarray]:
        return {name: np.zeros((rows, heads, 0, size), dtype=np.float32) for name, (heads, size) in self._empty.items()}


class OnnxReader:
    """Keys and values stay in the runtime's own memory from one call to the next."""

    def __init__(self, session: Any, output: str, decoding: Decoding, nothing: Any) -> None:
        self._session, self._nothing = session, nothing
        names = [entry.name for entry in session.get_outputs()]
        self._outputs = [output, *(name for name in names if name.startswith(f"{decoding.present}."))]
        self._states = [name.replace(f"{decoding.present}.", f"{decoding.state}.", 1) for name in self._outputs[1:]]
        self._kept: dict[str, Any] | None = None

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        import onnxruntime

        given = {
            "input_ids": tokens,
            "attention_mask": mask,
            "position_ids": positions(mask, tokens.shape[1]),
            KEEP: np.ones(1, dtype=np.int64),
        }
        if self._kept is None:
            given |= self._nothing(len(tokens))
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in given.items()}
        logits, *kept = self._session.run_with_ort_values(self._outputs, values | (self._kept or {}))
        self._kept = dict(zip(self._states, kept, strict=True))
        return logits.numpy()[:, -1]


def positions(mask: np.ndarray, new: int) -> np.ndarray:
    """The numbers of the last `new` positions, counted without padding, (rows, new). mask: (rows, all)."""
    return np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -new:]
