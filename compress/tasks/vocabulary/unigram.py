"""Unigram (XLM-R): of all ways to cut a text into pieces, the one with the largest sum of scores.

The best way among all is the best among fewer wherever its pieces were kept, with the scores they had. Source: Kudo
2018, Subword Regularization, section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Unigram:
    """model: the `model` part of a tokenizer.json."""

    model: Mapping[str, Any]

    def numbers(self) -> dict[str, int]:
        """Each token's number: its place in the list."""
        return {piece: number for number, (piece, _) in enumerate(self.model["vocab"])}

    def needed(self) -> set[str]:
        """The unknown token, and a piece with the lowest score: an unknown character's score is counted from it."""
        pieces = self.model["vocab"]
        lowest = min(pieces, key=lambda entry: entry[1])[0]
        return {lowest} if self.model["unk_id"] is None else {lowest, pieces[self.model["unk_id"]][0]}

    def characters(self) -> set[str]:
        """Pieces of one character, those that these cannot spell, and bytes where unknown text becomes bytes."""
        pieces = self.numbers().keys()
        bytes_ = {f"<0x{byte:02X}>" for byte in range(256)} & pieces if self.model.get("byte_fallback") else set()
        return bytes_ | {piece for piece in pieces if len(piece) == 1 or not pieces >= set(piece)}

    def with_parts(self, kept: Collection[str]) -> set[str]:
        """`kept`: pieces are chosen, not built."""
        return set(kept)

    def keep(self, kept: Mapping[str, int]) -> dict[str, Any]:
        """The `model` part that knows these tokens only, with their scores."""
        scores = dict(self.model["vocab"])
        unknown = self.model["unk_id"]
        return {
            **self.model,
            "vocab": [[piece, scores[piece]] for piece in sorted(kept, key=lambda piece: kept[piece])],
            "unk_id": None if unknown is None else kept[self.model["vocab"][unknown][0]],
        }
