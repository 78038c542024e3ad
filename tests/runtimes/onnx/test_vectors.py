"""Further outputs of a graph, run: integers and bits by hand, and as sentence-transformers makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from sentence_transformers.util import quantize_embeddings

from compress.core.signature import Port
from compress.runtimes.onnx.vectors import add_forms
from compress.tasks.ranking import unit
from compress.tasks.stored_vectors import bits_of, int8_of, ranges_of, steps_of

OUTPUT = Port("vector", ("batch", "dimensions"), "float32")


def graph(folder: Path, dimensions: int) -> Path:
    """Gives what it is given."""
    folder.mkdir()
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", dimensions]) for name in ("given", "vector")
    ]
    made = helper.make_graph([helper.make_node("Identity", ["given"], ["vector"])], "graph", ports[:1], ports[1:])
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / "model.onnx"
    )
    return folder


def given_by(
    tmp_path: Path, vectors: np.ndarray, ranges: np.ndarray, *, at_length_1: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    target = tmp_path / "target"
    target.mkdir()
    source = graph(tmp_path / "source", vectors.shape[1])
    add_forms(
        source, target, OUTPUT, ["int8", "binary"], ranges=ranges, steps=steps_of(ranges), at_length_1=at_length_1
    )
    onnx.checker.check_model(onnx.load(target / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(target / "model.onnx")
    assert [(port.name, port.type) for port in session.get_outputs()] == [
        ("vector", "tensor(float)"), ("vector_int8", "tensor(int8)"), ("vector_ubinary", "tensor(uint8)"),
    ]  # fmt: skip
    floats, integers, bits = session.run(None, {"given": vectors})
    return floats, integers, bits


def test_steps_and_bits_by_hand(tmp_path: Path) -> None:
    # From 0 to 2.55 a step is 0.01: 1.275 is 127 whole ones, so -1. What lies outside is an end. The third dimension
    # has a single value, the fourth goes from -1 to 1.
    ranges = np.array([[0, 0, 0.5, -1], [2.55, 2.55, 0.5, 1]], dtype=np.float32)
    vectors = np.array([[1.275, -4, 0.5, 0], [9, 0.005, 0.5, -1]], dtype=np.float32)
    floats, integers, bits = given_by(tmp_path, vectors, ranges)
    assert integers.tolist() == [[-1, -128, -128, -1], [127, -128, -128, -128]]
    # 1 0 1 0 and 1 1 1 0, then four zeros that fill the byte.
    assert bits.tolist() == [[0b10100000], [0b11100000]]
    np.testing.assert_array_equal(floats, vectors)


@pytest.mark.parametrize("dimensions", [16, 37])
def test_as_sentence_transformers_makes_them(tmp_path: Path, dimensions: int) -> None:
    draw = np.random.default_rng(0)
    calibration, vectors = (unit(draw.normal(size=(rows, dimensions))).astype(np.float32) for rows in (50, 400))
    ranges = ranges_of(calibration)
    _, integers, bits = given_by(tmp_path, vectors, ranges)
    expected = quantize_embeddings(vectors, precision="int8", ranges=ranges)
    assert expected.dtype == integers.dtype and {-128, 127} <= set(expected.ravel().tolist())
    np.testing.assert_array_equal(integers, expected)
    np.testing.assert_array_equal(int8_of(vectors, ranges), expected)
    expected = quantize_embeddings(vectors, precision="ubinary")
    assert expected.dtype == bits.dtype
    np.testing.assert_array_equal(bits, expected)
    np.testing.assert_array_equal(bits_of(vectors), expected)


def test_vectors_of_any_length_are_kept_at_length_1(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    vectors = (draw.normal(size=(400, 24)) * draw.uniform(0.1, 9, size=(400, 1))).astype(np.float32)
    ranges = ranges_of(vectors)
    floats, integers, _ = given_by(tmp_path, vectors, ranges, at_length_1=False)
    np.testing.assert_array_equal(floats, vectors)
    beside = np.abs(integers.astype(int) - int8_of(unit(vectors).astype(np.float32), ranges))
    # Sums in another order move a value over the edge of a step, seldom.
    assert beside.max() <= 1 and (beside > 0).mean() < 0.01
