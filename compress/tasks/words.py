"""From words to a model's inputs: pieces found by the tokenizer's own alignment, long documents cut into windows."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# Kana, and the Chinese characters of Unicode's first planes.
IDEOGRAPHS = (("\u3040", "\u30ff"), ("\u3400", "\u9fff"), ("\U00020000", "\U0003ffff"))


@dataclass(frozen=True)
class Document:
    """The words of one example. text, spans: where they were found in a text that is read as a whole, the text and for
    each word its first character and the one after its last; else None and nothing."""

    words: tuple[str, ...]
    text: str | None = None
    spans: tuple[tuple[int, int], ...] = field(default=())

    @classmethod
    def of_text(cls, text: str) -> Document:
        """The words of a text, as `split_words` finds them."""
        spans = split_words(text)
        return cls(tuple(text[begin:end] for begin, end in spans), text, tuple(spans))


@dataclass(frozen=True)
class Window:
    """One input of a document. ids: of its pieces, with the special ones. words: for each piece the number of its word
    in the document where it is that word's first piece, else -1. judged: the same, only of words that no other window
    of the document shows with more around them."""

    document: int
    ids: tuple[int, ...]
    words: tuple[int, ...]
    judged: tuple[int, ...]


def split_words(text: str) -> list[tuple[int, int]]:
    """The first character of each word and the one after its last. Spaces lie between words; each mark of punctuation,
    each symbol and each Chinese or Japanese character is one by itself."""
    spans: list[tuple[int, int]] = []
    begin = None
    for place, character in enumerate(text):
        alone = _stands_alone(character)
        if begin is not None and (alone or character.isspace()):
            spans.append((begin, place))
            begin = None
        if alone:
            spans.append((place, place + 1))
        elif begin is None and not character.isspace():
            begin = place
    return spans if begin is None else [*spans, (begin, len(text))]


def _stands_alone(character: str) -> bool:
    ideograph = any(first <= character <= last for first, last in IDEOGRAPHS)
    return ideograph or unicodedata.category(character)[0] in "PS"


def cut(pieces: Sequence[int], room: int, stride: int) -> list[tuple[int, int]]:
    """The first word of each window and the one after its last, so that every word is in one.

    pieces: how many each word has. room: how many a window holds; a word of more has a window by itself. stride: how
    many words two neighbours share, fewer where the next word would not fit otherwise.
    """
    windows = []
    begin, total = 0, len(pieces)
    while True:
        end, used = begin, 0
        while end < total and (end == begin or used + pieces[end] <= room):
            used += pieces[end]
            end += 1
        windows.append((begin, end))
        if end >= total:
            return windows
        begin = max(end - stride, begin + 1)
        while begin < end and sum(pieces[begin : end + 1]) > room:
            begin += 1


def judges(windows: Sequence[tuple[int, int]], word: int, total: int) -> int:
    """The number of the window that shows a word with the most others on its poorer side; the first of several. Beyond
    the document's own ends there is nothing to be missed. total: the document's words."""

    def around(window: tuple[int, int]) -> int:
        begin, end = window
        before = total if begin == 0 else word - begin
        after = total if end == total else end - 1 - word
        return min(before, after)

    holding = [number for number, (begin, end) in enumerate(windows) if begin <= word < end]
    return max(holding, key=lambda number: (around(windows[number]), -number))


def windows_of(documents: Sequence[Document], tokenizer: Any, *, max_length: int, stride: int) -> list[Window]:
    """The inputs of all documents, in order, each of at most `max_length` tokens. See `cut` for stride.

    A word that the tokenizer reads as nothing, or as a part of the piece of the one before, is in none of them.
    """
    room = max_length - tokenizer.num_special_tokens_to_add()
    whole = [(document, 0, len(document.words)) for document in documents]
    _, of_pieces = _aligned(whole, tokenizer, special=False)
    counts = [Counter(numbers) for numbers in of_pieces]
    ranges = [
        cut([count[word] for word in range(len(document.words))], room, stride)
        for document, count in zip(documents, counts, strict=True)
    ]
    places = [(number, place) for number, windows in enumerate(ranges) for place in range(len(windows))]
    parts = [(documents[number], *ranges[number][place]) for number, place in places]
    made = []
    for (number, place), tokens, words in zip(
        places, *_aligned(parts, tokenizer, special=True, max_length=max_length), strict=True
    ):
        first = _first_pieces(words)
        total = len(documents[number].words)
        judged = [word if word >= 0 and judges(ranges[number], word, total) == place else -1 for word in first]
        made.append(Window(number, tuple(tokens), tuple(first), tuple(judged)))
    return made


def _aligned(
    parts: Sequence[tuple[Document, int, int]], tokenizer: Any, *, special: bool, max_length: int | None = None
) -> tuple[list[list[int]], list[list[int | None]]]:
    """Pieces' numbers, and for each piece the number of its word in the document, or None for a special one. parts:
    documents with the first word to read and the one after the last."""
    as_text = bool(parts) and parts[0][0].text is not None
    given: list[Any] = [
        document.text[document.spans[begin][0] : document.spans[end - 1][1]]
        if document.text is not None
        else list(document.words[begin:end])
        for document, begin, end in parts
    ]
    encoded = tokenizer(
        given,
        is_split_into_words=not as_text,
        add_special_tokens=special,
        truncation=max_length is not None,
        max_length=max_length,
        padding=False,
        return_offsets_mapping=as_text,
        return_token_type_ids=False,
    )
    numbers = []
    for row, (document, begin, end) in enumerate(parts):
        inside = _by_offsets(encoded, row, document, begin, end) if as_text else encoded.word_ids(row)
        numbers.append([None if number is None else number + begin for number in inside])
    return encoded["input_ids"], numbers


def _by_offsets(encoded: Any, row: int, document: Document, begin: int, end: int) -> list[int | None]:
    """For each piece of a part of a text the number of the word, counted from the part's first, in which it begins."""
    shift = document.spans[begin][0]
    ends = [last - shift for _, last in document.spans[begin:end]]
    special = encoded.sequence_ids(row)
    found: list[int | None] = []
    for (first, _), inside in zip(encoded["offset_mapping"][row], special, strict=True):
        # A piece may begin at the space before its word, so the first word that ends behind its beginning is meant.
        number = bisect_right(ends, first)
        found.append(number if inside is not None and number < len(ends) else None)
    return found


def _first_pieces(numbers: Sequence[int | None]) -> list[int]:
    before: int | None = None
    first = []
    for number in numbers:
        first.append(-1 if number is None or number == before else number)
        before = before if number is None else number
    return first


def joined(values: Sequence[Sequence[int]], rows: Any) -> list[list[int]]:
    """Of each document what stands at the first pieces of its words, in their order, each from the window that judges
    the word. values: of each row, for each piece. rows: with their `document` and, for each piece, `words`: see
    Window.judged."""
    found: dict[int, list[tuple[int, int]]] = {}
    for of_row, row in zip(values, rows, strict=True):
        pairs = [(word, value) for word, value in zip(row["words"], of_row, strict=True) if word >= 0]
        found.setdefault(row["document"], []).extend(pairs)
    return [[value for _, value in sorted(pairs)] for pairs in found.values()]


def separate_words(tokenizer: Any) -> Any:
    """The tokenizer, set up so that a list of words reads like the words in a text. Byte-level ones mark a word by the
    space before it, which the words of a list would lack."""
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.pre_tokenizers import Sequence as Steps

    backend = tokenizer.backend_tokenizer
    step = backend.pre_tokenizer
    if isinstance(step, ByteLevel):
        step.add_prefix_space = True
    elif isinstance(step, Steps):
        # The class counts and gives its steps, and does not say so to a type checker.
        steps: Any = step
        for inner in steps:
            if isinstance(inner, ByteLevel) and inner.use_regex:
                inner.add_prefix_space = True
    return tokenizer
