"""One label per text, or per pair of texts. The metric is accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.task import Counts
from compress.tasks.labels import (
    NO_LABEL,
    counts_of_labels,
    label_figures,
    label_numbers,
    labelled,
    labelled_loss,
    with_labels,
)
from compress.tasks.metrics.accuracy import Accuracy
from compress.tasks.text import column_of
from compress.tasks.text_task import TextTask, groups_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from compress.core.runtime import Runtime

USAGE = """\
import json, numpy, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN
text = tokenizer.encode("Put the text to classify here.")
logits = RUN
print(json.load(open("config.json"))["id2label"][str(numpy.argmax(logits))])
"""


@dataclass(frozen=True, kw_only=True)
class TextClassification(TextTask):
    """text: the column, or two columns for pairs. label: the column. max_length: longest input, in tokens."""

    label: str

    name: ClassVar[str] = "text_classification"
    pipeline_tag: ClassVar[str] = "text-classification"

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one label per distinct label of `examples`, in alphabetical order."""
        return with_labels(config, column_of(examples, self.label, "data.label", "train"), self.label)

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns `input_ids`, `attention_mask`, `labels`, `length`, `group`. Raises InputError for empty texts,
        unknown labels and single-class data. Padding is left to `collate`."""
        texts = self._texts(examples, split)
        labels = label_numbers(column_of(examples, self.label, "data.label", split), config, self.label, split)
        return self._encoded(texts, labels, groups_of(examples), processor, config)

    def no_label(self, config: Any) -> int:
        """`NO_LABEL`."""
        return NO_LABEL

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """The inputs, padded, int64 (rows, length), and labels (rows,)."""
        import torch

        labels = torch.tensor([row["labels"] for row in rows], dtype=torch.long)
        return {**self._inputs(rows, processor), "labels": labels}

    def label_loss(self, output: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean cross-entropy of the rows that have a label, 0 where none has."""
        return labelled_loss(output, batch)

    def labelled(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """How many rows have a label."""
        return labelled(batch)

    def metric(self, config: Any) -> Accuracy:
        """Accuracy."""
        return Accuracy()

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """1 where the largest logit is the label's, else 0; and 1. outputs: (labels,) each."""
        right = [int(np.argmax(logits)) == row["labels"] for logits, row in zip(outputs, rows, strict=True)]
        return np.stack([np.array(right, dtype=float), np.ones(len(right))], axis=1)

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Macro F1 and Matthews' correlation."""
        return label_figures(np.stack(outputs), [row["labels"] for row in rows])

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """For each label the examples that have it, or are answered with it."""
        answers = [int(np.argmax(logits)) for logits in outputs]
        return counts_of_labels([row["labels"] for row in rows], answers, config)

    def classes(self, rows: Dataset) -> list[int]:
        """The label of each row."""
        return list(rows["labels"])

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """The label's name."""
        return [str(config.id2label[label]) for label in rows["labels"]]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        return self._filled(USAGE, runtime, config)
