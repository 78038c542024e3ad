"""The latency of layers without a fused form: what is timed, and what is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.latency_table import LatencyTable
from compress.core.recipe import Measurement
from compress.measure import latency_table
from compress.measure.latency_table import measure_table
from compress.measure.unfused import shallow_models, unfused_table
from compress.nn.family import known_families, layers_of
from compress.nn.fusion import LayerSizes, widest_sizes
from compress.nn.surgery import keep_neurons
from compress.runtimes.onnx.export import export_onnx
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

UNFUSED = sorted(name for name, family in known_families().items() if not family.fusable)


@pytest.mark.parametrize("model_type", UNFUSED)
def test_what_is_timed(model_type: str, make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    model = make_model(model_type)
    before = sum(value.numel() for value in model.parameters())
    sizes = widest_sizes(model)
    assert isinstance(sizes, LayerSizes)
    made = dict(shallow_models(model, sizes, 3, (0.125, 0.5, 1.0)))
    units = layers_of(model)[0].heads
    heads = {count: [(count, 0)] * 3 for count in {max(1, round(units * share)) for share in (0.125, 0.5, 1.0)}}
    neurons = {count: [(0, count)] * 3 for count in (8, 32, 64)}
    expected = {("call", 0): [(0, 0)], ("dropped", 0): [(0, 0)] * 3}
    expected |= {("attention", count): layers for count, layers in heads.items()}
    expected |= {("ffn", count): layers for count, layers in neurons.items()}
    found = {key: [(layer.heads, layer.neurons) for layer in layers_of(part)] for key, part in made.items()}
    assert found == expected
    for part in made.values():
        assert part(**batch).logits.shape == (3, 2)
        # No table of words is timed with them.
        assert not any(isinstance(m, nn.Embedding) and m.num_embeddings == 34 for m in part.modules())
    assert sum(value.numel() for value in model.parameters()) == before and len(layers_of(model)) == 4


def test_layers_are_as_wide_as_asked(make_model: Callable) -> None:
    model = make_model("modernbert")
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(40))
    assert widest_sizes(model, activation="relu") == LayerSizes(heads=4, neurons=40, activation="relu")
    made = dict(shallow_models(model, widest_sizes(model, activation="relu"), 2, (1.0,)))
    assert isinstance(layers_of(made["ffn", 40])[0].part("activation"), nn.ReLU)


def test_a_block_is_what_a_layer_takes_beyond_what_is_left_of_one() -> None:
    costs = {
        ("call", 0): 1.0,
        ("fixed", 0): 1.5,
        ("dropped", 0): 1.6,
        ("attention", 1): 3.4,
        ("attention", 4): 9.0,
        ("ffn", 8): 1.2,
        ("ffn", 64): 5.0,
    }
    # Three layers more: (1.6 - 1) / 3 / 2 = 0.1 for what is left of a dropped block, so the call takes 1 - 0.2, and
    # what is fixed 1.5 - 0.2. Then four blocks beside four dropped ones: (3.4 - 0.8) / 4 - 0.1, (9 - 0.8) / 4 - 0.1,
    # (1.2 - 0.8) / 4 - 0.1, (5 - 0.8) / 4 - 0.1.
    assert unfused_table(20.0, costs, 4) == LatencyTable(
        teacher=20.0,
        fixed=pytest.approx(1.3),
        attention={0: pytest.approx(0.1), 1: pytest.approx(0.55), 4: pytest.approx(1.95)},
        ffn={0: pytest.approx(0.1), 8: pytest.approx(0.0), 64: pytest.approx(0.95)},
        last_attention={},
        last_ffn={},
    )


def test_a_table_is_measured(
    make_model: Callable, batch: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TURNS", "JUDGED"):
        monkeypatch.setattr(latency_table, name, Measurement(examples=8, launches=1, rounds=3, warmup=2))
    model = make_model("modernbert")
    export_onnx(model, SIGNATURE, batch, tmp_path)
    ones = [np.ones((1, length), dtype=np.int64) for length in (3, 5, 9, 4)]
    table = measure_table(
        OnnxRuntime(threads=1),
        teacher=tmp_path,
        model=model,
        signature=SIGNATURE,
        reads="first",
        batches=[{"input_ids": 4 * mask, "attention_mask": mask} for mask in ones],
        lengths=[3, 5, 9, 4],
        layer=widest_sizes(model),
        precision="dynamic",
    )
    assert (sorted(table.attention), sorted(table.ffn)) == ([0, 1, 2, 4], [0, 8, 32, 64])
    assert not table.last_is_short
    costs = [table.teacher, table.fixed, *table.attention.values(), *table.ffn.values()]
    assert all(math.isfinite(cost) for cost in costs)
    assert min(table.teacher, table.fixed, table.attention[max(table.attention)], table.ffn[64]) > 0
