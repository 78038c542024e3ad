"""A student learns to answer as the teacher does. Used by distillation, and by any stage that lets a model recover."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compress.core.checks import require_at_least, require_integer, require_positive
from compress.core.context import Context
from compress.core.errors import InputError, StageError
from compress.core.signature import Signature
from compress.core.stage import Training
from compress.methods.training.attention import RELATED, attention_vectors
from compress.methods.training.loop import (
    Mean,
    Optimization,
    ResumableTrainer,
    run_training,
    steps_of,
    training_arguments,
)
from compress.methods.training.processes import count, totals
from compress.methods.training.teacher_outputs import TeacherOutputs, answer_of
from compress.methods.training.transfer import found_examples, transfer_set
from compress.nn.checkpoint import shared_weights
from compress.nn.family import hidden_size, last_attending, layers_of
from compress.nn.forward import forward, output_mask, position_mask
from compress.nn.ops.losses import (
    common_heads,
    counted,
    hidden_states_loss,
    relations_loss,
    size_of_hidden_states,
    softened_logits_loss,
)

AUTO = "auto"
WEIGHTS = ("logits_weight", "hidden_weight", "relation_weight", "labels_weight")


@dataclass(frozen=True, kw_only=True)
class Imitation:
    """The loss, in four parts, each with its weight, and how long to train.

    spliced: for each training example, so many made-up ones (see compress.tasks.splicing); or `auto`, with which as
    many are made up as the training examples are fewer than those of `shortest_epoch`. They take the place of
    repetition: an epoch has no more steps for them. logits: softened by `temperature`; where a task has other outputs,
    its own loss of them. hidden: the hidden states of
    mapped layers. relations: those between positions, by queries, keys and values, of the student's last layer with
    attention and the teacher's layer `relation_layer` (from 1; None for its last that has), cut into `relation_heads`
    parts, or the most below it that both widths can be cut into. labels: the hard ones, of examples that have any.

    shortest_epoch: an epoch is at least this many optimizer steps; where one pass over the examples has fewer, it is
    more than one pass. max_steps: no training is longer, whatever the epochs; None for no limit. dropout: the student's
    while it learns, in [0, 1), or None for its own. A teacher's answers are no labels to be overfitted, and on a CPU
    dropout takes a good part of the time.
    """

    temperature: float
    logits_weight: float
    hidden_weight: float
    relation_weight: float
    relation_heads: int
    relation_layer: int | None
    labels_weight: float
    spliced: float | str
    shortest_epoch: int
    max_steps: int | None
    dropout: float | None
    optimization: Optimization

    def __post_init__(self) -> None:
        require_positive("temperature", self.temperature, "Use 2, for example; 1 does not soften.")
        for name in WEIGHTS:
            require_at_least(name, getattr(self, name), 0, "Use 0 to leave this part of the loss out.")
        if not any(getattr(self, name) for name in WEIGHTS):
            raise InputError(f"{', '.join(WEIGHTS[:-1])} and {WEIGHTS[-1]} are all 0; one must be greater.")
        if self.spliced != AUTO:
            require_at_least("spliced", self.spliced, 0, "Use 0 for no made-up examples, or auto.")
        require_integer("relation_heads", self.relation_heads, 1, "Use 12, for example.")
        if self.relation_layer is not None:
            require_integer("relation_layer", self.relation_layer, 1, "Use null for the teacher's last.")
        require_integer("shortest_epoch", self.shortest_epoch, 1, "Use 1 for epochs of one pass each.")
        if self.max_steps is not None:
            require_integer("max_steps", self.max_steps, 1, "Use null for no limit.")
        if self.dropout is not None:
            require_at_least("dropout", self.dropout, 0, "Use null for the student's own.")
            if self.dropout >= 1:
                raise InputError(f"dropout is {self.dropout}; it must be below 1. Use 0 for none.")

    def steps(self, examples: int, epochs: float) -> int:
        """How many optimizer steps `epochs` of so many examples are, within the two limits."""
        batch = self.optimization.batch_size
        steps = steps_of(max(examples, self.shortest_epoch * batch), batch, epochs)
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def training(self, examples: int, epochs: float) -> Training | None:
        """What `epochs` of so many examples train; None where there are no epochs."""
        if not epochs:
            return None
        return Training(self.steps(examples, epochs), self.optimization.batch_size, bool(self.hidden_weight))

    def made_up(self, labelled: int, examples: int, epochs: float) -> int:
        """How many examples are made up for `epochs` of `examples`, so many of them labelled: none where only labels
        count, and no more than there would be repetitions."""
        if not (self.logits_weight or self.hidden_weight or self.relation_weight):
            return 0
        batch = self.optimization.batch_size
        if isinstance(self.spliced, str):
            wanted = self.shortest_epoch * batch - labelled
        else:
            wanted = round(self.spliced * labelled)
        repetitions = self.steps(examples, epochs) * batch - examples
        return max(0, min(wanted, repetitions))

    def check(self, teacher: PreTrainedModel) -> None:
        """Raise InputError, as part of a stage, where `relation_layer` is no layer of the teacher."""
        layers = layers_of(teacher)
        if self.relation_layer is None:
            return
        if self.relation_layer > len(layers):
            raise InputError(
                f"imitation.relation_layer is {self.relation_layer}; the teacher has {len(layers)} layers. Use null "
                "for its last."
            )
        if not layers[self.relation_layer - 1].heads:
            raise InputError(
                f"imitation.relation_layer is {self.relation_layer}, whose attention the teacher has dropped. Use null "
                "for the last that has one."
            )


def spread(students: int, teachers: int) -> list[int]:
    """For each student layer the number (from 1) of the teacher layer it stands for: evenly spread, the last to last.

    Raises ValueError where there are more student layers than teacher layers.
    """
    if students > teachers:
        raise ValueError(f"{students} layers cannot stand for {teachers}")
    return [round((i + 1) * teachers / students) for i in range(students)]


def spread_from_first(students: int, teachers: int) -> list[int]:
    """As `spread`, with the first for the first, where that must stay; one alone stands for it."""
    if students > teachers:
        raise ValueError(f"{students} layers cannot stand for {teachers}")
    return [1 + round(i * (teachers - 1) / max(students - 1, 1)) for i in range(students)]


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
    share: float = 1.0,
) -> PreTrainedModel:
    """Train `student` in place on the transfer set and return it on the CPU in evaluation mode.

    epochs: passes over the transfer set or more, within the limits of `settings`. share: of the steps that come of it,
    in (0, 1], that are taken. layer_map: for each student layer the number (from 1) of the teacher layer whose output
    it should match; evenly spread where None. Raises StageError as soon as the loss is not finite.
    """
    teacher_layers = len(layers_of(context.teacher))
    last = last_attending(layers_of(context.teacher)) + 1
    mapped = list(layer_map or spread(len(layers_of(student)), teacher_layers))
    relation_layer = (settings.relation_layer or last) if settings.relation_weight else None
    found = found_examples(context)
    spliced = settings.made_up(len(context.train), found, epochs)
    outputs = TeacherOutputs(context, mapped if settings.hidden_weight else [], relation_layer, spliced=spliced)
    examples = transfer_set(context, spliced)
    reading = context.teacher_reading
    aligned = None if reading is None else torch.tensor(reading.aligned(spliced))
    learner = Learner(
        student,
        context.task.signature(student.config),
        hidden_size(context.teacher) if settings.hidden_weight else None,
        related=relation_layer is not None,
    )
    steps = max(1, round(settings.steps(found, epochs) * share))
    _tell_limits(context, settings, found, epochs)
    if aligned is not None:
        _tell_other_tokens(context, settings, int((~aligned).sum()))
    if len(examples) > found:
        context.note(f"the {len(examples) - found} examples made of two training examples each are imitated too")
    folder = context.work_folder / title.replace(" ", "-")
    trainer = ImitationTrainer(
        model=learner,
        args=training_arguments(
            settings.optimization,
            model=student,
            steps=steps,
            device=context.device,
            seed=context.seed,
            folder=folder,
        ),
        train_dataset=examples.add_column("row", list(range(len(examples)))),
        data_collator=lambda rows: {**context.collate(rows), "row": torch.tensor([row["row"] for row in rows])},
    )
    trainer.teach(context, settings, outputs, mapped, relation_layer, aligned)
    with _dropout(student, settings.dropout):
        run_training(trainer, folder, title)
    return student.cpu().eval()


@contextmanager
def _dropout(student: PreTrainedModel, probability: float | None) -> Iterator[None]:
    """Inside, every dropout layer has this probability; its own where None."""
    own = {module: module.p for module in student.modules() if isinstance(module, nn.Dropout)}
    for module, before in own.items():
        module.p = before if probability is None else probability
    try:
        yield
    finally:
        for module, before in own.items():
            module.p = before


def _tell_limits(context: Context, settings: Imitation, examples: int, epochs: float) -> None:
    asked, taken = steps_of(examples, settings.optimization.batch_size, epochs), settings.steps(examples, epochs)
    if asked != taken:
        limit = "shortest_epoch" if taken > asked else "max_steps"
        context.note(f"{taken} training steps instead of {asked} ({epochs:g} passes over {examples} examples): {limit}")


def _tell_other_tokens(context: Context, settings: Imitation, changed: int) -> None:
    if changed and (settings.hidden_weight or settings.relation_weight):
        context.note(
            f"{changed} of the examples to imitate have other tokens than the teacher's; what the teacher computes "
            "inside is not imitated on them"
        )


class Learner(nn.Module):
    """The student, and one linear map from its hidden width to the teacher's where they differ (thrown away later)."""

    def __init__(
        self, student: PreTrainedModel, signature: Signature, teacher_width: int | None, *, related: bool
    ) -> None:
        super().__init__()
        self.student, self.signature = student, signature
        self._related_layer = last_attending(layers_of(student)) + 1 if related else None
        width = hidden_size(student)
        same = teacher_width is None or teacher_width == width
        self.projection = nn.Identity() if same else nn.Linear(width, teacher_width or width, bias=False)
        # A checkpoint holds each weight once, and loading one leaves what is shared as it is.
        self.register_state_dict_post_hook(_without_shared)

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...], dict[str, Tensor]]:
        """The student's output and hidden states, and its last layer's queries, keys and values where wanted. Plain
        tuples: under mixed precision what is in them is made FP32 on its way out."""
        with attention_vectors(self.student, self._related_layer) as related:
            answer = forward(self.student, self.signature, inputs, hidden_states=True)
        return answer.output, answer.hidden_states, related


def _without_shared(learner: Learner, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in shared_weights(learner.student):
        state.pop(f"{prefix}student.{name}", None)


class ImitationTrainer(ResumableTrainer):
    """A Trainer with a loss of our own."""

    loss_is_scaled_for_ga = False

    def teach(
        self,
        context: Context,
        settings: Imitation,
        outputs: TeacherOutputs,
        layer_map: Sequence[int],
        relation_layer: int | None,
        aligned: Tensor | None = None,
    ) -> None:
        """Say whom to imitate. aligned: (examples,), whether the teacher reads the same tokens; None where always."""
        self._context, self._settings, self._outputs, self._map = context, settings, outputs, layer_map
        self._relation_layer, self._aligned_rows = relation_layer, aligned

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted sum of the four parts."""
        inputs = self.counting(inputs)
        outputs, parts = self._parts(model, inputs)
        values = iter(self.of_whole_batch([mean for _, means in parts for mean in means]))
        loss = torch.zeros((), device=inputs["row"].device)
        for weight, means in parts:
            loss = loss + weight * torch.stack([next(values) for _ in means]).mean()
        # In all processes alike: one that went on alone would wait for the others.
        (total,) = totals([float(loss.detach())])
        if not math.isfinite(total):
            raise StageError(
                f"the loss is {total / count()} at step {self.state.global_step}: training cannot go on. Lower "
                f"learning_rate (it is {self.args.learning_rate}), or set mixed_precision=off."
            )
        return (loss, outputs) if return_outputs else loss

    def _parts(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[Any, list[tuple[float, list[Mean]]]]:
        """The student's output, and each part of the loss: its weight, and losses of which it is the mean."""
        task, settings = self._context.task, self._settings
        rows = inputs["row"].tolist()
        signature = self.accelerator.unwrap_model(model).signature
        output, states, related = model({name: inputs[name] for name in signature.names})
        taught = self._taught(rows, states[0].shape[1], output)
        hidden, relations = taught.hidden, taught.relations
        parts: list[tuple[float, list[Mean]]] = []
        if settings.logits_weight:
            mask = output_mask(signature, inputs)
            if signature.per_position:
                mask = self._aligned(_imitated(mask, task.imitated(inputs)), rows, output)
            value = task.imitation_loss(output, taught.output, inputs)
            if value is None:
                value = softened_logits_loss(output, taught.output, settings.temperature, mask)
            parts.append((settings.logits_weight, [Mean(value, partial(counted, output, mask))]))
        if settings.labels_weight:
            mean = Mean(task.label_loss(output, inputs), lambda: float(task.labelled(inputs)))
            parts.append((settings.labels_weight, [mean]))
        mask = self._aligned(position_mask(signature, inputs), rows, states[0])
        if settings.hidden_weight:
            projection = self.accelerator.unwrap_model(model).projection
            mapped = [projection(states[number]) for number in range(1, len(self._map) + 1)]
            parts.append((settings.hidden_weight, [_hidden(*pair, mask) for pair in zip(mapped, hidden, strict=True)]))
        if settings.relation_weight:
            means = [self._relation(related[part], relations[part], mask) for part in RELATED]
            parts.append((settings.relation_weight, means))
        return output, parts

    def _relation(self, found: Tensor, expected: Tensor, mask: Tensor | None) -> Mean:
        heads = common_heads(self._settings.relation_heads, found.shape[-1], expected.shape[-1])
        return Mean(relations_loss(found, expected, heads, mask), partial(counted, found, mask))

    def _aligned(self, mask: Tensor | None, rows: list[int], states: Tensor) -> Tensor | None:
        """The positions that count, (rows, positions), without rows in which the teacher reads other tokens."""
        if self._aligned_rows is None:
            return mask
        aligned = self._aligned_rows[rows].to(states.device)[:, None]
        return aligned.expand(states.shape[:2]) if mask is None else mask & aligned

    def _taught(self, rows: list[int], width: int, output: Tensor) -> _Taught:
        """What the teacher says of these rows: from the disk, or of itself where that is not kept.

        Hidden states, queries, keys and values are (len(rows), width, ...), cut or filled with zeros where the
        teacher's rows are longer or shorter, and so is its output where it is one for each position.
        """
        outputs, device = self._outputs, output.device
        layers = self._map if self._settings.hidden_weight else ()
        if outputs.stores_vectors:
            related = {} if self._relation_layer is None else outputs.relations(rows, width)
            hidden = [outputs.hidden(layer, rows, width) for layer in layers]
        elif outputs.stores_outputs and not layers and self._relation_layer is None:
            hidden, related = [], {}
        else:
            teacher = self._context.teacher.to(device)  # type: ignore[arg-type]
            signature = self._context.task.signature(teacher.config)
            answer, related = answer_of(teacher, signature, outputs.batch(rows), self._relation_layer)
            hidden = [_fitted(answer.hidden_states[layer], width) for layer in layers]
            related = {part: _fitted(value, width) for part, value in related.items()}
        if outputs.stores_outputs:
            target = outputs.output(rows, output.shape[1])
        else:
            target = _fitted(answer.output, width) if signature.per_position else answer.output
        return _Taught(
            target.to(device),
            [state.to(device) for state in hidden],
            {part: value.to(device) for part, value in related.items()},
        )


@dataclass(frozen=True)
class _Taught:
    """output: what the teacher's signature calls so. hidden: of each mapped layer. relations: the queries, keys and
    values of its relation layer."""

    output: Tensor
    hidden: list[Tensor]
    relations: dict[str, Tensor]


def _imitated(mask: Tensor | None, chosen: Tensor | None) -> Tensor | None:
    """The positions that count, of those that the task chooses."""
    if mask is None or chosen is None:
        return mask if chosen is None else chosen
    return mask & chosen.to(mask.device)


def _hidden(found: Tensor, expected: Tensor, mask: Tensor | None) -> Mean:
    return Mean(
        hidden_states_loss(found, expected, mask), lambda: float(size_of_hidden_states(expected.detach(), mask))
    )


def _fitted(vectors: Tensor, width: int) -> Tensor:
    """(rows, positions, ...) cut or filled with zeros to `width` positions."""
    return nn.functional.pad(vectors, (0, 0, 0, width - vectors.shape[1]))
