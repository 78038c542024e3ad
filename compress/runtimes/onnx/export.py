"""A model as one ONNX file of standard operators, with any number of rows and any length."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxscript import FLOAT, opset23
from onnxscript import opset20 as op
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.signature import Signature
from compress.nn.family import family_of
from compress.nn.forward import forward
from compress.nn.layers import FusedLayer

FILE = "model.onnx"
# The first with an operator for GELU, which runtimes otherwise have to recognise in four others.
OPSET = 20
# The first with one for attention. Only a graph that has it asks for a runtime this new.
OPSET_WITH_ATTENTION = 23


def export_onnx(
    model: PreTrainedModel,
    signature: Signature,
    batch: Mapping[str, Tensor],
    folder: Path,
    *,
    attention_operator: bool = True,
) -> Path:
    """Write `model.onnx` into `folder` and return its path.

    batch: an example of at least two rows, or the exporter freezes their number. The graph has the signature's inputs
    and its outputs. attention_operator: see `export_module`.
    """
    if len(batch[signature.names[0]]) < 2:
        raise ValueError("the example batch needs at least two rows")
    attention = model.config._attn_implementation
    # The eager form adds one mask made once. The fused form guards every layer against rows that are all masked, which
    # costs a third of a small model's time in ONNX Runtime.
    model.set_attn_implementation("eager")
    try:
        module = _OutputOnly(model, signature)
        return export_module(module, signature, batch, folder, attention_operator=attention_operator)
    finally:
        model.set_attn_implementation(attention)


def export_module(
    module: nn.Module,
    signature: Signature,
    batch: Mapping[str, Tensor],
    folder: Path,
    *,
    attention_operator: bool = True,
) -> Path:
    """Write `model.onnx` of any module whose `forward(inputs)` takes the signature's inputs by name and returns its
    output.

    batch: an example of them. attention_operator: whether fused layers may use ONNX's operator for attention, which not
    every runtime has.
    """
    inputs, axes = {name: batch[name] for name in signature.names}, signature.dynamic_axes()
    attention_operator = attention_operator and any(isinstance(part, FusedLayer) for part in module.modules())
    dimensions = {label: torch.export.Dim(label) for named in axes.values() for label in named.values()}
    shapes = {name: {axis: dimensions[label] for axis, label in named.items()} for name, named in axes.items()}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs={"inputs": inputs},
            dynamo=True,
            opset_version=OPSET_WITH_ATTENTION if attention_operator else OPSET,
            dynamic_shapes={"inputs": shapes},
            input_names=list(inputs),
            output_names=[port.name for port in (signature.output, *signature.more)],
            custom_translation_table=translations(attention_operator=attention_operator),
            external_data=False,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    # The exporter's shapes contradict ONNX's own inference, and other tools then refuse the file.
    del proto.graph.value_info[:]
    _keep_norms_apart(proto.graph)
    path = folder / FILE
    onnx.save(proto, path)
    return path


def _keep_norms_apart(graph: onnx.GraphProto) -> None:
    """Write additions that are normalised next as `Sum`, which is the same. ONNX Runtime fuses `Add` with the
    normalisation, to an operator that is slower than the two (benchmarks/graph_forms.py, `fused_norm`)."""
    normalised = {node.input[0] for node in graph.node if node.op_type == "LayerNormalization"}
    for node in graph.node:
        if node.op_type == "Add" and node.output[0] in normalised:
            node.op_type = "Sum"


class _OutputOnly(nn.Module):
    def __init__(self, model: PreTrainedModel, signature: Signature) -> None:
        super().__init__()
        self.model, self.signature = model, signature
        self.hides_padding_only = family_of(model.config).attention_mask == "padding"

    def forward(self, inputs: dict[str, Any]) -> Tensor | tuple[Tensor, ...]:
        name = self.signature.mask
        if name is not None and self.hides_padding_only:
            # Made once, here: given a mask in two dimensions, Transformers checks and expands it at great length.
            blocked = (1 - inputs[name].to(torch.float32)) * torch.finfo(torch.float32).min
            inputs = {**inputs, name: blocked[:, None, None, :]}
        answer = forward(self.model, self.signature, inputs)
        return (answer.output, *answer.more) if answer.more else answer.output


def translations(*, attention_operator: bool = False) -> dict[Callable[..., Any], Callable[..., Any]]:
    """For each of our operators, the standard ONNX operators that it is defined by."""
    return {
        torch.ops.compress.int8_dynamic_linear.default: _dynamic_linear,
        torch.ops.compress.int8_static_linear.default: _static_linear,
        torch.ops.compress.attention.default: _attention if attention_operator else _attention_in_parts,
    }


def _dynamic_linear(inputs: Any, weight: Any, weight_scale: Any, bias: Any) -> Any:
    quantized, scale, zero_point = op.DynamicQuantizeLinear(inputs)
    sums = op.Cast(op.MatMulInteger(quantized, weight, zero_point), to=FLOAT.dtype)
    return op.Add(op.Mul(sums, op.Mul(scale, weight_scale)), bias)


def _static_linear(
    inputs: Any, input_scale: Any, input_zero_point: Any, weight: Any, weight_scale: Any, bias: Any
) -> Any:
    quantized = op.QuantizeLinear(inputs, input_scale, input_zero_point)
    restored = op.DequantizeLinear(quantized, input_scale, input_zero_point)
    return op.Add(op.MatMul(restored, op.DequantizeLinear(weight, weight_scale, axis=1)), bias)


def _attention(projections: Sequence[Any], mask: Any, heads: int) -> Any:
    query, key, value = _one_by_one(projections, axis=2)
    if mask is not None and projections[0].shape[1] != 1:
        # ONNX Runtime reads a row for every query. They are made from the mask's shape, so that all layers share them.
        rows = op.Concat(_integers(1, 1), op.Shape(mask, start=3), _integers(1), axis=0)
        mask = op.Expand(mask, rows)
    # Given three dimensions it reads each head where it lies, and nothing is transposed.
    return opset23.Attention(query, key, value, mask, q_num_heads=heads, kv_num_heads=heads, scale=1.0)[0]


def _attention_in_parts(projections: Sequence[Any], mask: Any, heads: int) -> Any:
    size = sum(part.shape[2] for part in projections) // 3 // heads
    by_head = _integers(0, 0, -1, size)
    # Put in order all at once, and only then taken apart: OpenVINO is faster so.
    ordered = [op.Transpose(op.Reshape(part, by_head), perm=[0, 2, 1, 3]) for part in projections]
    query, key, value = _one_by_one(ordered, axis=1)
    scores = op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2]))
    if mask is not None:
        scores = op.Add(scores, mask)
    context = op.Transpose(op.MatMul(op.Softmax(scores, axis=-1), value), perm=[0, 2, 1, 3])
    return op.Reshape(context, _integers(0, 0, -1))


def _integers(*values: int) -> Any:
    return op.Constant(value_ints=values)


def _one_by_one(projections: Sequence[Any], *, axis: int) -> Sequence[Any]:
    *apart, last = projections
    together = 3 - len(apart)
    return [*apart, last] if together == 1 else [*apart, *op.Split(last, num_outputs=together, axis=axis)]


@contextlib.contextmanager
def _quiet() -> Any:
    # The exporter prints progress, and warns about packages that nothing here needs.
    names = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
