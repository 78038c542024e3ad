"""One label per text, or per pair of texts. The metric is accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.errors import InputError
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.core.task import Counts, TaskDefaults
from compress.tasks.beginnings import beginnings
from compress.tasks.heads import load_with_head, load_with_new_head
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
from compress.tasks.splicing import splice
from compress.tasks.text import (
    column_of,
    load_tokenizer,
    padded,
    require_findable_padding,
    require_fitting_length,
    require_known_tokens,
    same_tokens,
    save_tokenizer,
    texts_of,
)
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.runtime import Runtime

INPUTS = '{"input_ids": [text.ids], "attention_mask": [text.attention_mask]}'
USAGE = """\
import json, numpy, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN
text = tokenizer.encode("Put the text to classify here.")
logits = RUN
print(json.load(open("config.json"))["id2label"][str(numpy.argmax(logits))])
"""

SIGNATURE = Signature(
    inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("input_ids", "attention_mask")),
    output=Port("logits", (BATCH, "labels"), "float32"),
    mask="attention_mask",
)


@dataclass(frozen=True, kw_only=True)
class TextClassification(TaskDefaults):
    """text: the column, or two columns for pairs. label: the column. max_length: longest input, in tokens."""

    text: str | Sequence[str]
    label: str
    max_length: int

    name: ClassVar[str] = "text_classification"
    pipeline_tag: ClassVar[str] = "text-classification"

    def __post_init__(self) -> None:
        require_integer("data.max_length", self.max_length, 4, "Use 128, for example.")
        columns = self.text_columns if isinstance(self.text, str | list | tuple) else ()
        if not 1 <= len(columns) <= 2 or not all(isinstance(column, str) and column for column in columns):
            raise InputError(
                f"data.text is {self.text}; it names one column, or two for pairs: data.text=[first,second]."
            )

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that hold text."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The classifier of `folder`. Raises InputError where it has no classification head of its own."""
        from transformers import AutoModelForSequenceClassification

        return load_with_head(AutoModelForSequenceClassification, folder, self.name)

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """A pretrained encoder with a classification head for `config`: its own where the labels are as many."""
        from transformers import AutoModelForSequenceClassification

        return load_with_new_head(AutoModelForSequenceClassification, folder, config)

    def load_processor(self, folder: Path) -> Any:
        """The tokenizer. Raises InputError where there is none, or none that runs without Transformers."""
        return load_tokenizer(folder)

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write the tokenizer so that it truncates at `max_length` and pads nothing by itself."""
        save_tokenizer(processor, folder, max_length=self.max_length)

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one label per distinct label of `examples`, in alphabetical order."""
        return with_labels(config, column_of(examples, self.label, "data.label", "train"), self.label)

    def signature(self, config: Any) -> Signature:
        """Token numbers and which of them are no padding; (rows, labels)."""
        return SIGNATURE

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns `input_ids`, `attention_mask`, `labels`, `length`, `group`. Raises InputError for empty texts,
        unknown labels and single-class data. Padding is left to `collate`."""
        texts = [texts_of(examples, column, split) for column in self.text_columns]
        labels = label_numbers(column_of(examples, self.label, "data.label", split), config, self.label, split)
        groups = examples["group"] if "group" in examples.column_names else range(len(labels))
        return self._encoded(texts, labels, list(groups), processor, config)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns, with `NO_LABEL` for labels. Where there is a single column, that is the text, whatever its
        name. Raises InputError as `encode` does."""
        columns = self.text_columns
        if len(columns) == 1 and len(examples.column_names) == 1:
            columns = tuple(examples.column_names)
        texts = [texts_of(examples, column, "unlabelled") for column in columns]
        return self._encoded(texts, [NO_LABEL] * len(examples), list(range(len(examples))), processor, config)

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """Of each text the beginning of one example's and the end of another's."""
        from datasets import Dataset as DatasetType

        others = [texts for part in apart_from for texts in self._rows(part)]
        made = splice(self._rows(examples), count, seed, apart_from=others)
        return DatasetType.from_dict({name: [row[i] for row in made] for i, name in enumerate(self.text_columns)})

    def _rows(self, examples: Dataset) -> list[tuple[str, ...]]:
        return list(zip(*(examples[column][:] for column in self.text_columns), strict=True))

    def _encoded(
        self, texts: Sequence[list[str]], labels: list[int], groups: list[int], processor: Any, config: Any
    ) -> Dataset:
        from datasets import Dataset as DatasetType

        require_fitting_length(self.max_length, config)
        require_findable_padding(processor, config)
        pairs = len(texts) == 2
        encoded = processor(
            *beginnings(texts, processor, self.max_length),
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_token_type_ids=pairs,
        )
        if pairs and getattr(config, "type_vocab_size", 1) > 1 and any(map(any, encoded["token_type_ids"])):
            raise InputError(
                f"data.text is {list(self.text_columns)}; a {config.model_type} model marks the second text of a pair "
                "by token_type_ids, which are not among the inputs here, so it would be measured wrongly. Pairs work "
                "with RoBERTa, XLM-R and DistilBERT."
            )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        require_known_tokens(encoded["input_ids"], config)
        return DatasetType.from_dict(
            {
                "input_ids": encoded["input_ids"],
                "attention_mask": encoded["attention_mask"],
                "labels": labels,
                "length": lengths,
                "group": groups,
            }
        )

    def vocabulary(self, processor: Any) -> TokenizerVocabulary:
        """The tokenizer's tokens. Raises InputError where they cannot be taken apart safely."""
        return TokenizerVocabulary(processor)

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        return list(rows["input_ids"])

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each text, encoded by two tokenizers, whether they read the same tokens, whatever their numbers."""
        return same_tokens(rows, processor, others, other_processor)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask padded to the longest row, int64 (rows, length), and labels (rows,)."""
        import torch

        return {
            **padded(rows, {"input_ids": int(processor.pad_token_id), "attention_mask": 0}),
            "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.long),
        }

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

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """The label's name."""
        return [str(config.id2label[label]) for label in rows["labels"]]

    def usage(self, runtime: Runtime) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        package, opening, run = runtime.snippet
        told = USAGE.replace("PACKAGE", package).replace("OPEN", opening).replace("RUN", run.replace("INPUTS", INPUTS))
        if len(self.text_columns) == 2:
            return told.replace('encode("Put the text', 'encode("Put the first text here.", "Put the second text')
        return told
