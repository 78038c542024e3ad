"""Fused layers compute what the layers they replace computed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from compress.core.errors import InputError
from compress.methods.factorize.svd import FactorizeSvd
from compress.methods.fuse.layers import FuseLayers
from compress.methods.quantize.int8 import Calibration, QuantizeInt8
from compress.nn.checkpoint import load_model, save_model
from compress.nn.family import layers_of
from compress.nn.layers import FusedEmbeddings, FusedLayer
from compress.nn.surgery import keep_heads, keep_neurons
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.text_task import SIGNATURE

# Nobody is imitated without recovery.
UNUSED: Any = None


def logits(model, batch) -> torch.Tensor:
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("first_token", [True, False])
def test_the_function_stays_the_same(
    plain_type: str, first_token: bool, attention: str, make_model: Callable, make_context: Callable, batch: dict
) -> None:
    model = make_model(plain_type)
    model.set_attn_implementation(attention)
    keep_heads(model, layers_of(model)[1], torch.tensor([0, 2, 3]))
    keep_neurons(model, layers_of(model)[3], torch.arange(0, 64, 4))
    fused = FuseLayers(first_token=first_token).apply(copy.deepcopy(model), make_context(model))
    torch.testing.assert_close(logits(fused, batch), logits(model, batch), atol=1e-6, rtol=1e-5)
    assert all(isinstance(layer.module, FusedLayer) for layer in layers_of(fused))


def test_the_last_layer_computes_one_token(make_model: Callable, make_context: Callable, batch: dict) -> None:
    model = make_model()
    widths: list[int] = []
    fused = FuseLayers(first_token=True).apply(copy.deepcopy(model), make_context(model))
    for layer in layers_of(fused):
        layer.module.ffn_in.register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[1]))
    logits(fused, batch)
    assert widths == [9, 9, 9, 1]
    # Keys and values of all tokens: 32 wide in, twice 4 heads of 8 out.
    assert layers_of(fused)[-1].module.key_value.weight.shape == (64, 32)


def test_positions_and_types_become_one_table(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    source = model.bert.embeddings
    fused = FuseLayers(first_token=True).apply(copy.deepcopy(model), make_context(model)).bert.embeddings
    assert isinstance(fused, FusedEmbeddings)
    expected = source.position_embeddings.weight + source.token_type_embeddings.weight[0]
    assert torch.equal(fused.positions.weight, expected)


def test_factorized_queries_stay_products_of_their_own(
    make_model: Callable, make_context: Callable, batch: dict, imitation
) -> None:
    model = make_model()
    context = make_context(model)
    stage = FactorizeSvd(
        kept_energy=None,
        ratio=None,
        rank=8,
        rank_multiple=1,
        min_saving=0,
        one_token_products=True,
        calibration_examples=8,
        recovery_epochs=0,
        imitation=imitation,
    )
    factorized = stage.apply(copy.deepcopy(model), context)
    fused = FuseLayers(first_token=True).apply(copy.deepcopy(factorized), context)
    assert layers_of(fused)[0].module.sizes.separate == 1
    torch.testing.assert_close(logits(fused, batch), logits(factorized, batch), atol=1e-6, rtol=1e-5)


def test_a_plain_loader_stops(make_model: Callable, make_context: Callable, tmp_path, batch: dict) -> None:
    model = make_model()
    fused = FuseLayers(first_token=True).apply(copy.deepcopy(model), make_context(model))
    save_model(fused, tmp_path)
    assert torch.equal(logits(load_model(tmp_path), batch), logits(fused, batch))
    with pytest.raises(RuntimeError, match="size"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


def test_int8_rounds_the_shared_input_once(make_model: Callable, make_context: Callable, batch: dict, tmp_path) -> None:
    model = make_model(layers=2)
    context = make_context(model)
    model = FuseLayers(first_token=True).apply(model, context)
    calibration = Calibration(method="minmax", percentile=100, examples=4)
    model = QuantizeInt8(
        scheme="dynamic",
        embeddings=True,
        embedding_bits=8,
        weight_bits=8,
        keep_float=[],
        float_share=0,
        sensitivity_examples=4,
        calibration=calibration,
        smoothing=None,
        static_inner=False,
        recovery_epochs=0,
        imitation=UNUSED,
    ).apply(model, context)
    graph = onnx.load(export_onnx(model, SIGNATURE, batch, tmp_path)).graph
    products = [node for node in graph.node if node.op_type == "MatMulInteger"]
    # Layer 1: qkv, output, two of the FFN. Layer 2: one more, because its query reads one token. Pooler, classifier.
    assert len(products) == 4 + 5 + 2
    operators = [node.op_type for node in graph.node]
    assert operators.count("Attention") == 2
    # The mask is made once, whole for layer 1 and one row of it for layer 2; no head is moved anywhere.
    assert operators.count("Expand") <= 2
    assert not {"Where", "IsNaN", "GatherElements", "Transpose", "Softmax"} & set(operators)


def test_normalisations_stay_what_they_are(make_model: Callable, make_context: Callable, batch: dict, tmp_path) -> None:
    """ONNX Runtime would fuse those of a RoBERTa, whose shapes it can follow, with the additions before them."""
    model = make_model("roberta", layers=2)
    context = make_context(model)
    path = export_onnx(FuseLayers(first_token=False).apply(model, context), SIGNATURE, batch, tmp_path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(tmp_path / "executed.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    executed = Counter(node.op_type for node in onnx.load(tmp_path / "executed.onnx").graph.node)
    # Of the embeddings, and two in each layer.
    assert (executed["LayerNormalization"], executed["SkipLayerNormalization"]) == (5, 0)


def test_an_activation_without_a_number_is_refused(make_model: Callable) -> None:
    model = make_model()
    model.config.hidden_act = "leaky_relu"
    with pytest.raises(InputError, match="leaky_relu"):
        FuseLayers(first_token=True).check(model)


def test_first_token_is_true_or_false() -> None:
    with pytest.raises(InputError, match=r"stages\.fuse\.first_token is 'yes'"):
        FuseLayers(first_token="yes")
