"""Distillation: a student made from the teacher's own layers, or loaded, learns to answer as the teacher does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transformers import PretrainedConfig, PreTrainedModel

from compress.core.checks import require_integer, require_positive
from compress.core.errors import InputError
from compress.core.words import Context
from compress.models.checkpoint import check_checkpoint, read_config, read_structure
from compress.models.family import family_of, head_size, hidden_size, layers_of
from compress.models.surgery import keep_layers, narrow
from compress.training.imitation import Imitation, imitate, inherited, spread


@dataclass(frozen=True, kw_only=True)
class Distill:
    """layers: how many layers the student has, taken evenly spread, or a list of their numbers (from 0).

    hidden_size: the student's hidden width, or None to keep it. student_path: a folder to load the student from
    instead. epochs: passes over the training split.
    """

    layers: int | Sequence[int]
    hidden_size: int | None
    student_path: str | None
    epochs: float
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {
        "int8": "int8 weights have no gradient, so nothing could be learned; distill before quantizing"
    }

    def __post_init__(self) -> None:
        require_positive("stages.distill.epochs", self.epochs, "Use 3, for example.")
        if not isinstance(self.layers, list | tuple):
            require_integer("stages.distill.layers", self.layers, 1, "Use half of the teacher's layers, for example.")
        elif not self.layers or not _ascending(self.layers):
            raise InputError(
                f"stages.distill.layers is {list(self.layers)}; a list names different layers in ascending order, "
                "from 0. Use [1,3,5], for example, or a number."
            )
        if self.hidden_size is not None:
            require_integer("stages.distill.hidden_size", self.hidden_size, 1, "Use null to keep the teacher's.")

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The trained student. Raises InputError where the settings do not fit the model."""
        if self.student_path is not None:
            config = _student_config(Path(self.student_path), context.teacher)
            _check_vocabulary(Path(self.student_path), config, model)
            student, layer_map = context.task.load_pretrained(Path(self.student_path), config), None
        else:
            student, layer_map = self._cut_student(model, context)
        return imitate(student, context, self.imitation, epochs=self.epochs, title="distillation", layer_map=layer_map)

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the settings do not fit a model of this shape."""
        if self.student_path is not None:
            config = _student_config(Path(self.student_path), model)
            _check_vocabulary(Path(self.student_path), config, model)
        else:
            self._chosen(len(layers_of(model)))
            if self.hidden_size is not None:
                _check_hidden_size(self.hidden_size, model)

    def _cut_student(self, model: PreTrainedModel, context: Context) -> tuple[PreTrainedModel, list[int]]:
        available = len(layers_of(model))
        chosen = self._chosen(available)
        student = copy.deepcopy(model)
        keep_layers(student, chosen)
        if self.hidden_size is not None:
            _check_hidden_size(self.hidden_size, model)
            student = narrow(student, self.hidden_size)
        return student, inherited(chosen, available, len(layers_of(context.teacher)))

    def _chosen(self, available: int) -> list[int]:
        if isinstance(self.layers, int):
            if self.layers > available:
                raise InputError(
                    f"stages.distill.layers is {self.layers}; the model has {available}. Use {available} or fewer."
                )
            return [number - 1 for number in spread(self.layers, available)]
        if self.layers[-1] >= available or self.layers[0] < 0:
            raise InputError(
                f"stages.distill.layers is {list(self.layers)}; the model's layers are 0 to {available - 1}."
            )
        return list(self.layers)


def _student_config(folder: Path, teacher: PreTrainedModel) -> PretrainedConfig:
    """The configuration of a student's folder, with the teacher's labels. Raises InputError where it cannot be one."""
    check_checkpoint(folder, "student.path")
    config = read_config(folder)
    if not read_structure(folder).is_plain:
        raise InputError(
            f"student.path is {folder}, whose layers an earlier run has edited; only a plain model can be a student "
            "here. Give it as model.path, or use another."
        )
    layers = int(getattr(config, family_of(config).layers_field))
    if layers > len(layers_of(teacher)):
        raise InputError(
            f"student.path is {folder}, which has {layers} layers and the teacher {len(layers_of(teacher))}. Use a "
            "smaller one."
        )
    config.id2label, config.label2id = teacher.config.id2label, teacher.config.label2id
    return config


def _check_vocabulary(folder: Path, config: PretrainedConfig, model: PreTrainedModel) -> None:
    """Raise InputError where a student's folder cannot read the tokens that `model`, which it replaces, reads."""
    if config.vocab_size != model.config.vocab_size:
        raise InputError(
            f"student.path is {folder}, whose vocabulary has {config.vocab_size} entries and the teacher's here "
            f"{model.config.vocab_size}; both must read the same tokens. Use a student with the teacher's tokenizer, "
            "and trim the vocabulary after distilling."
        )


def _ascending(layers: Sequence[object]) -> bool:
    numbers = [layer for layer in layers if isinstance(layer, int) and not isinstance(layer, bool)]
    return len(numbers) == len(layers) and numbers == sorted(set(numbers))


def _check_hidden_size(wanted: int, model: PreTrainedModel) -> None:
    now, head = hidden_size(model), head_size(model)
    if wanted > now or wanted % head:
        raise InputError(
            f"stages.distill.hidden_size is {wanted}; it must be a multiple of the head size {head} and at most "
            f"{now}. Use {max(head, now // 2 // head * head)}, for example."
        )
