"""Which layers become blocks, in how many bits, what a tied head reads, and what correcting gains."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.blame import Setback
from compress.core.errors import InputError
from compress.methods.quantize.blocks import QuantizeBlocks, tied_head
from compress.methods.training.layerwise import layer_grams
from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, MaskedLinear, TiedBlockHead
from compress.nn.ops.blocks import quantize_blocks
from compress.nn.structure import replace_module, structure_of

STAGE = QuantizeBlocks(
    bits=8,
    head_bits=8,
    embeddings=True,
    corrected=False,
    calibration_examples=24,
    damping=0.01,
    keep_float=[],
    eight_bits=[],
    max_megabytes=None,
    sensitivity_examples=8,
)
FOUR = dataclasses.replace(STAGE, bits=4)


def kinds(model: PreTrainedModel) -> dict[str, str]:
    """Path -> kind of everything that is not as the configuration alone would build it."""
    return {path: edit.kind for path, edit in structure_of(model).edits.items()}


def decoder(tied: bool = True) -> PreTrainedModel:
    """A tiny causal language model."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 34, "head_dim": 8}
    config = AutoConfig.for_model("llama", **sizes, num_attention_heads=4, tie_word_embeddings=tied, pad_token_id=0)
    return AutoModelForCausalLM.from_config(config).eval()


def test_layers_head_and_table(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    found = kinds(FOUR.apply(make_model("llama", layers=2), make_context(make_model("llama"))))
    inside = {path: kind for path, kind in found.items() if path.startswith("model.layers.")}
    assert len(inside) == 2 * 7 and set(inside.values()) == {"int4_block_linear"}
    assert {path: kind for path, kind in found.items() if path not in inside} == {
        "model.embed_tokens": "int8_block_embedding",
        "score": "int8_block_linear",
    }
    assert notes[-1] == (
        "dense layers in blocks of 32 weights: 1 in 8 bits, 14 in 4 bits, rounded to nearest; word embeddings in 8 bits"
    )


def test_patterns(make_model: Callable, make_context: Callable) -> None:
    stage = dataclasses.replace(FOUR, keep_float=["*embed_tokens", "*.0.*o_proj"], eight_bits=["*down_proj"])
    model = make_model("llama", layers=2)
    stage.check(model)
    found = kinds(stage.apply(model, make_context(make_model("llama"))))
    assert "model.embed_tokens" not in found and "model.layers.0.self_attn.o_proj" not in found
    assert [path for path, kind in found.items() if kind == "int8_block_linear"] == [
        *(f"model.layers.{number}.mlp.down_proj" for number in range(2)),
        "score",
    ]


def test_a_pattern_that_matches_nothing(make_model: Callable) -> None:
    for setting in ("keep_float", "eight_bits"):
        with pytest.raises(InputError, match=rf"stages.quantize.{setting} has 'scor', which matches no layer"):
            dataclasses.replace(STAGE, **{setting: ["scor"]}).check(make_model("llama"))


def test_a_tied_head_reads_the_table(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model, context = decoder(), make_context(make_model("llama"))
    assert tied_head(model) == "lm_head"
    before = model.lm_head.weight.detach().clone()
    found = STAGE.apply(model, context)
    assert isinstance(found.lm_head, TiedBlockHead)
    assert found.lm_head.table is found.get_input_embeddings()
    assert torch.equal(found.get_input_embeddings().weight_blocks, quantize_blocks(before, 8)[0])
    assert notes[-1].endswith("; word embeddings in 8 bits, which the head reads too")
    # Left in float, both stay one.
    whole = dataclasses.replace(STAGE, embeddings=False).apply(decoder(), context)
    assert tied_head(whole) == "lm_head"


def test_a_head_of_its_own_has_bits_of_its_own(make_model: Callable, make_context: Callable) -> None:
    stage = dataclasses.replace(STAGE, head_bits=4)
    stage.check(decoder(tied=False))
    found = stage.apply(decoder(tied=False), make_context(make_model("llama")))
    assert (type(found.lm_head), type(found.get_input_embeddings())) == (Int4BlockLinear, Int8BlockEmbedding)
    with pytest.raises(InputError, match="head_bits is 4; the head of this model reads its word embeddings"):
        stage.check(decoder())


@pytest.mark.parametrize("family", ["bert", "llama", "qwen3", "gemma3_text", "vit"])
def test_corrected_moves_the_answers_less(family: str, make_model: Callable, make_context: Callable) -> None:
    teacher = make_model(family)
    context = make_context(teacher, count=60)
    # Rounded that coarsely, answers differ visibly.
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter *= 2
    rows = [context.collate([context.train[row]]) for row in range(60)]
    signature = context.task.signature(teacher.config)
    inputs = [{name: row[name] for name in signature.names} for row in rows]
    moved = []
    for corrected in (False, True):
        stage = dataclasses.replace(FOUR, corrected=corrected, calibration_examples=60, embeddings=False)
        found = stage.apply(copy.deepcopy(teacher), context)
        with torch.no_grad():
            moved.append(sum(float((found(**row).logits - teacher(**row).logits).square().sum()) for row in inputs))
    assert moved[1] < 0.8 * moved[0]


def test_pruned_weights_stay_zero(make_model: Callable, make_context: Callable) -> None:
    model = make_model()
    path = "bert.encoder.layer.1.output.dense"
    dense = model.get_submodule(path)
    mask = torch.rand(dense.weight.shape, generator=torch.Generator().manual_seed(0)) > 0.5
    replace_module(model, path, MaskedLinear.of(dense, mask))
    found = dataclasses.replace(FOUR, corrected=True).apply(model, make_context(make_model()))
    assert not found.get_submodule(path).values[~mask].any()


def test_grams_are_of_what_the_layers_before_really_give(make_model: Callable, make_context: Callable) -> None:
    model, context = make_model("llama", layers=2), make_context(make_model("llama"))
    paths = [f"model.layers.{number}.mlp.down_proj" for number in range(2)]
    seen: dict[str, list[torch.Tensor]] = {path: [] for path in paths}
    for path, grams in zip(paths, layer_grams(model, context, paths, 24), strict=True):
        assert list(grams) == [path]
        seen[path].append(grams[path])
        # Without its last product the first layer gives the second something else.
        nn.init.zeros_(model.get_submodule(path).weight)
    expected = torch.zeros(64, 64, dtype=torch.float64)

    def add(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        expected.add_((inputs[0][0].T @ inputs[0][0]).double())

    hook = model.get_submodule(paths[1]).register_forward_pre_hook(add)
    with torch.no_grad():
        for row in range(24):
            batch = context.collate([context.train[row]])
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    hook.remove()
    torch.testing.assert_close(seen[paths[1]][0], expected, rtol=1e-4, atol=1e-6 * float(expected.max()))


def test_a_budget_goes_to_the_most_sensitive(make_model: Callable, make_context: Callable, notes: list[str]) -> None:
    model, context = make_model("llama", layers=2), make_context(make_model("llama"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layers.1." in name and name.endswith("proj.weight"):
                # What is next to nothing moves nothing.
                parameter *= 1e-4
    size = lambda made: sum(value.numel() * value.element_size() for value in made.state_dict().values()) / 1e6  # noqa: E731
    least = size(FOUR.apply(copy.deepcopy(model), context))
    most = size(STAGE.apply(copy.deepcopy(model), context))
    stage = dataclasses.replace(FOUR, max_megabytes=(least + most) / 2)
    made = stage.apply(copy.deepcopy(model), context)
    finer = [path for path, kind in kinds(made).items() if kind == "int8_block_linear" and path != "score"]
    assert finer and sum("layers.0." in path for path in finer) >= 6
    assert size(made) <= stage.max_megabytes
    # It fills what it was given, but for less than the smallest matrix.
    assert size(made) > stage.max_megabytes - 32 * 64 / 1e6
    assert any(note.startswith(f"{len(finer)} of 14 dense layers get 8 bits within") for note in notes)
    tight = dataclasses.replace(FOUR, max_megabytes=least / 2).apply(copy.deepcopy(model), context)
    assert set(kinds(tight).values()) == {"int4_block_linear", "int8_block_linear", "int8_block_embedding"}
    assert notes[-2].startswith(f"max_megabytes is {least / 2:g}, and even with 4 bits in every layer")


def test_milder(make_model: Callable) -> None:
    before = make_model("llama", layers=2)
    path = "model.layers.0.mlp.down_proj"

    def setback(layer: type[Int8BlockLinear]) -> Setback:
        after = copy.deepcopy(before)
        replace_module(after, path, layer.of(after.get_submodule(path)))
        unused: Any = None
        return Setback(before, after, [path], 0.2, unused)

    coarse = FOUR.relax(setback(Int4BlockLinear))
    assert coarse is not None and coarse.settings == {"eight_bits": [path]}
    fine = STAGE.relax(setback(Int8BlockLinear))
    assert fine is not None and (fine.settings, fine.time_share) == ({"keep_float": [path]}, 0.2)
    assert STAGE.relax(dataclasses.replace(setback(Int8BlockLinear), worst=[])) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bits": 5}, "stages.quantize.bits is 5; it must be 8 or 4"),
        ({"head_bits": 16}, "stages.quantize.head_bits is 16; it must be 8 or 4"),
        ({"damping": 0}, "stages.quantize.damping is 0; it must be greater than 0"),
        ({"max_megabytes": -1.0}, "stages.quantize.max_megabytes is -1.0"),
        ({"keep_float": "score"}, "stages.quantize.keep_float is 'score'; it must be a list"),
        ({"eight_bits": None}, "stages.quantize.eight_bits is None; it must be a list"),
        ({"calibration_examples": 0}, "stages.quantize.calibration_examples is 0"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(STAGE, **changes)
    assert str(caught.value).startswith(told)


def test_what_is_not_read_does_not_count() -> None:
    choice = {"eight_bits", "max_megabytes", "sensitivity_examples"}
    assert STAGE.unread == {"calibration_examples", "damping"} | choice
    assert dataclasses.replace(FOUR, corrected=True).unread == {"sensitivity_examples"}
    assert dataclasses.replace(FOUR, corrected=True, max_megabytes=1.0).unread == set()
