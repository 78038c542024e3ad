"""INT8 by hand, against exact integers, and against what ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import Tensor, tensor

from compress.measure.environment import int8_weight_bits
from compress.nn.ops.int8 import dynamic_scale, int8_product, quantize_rows, scale_around_zero, scale_of_range


def quantized(inputs: Tensor) -> list[int]:
    """The unsigned values, read off a product with the identity."""
    scale, zero_point = dynamic_scale(inputs)
    product = int8_product(inputs, scale, zero_point, torch.eye(inputs.shape[-1], dtype=torch.int8))
    return [int(value) for value in (product + zero_point.int()).flatten()]


@pytest.mark.parametrize(
    ("inputs", "scale", "zero_point", "values"),
    [
        ([-1.0, 0.0, 2.0], 3 / 255, 85, [0, 85, 255]),
        ([0.0, 0.5, 1.5, 2.5, 255.0], 1.0, 0, [0, 0, 2, 2, 255]),  # halves go to the even neighbour
        ([-0.5, 254.5], 1.0, 0, [0, 254]),  # a zero point of 0.5 goes to 0
        ([-1.5, 253.5], 1.0, 2, [0, 255]),  # one of 1.5 goes to 2; 254 + 2 is cut off at 255
        ([-1.0, 0.5, 254.0], 1.0, 1, [0, 1, 255]),  # rounded first, moved by the zero point afterwards
        ([-255.0, -1.0, -0.4], 1.0, 255, [0, 254, 255]),  # all negative: the range still reaches 0
        ([51.0, 255.0], 1.0, 0, [51, 255]),  # all positive: likewise
        ([0.0, 0.0], 1.0, 0, [0, 0]),
    ],
)
def test_dynamic_by_hand(inputs: list[float], scale: float, zero_point: int, values: list[int]) -> None:
    found_scale, found_zero_point = dynamic_scale(tensor([inputs]))
    assert float(found_scale) == pytest.approx(scale, rel=1e-7)
    assert float(found_zero_point) == zero_point
    assert quantized(tensor([inputs])) == values


def test_scale_around_zero() -> None:
    scale, zero_point = scale_around_zero(tensor(-2.54), tensor(1.0))
    assert float(scale) == pytest.approx(0.02) and int(zero_point) == 128
    assert float(scale_around_zero(tensor(-1.0), tensor(2.54))[0]) == pytest.approx(0.02)
    # Nothing but zeros, and nothing but positive numbers.
    assert float(scale_around_zero(tensor(0.0), tensor(0.0))[0]) == 1
    assert float(scale_around_zero(tensor(1.0), tensor(1.27))[0]) == pytest.approx(0.01)


def test_scale_of_range() -> None:
    scale, zero_point = scale_of_range(tensor(-2.0), tensor(0.55))
    assert float(scale) == pytest.approx(0.01)
    assert float(zero_point) == 200


def test_rows_are_symmetric_with_a_scale_each() -> None:
    weight = tensor([[127.0, -63.5, 0.0], [0.0, 0.0, 0.0], [-254.0, 2.0, 3.0], [0.5, 0.5, 0.5]])
    values, scale = quantize_rows(weight)
    assert values.dtype == torch.int8
    assert values.tolist() == [[127, -64, 0], [0, 0, 0], [-127, 1, 2], [127, 127, 127]]
    torch.testing.assert_close(scale, tensor([1.0, 1.0, 2.0, 0.5 / 127]))


def test_values_too_small_for_a_scale_of_their_own_are_cut_off() -> None:
    # 150 / 127 of the smallest float32 there is are rounded to one of it, 150 steps of which no int8 holds.
    values, scale = quantize_rows(tensor([[150 * 2.0**-149, -3 * 2.0**-149]]))
    assert (values.tolist(), scale.tolist()) == ([[127, -3]], [2.0**-149])


def test_seven_bits_leave_room_for_the_sum_of_two_products() -> None:
    values, scale = quantize_rows(tensor([[0.8, -2.0, 0.5]]), bits=7)
    # 2 / 63 a step: 25.2, 63 and 15.75 of them.
    assert values.tolist() == [[25, -63, 16]]
    assert scale.item() == pytest.approx(2 / 63)
    assert 2 * 255 * 63 < 2**15 <= 2 * 255 * 127


def test_product_by_hand() -> None:
    # Scale 1, zero point 2: inputs stand for -2..253.
    weight = tensor([[1, -128], [127, 3]], dtype=torch.int8)
    found = int8_product(tensor([[-2.0, 253.0], [1.0, 300.0]]), tensor(1.0), tensor(2.0), weight)
    assert found.dtype == torch.int32
    assert found.tolist() == [[-2 + 127 * 253, 256 + 3 * 253], [1 + 127 * 253, -128 + 3 * 253]]


def test_product_of_a_single_column_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a low rank of 1 gives to its second product. torch's own product is not asked: some processors' is wrong."""
    monkeypatch.delattr(torch, "_int_mm")
    weight = tensor([[1, -128, 127]], dtype=torch.int8)
    # Scale 1, zero point 2: inputs stand for -2..253.
    found = int8_product(tensor([[-9.0], [3.4], [300.0]]), tensor(1.0), tensor(2.0), weight)
    assert found.dtype == torch.int32
    assert found.tolist() == [[-2, 256, -254], [3, -384, 381], [253, -128 * 253, 127 * 253]]


finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_product_is_exact_integer_arithmetic(
    rows: int, width: int, outputs: int, seed: int, data: st.DataObject
) -> None:
    inputs = np.array(data.draw(st.lists(finite, min_size=rows * width, max_size=rows * width)), dtype=np.float32)
    inputs = inputs.reshape(rows, width)
    weight = np.random.default_rng(seed).integers(-128, 128, (width, outputs))
    scale, zero_point = dynamic_scale(torch.from_numpy(inputs))
    steps = np.rint(inputs / np.float32(scale)) + float(zero_point)
    expected = (np.clip(steps, 0, 255).astype(np.int64) - int(zero_point)) @ weight
    found = int8_product(torch.from_numpy(inputs), scale, zero_point, torch.from_numpy(weight.astype(np.int8)))
    assert found.tolist() == expected.tolist()


def test_leading_axes_are_kept() -> None:
    inputs = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.ones(4, 5, dtype=torch.int8)
    scale, zero_point = dynamic_scale(inputs)
    together = int8_product(inputs, scale, zero_point, weight)
    assert together.shape == (2, 3, 5)
    assert torch.equal(together[1, 2], int8_product(inputs[1, 2:3], scale, zero_point, weight)[0])


@pytest.fixture(scope="module")
def session() -> Any:
    """DynamicQuantizeLinear, then MatMulInteger, in ONNX Runtime."""
    graph = helper.make_graph(
        [
            helper.make_node("DynamicQuantizeLinear", ["inputs"], ["quantized", "scale", "zero_point"]),
            helper.make_node("MatMulInteger", ["quantized", "weight", "zero_point"], ["sums"]),
        ],
        "dynamic",
        [
            helper.make_tensor_value_info("inputs", TensorProto.FLOAT, ["rows", "width"]),
            helper.make_tensor_value_info("weight", TensorProto.INT8, ["width", "outputs"]),
        ],
        [
            helper.make_tensor_value_info("sums", TensorProto.INT32, ["rows", "outputs"]),
            helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("zero_point", TensorProto.UINT8, []),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def special_inputs() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    halves = (draw.integers(-40, 40, (8, 96)) / 2).astype(np.float32)
    return [
        draw.standard_normal((1, 96)).astype(np.float32),
        draw.standard_normal((33, 96)).astype(np.float32) * 1e-6,
        np.abs(draw.standard_normal((7, 96))).astype(np.float32),
        -np.abs(draw.standard_normal((7, 96))).astype(np.float32) * 1e5,
        np.concatenate([halves, np.full((1, 96), 128.0, np.float32), np.full((1, 96), -127.0, np.float32)]),
        np.zeros((2, 96), np.float32),
        np.full((2, 96), 3.0, np.float32),
    ]


@pytest.mark.parametrize("inputs", special_inputs(), ids=range(7))
def test_same_integers_as_onnxruntime(session: Any, inputs: np.ndarray) -> None:
    # On x86 without VNNI ONNX Runtime adds two products in 16 bits, and larger weights than 7 bits hold would overflow.
    limit = 2 ** (int8_weight_bits() - 1)
    weight = np.random.default_rng(1).integers(1 - limit, limit, (96, 20)).astype(np.int8)
    sums, scale, zero_point = session.run(["sums", "scale", "zero_point"], {"inputs": inputs, "weight": weight})
    found_scale, found_zero_point = dynamic_scale(torch.from_numpy(inputs))
    found = int8_product(torch.from_numpy(inputs), found_scale, found_zero_point, torch.from_numpy(weight))
    assert found_scale.numpy() == scale
    assert int(found_zero_point) == int(zero_point)
    np.testing.assert_array_equal(found.numpy(), sums)
