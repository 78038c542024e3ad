"""What stands between raw examples and a runtime's inputs, and between its outputs and answers."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from compress.deploy.answers import Answer
from compress.deploy.batching import padded
from compress.deploy.tokenizer import StockTokenizer


@dataclass(frozen=True)
class Reading:
    """One example as the model reads it.

    key: equal for examples that must get the same answer; key_bytes: its size. rows: what is computed, one or several.
    lengths: of each row. detail: what only its own form knows.
    """

    key: Hashable
    key_bytes: int
    rows: tuple[Any, ...]
    lengths: tuple[int, ...]
    detail: Any = None


class Form(Protocol):
    """How examples of one kind are read and answered. most: the length of the longest row."""

    most: int

    def given(self, example: Any, place: int, prompt: str | None) -> Any:
        """The example as it is read, looked at. place: its number among those given, from 1. Raises InputError."""
        ...

    def key(self, given: Any) -> tuple[Hashable, int]:
        """What is exactly equal where the example is, and its size in bytes."""
        ...

    def read(self, given: Sequence[Any]) -> list[Reading]:
        """All of them, in order."""
        ...

    def batch(self, rows: Sequence[Any], width: int) -> dict[str, np.ndarray]:
        """The runtime's inputs for some rows. width: how long each becomes."""
        ...

    def answer(self, reading: Reading, outputs: Sequence[np.ndarray]) -> Answer:
        """outputs: of each of its rows, without padding."""
        ...


def token_batch(rows: Sequence[Sequence[int]], width: int, tokenizer: StockTokenizer) -> dict[str, np.ndarray]:
    """Token numbers and which of them are no padding, (rows, width)."""
    lengths = np.array([len(row) for row in rows])
    return {
        "input_ids": padded(rows, width, tokenizer.padding),
        "attention_mask": (np.arange(width) < lengths[:, None]).astype(np.int64),
    }


def packed(ids: Sequence[int]) -> bytes:
    """Token numbers as a key, four bytes each."""
    return array("i", ids).tobytes()
