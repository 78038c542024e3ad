"""DINOv2: what blocks give is scaled channel by channel, and the head reads the class token and the mean of patches."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import Dinov2ForImageClassification, PreTrainedModel

from compress.core.errors import InputError
from compress.methods.importance.magnitude import Magnitude
from compress.nn.checkpoint import load_model, read_config, save_model, settle
from compress.nn.family import layers_of
from compress.nn.fusion import fuse_layers
from compress.nn.surgery import keep_heads, keep_layers, keep_neurons, narrow, tell_config
from compress.runtimes.onnx.export import export_onnx
from compress.tasks.image_classification import ImageClassification

TASK = ImageClassification(image="image", label="label")


@pytest.fixture
def model(make_model: Callable) -> PreTrainedModel:
    """Of four layers, with scales as far apart as those of published models, and blocks that are felt."""
    found = make_model("dinov2")
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in layers_of(found):
            for part in layer.parts:
                layer.part(part).weight.mul_(8)
            for part in ("attention_output", "ffn_out"):
                scale = layer.scale(part)
                assert scale is not None
                scale.copy_(10 ** (torch.rand(32, generator=draw) * 3 - 2))
    return found


@pytest.fixture
def pixels() -> Tensor:
    """Three images."""
    return torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model: PreTrainedModel, pixels: Tensor) -> Tensor:
    return model(pixel_values=pixels).logits


@torch.no_grad()
def test_a_layer_is_what_the_table_says(model: PreTrainedModel, pixels: Tensor) -> None:
    """The published formula, written down once more, from the parts by their names."""
    keep_layers(model, [0])
    (layer,) = layers_of(model)
    states = model.dinov2.embeddings(pixels)
    read = layer.part("attention_norm")(states)
    query, key, value = (layer.part(part)(read).view(3, 17, 4, 8).transpose(1, 2) for part in ("query", "key", "value"))
    mixed = (query @ key.transpose(2, 3) / math.sqrt(8)).softmax(-1) @ value
    states = states + layer.scale("attention_output") * layer.part("attention_output")(
        mixed.transpose(1, 2).reshape(3, 17, 32)
    )
    inner = functional.gelu(layer.part("ffn_in")(layer.part("ffn_norm")(states)))
    states = model.dinov2.layernorm(states + layer.scale("ffn_out") * layer.part("ffn_out")(inner))
    head = torch.cat([states[:, 0], states[:, 1:].mean(dim=1)], dim=1)
    torch.testing.assert_close(logits(model, pixels), model.classifier(head))


@torch.no_grad()
def test_importance_counts_what_is_added(make_model: Callable, make_context: Callable) -> None:
    model = make_model("dinov2", layers=1)
    (layer,) = layers_of(model)
    for part in layer.parts:
        layer.part(part).weight.zero_()
    # Neuron 5 writes 4, of which half is added; neuron 6 writes 3, of which all is.
    layer.part("ffn_in").weight[5:7, 0] = 1
    layer.part("ffn_out").weight[0, 5] = 4
    layer.part("ffn_out").weight[1, 6] = 3
    layer.module.layer_scale2.lambda1[:2] = torch.tensor([0.5, 1.0])
    found = Magnitude().of(model, make_context(model))[0].neurons
    assert found[5:7].tolist() == [2, 3]


def test_cut_and_fused_it_computes_the_same(model: PreTrainedModel, pixels: Tensor, tmp_path: Path) -> None:
    """Beside Transformers' own class with zeros in the place of what left."""
    silenced = copy.deepcopy(model)
    with torch.no_grad():
        layers_of(silenced)[1].part("attention_output").weight[:, 8:24] = 0
        layers_of(silenced)[2].part("ffn_out").weight[:, 40:] = 0
    assert type(silenced) is Dinov2ForImageClassification
    expected = logits(silenced, pixels)
    keep_heads(model, layers_of(model)[1], torch.tensor([0, 3]))
    keep_neurons(model, layers_of(model)[2], torch.arange(40))
    torch.testing.assert_close(logits(model, pixels), expected, rtol=1e-5, atol=1e-5)
    save_model(settle(model), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), pixels), logits(model, pixels))
    fuse_layers(model, first_token=False)
    torch.testing.assert_close(logits(model, pixels), expected, rtol=1e-5, atol=1e-5)
    path = export_onnx(model, TASK.signature(model.config), {"pixel_values": pixels}, tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"pixel_values": pixels.numpy()})[0]
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)


def test_fewer_layers_of_one_width_are_loaded_by_transformers(
    model: PreTrainedModel, pixels: Tensor, tmp_path: Path
) -> None:
    # As published configurations have it: the last layer's output is named.
    model.config.out_features = ["stage4"]
    keep_layers(model, [0, 2])
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(32))
    tell_config(model)
    assert (model.config.num_hidden_layers, model.config.mlp_ratio) == (2, 1)
    assert (model.config.stage_names, model.config.out_features) == (["stem", "stage1", "stage2"], ["stage2"])
    assert save_model(settle(model), tmp_path).is_plain
    plain = settle(Dinov2ForImageClassification.from_pretrained(tmp_path))
    assert torch.equal(logits(plain, pixels), logits(model, pixels))


def test_a_width_between_is_told_by_the_structure_alone(model: PreTrainedModel, pixels: Tensor, tmp_path: Path) -> None:
    for layer in layers_of(model):
        keep_neurons(model, layer, torch.arange(40))
    tell_config(model)
    assert model.config.mlp_ratio == 2
    assert len(save_model(settle(model), tmp_path).edits) == 8
    assert torch.equal(logits(load_model(tmp_path), pixels), logits(model, pixels))


def test_what_is_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"hidden width of a dinov2 model cannot change here, because its FFNs are"):
        narrow(model, 16)
    model.config.use_swiglu_ffn = True
    model.config.save_pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"has use_swiglu_ffn=True, so its FFNs are gated \(SwiGLU\); of dinov2 models"
    ):
        read_config(tmp_path)
