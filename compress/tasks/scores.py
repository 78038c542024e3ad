"""What tasks share whose model gives an example a single number: numbers read from data, and distances between them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.checks import is_missing
from compress.core.errors import ExampleError

if TYPE_CHECKING:
    import torch

# Stands for a score in examples that have none.
NO_SCORE = math.nan
# Of the spread of scores: one that moves by more is another answer.
SHIFTED = 0.1


def with_score(config: Any, column: str) -> Any:
    """`config` with one output, named after data.train's `column`, that is learned by squared distance."""
    config = copy.deepcopy(config)
    config.id2label, config.label2id = {0: column}, {column: 0}
    config.problem_type = "regression"
    return config


def written_scores(values: Sequence[Any], column: str, split: str) -> list[float]:
    """Each value as a number. Raises ExampleError, which names `data.label=column`, for one that is missing or is no
    finite number."""
    return [_score(value, column, split, row) for row, value in enumerate(values)]


def _score(value: Any, column: str, split: str, row: int) -> float:
    place = f"data.label={column}: "
    if is_missing(value):
        way_out = "every example needs one. Remove the row, or give such texts as data.unlabelled."
        raise ExampleError(place, split, row, f"has no score ({value!r}); {way_out}")
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        way_out = "Write numbers such as 3.5, or use -cn text_classification for classes."
        raise ExampleError(place, split, row, f"has the score {value!r}, which is no finite number. {way_out}")
    return number


def squared_distance(output: torch.Tensor, target: torch.Tensor, scale: float) -> torch.Tensor:
    """The mean of ((output - target) / scale)². output: (rows, 1). target: (rows,) or (rows, 1), NaN where there is
    none: those do not count, and 0 where none does."""
    import torch

    wanted = target.float().reshape(-1)
    known = ~torch.isnan(wanted)
    # Where there is none the difference is made 0 before it is squared: NaN times 0 is NaN.
    difference = torch.where(known, output.float().reshape(-1) - wanted.nan_to_num(), 0.0) / scale
    return difference.pow(2).sum() / known.sum().clamp(min=1)


def scored(batch: Mapping[str, Any]) -> torch.Tensor:
    """How many rows have a score."""
    return (~batch["labels"].isnan()).sum()


def shifted(outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
    """How many rows' scores move by more than a tenth of the standard deviation of all of them. outputs, others: (1,)
    of each row."""
    before, after = (np.asarray(scores, dtype=np.float64).reshape(-1) for scores in (outputs, others))
    return int((np.abs(after - before) > SHIFTED * before.std()).sum())
