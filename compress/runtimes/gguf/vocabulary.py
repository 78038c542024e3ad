"""A tokenizer as GGUF describes it: byte-level BPE, by its tokens, its merges, and the name of what splits a text; or
SentencePiece's kind, by pieces and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from compress.core.errors import InputError
from compress.runtimes.gguf.sentence_piece import BYTE, SPACE, piece_scores, require_sentence_piece

NORMAL, CONTROL, USER_DEFINED, UNUSED, BYTE_PIECE = 1, 3, 4, 5, 6
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What llama.cpp splits a text with, by the name it has there, as this library writes the same.
PATTERNS = {SPLIT.format(numbers=r"\p{N}"): "qwen2", SPLIT.format(numbers=r"\p{N}{1,3}"): "llama-bpe"}


@dataclass(frozen=True)
class GgufVocabulary:
    """model: `gpt2`, byte-level BPE, or `llama`, SentencePiece's kind. tokens: by number, as these write them. types:
    each one's. merges: of the first kind, pairs, joined by a space, in order. scores: of the second, each token's. pre:
    what splits a text first. special: numbers by name, such as `bos`. starts, ends: whether a text gets bos and eos."""

    model: str
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]
    scores: Sequence[float]
    pre: str
    special: Mapping[str, int]
    starts: bool
    ends: bool


def gguf_vocabulary(tokenizer: PreTrainedTokenizerBase, size: int) -> GgufVocabulary:
    """size: rows of the model's word embeddings, which may be more than there are tokens.

    Raises InputError for a tokenizer that llama.cpp would not follow.
    """
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    model = described["model"]
    if model["type"] != "BPE":
        raise InputError(f"the tokenizer is a {model['type']}, and only BPE is written to GGUF here.")
    pieces = bool(model.get("byte_fallback"))
    if pieces:
        require_sentence_piece(described)
    pre = "default" if pieces else _pre_tokenizer(described)
    # Gemma's has one of images, which models of text have no row for: no text that such a model reads holds it.
    added = [entry for entry in described["added_tokens"] if entry["id"] < size]
    names = ("bos", "eos", "pad", "unk")
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
    numbers = {**model["vocab"], **{entry["content"]: entry["id"] for entry in added}}
    largest = max((*numbers.values(), *(number for number in special.values() if number is not None)))
    if largest >= size:
        raise InputError(f"the tokenizer has token {largest}, and the model's embeddings {size} rows.")
    tokens, types = [f"[PAD{number}]" for number in range(size)], [UNUSED] * size
    for token, number in numbers.items():
        tokens[number], types[number] = token, NORMAL
    for entry in added:
        types[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    scores: list[float] = []
    if pieces:
        tokens, types, scores = _as_pieces(tokens, types, described)
    around = tokenizer("a").input_ids
    return GgufVocabulary(
        model="llama" if pieces else "gpt2",
        tokens=tokens,
        types=types,
        merges=[] if pieces else merges,
        scores=scores,
        pre=pre,
        special={name: int(number) for name, number in special.items() if number is not None},
        starts=special["bos"] is not None and around[0] == special["bos"],
        ends=special["eos"] is not None and around[-1] == special["eos"],
    )


def _as_pieces(
    tokens: Sequence[str], types: Sequence[int], described: Mapping[str, Any]
) -> tuple[list[str], list[int], list[float]]:
    """Tokens, types and scores. What is found in a text before it is merged is written as it stands there."""
    model, added = described["model"], frozenset(entry["content"] for entry in described["added_tokens"])
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    scores = piece_scores(model["vocab"], merges, added)
    # Below all that merges make: only their order counts.
    lowest = -float(len(merges))
    names = [
        token.replace(SPACE, " ") if kind == USER_DEFINED else token for token, kind in zip(tokens, types, strict=True)
    ]
    kinds = [
        BYTE_PIECE if kind == NORMAL and BYTE.fullmatch(token) else kind
        for token, kind in zip(tokens, types, strict=True)
    ]
    return names, kinds, [scores.get(token, lowest) for token in tokens]


def _pre_tokenizer(described: Mapping[str, Any]) -> str:
    """The name that llama.cpp has for what splits a text before BPE."""
    normalizer, given = described["normalizer"], described["pre_tokenizer"]
    parts = given["pretokenizers"] if given and given["type"] == "Sequence" else [given]
    kinds = [part and part["type"] for part in parts]
    if normalizer is None or normalizer["type"] == "NFC":
        if kinds == ["ByteLevel"] and parts[0]["use_regex"] and not parts[0]["add_prefix_space"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and parts[0]["individual_digits"] and parts[1]["use_regex"]:
            return "smollm"
        if kinds == ["Split", "ByteLevel"] and not parts[1]["use_regex"]:
            pattern = parts[0]["pattern"].get("Regex")
            if pattern in PATTERNS:
                return PATTERNS[pattern]
    raise InputError(
        "the tokenizer splits texts in a way that has no name in GGUF here; known are those of GPT-2, SmolLM, Qwen 2 "
        "and 3, and Llama 3."
    )
