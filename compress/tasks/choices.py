"""Questions with options: which of them a language model finds likeliest, and how often that is the right one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.core.errors import InputError
from compress.tasks.windows import NOT_JUDGED

# The column of examples that holds questions, each a structure of these; None where an example is a text.
CHOICE = "multiple choice"
PROMPT, CONTINUATIONS, CHARACTERS, ANSWER = "prompt", "continuations", "characters", "answer"
# The 95% quantile of the normal distribution: each end of an interval is a one-sided bound.
QUANTILE = 1.6448536269514722


@dataclass(frozen=True)
class Proportion:
    """A share, or a difference of two, with its interval at 95%, each end of which is a one-sided bound."""

    value: float
    low: float
    high: float

    def figures(self, name: str) -> dict[str, float]:
        """By the names that they have in rows and files."""
        return {name: self.value, f"{name}_lower": self.low, f"{name}_upper": self.high}


def option_rows(questions: Sequence[Mapping[str, Any]], processor: Any, longest: int) -> list[dict[str, Any]]:
    """A row for each option of each question, in order: `input_ids` of the prompt and the option behind it, with the
    special tokens that the processor puts around a text, `attention_mask`, and of each token the `next` one where that
    is the option's, NOT_JUDGED elsewhere; `question`, from 0, `right`, whether the option is, and its `characters`.

    A token that begins in the prompt and ends in the option is the option's. longest: tokens that a model reads.
    Raises InputError, by the row in the file, for a question that is longer, and for an option without a token.
    """
    found = []
    for number, question in enumerate(questions):
        prompt = question[PROMPT]
        texts = [prompt + continuation for continuation in question[CONTINUATIONS]]
        encoded = processor(
            texts,
            truncation=False,
            padding=False,
            return_offsets_mapping=True,
            return_token_type_ids=False,
            verbose=False,
        )
        for option, (ids, places) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            place = f"data.choices, row {number + 1}, option {option}"
            if len(ids) > longest:
                raise InputError(
                    f"{place}: with the prompt it has {len(ids)} tokens, and this model takes at most {longest}. "
                    "Shorten it, or remove the row."
                )
            counted = [end > start and end > len(prompt) for start, end in places]
            if not any(counted[1:]):
                raise InputError(f"{place} has no tokens of its own for this tokenizer. Correct it, or remove the row.")
            after = [ids[i] if counted[i] else NOT_JUDGED for i in range(1, len(ids))]
            found.append(
                {
                    "input_ids": ids,
                    "attention_mask": [1] * len(ids),
                    "next": [*after, NOT_JUDGED],
                    "question": number,
                    "right": option == question[ANSWER],
                    "characters": question[CHARACTERS][option],
                }
            )
    return found


def chosen_right(likelihoods: Sequence[float], rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Of each question, in order, whether the right option is chosen: the one with the largest summed log-likelihood of
    its tokens, given the prompt, per character; of equals the first. (questions,), of 0 and 1.

    likelihoods: of each option, in nats. rows: their `question`, `right` and `characters`. That is `acc_norm` of
    EleutherAI's lm-evaluation-harness, `ConfigurableTask.process_results` of `multiple_choice`.
    """
    best: dict[int, tuple[float, bool]] = {}
    for likelihood, row in zip(likelihoods, rows, strict=True):
        value = likelihood / row["characters"]
        if row["question"] not in best or value > best[row["question"]][0]:
            best[row["question"]] = (value, bool(row["right"]))
    return np.array([right for _, (_, right) in sorted(best.items())], dtype=float)


def share(right: np.ndarray) -> Proportion:
    """The mean of zeros and ones, with its score interval: Wilson 1927, Probable inference, the law of succession, and
    statistical inference."""
    count, mean, square = len(right), float(right.mean()), QUANTILE**2
    centre = (mean + square / (2 * count)) / (1 + square / count)
    half = QUANTILE / (1 + square / count) * math.sqrt(mean * (1 - mean) / count + square / (4 * count**2))
    return Proportion(mean, centre - half, centre + half)


def share_difference(right: np.ndarray, others: np.ndarray) -> Proportion:
    """How much larger the mean of the first is, on the same questions. The interval has half a pair more in each of the
    four cells: both right, neither, and one of the two. Agresti and Min 2005, Simple improved confidence intervals for
    comparing matched proportions.
    """
    count, differences = len(right) + 2, right - others
    centre = float(differences.sum()) / count
    unequal = float(np.abs(differences).sum()) + 1
    half = QUANTILE * math.sqrt(max(unequal - count * centre**2, 0.0)) / count
    return Proportion(float(differences.mean()), centre - half, centre + half)
