"""DeBERTa v1: queries, keys and values of a head side by side in one matrix, biases and distances apart from it."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from transformers import DebertaForSequenceClassification, PreTrainedModel

from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.nn.checkpoint import load_model, read_config, save_model, settle
from compress.nn.family import layers_of, tells_pairs_apart
from compress.nn.surgery import drop_attention, keep_heads, keep_layers, keep_neurons, narrow, tell_config
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE

REASON = "its distances have matrices, and its queries and values biases, apart from the matrix that heads lie in"


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Of four layers, with distances and biases that are felt."""
    found = make_model("deberta")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found.deberta.encoder.rel_embeddings.weight.normal_(generator=draw)
        for layer in layers_of(found):
            for part in layer.parts:
                layer.part(part).weight.mul_(8)
            for bias in (layer.part("attention").q_bias, layer.part("attention").v_bias):
                bias.normal_(generator=draw)
    return found


@pytest.fixture
def words() -> dict[str, Tensor]:
    """Two rows of 9 and 5 tokens."""
    mask = (torch.arange(9) < torch.tensor([9, 5])[:, None]).long()
    ids = torch.randint(4, 34, (2, 9), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, Tensor]) -> Tensor:
    return model(**batch).logits


def test_where_queries_keys_and_values_lie(model: PreTrainedModel) -> None:
    layer = layers_of(model)[0]
    assert (layer.heads, layer.query_heads, layer.head_width, layer.attention_inputs) == (
        1,
        4,
        32,
        ("query_key_value_by_head",),
    )
    query, key, value = (rows.tolist() for rows in layer.rows("query_key_value_by_head"))
    # Of 96 rows the first head has 24: 8 of its query, 8 of its key, 8 of its value.
    assert query == [*range(8), *range(24, 32), *range(48, 56), *range(72, 80)]
    assert key == [row + 8 for row in query]
    assert value == [row + 16 for row in query]


@torch.no_grad()
def test_attention_is_what_the_table_says(model: PreTrainedModel, words: dict) -> None:
    """The published formula of distances, written down once more, for a row without padding."""
    batch = {name: value[:1] for name, value in words.items()}
    layer, seen = layers_of(model)[0], {}
    layer.part("attention_output").register_forward_pre_hook(lambda _, inputs: seen.update(context=inputs[0]))
    states = model(**batch, output_hidden_states=True).hidden_states[0]
    attention = layer.part("attention")
    given = layer.part("query_key_value_by_head")(states)
    query, key, value = (given[..., rows] for rows in layer.rows("query_key_value_by_head"))

    def heads(vectors: Tensor) -> Tensor:
        return vectors.view(1, -1, 4, 8).transpose(1, 2)

    query, key, value = heads(query + attention.q_bias), heads(key), heads(value + attention.v_bias)
    # Distances from -4 to 3 are told apart, beyond that none are.
    distance = (torch.arange(9)[:, None] - torch.arange(9)).clamp(-4, 3) + 4
    places = model.deberta.encoder.rel_embeddings.weight[None]
    far_key, far_query = heads(attention.pos_proj(places))[0], heads(attention.pos_q_proj(places))[0]
    scores = query @ key.transpose(2, 3)
    scores = scores + torch.einsum("bhid,hijd->bhij", query, far_key[:, distance])
    back = (-(torch.arange(9)[:, None] - torch.arange(9)).T).clamp(-4, 3) + 4
    scores = scores + torch.einsum("bhjd,hijd->bhij", key, far_query[:, back])
    mixed = (scores / math.sqrt(3 * 8)).softmax(-1) @ value
    torch.testing.assert_close(seen["context"], mixed.transpose(1, 2).reshape(1, 9, 32), rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing(model: PreTrainedModel, words: dict) -> None:
    alone = {name: value[1:, :5] for name, value in words.items()}
    torch.testing.assert_close(logits(model, words)[1:], logits(model, alone), rtol=1e-4, atol=1e-5)


def test_heads_and_the_width_are_refused_before_any_work(model: PreTrainedModel, words: dict) -> None:
    overrides = ["model.path=nowhere", "data.train=nowhere", "stage/prune@stages.prune=structured"]
    stage = build(compose_settings("text_classification", overrides), "test").stages["prune"]
    with pytest.raises(InputError, match=rf"stages.prune.heads: the heads of a deberta model .* {REASON}. Set heads=1"):
        dataclasses.replace(stage, heads=0.5).check(model)  # type: ignore[type-var]
    dataclasses.replace(stage, heads=1.0).check(model)  # type: ignore[type-var]
    with pytest.raises(InputError, match=rf"hidden width of a deberta model cannot change here, because {REASON}"):
        narrow(model, 16)
    before = logits(model, words)
    keep_heads(model, layers_of(model)[0], torch.tensor([0]))
    assert torch.equal(logits(model, words), before)


def test_mixed_heads_are_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    model.config.talking_head = True
    model.config.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"has talking_head=True, so its heads are mixed with each other; of deberta"):
        read_config(tmp_path)


def test_types_of_tokens_are_read_where_there_are_such(model: PreTrainedModel) -> None:
    assert not tells_pairs_apart(model.config)
    model.config.type_vocab_size = 2
    assert tells_pairs_apart(model.config)


def test_cut_it_computes_the_same(model: PreTrainedModel, words: dict, tmp_path: Path) -> None:
    """Beside Transformers' own class with zeros in the place of what left."""
    silenced = copy.deepcopy(model)
    assert type(silenced) is DebertaForSequenceClassification
    with torch.no_grad():
        layers_of(silenced)[2].part("ffn_out").weight[:, 16:] = 0
        for value in layers_of(silenced)[1].part("attention_output").parameters():
            value.zero_()
    expected = logits(silenced, words)
    keep_neurons(model, layers_of(model)[2], torch.arange(16))
    drop_attention(model, layers_of(model)[1])
    torch.testing.assert_close(logits(model, words), expected, rtol=1e-4, atol=1e-5)
    save_model(settle(model), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(model, words))
    session = onnxruntime.InferenceSession(
        export_onnx(model, SIGNATURE, words, tmp_path), providers=["CPUExecutionProvider"]
    )
    # Shorter than the distances that are told apart, and longer.
    for length in (2, 5, 9, 30):
        ids = torch.randint(4, 34, (2, length), generator=torch.Generator().manual_seed(length))
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        found = session.run(["logits"], {name: value.numpy() for name, value in batch.items()})[0]
        np.testing.assert_allclose(found, logits(model, batch).numpy(), rtol=0, atol=1e-5)


def test_fewer_layers_of_one_width_are_loaded_by_transformers(
    model: PreTrainedModel, words: dict, tmp_path: Path
) -> None:
    keep_layers(model, [0, 2])
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(16))
    tell_config(model)
    assert save_model(settle(model), tmp_path).is_plain
    plain = settle(DebertaForSequenceClassification.from_pretrained(tmp_path))
    assert torch.equal(logits(plain, words), logits(model, words))
