"""Proof by reload with a real fresh process, and its refusal when the model is not the same."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from compress.core.errors import InputError, ReloadError, StageError
from compress.core.signature import Signature
from compress.measure.evaluate import size_of
from compress.measure.prove import EXPECTED, compare, prove, require_same_reading, write_probe, write_raw_probe
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.layers import Int4BlockLinear
from compress.nn.structure import replace_module
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.runtimes.torch.runtime import TorchRuntime
from compress.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", max_length=16)


@pytest.fixture
def artifact(tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any) -> Path:
    return saved(make_model("bert"), tmp_path / "artifact", tokenizer, threads=1)


def saved(model: Any, folder: Path, tokenizer: Any, *, threads: int) -> Path:
    folder.mkdir()
    settle(model)
    texts = ["Kas " * n for n in range(1, 13)]
    raw = Dataset.from_dict({"text": texts, "label": ["cold", "warm"] * 6})
    examples = TASK.encode(raw, tokenizer, model.config, "validation")
    save_model(model, folder)
    TASK.save_processor(tokenizer, folder)
    write_probe(folder, model, TASK, examples, tokenizer, threads=threads)
    write_raw_probe(folder, model.config, TASK, raw, tokenizer)
    return folder


def with_probe(artifact: Path, change: float, **arithmetic: str) -> Path:
    """The artifact as if other arithmetic than this process's had computed its logits, `change` away from ours."""
    with np.load(artifact / EXPECTED) as arrays:
        logits = {name: values + np.float32(change) for name, values in arrays.items() if name != "arithmetic"}
        noted = {**json.loads(str(arrays["arithmetic"])), **arithmetic}
    np.savez(artifact / EXPECTED, **logits, arithmetic=np.array(json.dumps(noted)))
    return artifact


def test_a_faithful_artifact_is_proven_on_several_shapes(artifact: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    proof = prove(artifact, export, TASK, OnnxRuntime(threads=1))
    assert proof.torch_exact
    assert proof.max_difference <= proof.tolerance == 1e-3
    assert proof.argmax_agreement == 1.0
    assert (1, 3) in proof.shapes  # one row, the shortest text: [CLS] kas [SEP]
    assert (8, 14) in proof.shapes
    assert (export / "model.onnx").is_file()


def test_integers_in_blocks_are_proven_though_a_runtime_rounds_the_inputs(
    make_model: Callable[..., Any], tokenizer: Any, tmp_path: Path
) -> None:
    model = make_model("llama")
    for path, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear):
            # Larger answers than FP32's tolerance was made for, and such weights alone.
            module.weight.data *= 3
            replace_module(model, path, Int4BlockLinear.of(module))
    artifact, export = saved(model, tmp_path / "artifact", tokenizer, threads=1), tmp_path / "export"
    export.mkdir()
    proof = prove(artifact, export, TASK, OnnxRuntime(threads=1))
    assert proof.torch_exact
    assert 1e-3 < proof.max_difference < 0.2 * proof.tolerance
    # Three layers of four bits are half a byte a weight, and each weight counts.
    size = size_of(artifact, export, OnnxRuntime(threads=1))
    plain = sum(value.numel() for value in make_model("llama").state_dict().values())
    scales = sum(value.numel() for name, value in model.state_dict().items() if name.endswith("weight_scale"))
    assert size.parameters == plain + scales
    dense = sum(m.in_features * m.out_features for m in model.modules() if isinstance(m, Int4BlockLinear))
    assert sum(size.bytes_by_part.values()) == 4 * (plain - dense) + dense / 2 + 2 * scales
    # Where one file could not hold the weights, another does.
    (export / "model.onnx.data").write_bytes(bytes(100))
    assert size_of(artifact, export, OnnxRuntime(threads=1)).bytes == size.bytes + 100


def test_outputs_that_are_no_numbers_are_not_kept(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    model = make_model("bert")
    with torch.no_grad():
        # Weights are finite, and their sums are not.
        model.classifier.weight.fill_(3e38)
        model.classifier.weight[:, ::2] = -3e38
    with pytest.raises(StageError, match="outputs for validation examples are not finite"):
        saved(model, tmp_path / "artifact", tokenizer, threads=1)


def test_a_weight_that_changed_is_refused(artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    tensors["classifier.weight"][0, 0] += 1e-3
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ReloadError, match="outputs changed by up to"):
        prove(artifact, None, TASK, TorchRuntime(threads=1))


def test_a_runtime_of_fewer_threads_proves_what_more_had_computed(tmp_path: Path, tokenizer: Any) -> None:
    # 384 wide: here the last bits of some processors depend on over how many threads a sum was split.
    labels = {"id2label": {0: "cold", 1: "warm"}, "label2id": {"cold": 0, "warm": 1}}
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=384, num_hidden_layers=2, intermediate_size=1536, **labels
    )
    torch.manual_seed(0)
    folder = saved(BertForSequenceClassification(config).eval(), tmp_path / "artifact", tokenizer, threads=2)
    assert prove(folder, None, TASK, TorchRuntime(threads=1)).torch_exact


def test_a_probe_leaves_the_training_its_threads(
    tmp_path: Path, make_model: Callable[..., Any], tokenizer: Any
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        saved(make_model("bert"), tmp_path / "artifact", tokenizer, threads=2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_another_processor_may_differ_in_the_last_bits(artifact: Path) -> None:
    proof = prove(with_probe(artifact, 5e-4, cpu="another"), None, TASK, TorchRuntime(threads=1))
    assert not proof.torch_exact
    assert proof.torch_difference == pytest.approx(5e-4, rel=1e-2)


def test_another_processor_may_not_differ_by_more(artifact: Path) -> None:
    with pytest.raises(ReloadError, match=r"changed by up to 0\.002 on reload; 0\.001 is allowed"):
        prove(with_probe(artifact, 2e-3, cpu="another"), None, TASK, TorchRuntime(threads=1))


def test_the_same_processor_may_not_differ_at_all(artifact: Path) -> None:
    with pytest.raises(ReloadError, match=r"changed by up to .* on reload; 0 is allowed"):
        prove(with_probe(artifact, 1e-6), None, TASK, TorchRuntime(threads=1))


def test_what_was_saved_before_arithmetic_was_noted_is_proven_within_the_tolerance(artifact: Path) -> None:
    with np.load(artifact / EXPECTED) as arrays:
        logits = {name: values for name, values in arrays.items() if name != "arithmetic"}
    np.savez(artifact / EXPECTED, **logits)
    assert prove(artifact, None, TASK, TorchRuntime(threads=1)).torch_exact


@dataclass(frozen=True, kw_only=True)
class Unable(OnnxRuntime):
    """A runtime that finds no memory, as torch says it."""

    refuses_input: bool

    def open(self, folder: Path, signature: Signature) -> Any:
        if self.refuses_input:
            raise InputError("the session cannot be made")
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:115] can't allocate memory")


@pytest.mark.parametrize(
    ("refuses_input", "told"),
    [(True, "proven in ONNX Runtime: the session cannot be made"), (False, "proven: (?s:.*)can't allocate memory")],
)
def test_what_a_runtime_cannot_do_is_not_the_artifacts_fault(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses_input: bool, told: str
) -> None:
    # The proving process builds the runtime by its name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "export").mkdir()
    with pytest.raises(StageError, match=told) as found:
        prove(artifact, tmp_path / "export", TASK, Unable(threads=1, refuses_input=refuses_input))
    assert not isinstance(found.value, ReloadError)


def test_the_proving_process_runs_no_file_of_the_current_folder(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("numpy", "torch", "json", "compress"):
        (tmp_path / f"{name}.py").write_text("open('run', 'a').write('run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert prove(artifact, None, TASK, TorchRuntime(threads=1)).torch_exact
    assert not (tmp_path / "run").exists()


def test_a_weight_that_is_missing_is_refused(artifact: Path) -> None:
    tensors = load_file(artifact / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, artifact / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ReloadError, match=r"missing: classifier\.bias"):
        prove(artifact, None, TASK, TorchRuntime(threads=1))


def test_outputs_that_differ_beyond_the_tolerance_are_refused() -> None:
    ours, theirs = [np.array([1.0, 2.0])], [np.array([1.0, 2.01])]
    assert compare(ours, theirs, rounded=True, shapes=()).max_difference == pytest.approx(0.01)
    with pytest.raises(StageError, match=r"differ from torch's by 0\.01"):
        compare(ours, theirs, rounded=False, shapes=())
    with pytest.raises(StageError, match="not finite"):
        compare(ours, [np.array([np.nan, 2.0])], rounded=True, shapes=())


def test_large_outputs_may_differ_by_a_share_of_the_largest() -> None:
    # A ten-thousandth of 200 is 0.02; of 2 it would be below the floor of 0.001.
    proof = compare([np.array([1.0, 200.0])], [np.array([1.0, 200.01])], rounded=False, shapes=())
    assert proof.tolerance == pytest.approx(0.02)
    assert compare([np.array([2.0])], [np.array([2.0])], rounded=False, shapes=()).tolerance == 0.001


def test_agreement_is_counted_place_by_place_in_rows_of_any_length() -> None:
    ours = [np.array([[1.0, 0.0], [0.0, 1.0], [0.9, 1.0]]), np.array([[1.0, 0.0]])]
    theirs = [np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.9]]), np.array([[1.0, 0.0]])]
    proof = compare(ours, theirs, rounded=True, shapes=())
    # Three of four positions, in two rows.
    assert (proof.argmax_agreement, proof.rows) == (0.75, 2)
    assert proof.max_difference == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda said: {**said, "normalizer": None}, "makes other input_ids of the same examples"),
        (lambda said: {**said, "truncation": {**said["truncation"], "max_length": 5}}, None),
        (lambda said: {**said, "post_processor": None}, "makes other input_ids of the same examples"),
        (lambda said: {**said, "model": {"type": "nothing"}}, "its processor cannot be used once it is loaded again"),
    ],
)
def test_raw_examples_are_read_again_as_they_were(
    artifact: Path, change: Callable[[Any], Any], told: str | None
) -> None:
    path = artifact / "tokenizer.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    if told is None:
        # What the task sets itself with every call.
        require_same_reading(artifact, TASK, load_model(artifact).config)
        return
    with pytest.raises(ReloadError, match=told):
        require_same_reading(artifact, TASK, load_model(artifact).config)


def test_the_proof_begins_with_raw_examples(artifact: Path) -> None:
    path = artifact / "tokenizer_config.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    long = " ".join(["kas kat kan kam kar"] * 8)
    raw = Dataset.from_dict({"text": [long, "kas"], "label": ["cold", "warm"]})
    config = load_model(artifact).config
    write_raw_probe(artifact, config, TASK, raw, TASK.load_processor(artifact))
    require_same_reading(artifact, TASK, config)
    path.write_text(json.dumps({**said, "truncation_side": "left"}), encoding="utf-8")
    with pytest.raises(ReloadError, match="makes other input_ids of the same examples"):
        prove(artifact, None, TASK, TorchRuntime(threads=1))
