"""What tasks share whose model gives one output for each text, or pair of texts: all but labels and what they cost."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.checks import require_integer
from compress.core.errors import InputError
from compress.core.signature import BATCH, SEQUENCE, TYPES, Port, Signature
from compress.core.task import TaskDefaults
from compress.tasks.beginnings import beginnings
from compress.tasks.heads import load_with_head, load_with_new_head
from compress.tasks.splicing import splice
from compress.tasks.text import (
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

# What a tokenizer of the library `tokenizers` calls each input.
READ = {"input_ids": "ids", "attention_mask": "attention_mask", TYPES: "type_ids"}

SIGNATURE = Signature(
    inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in READ if name != TYPES),
    output=Port("logits", (BATCH, "labels"), "float32"),
    mask="attention_mask",
)
# Of models that tell the two texts of a pair apart by an embedding for each.
SIGNATURE_WITH_TYPES = replace(SIGNATURE, inputs=(*SIGNATURE.inputs, Port(TYPES, (BATCH, SEQUENCE), "int64")))


@dataclass(frozen=True, kw_only=True)
class TextTask(TaskDefaults, ABC):
    """text: the column, or two columns for pairs. max_length: longest input, in tokens."""

    text: str | Sequence[str]
    max_length: int

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

    def signature(self, config: Any) -> Signature:
        """Token numbers and which of them are no padding, and of pairs, where the model has embeddings for it, which of
        the two texts each token is of; (rows, labels)."""
        from compress.nn.family import tells_pairs_apart

        return SIGNATURE_WITH_TYPES if len(self.text_columns) == 2 and tells_pairs_apart(config) else SIGNATURE

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The columns of `encode`, with `no_label` for labels. Where a single column is there and a single one is read,
        that is the text, whatever its name. Raises InputError for empty texts."""
        labels = [self.no_label(config)] * len(examples)
        return self._encoded(self._texts(examples, "unlabelled"), labels, list(range(len(examples))), processor, config)

    @abstractmethod
    def no_label(self, config: Any) -> Any:
        """What marks in `labels` that an example has none."""

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """Of each text the beginning of one example's and the end of another's."""
        from datasets import Dataset as DatasetType

        others = [texts for part in apart_from for texts in self._rows(part)]
        made = splice(self._rows(examples), count, seed, apart_from=others)
        return DatasetType.from_dict({name: [row[i] for row in made] for i, name in enumerate(self.text_columns)})

    def _texts(self, examples: Dataset, split: str) -> list[list[str]]:
        columns = self.text_columns
        if split == "unlabelled" and len(columns) == len(examples.column_names) == 1:
            columns = tuple(examples.column_names)
        return [texts_of(examples, column, split) for column in columns]

    def _rows(self, examples: Dataset) -> list[tuple[str, ...]]:
        return list(zip(*(examples[column][:] for column in self.text_columns), strict=True))

    def _encoded(
        self, texts: Sequence[list[str]], labels: list[Any], groups: list[int], processor: Any, config: Any
    ) -> Dataset:
        from datasets import Dataset as DatasetType

        require_fitting_length(self.max_length, config)
        require_findable_padding(processor, config)
        read = self.signature(config).names
        encoded = processor(
            *beginnings(texts, processor, self.max_length),
            truncation=True,
            max_length=self.max_length,
            padding=False,
            return_token_type_ids=TYPES in read,
        )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        require_known_tokens(encoded["input_ids"], config)
        columns = {name: encoded[name] for name in read}
        return DatasetType.from_dict({**columns, "labels": labels, "length": lengths, "group": groups})

    def vocabulary(self, processor: Any) -> TokenizerVocabulary:
        """The tokenizer's tokens. Raises InputError where they cannot be taken apart safely."""
        return TokenizerVocabulary(processor)

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        return list(rows["input_ids"])

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each text, encoded by two tokenizers, whether they read the same tokens, whatever their numbers."""
        return same_tokens(rows, processor, others, other_processor)

    def _inputs(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        fills = {"input_ids": int(processor.pad_token_id), "attention_mask": 0, TYPES: 0}
        return padded(rows, {name: fill for name, fill in fills.items() if name in rows[0]})

    def _filled(self, usage: str, runtime: Runtime, config: Any) -> str:
        """Lines of Python in which PACKAGE, OPEN and RUN stand for what the runtime says, and `text` for tokens."""
        package, opening, run = runtime.snippet
        inputs = ", ".join(f'"{name}": [text.{READ[name]}]' for name in self.signature(config).names)
        told = usage.replace("PACKAGE", package).replace("OPEN", opening)
        told = told.replace("RUN", run.replace("INPUTS", f"{{{inputs}}}"))
        if len(self.text_columns) == 2:
            return told.replace('encode("Put the text', 'encode("Put the first text here.", "Put the second text')
        return told


def groups_of(examples: Dataset) -> list[int]:
    """The group of each example; each its own where nothing says which belong together."""
    return list(examples["group"]) if "group" in examples.column_names else list(range(len(examples)))
