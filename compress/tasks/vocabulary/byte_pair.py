"""Byte-pair encoding (RoBERTa): pairs are merged, those that were learned first before others.

A merged pair is never taken apart, so every pair merged on the way lies inside one of the final tokens. Where those and
their parts are kept, the pair that was merged first is still there and still comes first: the text has the same tokens.
Source: Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units, section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class BytePair:
    """model: the `model` part of a tokenizer.json."""

    model: Mapping[str, Any]

    def numbers(self) -> dict[str, int]:
        """Each token's number."""
        return dict(self.model["vocab"])

    def needed(self) -> set[str]:
        """The unknown token, where there is one."""
        return {self.model["unk_token"]} if self.model.get("unk_token") else set()

    def characters(self) -> set[str]:
        """Every token that no merge makes: the characters or bytes that merging starts from."""
        return self.model["vocab"].keys() - self._parts.keys()

    def with_parts(self, kept: Collection[str]) -> set[str]:
        """`kept`, and all that they are merged from, down to single characters."""
        found: set[str] = set()
        waiting = list(kept)
        while waiting:
            token = waiting.pop()
            if token not in found:
                found.add(token)
                waiting.extend(self._parts.get(token, ()))
        return found

    def keep(self, kept: Mapping[str, int]) -> dict[str, Any]:
        """The `model` part that knows these tokens, and the merges among them in their old order."""
        merges = [
            [left, right]
            for left, right in self._merges
            if left in kept and right in kept and self._merged(left, right) in kept
        ]
        return {**self.model, "vocab": dict(kept), "merges": merges}

    @cached_property
    def _merges(self) -> list[tuple[str, str]]:
        # Older files write "a b", newer ones ["a", "b"].
        pairs = (merge.split(" ") if isinstance(merge, str) else merge for merge in self.model["merges"])
        return [(left, right) for left, right in pairs]

    @cached_property
    def _parts(self) -> dict[str, list[str]]:
        """What each merged token is made of, by any of its merges."""
        parts: dict[str, list[str]] = {}
        for left, right in self._merges:
            parts.setdefault(self._merged(left, right), []).extend((left, right))
        return parts

    def _merged(self, left: str, right: str) -> str:
        return left + right[len(self.model.get("continuing_subword_prefix") or "") :]
