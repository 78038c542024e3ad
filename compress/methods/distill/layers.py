"""Distillation: a student made from the teacher's own layers, or loaded, learns to answer as the teacher does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2CLS

from compress.core.blame import Milder, Setback
from compress.core.checks import require_choice, require_fraction, require_integer, require_positive
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.core.stage import StageDefaults, Training
from compress.core.task import Task
from compress.methods.training.imitation import Imitation, imitate
from compress.methods.training.layer_map import inherited, spread, spread_from_first
from compress.nn.checkpoint import check_checkpoint, read_config, read_structure
from compress.nn.family import UnknownFamilyError, family_of, head_size, hidden_size, layers_of
from compress.nn.fusion import widest_sizes
from compress.nn.structure import plain_form
from compress.nn.surgery import change_activation, keep_layers, narrow, require_changeable_width, require_first_layer


@dataclass(frozen=True, kw_only=True)
class Distill(StageDefaults):
    """layers: how many layers the student has, taken evenly spread, a list of their numbers (from 0), or `auto`: as
    many as target_speedup leaves time for, when each keeps at least the share `narrowest` of its heads and neurons.

    hidden_size: the student's hidden width, or None to keep it. student_path: a folder to load the student from
    instead. activation: the FFN's activation in the student (`relu` is a little faster than `gelu`), or None to
    keep the teacher's. epochs: passes over the examples to imitate, labelled or not: see Imitation.
    """

    layers: int | str | Sequence[int]
    target_speedup: float | None
    narrowest: float
    hidden_size: int | None
    student_path: str | None
    activation: str | None
    epochs: float
    imitation: Imitation

    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {
        "fused": "fused layers show no hidden states to imitate; distill before fusing",
        "int8": "int8 weights have no gradient, so nothing could be learned; distill before quantizing",
    }

    def __post_init__(self) -> None:
        require_positive("stages.distill.epochs", self.epochs, "Use 3, for example.")
        require_fraction("stages.distill.narrowest", self.narrowest, "Use 0.4, for example.")
        if isinstance(self.layers, str):
            require_choice("stages.distill.layers", self.layers, ("auto",))
        elif not isinstance(self.layers, list | tuple):
            require_integer("stages.distill.layers", self.layers, 1, "Use half of the teacher's layers, for example.")
        elif not self.layers or not _ascending(self.layers):
            raise InputError(
                f"stages.distill.layers is {list(self.layers)}; a list names different layers in ascending order, "
                "from 0. Use [1,3,5], for example, or a number."
            )
        if self.activation is not None:
            require_choice("stages.distill.activation", self.activation, ACT2CLS)
        if self.hidden_size is not None:
            require_integer("stages.distill.hidden_size", self.hidden_size, 1, "Use null to keep the teacher's.")

    def relax(self, setback: Setback) -> Milder | None:
        """One layer more; where there are as many as before, twice as long a training."""
        more = len(layers_of(setback.after)) + 1
        deepest = len(layers_of(setback.before))
        if self.student_path is None and not isinstance(self.layers, list | tuple) and more <= deepest:
            return Milder({"layers": more}, 1 / (deepest - more + 1))
        return Milder({"epochs": 2 * self.epochs}, 0.0)

    def check_teacher(self, teacher: PreTrainedModel) -> None:
        """Raise InputError where the imitation does not fit this teacher."""
        self.imitation.check(teacher)

    def training(self, examples: int) -> Training | None:
        """The imitation."""
        return self.imitation.training(examples, self.epochs)

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The trained student. Raises InputError where the settings do not fit the model."""
        if self.student_path is not None:
            config = _student_config(Path(self.student_path), context.teacher)
            _check_vocabulary(Path(self.student_path), config, model)
            student, layer_map = context.task.load_pretrained(Path(self.student_path), config), None
        else:
            student, layer_map = self._cut_student(model, context)
        if self.activation is not None:
            change_activation(student, self.activation)
        return imitate(student, context, self.imitation, epochs=self.epochs, title="distillation", layer_map=layer_map)

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError where the settings do not fit a model of this shape, or leave the depth open."""
        if self.layers == "auto" and self.target_speedup is None:
            raise InputError(
                "stages.distill.layers is auto, which needs objective.speedup. Set it, or say how many layers."
            )
        if self.student_path is not None:
            config = _student_config(Path(self.student_path), model)
            _check_vocabulary(Path(self.student_path), config, model)
        else:
            if self.layers != "auto":
                self._chosen(model)
            if self.hidden_size is not None:
                _check_hidden_size(self.hidden_size, model)

    def check_latency(self, model: PreTrainedModel, latency: Callable[[Any], LatencyTable]) -> None:
        """Raise InputError where the objective leaves no time for any student."""
        if self.layers == "auto":
            self._budget(latency(widest_sizes(model, activation=self.activation)))

    def foresee(self, model: PreTrainedModel) -> PreTrainedModel:
        """The student before it has learned. Where the depth is `auto`, with as many layers as the model has."""
        if self.student_path is not None:
            student = plain_form(model, _student_config(Path(self.student_path), model))
        else:
            every = range(len(layers_of(model)))
            student = self._student(model, every if self.layers == "auto" else self._chosen(model))
        if self.activation is not None:
            change_activation(student, self.activation)
        return student

    def _cut_student(self, model: PreTrainedModel, context: Context) -> tuple[PreTrainedModel, list[int]]:
        available = len(layers_of(model))
        chosen = self._chosen(model) if self.layers != "auto" else self._affordable(model, context)
        student = self._student(model, chosen)
        return student, inherited(chosen, available, len(layers_of(context.teacher)))

    def _student(self, model: PreTrainedModel, chosen: Sequence[int]) -> PreTrainedModel:
        student = copy.deepcopy(model)
        keep_layers(student, chosen)
        if self.hidden_size is not None:
            _check_hidden_size(self.hidden_size, model)
            student = narrow(student, self.hidden_size)
        return student

    def _affordable(self, model: PreTrainedModel, context: Context) -> list[int]:
        """Layers evenly spread, as many as the objective leaves time for. Raises InputError, before any training, where
        it leaves none for anything."""
        sizes = widest_sizes(model, activation=self.activation)
        table, available = context.latency(sizes), len(layers_of(model))
        budget = self._budget(table)
        narrow = max(1, round(sizes.heads * self.narrowest)), max(1, round(sizes.neurons * self.narrowest))
        count = max((n for n in range(1, available + 1) if table.predict([narrow] * n) <= budget), default=1)
        context.note(
            f"{count} of {available} layers: at {narrow[0]} heads and {narrow[1]} neurons they would take "
            f"{table.predict([narrow] * count):.3f} ms of {budget:.3f}"
        )
        return _evenly(model, count)

    def _budget(self, table: LatencyTable) -> float:
        """Milliseconds. Raises InputError where they are too few for anything."""
        assert self.target_speedup is not None
        budget, least = table.teacher / self.target_speedup, table.predict([(1, 1)])
        if budget < least:
            raise InputError(
                f"stages.distill.target_speedup is {self.target_speedup}, a budget of {budget:.3f} ms here; the "
                f"embeddings, the head and one layer of one head and one neuron would take {least:.3f} ms, "
                f"{table.teacher / least:.1f} times the teacher's speed. Ask for less than that."
            )
        return budget

    @property
    def uses_latency(self) -> bool:
        """Whether the latency table decides anything."""
        return self.layers == "auto"

    def check_processor(self, task: Task, processor: Any) -> None:
        """Raise InputError where a student's folder has a tokenizer that numbers its tokens otherwise: as many tokens
        in another order would give every word the embedding of another."""
        if self.student_path is None or not (Path(self.student_path) / "tokenizer.json").is_file():
            return
        own = task.load_processor(Path(self.student_path)).get_vocab()
        other = [token for token, number in processor.get_vocab().items() if own.get(token) != number]
        if other:
            raise InputError(
                f"student.path is {self.student_path}, whose tokenizer gives {len(other)} tokens other numbers than "
                f"the teacher's, such as {other[0]!r}; both must read the same tokens. Use a student with the "
                "teacher's tokenizer."
            )

    @property
    def unread(self) -> frozenset[str]:
        """What only decides the depth, where that is given."""
        return frozenset() if self.uses_latency else frozenset({"target_speedup", "narrowest"})

    def _chosen(self, model: PreTrainedModel) -> list[int]:
        assert not isinstance(self.layers, str)
        available = len(layers_of(model))
        if isinstance(self.layers, int):
            if self.layers > available:
                raise InputError(
                    f"stages.distill.layers is {self.layers}; the model has {available}. Use {available} or fewer."
                )
            return _evenly(model, self.layers)
        if self.layers[-1] >= available or self.layers[0] < 0:
            raise InputError(
                f"stages.distill.layers is {list(self.layers)}; the model's layers are 0 to {available - 1}."
            )
        require_first_layer(model, self.layers, "stages.distill.layers")
        return list(self.layers)


def _evenly(model: PreTrainedModel, count: int) -> list[int]:
    """The numbers, from 0, of so many of a model's layers: evenly spread, with the first where that must stay."""
    chosen = spread if family_of(model.config).first_layer is None else spread_from_first
    return [number - 1 for number in chosen(count, len(layers_of(model)))]


def _student_config(folder: Path, teacher: PreTrainedModel) -> PretrainedConfig:
    """The configuration of a student's folder, with the teacher's labels. Raises InputError where it cannot be one."""
    check_checkpoint(folder, "student.path")
    try:
        config = read_config(folder)
    except UnknownFamilyError as error:
        raise UnknownFamilyError(error.model_type, "student.path") from None
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
    if family_of(model.config).words is not None and config.vocab_size != model.config.vocab_size:
        raise InputError(
            f"student.path is {folder}, whose vocabulary has {config.vocab_size} entries and the teacher's here "
            f"{model.config.vocab_size}; both must read the same tokens. Use a student with the teacher's tokenizer, "
            "and trim the vocabulary after distilling."
        )


def _ascending(layers: Sequence[object]) -> bool:
    numbers = [layer for layer in layers if isinstance(layer, int) and not isinstance(layer, bool)]
    return len(numbers) == len(layers) and numbers == sorted(set(numbers))


def _check_hidden_size(wanted: int, model: PreTrainedModel) -> None:
    require_changeable_width(model, "stages.distill.hidden_size")
    now, head = hidden_size(model), head_size(model)
    if wanted > now or wanted % head:
        raise InputError(
            f"stages.distill.hidden_size is {wanted}; it must be a multiple of the head size {head} and at most "
            f"{now}. Use {max(head, now // 2 // head * head)}, for example."
        )
