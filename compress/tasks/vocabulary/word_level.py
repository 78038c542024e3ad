"""WordLevel: a word is a token, or unknown."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WordLevel:
    """model: the `model` part of a tokenizer.json."""

    model: Mapping[str, Any]

    def numbers(self) -> dict[str, int]:
        """Each token's number."""
        return dict(self.model["vocab"])

    def needed(self) -> set[str]:
        """The unknown token."""
        return {self.model["unk_token"]}

    def characters(self) -> set[str]:
        """None: nothing smaller than a word is known."""
        return set()

    def with_parts(self, kept: Collection[str]) -> set[str]:
        """`kept`: words have no parts."""
        return set(kept)

    def keep(self, kept: Mapping[str, int]) -> dict[str, Any]:
        """The `model` part that knows these tokens only."""
        return {**self.model, "vocab": dict(kept)}
