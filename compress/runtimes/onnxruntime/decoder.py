"""A causal language model in ONNX Runtime: a prompt in one call, then each token in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compress.core.signature import Decoding, Signature
from compress.runtimes.onnx.words import IN_PLACE, KEEP

POSITIONS = "position_ids"
# The logits of the last position are enough.
LAST = {KEEP: np.ones(1, dtype=np.int64)}


class DecoderSession:
    """One opened graph whose inputs and outputs hold keys and values: see `compress.runtimes.onnx.decoder`."""

    def __init__(self, session: Any, signature: Signature) -> None:
        assert signature.decoding is not None
        self._session, self._output, self._decoding = session, signature.output.name, signature.decoding
        entries = session.get_inputs()
        # Graphs of earlier versions do not count positions themselves.
        self._counts = all(entry.name != POSITIONS for entry in entries)
        self._empty = {
            entry.name: (entry.shape[1], entry.shape[3])
            for entry in entries
            if entry.name.startswith(f"{self._decoding.state}.")
        }

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits at every position of a batch, (rows, positions, vocabulary). Padding may be at either end."""
        given = self._asked(inputs["input_ids"], inputs["attention_mask"])
        return self._session.run([self._output], {**given, **self._nothing(len(given["input_ids"]))})[0]

    def reader(self) -> CopyingReader | InPlaceReader:
        """A use that has read nothing yet."""
        if IN_PLACE not in self._session.get_modelmeta().custom_metadata_map:
            return CopyingReader(self._session, self._output, self._decoding, self._asked, self._nothing)
        return InPlaceReader(self._session, self._output, self._decoding, self._asked)

    def _asked(self, tokens: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
        """What a call reads besides keys and values."""
        given = {"input_ids": tokens, "attention_mask": mask}
        return given if self._counts else {**given, POSITIONS: positions(mask, tokens.shape[1])}

    def _nothing(self, rows: int) -> dict[str, np.ndarray]:
        return {name: np.zeros((rows, heads, 0, size), dtype=np.float32) for name, (heads, size) in self._empty.items()}


class CopyingReader:
    """Keys and values stay in the runtime's own memory, and are copied into longer tensors at every call: for graphs
    that do not say that they add them in place, such as those of earlier versions."""

    def __init__(self, session: Any, output: str, decoding: Decoding, asked: Any, nothing: Any) -> None:
        self._session, self._asked, self._nothing = session, asked, nothing
        self._outputs = [output, *presents(session, decoding)]
        self._states = [past_of(name, decoding) for name in self._outputs[1:]]
        self._kept: dict[str, Any] | None = None

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        given = self._asked(tokens, mask) | LAST
        if self._kept is None:
            given |= self._nothing(len(tokens))
        logits, *kept = self._session.run_with_ort_values(self._outputs, ort_values(given) | (self._kept or {}))
        self._kept = dict(zip(self._states, kept, strict=True))
        return logits.numpy()[:, -1]


class InPlaceReader:
    """One buffer for the keys and one for the values of each layer, with room for a request as long as those that are
    timed; where more is read, they are copied into ones twice as long."""

    def __init__(self, session: Any, output: str, decoding: Decoding, asked: Any) -> None:
        self._session, self._output, self._asked = session, output, asked
        self._room = rounded_up(decoding.prompt_tokens + decoding.new_tokens)
        shapes = {entry.name: entry.shape for entry in (*session.get_inputs(), *session.get_outputs())}
        self._past_of = {name: past_of(name, decoding) for name in presents(session, decoding)}
        self._sizes = {name: (shapes[name][1], shapes[name][3]) for name in self._past_of.values()}
        self._vocabulary = int(shapes[output][-1])
        self._kept: dict[str, Any] = {}

    def read(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """See `Reader`."""
        self._make_room(*mask.shape)
        logits = empty_value((len(tokens), 1, self._vocabulary))
        places = {self._output: logits} | {name: self._kept[past] for name, past in self._past_of.items()}
        _run_into(self._session, ort_values(self._asked(tokens, mask) | LAST) | self._kept, places)
        return logits.numpy()[:, -1]

    def _make_room(self, rows: int, needed: int) -> None:
        if self._kept and needed <= self._room:
            return
        while self._room < needed:
            self._room *= 2
        for name, (heads, size) in self._sizes.items():
            longer = np.zeros((rows, heads, self._room, size), dtype=np.float32)
            if name in self._kept:
                before = self._kept[name].numpy()
                longer[:, :, : before.shape[2]] = before
            self._kept[name] = ort_value(longer)


def _run_into(session: Any, given: Mapping[str, Any], places: Mapping[str, Any]) -> None:
    """Run with these inputs, the outputs written to where `places` says. A binding cannot do it: it takes no input that
    may be left out."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import OrtDevice, OrtValueVector

    feeds, fetches = OrtValueVector(), OrtValueVector()
    for vector, values in ((feeds, given), (fetches, places)):
        for value in values.values():
            vector.push_back(value._ortvalue)
    device = OrtDevice(OrtDevice.cpu(), OrtDevice.default_memory(), 0)
    options = onnxruntime.RunOptions()
    session.run_with_ortvaluevector(options, list(given), feeds, list(places), fetches, [device] * len(places))


def presents(session: Any, decoding: Decoding) -> list[str]:
    """The outputs that hold keys and values."""
    return [entry.name for entry in session.get_outputs() if entry.name.startswith(f"{decoding.present}.")]


def past_of(name: str, decoding: Decoding) -> str:
    """The input that takes what this output gave."""
    return name.replace(f"{decoding.present}.", f"{decoding.state}.", 1)


def rounded_up(positions: int) -> int:
    """As a power of two, and at least 64."""
    return max(64, 1 << (positions - 1).bit_length())


def ort_values(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """As the runtime takes them, by name."""
    return {name: ort_value(array) for name, array in arrays.items()}


def empty_value(shape: Sequence[int]) -> Any:
    """Room for an output in FP32."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_shape_and_type(list(shape), np.float32)


def ort_value(array: np.ndarray) -> Any:
    """As the runtime takes it."""
    import onnxruntime

    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def positions(mask: np.ndarray, new: int) -> np.ndarray:
    """The numbers of the last `new` positions, counted without padding, (rows, new). mask: (rows, all)."""
    return np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -new:]
