"""A student comes nearer to its teacher; training that cannot go on says so; a killed one goes on where it was."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedModel, set_seed

from compress.core.context import Context, TeacherReading
from compress.core.errors import InputError, StageError
from compress.core.spent import spent
from compress.methods.training import imitation as imitation_module
from compress.methods.training import loop
from compress.methods.training.attention import RELATED, attention_vectors
from compress.methods.training.imitation import WEIGHTS, Imitation, imitate
from compress.methods.training.imitation_trainer import ImitationTrainer
from compress.methods.training.loop import Optimization, SimilarLengths
from compress.nn.family import layers_of
from compress.nn.ops.losses import relations_loss, softened_logits_loss
from compress.nn.surgery import keep_heads, keep_layers, narrow, tell_config
from compress.nn.vocabulary import keep_tokens
from compress.tasks.text_task import SIGNATURE


def student_of(teacher: PreTrainedModel, layers: tuple[int, ...] = (1, 3)) -> PreTrainedModel:
    student = copy.deepcopy(teacher)
    keep_layers(student, layers)
    return student


@torch.no_grad()
def distance(student: PreTrainedModel, context: Context) -> float:
    """How far the student's answers to the training examples are from the teacher's."""
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in SIGNATURE.names}
    return float(softened_logits_loss(student(**inputs).logits, context.teacher(**inputs).logits, 2.0))


@torch.no_grad()
def sharp_teacher(make_model: Callable, model_type: str = "bert") -> PreTrainedModel:
    """Random weights answer everything alike; larger ones give the student something to learn."""
    teacher = make_model(model_type)
    matrices = [module for module in teacher.modules() if isinstance(module, torch.nn.Linear)]
    for module in matrices:
        module.weight *= 4
    ids = torch.randint(4, 34, (64, 8), generator=torch.Generator().manual_seed(0))
    logits = teacher(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    head = next(module for module in matrices if module.out_features == 2)
    head.weight *= 2 / logits.std(dim=0).mean()
    return teacher


def faster(settings: Imitation) -> Imitation:
    """A higher learning rate, so that a few steps are enough."""
    return dataclasses.replace(settings, optimization=dataclasses.replace(settings.optimization, learning_rate=5e-3))


def test_the_student_comes_nearer(
    bert_type: str, make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = sharp_teacher(make_model, bert_type)
    before = copy.deepcopy(teacher.state_dict())
    context = make_context(teacher, count=48)
    student = make_model(bert_type, layers=2, seed=1)
    far = distance(student, context)
    with spent() as account:
        found = imitate(student, context, faster(imitation), epochs=5, title="a test")
    named = [f"training: {part}" for part in ("optimizer, batches, checkpoints", "backward", "forward")]
    assert list(account.so_far()) == ["other", "teacher's outputs", *named]
    assert found is student
    assert not found.training
    assert distance(found, context) < far / 2
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_narrower_student(make_model: Callable, make_context: Callable, imitation: Imitation) -> None:
    teacher = sharp_teacher(make_model)
    context = make_context(teacher, count=48)
    student = narrow(make_model(layers=2, seed=1), 16)
    names = set(student.state_dict())
    far = distance(student, context)
    found = imitate(student, context, faster(imitation), epochs=5, title="a test")
    assert distance(found, context) < far / 2
    # The projection to the teacher's width is thrown away.
    assert set(found.state_dict()) == names


@pytest.mark.parametrize("weight", WEIGHTS)
def test_each_part_of_the_loss_alone(
    weight: str, make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = sharp_teacher(make_model)
    context = make_context(teacher, count=48)
    settings = dataclasses.replace(faster(imitation), **(dict.fromkeys(WEIGHTS, 0) | {weight: 1}))
    student = make_model(layers=2, seed=1)

    @torch.no_grad()
    def label_loss() -> float:
        batch = context.collate(list(context.train))
        logits = student(**{name: batch[name] for name in SIGNATURE.names}).logits
        return float(context.task.label_loss(logits, batch))

    # Relations say nothing to the student's last feed-forward network and head, so only they tell their own gain.
    measures = {"labels_weight": label_loss, "relation_weight": lambda: relations_distance(student, context)}
    measure = measures.get(weight, lambda: distance(student, context))
    before = measure()
    imitate(student, context, settings, epochs=4, title="a test")
    assert measure() < before * (0.7 if weight == "relation_weight" else 1)
    # What is inside the teacher is computed only for whom it matters.
    stored = {path.stem for path in context.cache_folder.rglob("*.npy")} - {"logits"}
    needed = {"hidden_weight": {"hidden-2", "hidden-4"}, "relation_weight": {"query-4", "key-4", "value-4"}}
    assert stored == needed.get(weight, set())


@torch.no_grad()
def relations_distance(student: PreTrainedModel, context: Context) -> float:
    """How far the last layer's relations are from those of the teacher's last, in two parts."""
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in SIGNATURE.names}
    seen = []
    for model in (student, context.teacher):
        with attention_vectors(model, len(layers_of(model))) as vectors:
            model(**inputs)
        seen.append(vectors)
    mask = batch["attention_mask"].bool()
    return sum(float(relations_loss(seen[0][part], seen[1][part], 2, mask)) for part in RELATED)


def losses_of_first_step(
    monkeypatch: pytest.MonkeyPatch, context: Context, student: PreTrainedModel, settings: Imitation, **how: Any
) -> float:
    seen: list[float] = []
    compute = ImitationTrainer.compute_loss

    def watched(self: Any, *arguments: Any, **named: Any) -> Any:
        loss = compute(self, *arguments, **named)
        seen.append(float(loss.detach()))
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(ImitationTrainer, "compute_loss", watched)
        imitate(copy.deepcopy(student), context, settings, epochs=1, title="a test", **how)
    return seen[0]


def without_dropout(teacher: PreTrainedModel) -> PreTrainedModel:
    for module in teacher.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return teacher


def test_the_teacher_itself_has_nothing_to_learn(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = without_dropout(sharp_teacher(make_model))
    settings = dataclasses.replace(imitation, relation_weight=1)
    loss = losses_of_first_step(monkeypatch, make_context(teacher), teacher, settings)
    assert loss == pytest.approx(0, abs=1e-5)


def test_relations_of_the_layer_that_is_named(
    bert_type: str,
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The teacher's first two layers: their last is the teacher's second, and nothing like its fourth."""
    teacher = without_dropout(sharp_teacher(make_model, bert_type))
    context, student = make_context(teacher), student_of(teacher, (0, 1))
    settings = dataclasses.replace(imitation, **(dict.fromkeys(WEIGHTS, 0) | {"relation_weight": 1}))
    second = dataclasses.replace(settings, relation_layer=2)
    assert losses_of_first_step(monkeypatch, context, student, second) == pytest.approx(0, abs=1e-5)
    assert losses_of_first_step(monkeypatch, context, student, settings) > 0.01


def test_relations_of_models_with_other_heads(
    make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = sharp_teacher(make_model)
    context, student = make_context(teacher, count=48), student_of(teacher, (0, 1))
    for layer in layers_of(student):
        keep_heads(student, layer, torch.tensor([0, 2, 3]))
    tell_config(student)
    settings = dataclasses.replace(faster(imitation), **(dict.fromkeys(WEIGHTS, 0) | {"relation_weight": 1}))
    before = relations_distance(student, context)
    imitate(student, context, settings, epochs=4, title="a test")
    assert relations_distance(student, context) < 0.7 * before
    assert not any(layer.part(part)._forward_hooks for layer in layers_of(student) for part in RELATED)


def test_running_the_teacher_live_gives_the_same_loss(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = sharp_teacher(make_model)
    context, student = make_context(teacher), student_of(teacher)
    settings = dataclasses.replace(imitation, logits_weight=0, relation_weight=1)
    stored = losses_of_first_step(monkeypatch, context, student, settings)
    shutil.rmtree(context.cache_folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    live = losses_of_first_step(monkeypatch, context, student, settings)
    assert live == pytest.approx(stored, rel=1e-3)
    assert stored > 0.01


def test_layers_are_compared_as_mapped(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's first two layers, compared with the teacher's first two: no difference at all."""
    teacher = without_dropout(sharp_teacher(make_model))
    context, student = make_context(teacher), student_of(teacher, (0, 1))
    settings = dataclasses.replace(imitation, logits_weight=0)
    right = losses_of_first_step(monkeypatch, context, student, settings, layer_map=[1, 2])
    spread_out = losses_of_first_step(monkeypatch, context, student, settings)
    assert right == pytest.approx(0, abs=1e-5)
    assert spread_out > 0.01


@pytest.mark.parametrize("broken", ["the student", "the teacher", "the learning rate"])
def test_a_loss_that_is_not_finite(
    broken: str, make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = make_model()
    student = student_of(teacher)
    if broken == "the learning rate":
        optimization = dataclasses.replace(imitation.optimization, learning_rate=1e30)
        imitation = dataclasses.replace(imitation, optimization=optimization)
    else:
        with torch.no_grad():
            (student if broken == "the student" else teacher).classifier.weight[0, 0] = math.nan
    with pytest.raises(
        StageError, match=r"the loss is (nan|inf) at step \d: training cannot go on. Lower learning_rate"
    ):
        imitate(student, make_context(teacher), imitation, epochs=2, title="a test")


class KilledError(BaseException):
    """What ends a training in the middle."""


def train(context: Context, settings: Imitation) -> dict[str, torch.Tensor]:
    # As the pipeline does before a stage.
    set_seed(0)
    student = narrow(student_of(context.teacher), 16)
    return imitate(student, context, settings, epochs=3, title="a test").state_dict()


@pytest.mark.parametrize("step", [2, 3, 5, 8])
def test_a_killed_training_ends_as_one_that_was_not(
    step: int, make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three epochs of three steps, killed after a checkpoint: in the first, at the end of the first, later."""
    context = make_context(make_model())
    expected = train(context, imitation)
    assert not list(context.work_folder.rglob("checkpoint-*"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    saved = loop._TimedCheckpoints.on_save

    def killed(self: Any, arguments: Any, state: Any, control: Any, **more: Any) -> None:
        saved(self, arguments, state, control, **more)
        if state.global_step == step:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(loop._TimedCheckpoints, "on_save", killed)
        train(context, imitation)
    found = loop.last_checkpoint(context.work_folder / "a-test")
    assert found is not None and found.name == f"checkpoint-{step}"
    torch.manual_seed(12345)
    seen = watch_batches(monkeypatch)
    resumed = train(context, imitation)
    assert all(torch.equal(value, expected[name]) for name, value in resumed.items())
    assert len(seen) == 9 - step


# The transfer set, and how long a training is.


def with_unlabelled(context: Context, count: int) -> Context:
    """The last `count` training examples lose their labels and become the unlabelled ones."""
    rows = list(context.train)
    unlabelled = Dataset.from_list([row | {"labels": -100} for row in rows[-count:]])
    return dataclasses.replace(
        context, train=Dataset.from_list(rows[:-count]), unlabelled=unlabelled, unlabelled_fingerprint="u"
    )


def test_a_student_learns_from_labelled_and_unlabelled_examples_alike(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_context(sharp_teacher(make_model), count=48)
    seen = watch_batches(monkeypatch)

    def trained(context: Context) -> dict[str, torch.Tensor]:
        seen.clear()
        return imitate(student_of(context.teacher), context, imitation, epochs=2, title="a test").state_dict()

    # The same examples in the same order: without the labels' part, a label is of no importance.
    expected = trained(whole)
    assert sorted(row for rows in seen for row in rows) == sorted([*range(48)] * 2)
    found = trained(with_unlabelled(whole, 40))
    assert sorted(row for rows in seen for row in rows) == sorted([*range(48)] * 2)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_labels_count_where_there_are_any(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_context(without_dropout(sharp_teacher(make_model)), count=48)
    settings = dataclasses.replace(
        imitation, **(dict.fromkeys(WEIGHTS, 0) | {"labels_weight": 1, "optimization": full_batch(imitation)})
    )
    student = student_of(whole.teacher)
    context = with_unlabelled(whole, 40)
    batch = context.collate(list(context.train))
    with torch.no_grad():
        logits = student(**{name: batch[name] for name in SIGNATURE.names}).logits
        expected = float(torch.nn.functional.cross_entropy(logits, batch["labels"]))
    loss = losses_of_first_step(monkeypatch, context, student, settings)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert loss != pytest.approx(losses_of_first_step(monkeypatch, whole, student, settings), rel=1e-2)


def full_batch(settings: Imitation) -> Optimization:
    return dataclasses.replace(settings.optimization, batch_size=48)


@pytest.mark.parametrize(
    ("limits", "examples", "epochs", "steps"),
    [
        # Eight examples a step: 3 steps for 24 of them, 13 for 100.
        ({"shortest_epoch": 1, "max_steps": None}, 24, 2, 6),
        ({"shortest_epoch": 7, "max_steps": None}, 24, 2, 14),
        ({"shortest_epoch": 7, "max_steps": None}, 24, 0.5, 4),
        ({"shortest_epoch": 7, "max_steps": None}, 100, 2, 26),
        ({"shortest_epoch": 7, "max_steps": 20}, 100, 2, 20),
        ({"shortest_epoch": 7, "max_steps": 5}, 3, 1, 5),
    ],
)
def test_the_number_of_steps(
    limits: dict[str, Any], examples: int, epochs: float, steps: int, imitation: Imitation
) -> None:
    assert dataclasses.replace(imitation, **limits).steps(examples, epochs) == steps


def test_few_examples_are_repeated_and_many_are_not_all_used(
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, seen = make_context(make_model()), watch_batches(monkeypatch)
    least = dataclasses.replace(imitation, shortest_epoch=7)
    imitate(student_of(context.teacher), context, least, epochs=1, title="a test")
    assert len(seen) == 7
    assert sorted(row for rows in seen[:6] for row in rows) == sorted([*range(24)] * 2)
    assert notes.pop() == "7 training steps instead of 3 (1 passes over 24 examples): shortest_epoch"
    seen.clear()
    most = dataclasses.replace(imitation, max_steps=2)
    imitate(student_of(context.teacher), context, most, epochs=1.5, title="a test")
    assert len(seen) == 2
    assert notes.pop() == "2 training steps instead of 4 (1.5 passes over 24 examples): max_steps"
    seen.clear()
    imitate(student_of(context.teacher), context, imitation, epochs=2, title="a test", share=0.5)
    assert len(seen) == 3
    assert notes == []


@pytest.mark.parametrize(("setting", "seen"), [(None, {0.1}), (0.0, {0.0}), (0.3, {0.3})])
def test_dropout_while_the_student_learns(
    setting: float | None,
    seen: set[float],
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student, found = make_model(), set()
    layers = [module for module in student.modules() if isinstance(module, torch.nn.Dropout)]
    monkeypatch.setattr(
        imitation_module, "run_training", lambda trainer, *place: found.update(layer.p for layer in layers)
    )
    settings = dataclasses.replace(imitation, dropout=setting)
    imitate(student, make_context(make_model()), settings, epochs=1, title="a test")
    assert found == seen
    assert {layer.p for layer in layers} == {0.1}


def test_a_layer_that_the_teacher_does_not_have(make_model: Callable, imitation: Imitation) -> None:
    dataclasses.replace(imitation, relation_layer=4).check(make_model())
    with pytest.raises(InputError, match=r"relation_layer is 5; the teacher has 4 layers. Use null"):
        dataclasses.replace(imitation, relation_layer=5).check(make_model())


def watch_batches(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of every batch from here on."""
    seen: list[list[int]] = []
    compute = ImitationTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        seen.append(inputs["row"].tolist())
        return compute(self, model, inputs, *arguments, **named)

    monkeypatch.setattr(ImitationTrainer, "compute_loss", watched)
    return seen


def test_batches_of_similar_lengths_in_another_order_in_every_epoch(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, seen = make_context(make_model(), count=80), watch_batches(monkeypatch)
    imitate(student_of(context.teacher), context, imitation, epochs=2, title="a test")
    first, second = ([row for rows in epoch for row in rows] for epoch in (seen[:10], seen[10:]))
    assert sorted(first) == sorted(second) == list(range(80))
    assert first != second
    lengths = context.train["length"]
    assert first == list(SimilarLengths(lengths, 8, seed=0, epoch=lambda: 0))
    assert second == list(SimilarLengths(lengths, 8, seed=0, epoch=lambda: 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, r"temperature is 0; it must be greater than 0"),
        ({"hidden_weight": -1}, r"hidden_weight is -1; it must be at least 0"),
        ({"logits_weight": 0, "hidden_weight": 0}, r"relation_weight and labels_weight are all 0; one must be greater"),
        ({"relation_weight": -1}, r"relation_weight is -1; it must be at least 0"),
        ({"relation_heads": 0}, r"relation_heads is 0; it must be a whole number of at least 1"),
        ({"relation_layer": 0}, r"relation_layer is 0; it must be a whole number of at least 1. Use null"),
        ({"shortest_epoch": 0}, r"shortest_epoch is 0; it must be a whole number of at least 1"),
        ({"dropout": -0.1}, r"dropout is -0.1; it must be at least 0"),
        ({"dropout": 1}, r"dropout is 1; it must be below 1. Use 0"),
        ({"spliced": -1}, r"spliced is -1; it must be at least 0. Use 0 for no made-up examples, or auto"),
        ({"spliced": "many"}, r"spliced is many; it must be at least 0. Use 0 for no made-up examples, or auto"),
        ({"max_steps": 0}, r"max_steps is 0; it must be a whole number of at least 1. Use null"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str, imitation: Imitation) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(imitation, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0}, r"learning_rate is 0; it must be greater than 0"),
        ({"batch_size": 0}, r"batch_size is 0; it must be a whole number of at least 1"),
        ({"warmup_share": 1.5}, r"warmup_share is 1.5; it must lie in \(0, 1\]"),
        ({"weight_decay": -0.1}, r"weight_decay is -0.1; it must be at least 0"),
        ({"mixed_precision": "bf16"}, r"mixed_precision is 'bf16'; it must be auto or off"),
    ],
)
def test_optimization_is_checked_when_built(change: dict[str, Any], message: str, imitation: Imitation) -> None:
    optimization: Optimization = imitation.optimization
    with pytest.raises(InputError, match=message):
        dataclasses.replace(optimization, **change)


# A student with a processor of its own.


def renumbered(context: Context, kept: list[int], aligned: bool) -> Context:
    """The context of a student that knows only the tokens `kept`, all of which the examples have."""
    place = {old: new for new, old in enumerate(kept)}

    def renumber(row: dict[str, Any]) -> dict[str, Any]:
        return {"input_ids": [place[number] for number in row["input_ids"]]}

    unlabelled = context.unlabelled
    reading = TeacherReading(
        train=context.train,
        train_fingerprint=context.train_fingerprint,
        unlabelled=unlabelled,
        unlabelled_fingerprint=context.unlabelled_fingerprint,
        aligned=lambda spliced: [aligned] * (len(context.train) + len(unlabelled or []) + spliced),
        spliced=context.spliced,
        collate=context.collate,
    )
    return dataclasses.replace(
        context,
        train=context.train.map(renumber),
        train_fingerprint="renumbered",
        unlabelled=None if unlabelled is None else unlabelled.map(renumber),
        teacher_reading=reading,
    )


@pytest.mark.parametrize("stores_vectors", [True, False])
def test_a_student_with_other_numbers_learns_the_same(
    stores_vectors: bool,
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not stores_vectors:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    context = with_unlabelled(make_context(sharp_teacher(make_model), count=8), 3)
    used = (number for part in (context.train, context.unlabelled) for row in part["input_ids"] for number in row)
    kept = sorted({0, 1, 2, 3, *used})
    assert len(kept) < 34
    settings = dataclasses.replace(faster(imitation), relation_weight=1)
    student, trimmed = make_model(layers=2, seed=1), make_model(layers=2, seed=1)
    keep_tokens(trimmed, kept)
    other = dataclasses.replace(
        renumbered(context, kept, True), work_folder=tmp_path / "w", cache_folder=tmp_path / "c"
    )
    imitate(student, context, settings, epochs=2, title="a test")
    imitate(trimmed, other, settings, epochs=2, title="a test")
    with torch.no_grad():
        expected = student(**{name: context.collate(list(context.train))[name] for name in SIGNATURE.names})
        found = trimmed(**{name: other.collate(list(other.train))[name] for name in SIGNATURE.names})
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_what_is_inside_the_teacher_is_not_imitated_on_other_tokens(
    make_model: Callable, make_context: Callable, imitation: Imitation, tmp_path: Any, notes: list[str]
) -> None:
    context = with_unlabelled(make_context(sharp_teacher(make_model), count=16), 4)
    one, two = make_model(layers=2, seed=1), make_model(layers=2, seed=1)
    other = dataclasses.replace(renumbered(context, list(range(34)), False), work_folder=tmp_path / "w")
    imitate(one, other, dataclasses.replace(imitation, relation_weight=1), epochs=1, title="a test")
    imitate(two, context, dataclasses.replace(imitation, hidden_weight=0), epochs=1, title="a test")
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert notes == [
        "16 of the examples to imitate have other tokens than the teacher's; what the teacher computes inside is not "
        "imitated on them"
    ]


def test_made_up_examples_take_the_place_of_repetition(
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    notes: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = make_context(sharp_teacher(make_model), count=16)
    seen = watch_batches(monkeypatch)
    settings = dataclasses.replace(imitation, spliced=1.5)
    imitate(student_of(context.teacher), context, settings, epochs=5, title="a test")
    # Five passes over 16 are ten batches of eight: two passes over 16 and the 24 made up, each example once in each.
    assert [len(rows) for rows in seen] == [8] * 10
    assert sorted(row for rows in seen[:5] for row in rows) == list(range(40))
    assert notes == ["the 24 examples made of two training examples each are imitated too"]


@pytest.mark.parametrize(
    ("spliced", "labelled", "examples", "epochs", "count"),
    [
        (2, 16, 16, 5, 32),  # ten steps of eight are 80: 64 repetitions
        (2, 16, 16, 2, 16),  # 32: 16 repetitions
        (2, 16, 16, 1, 0),  # nothing is repeated
        (2, 16, 19, 1, 5),  # three steps of eight
        (0.5, 16, 40, 3, 8),  # of the labelled ones
        (0, 16, 16, 5, 0),
        (2, 1000, 1000, 9, 0),  # 100 steps at most are 800, less than there are
        ("auto", 16, 16, 5, 40),  # seven steps of eight are 56
        ("auto", 16, 16, 0.5, 16),  # half of them, 28 (in whole steps 32)
        ("auto", 16, 1000, 1, 0),  # nothing is repeated
        ("auto", 56, 56, 5, 0),
        ("auto", 57, 57, 5, 0),
    ],
)
def test_no_more_is_made_up_than_would_be_repeated(
    spliced: float | str, labelled: int, examples: int, epochs: float, count: int, imitation: Imitation
) -> None:
    shortest = 7 if spliced == "auto" else 1
    settings = dataclasses.replace(imitation, spliced=spliced, shortest_epoch=shortest, max_steps=100)
    assert settings.made_up(labelled, examples, epochs) == count


def test_made_up_examples_are_answered_by_the_teacher(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss over eight examples and eight made-up ones is that over the sixteen as found ones."""
    context = make_context(without_dropout(sharp_teacher(make_model)), count=8)
    student = without_dropout(make_model(layers=2, seed=1))
    settings = dataclasses.replace(imitation, spliced=1, optimization=full_batch(imitation))
    found = losses_of_first_step(monkeypatch, context, student, settings)
    both = [*context.train, *context.spliced(8)]
    known = dataclasses.replace(context, train=Dataset.from_list(both), train_fingerprint="both")
    expected = losses_of_first_step(monkeypatch, known, student, dataclasses.replace(settings, spliced=0))
    assert found == pytest.approx(expected, rel=1e-4)


def test_nothing_is_made_up_where_only_labels_count(
    make_model: Callable, make_context: Callable, imitation: Imitation, notes: list[str]
) -> None:
    labels = dataclasses.replace(imitation, **(dict.fromkeys(WEIGHTS, 0) | {"labels_weight": 1, "spliced": 2}))
    context = make_context(make_model(), count=16, spliced=lambda count: pytest.fail("nobody says what they are"))
    imitate(student_of(context.teacher), context, labels, epochs=1, title="a test")
    assert notes == []


@pytest.mark.parametrize("weight", ["hidden_weight", "relation_weight"])
def test_only_rows_with_the_same_tokens_count(
    weight: str, make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of eight labelled examples and eight others one is aligned: the loss of all is that of this one alone."""
    whole = make_context(without_dropout(sharp_teacher(make_model)), count=16)
    context, student = with_unlabelled(whole, 8), make_model(layers=2, seed=1)
    settings = dataclasses.replace(
        imitation, **(dict.fromkeys(WEIGHTS, 0) | {weight: 1, "optimization": full_batch(imitation)})
    )
    reading = renumbered(context, list(range(34)), True).teacher_reading
    assert reading is not None
    others = dataclasses.replace(reading, aligned=lambda spliced: [False] * 15 + [True])
    found = losses_of_first_step(
        monkeypatch, dataclasses.replace(context, teacher_reading=others), without_dropout(student), settings
    )
    alone = dataclasses.replace(context, train=context.unlabelled.select([7]), unlabelled=None)
    alone = dataclasses.replace(alone, train_fingerprint="alone", unlabelled_fingerprint="")
    assert found == pytest.approx(losses_of_first_step(monkeypatch, alone, student, settings), rel=1e-4)
    assert found != pytest.approx(losses_of_first_step(monkeypatch, context, student, settings), rel=1e-2)
