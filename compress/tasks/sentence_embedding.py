"""A vector for each text, so that texts alike lie close. Judged by what is found with it, or by pairs people rated."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from compress.core.checks import require_at_least, require_choice, require_integer, require_positive
from compress.core.errors import InputError, TooLittleError
from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.core.task import TaskDefaults
from compress.tasks.beginnings import beginnings
from compress.tasks.heads import require_head
from compress.tasks.judgements import JUDGED_BY_THEMSELVES, ORDER, Judgement, Ranking, Similarity, teachers
from compress.tasks.kept_usage import kept_usage
from compress.tasks.labels import NO_LABEL
from compress.tasks.ranking import DOCUMENT, GRADES, NAME, QUERY, RELEVANT, ROLE, TEXT, nearest_of, unit
from compress.tasks.splicing import splice
from compress.tasks.stored_vectors import KEPT
from compress.tasks.text import (
    load_tokenizer,
    padded,
    require_fitting_length,
    require_known_tokens,
    same_tokens,
    save_tokenizer,
    texts_of,
)
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.metric import Metric
    from compress.core.runtime import Runtime

# Prompts for documents go by either name.
PROMPTS: Mapping[str, tuple[str, ...]] = {QUERY: ("query",), DOCUMENT: ("document", "passage")}
ANSWERS = "teacher's vector"
ANSWERED = (
    "nobody judged which texts are alike: the teacher's ranking of them is the truth, and nDCG@10 says how well the "
    "student agrees with it"
)
JUDGED = "somebody judged the examples; the teacher's vectors are known too, for figures beside"
ROWS_AT_ONCE = 32
USAGE = """\
import numpy, PACKAGE, tokenizers
tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
OPEN
texts = [tokenizer.encode(text) for text in ("Put one text here.", "Put another one here.")]
vectors = numpy.concatenate([RUN for text in texts])
print(vectors @ vectors.T)
"""
INPUTS = '{"input_ids": [text.ids], "attention_mask": [text.attention_mask]}'

SIGNATURE = Signature(
    inputs=tuple(Port(name, (BATCH, SEQUENCE), "int64") for name in ("input_ids", "attention_mask")),
    output=Port("sentence_embedding", (BATCH, "dimensions"), "float32"),
    mask="attention_mask",
    # What sentence-transformers pools by itself.
    more=(Port("last_hidden_state", (BATCH, SEQUENCE, "width"), "float32"),),
)


@dataclass(frozen=True, kw_only=True)
class SentenceEmbedding(TaskDefaults):
    """text: the column. max_length: longest input, in tokens; None for the model folder's own. pooling: how one vector
    is made of a plain encoder's; None where the folder says it.

    vector_weight, ranking_weight: of the two parts of what a student imitates: its vectors' distance to the teacher's,
    and whom, among the texts of a batch, each text is like. sharpness: cosines are multiplied by it first.
    dimensions: numbers of first dimensions that are to rank well alone too (Kusupati et al. 2022, Matryoshka
    Representation Learning). pairs: whether what judges are pairs that people rated. stored:
    `int8`, `binary`: forms in which an index may keep vectors, each with a figure.
    """

    text: str
    max_length: int | None
    pooling: str | None
    vector_weight: float
    ranking_weight: float
    sharpness: float
    dimensions: Sequence[int]
    pairs: bool
    stored: Sequence[str]

    name: ClassVar[str] = "sentence_embedding"
    pipeline_tag: ClassVar[str] = "sentence-similarity"
    vectors: ClassVar[bool] = True
    judging: ClassVar[frozenset[str]] = frozenset({"pairs", "stored"})

    def __post_init__(self) -> None:
        if self.max_length is not None:
            require_integer("data.max_length", self.max_length, 4, "Use null for the model's own.")
        if not isinstance(self.text, str) or not self.text:
            raise InputError(f"data.text is {self.text!r}; it names one column. Use data.text=COLUMN.")
        require_at_least("task.vector_weight", self.vector_weight, 0, "Use 1, for example.")
        require_at_least("task.ranking_weight", self.ranking_weight, 0, "Use 1, for example.")
        if not (self.vector_weight or self.ranking_weight):
            raise InputError("task.vector_weight and task.ranking_weight are both 0; one must be greater. Use 1 and 1.")
        require_positive("task.sharpness", self.sharpness, "Use 20, for example.")
        for number in self.dimensions:
            require_integer("task.dimensions", number, 2, "Use [64, 128], for example, or [] for none.")
        for form in self.stored:
            require_choice("task.stored", form, tuple(KEPT))

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The encoder of `folder` with its readout. Raises InputError for what has a head, or is not supported."""
        from compress.tasks.sentence_folder import load_encoder

        require_head(folder, self.name)
        return load_encoder(folder, self.pooling)

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """Raises InputError: vectors are not learned here from labels."""
        raise InputError(
            "model=fine_tuned trains a head on labels, and vectors have none. Give an encoder that makes vectors "
            "already: model=encoder."
        )

    def load_processor(self, folder: Path) -> Any:
        """The tokenizer; its `model_max_length` is the longest input. Raises InputError where nothing says how long
        that may be, or where texts would be changed before the tokenizer sees them."""
        from compress.tasks.sentence_folder import read_folder

        tokenizer, said = load_tokenizer(folder), read_folder(folder, self.pooling)
        if said.lower_case and tokenizer("Aa").input_ids != tokenizer("aa").input_ids:
            raise InputError(
                f"model.path is {folder}, which makes texts lower case before its tokenizer sees them "
                "(do_lower_case in sentence_bert_config.json). Use a tokenizer that does it itself."
            )
        length = self.max_length or said.max_length or tokenizer.model_max_length
        # Transformers' way of saying that nobody knows.
        if length > 1_000_000:
            raise InputError(
                f"data.max_length is null, and model.path is {folder}, which does not say how long an input may be. "
                "Use data.max_length=256, for example."
            )
        tokenizer.model_max_length = int(length)
        return tokenizer

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write the tokenizer so that it truncates by itself, and what sentence-transformers reads beside it."""
        from compress.tasks.sentence_folder import save_sentence_folder

        save_tokenizer(processor, folder, max_length=processor.model_max_length)
        save_sentence_folder(folder, max_length=processor.model_max_length)

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """A copy: no head answers what the examples ask."""
        return copy.deepcopy(config)

    def signature(self, config: Any) -> Signature:
        """Token numbers and which of them are no padding; (rows, dimensions)."""
        return SIGNATURE

    @property
    def asks_teacher(self) -> bool:
        """Always: its vectors are the truth, or stand beside it."""
        return True

    def about_answers(self, examples: Dataset) -> str:
        """Whether somebody judged, or the teacher's own ranking does."""
        return JUDGED if ROLE in examples.column_names else ANSWERED

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """The examples that judge, with the vector that `model` makes of each; those of `train` as they are."""
        import torch
        from tqdm.auto import tqdm

        from compress.nn.forward import forward

        if split == "train":
            return examples
        rows = self._encoded(examples, processor, config, split)
        found: list[Any] = [None] * len(rows)
        order = np.argsort(rows["length"][:], kind="stable").tolist()
        for start in tqdm(range(0, len(order), ROWS_AT_ONCE), desc=f"teacher's vectors, {split}", leave=False):
            chosen = order[start : start + ROWS_AT_ONCE]
            with torch.inference_mode():
                output = forward(model, SIGNATURE, self.collate([rows[row] for row in chosen], processor)).output
            for row, vector in zip(chosen, output.float().cpu().numpy(), strict=True):
                found[row] = vector
        return examples.add_column(ANSWERS, found)

    def foresee_answers(self, examples: Dataset, split: str) -> Dataset:
        """A vector of one number for each example that judges: whatever the vectors are, all examples stay."""
        return examples if split == "train" else examples.add_column(ANSWERS, [[0.0]] * len(examples))

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns `input_ids`, `attention_mask`, `labels`, `length`, `group`; queries come first. labels: of examples
        that judge, a structure with the teacher's `vector`, `role`, `name`, and of a query names of `relevant`
        documents and their `grades`. Raises InputError for empty texts and for too few different ones."""
        encoded = self._encoded(examples, processor, config, split)
        if len(set(map(tuple, encoded["input_ids"]))) < 2:
            raise TooLittleError(
                f"data.text={self.text}: data.{split} has a single text, so nothing can be ranked. Give more."
            )
        if ANSWERS not in examples.column_names:
            return encoded.add_column("labels", [NO_LABEL] * len(examples))
        columns = {name: self._judged(examples, name) for name in (ROLE, NAME, RELEVANT, GRADES)}
        labels = [
            {"vector": vector, **dict(zip(columns, values, strict=True))}
            for vector, *values in zip(examples[ANSWERS][:], *columns.values(), strict=True)
        ]
        order = sorted(range(len(labels)), key=lambda row: ORDER[labels[row][ROLE]])
        return encoded.add_column("labels", labels).select(order)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns, with `NO_LABEL` for labels. Where there is a single column, that is the text."""
        encoded = self._encoded(examples, processor, config, "unlabelled")
        return encoded.add_column("labels", [NO_LABEL] * len(examples))

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """The beginning of one text and the end of another."""
        from datasets import Dataset as DatasetType

        others = [(text,) for part in apart_from for text in part[self.text]]
        made = splice([(text,) for text in examples[self.text]], count, seed, apart_from=others)
        return DatasetType.from_dict({self.text: [text for (text,) in made]})

    def vocabulary(self, processor: Any) -> TokenizerVocabulary:
        """The tokenizer's tokens. Raises InputError where they cannot be taken apart safely."""
        return TokenizerVocabulary(processor)

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        return list(rows["input_ids"])

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each text, encoded by two tokenizers, whether they read the same tokens, whatever their numbers."""
        return same_tokens(rows, processor, others, other_processor)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """input_ids and attention_mask padded to the longest row, int64 (rows, length); labels mark that a batch has
        none, (rows,)."""
        import torch

        return {
            **padded(rows, {"input_ids": int(processor.pad_token_id), "attention_mask": 0}),
            "labels": torch.full((len(rows),), NO_LABEL),
        }

    def label_loss(self, output: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean cross-entropy of whom of the batch each text is like, against the one that it is most like by these very
        vectors: no label is known, and what changes this changes what is found. 0 for a single text."""
        import torch
        from torch.nn.functional import cross_entropy

        if len(output) < 2:
            return output.sum() * 0
        likeness = _likeness(output.float(), self.sharpness)
        return cross_entropy(likeness, torch.argmax(likeness.detach(), dim=1))

    def labelled(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Every text."""
        import torch

        return torch.tensor(len(batch["labels"]))

    def imitation_loss(
        self, output: torch.Tensor, target: torch.Tensor, batch: Mapping[str, Any] | None = None
    ) -> torch.Tensor:
        """How far vectors are from the teacher's, and what they find alike from what it finds alike: mean squared
        distance of the vectors, each taken at length 1, and KL divergence of whom of the batch each text is like. Mean
        over the texts. output, target: (rows, dimensions)."""
        import torch
        from torch.nn.functional import kl_div, log_softmax, normalize

        found, expected = output.float(), target.float()
        loss = torch.zeros((), device=output.device)
        if self.vector_weight:
            distance = (normalize(found, dim=1) - normalize(expected, dim=1)).pow(2).sum(dim=1).mean()
            loss = loss + self.vector_weight * distance
        for width in (found.shape[1], *self.dimensions) if self.ranking_weight and len(found) > 1 else ():
            alike, truth = (_likeness(vectors, self.sharpness) for vectors in (found[:, :width], expected))
            divergence = kl_div(
                log_softmax(alike, dim=1), log_softmax(truth, dim=1), reduction="batchmean", log_target=True
            )
            loss = loss + self.ranking_weight * divergence
        return loss

    def metric(self, config: Any) -> Metric:
        """nDCG of the first ten, by query; of rated pairs Spearman's correlation."""
        return self._judgement.metric

    def units(self, rows: Dataset) -> list[int]:
        """Queries, pairs or texts are judged one by one; documents are there to be found."""
        roles = [TEXT if label == NO_LABEL else label[ROLE] for label in rows["labels"]]
        return [number if role in JUDGED_BY_THEMSELVES else -1 for number, role in enumerate(roles)]

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """See `compress.tasks.judgements`. outputs: (dimensions,) each."""
        return self._judgement.statistics([row["labels"] for row in rows], np.stack(outputs))

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """See `compress.tasks.judgements`; and the mean cosine to the teacher's vectors."""
        labels, vectors = [row["labels"] for row in rows], np.stack(outputs)
        teacher = teachers(labels)
        found = self._judgement.figures(labels, vectors, teacher, dimensions=self.dimensions, stored=self.stored)
        if vectors.shape[1] == teacher.shape[1]:
            found["cosine_to_teacher"] = float((unit(vectors) * unit(teacher)).sum(axis=1).mean())
        return found

    def kept_statistics(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], form: str, kept: np.ndarray
    ) -> np.ndarray:
        """See `compress.core.kept_vectors.KeepsVectors`."""
        return self._judgement.kept_statistics([row["labels"] for row in rows], np.stack(outputs), form, kept)

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Those of whom, among these very rows, other ten are the nearest."""
        return int((nearest_of(np.stack(outputs)) != nearest_of(np.stack(others))).any(axis=1).sum())

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """What each judged example is: a query, a pair's first text, or a text."""
        return [label[ROLE] for label in rows["labels"] if label[ROLE] in JUDGED_BY_THEMSELVES]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        package, opening, run = runtime.snippet
        return USAGE.replace("PACKAGE", package).replace("OPEN", opening).replace("RUN", run.replace("INPUTS", INPUTS))

    def kept_usage(self, runtime: Runtime, forms: Sequence[str]) -> str:
        """See `compress.core.kept_vectors.KeepsVectors`."""
        package, opening, run = runtime.snippet
        run = run.replace("INPUTS", INPUTS).removesuffix("[0]")
        return kept_usage(package, opening, run, forms, first=1 + len(SIGNATURE.more))

    @property
    def _judgement(self) -> Judgement:
        return Similarity() if self.pairs else Ranking()

    def _encoded(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """All columns but the labels."""
        from datasets import Dataset as DatasetType

        from compress.nn.sentence_encoder import Readout

        prompts = Readout.of(config).prompts
        length = int(processor.model_max_length)
        require_fitting_length(length, config)
        before = [
            next((prompts[name] for name in PROMPTS.get(role, ()) if name in prompts), "")
            for role in self._judged(examples, ROLE)
        ]
        texts = [prompt + text for prompt, text in zip(before, self._texts(examples, split), strict=True)]
        encoded = processor(
            *beginnings([texts], processor, length),
            truncation=True,
            max_length=length,
            padding=False,
            return_token_type_ids=False,
        )
        require_known_tokens(encoded["input_ids"], config)
        return DatasetType.from_dict(
            {
                "input_ids": encoded["input_ids"],
                "attention_mask": encoded["attention_mask"],
                "length": [len(ids) for ids in encoded["input_ids"]],
                "group": examples["group"][:] if "group" in examples.column_names else list(range(len(texts))),
            }
        )

    def _judged(self, examples: Dataset, column: str) -> list[Any]:
        """A column that only judged examples have, or what stands for it."""
        if column in examples.column_names and ROLE in examples.column_names:
            return list(examples[column])
        nothing: Mapping[str, Any] = {ROLE: TEXT, NAME: "", RELEVANT: [], GRADES: []}
        return [nothing[column]] * len(examples)

    def _texts(self, examples: Dataset, split: str) -> list[str]:
        found = [name for name in examples.column_names if name not in ("group", ANSWERS)]
        return texts_of(examples, found[0] if split == "unlabelled" and len(found) == 1 else self.text, split)


def _likeness(vectors: torch.Tensor, sharpness: float) -> torch.Tensor:
    """(rows, rows): cosines of texts with each other, sharpened; a text is not like itself."""
    import torch
    from torch.nn.functional import normalize

    directions = normalize(vectors, dim=1)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    # Of finite size, so that its share of a divergence is 0 and not unknown.
    return (sharpness * directions @ directions.T).masked_fill(itself, -1e4)
