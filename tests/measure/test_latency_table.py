"""A table measured on a tiny encoder, in real processes. No time is asserted, only that there are some."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from compress.core.latency_table import LatencyTable
from compress.core.recipe import Measurement
from compress.measure import latency_table
from compress.measure.latency_table import (
    _Attention,
    _FeedForward,
    _fixed,
    _low_rank,
    _parts,
    _table,
    measure_low_rank,
    measure_table,
)
from compress.nn.family import layers_of
from compress.nn.forward import forward
from compress.nn.layers import FusedEmbeddings
from compress.nn.layers.fused_layer import ACTIVATIONS, FusedLayerSizes
from compress.runtimes.onnx.export import export_onnx
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

SIZES = FusedLayerSizes(
    hidden=32,
    heads=4,
    head_size=8,
    neurons=64,
    activation=ACTIVATIONS.index("relu"),
    epsilon_exponent=12,
    first_token=0,
    separate=0,
)
LENGTHS = [3, 5, 9, 4]


@pytest.fixture
def teacher(make_model: Callable, batch: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """The folder of a tiny teacher's export."""
    export_onnx(make_model(), SIGNATURE, batch, tmp_path)
    return tmp_path


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The operators of all graphs that are timed, the teacher's apart. Turns are short."""
    seen: Counter[str] = Counter()
    export = latency_table._export

    def recorded(module: Any, signature: Any, inputs: Any, folder: Path, runtime: Any) -> Any:
        taken = export(module, signature, inputs, folder, runtime)
        seen.update(node.op_type for node in onnx.load(folder / "model.onnx").graph.node)
        return taken

    monkeypatch.setattr(latency_table, "_export", recorded)
    for name in ("TURNS", "JUDGED"):
        monkeypatch.setattr(latency_table, name, Measurement(examples=8, launches=1, rounds=3, warmup=2))
    return seen


# Dense layers: two of the FFN in 5 graphs of 4 blocks, two of attention in 3, three where it reads the first token in
# 2, two of the head, and a whole model of two layers: two and two, in the last one three and two, and its head.
DENSE = 5 * 4 * 2 + 3 * 4 * 2 + 2 * 4 * 3 + 2 + (4 + 5 + 2)
# The exporter may round once what four blocks read: the states, and their first token, in 2 graphs.
SHARED = 2 * 2 * 3
NONE = range(1)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("float", {"MatMulInteger": NONE, "QuantizeLinear": NONE}),
        ("dynamic", {"MatMulInteger": range(DENSE, DENSE + 1), "QuantizeLinear": NONE}),
        ("static", {"MatMulInteger": NONE, "QuantizeLinear": range(DENSE - SHARED, DENSE + 1)}),
        ("blocks", {"MatMulInteger": NONE, "QuantizeLinear": NONE, "DequantizeLinear": range(DENSE, DENSE + 1)}),
    ],
)
def test_every_precision_is_exported_and_timed(
    teacher: Path, operators: Counter[str], make_model: Callable, precision: str, expected: dict[str, range]
) -> None:
    ones = [np.ones((1, length), dtype=np.int64) for length in LENGTHS]
    table = measure_table(
        OnnxRuntime(threads=1),
        teacher=teacher,
        model=make_model(),
        signature=SIGNATURE,
        reads="first",
        batches=[{"input_ids": 4 * mask, "attention_mask": mask} for mask in ones],
        lengths=LENGTHS,
        layer=SIZES,
        precision=precision,
    )
    # None, an eighth, a half and all of 4 heads and 64 neurons; an eighth of 4 heads is one.
    assert (sorted(table.attention), sorted(table.ffn)) == ([0, 1, 2, 4], [0, 8, 32, 64])
    assert (sorted(table.last_attention), sorted(table.last_ffn)) == ([0, 1, 4], [0, 8, 64])
    curves = (table.attention, table.ffn, table.last_attention, table.last_ffn)
    costs = [table.teacher, table.fixed, *(cost for curve in curves for cost in curve.values())]
    assert all(math.isfinite(cost) for cost in costs)
    # Whole blocks take longer than a call that computes nothing, however short the turns.
    assert min(table.teacher, table.fixed, table.attention[4], table.ffn[64], table.last_attention[4]) > 0
    assert table.predict([(4, 64)] * 2) > table.predict([(4, 64)]) > table.fixed
    assert LatencyTable.from_json(json.loads(json.dumps(table.to_json()))) == table
    assert all(operators[name] in counts for name, counts in expected.items()), operators


def test_a_block_is_what_a_graph_takes_beyond_the_call() -> None:
    costs = {
        ("call", 0): 1.0,
        ("fixed", 0): 1.5,
        ("attention", 4): 9.0,
        ("ffn", 64): 5.0,
        ("ffn", 8): 0.9,
        ("dropped", 0): 1.4,
        ("last_dropped", 0): 1.2,
        ("last_attention", 4): 3.0,
        ("last_ffn", 64): 2.0,
    }
    # Four blocks in a graph: (9 - 1) / 4, (5 - 1) / 4, less than nothing, (3 - 1) / 4, (2 - 1) / 4. What is left of a
    # dropped block is the same for both: (1.4 - 1) / 4, and (1.2 - 1) / 4 in the last layer.
    assert _table(20.0, costs) == LatencyTable(
        teacher=20.0,
        fixed=1.5,
        attention={0: pytest.approx(0.1), 4: 2.0},
        ffn={0: pytest.approx(0.1), 64: 1.0, 8: 0.0},
        last_attention={0: pytest.approx(0.05), 4: 0.5},
        last_ffn={0: pytest.approx(0.05), 64: 0.25},
    )


def test_the_table_foretells_what_a_gate_would_find_of_a_whole_model(
    teacher: Path, operators: Counter[str], make_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two layers of two heads and 32 neurons, half of the model's, are said to take 2 ms where the teacher takes 6."""

    def told(candidates: Any, files: Any, chosen: Any, measurement: Measurement, *rest: Any) -> Any:
        times = [6.0, *(1.0 + 0.1 * i for i in range(len(candidates) - 2)), 0.5]
        if len(candidates) == 2:
            assert [candidate.folder == teacher for candidate in candidates] == [True, False]
            assert (len(chosen), measurement) == (3 * len(LENGTHS), latency_table.JUDGED)
            times = [6.0, 2.0]
        return [((time,) * len(chosen),) * measurement.rounds for time in times]

    monkeypatch.setattr(latency_table, "measure_in_turns", told)
    ones = [np.ones((1, length), dtype=np.int64) for length in LENGTHS]
    table = measure_table(
        OnnxRuntime(threads=1),
        teacher=teacher,
        model=make_model(),
        signature=SIGNATURE,
        reads="first",
        batches=[{"input_ids": 4 * mask, "attention_mask": mask} for mask in ones],
        lengths=LENGTHS,
        layer=SIZES,
        precision="float",
    )
    whole = [(2, 32)] * (len(layers_of(make_model())) // 2)
    assert table.teacher / table.predict(whole) == pytest.approx(3.0)
    alone = table.alone()
    assert alone.teacher / alone.predict(whole) != pytest.approx(3.0)


def test_a_last_layer_is_timed_apart_only_where_the_head_reads_the_first_token() -> None:
    counts = {reads: len(_parts(SIZES, "attention_mask", reads)) for reads in ("first", "last", "all")}
    # Nothing, three sizes of each block and what is left of one; then two sizes of each and what is left.
    assert counts == {"first": 1 + 3 * 2 + 1 + 2 * 2 + 1, "last": 8, "all": 8}


def test_what_is_fixed_is_the_teacher_without_its_layers(make_model: Callable, batch: dict[str, torch.Tensor]) -> None:
    model = make_model()
    with torch.no_grad():
        embedded = model.bert.embeddings(batch["input_ids"])
        expected = model.classifier(model.bert.pooler(embedded))
        ((_, fixed),) = _fixed(model, SIGNATURE)
        found = forward(fixed, SIGNATURE, batch).output
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert isinstance(model.bert.embeddings, FusedEmbeddings)


def test_low_ranks_are_exported_and_timed(operators: Counter[str], make_model: Callable) -> None:
    ones = [np.ones((1, length), dtype=np.int64) for length in LENGTHS]
    grids, _ = measure_low_rank(
        OnnxRuntime(threads=1),
        model=make_model(),
        signature=SIGNATURE,
        batches=[{"input_ids": 4 * mask, "attention_mask": mask} for mask in ones],
        lengths=LENGTHS,
        layer=SIZES,
        precision="dynamic",
    )
    # A half and all of 4 heads, an eighth and all of 64 neurons, each at an eighth and three eighths of 32.
    assert {product: sorted(grid) for product, grid in grids.items()} == {
        "attention_output": [2, 4],
        "ffn_in": [8, 64],
        "ffn_out": [8, 64],
    }
    assert {tuple(sorted(curve)) for grid in grids.values() for curve in grid.values()} == {(4, 12)}
    assert all(math.isfinite(more) for grid in grids.values() for curve in grid.values() for more in curve.values())
    # Two sizes of four blocks: two products whole and three at two ranks in attention, two whole and four in an FFN.
    assert operators["MatMulInteger"] == 2 * 4 * ((2 + 3 + 3) + (2 + 4 + 4))


def test_a_thin_product_takes_its_share_of_what_its_block_takes_more() -> None:
    costs = {("attention", 4, 0): 9.0, ("attention", 4, 8): 8.0, ("ffn", 64, 0): 5.0, ("ffn", 64, 8): 1.0}
    # (8 - 9) / 4 blocks, and (1 - 5) / 4 blocks of two products.
    assert _low_rank(costs) == {
        "attention_output": {4: {8: -0.25}},
        "ffn_in": {64: {8: -0.5}},
        "ffn_out": {64: {8: -0.5}},
    }


@pytest.mark.parametrize(("first_token", "tokens"), [(0, 5), (1, 1)])
def test_what_is_timed_computes_as_many_tokens_as_the_model(first_token: int, tokens: int) -> None:
    sizes = FusedLayerSizes(**{**vars(SIZES), "first_token": first_token})
    inputs = {"states": torch.randn(1, 5, 32), "attention_mask": torch.ones(1, 5, dtype=torch.long)}
    for part in (_Attention(sizes, "attention_mask"), _FeedForward(sizes)):
        assert part(inputs).shape == (1, tokens, 32)
