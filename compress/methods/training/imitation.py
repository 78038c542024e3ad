"""A student learns to answer as the teacher does. Used by distillation, and by any stage that lets a model recover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel

from compress.core.checks import require_at_least, require_integer, require_positive
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import Training
from compress.methods.training.imitation_trainer import ImitationTrainer, Learner
from compress.methods.training.layer_map import spread
from compress.methods.training.loop import Optimization, run_training, steps_of, training_arguments
from compress.methods.training.teacher_outputs import TeacherOutputs
from compress.methods.training.transfer import found_examples, transfer_set
from compress.nn.family import hidden_size, last_attending, layers_of

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
