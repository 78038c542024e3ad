"""What a model is for, and what it reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.runtime import Runtime

Batch = Mapping[str, Any]


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

    reads_first_token: whether the model's head reads the last layer's output at the first token and nowhere else.
    """

    name: ClassVar[str]
    pipeline_tag: ClassVar[str]
    metric: ClassVar[str]
    score_range: ClassVar[float]
    inputs: ClassVar[tuple[str, ...]]
    reads_first_token: ClassVar[bool]

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

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Model inputs and labels, a row each, with columns `length` and `group`."""
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
        """One padded batch of encoded rows, with the column `labels`."""
        ...

    def logits(self, outputs: Any) -> torch.Tensor:
        """What a student imitates and what a runtime returns."""
        ...

    def logit_mask(self, batch: Batch) -> torch.Tensor | None:
        """Which positions of the logits count, or None for all."""
        ...

    def hidden_mask(self, batch: Batch) -> torch.Tensor | None:
        """Which positions of the hidden states count, or None for all."""
        ...

    def label_loss(self, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss against the hard labels, a mean. Rows without a label do not count; 0 where no row has one."""
        ...

    def labelled(self, batch: Batch) -> torch.Tensor:
        """How many labels `label_loss` is a mean over."""
        ...

    def score(self, logits: np.ndarray, row: Mapping[str, Any]) -> float:
        """The score of one example from its logits: its share of the metric."""
        ...

    def figures(self, logits: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Further figures about all examples together, by name. The gate does not look at them."""
        ...

    def kinds(self, rows: Dataset, config: Any) -> Sequence[str]:
        """For each encoded row, the name of the kind of answer it should get: scores are also looked at by kind."""
        ...

    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """For each input, the axes whose size may change, by name."""
        ...

    def usage(self, runtime: Runtime) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        ...
