"""An exported folder as one `.tflite` file, which LiteRT runs on phones and small devices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.export_form import Exported, FormDefaults
from compress.core.runtime import OneCall
from compress.core.signature import SEQUENCE, Signature

FILE = "model.tflite"
WAY_OUT = "Export the model again: compress-export RUN --to litert"
# What a signature is called that takes one row of so many positions; without positions there is one.
OF_LENGTH, ONLY = "length_", "row"
SHORTEST = 16
USAGE = """\
from ai_edge_litert.interpreter import Interpreter

model = Interpreter("FILE")
# One row, padded with zeros to one of the lengths LENGTHS: GIVEN
row = model.get_signature_runner("SIGNATURE")
(OUTPUT,) = row(INPUTS).values()
"""


@dataclass(frozen=True, kw_only=True)
class LiteRtForm(FormDefaults):
    """threads: how many one inference uses."""

    threads: int

    name: ClassVar[str] = "litert"
    label: ClassVar[str] = "LiteRT"
    package: ClassVar[tuple[str, str]] = ("litert_torch", "'compress[litert]'")

    def write(self, exported: Exported, folder: Path) -> Sequence[str]:
        """Write `model.tflite`: a signature for each length, of one row. What holds integers of at most eight bits is
        stored so again, with ranges of the inputs that are found anew for each row."""
        from compress.runtimes.litert.convert import convert

        assert exported.signature is not None
        lengths = lengths_of(exported.folder, exported.signature)
        integers = convert(exported, lengths, folder / FILE)
        size = (folder / FILE).stat().st_size / 1e6
        shapes = f"one row of {_listed(lengths)} positions" if lengths else "one row"
        weights = "weights of dense layers and tables in eight bits" if integers else "FP32 weights"
        return [f"{FILE}: {size:.1f} MB, {shapes}, {weights}"]

    def open(self, folder: Path, signature: Signature) -> LiteRtSession:
        """Load `model.tflite`. Raises InputError where it is missing or damaged."""
        from ai_edge_litert.interpreter import Interpreter

        path = folder / FILE
        if not path.is_file():
            raise InputError(f"{folder} has no {FILE}. {WAY_OUT}.")
        require_inside(folder, path)
        try:
            interpreter = Interpreter(str(path), num_threads=self.threads)
            return LiteRtSession(interpreter, signature)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{path} is refused by LiteRT ({error}). {WAY_OUT}.") from error

    def usage(self, signature: Signature | None) -> str:
        """Python that loads and calls it."""
        assert signature is not None
        inputs = ", ".join(f"args_{number}={port.name}" for number, port in enumerate(signature.inputs))
        given = ", ".join(f"{port.name} of {port.dtype.replace('int64', 'int32')}" for port in signature.inputs)
        text = USAGE.replace("FILE", FILE).replace("GIVEN", given).replace("INPUTS", inputs)
        text = text.replace("OUTPUT", signature.output.name)
        if signature.mask is None:
            return text.replace(", padded with zeros to one of the lengths LENGTHS", "").replace("SIGNATURE", ONLY)
        return text.replace("LENGTHS", f"in {OF_LENGTH}16 and so on").replace("SIGNATURE", f"{OF_LENGTH}16")


class LiteRtSession(OneCall):
    """One loaded file. Each row is padded to the shortest length that takes it."""

    def __init__(self, interpreter: Any, signature: Signature) -> None:
        """Raises ValueError where the file takes something else."""
        self._interpreter, self._signature = interpreter, signature
        names = interpreter.get_signature_list()
        wanted = [f"args_{number}" for number in range(len(signature.inputs))]
        for name, ports in names.items():
            if sorted(ports["inputs"]) != sorted(wanted):
                raise ValueError(f"its signature {name} takes {', '.join(ports['inputs'])}, not {', '.join(wanted)}")
        self._lengths = sorted(int(name.removeprefix(OF_LENGTH)) for name in names if name.startswith(OF_LENGTH))
        if not self._lengths and ONLY not in names:
            raise ValueError("it has no signature of one row")

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The output of one batch, row by row. Raises InputError for a row that is longer than any signature."""
        lengths = self._signature.lengths(inputs)
        rows = len(next(iter(inputs.values())))
        if lengths is None:
            return np.concatenate(
                [self._call(ONLY, {name: v[i : i + 1] for name, v in inputs.items()}) for i in range(rows)]
            )
        outputs = [self._row(inputs, row, length) for row, length in enumerate(lengths)]
        if not self._signature.per_position:
            return np.concatenate(outputs)
        axis = self._signature.output.axes.index(SEQUENCE)
        width = inputs[str(self._signature.mask)].shape[1]
        return np.concatenate([_to_length(output, axis, width) for output in outputs])

    def _row(self, inputs: Mapping[str, np.ndarray], row: int, length: int) -> np.ndarray:
        padded = next((known for known in self._lengths if known >= length), None)
        if padded is None:
            raise InputError(f"a row has {length} positions, and {FILE} takes {self._lengths[-1]} at most.")
        given = {}
        for port in self._signature.inputs:
            values = inputs[port.name][row : row + 1]
            if SEQUENCE in port.axes:
                axis = port.axes.index(SEQUENCE)
                values = _to_length(np.take(values, range(length), axis), axis, padded)
            given[port.name] = values
        output = self._call(f"{OF_LENGTH}{padded}", given)
        if not self._signature.per_position:
            return output
        return np.take(output, range(length), self._signature.output.axes.index(SEQUENCE))

    def _call(self, name: str, given: Mapping[str, np.ndarray]) -> np.ndarray:
        runner = self._interpreter.get_signature_runner(name)
        # Whole numbers of 64 bits have become 32.
        kinds = {name: details["dtype"] for name, details in runner.get_input_details().items()}
        names = {f"args_{number}": port.name for number, port in enumerate(self._signature.inputs)}
        numbered = {name: given[port].astype(kinds[name]) for name, port in names.items()}
        (output,) = runner(**numbered).values()
        # It is a view of memory that the next call writes into.
        return np.array(output)


def lengths_of(folder: Path, signature: Signature) -> list[int]:
    """The lengths that get a signature each: powers of two, and the longest that the tokenizer gives; none where rows
    have no positions. Raises InputError where the folder does not say how long rows are."""
    if signature.mask is None:
        return []
    try:
        longest = int(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["truncation"]["max_length"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"--to is litert, whose rows have fixed lengths, and {folder} has no tokenizer.json that says how long a "
            "text may be. Export the model again."
        ) from None
    powers = [SHORTEST << step for step in range(longest.bit_length()) if SHORTEST << step < longest]
    return [*powers, longest]


def _to_length(values: np.ndarray, axis: int, length: int) -> np.ndarray:
    """With zeros at the end of an axis."""
    missing = [(0, length - size if place == axis else 0) for place, size in enumerate(values.shape)]
    return np.pad(values, missing)


def _listed(lengths: Sequence[int]) -> str:
    return ", ".join(map(str, lengths[:-1])) + (" or " if len(lengths) > 1 else "") + str(lengths[-1])


FORM = LiteRtForm
