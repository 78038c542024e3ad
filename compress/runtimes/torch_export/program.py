"""A model as a program of torch, traced with any number of rows and any length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from transformers import PreTrainedModel

from compress.core.errors import InputError
from compress.core.signature import BATCH, SEQUENCE, Signature
from compress.nn.forward import forward


def traced(model: PreTrainedModel, signature: Signature, batch: Mapping[str, Tensor]) -> ExportedProgram:
    """The program of one call: the signature's inputs, in order, to its output.

    batch: an example of at least two rows. Rows may be any number, and so may positions. Raises InputError for a model
    that computes something else for another length.
    """
    attention = model.config._attn_implementation
    # The eager form reads a mask by adding it; the fused one looks whether any position is masked at all, and what it
    # sees in the example would be what the program holds for all.
    model.set_attn_implementation("eager")
    try:
        inputs = tuple(batch[name] for name in signature.names)
        shapes = tuple(
            {axis: Dim.DYNAMIC for axis, label in enumerate(port.axes) if label in (BATCH, SEQUENCE)}
            for port in signature.inputs
        )
        with torch.no_grad():
            return torch.export.export(_OneCall(model, signature), inputs, dynamic_shapes=(shapes,), strict=False)
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        raise InputError(
            f"torch.export cannot trace a {type(model).__name__} for any length ({str(error).splitlines()[0]}). Use "
            "another form, such as the export itself, which is ONNX."
        ) from error
    finally:
        model.set_attn_implementation(attention)


class _OneCall(nn.Module):
    def __init__(self, model: PreTrainedModel, signature: Signature) -> None:
        super().__init__()
        self.model, self.signature = model, signature

    def forward(self, *inputs: Tensor) -> Tensor:
        batch = dict(zip(self.signature.names, inputs, strict=True))
        return forward(self.model, self.signature, batch).output
