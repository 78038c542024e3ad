"""A tokenizer as GGUF describes it: byte-level BPE, by its tokens, its merges, and the name of what splits a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from compress.core.errors import InputError

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{numbers}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# What llama.cpp splits a text with, by the name it has there, as this library writes the same.
PATTERNS = {SPLIT.format(numbers=r"\p{N}"): "qwen2", SPLIT.format(numbers=r"\p{N}{1,3}"): "llama-bpe"}


@dataclass(frozen=True)
class GgufVocabulary:
    """tokens: by number, as BPE writes them. types: each one's. merges: pairs, joined by a space, in order. pre: what
    splits a text first. special: numbers by name, such as `bos`. starts, ends: whether a text gets bos and eos."""

    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str]
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
    if model["type"] != "BPE" or model.get("byte_fallback"):
        raise InputError(f"the tokenizer is a {model['type']}, and only byte-level BPE is written to GGUF here.")
    pre = _pre_tokenizer(described)
    numbers = {**model["vocab"], **{entry["content"]: entry["id"] for entry in described["added_tokens"]}}
    if max(numbers.values()) >= size:
        raise InputError(f"the tokenizer has token {max(numbers.values())}, and the model's embeddings {size} rows.")
    tokens, types = [f"[PAD{number}]" for number in range(size)], [UNUSED] * size
    for token, number in numbers.items():
        tokens[number], types[number] = token, NORMAL
    for entry in described["added_tokens"]:
        types[entry["id"]] = CONTROL if entry["special"] else USER_DEFINED
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    names = ("bos", "eos", "pad", "unk")
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in names}
    around = tokenizer("a").input_ids
    return GgufVocabulary(
        tokens=tokens,
        types=types,
        merges=merges,
        pre=pre,
        special={name: int(number) for name, number in special.items() if number is not None},
        starts=special["bos"] is not None and around[0] == special["bos"],
        ends=special["eos"] is not None and around[-1] == special["eos"],
    )


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
