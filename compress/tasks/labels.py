"""What tasks with one label for each example share: names to numbers, and the loss of those that have a label."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from compress.core.checks import is_missing, nearest
from compress.core.errors import ExampleError, InputError, TooLittleError
from compress.tasks.metrics.matthews import matthews

if TYPE_CHECKING:
    import numpy as np
    import torch

    from compress.core.task import Counts

# Stands for a label in examples that have none; PyTorch's losses leave it out by themselves.
NO_LABEL = -100


def with_labels(config: Any, values: Sequence[Any], column: str) -> Any:
    """`config` with one label for each distinct value of data.train's `column`, in alphabetical order."""
    names = sorted(set(written_labels(values, column, "train")))
    if len(names) < 2:
        raise InputError(f"data.label={column}: data.train has a single label ({names[0]!r}); two are needed.")
    config = copy.deepcopy(config)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    # What an encoder answered before is not what it learns to answer now.
    config.problem_type = None
    return config


def written_labels(values: Sequence[Any], column: str, split: str) -> list[str]:
    """Each label as text, without white space around it. Raises InputError where one is missing: None, no text, or what
    spreadsheets leave in an empty cell of numbers. What nobody labelled is no class of its own."""
    missing = [row for row, value in enumerate(values) if is_missing(value)]
    if missing:
        count = "" if len(missing) == 1 else f" and {len(missing) - 1} more"
        raise ExampleError(
            f"data.label={column}: ",
            split,
            missing[0],
            f"has no label ({values[missing[0]]!r}){count}; every example needs one. Remove such rows, or label them; "
            "texts without labels can be given as data.unlabelled.",
        )
    return [str(value).strip() for value in values]


def _as_number(value: str, table: Mapping[str, int]) -> str:
    """A sentence about a label such as `1.0`, which programs make of 1 in a column with gaps."""
    whole = value.removesuffix(".0")
    if whole == value or whole not in table:
        return ""
    return f"Programs write the whole number {whole} so where its column has gaps: write {whole}."


def label_numbers(values: Sequence[Any], config: Any, column: str, split: str) -> list[int]:
    """The model's number of each label, which is written as its name or as that number. Raises InputError for a label
    that is missing or that the model does not know, and where all are the same."""
    written = written_labels(values, column, split)
    if len(set(written)) < 2:
        raise TooLittleError(
            f"data.label={column}: data.{split} has a single label ({written[0]!r}), so nothing can be "
            "compared. Give examples of at least two."
        )
    names = {str(name).strip(): int(index) for index, name in config.id2label.items()}
    # The model's own numbers are as good as names, as long as none of them is a name.
    numbers = {str(index): index for index in names.values()}
    whole = {value.removesuffix(".0") for value in written}
    numbered = all(value.isdecimal() for value in whole) and not whole & names.keys()
    table = numbers if numbered else names
    for row, value in enumerate(written):
        if value not in table:
            rename = "Rename it in the data, or in the model's id2label."
            hint = " ".join(part for part in (_as_number(value, table) or nearest(value, names), rename) if part)
            known = ", ".join(names) + (f", as 0 to {len(names) - 1}" if numbered else "")
            raise ExampleError(
                f"data.label={column}: ",
                split,
                row,
                f"has the label {value!r}, which the model does not know (it knows: {known}). {hint}",
            )
    return [table[value] for value in written]


def counts_of_labels(labels: Sequence[int], answers: Sequence[int], config: Any) -> dict[str, list[Counts]]:
    """For each of the model's labels, of every example that has it or is answered with it: see `Task.by_class`."""
    counts: dict[int, list[Counts]] = {int(number): [] for number in sorted(config.id2label)}
    for example, (label, answer) in enumerate(zip(labels, answers, strict=True)):
        counts[label].append((example, int(label == answer), int(label == answer), 1))
        if answer != label:
            counts[answer].append((example, 0, 1, 0))
    return {str(config.id2label[number]): of_label for number, of_label in counts.items()}


def label_figures(logits: np.ndarray, labels: Sequence[int]) -> dict[str, float]:
    """Macro F1 and Matthews' correlation, which see what accuracy hides where classes are uneven. logits: (examples,
    labels)."""
    import torch
    from torchmetrics.functional.classification import multiclass_f1_score

    told = torch.from_numpy(logits), torch.tensor(labels)
    classes = logits.shape[1]
    return {
        "f1_macro": float(multiclass_f1_score(*told, num_classes=classes, average="macro")),
        "matthews_correlation": matthews(labels, logits.argmax(axis=1).tolist()),
    }


def labelled_loss(logits: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
    """Mean cross-entropy of the rows that have a label, 0 where none has. logits: (rows, labels)."""
    from torch.nn.functional import cross_entropy

    total = cross_entropy(logits.float(), batch["labels"], ignore_index=NO_LABEL, reduction="sum")
    return total / labelled(batch).clamp(min=1)


def labelled(batch: Mapping[str, Any]) -> torch.Tensor:
    """How many rows have a label."""
    return (batch["labels"] != NO_LABEL).sum()
