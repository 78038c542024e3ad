"""MPNet: all heads stay together, because all layers share one table of distances with a value for each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import PreTrainedModel

from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.methods.prune.structured import PruneStructured
from compress.nn.family import layers_of
from compress.nn.surgery import drop_attention, keep_heads, keep_neurons, narrow
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Of four layers, with distances that are felt."""
    found = make_model("mpnet")
    with torch.no_grad():
        found.mpnet.encoder.relative_attention_bias.weight.mul_(100)
        for layer in layers_of(found):
            for part in layer.parts:
                layer.part(part).weight.mul_(8)
    return found


@pytest.fixture
def stage() -> PruneStructured:
    """Structured pruning as its file has it."""
    overrides = ["model.path=nowhere", "data.train=nowhere", "stage/prune@stages.prune=structured"]
    found = build(compose_settings("text_classification", overrides), "test").stages["prune"]
    assert isinstance(found, PruneStructured)
    return found


def test_all_heads_of_a_layer_are_one(model: PreTrainedModel) -> None:
    layer = layers_of(model)[0]
    assert (layer.heads, layer.query_heads, layer.head_width, layer.shared_width) == (1, 4, 32, 32)
    assert layer.ranges("query") == [("heads", 0, 32)]
    assert layer.ranges("value") == [("shared", 0, 32)]


def test_keeping_all_heads_changes_nothing(model: PreTrainedModel, tiny: dict) -> None:
    before = model(**tiny).logits
    keep_heads(model, layers_of(model)[0], torch.tensor([0]))
    assert torch.equal(model(**tiny).logits, before)
    attention = layers_of(model)[0].part("attention")
    assert (attention.num_attention_heads, attention.all_head_size) == (4, 32)


def test_cutting_heads_is_refused_before_any_work(model: PreTrainedModel, stage: PruneStructured) -> None:
    reason = "all layers share one table with a value for each head and each distance between two tokens"
    with pytest.raises(InputError, match=rf"stages.prune.heads: the heads of a mpnet model .* {reason}. Set heads=1"):
        dataclasses.replace(stage, heads=0.5).check(model)
    dataclasses.replace(stage, heads=1.0).check(model)
    with pytest.raises(InputError, match=rf"hidden width of a mpnet model cannot change here, because {reason}"):
        narrow(model, 16)


@pytest.fixture
def tiny() -> dict[str, torch.Tensor]:
    """Two rows of 20 and 12 tokens."""
    mask = (torch.arange(20) < torch.tensor([20, 12])[:, None]).long()
    ids = torch.randint(4, 34, (2, 20), generator=torch.Generator().manual_seed(0))
    return {"input_ids": torch.where(mask.bool(), ids, 1), "attention_mask": mask}


@torch.no_grad()
def test_distances_count_in_the_export(model: PreTrainedModel, tiny: dict, tmp_path: Path) -> None:
    keep_neurons(model, layers_of(model)[2], torch.arange(16))
    drop_attention(model, layers_of(model)[1])
    expected = model(**tiny).logits
    session = onnxruntime.InferenceSession(
        export_onnx(model, SIGNATURE, tiny, tmp_path), providers=["CPUExecutionProvider"]
    )
    found = session.run(["logits"], {name: value.numpy() for name, value in tiny.items()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)
    # A shorter row by itself: other distances, no padding.
    alone = {name: value[1:, :12] for name, value in tiny.items()}
    found = session.run(["logits"], {name: value.numpy() for name, value in alone.items()})[0]
    np.testing.assert_allclose(found, expected[1:].numpy(), rtol=0, atol=1e-5)
    model.mpnet.encoder.relative_attention_bias.weight.zero_()
    assert not torch.allclose(model(**tiny).logits, expected, atol=1e-3)
