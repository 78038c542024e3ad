"""One tag per word. The metric is entity F1 where tags mark entities, else the share of words that are tagged right."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import nearest, require_choice, require_integer
from compress.core.errors import ExampleError, InputError, TooLittleError
from compress.core.metric import Metric
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.core.task import Counts, TaskDefaults
from compress.tasks.heads import load_with_head, load_with_new_head
from compress.tasks.metrics.entities import Entity, Scheme
from compress.tasks.metrics.entity_f1 import EntityF1, count, count_by_type
from compress.tasks.metrics.token_accuracy import TokenAccuracy
from compress.tasks.splicing import joined_words, splice
from compress.tasks.tagged import Columns, completed, marks, scheme_asked
from compress.tasks.text import (
    load_tokenizer,
    padded,
    require_fitting_length,
    require_known_tokens,
    same_tokens,
    save_tokenizer,
)
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary
from compress.tasks.words import Document, joined, separate_words, windows_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.runtime import Runtime

# Stands for a tag where there is none to learn; PyTorch's losses leave it out by themselves.
NO_LABEL = -100
NO_ENTITY = "no entity"
# The column that holds the teacher's answers where they are the truth.
ANSWERS = "teacher_tags"
ANSWERED = (
    "data.tags is null: the teacher's own answers are taken for the truth, so every score is the agreement with the "
    "teacher"
)
ROWS_AT_ONCE = 32
INPUTS = '{"input_ids": [text.ids], "attention_mask": [text.attention_mask]}'
USAGE = """\
import json, numpy, PACKAGE, tokenizers
words, names = "Put the words to tag here .".split(), json.load(open("config.json"))["id2label"]
OPEN
text = tokenizers.Tokenizer.from_file("tokenizer.json").encode(words, is_pretokenized=True)
tags = dict(reversed([*zip(text.word_ids, numpy.argmax(RUN, axis=-1)[0])]))
print([(word, names[str(tags[number])]) for number, word in enumerate(words)])
"""


@dataclass(frozen=True, kw_only=True)
class TokenClassification(TaskDefaults):
    """words, tags: the columns that hold a list of words and a list of their tags; without tags (None) the teacher's
    answers are taken for them. text, spans: for examples without
    `words`, the columns of a text and of the spans in it, each with start, end and label.

    scheme: bio, bioes or plain, how tags mark entities, or auto: as the model's labels say. max_length: longest input,
    in tokens; longer texts are read in windows, of which two neighbours share `stride` words.
    """

    words: str = field(metadata={"setting": "data.tokens"})
    tags: str | None
    text: str
    spans: str
    scheme: str
    max_length: int
    stride: int

    name: ClassVar[str] = "token_classification"
    pipeline_tag: ClassVar[str] = "token-classification"

    def __post_init__(self) -> None:
        require_integer("data.max_length", self.max_length, 4, "Use 128, for example.")
        require_integer("data.stride", self.stride, 0, "Use 32, for example.")
        if self.tags is not None and (not isinstance(self.tags, str) or not self.tags):
            raise InputError(
                f"data.tags is {self.tags!r}; it must name a column, or be null for the teacher's answers."
            )
        require_choice("data.scheme", self.scheme, ("auto", "bio", "bioes", "plain"))
        if self.stride > self.max_length // 2:
            raise InputError(
                f"data.stride is {self.stride}; it must be at most half of data.max_length ({self.max_length}). "
                f"Use {self.max_length // 4}, for example."
            )

    @property
    def columns(self) -> Columns:
        """Where words and tags are."""
        return Columns(tokens=self.words, tags=self.tags or ANSWERS, text=self.text, spans=self.spans)

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The tagger of `folder`. Raises InputError where it has no token-classification head of its own."""
        from transformers import AutoModelForTokenClassification

        return load_with_head(AutoModelForTokenClassification, folder, self.name)

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """A pretrained encoder with a head for `config`: its own where the labels are as many."""
        from transformers import AutoModelForTokenClassification

        return load_with_new_head(AutoModelForTokenClassification, folder, config)

    def load_processor(self, folder: Path) -> Any:
        """The tokenizer, set up for lists of words. Raises InputError where there is none, or none that runs without
        Transformers."""
        return separate_words(load_tokenizer(folder))

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write the tokenizer so that it truncates at `max_length` and pads nothing by itself."""
        save_tokenizer(processor, folder, max_length=self.max_length)

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one label per distinct tag of `examples`, in alphabetical order; see `completed`."""
        if self.tags is None:
            raise InputError(
                "data.tags is null; a model that is yet to be fine-tuned learns from tags. Name their column, or give "
                "a model that answers already: model=folder."
            )
        spans_as: Scheme = "bioes" if self.scheme == "bioes" else "plain" if self.scheme == "plain" else "bio"
        documents = self.columns.documents(examples, "train")
        tags = [tag for tags in self.columns.tagged(examples, documents, spans_as, "train") for tag in tags]
        names = completed(tags, scheme_asked(self.scheme, sorted(set(tags))))
        if len(set(tags)) < 2:
            raise InputError(f"data.tags={self.tags}: data.train has a single tag ({tags[0]!r}); two are needed.")
        config = copy.deepcopy(config)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: index for index, name in enumerate(names)}
        # What an encoder answered before is not what it learns to answer now.
        config.problem_type = None
        return config

    def signature(self, config: Any) -> Signature:
        """Tokens and their mask, any number of rows of any length; a logit for each token and label."""
        axes = (BATCH, SEQUENCE)
        return Signature(
            inputs=(Port("input_ids", axes, "int64"), Port("attention_mask", axes, "int64")),
            output=Port("logits", (*axes, "labels"), "float32"),
            mask="attention_mask",
        )

    def metric(self, config: Any) -> Metric:
        """Entity F1 for BIO and BIOES labels, token accuracy for others."""
        return TokenAccuracy() if self._scheme(config) == "plain" else EntityF1()

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns `input_ids`, `attention_mask`, `labels`, `words`, `document`, `length`, `group`, a row each window.

        labels: of a word's first piece its tag, else `NO_LABEL`. words: of a word's first piece the word's number in
        its document where this window is the one to judge it, else -1. Raises InputError for what is no tagged text.
        """
        documents = self.columns.documents(examples, split)
        tags = self.columns.tagged(examples, documents, self._scheme(config), split)
        labels = self._labels(tags, config, split)
        groups = examples["group"][:] if "group" in examples.column_names else range(len(labels))
        return self._encoded(documents, labels, groups, processor, config)

    @property
    def asks_teacher(self) -> bool:
        """Where there are no tags, the teacher's are the truth."""
        return self.tags is None

    def about_answers(self, examples: Dataset) -> str:
        """The teacher's answers are the truth."""
        return ANSWERED

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """The examples with the tags that `model` gives. A word of which it sees nothing has its first label."""
        import torch

        from compress.nn.forward import forward

        documents = self.columns.documents(examples, split)
        rows = self._encoded(documents, None, range(len(documents)), processor, config)
        signature = self.signature(config)
        tags = [[str(config.id2label[0])] * len(document.words) for document in documents]
        for start in range(0, len(rows), ROWS_AT_ONCE):
            chosen = [rows[row] for row in range(start, min(start + ROWS_AT_ONCE, len(rows)))]
            batch = self.collate(chosen, processor)
            with torch.inference_mode():
                output = forward(model, signature, batch).output
            for row, answer in zip(chosen, output.argmax(dim=-1).tolist(), strict=True):
                # What follows the row's own pieces is padding.
                for word, label in zip(row["words"], answer, strict=False):
                    if word >= 0:
                        tags[row["document"]][word] = str(config.id2label[label])
        return examples.add_column(ANSWERS, tags)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns, with `NO_LABEL` for labels. Examples have tokens or text. Raises InputError as `encode`."""
        documents = self.columns.documents(examples, "unlabelled")
        return self._encoded(documents, None, range(len(documents)), processor, config)

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """The first words of one example and the last of another."""
        from datasets import Dataset as DatasetType

        def words(part: Dataset) -> list[tuple[tuple[str, ...]]]:
            return [(document.words,) for document in self.columns.documents(part, "train")]

        others = [example for part in apart_from for example in words(part)]
        made = splice(words(examples), count, seed, apart_from=others, join=joined_words)
        return DatasetType.from_dict({self.words: [list(example[0]) for example in made]})

    def vocabulary(self, processor: Any) -> TokenizerVocabulary:
        """The tokenizer's tokens. Raises InputError where they cannot be taken apart safely."""
        return TokenizerVocabulary(processor)

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        return list(rows["input_ids"])

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each window, encoded by two tokenizers, whether they read the same tokens, whatever their numbers.

        Raises InputError where the two cut a document in different places.
        """
        if rows["document"][:] != others["document"][:]:
            raise InputError(
                f"data.max_length is {self.max_length}; a text is longer, and the tokenizer of the teacher cuts it in "
                "other places than the student's. Raise it, cut the texts, or leave prune.vocabulary out."
            )
        return same_tokens(rows, processor, others, other_processor)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """input_ids, attention_mask and labels padded to the longest row, int64 (rows, length)."""
        return padded(rows, {"input_ids": int(processor.pad_token_id), "attention_mask": 0, "labels": NO_LABEL})

    def label_loss(self, output: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean cross-entropy of the words that have a tag, 0 where none has. output: (rows, length, labels)."""
        from torch.nn.functional import cross_entropy

        logits, labels = output.float().flatten(0, 1), batch["labels"].flatten()
        total = cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum")
        return total / self.labelled(batch).clamp(min=1)

    def labelled(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """How many words have a tag."""
        return (batch["labels"] != NO_LABEL).sum()

    def units(self, rows: Dataset) -> list[int]:
        """A document's windows are judged together."""
        return rows["document"][:]

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """(documents, columns of the metric). outputs: of each row (length, labels)."""
        return np.array(
            [
                count(truth, answer) if self._scheme(config) != "plain" else (len(truth & answer), len(truth))
                for truth, answer in self._pairs(outputs, rows, config)
            ],
            dtype=float,
        )

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """For each type of entity, or each tag where tags are plain, how many of a document were found, predicted, and
        there are."""
        pairs = self._pairs(outputs, rows, config)
        return count_by_type([truth for truth, _ in pairs], [answer for _, answer in pairs])

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Precision and recall of entities, and the mean of the F1 of each type, or tag, which sees rare ones."""
        counts = self.by_class(outputs, rows, config).values()
        classes = np.array([np.array(of_class)[:, 1:].sum(axis=0) for of_class in counts]).reshape(-1, 3)
        found, predicted, actual = classes.sum(axis=0)
        macro = {"f1_macro": float(np.mean(2 * classes[:, 0] / classes[:, 1:].sum(axis=1))) if len(classes) else 0.0}
        if self._scheme(config) == "plain":
            return macro
        return {"precision": float(found / max(predicted, 1)), "recall": float(found / max(actual, 1)), **macro}

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """Of each document the types of its entities; where tags are plain, the rarest of its tags."""
        truths = joined(rows["labels"][:], rows)
        marked = [marks([str(config.id2label[label]) for label in truth], self._scheme(config)) for truth in truths]
        often = Counter(kind for found in marked for kind, _, _ in found)
        if self._scheme(config) == "plain":
            rarest = [min(found, key=lambda mark: (often[mark[0]], mark[0]), default=None) for found in marked]
            return [NO_ENTITY if mark is None else mark[0] for mark in rarest]
        return [", ".join(sorted({kind for kind, _, _ in found})) or NO_ENTITY for found in marked]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        package, opening, run = runtime.snippet
        return USAGE.replace("PACKAGE", package).replace("OPEN", opening).replace("RUN", run.replace("INPUTS", INPUTS))

    def _encoded(
        self,
        documents: Sequence[Document],
        labels: Sequence[Sequence[int]] | None,
        groups: Sequence[int],
        processor: Any,
        config: Any,
    ) -> Dataset:
        """labels: of each document, for each word; None where nobody knows them."""
        from datasets import Dataset as DatasetType

        require_fitting_length(self.max_length, config)
        windows = windows_of(documents, processor, max_length=self.max_length, stride=self.stride)
        require_known_tokens([window.ids for window in windows], config)
        return DatasetType.from_dict(
            {
                "input_ids": [list(window.ids) for window in windows],
                "attention_mask": [[1] * len(window.ids) for window in windows],
                "labels": [
                    [NO_LABEL if word < 0 or labels is None else labels[window.document][word] for word in window.words]
                    for window in windows
                ],
                "words": [list(window.judged) for window in windows],
                "document": [window.document for window in windows],
                "length": [len(window.ids) for window in windows],
                "group": [groups[window.document] for window in windows],
            }
        )

    def _scheme(self, config: Any) -> Scheme:
        return scheme_asked(self.scheme, [str(name) for name in config.id2label.values()])

    def _pairs(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> list[tuple[set[Entity], set[Entity]]]:
        """Of each document what its true tags mark and what the model's do."""
        scheme = self._scheme(config)
        columns = [row["labels"] for row in rows], [output.argmax(axis=-1).tolist() for output in outputs]
        truths, answers = (
            [marks([str(config.id2label[label]) for label in labels], scheme) for labels in joined(column, rows)]
            for column in columns
        )
        return list(zip(truths, answers, strict=True))

    def _labels(self, tags: Sequence[Sequence[str]], config: Any, split: str) -> list[list[int]]:
        names = {str(name): int(index) for index, name in config.id2label.items()}
        numbers = {str(index): index for index in names.values()}
        given = {tag for of_example in tags for tag in of_example}
        where = "" if self.tags is None else f"data.tags={self.tags}: "
        if len(given) < 2:
            raise TooLittleError(
                f"{where}data.{split} has a single tag ({next(iter(given))!r}), so nothing can be compared. Give "
                "examples of at least two."
            )
        # Tags that are the model's own numbers are as good as names, as long as none of them is a name.
        table = numbers if given <= numbers.keys() and not given & names.keys() else names
        for row, of_example in enumerate(tags):
            for tag in of_example:
                if tag not in table:
                    rename = "Rename it in the data, or in the model's id2label."
                    hint = " ".join(part for part in (nearest(tag, names), rename) if part)
                    raise ExampleError(
                        where,
                        split,
                        row,
                        f"has the tag {tag!r}, which the model does not know (it knows: {', '.join(names)}). {hint}",
                    )
        return [[table[tag] for tag in of_example] for of_example in tags]
