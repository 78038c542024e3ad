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
from transformers import PreTrainedModel, set_seed

from compress.core.errors import InputError, StageError
from compress.core.words import Context
from compress.models.surgery import keep_layers, narrow
from compress.models.vocabulary import keep_tokens
from compress.ops.losses import softened_logits_loss
from compress.training import loop
from compress.training.imitation import Imitation, ImitationTrainer, imitate, inherited, spread
from compress.training.loop import Optimization, SimilarLengths


@pytest.mark.parametrize(
    ("students", "teachers", "numbers"),
    [
        (3, 6, [2, 4, 6]),
        (1, 6, [6]),
        (6, 6, [1, 2, 3, 4, 5, 6]),
        (4, 6, [2, 3, 4, 6]),  # 1.5, 3, 4.5, 6
        (5, 12, [2, 5, 7, 10, 12]),  # 2.4, 4.8, 7.2, 9.6, 12
        (2, 3, [2, 3]),  # 1.5, 3
    ],
)
def test_spread(students: int, teachers: int, numbers: list[int]) -> None:
    assert spread(students, teachers) == numbers


def test_spread_never_names_a_layer_twice() -> None:
    for teachers in range(1, 49):
        for students in range(1, teachers + 1):
            numbers = spread(students, teachers)
            assert sorted(set(numbers)) == numbers
            assert numbers[-1] == teachers


def test_more_students_than_teachers() -> None:
    with pytest.raises(ValueError, match=r"7 layers cannot stand for 6"):
        spread(7, 6)


@pytest.mark.parametrize(
    ("kept", "before", "teachers", "numbers"),
    [
        ([1, 3, 5], 6, 6, [2, 4, 6]),
        ([0, 1, 2], 6, 6, [1, 2, 6]),  # the head reads the last: it stands for the teacher's last
        ([0, 2], 3, 6, [2, 6]),  # the three stood for 2, 4 and 6
        ([0, 1], 3, 6, [2, 6]),
        ([0, 1, 2], 3, 6, [2, 4, 6]),
    ],
)
def test_inherited(kept: list[int], before: int, teachers: int, numbers: list[int]) -> None:
    assert inherited(kept, before, teachers) == numbers


def student_of(teacher: PreTrainedModel, layers: tuple[int, ...] = (1, 3)) -> PreTrainedModel:
    student = copy.deepcopy(teacher)
    keep_layers(student, layers)
    return student


@torch.no_grad()
def distance(student: PreTrainedModel, context: Context) -> float:
    """How far the student's answers to the training examples are from the teacher's."""
    batch = context.collate(list(context.train))
    inputs = {name: batch[name] for name in context.task.inputs}
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
    model_type: str, make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = sharp_teacher(make_model, model_type)
    before = copy.deepcopy(teacher.state_dict())
    context = make_context(teacher, count=48)
    student = make_model(model_type, layers=2, seed=1)
    far = distance(student, context)
    found = imitate(student, context, faster(imitation), epochs=5, title="a test")
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


@pytest.mark.parametrize("weight", ["logits_weight", "hidden_weight", "labels_weight"])
def test_each_part_of_the_loss_alone(
    weight: str, make_model: Callable, make_context: Callable, imitation: Imitation
) -> None:
    teacher = sharp_teacher(make_model)
    context = make_context(teacher, count=48)
    nothing = {"logits_weight": 0, "hidden_weight": 0, "labels_weight": 0}
    settings = dataclasses.replace(faster(imitation), **(nothing | {weight: 1}))
    student = make_model(layers=2, seed=1)

    @torch.no_grad()
    def label_loss() -> float:
        batch = context.collate(list(context.train))
        logits = student(**{name: batch[name] for name in context.task.inputs}).logits
        return float(context.task.label_loss(logits, batch))

    measure = label_loss if weight == "labels_weight" else lambda: distance(student, context)
    before = measure()
    imitate(student, context, settings, epochs=4, title="a test")
    assert measure() < before
    # Hidden states are computed only for whom they matter.
    stored = [path.name for path in context.cache_folder.rglob("hidden-*")]
    assert sorted(stored) == (["hidden-2.npy", "hidden-4.npy"] if weight == "hidden_weight" else [])


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
    loss = losses_of_first_step(monkeypatch, make_context(teacher), teacher, imitation)
    assert loss == pytest.approx(0, abs=1e-5)


def test_running_the_teacher_live_gives_the_same_loss(
    make_model: Callable, make_context: Callable, imitation: Imitation, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = sharp_teacher(make_model)
    context, student = make_context(teacher), student_of(teacher)
    settings = dataclasses.replace(imitation, logits_weight=0)
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
    sampler = SimilarLengths(context.train["length"], 8, seed=0)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert second == list(sampler)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0}, r"temperature is 0; it must be greater than 0"),
        ({"hidden_weight": -1}, r"hidden_weight is -1; it must be at least 0"),
        ({"logits_weight": 0, "hidden_weight": 0}, r"are all 0; one must be greater"),
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


def renumbered(context: Context, kept: list[int], aligned: bool) -> Context:
    """The context of a student that knows only the tokens `kept`, all of which the examples have."""
    place = {old: new for new, old in enumerate(kept)}
    train = context.train.map(lambda row: {"input_ids": [place[number] for number in row["input_ids"]]})
    return dataclasses.replace(context, train=train, aligned=[aligned] * len(train))


@pytest.mark.parametrize("stores_hidden", [True, False])
def test_a_student_with_other_numbers_learns_the_same(
    stores_hidden: bool,
    make_model: Callable,
    make_context: Callable,
    imitation: Imitation,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not stores_hidden:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    teacher = sharp_teacher(make_model)
    context = make_context(teacher, count=8)
    kept = sorted({0, 1, 2, 3, *(number for row in context.train["input_ids"] for number in row)})
    assert len(kept) < 34
    student, trimmed = make_model(layers=2, seed=1), make_model(layers=2, seed=1)
    keep_tokens(trimmed, kept)
    other = dataclasses.replace(
        renumbered(context, kept, True), work_folder=tmp_path / "w", cache_folder=tmp_path / "c"
    )
    imitate(student, context, faster(imitation), epochs=2, title="a test")
    imitate(trimmed, other, faster(imitation), epochs=2, title="a test")
    with torch.no_grad():
        expected = student(**{name: context.collate(list(context.train))[name] for name in context.task.inputs})
        found = trimmed(**{name: other.collate(list(other.train))[name] for name in context.task.inputs})
    torch.testing.assert_close(found.logits, expected.logits, rtol=1e-4, atol=1e-5)


def test_hidden_states_of_other_tokens_are_not_imitated(
    make_model: Callable, make_context: Callable, imitation: Imitation, tmp_path: Any, notes: list[str]
) -> None:
    context = make_context(sharp_teacher(make_model), count=16)
    everything = list(range(34))
    one, two = make_model(layers=2, seed=1), make_model(layers=2, seed=1)
    other = dataclasses.replace(renumbered(context, everything, False), work_folder=tmp_path / "w")
    imitate(one, other, imitation, epochs=1, title="a test")
    imitate(two, context, dataclasses.replace(imitation, hidden_weight=0), epochs=1, title="a test")
    assert all(torch.equal(value, two.state_dict()[name]) for name, value in one.state_dict().items())
    assert notes == ["16 training examples have other tokens than the teacher's; only their logits are imitated"]
