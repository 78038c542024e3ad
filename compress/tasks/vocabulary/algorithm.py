"""What a tokenization algorithm must say about its vocabulary, so that a part of it can be kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class Algorithm(Protocol):
    """The `model` part of a tokenizer.json.

    Whatever set of tokens is kept, as long as it holds `needed()` and has gone through `with_parts`: a text whose
    tokens were all kept has the same tokens as before, and any other text has tokens that spell the same text, or the
    unknown token.
    """

    def numbers(self) -> dict[str, int]:
        """Each token's number."""
        ...

    def needed(self) -> set[str]:
        """Tokens without which the algorithm would decide differently about others."""
        ...

    def characters(self) -> set[str]:
        """Tokens that spell, piece by piece, every text that can be spelled now."""
        ...

    def with_parts(self, kept: Collection[str]) -> set[str]:
        """`kept`, and every token that the algorithm goes through on its way to one of them."""
        ...

    def keep(self, kept: Mapping[str, int]) -> dict[str, Any]:
        """The `model` part that knows these tokens only, by these numbers (all from 0)."""
        ...
