"""From a checkpoint to a `.tflite` file, by LiteRT's own converter."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from compress.core.errors import InputError
from compress.core.export_form import Exported
from compress.core.signature import SEQUENCE, Signature
from compress.nn.forward import forward
from compress.runtimes.litert.form import OF_LENGTH, ONLY
from compress.runtimes.torch_export.operators import in_torch_alone
from compress.runtimes.transformers.plain import scale_back


def convert(exported: Exported, lengths: Sequence[int], path: Path) -> bool:
    """Write the file, with a signature of one row for each length; of one row where there are none. Returns whether its
    weights are integers. Raises InputError where the converter refuses the model.

    The model's integers are scaled back, converted as FP32, and rounded again to eight bits for each output channel:
    where they have eight bits and the largest is 127, they are the same integers.
    """
    # What the two libraries print of their own progress is none of the command's.
    with contextlib.redirect_stdout(io.StringIO()):
        return _convert(exported, lengths, path)


def _convert(exported: Exported, lengths: Sequence[int], path: Path) -> bool:
    import litert_torch

    assert exported.signature is not None
    model, signature = exported.model, exported.signature
    integers = scale_back(model) > 0
    # The fused form looks whether any position is masked at all, and what it sees in the example would hold for all.
    model.set_attn_implementation("eager")
    call = _OneCall(model, signature).eval()
    converter: Any = litert_torch
    wanted: Sequence[int | None] = lengths or [None]
    try:
        for length in wanted:
            name, row = ONLY if length is None else f"{OF_LENGTH}{length}", _row(exported, length)
            with torch.no_grad():
                # The converter knows no operator of ours.
                program = in_torch_alone(torch.export.export(call, row, strict=False))
            converter = converter.signature(name, program.module(), row)
        converter.convert().export(str(path))
    except (RuntimeError, ValueError, NotImplementedError, torch._dynamo.exc.UserError) as error:
        raise InputError(
            f"{exported.folder} is refused by LiteRT's converter ({str(error).splitlines()[0]}). Use another form, "
            "such as the export itself, which is ONNX."
        ) from error
    if integers:
        _round(path)
    return integers


def _round(path: Path) -> None:
    """Weights to eight bits, in place; what they are multiplied by is rounded as it comes."""
    from ai_edge_quantizer import quantizer, recipe

    found = quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32()).quantize()
    path.unlink()
    found.export_model(str(path))


def _row(exported: Exported, length: int | None) -> tuple[Tensor, ...]:
    """The first row of the example, cut or padded with zeros to a length. Only its shape counts."""
    assert exported.signature is not None
    row = []
    for port in exported.signature.inputs:
        values = exported.batch[port.name][:1]
        if length is not None and SEQUENCE in port.axes:
            axis = port.axes.index(SEQUENCE)
            shape = list(values.shape)
            shape[axis] = length
            kept = values.narrow(axis, 0, min(length, values.shape[axis]))
            values = torch.zeros(shape, dtype=values.dtype)
            values.narrow(axis, 0, kept.shape[axis]).copy_(kept)
        row.append(values)
    return tuple(row)


class _OneCall(nn.Module):
    def __init__(self, model: Any, signature: Signature) -> None:
        super().__init__()
        self.model, self.signature = model, signature

    def forward(self, *inputs: Tensor) -> Tensor:
        batch = dict(zip(self.signature.names, inputs, strict=True))
        return forward(self.model, self.signature, batch).output
