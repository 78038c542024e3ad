"""OpenVINO on real exports: the same logits as torch, 8-bit kernels where we say so, and refusals before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

import compress
from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.measure.prove import FLOAT_TOLERANCE, compare
from compress.methods.fuse.layers import FuseLayers
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.nn.layers import Int4BlockLinear, Int8BlockLinear
from compress.nn.structure import replace_module
from compress.pipeline.preflight import check_order
from compress.runtimes.onnx.export import export_onnx
from compress.runtimes.openvino import runtime as module
from compress.runtimes.openvino.runtime import OpenVinoRuntime
from compress.tasks.text_classification import TextClassification
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None

installed = pytest.mark.skipif(
    find_spec("openvino") is None, reason="OpenVINO is not installed: pip install '.[openvino]'"
)
TASK = TextClassification(text="text", label="label", max_length=16)
Make = Callable[..., Any]


def quantized(scheme: str, make_model: Make, make_context: Make) -> PreTrainedModel:
    """A tiny BERT in INT8."""
    teacher = make_model()
    stage = QuantizeInt8(
        scheme=scheme,
        embeddings=True,
        embedding_bits=8,
        weight_bits=8,
        keep_float=[],
        float_share=0,
        sensitivity_examples=4,
        calibration=Calibration(method="minmax", percentile=99.9, examples=16),
        smoothing=None,
        static_inner=False,
        recovery_epochs=0,
        imitation=UNUSED,
    )
    return stage.apply(make_model(), make_context(teacher))


def exported(model: PreTrainedModel, folder: Path, batch: dict[str, torch.Tensor]) -> Path:
    """The folder with the model's graph."""
    folder.mkdir()
    export_onnx(model, SIGNATURE, batch, folder)
    return folder


@installed
def test_a_row_that_is_no_whole_blocks_is_refused_by_name(
    tmp_path: Path, batch: dict[str, torch.Tensor], make_model: Make
) -> None:
    model = make_model()
    path = "bert.encoder.layer.2.output.dense"
    replace_module(model, path, Int8BlockLinear.of(torch.nn.Linear(60, 32)))
    with pytest.raises(InputError, match=rf"whole blocks of 32; {path} has 60 inputs. Leave it in float"):
        OpenVinoRuntime(threads=1, precision="f32").export(model, SIGNATURE, batch, tmp_path)


@installed
def test_weights_in_blocks(tmp_path: Path, batch: dict[str, torch.Tensor], make_model: Make) -> None:
    model = make_model("llama", layers=2)
    for path, part in list(model.named_modules()):
        if isinstance(part, torch.nn.Linear):
            replace_module(model, path, (Int4BlockLinear if "down_proj" in path else Int8BlockLinear).of(part))
    runtime = OpenVinoRuntime(threads=1, precision="f32")
    runtime.export(model, SIGNATURE, batch, tmp_path)
    # Rows of one block of four bits it scales back instead; these have two.
    assert kernels(tmp_path, "FullyConnected") == {"i8": 2 * 6 + 1, "i4": 2}
    session = runtime.open(tmp_path, SIGNATURE)
    shapes = shapes_of(batch)
    compare(
        torch_logits(model, shapes), [session.run(inputs) for inputs in shapes], rounded=True, shapes=((3, 9), (1, 9))
    )


def shapes_of(batch: dict[str, torch.Tensor]) -> list[dict[str, np.ndarray]]:
    """Three rows with padding, one row, two tokens."""
    cuts = ((slice(None), slice(None)), (slice(1), slice(None)), (slice(1), slice(2)))
    return [{name: value[rows, columns].numpy() for name, value in batch.items()} for rows, columns in cuts]


@torch.no_grad()
def torch_logits(model: PreTrainedModel, batches: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    return [model(**{name: torch.from_numpy(v) for name, v in inputs.items()}).logits.numpy() for inputs in batches]


def kernels(folder: Path, operator: str) -> Counter[str]:
    """The precisions in which OpenVINO really computes this operator, and how often."""
    session = OpenVinoRuntime(threads=1, precision="f32").open(folder, SIGNATURE)
    graph = session._request.get_compiled_model().get_runtime_model()
    nodes = [node.get_rt_info() for node in graph.get_ops()]
    return Counter(n["runtimePrecision"].astype(str) for n in nodes if n["layerType"].astype(str) == operator)


@installed
def test_fused_layers_in_operators_that_it_reads(
    make_model: Make, make_context: Make, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    model = make_model(layers=2)
    model, batches = FuseLayers(first_token=True).apply(model, make_context(model)), shapes_of(batch)
    runtime = OpenVinoRuntime(threads=1, precision="f32")
    path = export_onnx(model, SIGNATURE, batch, tmp_path, attention_operator=runtime.attention_operator)
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert (operators["Attention"], operators["Softmax"]) == (0, 2)
    session = runtime.open(tmp_path, SIGNATURE)
    for ours, inputs in zip(torch_logits(model, batches), batches, strict=True):
        np.testing.assert_allclose(session.run(inputs), ours, rtol=0, atol=FLOAT_TOLERANCE)


@installed
def test_it_computes_what_torch_computes(make_model: Make, batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    model, batches = make_model(), shapes_of(batch)
    session = OpenVinoRuntime(threads=1, precision="f32").open(exported(model, tmp_path / "export", batch), SIGNATURE)
    found = [session.run(inputs) for inputs in batches]
    assert [values.shape for values in found] == [(3, 2), (1, 2), (1, 2)]
    for ours, theirs in zip(torch_logits(model, batches), found, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-5)


@installed
def test_static_int8_runs_in_8_bit_kernels_and_dynamic_does_not(
    make_model: Make, make_context: Make, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    static, dynamic = (quantized(scheme, make_model, make_context) for scheme in ("static", "dynamic"))
    batches, folder = shapes_of(batch), exported(static, tmp_path / "static", batch)
    session = OpenVinoRuntime(threads=1, precision="f32").open(folder, SIGNATURE)
    compare(torch_logits(static, batches), [session.run(inputs) for inputs in batches], rounded=True, shapes=())
    assert kernels(folder, "FullyConnected")["u8"] >= 16
    assert not {"u8", "i8"} & kernels(exported(dynamic, tmp_path / "dynamic", batch), "FullyConnected").keys()


@installed
@pytest.mark.parametrize("precision", ["f32", "bf16", "auto"])
def test_the_settings_reach_openvino(
    precision: str, make_model: Make, batch: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    if precision == "bf16" and "BF16" not in module.capabilities():
        pytest.skip("this processor has no bfloat16 arithmetic")
    model, batches = make_model(), shapes_of(batch)
    runtime = OpenVinoRuntime(threads=1, precision=precision)
    session = runtime.open(exported(model, tmp_path / "export", batch), SIGNATURE)
    compiled = session._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == compiled.get_property("NUM_STREAMS") == 1
    computed = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    assert computed == runtime.chosen
    assert runtime.rounds is (computed != "f32")
    named = f"OpenVINO in {module.FORMATS[computed]}"
    assert runtime.label == (f"{named} (its own choice)" if precision == "auto" else named)
    found = [session.run(inputs) for inputs in batches]
    proof = compare(torch_logits(model, batches), found, rounded=runtime.rounds, shapes=())
    assert proof.tolerance == FLOAT_TOLERANCE or runtime.rounds
    assert (proof.max_difference > 1e-5) is runtime.rounds


@installed
def test_a_damaged_file_is_bad_input(make_model: Make, batch: dict[str, torch.Tensor], tmp_path: Path) -> None:
    runtime = OpenVinoRuntime(threads=1, precision="f32")
    with pytest.raises(InputError, match=r"has no model\.onnx"):
        runtime.open(tmp_path, SIGNATURE)
    folder = exported(make_model(layers=1), tmp_path / "export", batch)
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes().replace(b"MatMul", b"MutMal"))
    with pytest.raises(InputError, match="is refused by OpenVINO"):
        runtime.open(folder, SIGNATURE)


@installed
def test_usage_runs_word_for_word(
    make_model: Make, tokenizer: Any, batch: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    model = make_model()
    folder = exported(model, tmp_path / "export", batch)
    model.config.save_pretrained(folder)
    TASK.save_processor(tokenizer, folder)
    usage = TASK.usage(OpenVinoRuntime(threads=1, precision="f32"), None)
    assert len(usage.strip().splitlines()) == 6
    assert '"INFERENCE_PRECISION_HINT": "f32"' in usage
    monkeypatch.chdir(folder)
    exec(compile(usage, "usage", "exec"), {})
    assert capsys.readouterr().out.strip() in ("cold", "warm")


def recipe(*overrides: str) -> Recipe:
    settings = ["model.path=nowhere", "data.train=nowhere", "runtime=openvino", *overrides]
    return build(compose_settings("text_classification", settings), "text_classification")


@installed
def test_dynamic_int8_is_refused_before_any_work() -> None:
    check_order(recipe("stages.quantize.scheme=static"))
    check_order(recipe("order=[prune,factorize,fuse]"))
    with pytest.raises(
        InputError, match=r"^runtime is openvino, .* what quantize makes: .*quantize=static, or runtime="
    ):
        check_order(recipe())


@installed
def test_a_wrong_precision_is_named() -> None:
    with pytest.raises(InputError, match=r"runtime\.precision is 'fp32'; it must be one of auto, bf16, f32"):
        recipe("runtime.precision=fp32")


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'compress\[openvino\]'") as refused:
        recipe("stages.quantize.scheme=static")
    assert refused.value.exit_status == 2


def test_a_processor_without_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    monkeypatch.setattr(module, "capabilities", lambda: ("FP32", "INT8"))
    with pytest.raises(InputError, match=r"runtime\.precision is bf16; this processor has no bfloat16"):
        OpenVinoRuntime(threads=1, precision="bf16")
    monkeypatch.setattr(module, "default_precision", lambda: "f32")
    runtime = OpenVinoRuntime(threads=1, precision="auto")
    assert runtime.label == "OpenVINO in FP32 (its own choice)"
    assert not runtime.rounds


@installed
def test_a_whole_run_names_it_with_its_precision(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    settings = [
        *(f"model.path={checkpoint}", f"data.train={examples}", "data.max_length=32", f"store={tmp_path / 'store'}"),
        *("runtime=openvino", "runtime.threads=1", "stage/quantize@stages.quantize=static", "order=[quantize]"),
        *("measurement.launches=1", "measurement.rounds=2", "measurement.examples=4", "device=cpu"),
        *("gates.quantize.max_accuracy_drop=1", "gates.quantize.on_inconclusive=keep"),
    ]
    result = compress.run(compress.recipe("text_classification", *settings), tmp_path / "run")
    assert [row.decision for row in result.rows] == ["keep", "keep"]
    summary = result.summary
    assert (summary["runtime"], summary["runtime_label"]) == ("openvino", "OpenVINO in FP32")
    assert summary["environment"]["versions"]["openvino"]
    assert summary["student"]["proof"]["torch_exact"] is True
    card = (result.export / "README.md").read_text(encoding="utf-8")
    assert "library_name: openvino" in card
    assert "runs in OpenVINO in FP32 without PyTorch" in card
    assert "teacher in OpenVINO in FP32" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
