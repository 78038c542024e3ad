"""A score for a query and a passage, by which passages are ordered. Judged by nDCG of the first ten, query by query."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_at_least, require_choice, require_positive
from compress.core.errors import ExampleError, InputError, TooLittleError
from compress.tasks.candidates import Candidates, candidates_of, gains_of, judged_rows
from compress.tasks.metrics.ndcg import ANY_ORDER, Ndcg, ndcg_of, ndcg_of_any_order
from compress.tasks.scores import NO_SCORE, scored, shifted, squared_distance, with_score
from compress.tasks.text_task import TextTask

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.runtime import Runtime
    from compress.core.task import Batch

ANSWERS = "teacher's scores"
ANSWERED = (
    "data.label is null: nobody judged which passages are relevant, so the teacher's order of a query's passages is "
    "the truth, and nDCG@10 says how well the student agrees with it"
)
RELEVANCE, SCORES = "relevance", "scores"
ROWS_AT_ONCE = 32
USAGE = """\
import math, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN
text = tokenizer.encode("Put the query here.", "Put the passage to score here.")
score = float(RUN[0][0])
print(SHOWN)
"""


@dataclass(frozen=True, kw_only=True)
class Reranker(TextTask):
    """text: the columns of queries and of passages; a passage's may hold a list, the query's candidates. label: the
    column of how relevant each passage is, then a list too; None where the teacher says it. labels: what these are,
    `relevance` (0 to 1, learned by cross-entropy) or `scores` (any numbers, learned by squared distance). max_length:
    longest pair, in tokens; of the two texts the longer one is cut first.

    score_weight, margin_weight, ranking_weight: of the parts of what a student imitates: its scores' squared distance
    to the teacher's; that of the differences between passages of one query (Hofstätter et al. 2020, Improving Efficient
    Neural Ranking Models with Cross-Architecture Knowledge Distillation, MarginMSE); KL divergence over the passages of
    a query. scale: all scores are divided by it first.
    """

    label: str | None
    labels: str
    score_weight: float
    margin_weight: float
    ranking_weight: float
    scale: float

    name: ClassVar[str] = "reranker"
    pipeline_tag: ClassVar[str] = "text-ranking"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.text_columns) != 2:
            raise InputError("data.query and data.passage each name a column. Use data.query=COLUMN.")
        weights = {name: getattr(self, name) for name in ("score_weight", "margin_weight", "ranking_weight")}
        for name, weight in weights.items():
            require_at_least(f"task.{name}", weight, 0, "Use 1, for example.")
        if not any(weights.values()):
            raise InputError(f"{', '.join(f'task.{name}' for name in weights)} are all 0; one must be greater. Use 1.")
        require_choice("task.labels", self.labels, (RELEVANCE, SCORES))
        require_positive("task.scale", self.scale, "Use 1, or the standard deviation of the teacher's scores.")

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one output. Raises InputError where there are no labels to learn."""
        if self.label is None:
            raise InputError(
                "model=fine_tuned learns from labels, and data.label is null. Name their column, or give a teacher "
                "that scores pairs already: model=folder."
            )
        fitted = with_score(config, self.label)
        if self.labels == RELEVANCE:
            # Of one output the library's loss for many labels is binary cross-entropy.
            fitted.problem_type = "multi_label_classification"
        else:
            fitted.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
        return fitted

    @property
    def asks_teacher(self) -> bool:
        """Where nobody judged, the teacher does."""
        return self.label is None

    def about_answers(self, examples: Dataset) -> str:
        """The teacher's order is the truth."""
        return ANSWERED

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """The examples that judge, with the teacher's score of each passage, in lists; those of `train` as they are."""
        import torch
        from tqdm.auto import tqdm

        from compress.nn.forward import forward

        if split == "train":
            return examples
        found = self._candidates(examples, split)
        rows = self._pairs(found, [NO_SCORE] * len(found.passages), processor, config)
        scores, signature = np.zeros(len(rows)), self.signature(config)
        order = np.argsort(rows["length"][:], kind="stable").tolist()
        for start in tqdm(range(0, len(order), ROWS_AT_ONCE), desc=f"teacher's scores, {split}", leave=False):
            chosen = order[start : start + ROWS_AT_ONCE]
            with torch.inference_mode():
                output = forward(model, signature, self.collate([rows[row] for row in chosen], processor)).output
            scores[chosen] = output.float().cpu().numpy()[:, 0]
        return examples.add_column(ANSWERS, found.by_example(scores.tolist(), len(examples)))

    def foresee_answers(self, examples: Dataset, split: str) -> Dataset:
        """A number for each different passage: a query is judged where two of its passages have other scores."""
        if split == "train":
            return examples
        found = self._candidates(examples, split)
        numbers = {passage: float(number) for number, passage in enumerate(dict.fromkeys(found.passages))}
        scores = [numbers[passage] for passage in found.passages]
        return examples.add_column(ANSWERS, found.by_example(scores, len(examples)))

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns of the inputs, `labels` (numbers), `length`, `group`, `document` (the example) and `together` (the
        query), a row for each passage. Of those that judge, queries of which no passage is relevant, or that have but
        one, are left out. Raises InputError for empty texts, what is no number, and where no query is left."""
        found = self._candidates(examples, split)
        labels = found.labels or [NO_SCORE] * len(found.passages)
        if self.label is not None and self.labels == RELEVANCE:
            wrong = next((row for row, label in enumerate(labels) if not 0 <= label <= 1), None)
            if wrong is not None:
                raise ExampleError(
                    f"data.label={self.label}: ",
                    split,
                    found.examples[wrong],
                    f"has the relevance {labels[wrong]:g}; it must lie between 0 and 1. Use task.labels=scores.",
                )
        if split != "train":
            kept = judged_rows(found.queries, labels, teacher=self.label is None)
            if not kept:
                raise TooLittleError(
                    f"data.{split} has no query with a relevant passage and another one, so nothing can be ranked. "
                    "Give some."
                )
            found, labels = found.select(kept), [labels[row] for row in kept]
        return self._pairs(found, labels, processor, config)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns, with NaN for labels."""
        found = self._candidates(examples, "unlabelled")
        return self._pairs(found, [NO_SCORE] * len(found.passages), processor, config)

    def no_label(self, config: Any) -> float:
        """NaN."""
        return NO_SCORE

    def _rows(self, examples: Dataset) -> list[tuple[str, ...]]:
        found = self._candidates(examples, "unlabelled")
        return list(zip(found.queries, found.passages, strict=True))

    def _candidates(self, examples: Dataset, split: str) -> Candidates:
        label = ANSWERS if ANSWERS in examples.column_names else self.label
        return candidates_of(examples, self.text_columns, None if split == "unlabelled" else label, split)

    def _pairs(self, found: Candidates, labels: list[float], processor: Any, config: Any) -> Dataset:
        rows = self._encoded([list(found.queries), list(found.passages)], labels, list(found.groups), processor, config)
        together = [_number_of(query) for query in found.queries]
        return rows.add_column("document", list(found.examples)).add_column("together", together)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """The inputs, padded, int64 (rows, length); labels (rows, 1), float32; and a number for each row's query, int64
        (rows,)."""
        import torch

        labels = torch.tensor([[row["labels"]] for row in rows], dtype=torch.float32)
        together = torch.tensor([row["together"] for row in rows], dtype=torch.long)
        return {**self._inputs(rows, processor), "labels": labels, "together": together}

    def label_loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Binary cross-entropy to the relevance, or the squared distance to the scores, in units of `scale`: the mean
        over the rows that have a label. Where nobody judged, by the squared distance to scores that are one `scale`
        higher, and lower for every second row: no label is known, and what changes this changes the order."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        if self.label is None:
            scores = output.float()[:, 0]
            signs = 1.0 - 2.0 * (torch.arange(len(scores), device=scores.device) % 2)
            return squared_distance(output, scores.detach() + self.scale * signs, self.scale)
        if self.labels == SCORES:
            return squared_distance(output, batch["labels"], self.scale)
        known = ~batch["labels"].isnan()
        wanted = batch["labels"].nan_to_num()
        each = binary_cross_entropy_with_logits(output.float(), wanted, reduction="none")
        return (each * known).sum() / known.sum().clamp(min=1)

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many rows have a label; every one where nobody judged."""
        import torch

        return torch.tensor(len(batch["labels"])) if self.label is None else scored(batch)

    def imitation_loss(self, output: torch.Tensor, target: torch.Tensor, batch: Batch | None = None) -> torch.Tensor:
        """The weighted sum of the squared distance of scores, of that of differences between passages of one query, and
        of the KL divergence over a query's passages; each a mean, over rows, pairs and queries of the batch. Without a
        batch the first alone. output, target: (rows, 1)."""
        from compress.nn.ops.ranking import margin_distance, ranking_divergence

        if batch is None:
            return squared_distance(output, target, self.scale)
        found, expected = (scores.float()[:, 0] / self.scale for scores in (output, target))
        same = batch["together"][:, None] == batch["together"][None, :]
        loss = self.score_weight * squared_distance(output, target, self.scale)
        loss = loss + self.margin_weight * margin_distance(found, expected, same)
        return loss + self.ranking_weight * ranking_divergence(found, expected, same)

    def metric(self, config: Any) -> Ndcg:
        """nDCG of the first ten, by query."""
        return Ndcg()

    def units(self, rows: Dataset) -> list[int]:
        """Queries are judged one by one; a row without a label is a part of the example that it comes from."""
        if any(map(math.isnan, rows["labels"][:])):
            return list(rows["document"])
        numbers: dict[int, int] = {}
        return [numbers.setdefault(query, len(numbers)) for query in rows["together"]]

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """nDCG of the first ten of each query, and 1. outputs: (1,) each."""
        found = [ndcg_of(gains, scores) for gains, scores in self._queries(outputs, rows)]
        return np.stack([np.array(found), np.ones(len(found))], axis=1)

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """The mean reciprocal rank of the first relevant passage; where the teacher judged, of its own first. Where
        somebody judged, also what any order of the same passages is worth."""
        places, queries = [], self._queries(outputs, rows)
        for gains, scores in queries:
            right = gains > 0 if self.label is not None else gains == gains.max()
            places.append(1 + int(right[np.argsort(-scores, kind="stable")].argmax()))
        found = {"mean_reciprocal_rank": float(np.mean(1 / np.array(places)))}
        if self.label is not None:
            found[ANY_ORDER] = float(np.mean([ndcg_of_any_order(gains) for gains, _ in queries]))
        return found

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Those whose score moves by more than a tenth of the scores' standard deviation."""
        return shifted(outputs, others)

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """How many passages each query has."""
        units = self.units(rows)
        counts = np.bincount(units)
        return [f"{count} passages" if count < 10 else "10 passages or more" for count in counts]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`, and give what sentence-transformers' does."""
        shown = "score" if _is_plain(config) else "1 / (1 + math.exp(-score))"
        return self._filled(USAGE, runtime, config).replace("SHOWN", shown)

    def _queries(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each query its passages' gains and scores, in the order of `units`, the least relevant first: of equal
        scores the first counts as higher, and a model that gives all the same must gain nothing by it."""
        queries: dict[int, list[tuple[float, float]]] = {}
        for output, row in zip(outputs, rows, strict=True):
            queries.setdefault(row["together"], []).append((row["labels"], float(output[0])))
        found = []
        for passages in queries.values():
            labels, scores = np.array(passages, dtype=np.float64).T
            gains = gains_of(labels, teacher=self.label is None)
            order = np.argsort(gains, kind="stable")
            found.append((gains[order], scores[order]))
        return found


def _number_of(query: str) -> int:
    """The same for one query, wherever it stands, and another for every other."""
    return int.from_bytes(hashlib.sha256(" ".join(query.split()).encode("utf-8", "surrogatepass")).digest()[:7], "big")


def _is_plain(config: Any) -> bool:
    """Whether the configuration tells sentence-transformers to leave scores as they are; else it takes a sigmoid."""
    settings = config.to_dict()
    told = (settings.get("sentence_transformers") or {}).get("activation_fn")
    return "Identity" in str(told or settings.get("sbert_ce_default_activation_function"))
