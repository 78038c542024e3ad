"""The parts a recipe is made of, as protocols: what each must offer, nothing about how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.context import Context, LayerImportance, Splits, TeacherContext
    from compress.core.task import Task


class Data(Protocol):
    """Where examples come from.

    `files() -> list[Path] | None`, where there is one, names every file that it reads: jobs of one process then share
    what was read, as long as none of them has changed. None: it reads more than files. `check_files()`, where there
    is one, raises InputError for one that is not there: a sweep asks all jobs' before the first starts.
    """

    def load(self) -> Splits:
        """Read the examples. Raises InputError where they cannot be used."""
        ...


class Importance(Protocol):
    """A criterion of what matters. compares_layers: whether a head of one layer may be compared with a head of
    another (and a neuron with a neuron) as they are; else each layer's values are taken relative to their mean."""

    compares_layers: ClassVar[bool]

    def of(self, model: PreTrainedModel, context: Context) -> list[LayerImportance]:
        """The importance of every head and neuron of each layer, in order. `model` is left as it is."""
        ...


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


class Stage(Protocol):
    """Frozen settings and one verb. It never saves, measures or judges.

    leaves: what it leaves in the model that later stages must respect. refuses: what it cannot be applied to, with
    the reason. Both are words such as `int8`, `low_rank`, `sparse`. A stage that reads `context.latency` says so by
    `uses_latency`, True as a class or an instance attribute: what it makes then depends on the machine. One that does
    not read some of its settings, as others are set, names them in `unread`, a set of names: they do not count in the
    key of what it makes. One that knows milder settings of its own offers `relax(setback: Setback) -> Milder | None`,
    which a run asks where it missed its limits; one that changes several modules in ways that cancel out says which by
    `together(model) -> Sequence[Collection[str]]`, groups of paths: only with each other can they be put back to what
    they were.

    Where it has them, these are called before any stage works, and raise InputError: `check(model)` with a model of the
    shape it will be given, and `check_latency(model, latency)` with the latency table too, once there is a teacher.
    `foresee(model)`, where there is one, gives the shape that the stages after it will be given.
    """

    @property
    def leaves(self) -> frozenset[str]:
        """Words for what it leaves, with its settings as they are."""
        ...

    @property
    def refuses(self) -> Mapping[str, str]:
        """Words for what it cannot be applied to, with its settings as they are, each with the reason."""
        ...

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """A smaller model. `model` may be changed; the result is what counts."""
        ...


class Teacher(Protocol):
    """Where the teacher comes from. `learns`: whether making it takes the training split. It may have `files()`
    and `check_files()`, as `Data` may."""

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
