"""What comes next in a text. The metric is the mean log-likelihood of a token, shown as perplexity."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_integer
from compress.core.errors import InputError, TooLittleError
from compress.core.json_file import read_json
from compress.core.signature import BATCH, SEQUENCE, Decoding, Port, Signature
from compress.core.task import TaskDefaults
from compress.tasks.asking import log_probabilities
from compress.tasks.chats import is_chat, passages_of
from compress.tasks.choices import option_rows
from compress.tasks.going_on import IN_TORCH, WITH_STATE
from compress.tasks.heads import load_with_head
from compress.tasks.language_rows import encoded_row, fills, judged_of, of_texts
from compress.tasks.likeliest import likeliest_told, taught, teacher_figures
from compress.tasks.metrics.log_likelihood import LogLikelihood
from compress.tasks.questions import choices_figures, questions_answered, said_of_options, texts_and_questions
from compress.tasks.same_text import as_teacher_cut, reading_told
from compress.tasks.text import (
    column_of,
    load_tokenizer,
    longest_input,
    padded,
    require_fitting_length,
    require_known_tokens,
    same_tokens,
    save_tokenizer,
    texts_of,
)
from compress.tasks.vocabulary.byte_level import ByteLevelVocabulary
from compress.tasks.windows import NOT_JUDGED, Document, Passage, documents_of, windows

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.runtime import Runtime

KNOWN = "the teacher's probabilities of each next token are known too, for figures beside the perplexity"


@dataclass(frozen=True, kw_only=True)
class CausalLanguageModel(TaskDefaults):
    """text: the column. max_length: tokens of a window; each document is cut into such, none of which crosses its end.
    prompt_tokens, new_tokens: of a request, as it is timed."""

    text: str
    max_length: int
    prompt_tokens: int
    new_tokens: int

    name: ClassVar[str] = "causal_lm"
    pipeline_tag: ClassVar[str] = "text-generation"
    decodes: ClassVar[bool] = True
    judging: ClassVar[frozenset[str]] = frozenset({"prompt_tokens", "new_tokens"})

    def __post_init__(self) -> None:
        require_integer("data.max_length", self.max_length, 4, "Use 256, for example.")
        require_integer("workload.prompt_tokens", self.prompt_tokens, 1, "Use 128, for example.")
        require_integer("workload.new_tokens", self.new_tokens, 2, "Use 64, for example.")
        if self.prompt_tokens > self.max_length:
            raise InputError(
                f"workload.prompt_tokens is {self.prompt_tokens}, and data.max_length is {self.max_length}; a prompt "
                "is the beginning of a window of the data. Use a longer window or a shorter prompt."
            )
        if not isinstance(self.text, str) or not self.text:
            raise InputError(f"data.text is {self.text!r}; it names one column. Use data.text=COLUMN.")

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The language model of `folder`. Raises InputError where it has no head that says what comes next."""
        from transformers import AutoModelForCausalLM

        return load_with_head(AutoModelForCausalLM, folder, self.name)

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """Raises InputError: nothing is trained from labels here."""
        raise InputError(
            "model=fine_tuned trains a new head, and a language model has one already. Give its folder: model=folder."
        )

    def load_processor(self, folder: Path) -> Any:
        """The tokenizer; its `model_max_length` is the model's context. Raises InputError where there is none, or none
        that knows how a text ends."""
        tokenizer = load_tokenizer(folder, pads=False)
        if tokenizer.eos_token_id is None:
            raise InputError(
                f"model.path is {folder}, whose tokenizer has no end token, so nothing generated would end. Set "
                "tokenizer.eos_token to one of its own tokens and save it again."
            )
        context = int(
            read_json(folder / "config.json", way_out="Save the model again.").get("max_position_embeddings", 0)
        )
        if context:
            tokenizer.model_max_length = min(int(tokenizer.model_max_length), context)
        return tokenizer

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write the tokenizer so that it truncates where the model's context ends, and its chat template with it."""
        save_tokenizer(processor, folder, max_length=processor.model_max_length)

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """A copy: examples say nothing of the model's shape."""
        return copy.deepcopy(config)

    def signature(self, config: Any) -> Signature:
        """Token numbers and which of them are no padding; logits of all tokens at every position, of which only those
        are kept that are asked for; keys and values go from call to call."""
        return Signature(
            inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("input_ids", "attention_mask")),
            output=Port("logits", (BATCH, SEQUENCE, "vocabulary"), "float32"),
            mask="attention_mask",
            asked="asked",
            decoding=Decoding(
                state="past_key_values",
                present="present",
                prompt_tokens=self.prompt_tokens,
                new_tokens=self.new_tokens,
            ),
        )

    @property
    def asks_teacher(self) -> bool:
        """Always: its probabilities stand beside the truth."""
        return True

    def about_answers(self, examples: Dataset) -> str:
        """The teacher's probabilities stand beside the truth."""
        return KNOWN

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """The documents that judge, with the tokens that `model` finds likeliest after each of theirs, window by
        window, and their log-probabilities; questions with the log-likelihood that it gives each option; those of
        `train` as they are."""
        if split == "train":
            return examples
        texts, questions = texts_and_questions(examples)
        documents = self._documents(texts, processor, config, split)
        rows = windows(documents, self.max_length)
        signature = self.signature(config)
        told = log_probabilities(rows, model, processor, signature, f"teacher's probabilities, {split}")
        found = likeliest_told(reading_told(examples, documents, rows, processor), rows, told, processor)
        if not questions:
            return found
        options = option_rows(questions, processor, longest_input(config))
        said = log_probabilities(options, model, processor, signature, "teacher's answers, data.choices")
        return questions_answered(found, len(texts), options, said)

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """A row for each window: columns `input_ids`, `attention_mask`, `length`, `group`, `document` and `question`,
        and `labels`, a structure: the `next` token of each (NOT_JUDGED at the end), how many of the teacher's tokens
        are `counted` in it, the `bytes` of text that those are, and where the teacher was asked its likeliest `tokens`
        and their `log_probabilities`, position after position.
        Then a row for each option of each question: see `option_rows`. `labels` say whether it is `right`, how many
        `characters` it has, and the `likelihood` that the teacher gives it, in a list. `question` is -1 of windows.

        Raises InputError for empty texts, and TooLittleError where no document has two tokens."""
        from datasets import Dataset as DatasetType

        texts, questions = texts_and_questions(examples)
        documents = self._documents(texts, processor, config, split)
        rows = windows(documents, self.max_length)
        rows = as_teacher_cut(examples, documents, rows, processor, self.max_length, longest_input(config))
        require_known_tokens([row["input_ids"] for row in rows], config)
        if not rows:
            raise TooLittleError(
                f"data.text={self.text}: no text of data.{split} has two tokens, so nothing comes next. Give "
                "longer ones."
            )
        groups = examples["group"] if "group" in examples.column_names else range(len(examples))
        found = [
            encoded_row(row, groups[row["document"]], told)
            for row, told in zip(rows, taught(examples, rows, processor), strict=True)
        ]
        options = option_rows(questions, processor, longest_input(config)) if questions else []
        for row, likelihood in zip(options, said_of_options(examples, options), strict=True):
            document = len(texts) + row["question"]
            told = {"right": row["right"], "characters": row["characters"], "likelihood": likelihood}
            found.append(encoded_row({**row, "counted": 0, "bytes": 0, "document": document}, groups[document], told))
        return DatasetType.from_list(found)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same: what comes next is in the text itself."""
        return self.encode(examples, processor, config, "unlabelled")

    def _documents(self, texts: Dataset, processor: Any, config: Any, split: str) -> list[Document]:
        """All documents as tokens. Of a chat what the assistant says counts, of a text all."""
        require_fitting_length(self.max_length, config)
        values = column_of(texts, self.text, "data.text", split)
        if values and is_chat(values[0]):
            passages = passages_of(values, processor, self.text, split)
        else:
            passages = [Passage(text) for text in texts_of(texts, self.text, split)]
        return documents_of(passages, processor)

    def vocabulary(self, processor: Any) -> ByteLevelVocabulary:
        """The tokenizer's tokens. Raises InputError where it is no byte-level BPE."""
        return ByteLevelVocabulary(processor)

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        return list(rows["input_ids"])

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each window, encoded by two tokenizers, whether they read the same tokens, whatever their numbers."""
        return same_tokens(rows, processor, others, other_processor)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask padded to the longest row, int64 (rows, length); labels, the next tokens or
        NOT_JUDGED, (rows, length); and asked, (rows, length, k): the next token and the teacher's likeliest, where
        known."""
        import torch

        batch = padded(rows, fills(processor))
        width = batch["input_ids"].shape[1]
        labels = torch.full((len(rows), width), NOT_JUDGED)
        most = max(len(row["labels"]["tokens"]) // len(row["input_ids"]) for row in rows)
        asked = torch.zeros((len(rows), width, 1 + most), dtype=torch.long)
        for i, row in enumerate(rows):
            length, told = len(row["input_ids"]), row["labels"]
            labels[i, :length] = torch.tensor(told["next"])
            asked[i, :length, 0] = labels[i, :length].clamp(min=0)
            if told["tokens"]:
                asked[i, :length, 1:] = torch.tensor(told["tokens"]).reshape(length, -1).clamp(min=0)
        return {**batch, "labels": labels, "asked": asked}

    def label_loss(self, output: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean cross-entropy of the tokens that come next, 0 where none does."""
        from torch.nn.functional import cross_entropy

        labels = batch["labels"].to(output.device)
        if not bool((labels != NOT_JUDGED).any()):
            return output.sum() * 0
        return cross_entropy(output.float().flatten(0, 1), labels.flatten(), ignore_index=NOT_JUDGED)

    def labelled(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """How many tokens come next."""
        return (batch["labels"] != NOT_JUDGED).sum()

    def imitated(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Where something comes next that counts: of a chat what the assistant says."""
        return batch["labels"] != NOT_JUDGED

    def metric(self, config: Any) -> LogLikelihood:
        """The mean log-likelihood of a token, shown as perplexity."""
        return LogLikelihood()

    def units(self, rows: Dataset) -> list[int] | None:
        """Windows are judged one by one; what is asked about options stands beside."""
        questions = rows["question"][:]
        if max(questions, default=-1) < 0:
            return None
        return [row if question < 0 else -1 for row, question in enumerate(questions)]

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """Of each window the summed log-likelihood of its tokens that count, in nats, and how many of the teacher's
        tokens its text that counts is: as many, unless the two have other tokens for it.

        outputs: (length, k + 1) each, log-probabilities of what was asked for, the next token first."""
        outputs, rows = of_texts(outputs, rows)
        sums = [
            float(output[judged_of(row), 0].sum(dtype=np.float64)) for output, row in zip(outputs, rows, strict=True)
        ]
        counted = [row["labels"]["counted"] for row in rows]
        return np.stack([np.array(sums), np.array(counted, dtype=float)], axis=1)

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Bits per byte of text; and where the teacher was asked, the KL divergence from its probabilities to this
        model's, per token in nats (its likeliest tokens one by one, all others as one, which is a lower bound), and how
        often the same token is likeliest. Where a text is other tokens than the teacher's, how many times as many; the
        two figures are then of the tokens that both read. Of questions how many are answered right, and how many more
        than by the teacher: see `chosen_right`."""
        of_questions = choices_figures(outputs, rows)
        outputs, rows = of_texts(outputs, rows)
        likelihood, counted = self.statistics(outputs, rows, config).sum(axis=0)
        figures = {"bits_per_byte": -float(likelihood) / math.log(2) / sum(row["labels"]["bytes"] for row in rows)}
        tokens = sum(int(judged_of(row).sum()) for row in rows)
        if tokens != counted:
            figures["tokens_against_teacher"] = tokens / float(counted)
        figures |= of_questions
        return {**figures, **teacher_figures(outputs, rows)} if rows[0]["labels"]["tokens"] else figures

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Windows at some position of which another of the tokens asked for is the likeliest of all."""

        def likeliest(output: np.ndarray) -> np.ndarray:
            return output[:, :-1] >= output[:, -1:]

        pairs = zip(outputs, others, strict=True)
        return sum(bool((likeliest(one) != likeliest(other)).any()) for one, other in pairs)

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """All of one kind."""
        return ["text"] * sum(question < 0 for question in rows["question"])

    def written(self, tokens: Sequence[int], processor: Any) -> str:
        """The text, marks such as of its end among it."""
        return str(processor.decode(tokens, skip_special_tokens=False))

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Python that goes on with a text, always with the likeliest token, in an exported folder on `runtime`."""
        return IN_TORCH if runtime.form is None else WITH_STATE.replace("PACKAGE", runtime.snippet[0])
