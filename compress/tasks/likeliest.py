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
NAMES = "names of the teacher's likeliest tokens"
# In the place of a number: of a token that a trimmed vocabulary has not, and where the teacher said nothing.
REMOVED, UNTOLD = -1, -2


def likeliest_told(
    examples: Dataset, rows: Sequence[Mapping[str, Any]], answers: Iterable[tuple[int, torch.Tensor]], processor: Any
) -> Dataset:
    """The examples with the tokens that a model finds likeliest after each of theirs, window by window, their
    log-probabilities, and the names of those tokens. rows: the windows. answers: see `log_probabilities`."""
    tokens: list[list[Any]] = [[] for _ in rows]
    values: list[list[Any]] = [[] for _ in rows]
    for row, output in answers:
        most, which = output.topk(min(LIKELIEST, output.shape[-1]), dim=-1)
        tokens[row], values[row] = which.flatten().tolist(), most.flatten().tolist()
    found = examples
    by_document: dict[str, list[list[Any]]] = {}
    for name, told in ((TOKENS, tokens), (PROBABILITIES, values)):
        by_document[name] = [[] for _ in examples]
        for window, more in zip(rows, told, strict=True):
            by_document[name][window["document"]].extend(more)
        found = found.add_column(name, by_document[name])
    names = [processor.convert_ids_to_tokens(sorted(set(numbers))) for numbers in by_document[TOKENS]]
    return found.add_column(NAMES, names)


def taught(examples: Dataset, rows: Sequence[Mapping[str, Any]], processor: Any) -> Iterator[dict[str, list[Any]]]:
    """Each window's part of what the teacher said of its document, in the numbers of `processor`: `tokens` and
    `log_probabilities`, position after position; REMOVED for a token that it does not know, and UNTOLD where the next
    token is none of the teacher's. rows: see `as_teacher_cut`."""
    if TOKENS not in examples.column_names:
        yield from ({} for _ in rows)
        return
    tokens, values, names = examples[TOKENS][:], examples[PROBABILITIES][:], examples[NAMES][:]
    known = processor.get_vocab()
    # Windows of one document follow each other.
    positions, at = Counter[int](), Counter[int]()
    for row in rows:
        positions[row["document"]] += _positions(row)
    for row in rows:
        document = row["document"]
        each = len(tokens[document]) // positions[document]
        part = slice(at[document], at[document] + _positions(row) * each)
        at[document] = part.stop
        renumbered = _renumbered(tokens[document], names[document], processor, known)
        told = [renumbered[number] for number in tokens[document][part]], values[document][part]
        if "teacher" in row:
            numbers, said = (_by_position(column, each) for column in told)
            told = (
                [number for place in row["teacher"] for number in (numbers[place] if place >= 0 else [UNTOLD] * each)],
                [value for place in row["teacher"] for value in (said[place] if place >= 0 else [0.0] * each)],
            )
        yield {"tokens": told[0], "log_probabilities": told[1]}


def _positions(row: Mapping[str, Any]) -> int:
    """How many the teacher's window has."""
    return int(row.get("teacher_length", len(row["input_ids"])))


def _by_position(column: Sequence[Any], each: int) -> list[Sequence[Any]]:
    return [column[start : start + each] for start in range(0, len(column), each)]


def _renumbered(
    tokens: Sequence[int], names: Sequence[str | None], processor: Any, known: Mapping[str, int]
) -> dict[int, int]:
    """The processor's number of each of a document's tokens. names: of each number among `tokens`, ascending; None of
    one that the teacher's own tokenizer does not know."""
    numbers = sorted(set(tokens))
    if processor.convert_ids_to_tokens(numbers) == list(names):
        return {number: number for number in numbers}
    found = (
        (number, REMOVED if name is None else known.get(name, REMOVED))
        for number, name in zip(numbers, names, strict=True)
    )
    return dict(found)


def teacher_figures(outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The KL divergence from the teacher's probabilities to a model's, per token in nats, and how often the same token
    is likeliest: over all tokens that count and are the teacher's, too. rows: windows that the teacher was asked about.
    Empty where there is no such token."""
    sums, same, compared = 0.0, 0, 0
    for output, row in zip(outputs, rows, strict=True):
        tokens = np.array(row["labels"]["tokens"]).reshape(len(output), -1)
        at = judged_of(row) & (tokens[:, 0] != UNTOLD)
        teacher = np.array(row["labels"]["log_probabilities"], dtype=np.float64).reshape(tokens.shape)[at]
        there = tokens[at] >= 0
        sums += float(divergence(teacher, output[at, 1:-1].astype(np.float64), there).sum())
        same += int(((output[at, 1] >= output[at, -1]) & there[:, 0]).sum())
        compared += int(at.sum())
    return {"kl_divergence": sums / compared, "same_top_token": same / compared} if compared else {}


def divergence(teacher: np.ndarray, student: np.ndarray, there: np.ndarray | None = None) -> np.ndarray:
    """KL(teacher || student) at each position, in nats: of the tokens given, and of all others together as one.

    teacher, student: (positions, tokens), log-probabilities of the same tokens. there: the same shape, which of the
    tokens the student has; the others are of the rest. None: all. By the log-sum inequality no more than that over all
    tokens.
    """
    there = np.ones(teacher.shape, dtype=bool) if there is None else there
    found = np.where(there, np.exp(teacher) * (teacher - student), 0.0).sum(axis=1)
    sums = (np.where(there, np.exp(values), 0.0).sum(axis=1) for values in (teacher, student))
    rest, others = (np.clip(1 - total, 1e-12, 1.0) for total in sums)
    return found + rest * np.log(rest / others)
