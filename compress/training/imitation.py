"""A student learns to answer as the teacher does. Used by distillation, and by any stage that lets a model recover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.checks import require_at_least, require_positive
from compress.core.errors import InputError, StageError
from compress.core.words import Context
from compress.models.family import hidden_size, layers_of
from compress.ops.losses import hidden_states_loss, is_finite, softened_logits_loss
from compress.training.loop import Optimization, ResumableTrainer, run_training, steps_of, training_arguments
from compress.training.teacher_outputs import TeacherOutputs, forward


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """The loss: logits softened by `temperature`, hidden states of mapped layers, hard labels, each with its weight."""

    temperature: float
    logits_weight: float
    hidden_weight: float
    labels_weight: float
    optimization: Optimization

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature, "Use 2, for example; 1 does not soften.")
        weights = (self.logits_weight, self.hidden_weight, self.labels_weight)
        for name, weight in zip(("logits_weight", "hidden_weight", "labels_weight"), weights, strict=True):
            require_at_least(name, weight, 0, "Use 0 to leave this part of the loss out.")
        if not any(weights):
            raise InputError("logits_weight, hidden_weight and labels_weight are all 0; one must be greater.")


def spread(students: int, teachers: int) -> list[int]:
    """For each student layer the number (from 1) of the teacher layer it stands for: evenly spread, the last to last.

    Raises ValueError where there are more student layers than teacher layers.
    """
    if students > teachers:
        raise ValueError(f"{students} layers cannot stand for {teachers}")
    return [round((i + 1) * teachers / students) for i in range(students)]


def inherited(kept: Sequence[int], before: int, teachers: int) -> list[int]:
    """For each layer that was kept (numbers from 0, out of `before`), the number (from 1) of its teacher layer.

    That is the one it stood for before others were cut. The last stands for the teacher's last, whichever it was: the
    head reads it.
    """
    numbers = spread(before, teachers)
    return [*(numbers[layer] for layer in kept[:-1]), teachers]


def imitate(
    student: PreTrainedModel,
    context: Context,
    settings: Imitation,
    *,
    epochs: float,
    title: str,
    layer_map: Sequence[int] | None = None,
) -> PreTrainedModel:
    """Train `student` in place and return it on the CPU in evaluation mode.

    layer_map: for each student layer the number (from 1) of the teacher layer whose output it should match; evenly
    spread where None. Raises StageError as soon as the loss is not finite.
    """
    teacher_layers = len(layers_of(context.teacher))
    mapped = list(layer_map or spread(len(layers_of(student)), teacher_layers))
    outputs = TeacherOutputs(context, mapped if settings.hidden_weight else [])
    changed = 0 if context.aligned is None else len(context.aligned) - sum(context.aligned)
    if changed and settings.hidden_weight:
        context.note(
            f"{changed} training examples have other tokens than the teacher's; only their logits are imitated"
        )
    learner = Learner(student, hidden_size(context.teacher) if settings.hidden_weight else None)
    steps = steps_of(len(context.train), settings.optimization.batch_size, epochs)
    folder = context.work_folder / title.replace(" ", "-")
    trainer = ImitationTrainer(
        model=learner,
        args=training_arguments(
            settings.optimization,
            width=hidden_size(student),
            epochs=epochs,
            steps=steps,
            device=context.device,
            seed=context.seed,
            folder=folder,
        ),
        train_dataset=context.train.add_column("row", list(range(len(context.train)))),
        data_collator=lambda rows: {**context.collate(rows), "row": torch.tensor([row["row"] for row in rows])},
    )
    trainer.teach(context, settings, outputs, mapped)
    run_training(trainer, folder, title)
    return student.cpu().eval()


class Learner(nn.Module):
    """The student, and one linear map from its hidden width to the teacher's where they differ (thrown away later)."""

    def __init__(self, student: PreTrainedModel, teacher_width: int | None) -> None:
        super().__init__()
        self.student = student
        width = hidden_size(student)
        same = teacher_width is None or teacher_width == width
        self.projection = nn.Identity() if same else nn.Linear(width, teacher_width or width, bias=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Any:
        """The student's outputs, with hidden states."""
        return self.student(**inputs, output_hidden_states=True)


class ImitationTrainer(ResumableTrainer):
    """A Trainer with a loss of our own."""

    loss_is_scaled_for_ga = False

    def teach(self, context: Context, settings: Imitation, outputs: TeacherOutputs, layer_map: Sequence[int]) -> None:
        """Say whom to imitate."""
        self._context, self._settings, self._outputs, self._map = context, settings, outputs, layer_map

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted sum of the three parts."""
        task, settings = self._context.task, self._settings
        rows = inputs["row"].tolist()
        outputs = model({name: inputs[name] for name in task.inputs})
        logits = task.logits(outputs)
        loss = logits.new_zeros((), dtype=torch.float32)
        if settings.logits_weight:
            target = self._outputs.logits(rows).to(logits.device)
            part = softened_logits_loss(logits, target, settings.temperature, task.logit_mask(inputs))
            loss = loss + settings.logits_weight * part
        if settings.labels_weight:
            loss = loss + settings.labels_weight * task.label_loss(logits, inputs)
        if settings.hidden_weight:
            loss = loss + settings.hidden_weight * self._hidden_loss(model, outputs.hidden_states, rows, inputs)
        if not is_finite(loss.detach()):
            raise StageError(
                f"the loss is {loss.item()} at step {self.state.global_step}: training cannot go on. Lower "
                f"learning_rate (it is {self.args.learning_rate}), or set mixed_precision=off."
            )
        return (loss, outputs) if return_outputs else loss

    def _hidden_loss(self, model: nn.Module, states: Sequence[Tensor], rows: list[int], inputs: Any) -> Tensor:
        width = states[0].shape[1]
        mask = self._aligned_positions(self._context.task.hidden_mask(inputs), rows, width)
        live = None if self._outputs.stores_hidden else self._run_teacher(rows, width)
        projection = self.accelerator.unwrap_model(model).projection
        losses = []
        for number, layer in enumerate(self._map, 1):
            target = self._outputs.hidden(layer, rows, width) if live is None else live[layer]
            losses.append(hidden_states_loss(projection(states[number]), target.to(states[number].device), mask))
        return torch.stack(losses).mean()

    def _aligned_positions(self, mask: Tensor | None, rows: list[int], width: int) -> Tensor | None:
        """The positions that count, without rows in which the teacher read other tokens."""
        if self._context.aligned is None:
            return mask
        device = self.args.device
        aligned = torch.tensor([self._context.aligned[row] for row in rows], device=device)[:, None].expand(-1, width)
        return aligned if mask is None else mask & aligned

    def _run_teacher(self, rows: list[int], width: int) -> Sequence[Tensor]:
        """Hidden states of the teacher on its own reading of the rows, cut or filled with zeros to `width`."""
        context = self._context
        batch = context.teacher_collate([context.teacher_train[row] for row in rows])
        teacher = context.teacher.to(self.args.device)  # type: ignore[arg-type]
        states = forward(teacher, context, batch).hidden_states
        return [nn.functional.pad(state, (0, 0, 0, width - state.shape[1])) for state in states]
