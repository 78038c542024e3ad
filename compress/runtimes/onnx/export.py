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
from onnxscript import FLOAT, opset21, opset23
from onnxscript import opset20 as op
from onnxscript.values import Op, Opset
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.signature import Signature
from compress.nn.family import family_of
from compress.nn.forward import forward
from compress.nn.layers import FusedLayer, Int8BlockEmbedding, Int8BlockLinear
from compress.nn.ops.blocks import BLOCK

FILE = "model.onnx"
# The first with an operator for GELU, which runtimes otherwise have to recognise in four others.
OPSET = 20
# The first in which weights may have a scale for each block, and four bits. Only a graph that has such asks for it.
OPSET_WITH_BLOCKS = 21
# The first with one for attention. Only a graph that has it asks for a runtime this new.
OPSET_WITH_ATTENTION = 23
# torch has no type of four bits. This stands for a change of type, from the translation to the end of the export.
OURS = "compress"
AS_INT4 = Op(
    Opset(OURS, 1),
    "AsInt4",
    onnx.defs.OpSchema(
        "AsInt4",
        OURS,
        1,
        inputs=[onnx.defs.OpSchema.FormalParameter("packed", "tensor(uint8)")],
        outputs=[onnx.defs.OpSchema.FormalParameter("values", "tensor(int4)")],
        attributes=[onnx.defs.OpSchema.Attribute("shape", onnx.defs.OpSchema.AttrType.INTS)],
    ),
)


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
    blocks = any(isinstance(part, Int8BlockLinear | Int8BlockEmbedding) for part in module.modules())
    opset = OPSET_WITH_ATTENTION if attention_operator else OPSET_WITH_BLOCKS if blocks else OPSET
    dimensions = {label: torch.export.Dim(label) for named in axes.values() for label in named.values()}
    shapes = {name: {axis: dimensions[label] for axis, label in named.items()} for name, named in axes.items()}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            kwargs={"inputs": inputs},
            dynamo=True,
            opset_version=opset,
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
    _store_int4(proto)
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


def _store_int4(model: onnx.ModelProto) -> None:
    """Give weights in four bits their type: the bytes are there already, as ONNX stores them."""
    graph = model.graph
    packed = {node.output[0]: node for node in graph.node if node.domain == OURS}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in packed.values():
        tensor, (shape,) = stored[node.input[0]], node.attribute
        tensor.data_type = onnx.TensorProto.INT4
        tensor.dims[:] = shape.ints
    for node in graph.node:
        node.input[:] = [packed[name].input[0] if name in packed else name for name in node.input]
    for node in packed.values():
        graph.node.remove(node)
    for entry in [entry for entry in model.opset_import if entry.domain == OURS]:
        model.opset_import.remove(entry)


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
        torch.ops.compress.int8_block_linear.default: _block_linear,
        torch.ops.compress.int4_block_linear.default: _int4_block_linear,
        torch.ops.compress.int8_block_embedding.default: _block_embedding,
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
    product = op.MatMul(restored, op.DequantizeLinear(weight, weight_scale, axis=1))
    # Of two dimensions, as the head's, ONNX Runtime makes MatMul and Add one Gemm before it looks for integers, and
    # then scales the weights back at every call.
    return op.Sum(product, bias) if len(inputs.shape) == 2 else op.Add(product, bias)


def _block_linear(inputs: Any, weight: Any, weight_scale: Any, bias: Any) -> Any:
    # Rows of outputs are turned into columns, and scales widened, once, when a session opens. ONNX Runtime then makes
    # one operator of the last two, which rounds the inputs to int8 block by block; and a table that a head reads can be
    # looked up row by row all the same (benchmarks/block_forms.py).
    scale: Any = op.Cast(op.Transpose(weight_scale, perm=[1, 0]), to=FLOAT.dtype)
    columns = opset21.Transpose(weight, perm=[1, 0])
    product = op.MatMul(inputs, opset21.DequantizeLinear(columns, scale, axis=0, block_size=BLOCK))
    return product if bias is None else op.Add(product, bias)


def _int4_block_linear(inputs: Any, weight: Any, weight_scale: Any, bias: Any) -> Any:
    shape = [weight_scale.shape[0], inputs.shape[-1]]
    return _block_linear(inputs, AS_INT4(weight, shape=shape), weight_scale, bias)


def _block_embedding(indices: Any, weight: Any, weight_scale: Any) -> Any:
    # In parts: OpenVINO refuses scales that are no constants, and ONNX Runtime makes no operator in blocks of a product
    # whose inputs come from a `DequantizeLinear` as well.
    scales: Any = op.Cast(op.Gather(weight_scale, indices), to=FLOAT.dtype)
    values: Any = op.Cast(op.Gather(weight, indices), to=FLOAT.dtype)
    scale, width = op.Unsqueeze(scales, _integers(-1)), weight.shape[1]
    leading = [0] * len(indices.shape)
    if width % BLOCK == 0:
        blocks = op.Reshape(values, _integers(*leading, -1, BLOCK))
        return op.Reshape(op.Mul(blocks, scale), _integers(*leading, width))
    blocks = op.Expand(scale, _integers(*(1 for _ in leading), 1, BLOCK))
    widened = op.Reshape(blocks, _integers(*leading, -1))
    return op.Mul(values, op.Slice(widened, _integers(0), _integers(width), _integers(-1)))


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
