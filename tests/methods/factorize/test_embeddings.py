"""What becomes of the word embeddings, and how far it carries through the stages that follow."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoModelForMaskedLM

from compress.core.blame import Milder, Setback
from compress.core.context import Context
from compress.core.errors import InputError
from compress.measure.environment import int8_weight_bits
from compress.methods.factorize import embeddings
from compress.methods.factorize.embeddings import FactorizeEmbeddings
from compress.methods.fuse.layers import FuseLayers
from compress.methods.prune.vocabulary import PruneVocabulary
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.methods.training.imitation import Imitation
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.layers import Int8DynamicLinear, Int8Embedding, LowRankEmbedding
from compress.nn.structure import structure_of
from compress.nn.vocabulary import word_embeddings
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None


@pytest.fixture
def stage(imitation: Imitation) -> FactorizeEmbeddings:
    """By rank; tests change what they are about."""
    return FactorizeEmbeddings(kept_energy=None, rank=4, least_count=0.1, recovery_epochs=0, imitation=imitation)


def looked_up(model: Any, rows: list[int]) -> torch.Tensor:
    return model.get_input_embeddings()(torch.tensor(rows)).detach()


def test_the_tokens_that_texts_use_decide(
    stage: FactorizeEmbeddings, make_model: Callable, make_context: Callable
) -> None:
    """Every token has a direction of its own: at rank 2, [CLS] and [SEP], in every text, stay whole, others vanish."""
    model = make_model()
    with torch.no_grad():
        word_embeddings(model).weight.copy_(torch.eye(34, 32))
    found = dataclasses.replace(stage, rank=2).apply(model, make_context(make_model()))
    expected = torch.eye(34, 32)
    expected[[0, 1, *range(4, 34)]] = 0
    torch.testing.assert_close(looked_up(found, list(range(34))), expected)


def test_unlabelled_text_counts(stage: FactorizeEmbeddings, make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    context = make_context(copy.deepcopy(model))
    # A word: special tokens are in every text, and padding has no length to lose.
    rare = 4 + int(np.bincount(np.concatenate(context.train["input_ids"]), minlength=34)[4:].argmin())
    more = context.train.select([0]).map(lambda row: {"input_ids": [rare] * 100_000})
    found = stage.apply(model, dataclasses.replace(context, unlabelled=more))
    expected = word_embeddings(context.teacher).weight[rare]
    torch.testing.assert_close(looked_up(found, [rare])[0], expected, atol=1e-3, rtol=0)


def test_the_note_says_what_is_kept_and_saved(
    stage: FactorizeEmbeddings, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model()
    with torch.no_grad():
        word_embeddings(model).weight.copy_(torch.ones(34, 1) * torch.arange(32.0))
    found = dataclasses.replace(stage, rank=None, kept_energy=0.999).apply(model, make_context(make_model()))
    # 34 x 32 values became 34 + 32.
    assert notes == ["word embeddings: rank 1 of 32 keeps 100.0% of what texts look up, 0.00 MB less in FP32"]
    assert found.get_input_embeddings().rank == 1
    assert structure_of(found).kinds() == {"low_rank_embedding"}


def test_where_nothing_is_saved_nothing_is_done(
    stage: FactorizeEmbeddings,
    make_model: Callable,
    make_context: Callable,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embeddings, "imitate", None)
    model = make_model()
    everything = dataclasses.replace(stage, rank=None, kept_energy=1.0, recovery_epochs=2)
    found = everything.apply(model, make_context(make_model()))
    assert structure_of(found).is_plain
    assert notes[0].startswith("word embeddings: skipped, at rank ")


def test_recovery_trains_both_factors(stage: FactorizeEmbeddings, make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=2)
    context = make_context(copy.deepcopy(model))
    plain = stage.apply(copy.deepcopy(model), context).get_input_embeddings()
    found = dataclasses.replace(stage, recovery_epochs=1).apply(model, context)
    trained = found.get_input_embeddings()
    assert isinstance(trained, LowRankEmbedding) and trained.rank == 4 and not found.training
    assert not torch.equal(trained.table.weight, plain.table.weight)
    assert not torch.equal(trained.up.weight, plain.up.weight)


@torch.no_grad()
def test_trimmed_fused_quantized_saved_and_run(
    stage: FactorizeEmbeddings, make_model: Callable, make_context: Callable, tmp_path: Path
) -> None:
    """Through every later stage that touches embeddings, to what ONNX Runtime executes."""
    processors: list[Any] = []
    context: Context = make_context(make_model(layers=2), count=6, use_processor=processors.append)
    model = stage.apply(copy.deepcopy(context.teacher), context)
    model = PruneVocabulary(min_count=1, most_tokens=None, keep_characters=True).apply(model, context)
    # The stages after it are shown examples as the new tokenizer reads them.
    lines = (tmp_path / "context-6.jsonl").read_text(encoding="utf-8").splitlines()
    examples = Dataset.from_list([json.loads(line) for line in lines])
    trimmed = context.task.encode(examples, processors[0], model.config, "train")
    context = dataclasses.replace(context, train=trimmed, processor=processors[0])
    model = FuseLayers(first_token=True).apply(model, context)
    calibration = Calibration(method="minmax", percentile=99.9, examples=2)
    quantize = QuantizeInt8(
        scheme="dynamic",
        embeddings=True,
        embedding_bits=8,
        weight_bits=int8_weight_bits(),
        keep_float=[],
        float_share=0,
        sensitivity_examples=2,
        calibration=calibration,
        smoothing=None,
        static_inner=False,
        recovery_epochs=0,
        imitation=UNUSED,
    )
    model = settle(quantize.apply(model, context))
    words = model.get_input_embeddings()
    assert isinstance(words, LowRankEmbedding)
    assert isinstance(words.table, Int8Embedding) and isinstance(words.up, Int8DynamicLinear)
    tokens = model.config.vocab_size
    assert words.num_embeddings == tokens < 34
    save_model(model, tmp_path)
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "input_ids": torch.randint(4, tokens, (3, 7), generator=generator),
        "attention_mask": torch.ones(3, 7, dtype=torch.int64),
    }
    expected = model(**inputs).logits
    assert torch.equal(load_model(tmp_path)(**inputs).logits, expected)
    path = export_onnx(model, SIGNATURE, inputs, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {name: value.numpy() for name, value in inputs.items()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=0.02 * float(expected.abs().max()))


def test_milder_settings(stage: FactorizeEmbeddings, make_model: Callable) -> None:
    setback = Setback(make_model(), make_model(), [], 0.0, pytest.fail)
    assert dataclasses.replace(stage, rank=5).relax(setback) == Milder({"rank": 8}, None)
    # Above 16, 34 x 32 would become more.
    assert dataclasses.replace(stage, rank=15).relax(setback) == Milder({"rank": 16}, None)
    assert dataclasses.replace(stage, rank=16).relax(setback) is None
    by_energy = dataclasses.replace(stage, rank=None, kept_energy=0.5)
    assert by_energy.relax(setback) == Milder({"kept_energy": 0.75}, None)
    assert dataclasses.replace(by_energy, kept_energy=1.0).relax(setback) is None


def test_check(stage: FactorizeEmbeddings, make_model: Callable) -> None:
    # 34 * 32 // 66
    dataclasses.replace(stage, rank=16).check(make_model())
    with pytest.raises(InputError, match=r"rank is 17; above 16 the 34 x 32 embeddings of this model would grow"):
        dataclasses.replace(stage, rank=17).check(make_model())
    config = AutoConfig.for_model("bert", vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(InputError, match="a BertForMaskedLM, which also writes tokens"):
        stage.check(AutoModelForMaskedLM.from_config(config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": None}, r"stages.embeddings has neither kept_energy nor rank set; exactly one decides"),
        ({"kept_energy": 0.9}, r"stages.embeddings has both kept_energy and rank set; exactly one decides"),
        ({"rank": None, "kept_energy": 1.5}, r"stages.embeddings.kept_energy is 1.5; it must lie in \(0, 1\]"),
        ({"rank": 0}, r"stages.embeddings.rank is 0"),
        ({"least_count": -1}, r"stages.embeddings.least_count is -1"),
        ({"recovery_epochs": -1}, r"stages.embeddings.recovery_epochs is -1"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, stage: FactorizeEmbeddings) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage, **change)
