"""The teacher in the form that each peer runs: one function per peer, each with the settings it does best with.

All but PyTorch's and CTranslate2's forms start from the ONNX file that compress itself exports of the teacher.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from transformers import PreTrainedModel

from benchmarks.peer_runtimes import ENCODER, HEAD, dynamic_int8
from compress.core.signature import Signature
from compress.runtimes.onnx.export import export_onnx

Batches = Sequence[dict[str, np.ndarray]]


def as_onnx(model: PreTrainedModel, signature: Signature, example: dict[str, Any], folder: Path) -> int:
    """Write `folder/model.onnx` in FP32 and return its bytes. example: at least two rows."""
    return export_onnx(model, signature, example, _new(folder)).stat().st_size


def as_torch_dynamic(model: PreTrainedModel, folder: Path) -> int:
    """What PyTorch's dynamic INT8 takes on the disk. Only the size is wanted; the worker quantizes for itself."""
    path = _new(folder) / "state.pt"
    with _quiet():
        torch.save(dynamic_int8(model).state_dict(), path)
    return path.stat().st_size


def as_onnxruntime_dynamic(exported: Path, folder: Path) -> int:
    """ONNX Runtime's own `quantize_dynamic`, all operators that it knows. Returns bytes.

    A scale per output channel is more exact, and as fast where the runtime fuses every product all the same. In some
    graphs it does not, and the model takes nearly twice as long: then a scale per tensor is the better form.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    fused = {}
    for per_channel in (True, False):
        path = _new(folder / str(per_channel)) / "model.onnx"
        with _quiet():
            quantize_dynamic(exported / "model.onnx", path, weight_type=QuantType.QInt8, per_channel=per_channel)
        fused[path] = _fused_products(path)
    best = max(fused, key=lambda path: fused[path])
    return best.rename(folder / "model.onnx").stat().st_size


def _fused_products(path: Path) -> int:
    """How many products ONNX Runtime computes in one operator from float to float by way of INT8."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path.with_name("optimized.onnx"))
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    return sum(node.op_type in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat") for node in graph.node)


def as_nncf(exported: Path, calibration: Batches, folder: Path) -> int:
    """NNCF's post-training INT8 for transformers, ranges from these batches. Returns bytes of graph and weights."""
    import nncf
    import openvino

    path = _new(folder) / "model.xml"
    with _quiet():
        model = openvino.Core().read_model(exported / "model.onnx")
        data = nncf.Dataset(list(calibration))
        quantized = nncf.quantize(
            model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(calibration), fast_bias_correction=True
        )
        # What stays in float stays in FP32, as in the other forms.
        openvino.save_model(quantized, path, compress_to_fp16=False)
    return path.stat().st_size + path.with_suffix(".bin").stat().st_size


def as_ctranslate2(model: PreTrainedModel, processor: Any, folder: Path) -> int:
    """CTranslate2's INT8 of the encoder, and pooler and classifier in FP32. Returns bytes.

    Raises ValueError for a model that is no BERT: its head is another.
    """
    from ctranslate2.converters import TransformersConverter

    if model.config.model_type != "bert":
        raise ValueError(f"its head is written for bert, not for {model.config.model_type}")
    source, target = _new(folder) / "source", folder / ENCODER
    model.bert.save_pretrained(source)
    processor.save_pretrained(source)
    with _quiet():
        TransformersConverter(str(source)).convert(str(target), quantization="int8")
    shutil.rmtree(source)
    parts = {"pooler": model.bert.pooler.dense, "classifier": model.classifier}
    tensors = {f"{name}.{kind}": getattr(m, kind).detach().numpy() for name, m in parts.items() for kind in KINDS}
    np.savez(folder / HEAD, **tensors)
    return (target / "model.bin").stat().st_size + (folder / HEAD).stat().st_size


KINDS = ("weight", "bias")


def _new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
