"""The beginnings of texts that are all a model can read: what lies behind is never tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# So many characters for each token are looked at first, and so many times as many where they were too few.
CHARACTERS = 16
GROWTH = 4


def beginnings(texts: Sequence[Sequence[str]], tokenizer: Any, max_length: int) -> list[list[str]]:
    """Of each text a beginning that gives exactly the tokens that the whole would, cut at `max_length` tokens.

    texts: a list of texts, or two for pairs, example by example. Tokenizing a line of 50 MB to keep 128 tokens takes
    minutes and gigabytes.
    """
    if tokenizer.truncation_side != "right":
        return [list(of_column) for of_column in texts]
    if len(texts) == 1:
        return [[beginning(text, tokenizer, max_length) for text in texts[0]]]
    pairs = [_pair(first, second, tokenizer, max_length) for first, second in zip(*texts, strict=True)]
    return [[pair[side] for pair in pairs] for side in (0, 1)]


def _pair(first: str, second: str, tokenizer: Any, max_length: int) -> tuple[str, str]:
    """Of two texts that are both too long each gives half of the tokens, and the longer one the odd token: that they
    are both cut must not change which is longer."""
    bound = CHARACTERS * max_length
    short = [text for text in (first, second) if len(text) <= bound]
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True)
    if len(short) == 2 or (not short and room % 2):
        return first, second
    least = max(max_length, *(len(_tokens(text, tokenizer)[0]) + 1 for text in short), 0)
    kept = [text if len(text) <= bound else beginning(text, tokenizer, least) for text in (first, second)]
    return kept[0], kept[1]


def beginning(text: str, tokenizer: Any, count: int) -> str:
    """A beginning of `text` whose first `count` tokens are the first `count` tokens of all of it; the text itself where
    none is known to be.

    A tokenizer takes a text apart into words first, from left to right, and then each word by itself. What comes behind
    a cut can so only change the last words before it: those that it ends, one more where a space belongs to the word
    that follows, and what could be the beginning of an added token. Numbers are never cut, since some tokenizers group
    digits from their end. Tokenizers that know no words, and texts that are a single word, are left whole.
    """
    loose = 1 + max((len(token) for token in tokenizer.get_added_vocab()), default=0)
    size = CHARACTERS * count
    while size < len(text):
        end = size - loose
        while end > 0 and text[end - 1].isdecimal():
            end -= 1
        offsets, words = _tokens(text[:size], tokenizer)
        last = max((word for word in words if word is not None), default=0)
        sure = 0
        for (_, stop), word in zip(offsets, words, strict=True):
            if word is None or word >= last - 1 or stop > end:
                break
            sure += 1
        if sure >= count:
            return text[:size]
        size *= GROWTH
    return text


def _tokens(text: str, tokenizer: Any) -> tuple[list[tuple[int, int]], list[int | None]]:
    """Of each token the characters that it stands for, and the number of its word."""
    encoded = tokenizer(
        text,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_offsets_mapping=True,
        return_token_type_ids=False,
        verbose=False,
    )
    return encoded["offset_mapping"], encoded.word_ids()
