"""Any number of classes for a text, or for a pair of texts, each judged by itself. The metric is micro F1."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import is_missing, nearest
from compress.core.errors import ExampleError, InputError, TooLittleError
from compress.tasks.labels import NO_LABEL
from compress.tasks.metrics.micro_f1 import MicroF1
from compress.tasks.metrics.sums import divided, f1
from compress.tasks.text import column_of
from compress.tasks.text_task import TextTask, groups_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from compress.core.runtime import Runtime
    from compress.core.task import Batch, Counts

USAGE = """\
import json, PACKAGE, tokenizers
tokenizer, names = tokenizers.Tokenizer.from_file("tokenizer.json"), json.load(open("config.json"))["id2label"]
OPEN
text = tokenizer.encode("Put the text to classify here.")
logits = RUN
print([names[str(number)] for number, logit in enumerate(logits[0]) if logit > LIMIT])
"""


@dataclass(frozen=True, kw_only=True)
class MultiLabelClassification(TextTask):
    """text: the column, or two columns for pairs. label: a column of lists of classes (in .csv, of classes with
    `separator` between); or a list of columns, one for each class, that hold 1 where an example has it, else 0.
    max_length: longest input, in tokens.

    threshold: a class is named where the sigmoid of its logit is above; one for all, or a list of one for each class,
    in the order of the model's labels.
    """

    label: str | Sequence[str]
    separator: str
    threshold: float | Sequence[float]

    name: ClassVar[str] = "multi_label_classification"
    pipeline_tag: ClassVar[str] = "text-classification"
    judging: ClassVar[frozenset[str]] = frozenset({"threshold"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.label or not all(isinstance(name, str) and name for name in self._label_columns):
            raise InputError(
                f"data.label is {self.label!r}; it names a column of lists of classes, or a list of columns, one for "
                "each class: data.label=[toxic,insult]."
            )
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(f"task.separator is {self.separator!r}; it must be text that is not empty. Use ';'.")
        for value in self._thresholds:
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
                raise InputError(f"task.threshold is {self.threshold}; it must lie between 0 and 1. Use 0.5.")

    @property
    def _label_columns(self) -> tuple[str, ...]:
        return (self.label,) if isinstance(self.label, str) else tuple(self.label)

    @property
    def _thresholds(self) -> tuple[Any, ...]:
        return tuple(self.threshold) if isinstance(self.threshold, list | tuple) else (self.threshold,)

    @property
    def _limits(self) -> np.ndarray:
        """The logits above which classes are named, (1,) or (classes,)."""
        return np.array([math.log(value / (1 - value)) for value in self._thresholds])

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one label per class of `examples`, in alphabetical order."""
        names = sorted({name for row in self._written(examples, "train") for name in row})
        if isinstance(self.label, list | tuple):
            names = sorted(self.label)
        if len(names) < 2:
            raise InputError(
                f"{self._place}data.train has {len(names)} classes; two are needed. Use -cn text_classification for "
                "whether an example is of a single class."
            )
        config = copy.deepcopy(config)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
        config.problem_type = "multi_label_classification"
        return config

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns of the inputs, `labels` (1 or 0 for each of the model's), `length`, `group`. Raises InputError for
        empty texts, unknown classes, and where all examples have the same."""
        names = [str(config.id2label[number]).strip() for number in range(len(config.id2label))]
        if len(self._limits) not in (1, len(names)):
            raise InputError(
                f"task.threshold has {len(self._limits)} numbers and the model {len(names)} labels ({', '.join(names)})"
                ". Give one number for all, or one for each label in this order."
            )
        labels = self._numbers(self._written(examples, split), names, split)
        if len(set(map(tuple, labels))) < 2:
            raise TooLittleError(
                f"{self._place}all examples of data.{split} have the same classes, so nothing can be compared. Give "
                "others as well."
            )
        return self._encoded(self._texts(examples, split), labels, groups_of(examples), processor, config)

    def no_label(self, config: Any) -> list[int]:
        """`NO_LABEL` for each of the model's."""
        return [NO_LABEL] * len(config.id2label)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """The inputs, padded, int64 (rows, length), and labels (rows, classes), float32."""
        import torch

        labels = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
        return {**self._inputs(rows, processor), "labels": labels}

    def label_loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Binary cross-entropy, summed over the classes: its mean over the rows that have labels, 0 where none has."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        known = batch["labels"][:, 0] != NO_LABEL
        wanted = torch.where(known[:, None], batch["labels"], 0.0)
        each = binary_cross_entropy_with_logits(output.float(), wanted, reduction="none").sum(dim=1)
        return (each * known).sum() / known.sum().clamp(min=1)

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many rows have labels."""
        return (batch["labels"][:, 0] != NO_LABEL).sum()

    def imitation_loss(
        self, output: torch.Tensor, target: torch.Tensor, batch: Mapping[str, Any] | None = None
    ) -> torch.Tensor:
        """KL(teacher || student) of each class's being there or not, by sigmoids, summed over the classes; mean over
        the rows. output, target: (rows, classes)."""
        from torch.nn.functional import logsigmoid

        found, expected = output.float(), target.float()
        there = expected.sigmoid()
        divergence = there * (logsigmoid(expected) - logsigmoid(found))
        divergence = divergence + (1 - there) * (logsigmoid(-expected) - logsigmoid(-found))
        return divergence.sum(dim=1).mean()

    def metric(self, config: Any) -> MicroF1:
        """Micro F1."""
        return MicroF1()

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """How many of an example's classes are found, how many are named, and how many it has. outputs: (classes,)."""
        actual, named = self._tables(outputs, rows)
        return np.stack([(actual & named).sum(axis=1), named.sum(axis=1), actual.sum(axis=1)], axis=1).astype(float)

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Macro F1, of the classes that are there or are named; and the share of examples of which every class is
        right."""
        actual, named = self._tables(outputs, rows)
        of_classes = f1((actual & named).sum(axis=0), named.sum(axis=0), actual.sum(axis=0))
        seen = np.array(float((actual | named).any(axis=0).sum()))
        return {
            "f1_macro": float(divided(of_classes.sum(), seen)),
            "all_classes_right": float((actual == named).all(axis=1).mean()),
        }

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """For each class the examples that have it, or of which it is named."""
        actual, named = (table.astype(int) for table in self._tables(outputs, rows))
        return {
            str(config.id2label[number]): [
                (int(row), int(actual[row, number] & named[row, number]), int(named[row, number]), int(of_class[row]))
                for row in np.flatnonzero(of_class | named[:, number])
            ]
            for number, of_class in enumerate(actual.T)
        }

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Those of whom other classes are named."""
        before, after = (np.stack(logits) > self._limits for logits in (outputs, others))
        return int((before != after).any(axis=1).sum())

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """How many classes each has."""
        counts = [sum(labels) for labels in rows["labels"]]
        return ["no class" if not count else "one class" if count == 1 else "several classes" for count in counts]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        limits = [round(float(limit), 6) for limit in self._limits]
        limit = f"{limits[0]:g}" if len(limits) == 1 else f"{limits}[number]"
        return self._filled(USAGE, runtime, config).replace("LIMIT", limit)

    def _tables(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What is there and what is named, boolean, (examples, classes)."""
        return np.array([row["labels"] for row in rows]) == 1, np.stack(outputs) > self._limits

    @property
    def _place(self) -> str:
        shown = self.label if isinstance(self.label, str) else f"[{','.join(self.label)}]"
        return f"data.label={shown}: "

    def _written(self, examples: Dataset, split: str) -> list[list[str]]:
        """The names of each example's classes, as they are written."""
        columns = [column_of(examples, name, "data.label", split) for name in self._label_columns]
        if isinstance(self.label, str):
            return [self._names_in(value, split, row) for row, value in enumerate(columns[0])]
        return [
            [name for name, value in zip(self.label, values, strict=True) if self._is_there(name, value, split, row)]
            for row, values in enumerate(zip(*columns, strict=True))
        ]

    def _names_in(self, value: Any, split: str, row: int) -> list[str]:
        names = value.split(self.separator) if isinstance(value, str) else value
        if not isinstance(names, list | tuple):
            way_out = f"it must be a list, or text with {self.separator!r} between classes; [] for none"
            raise ExampleError(self._place, split, row, f"has {value!r} for its classes; {way_out}.")
        if any(is_missing(name) for name in names) and not (isinstance(value, str) and not value.strip()):
            raise ExampleError(self._place, split, row, f"has a class without a name ({value!r}). Remove or name it.")
        return [str(name).strip() for name in names if not is_missing(name)]

    def _is_there(self, name: str, value: Any, split: str, row: int) -> bool:
        written = str(value).strip().lower().removesuffix(".0")
        if written not in ("0", "1", "true", "false"):
            raise ExampleError(self._place, split, row, f"has {value!r} in the column {name!r}; it must be 1 or 0.")
        return written in ("1", "true")

    def _numbers(self, written: Sequence[Sequence[str]], names: Sequence[str], split: str) -> list[list[int]]:
        """1 or 0 for each of the model's labels. Classes are written as its names, or all as its numbers."""
        every = {name for row in written for name in row}
        numbers = {str(number): number for number in range(len(names))}
        known = {name: number for number, name in enumerate(names)}
        table = numbers if every and every <= numbers.keys() and not every & known.keys() else known
        for row, given in enumerate(written):
            for name in given:
                if name not in table:
                    hint = nearest(name, names) or "Rename it in the data, or in the model's id2label."
                    told = f"has the class {name!r}, which the model does not know (it knows: {', '.join(names)})"
                    raise ExampleError(self._place, split, row, f"{told}. {hint}")
        places = [{table[name] for name in given} for given in written]
        return [[int(number in own) for number in range(len(names))] for own in places]
