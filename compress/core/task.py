"""What a model is for, and what it reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from compress.core.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.metric import Metric
    from compress.core.runtime import Runtime
    from compress.core.signature import Signature

Batch = Mapping[str, Any]
# The number of a judged example, and of one class: true positives, predicted, actual.
Counts = tuple[int, int, int, int]


class Vocabulary(Protocol):
    """The tokens that a processor knows, by their numbers from 0."""

    @property
    def size(self) -> int:
        """One more than the largest number."""
        ...

    def required(self, *, characters: bool) -> frozenset[int]:
        """Tokens that must stay. With `characters` also those that spell every text that can be spelled now."""
        ...

    def with_parts(self, kept: Collection[int]) -> frozenset[int]:
        """`kept`, and every token that is gone through on the way to one of them."""
        ...

    def keep(self, kept: Sequence[int]) -> Any:
        """A processor that knows these tokens only (numbers, ascending), numbered by their place in `kept`."""
        ...


class Task(Protocol):
    """What the model is for. Nothing outside a task's file may assume text, one label per example, or accuracy.

    size_unit: what an example's `length` counts, such as `tokens`. vectors: whether outputs are vectors, of which the
    direction counts, and no scores of classes. decodes: whether a model goes on with a text, so that one use is many
    calls; the layers of such are not fused. judging: settings that only say how answers are judged, or what is timed:
    no model, and no batch, comes out differently for them, unless by the latency table.
    """

    name: ClassVar[str]
    pipeline_tag: ClassVar[str]
    size_unit: ClassVar[str]
    vectors: ClassVar[bool]
    decodes: ClassVar[bool]
    judging: ClassVar[frozenset[str]]

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The model of `folder`, in FP32 and evaluation mode, through the library's own loader."""
        ...

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """A pretrained encoder with a fresh head for `config`."""
        ...

    def load_processor(self, folder: Path) -> Any:
        """What turns raw examples into inputs. Raises InputError where there is none."""
        ...

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write it so that a stock library reads it, with this task's settings in it."""
        ...

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` changed to answer what `examples` ask, for a model that is to be fine-tuned from scratch heads."""
        ...

    def signature(self, config: Any) -> Signature:
        """What a model of this configuration takes and gives: all that whoever calls or exports it needs to know."""
        ...

    @property
    def asks_teacher(self) -> bool:
        """Whether the teacher is asked for its answers to examples, because they are the truth or stand beside it."""
        ...

    def about_answers(self, examples: Dataset) -> str:
        """What is to be told of these examples, which judge, where the teacher is asked: what is the truth."""
        ...

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """The examples with the answers of `model`, the teacher, as `encode` takes them for labels."""
        ...

    def foresee_answers(self, examples: Dataset, split: str) -> Dataset | None:
        """The examples with something in the place of the teacher's answers, for a plan: `encode` makes as many rows of
        them, of the same lengths and groups, and refuses the same. None where that takes the answers themselves."""
        ...

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """What `collate` needs, a row each, with columns `labels`, `length` (the size of an example: tokens, patches)
        and `group`; where rows are learned in comparison with others, `together` too: equal numbers are shown in one
        batch, as far as its size allows."""
        ...

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns for examples without labels, in which `labels` marks that there is none."""
        ...

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """At most `count` examples without labels, each made of parts of two of `examples`; none that is among those
        or in one of `apart_from`."""
        ...

    def vocabulary(self, processor: Any) -> Vocabulary:
        """The processor's tokens. Raises InputError where it has none that could be taken apart."""
        ...

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """The numbers of each encoded row's tokens."""
        ...

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """For each example, encoded by two processors, whether they read the same tokens, whatever their numbers."""
        ...

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """One batch of encoded rows, padded at their ends: the signature's inputs, and `labels`."""
        ...

    def label_loss(self, output: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss against the hard labels, a mean. Rows without a label do not count; 0 where no row has one."""
        ...

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many labels `label_loss` is a mean over."""
        ...

    def imitation_loss(
        self, output: torch.Tensor, target: torch.Tensor, batch: Batch | None = None
    ) -> torch.Tensor | None:
        """How far the outputs of a batch are from the teacher's, a mean over its rows. None where they are logits, of
        which the distributions are compared. batch: what they are the outputs of; None: rows by themselves."""
        ...

    def imitated(self, batch: Batch) -> torch.Tensor | None:
        """Where there is an output for each position: at which of them it is compared with the teacher's, (rows,
        positions). None: at all that are no padding."""
        ...

    def metric(self, config: Any) -> Metric:
        """What answers are judged by, for a model of this configuration."""
        ...

    def units(self, rows: Dataset) -> list[int] | None:
        """For each row the number, from 0, of the example that it is judged as a part of; None: each row is one.

        -1: the row is there for the sake of others, such as a document to be found; it is not judged itself, and not
        timed. Such rows come last."""
        ...

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """The metric's statistics of each judged example, (examples, columns), in float64. outputs: of each row."""
        ...

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Further figures about all examples together, by name. The gate does not look at them."""
        ...

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """For each class that can be found or missed, of every judged example that has to do with it: the example's
        number, from 0, its true positives, how often the model names the class there and how often it is there. The
        gate looks at what is lost of each. Empty where there is none to count."""
        ...

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """How many rows get another answer by `others` than by `outputs`, each the same rows' in the same order."""
        ...

    def classes(self, rows: Dataset) -> Sequence[int] | None:
        """The number of each row's true class, where the metric is the share of rows whose largest output is that of
        their class; None elsewhere. Of such, the teacher's probabilities predict scores where there are no labels."""
        ...

    def kinds(self, rows: Dataset, config: Any) -> Sequence[str]:
        """For each judged example, the name of the kind of answer it should get: the metric is also looked at by
        kind."""
        ...

    def written(self, tokens: Sequence[int], processor: Any) -> str:
        """Tokens as people read them. Asked where a model goes on with a text."""
        ...

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`. config: the exported model's."""
        ...


class TaskDefaults:
    """What a task says where it has nothing to say: no example can be made of parts of others, its processor has no
    vocabulary, every row is an example of its own, and no class is counted."""

    name: ClassVar[str]
    size_unit: ClassVar[str] = "tokens"
    vectors: ClassVar[bool] = False
    decodes: ClassVar[bool] = False
    judging: ClassVar[frozenset[str]] = frozenset()

    @property
    def asks_teacher(self) -> bool:
        """No: examples have labels."""
        return False

    def about_answers(self, examples: Dataset) -> str:
        """Nothing: nobody is asked."""
        return ""

    def answered(self, examples: Dataset, model: PreTrainedModel, processor: Any, config: Any, split: str) -> Dataset:
        """As they are."""
        return examples

    def foresee_answers(self, examples: Dataset, split: str) -> Dataset | None:
        """None: what the teacher answers decides what is judged."""
        return None

    def splice(self, examples: Dataset, count: int, seed: int, *, apart_from: Sequence[Dataset]) -> Dataset:
        """None: of what is not text, parts of two examples make no third."""
        return examples.select([])

    def vocabulary(self, processor: Any) -> Vocabulary:
        """Raises InputError."""
        raise InputError(
            f"task {self.name}: its processor has no vocabulary, so none can be cut. Leave such a stage out of order."
        )

    def tokens(self, rows: Dataset) -> Sequence[Sequence[int]]:
        """Raises InputError, as `vocabulary` does."""
        raise InputError(
            f"task {self.name}: its examples have no tokens to count. Leave a stage that counts them out of order."
        )

    def same_tokens(self, rows: Dataset, processor: Any, others: Dataset, other_processor: Any) -> list[bool]:
        """All are read alike: there is one processor."""
        return [True] * len(rows)

    def written(self, tokens: Sequence[int], processor: Any) -> str:
        """Raises ValueError: no model of this task goes on with a text."""
        raise ValueError(f"task {self.name} writes no text")

    def imitation_loss(
        self, output: torch.Tensor, target: torch.Tensor, batch: Batch | None = None
    ) -> torch.Tensor | None:
        """None: outputs are logits."""
        return None

    def imitated(self, batch: Batch) -> torch.Tensor | None:
        """None: at all positions."""
        return None

    def classes(self, rows: Dataset) -> Sequence[int] | None:
        """None: scores are not predicted."""
        return None

    def units(self, rows: Dataset) -> list[int] | None:
        """None: each row is judged by itself."""
        return None

    def changed(self, outputs: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> int:
        """Those whose largest output, at any place, is another."""
        pairs = zip(outputs, others, strict=True)
        return sum(bool((one.argmax(axis=-1) != other.argmax(axis=-1)).any()) for one, other in pairs)

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """None is counted."""
        return {}
