"""An encoder with a readout: the poolings by numbers worked out by hand, and every family under it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import tensor
from transformers import AutoConfig, AutoModel

from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import known_families, layers_of
from compress.nn.sentence_encoder import FIELD, POOLINGS, Readout, SentenceEncoder
from compress.nn.surgery import narrow

# Two texts, of two positions and of three.
STATES = tensor([[[1.0, 8.0], [3.0, 2.0], [99.0, 99.0]], [[2.0, 0.0], [4.0, 0.0], [6.0, 3.0]]])
REAL = tensor([[[1.0], [1.0], [0.0]], [[1.0], [1.0], [1.0]]])
READOUT = Readout(pooling="mean", dimensions=0, bias=False, activation="identity", normalize=True, prompts={})


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", [[1.0, 8.0], [2.0, 0.0]]),
        ("lasttoken", [[3.0, 2.0], [6.0, 3.0]]),
        ("mean", [[2.0, 5.0], [4.0, 1.0]]),
        ("mean_sqrt_len_tokens", [[4 / 2**0.5, 10 / 2**0.5], [12 / 3**0.5, 3 / 3**0.5]]),
        # (1 * 1 + 2 * 3) / 3, (1 * 8 + 2 * 2) / 3; (2 + 8 + 18) / 6, 9 / 6.
        ("weightedmean", [[7 / 3, 4.0], [28 / 6, 1.5]]),
        ("max", [[3.0, 8.0], [6.0, 3.0]]),
    ],
)
def test_pooling_reads_no_padding(pooling: str, expected: list[list[float]]) -> None:
    torch.testing.assert_close(POOLINGS[pooling](STATES, REAL), tensor(expected))


def _encoder(readout: Readout = READOUT) -> SentenceEncoder:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "bert", vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    setattr(config, FIELD, readout.to_json())
    return SentenceEncoder(config).eval()


def test_vector_is_the_pooled_last_layer_at_length_one() -> None:
    model = _encoder()
    ids, mask = tensor([[5, 6, 7], [8, 9, 0]]), tensor([[1, 1, 1], [1, 1, 0]])
    with torch.inference_mode():
        states = model.bert(ids, attention_mask=mask).last_hidden_state
        found = model(ids, mask)
    mean = torch.stack([states[0].mean(dim=0), states[1, :2].mean(dim=0)])
    torch.testing.assert_close(found.sentence_embedding, mean / mean.norm(dim=1, keepdim=True))
    torch.testing.assert_close(found.last_hidden_state, states)


def test_mask_as_an_export_adds_it_hides_the_same() -> None:
    model = _encoder()
    model.set_attn_implementation("eager")
    ids, mask = tensor([[5, 6, 7], [8, 9, 0]]), tensor([[1, 1, 1], [1, 1, 0]])
    added = ((1 - mask.float()) * torch.finfo(torch.float32).min)[:, None, None, :]
    with torch.inference_mode():
        torch.testing.assert_close(model(ids, added).sentence_embedding, model(ids, mask).sentence_embedding)


def test_dense_layer_gives_the_dimensions() -> None:
    readout = Readout(pooling="cls", dimensions=3, bias=True, activation="tanh", normalize=False, prompts={})
    model = _encoder(readout)
    ids = tensor([[5, 6, 7]])
    with torch.inference_mode():
        found = model(ids, torch.ones_like(ids)).sentence_embedding
        states = model.bert(ids).last_hidden_state
        assert model.dense is not None
        torch.testing.assert_close(found, torch.tanh(states[:, 0] @ model.dense.weight.T + model.dense.bias))
    assert model.dimensions == 3


def test_saved_model_is_the_same_and_an_encoders_own_loader_reads_it(tmp_path: Path) -> None:
    model = _encoder()
    save_model(model, tmp_path)
    ids, mask = tensor([[5, 6, 7]]), tensor([[1, 1, 1]])
    with torch.inference_mode():
        expected = model(ids, mask)
        assert torch.equal(load_model(tmp_path)(ids, mask).sentence_embedding, expected.sentence_embedding)
        stock = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
        torch.testing.assert_close(stock(ids, attention_mask=mask).last_hidden_state, expected.last_hidden_state)


def test_every_family_that_reads_tokens_stands_under_a_readout(text_type: str) -> None:
    family = known_families()[text_type]
    settings = {family.layers_field: 2, family.heads_field: 4, family.hidden_field: 32, family.ffn_field: 64}
    settings |= {"vocab_size": 34, "pad_token_id": 0, "max_position_embeddings": 40}
    settings |= {name: 2 for name in (family.sharing_field,) if name is not None}
    settings |= {name: 8 for name in (family.head_size_field,) if name is not None}
    config = AutoConfig.for_model(text_type, **(settings | family.typical))
    setattr(config, FIELD, READOUT.to_json())
    model = SentenceEncoder(config).eval()
    ids = tensor([[5, 6, 7], [8, 9, 0]])
    with torch.inference_mode():
        assert model(ids, tensor([[1, 1, 1], [1, 1, 0]])).sentence_embedding.shape == (2, 32)
    assert len(layers_of(model)) == 2


def test_readout_that_is_none_is_refused() -> None:
    config = AutoConfig.for_model("bert")
    with pytest.raises(ValueError, match="does not say how a vector is made"):
        Readout.of(config)
    setattr(config, FIELD, {**READOUT.to_json(), "pooling": "sum"})
    with pytest.raises(ValueError, match="'sum'"):
        Readout.of(config)


def test_narrower_encoder_gives_vectors_as_long_as_before(tmp_path: Path) -> None:
    model = _encoder()
    narrower = narrow(model, 4)
    ids = tensor([[5, 6, 7]])
    assert narrower.bert.config.hidden_size == 4
    with torch.inference_mode():
        assert narrower(ids, torch.ones_like(ids)).sentence_embedding.shape == (1, 8)
    # Each hidden state that is kept stays in its place of the vector, and the other places are 0.
    assert narrower.dense.weight.sum(dim=0).tolist() == [1.0] * 4
    assert sorted(narrower.dense.weight.sum(dim=1).tolist()) == [0.0] * 4 + [1.0] * 4
    save_model(narrower, tmp_path)
    with torch.inference_mode():
        again = load_model(tmp_path)(ids, torch.ones_like(ids)).sentence_embedding
        assert torch.equal(again, narrower(ids, torch.ones_like(ids)).sentence_embedding)
