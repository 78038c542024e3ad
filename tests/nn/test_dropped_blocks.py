"""Models that lack blocks: what they compute, how they are described, saved, fused and exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.structure import Edit
from compress.methods.fuse.layers import FuseLayers
from compress.nn.checkpoint import load_model, save_model, settle
from compress.nn.family import dense_layers, last_attending, layers_of
from compress.nn.head import head_reads
from compress.nn.structure import structure_of
from compress.nn.surgery import drop_attention, drop_ffn, keep_neurons, tell_config
from compress.runtimes.onnx.export import export_onnx


@pytest.fixture
def lacking(model_type: str, make_model: Callable) -> PreTrainedModel:
    """Layer 1 has no attention, layer 2 no FFN, layer 3 no attention."""
    model = make_model(model_type)
    layers = layers_of(model)
    drop_attention(model, layers[1])
    drop_ffn(model, layers[2])
    drop_attention(model, layers[3])
    return settle(model)


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict) -> torch.Tensor:
    return model(**batch).logits


def test_what_a_layer_has(lacking: PreTrainedModel) -> None:
    layers = layers_of(lacking)
    # Of four heads two share a key and value in some families, and leave together; in others all do.
    family = layers[0].family
    units = 1 if family.attention.fixed_heads else 4 // family.sharing(lacking.config)
    assert [(layer.heads, layer.neurons) for layer in layers] == [(units, 64), (0, 64), (units, 0), (0, 64)]
    assert last_attending(layers) == 2
    # Attention in two layers and an FFN in three, each with its inputs and its output; no other product is left inside.
    expected = 2 * (len(family.attention.inputs) + 1) + 3 * (len(family.ffn.inputs) + 1)
    assert len(list(dense_layers(lacking))) == expected
    # DeBERTa's first version has two more in each attention, which read distances.
    expected += 2 * 2 * (family.model_type == "deberta")
    assert sum(isinstance(module, nn.Linear) for layer in layers for module in layer.module.modules()) == expected


def test_without_a_block_its_input_goes_on(lacking: PreTrainedModel, batch: dict) -> None:
    """Post-norm it is normalised."""
    states = lacking(**batch, output_hidden_states=True).hidden_states
    if layers_of(lacking)[0].family.attention.position == "post":
        return
    silenced, seen = copy.deepcopy(layers_of(lacking)[1]), []
    silenced.part("ffn_norm").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    lacking.get_submodule(silenced.path.rpartition(".")[0])[1] = silenced.module
    again = lacking(**batch, output_hidden_states=True).hidden_states
    assert torch.equal(again[2], states[2])
    assert torch.equal(seen[0], states[1])


@torch.no_grad()
def test_without_a_block_its_input_is_normalised(lacking: PreTrainedModel, batch: dict) -> None:
    if layers_of(lacking)[0].family.attention.position != "post":
        return
    layers, seen = layers_of(lacking), {}
    for number in (1, 2):
        for name in ("attention_norm", "ffn_norm"):
            layers[number].part(name).register_forward_pre_hook(
                lambda _, inputs, place=(number, name): seen.update({place: inputs[0]})
            )
    states = lacking(**batch, output_hidden_states=True).hidden_states
    assert torch.equal(seen[1, "attention_norm"], states[1])
    attended = layers[2].part("attention_norm")(seen[2, "attention_norm"])
    torch.testing.assert_close(seen[2, "ffn_norm"], attended)
    torch.testing.assert_close(states[3], layers[2].part("ffn_norm")(attended))


def test_it_is_described_and_loaded_strictly(lacking: PreTrainedModel, batch: dict, tmp_path: Path) -> None:
    expected = logits(lacking, batch)
    structure = save_model(lacking, tmp_path)
    kinds = [edit.kind for edit in structure.edits.values()]
    family = layers_of(lacking)[0].family
    # In some families the output projection is no part of what is called for attention, and goes by itself.
    apart = not family.attention.output.startswith(f"{family.attention.module}.")
    ffn = 1 if family.ffn.module is not None else len(family.ffn.inputs) + 1
    assert (kinds.count("no_attention"), kinds.count("nothing")) == (2, 2 * apart + ffn)
    assert structure.edits[layers_of(lacking)[1].path_of("attention")] == Edit("no_attention", {})
    assert not structure.attributes
    again = load_model(tmp_path)
    assert structure_of(again) == structure
    assert torch.equal(logits(again, batch), expected)
    with pytest.raises(RuntimeError):
        type(lacking).from_pretrained(tmp_path)


def test_the_configuration_tells_the_width_of_the_ffns_that_are_there(lacking: PreTrainedModel) -> None:
    for number in (0, 1, 3):
        keep_neurons(lacking, layers_of(lacking)[number], torch.arange(32))
    tell_config(lacking)
    assert {edit.kind for edit in structure_of(lacking).edits.values()} == {"no_attention", "nothing"}


@pytest.mark.parametrize("first_token", [True, False])
def test_fused_it_computes_the_same(
    lacking: PreTrainedModel, first_token: bool, make_context: Callable, batch: dict, tmp_path: Path
) -> None:
    if not layers_of(lacking)[0].family.fusable:
        return
    context = make_context(lacking)
    fused = FuseLayers(first_token=first_token).apply(copy.deepcopy(lacking), context)
    first_token = first_token and head_reads(lacking, context) == "first"
    torch.testing.assert_close(logits(fused, batch), logits(lacking, batch), atol=1e-6, rtol=1e-5)
    assert [layer.module.sizes.first_token for layer in layers_of(fused)] == ([0, 0, 1, 1] if first_token else [0] * 4)
    products = [sum(isinstance(part, nn.Linear) for part in layer.module.modules()) for layer in layers_of(fused)]
    # Query, key and value in one, or the query apart where one token is computed.
    assert products == [4, 2, 3 if first_token else 2, 2]
    save_model(settle(fused), tmp_path)
    assert torch.equal(logits(load_model(tmp_path), batch), logits(fused, batch))


@pytest.mark.parametrize("fuse", [False, True])
def test_onnxruntime_computes_the_same(
    model_type: str, fuse: bool, lacking: PreTrainedModel, make_context: Callable, batch: dict, tmp_path: Path
) -> None:
    # An export takes seconds: each form with two families.
    if model_type not in (("bert", "vit") if fuse else ("roberta", "deit")):
        return
    context = make_context(lacking)
    model = FuseLayers(first_token=True).apply(copy.deepcopy(lacking), context) if fuse else lacking
    session = onnxruntime.InferenceSession(
        export_onnx(model, context.task.signature(model.config), batch, tmp_path), providers=["CPUExecutionProvider"]
    )
    found = session.run(["logits"], {name: batch[name].numpy() for name in batch})[0]
    np.testing.assert_allclose(found, logits(lacking, batch).numpy(), rtol=0, atol=1e-5)
