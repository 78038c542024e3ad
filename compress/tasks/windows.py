"""Documents as a language model reads them: as tokens, in windows, of which some or all are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

# What stands for a label where nothing comes next that counts; as torch's cross-entropy takes it.
NOT_JUDGED = -100
Place = tuple[int, int]


@dataclass(frozen=True)
class Passage:
    """A document. judged: where the parts lie that a model is to say, as (first, last + 1) characters, in order; None:
    all of it. marked: whether the text has its beginning and other special tokens in it already."""

    text: str
    judged: Sequence[Place] | None = None
    marked: bool = False


@dataclass(frozen=True)
class Document:
    """A passage as tokens. tokens: their numbers. places: where each lies in `text`. counts: whether a model is to say
    it."""

    text: str
    tokens: Sequence[int]
    places: Sequence[Place]
    counts: Sequence[bool]


def documents_of(passages: Sequence[Passage], processor: Any) -> list[Document]:
    """All passages as tokens, in order. passages: all of them marked, or none. processor: a fast tokenizer."""
    marked = bool(passages) and passages[0].marked
    encoded = processor(
        [passage.text for passage in passages],
        truncation=False,
        padding=False,
        add_special_tokens=not marked,
        return_offsets_mapping=True,
        verbose=False,
    )
    special = set(processor.all_special_ids)
    return [
        Document(passage.text, ids, places, _counting(passage, ids, places, special))
        for passage, ids, places in zip(passages, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def windows(documents: Sequence[Document], max_length: int) -> list[dict[str, Any]]:
    """All windows of all documents, in order, none across a document's end: `input_ids`, `attention_mask`, the
    `document`, from 0, and of each token the `next` one, NOT_JUDGED where none counts, how many are `counted`, and the
    `bytes` of text that those are. Windows of which no token counts are left out."""
    found = []
    for number, document in enumerate(documents):
        ids, places = document.tokens, document.places
        for start in range(0, len(ids), max_length):
            end = min(start + max_length, len(ids))
            # Of a window's first token nobody is asked.
            judged = document.counts[start + 1 : end]
            if not any(judged):
                continue
            after = [ids[start + 1 + i] if counted else NOT_JUDGED for i, counted in enumerate(judged)]
            found.append(
                {
                    "input_ids": ids[start:end],
                    "attention_mask": [1] * (end - start),
                    "document": number,
                    "next": [*after, NOT_JUDGED],
                    "counted": sum(judged),
                    "bytes": _bytes(document.text, places[start:end], judged),
                }
            )
    return found


def _counting(passage: Passage, ids: Sequence[int], places: Sequence[Place], special: set[int]) -> list[bool]:
    """Of each token whether it is one that a model is to say. The special token behind a judged part, such as the mark
    of its end, is of that part: who goes on with the text stops there."""
    if passage.judged is None:
        return [True] * len(ids)
    counted = [any(first <= start < last for first, last in passage.judged) for start, _ in places]
    for _, last in passage.judged:
        behind = next((i for i, (start, end) in enumerate(places) if start >= last and end > start), None)
        if behind is not None and ids[behind] in special and not passage.text[last : places[behind][0]].strip():
            counted[behind] = True
    return counted


def _bytes(text: str, places: Sequence[Place], judged: Sequence[bool]) -> int:
    """Of the text of the judged tokens, each from where the one before it ends. judged: of all but the first."""
    # A mark that the tokenizer adds behind a text lies nowhere in it, which is told as (0, 0).
    ends = list(accumulate((end for _, end in places), max))
    total, start = 0, None
    for i, counted in enumerate([*judged, False]):
        if counted and start is None:
            start = ends[i]
        elif not counted and start is not None:
            total += len(text[start : ends[i]].encode())
            start = None
    return total
