"""ModernBERT: a matrix of several products in each block, windows in most layers, and a first layer that stays."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.methods.training.layer_map import spread_from_first
from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import layers_of
from compress.nn.head import positions_read
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons, narrow
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE

BOTH_SIDES = 2
FULL, WINDOW = "full_attention", "sliding_attention"


def small(layers: int = 6, **settings: Any) -> PreTrainedModel:
    """Width 32, four heads, 64 neurons; every third layer from the first sees all, the others two tokens each side."""
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 34, "pad_token_id": 0}
    sizes |= {"num_hidden_layers": layers, "local_attention": 2 * BOTH_SIDES, "global_attn_every_n_layers": 3}
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.for_model("modernbert", **sizes | settings))
    return model.eval()


@pytest.fixture
def words() -> dict[str, torch.Tensor]:
    """Two rows of 12 and 7 tokens."""
    mask = (torch.arange(12) < torch.tensor([12, 7])[:, None]).long()
    ids = torch.randint(4, 34, (2, 12), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch).logits


def stage_of(group: str) -> Any:
    given = ["model.path=nowhere", "data.train=nowhere", "stage/prune@stages.prune=structured"]
    return build(compose_settings("text_classification", given), "test").stages[group]


def test_what_the_rows_of_its_matrices_are() -> None:
    layer = layers_of(small())[1]
    assert layer.ranges("query_key_value") == [("heads", 0, 32), ("shared", 32, 64), ("shared", 64, 96)]
    assert layer.ranges("ffn_gate_and_in") == [("neurons", 0, 64), ("neurons", 64, 128)]
    assert (layer.heads, layer.neurons) == (4, 64)


def test_heads_and_neurons_leave_every_product_of_a_matrix() -> None:
    model = small()
    layer = layers_of(model)[1]
    fused, gated = layer.weight("query_key_value"), layer.weight("ffn_gate_and_in")
    keep_heads(model, layer, torch.tensor([1]))
    keep_neurons(model, layer, torch.tensor([5, 60]))
    rows = [*range(8, 16), *range(40, 48), *range(72, 80)]
    assert torch.equal(layer.weight("query_key_value"), fused[rows])
    assert torch.equal(layer.weight("ffn_gate_and_in"), gated[[5, 60, 69, 124]])
    assert (layer.weight("attention_output").shape, layer.weight("ffn_out").shape) == ((32, 8), (32, 2))


@pytest.mark.parametrize(
    ("kept", "types", "period"),
    [
        ([0, 1, 2], [FULL, WINDOW, WINDOW], 3),
        ([0, 1, 3, 5], [FULL, WINDOW, FULL, WINDOW], 2),
        ([0, 3], [FULL, FULL], 1),
        ([0, 3, 4], [FULL, FULL, WINDOW], None),
        ([0], [FULL], 1),
    ],
)
def test_each_layer_keeps_what_it_sees(
    kept: list[int], types: list[str], period: int | None, words: dict, tmp_path: Path
) -> None:
    model = small()
    states = model(**words, output_hidden_states=True).hidden_states
    keep_layers(model, kept)
    assert (model.config.layer_types, model.config.global_attn_every_n_layers) == (types, period)
    assert [layer.part("attention").sliding_window for layer in layers_of(model)] == [
        BOTH_SIDES + 1 if kind == WINDOW else None for kind in types
    ]
    save_model(model, tmp_path)
    assert torch.equal(logits(load_model(tmp_path), words), logits(model, words))
    assert torch.equal(logits(type(model).from_pretrained(tmp_path).eval(), words), logits(model, words))
    # The layers before the first one that left give what they gave.
    again = model(**words, output_hidden_states=True).hidden_states
    same = next((i for i, number in enumerate(kept) if i != number), len(kept))
    assert all(torch.equal(*pair) for pair in zip(again[:same], states[:same], strict=True))


def test_a_window_is_two_tokens_on_each_side() -> None:
    model, seen = small(layers=2), []
    layers_of(model)[1].module.register_forward_hook(lambda _, __, output: seen.append(output))
    # What the first layer gives differs in its sixth token.
    given = torch.randn(2, 1, 12, 32, generator=torch.Generator().manual_seed(0))
    given[1] = given[0]
    given[1, 0, 5] *= -1
    layers_of(model)[0].module.register_forward_hook(lambda *_: given[len(seen)])
    for _ in given:
        model(input_ids=torch.arange(4, 16)[None])
    moved = (seen[0] != seen[1])[0].any(dim=1).tolist()
    assert moved == [abs(place - 5) <= BOTH_SIDES for place in range(12)]


@pytest.mark.parametrize("group", ["distill", "prune"])
def test_the_first_layer_stays(group: str) -> None:
    message = (
        rf"stages.{group}.layers is \[2, 5\]; the first layer of a modernbert model must stay the first, because it "
        r"alone has no normalisation before its attention. Begin with 0: \[0, 5\], or give how many layers stay."
    )
    with pytest.raises(InputError, match=message):
        dataclasses.replace(stage_of(group), layers=[2, 5]).check(small())
    dataclasses.replace(stage_of(group), layers=[0, 5]).check(small())
    with pytest.raises(InputError, match=r"layers is \[1\]; the first layer of a modernbert model must stay"):
        keep_layers(small(), [1])


@pytest.mark.parametrize(("count", "chosen"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (4, [0, 2, 3, 5])])
def test_layers_evenly_spread_from_the_first(count: int, chosen: list[int]) -> None:
    # 1 + 5 i / (count - 1): 1, 3.5, 6; 1, 2.67, 4.33, 6. Halves are rounded to even.
    model = small()
    with torch.no_grad():
        for number, layer in enumerate(layers_of(model)):
            layer.part("ffn_out").weight.fill_(number)
    student = dataclasses.replace(stage_of("distill"), layers=count).foresee(model)
    assert [float(layer.weight("ffn_out")[0, 0]) for layer in layers_of(student)] == chosen


def test_spread_from_the_first_never_names_a_layer_twice() -> None:
    for teachers in range(1, 49):
        for students in range(1, teachers + 1):
            numbers = spread_from_first(students, teachers)
            assert sorted(set(numbers)) == numbers and len(numbers) == students
            assert numbers[0] == 1 and (numbers[-1] == teachers or students == 1)
    with pytest.raises(ValueError, match=r"7 layers cannot stand for 6"):
        spread_from_first(7, 6)


def test_the_first_layer_stays_however_little_it_matters(make_context: Callable) -> None:
    model = small(id2label={0: "cold", 1: "warm"}, label2id={"cold": 0, "warm": 1})
    with torch.no_grad():
        for number, scale in enumerate((0.01, 1, 1, 1, 5, 1)):
            layers_of(model)[number].part("ffn_out").weight.mul_(scale)
    modules = [layer.module for layer in layers_of(model)]
    given = ["importance@stages.prune.importance=magnitude", "model.path=nowhere", "data.train=nowhere"]
    given += ["stage/prune@stages.prune=structured", "stages.prune.recovery_epochs=0", "stages.prune.layers=0.34"]
    stage = build(compose_settings("text_classification", given), "test").stages["prune"]
    found = stage.apply(model, make_context(copy.deepcopy(model)))
    assert [layer.module for layer in layers_of(found)] == [modules[0], modules[4]]


def test_narrower(words: dict) -> None:
    model = small()
    assert torch.equal(logits(narrow(model, 32), words), logits(model, words))
    hidden = list(range(1, 32, 2))
    with torch.no_grad():
        for layer in layers_of(model):
            layer.part("ffn_out").weight[hidden] *= 10
            # The values of heads 1 and 3 are the last 32 rows' second and fourth eights.
            for start in (72, 88):
                layer.part("query_key_value").weight[start : start + 8] *= 10
    found = narrow(model, 16)
    rows = [start + head + i for start in (0, 32, 64) for head in (8, 24) for i in range(8)]
    for layer, original in zip(layers_of(found), layers_of(model), strict=True):
        assert torch.equal(layer.weight("query_key_value"), original.weight("query_key_value")[rows][:, hidden])
        assert torch.equal(layer.weight("attention_output"), original.weight("attention_output")[hidden][:, rows[:16]])
    assert logits(found, words).shape == (2, 2)


@pytest.mark.parametrize(("pooling", "read"), [("cls", "first"), ("mean", "all")])
def test_either_pooling(pooling: str, read: str, words: dict, tmp_path: Path) -> None:
    model = small(layers=2, classifier_pooling=pooling)
    assert positions_read(model, SIGNATURE, words) == read
    expected = logits(model, words)
    alone = [
        logits(model, {k: v[row : row + 1, :length] for k, v in words.items()}) for row, length in ((0, 12), (1, 7))
    ]
    torch.testing.assert_close(expected, torch.cat(alone), rtol=1e-5, atol=1e-6)
    session = onnxruntime.InferenceSession(
        export_onnx(model, SIGNATURE, words, tmp_path), providers=["CPUExecutionProvider"]
    )
    found = session.run(["logits"], {name: value.numpy() for name, value in words.items()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)
