"""Which layers become blocks, in how many bits, what a tied head reads, and what correcting gains."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from compress.core.blame import Setback
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import Training
from compress.methods.quantize.blocks import QuantizeBlocks, tied_head
from compress.methods.training import loop, quantization_aware
from compress.methods.training.imitation import Imitation
from compress.methods.training.layerwise import layer_grams
from compress.nn.checkpoint import load_model, save_model
from compress.nn.fusion import fuse_layers
from compress.nn.layers import Int4BlockLinear, Int8BlockEmbedding, Int8BlockLinear, MaskedLinear, TiedBlockHead
from compress.nn.ops.blocks import quantize_blocks
from compress.nn.ops.losses import softened_logits_loss
from compress.nn.structure import replace_module, structure_of
from compress.tasks.causal_lm import CausalLanguageModel

# Nobody is imitated without recovery.
UNUSED: Any = None
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
    recovery_epochs=0,
    imitation=UNUSED,
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
        (
            {"recovery_epochs": -1},
            "stages.quantize.recovery_epochs is -1; it must be at least 0. Use 0 for no recovery",
        ),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        dataclasses.replace(STAGE, **changes)
    assert str(caught.value).startswith(told)


def test_what_is_not_read_does_not_count() -> None:
    choice = {"eight_bits", "max_megabytes", "sensitivity_examples"}
    assert STAGE.unread == {"calibration_examples", "damping", "imitation"} | choice
    assert dataclasses.replace(FOUR, corrected=True).unread == {"sensitivity_examples", "imitation"}
    assert dataclasses.replace(FOUR, corrected=True, max_megabytes=1.0, recovery_epochs=1).unread == set()


@pytest.fixture
def sharp_teacher(make_model: Callable) -> PreTrainedModel:
    """A tiny decoder that answers differently, so that rounding is seen."""
    teacher = make_model("llama", layers=2)
    with torch.no_grad():
        for module in teacher.modules():
            if isinstance(module, nn.Linear):
                module.weight *= 4
    return teacher


def inputs_and_answers(model: PreTrainedModel, context: Context) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in context.task.signature(model.config).names}
    with torch.no_grad():
        return inputs, model(**inputs).logits


def recovering(imitation: Imitation, learning_rate: float, **changes: Any) -> QuantizeBlocks:
    """In 4 bits, recovered."""
    optimization = dataclasses.replace(imitation.optimization, learning_rate=learning_rate)
    settings = dataclasses.replace(imitation, optimization=optimization)
    return dataclasses.replace(FOUR, **({"recovery_epochs": 2, "imitation": settings} | changes))


@pytest.mark.parametrize("corrected", [False, True])
def test_recovery_comes_nearer_to_the_teacher(
    corrected: bool, sharp_teacher: PreTrainedModel, make_context: Callable, imitation: Imitation
) -> None:
    context = make_context(sharp_teacher, count=64)
    inputs, answers = inputs_and_answers(sharp_teacher, context)
    with torch.no_grad():
        sharp_teacher.score.weight *= 2 / answers.std(0).mean()
        expected = sharp_teacher(**inputs).logits
    far = []
    for epochs in (0, 12):
        stage = recovering(imitation, 3e-4, corrected=corrected, calibration_examples=64, recovery_epochs=epochs)
        found = stage.apply(copy.deepcopy(sharp_teacher), context)
        with torch.no_grad():
            far.append(float(softened_logits_loss(found(**inputs).logits, expected, 1.0)))
    # 0.048 to 0.003 nats, corrected 0.014 to 0.003.
    assert far[1] < far[0] / 2


@pytest.mark.parametrize("corrected", [False, True])
def test_recovery_begins_where_rounding_ended(
    corrected: bool, sharp_teacher: PreTrainedModel, make_context: Callable, imitation: Imitation
) -> None:
    """At a learning rate of next to nothing, no integer changes."""
    context = make_context(sharp_teacher, count=16)
    rounded = dataclasses.replace(FOUR, corrected=corrected)
    expected = rounded.apply(copy.deepcopy(sharp_teacher), context)
    stage = recovering(imitation, 1e-12, corrected=corrected, recovery_epochs=1)
    found = stage.apply(copy.deepcopy(sharp_teacher), context)
    assert structure_of(found).edits == structure_of(expected).edits
    stored = expected.state_dict()
    integers = [name for name in stored if name.endswith(("weight_blocks", "weight_scale"))]
    assert integers and all(torch.equal(found.state_dict()[name], stored[name]) for name in integers)


def test_the_integers_of_the_last_pass_are_stored(
    sharp_teacher: PreTrainedModel,
    make_context: Callable,
    imitation: Imitation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context(sharp_teacher, count=16)
    inputs, _ = inputs_and_answers(sharp_teacher, context)
    learned: list[torch.Tensor] = []
    imitate = quantization_aware.imitate

    def watched(student: PreTrainedModel, *given: Any, **named: Any) -> None:
        imitate(student, *given, **named)
        with torch.no_grad():
            learned.append(student(**inputs).logits)

    monkeypatch.setattr(quantization_aware, "imitate", watched)
    found = recovering(imitation, 1e-3).apply(copy.deepcopy(sharp_teacher), context)
    save_model(found, tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path)(**inputs).logits, learned[0], rtol=0, atol=1e-5)
    # It did learn.
    rounded = FOUR.apply(copy.deepcopy(sharp_teacher), context)
    assert not torch.equal(found.model.norm.weight, rounded.model.norm.weight)
    path = "model.layers.0.mlp.up_proj"
    assert not torch.equal(found.get_submodule(path).values, rounded.get_submodule(path).values)


def test_a_tied_head_is_trained_through(
    make_model: Callable, make_decoder: Callable, make_context: Callable, imitation: Imitation
) -> None:
    """Word embeddings and the head that reads them stay what they were rounded to."""
    teacher = make_decoder(tie_word_embeddings=True, num_hidden_layers=2, pad_token_id=0)
    task = CausalLanguageModel(text="text", max_length=16, prompt_tokens=4, new_tokens=3)
    context = make_context(make_model("llama"), count=16)
    rows = task.encode(
        Dataset.from_dict({"text": ["kas lot min nur pet"] * 16}), context.processor, teacher.config, "train"
    )
    collate = lambda rows: task.collate(rows, context.processor)  # noqa: E731
    context = dataclasses.replace(context, teacher=teacher, task=task, train=rows, collate=collate)
    found = recovering(imitation, 1e-3).apply(copy.deepcopy(teacher), context)
    assert isinstance(found.lm_head, TiedBlockHead) and found.lm_head.table is found.get_input_embeddings()
    assert torch.equal(found.lm_head.table.weight_blocks, quantize_blocks(teacher.lm_head.weight.detach(), 8)[0])
    assert not torch.equal(found.model.layers[0].input_layernorm.weight, teacher.model.layers[0].input_layernorm.weight)


class KilledError(Exception):
    """In place of a kill."""


def test_a_killed_recovery_ends_as_one_that_was_not(
    sharp_teacher: PreTrainedModel, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(sharp_teacher, count=16)
    stage = recovering(imitation, 1e-3, corrected=True, recovery_epochs=3)
    expected = stage.apply(copy.deepcopy(sharp_teacher), context).state_dict()
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    saved = loop._TimedCheckpoints.on_save

    def killed(self: Any, arguments: Any, state: Any, control: Any, **more: Any) -> None:
        saved(self, arguments, state, control, **more)
        if state.global_step == 3:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(loop._TimedCheckpoints, "on_save", killed)
        stage.apply(copy.deepcopy(sharp_teacher), context)
    assert loop.last_checkpoint(context.work_folder / "recovery-after-quantizing") is not None
    resumed = stage.apply(copy.deepcopy(sharp_teacher), context).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.items())


def test_recovery_is_training(imitation: Imitation, make_model: Callable) -> None:
    stage = recovering(imitation, 1e-3)
    assert stage.training(24) == Training(steps=6, batch_size=8, keeps_hidden_states=True)
    assert dataclasses.replace(FOUR, imitation=imitation).training(24) is None
    assert "imitation" in FOUR.unread and "imitation" not in stage.unread
    related = dataclasses.replace(imitation, relation_weight=1)
    assert set(dataclasses.replace(stage, imitation=related).refuses) == {"int8", "fused"}
    assert set(stage.refuses) == set(dataclasses.replace(FOUR, imitation=related).refuses) == {"int8"}
    fused = make_model()
    fuse_layers(fused, first_token=False)
    dataclasses.replace(FOUR, imitation=imitation).check_teacher(fused)
    with pytest.raises(InputError, match="recovery_epochs is 2; the teacher's layers are fused already"):
        stage.check_teacher(fused)
