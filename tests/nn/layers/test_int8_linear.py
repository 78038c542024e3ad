"""Int8 layers: by hand, near the dense layer, and against the graph that ONNX Runtime executes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn, tensor

from compress.measure.environment import int8_weight_bits
from compress.nn.layers import Int8DynamicLinear, Int8StaticLinear
from compress.nn.ops.int8 import scale_of_range
from compress.runtimes.onnx.export import OPSET, translations


def dense_layer(inputs: int = 24, outputs: int = 10, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias=bias)


def test_dynamic_by_hand() -> None:
    dense = nn.Linear(2, 1)
    with torch.no_grad():
        dense.weight.copy_(tensor([[1.27, -0.634]]))
        dense.bias.copy_(tensor([100.0]))
    layer = Int8DynamicLinear.of(dense)
    assert layer.weight_int8.tolist() == [[127], [-63]]
    # Range 0..255, scale 1: 10.4 becomes 10. (10 * 127 - 255 * 63) * 0.01 + 100
    torch.testing.assert_close(layer(tensor([[10.4, 255.0]])), tensor([[-47.95]]))


def test_static_by_hand_saturates_outside_its_range() -> None:
    dense = nn.Linear(2, 1)
    with torch.no_grad():
        dense.weight.copy_(tensor([[1.27, -1.27]]))
        dense.bias.copy_(tensor([100.0]))
    layer = Int8StaticLinear.of(dense).fix_inputs(tensor(0.5), tensor(55.0))
    # Zero point 55, scale 0.5: from -27.5 to 100. 300 becomes 100, -50 becomes -27.5.
    torch.testing.assert_close(layer(tensor([[300.0, -50.0]])), tensor([[1.27 * 127.5 + 100]]))
    assert int(layer.input_zero_point) == 55
    assert layer.input_zero_point.dtype == torch.uint8


def test_no_bias_is_a_bias_of_zeros() -> None:
    layer = Int8DynamicLinear.of(dense_layer(bias=False))
    assert layer.bias.tolist() == [0.0] * 10


def test_near_the_dense_layer_in_any_shape() -> None:
    dense = dense_layer()
    inputs = torch.randn(2, 5, 24)
    low, high = scale_of_range(inputs.amin(), inputs.amax())
    for layer in (Int8DynamicLinear.of(dense), Int8StaticLinear.of(dense).fix_inputs(low, high)):
        found = layer(inputs)
        assert found.shape == (2, 5, 10)
        assert float((found - dense(inputs)).detach().abs().max()) < 0.05


def test_weights_are_stored_in_a_quarter_of_the_bytes() -> None:
    layer = Int8DynamicLinear.of(dense_layer(384, 1536))
    stored = sum(tensor.numel() * tensor.element_size() for tensor in layer.state_dict().values())
    assert stored == 384 * 1536 + 2 * 4 * 1536
    assert not list(layer.parameters())


class Both(nn.Module):
    """The two forms side by side, so that one export shows both."""

    def __init__(self) -> None:
        super().__init__()
        bits = int8_weight_bits()
        self.dynamic = Int8DynamicLinear.of(dense_layer(), bits)
        self.static = Int8StaticLinear.of(dense_layer(), bits).fix_inputs(*scale_of_range(tensor(-2.0), tensor(2.5)))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return self.dynamic(inputs), self.static(inputs)


def test_the_exported_graph_computes_the_same(tmp_path: Path) -> None:
    both = Both().eval()
    program = torch.onnx.export(
        both,
        (torch.randn(3, 7, 24),),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=({0: torch.export.Dim("rows"), 1: torch.export.Dim("positions")},),
        custom_translation_table=translations(),
        verbose=False,
    )
    onnx.save(program.model_proto, tmp_path / "both.onnx")
    operators = {node.op_type for node in program.model_proto.graph.node}
    assert {"DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear", "DequantizeLinear"} <= operators
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(tmp_path / "both.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for seed, shape in enumerate([(1, 1, 24), (1, 7, 24), (3, 2, 24), (5, 11, 24)]):
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 3
        for ours, theirs in zip(both(inputs), session.run(None, {name: inputs.numpy()}), strict=True):
            # One step of the integers is about 1e-3 here: equal integers, and rounding of the last float.
            np.testing.assert_allclose(theirs, ours.numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("shape", "added"), [((3, 24), "Sum"), ((3, 7, 24), "Add")])
def test_a_product_of_fixed_ranges_is_one_of_integers(shape: tuple[int, ...], added: str, tmp_path: Path) -> None:
    """Also the head's, of one row for each text: of it ONNX Runtime would make a Gemm in FP32."""
    # Of seven bits, sums of two products fit into 16 on every processor.
    static = Int8StaticLinear.of(dense_layer(), 7).fix_inputs(*scale_of_range(tensor(-2.0), tensor(2.5))).eval()
    axes = {axis: torch.export.Dim(f"axis{axis}") for axis in range(len(shape) - 1)}
    program = torch.onnx.export(
        static,
        (torch.randn(shape),),
        dynamo=True,
        opset_version=OPSET,
        dynamic_shapes=(axes,),
        custom_translation_table=translations(),
        verbose=False,
    )
    assert added in {node.op_type for node in program.model_proto.graph.node}
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    left = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "MatMulIntegerToFloat" in left and not left & {"Gemm", "MatMul", "DequantizeLinear"}
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    np.testing.assert_allclose(found, static(inputs).numpy(), rtol=0, atol=1e-5)
