"""The part of a text that is all a model can read, its beginning or its end: the rest is never tokenized."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from compress.core.errors import InputError

# So many characters for each token are looked at first, and so many times as many where they were too few.
CHARACTERS = 16
GROWTH = 4
# A part of so many characters, and not enough words in it: reading more takes seconds, then minutes and gigabytes.
LARGEST_PART = 1_000_000


def beginnings(texts: Sequence[Sequence[str]], tokenizer: Any, max_length: int) -> list[list[str]]:
    """Of each text a part that gives exactly the tokens that the whole would, cut at `max_length` tokens: its beginning
    or, where the tokenizer truncates on the left, its end.

    texts: a list of texts, or two for pairs, example by example. Tokenizing a line of 50 MB to keep 128 tokens takes
    minutes and gigabytes. Raises InputError for a text of which a million characters are one word.
    """
    if len(texts) == 1:
        return [[_part(text, tokenizer, max_length) for text in texts[0]]]
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
    kept = [text if len(text) <= bound else _part(text, tokenizer, least) for text in (first, second)]
    return kept[0], kept[1]


def _part(text: str, tokenizer: Any, count: int) -> str:
    return ending(text, tokenizer, count) if tokenizer.truncation_side == "left" else beginning(text, tokenizer, count)


def beginning(text: str, tokenizer: Any, count: int) -> str:
    """A beginning of `text` whose first `count` tokens are the first `count` tokens of all of it; the text itself where
    none is known to be.

    A tokenizer takes a text apart into words first, from left to right, and then each word by itself. What comes behind
    a cut can so only change the last words before it: those that it ends, one more where a space belongs to the word
    that follows, and what could be the beginning of an added token. Numbers are never cut, since some tokenizers group
    digits from their end. Tokenizers that know no words, and texts that are a single word, are left whole up to
    `LARGEST_PART` characters; beyond that InputError is raised.
    """
    loose = _loose(tokenizer)
    size = CHARACTERS * count
    while size < len(text):
        _require_readable(text, size)
        end = size - loose
        while end > 0 and text[end - 1].isnumeric():
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


def ending(text: str, tokenizer: Any, count: int) -> str:
    """An end of `text` whose last `count` tokens are the last `count` tokens of all of it; the text itself where none
    is known to be.

    What comes before a cut can in the same way only change the first words behind it: see `beginning`. Numbers are
    never cut here either: most tokenizers group digits from their beginning.
    """
    loose = _loose(tokenizer)
    size = CHARACTERS * count
    while size < len(text):
        _require_readable(text, size)
        part = text[-size:]
        start = loose
        while start < size and part[start - 1].isnumeric():
            start += 1
        offsets, words = _tokens(part, tokenizer)
        first = min((word for word in words if word is not None), default=0)
        sure = 0
        for (begin, _), word in zip(reversed(offsets), reversed(words), strict=True):
            if word is None or word <= first + 1 or begin < start:
                break
            sure += 1
        if sure >= count:
            return part
        size *= GROWTH
    return text


def _loose(tokenizer: Any) -> int:
    """How many characters at a cut could be a part of an added token."""
    return 1 + max((len(token) for token in tokenizer.get_added_vocab()), default=0)


def _require_readable(text: str, size: int) -> None:
    if size > LARGEST_PART:
        raise InputError(
            f"a text of {len(text)} characters, which begins with {text[:40]!r}, would have to be read whole, because "
            f"the tokenizer finds too few words in {LARGEST_PART} of them: that takes minutes and gigabytes. Shorten "
            "it to what the model can read, or remove it."
        )


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
