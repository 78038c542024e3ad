"""Questions with options beside the texts that judge a language model: what the teacher says of them, and how many are
answered right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.tasks.choices import CHOICE, chosen_right, share, share_difference
from compress.tasks.language_rows import judged_of
from compress.tasks.windows import NOT_JUDGED

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

LIKELIHOODS = "teacher's log-likelihoods of options"


def texts_and_questions(examples: Dataset) -> tuple[Dataset, list[Any]]:
    """The examples that are texts, and the questions behind them."""
    if CHOICE not in examples.column_names:
        return examples, []
    questions = [question for question in examples[CHOICE] if question is not None]
    return examples.select(range(len(examples) - len(questions))), questions


def questions_answered(
    examples: Dataset,
    before: int,
    rows: Sequence[Mapping[str, Any]],
    answers: Iterable[tuple[int, torch.Tensor]],
) -> Dataset:
    """The examples with the log-likelihood that a model gives each option of a question, in nats. before: how many
    examples are texts. rows: of the options. answers: see `log_probabilities`."""
    import torch

    column: list[list[float]] = [[] for _ in examples]
    found = [0.0] * len(rows)
    for row, output in answers:
        told = torch.tensor(rows[row]["next"], device=output.device)
        counted = told != NOT_JUDGED
        found[row] = float(output[counted].gather(1, told[counted][:, None]).double().sum())
    for option, likelihood in zip(rows, found, strict=True):
        column[before + option["question"]].append(likelihood)
    return examples.add_column(LIKELIHOODS, column)


def said_of_options(examples: Dataset, options: Sequence[Any]) -> list[list[float]]:
    """Of each option, in order, the log-likelihood that the teacher gives it, in a list; empty where it was not
    asked."""
    answers = examples[LIKELIHOODS][:] if LIKELIHOODS in examples.column_names else [[] for _ in examples]
    return [[value] for answer in answers for value in answer] or [[] for _ in options]


def choices_figures(outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How many questions are answered right, and where the teacher was asked how many more than by it; empty where
    there are none."""
    pairs = [(output, row) for output, row in zip(outputs, rows, strict=True) if row["question"] >= 0]
    if not pairs:
        return {}
    options = [{"question": row["question"], **row["labels"]} for _, row in pairs]
    right = chosen_right([float(output[judged_of(row), 0].sum(dtype=np.float64)) for output, row in pairs], options)
    figures = share(right).figures("choices_right")
    if not options[0]["likelihood"]:
        return figures
    teachers = chosen_right([option["likelihood"][0] for option in options], options)
    return {**figures, **share_difference(right, teachers).figures("choices_right_against_teacher")}
