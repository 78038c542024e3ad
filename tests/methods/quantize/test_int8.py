"""Which layers become int8, and with what ranges."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.blame import Milder, Setback
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import Training
from compress.measure.environment import int8_weight_bits
from compress.methods.quantize.int8 import Calibration, QuantizeInt8, _quantiles
from compress.methods.training import quantization_aware
from compress.methods.training.imitation import Imitation
from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import layers_of
from compress.nn.fusion import fuse_embeddings, fuse_layers
from compress.nn.layers import (
    Int4Embedding,
    Int8DynamicLinear,
    Int8Embedding,
    Int8StaticLinear,
    LowRankLinear,
    MaskedLinear,
)
from compress.nn.ops.int8 import scale_of_range
from compress.nn.structure import replace_module, structure_of
from compress.nn.surgery import change_activation
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None
STAGE = QuantizeInt8(
    scheme="dynamic",
    embeddings=True,
    embedding_bits=8,
    weight_bits=8,
    keep_float=(),
    float_share=0,
    sensitivity_examples=8,
    calibration=Calibration(method="minmax", percentile=99.99, examples=8),
    smoothing=None,
    static_inner=False,
    recovery_epochs=0,
    imitation=UNUSED,
)
STATIC = dataclasses.replace(STAGE, scheme="static")


def float_layers(model: nn.Module) -> set[str]:
    """Paths of dense layers and embedding tables that are still in float."""
    return {path for path, module in model.named_modules() if isinstance(module, nn.Linear | nn.Embedding)}


@pytest.mark.parametrize("stage", [STAGE, STATIC], ids=["dynamic", "static"])
def test_all_dense_layers_and_the_word_embeddings(
    stage: QuantizeInt8, bert_type: str, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model(bert_type)
    dense = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = stage.apply(model, make_context(make_model(bert_type)))
    # The position table has 40 rows, more than the 34 words: it stays exact all the same.
    left = {path.rpartition(".")[2] for path in float_layers(found)}
    assert left == {"position_embeddings"} | ({"token_type_embeddings"} if bert_type != "distilbert" else set())
    edits = structure_of(found).edits
    assert {path for path, edit in edits.items() if edit.kind == f"int8_{stage.scheme}_linear"} == set(dense)
    assert [path for path, edit in edits.items() if edit.kind == "int8_embedding"] == [
        f"{model.base_model_prefix}.embeddings.word_embeddings"
    ]
    assert notes[-1] == f"{len(dense)} dense layers and 1 embedding tables in int8, {stage.scheme} activations"


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["classifier"], {"classifier"}),
        (["*.layer.0.*"], {f"bert.encoder.layer.0.{name}" for name in (
            "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
            "intermediate.dense", "output.dense")}),
        (["*pooler*", "*word_embeddings"], {"bert.pooler.dense", "bert.embeddings.word_embeddings"}),
    ],
)  # fmt: skip
def test_what_is_kept_in_float(
    patterns: list[str], expected: set[str], make_model: Callable, make_context: Callable
) -> None:
    model = make_model(layers=2)
    stage = dataclasses.replace(STAGE, keep_float=patterns)
    stage.check(model)
    found = stage.apply(model, make_context(model))
    always = {"bert.embeddings.position_embeddings", "bert.embeddings.token_type_embeddings"}
    assert float_layers(found) == expected | always


def test_a_pattern_that_matches_nothing(make_model: Callable) -> None:
    with pytest.raises(
        InputError, match=r"keep_float has 'clasifier', which matches no layer. Layers are named like 'cl"
    ):
        dataclasses.replace(STAGE, keep_float=["clasifier"]).check(make_model())


def test_embeddings_may_stay(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    found = dataclasses.replace(STAGE, embeddings=False).apply(model, make_context(model))
    assert type(found.get_input_embeddings()) is nn.Embedding
    assert structure_of(found).kinds() == {"int8_dynamic_linear"}


def test_a_model_of_images_has_no_words(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model = make_model("vit")
    found = STAGE.apply(model, make_context(make_model("vit")))
    assert structure_of(found).kinds() == {"int8_dynamic_linear"}
    assert notes == ["25 dense layers and 0 embedding tables in int8, dynamic activations"]


def test_word_embeddings_of_four_bits(
    bert_type: str, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = make_model(bert_type)
    before = model.get_input_embeddings().weight.detach().clone()
    found = dataclasses.replace(STAGE, embedding_bits=4).apply(model, make_context(make_model(bert_type)))
    words = found.get_input_embeddings()
    assert isinstance(words, Int4Embedding)
    # A seventh of a row's largest value is a step; what is not cut off is off by half a step at most.
    off = (words(torch.arange(34)) - before).abs()
    assert bool((off.median(dim=1).values <= before.abs().amax(1) / 14 * 1.0001).all())
    assert notes[-1].endswith("1 embedding tables in int8, dynamic activations, word embeddings in int4")


def test_bits_of_tables_that_stay_in_float_are_not_read() -> None:
    float_tables = dataclasses.replace(STAGE, embeddings=False)
    assert float_tables.unread - STAGE.unread == {"embedding_bits"}
    assert dataclasses.replace(float_tables, scheme="static").unread - STAGE.unread == {
        "embedding_bits",
        "static_inner",
    }


def test_fused_positions_are_int8_in_the_file_and_float_in_the_session(
    make_model: Callable, make_context: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = make_model("bert")
    # As many as a real model has: the exporter itself works small constants out.
    model.bert.embeddings.position_embeddings = nn.Embedding(512, 32)
    assert fuse_embeddings(model, types=False)
    before = model.bert.embeddings.positions.weight.detach().clone()
    found = STAGE.apply(model, make_context(make_model("bert")))
    positions = found.bert.embeddings.positions
    assert isinstance(positions, Int8Embedding)
    # A row's largest value is 127 steps; rounding is off by half a step at most.
    assert bool(((positions.weight - before).abs() <= before.abs().amax(1, keepdim=True) / 254 * 1.0001).all())

    path = export_onnx(found, SIGNATURE, batch, tmp_path)
    stored = [tuple(value.dims) for value in onnx.load(path).graph.initializer if value.data_type == TensorProto.INT8]
    assert tuple(before.shape) in stored
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimized.onnx").graph
    opened = [tuple(value.dims) for value in graph.initializer if value.data_type == TensorProto.FLOAT]
    assert tuple(before.shape) in opened


def test_factors_and_zeros(make_model: Callable, make_context: Callable) -> None:
    model = make_model(layers=1)
    query, key = (f"bert.encoder.layer.0.attention.self.{name}" for name in ("query", "key"))
    replace_module(model, query, LowRankLinear(32, 32, 4, bias=True))
    mask = model.get_submodule(key).weight > 0
    replace_module(model, key, MaskedLinear.of(model.get_submodule(key), mask))
    found = STAGE.apply(model, make_context(make_model()))
    assert type(found.get_submodule(query)) is LowRankLinear
    assert type(found.get_submodule(f"{query}.up")) is Int8DynamicLinear
    assert type(found.get_submodule(f"{query}.down")) is Int8DynamicLinear
    # Pruned weights are still exactly zero.
    assert not found.get_submodule(key).weight_int8.T[~mask].any()


@torch.no_grad()
def inputs_of(model: PreTrainedModel, context: Context, path: str, count: int) -> Tensor:
    """What the layer at `path` receives for the examples that calibration shows, all in one row."""
    seen: list[Tensor] = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].flatten()))
    for row in np.random.default_rng(context.seed).permutation(len(context.train))[:count]:
        batch = context.collate([context.train[int(row)]])
        model(**{name: batch[name] for name in context.task.signature(model.config).names})
    hook.remove()
    return torch.cat(seen)


@pytest.mark.parametrize("path", ["classifier", "bert.encoder.layer.3.output.dense"])
def test_smallest_and_largest(path: str, make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model = make_model()
    context = make_context(copy.deepcopy(model))
    expected = inputs_of(model, context, path, 8)
    layer = STATIC.apply(model, context).get_submodule(path)
    assert isinstance(layer, Int8StaticLinear)
    scale, zero_point = scale_of_range(expected.min(), expected.max())
    assert torch.equal(layer.input_scale, scale)
    assert int(layer.input_zero_point) == int(zero_point)
    assert notes[0] == "ranges from 8 examples (minmax)"


def test_percentiles_cut_off_what_is_rare(make_model: Callable, make_context: Callable) -> None:
    path = "bert.encoder.layer.3.output.dense"
    model = make_model()
    context = make_context(copy.deepcopy(model))
    expected = inputs_of(model, context, path, 8)

    def range_of(percentile: float) -> tuple[float, float]:
        calibration = Calibration(method="percentile", percentile=percentile, examples=8)
        stage = dataclasses.replace(STATIC, calibration=calibration)
        layer = stage.apply(copy.deepcopy(model), context).get_submodule(path)
        scale, zero_point = float(layer.input_scale), int(layer.input_zero_point)
        return -zero_point * scale, (255 - zero_point) * scale

    low, high = range_of(90)
    assert low == pytest.approx(float(expected.quantile(0.1)), rel=0.1)
    assert high == pytest.approx(float(expected.quantile(0.9)), rel=0.1)
    widest = range_of(100)
    assert widest[0] == pytest.approx(float(expected.min()), rel=0.02)
    assert widest[1] == pytest.approx(float(expected.max()), rel=0.02)


def test_ranges_as_wide_on_both_sides(make_model: Callable, make_context: Callable) -> None:
    path = "bert.encoder.layer.3.output.dense"
    model = make_model()
    context = make_context(copy.deepcopy(model))
    expected = inputs_of(model, context, path, 8)
    stage = dataclasses.replace(STATIC, calibration=Calibration(method="symmetric", percentile=99, examples=8))
    layer = stage.apply(model, context).get_submodule(path)
    assert float(layer.input_scale) == pytest.approx(float(expected.abs().max()) / 127)
    assert int(layer.input_zero_point) == 128


def test_quantiles_by_hand() -> None:
    low, high = _quantiles(torch.arange(101.0), 0.9)
    assert (float(low), float(high)) == pytest.approx((10.0, 90.0))


@pytest.mark.parametrize("stage", [STAGE, STATIC], ids=["dynamic", "static"])
def test_hidden_states_stay_near(
    stage: QuantizeInt8, bert_type: str, make_model: Callable, make_context: Callable
) -> None:
    model = make_model(bert_type)
    context = make_context(make_model(bert_type))
    # Ranges from every example, so that none lies outside.
    stage = dataclasses.replace(stage, calibration=dataclasses.replace(stage.calibration, examples=24))
    batch = context.collate(list(context.train))
    inputs, mask = {name: batch[name] for name in SIGNATURE.names}, batch["attention_mask"].bool()

    @torch.no_grad()
    def states() -> Tensor:
        return model(**inputs, output_hidden_states=True).hidden_states[-1][mask]

    before = states()
    stage.apply(model, context)
    assert 0.001 < float((states() - before).norm() / before.norm()) < 0.02


def test_same_seed_same_ranges(make_model: Callable, make_context: Callable) -> None:
    calibration = Calibration(method="percentile", percentile=99, examples=4)
    stage = dataclasses.replace(STATIC, calibration=calibration)

    def scale(seed: int) -> Tensor:
        model = make_model()
        return stage.apply(model, make_context(make_model(), seed=seed)).classifier.input_scale

    assert torch.equal(scale(0), scale(0))
    assert not torch.equal(scale(0), scale(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scheme": "int4"}, r"stages.quantize.scheme is 'int4'; it must be one of dynamic, static"),
        ({"embeddings": "yes"}, r"stages.quantize.embeddings is 'yes'; it must be true or false"),
        (
            {"keep_float": None},
            r"stages.quantize.keep_float is None; it must be a list of patterns. .* or \[\] for none",
        ),
        (
            {"keep_float": "classifier"},
            r"stages.quantize.keep_float is 'classifier'; it must be a list. Use \[classifier",
        ),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(STAGE, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "entropy"}, r"calibration.method is 'entropy'; it must be one of minmax, percentile, symmetric"),
        ({"percentile": 50}, r"calibration.percentile is 50; it must lie in \(50, 100\]"),
        ({"percentile": 100.1}, r"calibration.percentile is 100.1"),
        ({"examples": 0}, r"calibration.examples is 0"),
    ],
)
def test_calibration_is_checked_when_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(STAGE.calibration, **change)


def test_a_scale_and_a_zero_point_are_stored(make_model: Callable, make_context: Callable) -> None:
    stored = STATIC.apply(make_model(), make_context(make_model())).state_dict()
    assert stored["classifier.input_scale"].shape == ()
    assert stored["classifier.input_zero_point"].dtype == torch.uint8
    assert stored["classifier.weight_int8"].shape == (32, 2)
    assert int(stored["classifier.weight_int8"].abs().max()) == 127


def test_weights_of_seven_bits(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    found = dataclasses.replace(STAGE, weight_bits=7).apply(model, make_context(model))
    largest = [m.weight_int8.abs().max().item() for m in found.modules() if isinstance(m, Int8DynamicLinear)]
    assert set(largest) == {63}


def test_other_widths_are_refused() -> None:
    with pytest.raises(InputError, match=r"stages\.quantize\.embedding_bits is 2; it must be 8 or 4"):
        dataclasses.replace(STAGE, embedding_bits=2)
    with pytest.raises(InputError, match=r"stages\.quantize\.weight_bits is 4; it must be 8, or 7"):
        dataclasses.replace(STAGE, weight_bits=4)


def test_the_most_sensitive_layer_stays_in_float(
    make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    wild, hurt = "bert.encoder.layer.1.intermediate.dense", "bert.encoder.layer.1.output.dense"
    model = make_model(layers=2)
    with torch.no_grad():
        # A neuron far beyond all others, which nobody listens to: the one scale for all rounds the others away.
        model.get_submodule(wild).bias[0] = 400.0
        model.get_submodule(hurt).weight[:, 0] = 0.0
        # Answers as sure as a trained model's, so that rounding moves them.
        model.classifier.weight *= 100
    # Two layers of 4 + 2 x 2 units of work, and the head: an FFN product is just below an eighth.
    head = ("classifier", "*pooler*")
    stage = dataclasses.replace(STAGE, float_share=0.13, embeddings=False, keep_float=head)
    found = stage.apply(model, make_context(make_model(layers=2)))
    left = {path for path, module in found.named_modules() if isinstance(module, nn.Linear)}
    assert left == {hurt, "bert.pooler.dense", "classifier"}
    assert notes[0].startswith("1 of 12 dense layers stay in float: 12.4% of the multiply-adds, ")
    assert notes[1].startswith(f"{hurt}: stays in float, KL ")
    assert notes[2] == "11 dense layers and 0 embedding tables in int8, dynamic activations"


@pytest.mark.parametrize("share", [-0.1, 1, True, "all", None])
def test_float_share_is_a_share(share: Any) -> None:
    with pytest.raises(InputError, match=r"stages\.quantize\.float_share is .*; it must lie in \[0, 1\)"):
        dataclasses.replace(STAGE, float_share=share)


def test_relaxed_the_harmful_layers_stay_in_float(make_model: Callable) -> None:
    before, after = make_model(), make_model()
    stage = dataclasses.replace(STAGE, keep_float=["classifier"])
    milder = stage.relax(Setback(before, after, ["bert.pooler.dense"], 0.1, pytest.fail))
    assert milder == Milder({"keep_float": ["classifier", "bert.pooler.dense"]}, 0.1)
    dataclasses.replace(stage, **milder.settings).check(before)
    assert stage.relax(Setback(before, after, [], 0.0, pytest.fail)) is None


@pytest.mark.parametrize("first_token", [True, False])
def test_the_names_that_fusing_gives_are_known_before(
    make_model: Callable, make_context: Callable, first_token: bool, notes: list[str]
) -> None:
    fused = make_model(layers=2)
    fuse_layers(fused, first_token=first_token)
    fuse_embeddings(fused, types=False)
    inside = [path for path in float_layers(fused) if path.startswith("bert.e")]
    stage = dataclasses.replace(STAGE, keep_float=inside)
    stage.check(make_model(layers=2))
    assert set(inside) <= float_layers(stage.apply(fused, make_context(make_model(layers=2))))
    assert len(notes) == 1


def test_a_pattern_that_matches_nothing_any_more_is_noted(
    make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    stage = dataclasses.replace(STAGE, keep_float=["*.layer.3.*"])
    stage.check(make_model(layers=4))
    stage.apply(make_model(layers=2), make_context(make_model()))
    assert notes[0] == "keep_float has '*.layer.3.*', which matches no layer that the stages before left"


def smoothed_stage(strength: float, **changes: Any) -> QuantizeInt8:
    """Static, on examples that hold every value which `relu_model` ever gives its layers here."""
    calibration = dataclasses.replace(STATIC.calibration, examples=24)
    return dataclasses.replace(STATIC, smoothing=strength, calibration=calibration, **changes)


def relu_model(make_model: Callable, model_type: str = "bert") -> PreTrainedModel:
    """Two layers with ReLU; in the first, a value channel and a neuron far beyond the others, both hardly read."""
    model = make_model(model_type, layers=2)
    change_activation(model, "relu")
    layer = layers_of(model)[0]
    with torch.no_grad():
        for giving, reading in (("value", "attention_output"), ("ffn_in", "ffn_out")):
            layer.part(giving).bias[3] = 200.0
            layer.part(reading).weight[:, 3] *= 0.01
    return model


def test_channels_are_scaled_before_ranges_are_found(make_model: Callable, make_context: Callable) -> None:
    model = relu_model(make_model)
    context = make_context(copy.deepcopy(model))
    layer = layers_of(model)[0]
    giving, reading = layer.path_of("ffn_in"), layer.path_of("ffn_out")
    inputs = inputs_of(model, context, reading, 24).view(-1, 64)
    before = {path: model.get_submodule(path).weight.detach().clone() for path in (giving, reading)}
    found = smoothed_stage(0.5).apply(model, context)
    # sqrt(largest input / largest weight), channel by channel.
    largest = inputs.amax(0)
    factors = torch.where(largest > 0, (largest / before[reading].abs().amax(0)).sqrt(), torch.ones(64))
    assert factors[3] > 10 * factors[torch.arange(64) != 3].max()
    rows, columns = found.get_submodule(giving), found.get_submodule(reading)
    restored = {
        giving: rows.weight_int8.T * rows.weight_scale[:, None],
        reading: columns.weight_int8.T * columns.weight_scale[:, None],
    }
    expected = {giving: before[giving] / factors[:, None], reading: before[reading] * factors}
    for path, weight in expected.items():
        step = weight.abs().amax(1, keepdim=True) / 127
        assert bool(((restored[path] - weight).abs() <= step * 0.51).all())
    # The range is that of the scaled inputs, a fraction of the 200 there were.
    scale, _ = scale_of_range(torch.zeros(()), (inputs / factors).max())
    assert float(columns.input_scale) == pytest.approx(float(scale), rel=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_wild_channels_spoil_no_others(
    first_token_type: str, fused: bool, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    context = make_context(make_model(first_token_type))
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in context.task.signature(context.teacher.config).names}

    @torch.no_grad()
    def moved(stage: QuantizeInt8) -> float:
        model = relu_model(make_model, first_token_type)
        if fused:
            fuse_layers(model, first_token=True)
        before = model(**inputs).logits
        return float((stage.apply(model, context)(**inputs).logits - before).norm() / before.norm())

    plain = moved(dataclasses.replace(smoothed_stage(0.5), smoothing=None))
    assert not any("smoothing" in note for note in notes)
    assert moved(smoothed_stage(0.5)) < plain / 3
    assert "smoothing 0.5: channels scaled before 4 products" in notes


def test_what_cannot_be_smoothed_is_noted(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model = make_model(layers=2)
    smoothed_stage(0.25, keep_float=["*.layer.1.*"]).apply(model, make_context(make_model()))
    left = "bert.encoder.layer.0.output.dense"
    assert notes[0] == (
        f"smoothing 0.25: channels scaled before 1 products, not before {left}: what lies before them is no ReLU"
    )


def test_what_is_scaled_belongs_together(make_model: Callable) -> None:
    model = relu_model(make_model)
    first, second = layers_of(model)
    ffn = frozenset({second.path_of("ffn_in"), second.path_of("ffn_out")})
    attention = frozenset({first.path_of("value"), first.path_of("attention_output")})
    stage = smoothed_stage(0.5, keep_float=["*.layer.1.attention.*", first.path_of("ffn_out")])
    assert stage.together(model) == [attention, ffn]
    assert dataclasses.replace(stage, smoothing=None).together(model) == []
    assert dataclasses.replace(stage, scheme="dynamic").together(model) == []


@pytest.mark.parametrize("strength", [0, -0.5, 1.01, True, "half"])
def test_smoothing_is_a_share(strength: Any) -> None:
    with pytest.raises(InputError, match=r"stages\.quantize\.smoothing is .*; it must lie in \(0, 1\].*null for none"):
        dataclasses.replace(STAGE, smoothing=strength)


@pytest.mark.parametrize("fused", [False, True])
def test_what_relu_gave_may_have_a_fixed_range(
    plain_type: str, fused: bool, make_model: Callable, make_context: Callable, notes: list[str]
) -> None:
    model = relu_model(make_model, plain_type)
    if fused:
        fuse_layers(model, first_token=True)
    paths = [f"{layer.path}.ffn_out" if fused else layer.path_of("ffn_out") for layer in layers_of(model)]
    context = make_context(make_model(plain_type))
    largest = [inputs_of(model, context, path, 8).max() for path in paths]
    found = dataclasses.replace(STAGE, static_inner=True).apply(model, context)
    kinds = {path: edit.kind for path, edit in structure_of(found).edits.items() if edit.kind.endswith("linear")}
    assert {path for path, kind in kinds.items() if kind == "int8_static_linear"} == set(paths)
    assert set(kinds.values()) == {"int8_static_linear", "int8_dynamic_linear"}
    for path, high in zip(paths, largest, strict=True):
        layer = found.get_submodule(path)
        # From 0, so that rounding cuts off what ReLU would have.
        assert (int(layer.input_zero_point), float(layer.input_scale)) == (0, pytest.approx(float(high) / 255))
    assert notes[0] == "static_inner: 2 products read what ReLU gave, by a fixed range"


def test_no_fixed_range_after_gelu(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model = make_model(layers=2)
    stage = dataclasses.replace(STAGE, static_inner=True, keep_float=["*.layer.1.*"])
    found = stage.apply(model, make_context(make_model()))
    assert "int8_static_linear" not in structure_of(found).kinds()
    left = "bert.encoder.layer.0.output.dense"
    assert notes[0] == (
        f"static_inner: 0 products read what ReLU gave, by a fixed range; not {left}: what lies before them is no ReLU"
    )
    assert not any(note.startswith("ranges from") for note in notes)


def test_rounding_is_all_that_is_left_of_relu(
    make_model: Callable, make_context: Callable, batch: dict[str, Tensor], tmp_path: Path
) -> None:
    model = relu_model(make_model)
    fuse_layers(model, first_token=False)
    context = make_context(make_model())
    # As many bits as this processor multiplies without loss, as in a recipe.
    stage = dataclasses.replace(STAGE, static_inner=True, weight_bits=int8_weight_bits())
    found = stage.apply(model, context)
    path = export_onnx(found, SIGNATURE, batch, tmp_path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    executed = [node.op_type for node in onnx.load(tmp_path / "executed.onnx").graph.node]
    assert "Relu" not in executed
    assert executed.count("QuantizeLinear") == executed.count("MatMulIntegerToFloat") == 2
    with torch.no_grad():
        ours = found(**batch).logits.numpy()
    theirs = session.run(["logits"], {name: value.numpy() for name, value in batch.items()})[0]
    # A difference in the last bit may become one step of an int8 value.
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=0.02 * float(np.abs(ours).max()))
    save_model(found, tmp_path)
    with torch.no_grad():
        assert np.array_equal(load_model(tmp_path)(**batch).logits.numpy(), ours)


def test_static_inner_is_true_or_false() -> None:
    with pytest.raises(InputError, match=r"stages\.quantize\.static_inner is 'yes'; it must be true or false"):
        dataclasses.replace(STAGE, static_inner="yes")


def recovering(stage: QuantizeInt8, imitation: Imitation, learning_rate: float, **changes: Any) -> QuantizeInt8:
    """The same, recovered."""
    optimization = dataclasses.replace(imitation.optimization, learning_rate=learning_rate)
    settings = dataclasses.replace(imitation, optimization=optimization)
    return dataclasses.replace(stage, **({"recovery_epochs": 2, "imitation": settings} | changes))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("stage", [STAGE, STATIC], ids=["dynamic", "static"])
def test_the_integers_of_the_last_pass_are_stored(
    stage: QuantizeInt8,
    fused: bool,
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    teacher = relu_model(make_model)
    context, model = make_context(teacher, count=16), copy.deepcopy(teacher)
    if fused:
        fuse_layers(model, first_token=True)
        fuse_embeddings(model, types=False)
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in SIGNATURE.names}
    learned: list[Tensor] = []
    imitate = quantization_aware.imitate

    def watched(student: PreTrainedModel, *given: Any, **named: Any) -> None:
        # The last layer gives one position where it is fused, which stands for no other.
        assert named["layer_map"] == ([1] if fused else [1, 2])
        imitate(student, *given, **named)
        with torch.no_grad():
            learned.append(student(**inputs).logits)

    monkeypatch.setattr(quantization_aware, "imitate", watched)
    rounded = stage.apply(copy.deepcopy(model), context)
    found = recovering(stage, imitation, 1e-3, embedding_bits=4).apply(model, context)
    save_model(found, tmp_path)
    with torch.no_grad():
        # Every sum of so few integers is exact in float32.
        torch.testing.assert_close(load_model(tmp_path)(**inputs).logits, learned[0], rtol=0, atol=1e-6)
    kinds = {path: edit.kind for path, edit in structure_of(rounded).edits.items()}
    words = next(path for path, kind in kinds.items() if kind == "int8_embedding" and "word" in path)
    assert {path: edit.kind for path, edit in structure_of(found).edits.items()} == {**kinds, words: "int4_embedding"}
    changed = [path for path, kind in kinds.items() if kind == f"int8_{stage.scheme}_linear"]
    assert not any(
        torch.equal(found.get_submodule(path).weight_int8, rounded.get_submodule(path).weight_int8) for path in changed
    )
    if stage is STATIC:
        assert all(
            torch.equal(found.get_submodule(path).input_scale, rounded.get_submodule(path).input_scale)
            for path in changed
        )


def test_recovery_begins_where_rounding_ended(
    make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    """At a learning rate of next to nothing, no integer changes."""
    teacher = make_model(layers=2)
    context = make_context(teacher, count=16)
    expected = STAGE.apply(copy.deepcopy(teacher), context).state_dict()
    found = recovering(STAGE, imitation, 1e-12, recovery_epochs=1).apply(copy.deepcopy(teacher), context).state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected if name.endswith("int8"))


def test_a_single_layer_of_the_first_token_has_no_hidden_states_to_imitate(
    make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = make_model(layers=1)
    context, model = make_context(teacher, count=16), copy.deepcopy(teacher)
    fuse_layers(model, first_token=True)
    assert recovering(STAGE, imitation, 1e-3).apply(copy.deepcopy(model), context) is not None
    alone = dataclasses.replace(imitation, logits_weight=0)
    with pytest.raises(InputError, match=r"imitation.hidden_weight is 1, and the other weights are 0; the only layer"):
        recovering(STAGE, alone, 1e-3).apply(model, context)


def test_recovery_is_training(imitation: Imitation) -> None:
    stage = recovering(STAGE, imitation, 1e-3)
    assert stage.training(24) == Training(steps=6, batch_size=8, keeps_hidden_states=True)
    assert dataclasses.replace(stage, recovery_epochs=0).training(24) is None
    assert STAGE.unread - stage.unread == {"imitation"}
    related = dataclasses.replace(stage, imitation=dataclasses.replace(imitation, relation_weight=1))
    assert (set(stage.refuses), set(related.refuses)) == ({"int8"}, {"int8", "fused"})
    with pytest.raises(InputError, match=r"stages.quantize.recovery_epochs is -1; it must be at least 0"):
        dataclasses.replace(STAGE, recovery_epochs=-1)
