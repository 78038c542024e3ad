"""Layers in blocks as ONNX Runtime and OpenVINO run them: the same integers, standard operators, fast kernels."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, TiedBlockHead
from compress.runtimes.onnx.export import OPSET_WITH_BLOCKS, export_module

TOKENS, WIDE = 400, 96
SIGNATURE = Signature(
    inputs=(Port("input_ids", (BATCH, SEQUENCE), "int64"),),
    output=Port("logits", (BATCH, SEQUENCE, "vocabulary"), "float32"),
    mask=None,
)


class Decoder(nn.Module):
    """A table, a product of each kind, and a head that reads the table."""

    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = Int8BlockEmbedding.of(nn.Embedding(TOKENS, width))
        self.wide = Int4BlockLinear.of(nn.Linear(width, WIDE))
        self.narrow = Int8BlockLinear.of(nn.Linear(WIDE, width, bias=False))
        self.head = TiedBlockHead(width, TOKENS).read(self.table)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.head(self.narrow(self.wide(self.table(inputs["input_ids"]))))


# Rows of whole blocks; with a shorter last one; of an odd number of values, so that they share bytes.
@pytest.fixture(scope="module", params=[64, 70, 71])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Decoder, Path]:
    module, folder = Decoder(request.param).eval(), tmp_path_factory.mktemp("blocks")
    return module, export_module(module, SIGNATURE, {"input_ids": torch.randint(0, TOKENS, (2, 9))}, folder)


def session(path: Path, level: str | None) -> tuple[onnxruntime.InferenceSession, Counter[str]]:
    """An opened graph, and the operators that it was turned into. level: as a user may set it; None as it comes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    if level is not None:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", level)
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return opened, Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def test_standard_operators_and_the_very_integers(exported: tuple[Decoder, Path]) -> None:
    module, path = exported
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET_WITH_BLOCKS)]
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert stored["wide.weight_blocks"].data_type == TensorProto.INT4
    for name, values in (("table", module.table.weight_blocks), ("wide", module.wide.values)):
        found = numpy_helper.to_array(stored[f"{name}.weight_blocks"]).astype(np.int8)
        np.testing.assert_array_equal(found, values.numpy())
    # The table stands there once, though it is looked up and multiplied by.
    tables = [
        tensor.name for tensor in stored.values() if TOKENS in tensor.dims and tensor.data_type == TensorProto.INT8
    ]
    assert tables == ["table.weight_blocks"]


def test_onnxruntime_has_one_operator_for_each_product(exported: tuple[Decoder, Path]) -> None:
    module, path = exported
    ids = torch.randint(0, TOKENS, (3, 5))
    expected = module({"input_ids": ids}).numpy()
    # As it comes, inputs are rounded to int8 in blocks: the answers move, by little. In FP32 they are the same.
    for level, share in ((None, 0.02), ("0", 1e-6)):
        opened, operators = session(path, level)
        assert operators["MatMulNBits"] == 3 and not operators["DequantizeLinear"]
        (found,) = opened.run(None, {"input_ids": ids.numpy()})
        assert np.abs(found - expected).max() <= share * np.abs(expected).max()


def test_rounded_inputs_do_not_depend_on_the_batch(exported: tuple[Decoder, Path]) -> None:
    opened, _ = session(exported[1], None)
    ids = np.random.default_rng(0).integers(0, TOKENS, (6, 7))
    (together,) = opened.run(None, {"input_ids": ids})
    (alone,) = opened.run(None, {"input_ids": ids[2:3]})
    np.testing.assert_allclose(alone[0], together[2], rtol=0, atol=1e-5)


@pytest.mark.skipif(find_spec("openvino") is None, reason="OpenVINO is not installed: pip install '.[openvino]'")
def test_openvino_multiplies_by_the_integers(exported: tuple[Decoder, Path]) -> None:
    import openvino

    module, path = exported
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    if module.table.embedding_dim % 32:
        with pytest.raises(RuntimeError, match="block_size"):
            openvino.Core().compile_model(str(path), "CPU", settings)
        return
    model = openvino.Core().compile_model(str(path), "CPU", settings)
    nodes = [node.get_rt_info() for node in model.get_runtime_model().get_ops()]
    kernels = Counter(
        n["runtimePrecision"].astype(str) for n in nodes if n["layerType"].astype(str) == "FullyConnected"
    )
    assert kernels == {"i8": 2, "i4": 1}
    ids = torch.randint(0, TOKENS, (3, 5))
    expected = module({"input_ids": ids}).numpy()
    assert np.abs(model({"input_ids": ids.numpy()})[0] - expected).max() < 0.02 * np.abs(expected).max()
