"""Distillation: a student made from the teacher's own layers, or loaded, learns to answer as the teacher does."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from transformers import PreTrainedModel

from compress.core.checks import require_integer, require_positive
from compress.core.errors import InputError
from compress.core.words import Context
from compress.models.checkpoint import check_checkpoint, read_config
from compress.models.family import head_size, layers_of
from compress.models.surgery import keep_layers, narrow
from compress.training.imitation import Imitation, imitate, spread


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
        if isinstance(self.layers, int):
            require_integer("stages.distill.layers", self.layers, 1, "Use half of the teacher's layers, for example.")
        elif not self.layers or len(set(self.layers)) != len(self.layers) or list(self.layers) != sorted(self.layers):
            raise InputError(
                f"stages.distill.layers is {list(self.layers)}; a list names different layers in ascending order, "
                "from 0. Use [1,3,5], for example, or a number."
            )
        if self.hidden_size is not None:
            require_integer("stages.distill.hidden_size", self.hidden_size, 1, "Use null to keep the teacher's.")

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The trained student. Raises InputError where the settings do not fit the model."""
        if self.student_path is not None:
            student, layer_map = self._load_student(Path(self.student_path), model, context), None
        else:
            student, layer_map = self._cut_student(model, context)
        return imitate(
            student, context, self.imitation, epochs=self.epochs, title="distillation", layer_map=layer_map
        )

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the settings do not fit a model of this shape."""
        if self.student_path is not None:
            check_checkpoint(Path(self.student_path))
            read_config(Path(self.student_path))
        else:
            self._chosen(len(layers_of(model)))
            if self.hidden_size is not None:
                _check_hidden_size(self.hidden_size, model)

    def _cut_student(self, model: PreTrainedModel, context: Context) -> tuple[PreTrainedModel, list[int]]:
        chosen = self._chosen(len(layers_of(model)))
        numbers = spread(len(layers_of(model)), len(layers_of(context.teacher)))
        student = copy.deepcopy(model)
        keep_layers(student, chosen)
        if self.hidden_size is not None:
            _check_hidden_size(self.hidden_size, model)
            student = narrow(student, self.hidden_size)
        return student, [numbers[layer] for layer in chosen]

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

    def _load_student(self, folder: Path, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        check_checkpoint(folder)
        config = read_config(folder)
        if config.vocab_size != model.config.vocab_size:
            raise InputError(
                f"student.path is {folder}, whose vocabulary has {config.vocab_size} entries and the teacher's "
                f"{model.config.vocab_size}; both must read the same tokens. Use a student with the teacher's tokenizer."
            )
        config.num_labels = model.config.num_labels
        config.id2label, config.label2id = model.config.id2label, model.config.label2id
        student = context.task.load_pretrained(folder, config)
        if len(layers_of(student)) > len(layers_of(context.teacher)):
            raise InputError(f"student.path is {folder}, which has more layers than the teacher. Use a smaller one.")
        return student


def _check_hidden_size(hidden_size: int, model: PreTrainedModel) -> None:
    now, head = int(model.get_input_embeddings().embedding_dim), head_size(model)
    if hidden_size > now or hidden_size % head:
        raise InputError(
            f"stages.distill.hidden_size is {hidden_size}; it must be a multiple of the head size {head} and at most "
            f"{now}. Use {max(head, now // 2 // head * head)}, for example."
        )
