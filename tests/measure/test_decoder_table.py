"""What a decoder's layers cost in reading a prompt and in each token after it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedModel

from compress.core.latency_table import LatencyTable
from compress.core.recipe import Measurement
from compress.measure import decoder_table as timing
from compress.measure.decoder_table import Request, decoder_table
from compress.measure.latency_table import measure_table
from compress.measure.unfused import shallow_models
from compress.nn.family import layers_of
from compress.nn.fusion import LayerSizes, widest_sizes
from compress.nn.surgery import keep_neurons
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.causal_lm import CausalLanguageModel

SIGNATURE = CausalLanguageModel(text="text", max_length=12, prompt_tokens=4, new_tokens=3).signature(None)
WORDS = 34


@pytest.fixture
def make_teacher(make_decoder: Callable[..., PreTrainedModel]) -> Callable[..., PreTrainedModel]:
    """`make_teacher(model_type="llama")`: five layers, a tied head."""
    return partial(make_decoder, num_hidden_layers=5, tie_word_embeddings=True, pad_token_id=20, eos_token_id=33)


def test_costs_of_prompt_and_tokens_add_up_and_are_those_of_the_whole_model() -> None:
    costs = {
        ("teacher", 0): Request(20.0, 100.0),
        ("whole", 0): Request(14.3, 21.0),
        ("call", 0): Request(1.0, 2.0),
        ("dropped", 0): Request(1.2, 2.0),
        ("attention", 4): Request(3.2, 6.0),
        ("ffn", 64): Request(5.2, 10.0),
        ("fixed", 0): Request(1.7, 3.0),
    }
    # Prompt: what is left of a dropped block is (1.2 - 1) / 1 / 2 = 0.1, a call 0.8, attention (3.2 - 0.8) / 2 - 0.1 =
    # 1.1, FFN (5.2 - 0.8) / 2 - 0.1 = 2.1, fixed 1.5. Two layers of both: 6.4, and 14.3 - 1.5 were measured: twice.
    # Tokens: nothing is left, attention (6 - 2) / 2 = 2, FFN 4, fixed 3. Two layers: 12, and 18 were measured.
    prompt = LatencyTable(
        teacher=20.0,
        fixed=pytest.approx(1.5),
        attention={0: pytest.approx(0.2), 4: pytest.approx(2.2)},
        ffn={0: pytest.approx(0.2), 64: pytest.approx(4.2)},
        last_attention={},
        last_ffn={},
        together=pytest.approx(2.0),
    )
    found = decoder_table(costs, [(4, 64)] * 2, 2)
    assert found == LatencyTable(
        teacher=120.0,
        fixed=pytest.approx(4.5),
        attention={0: pytest.approx(0.2), 4: pytest.approx(5.2)},
        ffn={0: pytest.approx(0.2), 64: pytest.approx(10.2)},
        last_attention={},
        last_ffn={},
        prompt=prompt,
    )
    assert found.predict([(4, 64)] * 2) == pytest.approx(14.3 + 21.0)


def test_where_nothing_is_rounded_the_whole_model_is_the_teacher() -> None:
    costs = {
        ("teacher", 0): Request(13.0, 26.0),
        ("call", 0): Request(1.0, 2.0),
        ("dropped", 0): Request(1.0, 2.0),
        ("attention", 4): Request(3.0, 6.0),
        ("ffn", 64): Request(3.0, 6.0),
        ("fixed", 0): Request(1.0, 2.0),
    }
    # One each, three layers: 6 of the 13 - 1 that were measured. Two each: 12 of 24.
    assert decoder_table(costs, [(4, 64)] * 3, 2).attention == {0: 0.0, 4: pytest.approx(2.0 + 4.0)}


@pytest.mark.parametrize("model_type", ["llama", "qwen3", "gemma3_text"])
def test_what_is_timed_has_few_words(model_type: str, make_teacher: Callable[..., PreTrainedModel]) -> None:
    model = make_teacher(model_type)
    sizes = widest_sizes(model)
    assert isinstance(sizes, LayerSizes)
    for (part, count), made in shallow_models(model, sizes, 3, (0.5, 1.0)):
        expected = {"attention": (count, 0), "ffn": (0, count)}.get(part, (0, 0))
        assert [(layer.heads, layer.neurons) for layer in layers_of(made)] == [expected] * (1 if part == "call" else 3)
        assert made.get_input_embeddings().num_embeddings == made.get_output_embeddings().out_features == 8
    assert model.get_input_embeddings().num_embeddings == WORDS


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        # Nothing rounded; the head and products in blocks of 8 bits, or of 4 within the layers.
        ("float", set()),
        ("blocks", {8}),
        ("blocks4", {8, 4}),
    ],
)
def test_a_table_is_measured(
    precision: str,
    expected: set[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_teacher: Callable[..., PreTrainedModel],
) -> None:
    monkeypatch.setattr(timing, "TURNS", Measurement(examples=1, launches=1, rounds=2, warmup=1))
    bits, graphs = set(), []
    export = OnnxRuntime.export

    def recorded(self: OnnxRuntime, part: Any, signature: Any, batch: Any, folder: Path) -> None:
        export(self, part, signature, batch, folder)
        products = [node for node in onnx.load(folder / "model.onnx").graph.node if node.op_type == "MatMulNBits"]
        bits.update(found.i for node in products for found in node.attribute if found.name == "bits")
        graphs.append(folder)

    model, runtime = make_teacher(), OnnxRuntime(threads=1)
    # Layers of a teacher that was cut before are of different sizes.
    keep_neurons(model, layers_of(model)[1], torch.arange(32))
    ones = np.ones((2, 4), dtype=np.int64)
    runtime.export(model, SIGNATURE, {name: torch.tensor(ones) for name in SIGNATURE.names}, tmp_path)
    monkeypatch.setattr(OnnxRuntime, "export", recorded)
    table = measure_table(
        runtime,
        teacher=tmp_path,
        model=model,
        signature=SIGNATURE,
        reads="all",
        batches=[],
        lengths=[],
        layer=widest_sizes(model),
        precision=precision,
    )
    assert bits == expected
    # A call, what is left of four layers, two sizes of keys and values, three of neurons, the rest; and the whole.
    assert len(graphs) == 8 + (precision != "float")
    assert (sorted(table.attention), sorted(table.ffn)) == ([0, 1, 2], [0, 8, 32, 64])
    assert table.prompt is not None
    for phase in (table, table.prompt):
        costs = [phase.teacher, phase.fixed, *phase.attention.values(), *phase.ffn.values()]
        assert all(math.isfinite(cost) and cost >= 0 for cost in costs)
    # Two more tokens take time, of the teacher; what they take of so small a layer may be less than a clock's grain.
    assert 0 < table.prompt.teacher < table.teacher
    assert table.prompt.predict([(2, 64)]) <= table.predict([(2, 64)])
    assert LatencyTable.from_json(json.loads(json.dumps(table.to_json()))) == table
