"""The parts a recipe is made of, as protocols: what each must offer, nothing about how."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.context import Context, LayerImportance, Splits, TeacherContext

Batch = Mapping[str, Any]


class Data(Protocol):
    """Where examples come from.

    `files() -> list[Path] | None`, where there is one, names every file that it reads: jobs of one process then share
    what was read, as long as none of them has changed. None: it reads more than files.
    """

    def load(self) -> Splits:
        """Read the examples. Raises InputError where they cannot be used."""
        ...


class Vocabulary(Protocol):
    """The tokens that a processor knows, by their numbers from 0."""

    @property
    def size(self) -> int:
        """One more than the largest number."""
        ...

    def required(self, *, characters: bool) -> frozenset[int]:
        """Tokens that must stay. With `characters` also those that spell every text that can be spelled now."""
        ...

    def with_parts(self, kept: Collection[int]) -> frozenset[int]:
        """`kept`, and every token that is gone through on the way to one of them."""
        ...

    def keep(self, kept: Sequence[int]) -> Any:
        """A processor that knows these tokens only (numbers, ascending), numbered by their place in `kept`."""
        ...


class Task(Protocol):
    """What the model is for. Nothing outside a task's file may assume text, one label per example, or accuracy.

    reads_first_token: whether the model's head reads the last layer's output at the first token and nowhere else.
    """

    name: ClassVar[str]
    pipeline_tag: ClassVar[str]
    metric: ClassVar[str]
    score_range: ClassVar[float]
    inputs: ClassVar[tuple[str, ...]]
    reads_first_token: ClassVar[bool]

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The model of `folder`, in FP32 and evaluation mode, through the library's own loader."""
        ...

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """A pretrained encoder with a fresh head for `config`."""
        ...

    def load_processor(self, folder: Path) -> Any:
        """What turns raw examples into inputs. Raises InputError where there is none."""
        ...

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write it so that a stock library reads it, with this task's settings in it."""
        ...

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` changed to answer what `examples` ask, for a model that is to be fine-tuned from scratch heads."""
        ...

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Model inputs and labels, a row each, with columns `length` and `group`."""
        ...

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns for examples without labels, in which `labels` marks that there is none."""
        ...

    def vocabulary(self, processor: Any) -> Vocabulary:
        """The processor's tokens. Raises InputError where it has none that could be taken apart."""
        ...

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        ...

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each example, encoded by two processors, whether they read the same tokens, whatever their numbers."""
        ...

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """One padded batch of encoded rows, with the column `labels`."""
        ...

    def logits(self, outputs: Any) -> torch.Tensor:
        """What a student imitates and what a runtime returns."""
        ...

    def logit_mask(self, batch: Batch) -> torch.Tensor | None:
        """Which positions of the logits count, or None for all."""
        ...

    def hidden_mask(self, batch: Batch) -> torch.Tensor | None:
        """Which positions of the hidden states count, or None for all."""
        ...

    def label_loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss against the hard labels, a mean. Rows without a label do not count; 0 where no row has one."""
        ...

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many labels `label_loss` is a mean over."""
        ...

    def score(self, logits: np.ndarray, row: Mapping[str, Any]) -> float:
        """The score of one example from its logits: its share of the metric."""
        ...

    def figures(self, logits: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Further figures about all examples together, by name. The gate does not look at them."""
        ...

    def kinds(self, rows: Dataset, config: Any) -> Sequence[str]:
        """For each encoded row, the name of the kind of answer it should get: scores are also looked at by kind."""
        ...

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """For each input, the axes whose size may change, by name."""
        ...

    def usage(self, runtime: Runtime) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
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


class Session(Protocol):
    """An opened model on a runtime."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The logits of one batch."""
        ...


class Runtime(Protocol):
    """What runs the model for the user.

    libraries: the packages whose versions its results depend on. refuses: what a stage may not leave behind for it,
    in the words of `Stage.leaves`, with the reason. attention_operator: whether it is fastest with ONNX's operator for
    attention in its exports.
    """

    name: ClassVar[str]
    needs_export: ClassVar[bool]
    attention_operator: ClassVar[bool]
    libraries: ClassVar[tuple[str, ...]]
    refuses: ClassVar[Mapping[str, str]]

    @property
    def threads(self) -> int:
        """How many threads one inference uses."""
        ...

    @property
    def label(self) -> str:
        """Its name as its makers write it, with the precision of float arithmetic where that is not always FP32. Two
        runtimes of one label, and of the same versions, compute the same."""
        ...

    @property
    def rounds(self) -> bool:
        """Whether it computes float arithmetic in less than FP32."""
        ...

    @property
    def snippet(self) -> tuple[str, str, str]:
        """Python for `Task.usage`: the package to import, a line that opens an export as it was measured, and an
        expression for the logits of INPUTS, a dictionary of lists."""
        ...

    def open(self, folder: Path) -> Session:
        """Open an artifact's folder (its export, where `needs_export`)."""
        ...


class Teacher(Protocol):
    """Where the teacher comes from. `learns`: whether making it takes the training split. It may have `files()`, as
    `Data` may."""

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
