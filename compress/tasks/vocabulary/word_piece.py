"""WordPiece (BERT, DistilBERT): from the left, the longest piece that matches.

The longest match among fewer pieces is the same wherever it was kept: a word whose pieces were all kept is cut as
before. Source: Song et al. 2021, Fast WordPiece Tokenization, section 3 (the greedy algorithm).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WordPiece:
    """model: the `model` part of a tokenizer.json."""

    model: Mapping[str, Any]

    def numbers(self) -> dict[str, int]:
        """Each token's number."""
        return dict(self.model["vocab"])

    def needed(self) -> set[str]:
        """The unknown token."""
        return {self.model["unk_token"]}

    def characters(self) -> set[str]:
        """Pieces of one character, at the start of a word and inside one, and pieces that those cannot spell."""
        pieces = self.model["vocab"]
        spelled = {piece: self._spelled(piece) for piece in pieces}
        return {piece for piece, parts in spelled.items() if len(parts) == 1 or not pieces.keys() >= set(parts)}

    def with_parts(self, kept: Collection[str]) -> set[str]:
        """`kept`: a piece is matched at once."""
        return set(kept)

    def keep(self, kept: Mapping[str, int]) -> dict[str, Any]:
        """The `model` part that knows these tokens only."""
        return {**self.model, "vocab": dict(kept)}

    def _spelled(self, piece: str) -> list[str]:
        """The one-character pieces that spell `piece`."""
        prefix = self.model["continuing_subword_prefix"]
        inside = piece.startswith(prefix) and len(piece) > len(prefix)
        text = piece.removeprefix(prefix) if inside else piece
        return [f"{prefix}{character}" if inside or place else character for place, character in enumerate(text)]
