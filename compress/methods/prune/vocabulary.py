"""Vocabulary trimming: tokens that the data do not need leave the embeddings and the tokenizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedModel

from compress.core.checks import require_integer
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.stage import StageDefaults
from compress.core.task import Task, Vocabulary
from compress.methods.training.token_use import unlabelled_token_counts
from compress.nn.ops.vocabulary import most_frequent, token_counts, unseen_shares
from compress.nn.vocabulary import keep_tokens, named_tokens, require_trimmable

FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class PruneVocabulary(StageDefaults):
    """min_count: tokens that occur less often in the training split and the unlabelled text leave. most_tokens: at most
    so many stay, the most frequent ones, or None for no limit. keep_characters: single characters (or bytes) always
    stay, so that every text that could be spelled still can.

    The artifact gets a tokenizer of its own. A text whose tokens all stay is read as before; any other is spelled with
    smaller pieces.
    """

    min_count: int
    most_tokens: int | None
    keep_characters: bool

    changes_processor: ClassVar[bool] = True
    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[Mapping[str, str]] = {
        "int8": "rows of int8 embeddings are not cut; trim before quantizing",
        "fused": "rows of fused embeddings are not cut; trim before fusing",
    }

    def __post_init__(self) -> None:
        require_integer("stages.vocabulary.min_count", self.min_count, 1, "Use 1 to keep every token that occurs.")
        if self.most_tokens is not None:
            require_integer("stages.vocabulary.most_tokens", self.most_tokens, 1, "Use null for no limit.")
        if not isinstance(self.keep_characters, bool):
            raise InputError(
                f"stages.vocabulary.keep_characters is {self.keep_characters!r}; it must be true or false."
            )

    def check(self, model: PreTrainedModel) -> None:
        """Raise InputError for a model that reads no tokens, or writes them by a head whose rows are not cut."""
        require_trimmable(model)

    def check_processor(self, task: Task, processor: Any) -> None:
        """Raise InputError where the processor's vocabulary cannot be trimmed, or not so far."""
        required = len(task.vocabulary(processor).required(characters=self.keep_characters))
        if self.most_tokens is not None and self.most_tokens < required:
            characters = "single characters, " if self.keep_characters else ""
            more = " or set keep_characters=false" if self.keep_characters else ""
            raise InputError(
                f"stages.vocabulary.most_tokens is {self.most_tokens}; special tokens, {characters}and what the "
                f"tokenizer needs are {required} tokens already. Use more{more}."
            )

    def apply(self, model: PreTrainedModel, context: Context) -> PreTrainedModel:
        """The model with fewer embeddings; the context is told of the tokenizer that goes with it."""
        self.check_processor(context.task, context.processor)
        vocabulary = context.task.vocabulary(context.processor)
        required = vocabulary.required(characters=self.keep_characters)
        required = vocabulary.with_parts(required | named_tokens(model.config, vocabulary.size))
        rows = context.task.tokens(context.train)
        further = unlabelled_token_counts(context, vocabulary.size)

        def choose(counts: np.ndarray) -> np.ndarray:
            kept = np.zeros(vocabulary.size, dtype=bool)
            kept[list(self._kept(vocabulary, required, counts + further))] = True
            return kept

        kept = np.flatnonzero(choose(token_counts(rows, vocabulary.size))).tolist()
        before = sum(weight.numel() for weight in model.parameters())
        context.use_processor(vocabulary.keep(kept))
        keep_tokens(model, kept)
        saved = before - sum(weight.numel() for weight in model.parameters())
        context.note(f"{len(kept)} of {vocabulary.size} tokens kept: {saved * 4 / 1e6:.2f} MB less in FP32")
        shares = unseen_shares(rows, context.train["group"], vocabulary.size, choose, FOLDS)
        if shares is not None:
            context.note(
                f"of training texts held out from the choice, {shares[0]:.1%} change their tokens ({shares[1]:.2%} of "
                "all tokens): that much is to be expected of new texts"
            )
        return model.eval()

    def _kept(self, vocabulary: Vocabulary, required: Collection[int], counts: np.ndarray) -> set[int]:
        found = set(required)
        for token in most_frequent(counts, self.min_count):
            parts = vocabulary.with_parts([token])
            if self.most_tokens is None or len(found) + len(parts - found) <= self.most_tokens:
                found |= parts
        return found
