"""A tokenizer of SentencePiece's kind as GGUF describes it: by pieces and their scores.

`tokenizer.json` has such a tokenizer as BPE: pairs that were learned first are merged first. llama.cpp merges, as
SentencePiece, the two neighbours that make the piece with the highest score, whichever two they are. Both do the same
where every pair that makes a piece is a merge, and the merges of one piece follow each other: a piece's score is then
minus the place of its first merge. Source: Kudo and Richardson 2018, SentencePiece; `convert_slow_tokenizer` of
Transformers, which makes merges of scores in this way.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from compress.core.errors import InputError

SPACE = "\u2581"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
SPACES_REPLACED = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
WAY_OUT = "Give the tokenizer that the model was published with."


def require_sentence_piece(described: Mapping[str, Any]) -> None:
    """Raise InputError where llama.cpp would read a text as other pieces. described: as in tokenizer.json."""
    model, split = described["model"], described["pre_tokenizer"]
    if described["normalizer"] != SPACES_REPLACED:
        raise InputError(
            "the tokenizer falls back to bytes, as SentencePiece does, and changes texts in another way than Gemma's, "
            f"which makes {SPACE} of a space and nothing else: GGUF has no words for that here. {WAY_OUT}"
        )
    # No space is left that could be split at.
    if split is not None and (split["type"], split.get("pattern")) != ("Split", {"String": " "}):
        raise InputError(
            f"the tokenizer falls back to bytes, as SentencePiece does, and splits texts by {split['type']} before it "
            f"merges, which GGUF has no words for. {WAY_OUT}"
        )
    if model.get("ignore_merges") or model.get("dropout"):
        raise InputError(f"the tokenizer ignores merges or drops some, which GGUF has no words for. {WAY_OUT}")


def piece_scores(
    vocabulary: Mapping[str, int], merges: Sequence[Sequence[str]], added: frozenset[str]
) -> dict[str, float]:
    """The score of each piece that merges make: minus the place of its first merge.

    added: tokens that are found in a text before anything is merged. Raises InputError where the pieces by scores would
    be others than by merges.
    """
    first: dict[str, int] = {}
    pairs = [(merge[0], merge[1]) for merge in merges]
    for place, (left, right) in enumerate(pairs):
        first.setdefault(left + right, place)
    followed = [name for name, _ in itertools.groupby(left + right for left, right in pairs) if name not in added]
    known = set(pairs)
    missing = (
        (name[:at], name[at:])
        for name in vocabulary
        if name not in added and not BYTE.fullmatch(name)
        for at in range(1, len(name))
        if name[:at] in vocabulary and name[at:] in vocabulary and (name[:at], name[at:]) not in known
    )
    told = next((f"no merge of {left!r} and {right!r}" for left, right in missing), "")
    if len(followed) != len(set(followed)):
        told = "merges of one piece with others between them"
    if told:
        raise InputError(
            f"the tokenizer falls back to bytes, as SentencePiece does, and has {told}, so that no scores would find "
            f"the same pieces, which is what GGUF holds. {WAY_OUT}"
        )
    return {name: -float(place) for name, place in first.items()}
