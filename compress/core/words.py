"""The parts a recipe is made of, as protocols: what each must offer, nothing about how. For stages see `stage.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.context import Context, LayerImportance, Splits, TeacherContext
    from compress.core.stage import Training
    from compress.core.task import Task


class Data(Protocol):
    """Where examples come from. `load` is its own; the rest has defaults in `SourceDefaults`, which a source of the
    user's own is given where it lacks them."""

    def load(self) -> Splits:
        """Read the examples. Raises InputError where they cannot be used."""
        ...

    def files(self) -> list[Path] | None:
        """Every file that it reads: jobs of one process then share what was read, as long as none of them has changed.
        None where it reads more than files."""
        ...

    def check_files(self) -> None:
        """Raise InputError for a file that is not there: a sweep asks all jobs' before the first starts."""
        ...


class SourceDefaults:
    """What holds for data, and for a teacher, that do not say otherwise: see `Data`, and `Teacher`."""

    __slots__ = ()

    def files(self) -> list[Path] | None:
        """It may read more than files."""
        return None

    def check_files(self) -> None:
        """None that would be missed before it is read."""


@runtime_checkable
class Importance(Protocol):
    """A criterion of what matters. compares_layers: whether a head of one layer may be compared with a head of
    another (and a neuron with a neuron) as they are; else each layer's values are taken relative to their mean."""

    compares_layers: ClassVar[bool]

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """The importance of every head and neuron of each layer, in order. `model` is left as it is."""
        ...


@runtime_checkable
class ComponentImportance(Importance, Protocol):
    """A criterion that also knows, in the same unit, what a product of a lower rank loses."""

    def of_components(
        self, model: PreTrainedModel, context: Context, factors: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        """For the path of each dense product its components' importance, (k,) in float64, on the CPU.

        factors: (up, down) of shapes (out, k) and (k, in), whose product is the weights; component i is up[:, i] times
        down[i]. `model` is left as it is.
        """
        ...


class Teacher(Protocol):
    """Where the teacher comes from. `learns`: whether making it takes the training split. `files`, `check_files`,
    `training` and `doubts` have defaults in `TeacherDefaults`, which a teacher of the user's own is given where it
    lacks them."""

    learns: ClassVar[bool]

    def identity(self) -> Mapping[str, Any]:
        """What the teacher depends on besides data and seed, by content: plain values for its key."""
        ...

    def read(self, task: Task, train: Dataset) -> tuple[Any, Any]:
        """Configuration and processor, before any work. Raises InputError where they cannot be used."""
        ...

    def look(self, task: Task, config: Any) -> PreTrainedModel:
        """A model of the teacher's shape, before any work. Raises InputError where its weights cannot be used."""
        ...

    def make(self, context: TeacherContext) -> PreTrainedModel:
        """The teacher, in FP32, on the CPU, in evaluation mode."""
        ...

    def files(self) -> list[Path] | None:
        """As of `Data`."""
        ...

    def check_files(self) -> None:
        """As of `Data`."""
        ...

    def training(self, examples: int) -> Training | None:
        """As of `Stage`."""
        ...

    def doubts(self) -> list[str]:
        """Sentences about what its files say and nothing here reads."""
        ...


class TeacherDefaults(SourceDefaults):
    """What holds for a teacher that does not say otherwise: see `Teacher`."""

    __slots__ = ()

    def training(self, examples: int) -> Training | None:
        """Nothing is trained."""
        return None

    def doubts(self) -> list[str]:
        """None that it knows of."""
        return []
