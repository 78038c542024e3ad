"""The tokens that a teacher finds likeliest after each of a text's, and how far another model is from it there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.tasks.language_rows import judged_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

# Of the teacher's probabilities at a position so many are kept, the largest; the rest counts as one.
LIKELIEST = 16
TOKENS, PROBABILITIES = "teacher's likeliest tokens", "their log-probabilities"


def likeliest_told(
    examples: Dataset, rows: Sequence[Mapping[str, Any]], answers: Iterable[tuple[int, torch.Tensor]]
) -> Dataset:
    """The examples with the tokens that a model finds likeliest after each of theirs, window by window, and their
    log-probabilities. rows: the windows. answers: see `log_probabilities`."""
    tokens: list[list[Any]] = [[] for _ in rows]
    values: list[list[Any]] = [[] for _ in rows]
    for row, output in answers:
        most, which = output.topk(min(LIKELIEST, output.shape[-1]), dim=-1)
        tokens[row], values[row] = which.flatten().tolist(), most.flatten().tolist()
    found = examples
    for name, told in ((TOKENS, tokens), (PROBABILITIES, values)):
        column: list[list[Any]] = [[] for _ in examples]
        for window, more in zip(rows, told, strict=True):
            column[window["document"]].extend(more)
        found = found.add_column(name, column)
    return found


def taught(examples: Dataset, rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, list[Any]]]:
    """Each window's part of what the teacher said of its document."""
    if TOKENS not in examples.column_names:
        yield from ({} for _ in rows)
        return
    tokens, values = examples[TOKENS][:], examples[PROBABILITIES][:]
    # Windows of one document follow each other.
    positions, at = Counter[int](), Counter[int]()
    for row in rows:
        positions[row["document"]] += len(row["input_ids"])
    for row in rows:
        document = row["document"]
        count = len(row["input_ids"]) * (len(tokens[document]) // positions[document])
        part = slice(at[document], at[document] + count)
        at[document] += count
        yield {"tokens": tokens[document][part], "log_probabilities": values[document][part]}


def teacher_figures(
    outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], tokens: float
) -> dict[str, float]:
    """The KL divergence from the teacher's probabilities to a model's, per token in nats, and how often the same token
    is likeliest. rows: windows that the teacher was asked about. tokens: how many count in them."""
    divergence_sum, same = 0.0, 0
    for output, row in zip(outputs, rows, strict=True):
        at = judged_of(row)
        teacher = np.array(row["labels"]["log_probabilities"], dtype=np.float64).reshape(len(output), -1)[at]
        divergence_sum += float(divergence(teacher, output[at, 1:-1].astype(np.float64)).sum())
        same += int((output[at, 1] >= output[at, -1]).sum())
    return {"kl_divergence": divergence_sum / float(tokens), "same_top_token": same / float(tokens)}


def divergence(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """KL(teacher || student) at each position, in nats: of the tokens given, and of all others together as one.

    teacher, student: (positions, tokens), log-probabilities of the same tokens. By the log-sum inequality no more than
    that over all tokens.
    """
    found = (np.exp(teacher) * (teacher - student)).sum(axis=1)
    rest, others = (np.clip(1 - np.exp(values).sum(axis=1), 1e-12, 1.0) for values in (teacher, student))
    return found + rest * np.log(rest / others)
