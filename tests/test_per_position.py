"""A model that answers at each position: stored, imitated, compared, exported and proven without what padding says."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedModel

from compress.core.context import Context
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.measure.accuracy import logits_of, write_batches
from compress.measure.processes import Candidate
from compress.measure.prove import _prove_here, write_probe
from compress.methods.fuse.layers import FuseLayers
from compress.methods.training.imitation import Imitation, imitate
from compress.methods.training.sensitivity import answers, shift_of
from compress.methods.training.teacher_outputs import TeacherOutputs
from compress.nn.checkpoint import save_model, settle
from compress.nn.forward import forward
from compress.nn.layers import FusedLayer
from compress.nn.ops.losses import softened_logits_loss
from compress.nn.surgery import keep_layers
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_classification import TextClassification
from compress.tasks.text_task import SIGNATURE

TAGGING = Signature(
    inputs=SIGNATURE.inputs, output=Port("logits", (BATCH, SEQUENCE, "tags"), "float32"), mask=SIGNATURE.mask
)


class Tagging(TextClassification):
    """As text classification, with an answer for each token."""

    def signature(self, config: Any) -> Signature:
        return TAGGING


@pytest.fixture
def tagger() -> PreTrainedModel:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    labels = {"id2label": {0: "cold", 1: "warm"}, "label2id": {"cold": 0, "warm": 1}, "pad_token_id": 0}
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", vocab_size=34, max_position_embeddings=40, **sizes, **labels)
    model = AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        model.classifier.weight *= 20
    return model


@pytest.fixture
def context(tagger: PreTrainedModel, make_context: Callable[..., Context]) -> Context:
    return make_context(tagger, task=Tagging(text="text", label="label", max_length=16))


def shown(context: Context, rows: list[int]) -> dict[str, Any]:
    return context.collate([context.train[row] for row in rows])


def test_the_teachers_answers_lie_row_after_row(context: Context) -> None:
    outputs, rows = TeacherOutputs(context, []), [7, 0, 15]
    batch = shown(context, rows)
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        expected = forward(context.teacher, TAGGING, batch).output
    found = outputs.output(rows, mask.shape[1])
    assert not bool(mask.all())
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-6)
    assert bool((found[~mask] == 0).all())
    assert outputs._outputs.shape == (sum(context.train["length"]), 2)


def test_a_student_learns_from_real_positions(context: Context, imitation: Imitation) -> None:
    student = copy.deepcopy(context.teacher)
    keep_layers(student, [0])
    student.classifier.reset_parameters()
    optimization = dataclasses.replace(imitation.optimization, learning_rate=5e-3)
    settings = dataclasses.replace(imitation, hidden_weight=0, optimization=optimization)
    batch = shown(context, list(range(len(context.train))))

    @torch.no_grad()
    def distance() -> Tensor:
        ours, theirs = (forward(model, TAGGING, batch).output for model in (student, context.teacher))
        return softened_logits_loss(ours, theirs, 2.0, batch["attention_mask"].bool())

    before = distance()
    imitate(student, context, settings, epochs=4, title="a test")
    assert distance() < before / 2


def test_answers_of_different_lengths_are_compared(context: Context) -> None:
    batches = [shown(context, [row]) for row in range(3)]
    reference = answers(context.teacher, batches, context.task)
    assert len({answer.shape for answer in reference}) > 1
    shift = shift_of(context.teacher, [()], batches, reference, context.task)
    assert shift.mean.tolist() == pytest.approx([0.0], abs=1e-6)
    # Nobody answers the other way round without being noticed.
    swapped = [answer.flip(-1) for answer in reference]
    assert shift_of(context.teacher, [()], batches, swapped, context.task).mean[0] > 0


def test_it_is_fused_whole_exported_and_proven(context: Context, tmp_path: Path, in_this_process: None) -> None:
    model = FuseLayers(first_token=True).apply(copy.deepcopy(context.teacher), context)
    # Each position is read, so each is computed.
    assert [part.sizes.first_token for part in model.modules() if isinstance(part, FusedLayer)] == [0, 0]
    artifact, export = tmp_path / "artifact", tmp_path / "export"
    for folder in (artifact, export):
        folder.mkdir()
    save_model(settle(model), artifact)
    write_probe(artifact, model, context.task, context.train, context.processor, threads=1)
    proof = _prove_here(artifact, export, context.task, OnnxRuntime(threads=1))
    assert (proof.torch_exact, proof.argmax_agreement) == (True, 1.0)
    # One, one, two, three and eight rows.
    assert proof.rows == 15
    assert proof.max_difference <= proof.tolerance
    write_batches(context.train, context.task, context.processor, TAGGING, tmp_path / "batches.npz")
    candidate = Candidate(runtime=OnnxRuntime(threads=1), folder=export, signature=TAGGING)
    found = logits_of(candidate, tmp_path / "batches.npz")
    assert [values.shape for values in found] == [(1, length, 2) for length in context.train["length"]]
