"""What is handed around: examples as read, what a stage and a teacher may read, what a criterion finds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.fact_table import FactTable
from compress.core.latency_table import LatencyTable

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.task import Task

# The column of a source that knows where it found an example: said in messages, and no part of the content.
FILE = "__file__"


@dataclass(frozen=True)
class Splits:
    """Train, validation and (perhaps) test examples, as read: columns are the source's own. A `group` column, where
    there is one, numbers the group each example belongs to; FILE, where there is one, names its file. `notes` say what
    the source decided by itself.
    `unlabelled`: further examples whose labels nobody knows, for a student to imitate its teacher on.
    `unlabelled_validation`: others, never learned from, that judge beside the validation split. `origins`: for a split
    that was cut from what was read as one, that one's name, and for each example its row there. `read`: for each
    example of a split what stands for the values that the model reads, equal where they are; or nothing. `once`:
    whether of examples that the model reads alike only one is wanted. `groups`: the values, as text, of the column that
    said which examples belong together, of all that is labelled or judges; empty where there was none."""

    train: Dataset
    validation: Dataset
    test: Dataset | None
    notes: tuple[str, ...] = ()
    unlabelled: Dataset | None = None
    unlabelled_validation: Dataset | None = None
    origins: Mapping[str, tuple[str, Sequence[int]]] = field(default_factory=dict)
    read: Mapping[str, Sequence[bytes]] = field(default_factory=dict)
    once: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class TeacherReading:
    """The examples of a context as the teacher reads them, row by row, where its processor is not the model's.

    train, unlabelled, *_fingerprint, spliced, collate: as in Context. aligned: for each row of train, then of
    unlabelled, then of so many that are spliced, whether teacher and model read the same tokens, position by position.
    """

    train: Dataset
    train_fingerprint: str
    unlabelled: Dataset | None
    unlabelled_fingerprint: str
    aligned: Callable[[int], Sequence[bool]]
    spliced: Callable[[int], Dataset]
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]] = field(repr=False)


@dataclass(frozen=True)
class Context:
    """What a stage may read.

    train: encoded examples. unlabelled: more of them without labels, to imitate the teacher on, or None. *_fingerprint:
    what each of the two depends on, by content ("" for none). spliced: gives so many more, encoded, or a few less, made
    up of two training examples each. collate: rows to batch. All as the model's own processor reads them;
    teacher_reading: the same as the teacher does, or None where the two have one processor. use_processor: gives the
    stage's result a processor of its own.

    device: where training happens. work_folder: a folder of the stage's own, kept until it has finished, so that a
    killed stage resumes. cache_folder: what several stages share. latency: the runtime's latency table for layers like
    the one whose fused sizes are given, with `low_rank=True` also of their products as two thin ones; measured at the
    first call on a machine. note: adds a sentence to the stage's line in the ledger. tell: adds a table to it. predict:
    says how many times as fast as the teacher the table expects the model to be, in the end: what is then measured is
    compared with it.
    """

    teacher: PreTrainedModel
    teacher_key: str
    task: Task
    processor: Any
    train: Dataset
    train_fingerprint: str
    device: str
    seed: int
    threads: int
    work_folder: Path
    cache_folder: Path
    note: Callable[[str], None]
    tell: Callable[[FactTable], None]
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]] = field(repr=False)
    spliced: Callable[[int], Dataset] = field(repr=False)
    use_processor: Callable[[Any], None] = field(repr=False)
    latency: Callable[..., LatencyTable] = field(repr=False)
    unlabelled: Dataset | None = None
    unlabelled_fingerprint: str = ""
    teacher_reading: TeacherReading | None = None
    predict: Callable[[float], None] = field(default=lambda speedup: None, repr=False)


@dataclass(frozen=True)
class TeacherContext:
    """What making a teacher may read: see Context."""

    task: Task
    config: Any
    processor: Any
    train: Dataset
    device: str
    seed: int
    work_folder: Path
    collate: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class ProductImportance:
    """How much the singular components of one dense product matter. components: (k,), each >= 0, float64, on the CPU,
    the one with the largest singular value first. hidden: its width on the side of the hidden states. unit: its width
    on the other side, for each head or neuron."""

    components: torch.Tensor
    hidden: int
    unit: int


@dataclass(frozen=True)
class LayerImportance:
    """How much the parts of one layer matter, each >= 0. heads: (heads,). neurons: (neurons,), both float64, on the
    CPU. layer: the layer as a whole, for comparison with other layers. products: by name, those that may become two
    thin ones, in the same unit as heads and neurons."""

    heads: torch.Tensor
    neurons: torch.Tensor
    layer: float
    products: Mapping[str, ProductImportance] = field(default_factory=dict)
