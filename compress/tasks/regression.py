"""A number for a text, or for a pair of texts, such as a rating. The metric is Spearman's correlation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_positive
from compress.core.errors import TooLittleError
from compress.tasks.metrics.pearson import pearson
from compress.tasks.metrics.spearman import Spearman
from compress.tasks.scores import NO_SCORE, scored, shifted, squared_distance, with_score, written_scores
from compress.tasks.text import column_of
from compress.tasks.text_task import TextTask, groups_of

if TYPE_CHECKING:
    import torch
    from datasets import Dataset

    from compress.core.runtime import Runtime
    from compress.core.task import Batch

THIRDS = ("lowest", "middle", "highest")
USAGE = """\
import PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN
text = tokenizer.encode("Put the text to score here.")
scores = RUN
print(float(scores[0][0]))
"""


@dataclass(frozen=True, kw_only=True)
class Regression(TextTask):
    """text: the column, or two columns for pairs. label: the column of numbers. max_length: longest input, in tokens.
    scale: differences of scores are divided by it before they are squared, so that losses are about 1."""

    label: str
    scale: float

    name: ClassVar[str] = "regression"
    pipeline_tag: ClassVar[str] = "text-classification"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("task.scale", self.scale, "Use the scores' standard deviation.")

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one output."""
        return with_score(config, self.label)

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns of the inputs, `labels` (numbers), `length`, `group`. Raises InputError for empty texts, for what is
        no number, and where all numbers are the same."""
        scores = written_scores(column_of(examples, self.label, "data.label", split), self.label, split)
        if len(set(scores)) < 2:
            raise TooLittleError(
                f"data.label={self.label}: data.{split} has a single score ({scores[0]:g}), so nothing can be "
                "compared. Give examples of several."
            )
        return self._encoded(self._texts(examples, split), scores, groups_of(examples), processor, config)

    def no_label(self, config: Any) -> float:
        """NaN."""
        return NO_SCORE

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """The inputs, padded, int64 (rows, length), and labels (rows,), float32."""
        import torch

        labels = torch.tensor([row["labels"] for row in rows], dtype=torch.float32)
        return {**self._inputs(rows, processor), "labels": labels}

    def label_loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Mean squared distance to the scores that there are, in units of `scale`."""
        return squared_distance(output, batch["labels"], self.scale)

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many rows have a score."""
        return scored(batch)

    def imitation_loss(
        self, output: torch.Tensor, target: torch.Tensor, batch: Mapping[str, Any] | None = None
    ) -> torch.Tensor:
        """Mean squared distance to the teacher's scores, in units of `scale`."""
        return squared_distance(output, target, self.scale)

    def metric(self, config: Any) -> Spearman:
        """Spearman's correlation."""
        return Spearman()

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """The true score, and the model's. outputs: (1,) each."""
        return np.array([[row["labels"], float(output[0])] for output, row in zip(outputs, rows, strict=True)])

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Pearson's correlation, and the mean absolute error."""
        truth, found = self.statistics(outputs, rows, config).T
        return {
            "pearson_correlation": pearson(truth, found),
            "mean_absolute_error": float(np.abs(truth - found).mean()),
        }

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Those whose score moves by more than a tenth of the scores' standard deviation."""
        return shifted(outputs, others)

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """In which third of the true scores each lies."""
        return thirds(rows["labels"][:])

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        return self._filled(USAGE, runtime, config)


def thirds(scores: Sequence[float]) -> list[str]:
    """For each score the third of all of them that it lies in; equal ones lie in the same."""
    bounds = np.quantile(scores, [1 / 3, 2 / 3])
    return [f"{THIRDS[int(place)]} scores" for place in np.searchsorted(bounds, scores, side="left")]
