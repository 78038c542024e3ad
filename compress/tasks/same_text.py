"""The same text, judged where two tokenizers read it as different tokens.

A trimmed vocabulary spells some words with more tokens than the teacher's. A mean per token would then compare
different things, and windows of as many tokens different texts. So the teacher says where its windows lie and which
parts of them count; the other model is judged on exactly these parts, with exactly what the teacher has read before
them, and what it finds is divided by the number of the teacher's tokens: the two means differ by the likelihood of one
and the same text.

Of byte-level BPE the tokens of a document, as the vocabulary writes them, make the same string whatever was merged, so
a place in that string is a place for both. Where a token of the other model lies across the end of a part, it is
spelled with smaller ones that end there: then all of the part's text is judged, and nothing else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.errors import InputError
from compress.tasks.windows import NOT_JUDGED, Document

if TYPE_CHECKING:
    from datasets import Dataset

SIZES, COUNTS, BYTES = "sizes of the teacher's tokens", "which of them count", "bytes that count in each window"
# Gives a string as tokens, each by its number and its size.
Speller = Callable[[str], list[tuple[int, int]]]


@dataclass(frozen=True)
class Spelled:
    """A document as one tokenizer reads it. tokens: their numbers. names: as the vocabulary writes them."""

    tokens: Sequence[int]
    names: Sequence[str]

    @property
    def sizes(self) -> list[int]:
        """Characters of each token."""
        return [len(name) for name in self.names]


def spelled(document: Document, processor: Any) -> Spelled:
    """The document with the names of its tokens."""
    return Spelled(document.tokens, processor.convert_ids_to_tokens(list(document.tokens)))


def reading_told(
    examples: Dataset, documents: Sequence[Document], rows: Sequence[Mapping[str, Any]], processor: Any
) -> Dataset:
    """The examples with what the teacher reads: see `as_teacher_cut`. rows: its windows. Examples behind the documents
    get nothing."""
    more = len(examples) - len(documents)
    sizes = [spelled(document, processor).sizes for document in documents]
    counts = [[int(counted) for counted in document.counts] for document in documents]
    bytes_: list[list[int]] = [[] for _ in documents]
    for row in rows:
        bytes_[row["document"]].append(row["bytes"])
    nothing: list[list[int]] = [[] for _ in range(more)]
    for name, column in ((SIZES, sizes), (COUNTS, counts), (BYTES, bytes_)):
        examples = examples.add_column(name, column + nothing)
    return examples


def as_teacher_cut(
    examples: Dataset,
    documents: Sequence[Document],
    rows: Sequence[Mapping[str, Any]],
    processor: Any,
    max_length: int,
    longest: int,
) -> list[dict[str, Any]]:
    """The windows `rows` of all documents; where the teacher reads other tokens in one, its windows in their place.

    Such a window has `counted`, how many of the teacher's tokens count, `bytes`, of their text, `teacher`: for each
    position that of the teacher's window, where the token after it is one of the teacher's too, else -1; and
    `teacher_length`, how many positions that window has. longest: tokens that a model reads. Raises InputError for a
    window of more.
    """
    if SIZES not in examples.column_names:
        return [dict(row) for row in rows]
    told = zip(examples[SIZES][:], examples[COUNTS][:], examples[BYTES][:], strict=True)
    own = {number: list(found) for number, found in itertools.groupby(rows, key=lambda row: row["document"])}
    result: list[dict[str, Any]] = []
    for number, (document, (sizes, counts, bytes_)) in enumerate(zip(documents, told, strict=False)):
        mine = spelled(document, processor)
        if mine.sizes == list(sizes):
            result += [dict(row) for row in own.get(number, [])]
            continue
        if sum(sizes) != sum(mine.sizes):
            raise InputError(
                f"document {number + 1} is other text for this tokenizer than for the teacher's, so their likelihoods "
                "cannot be compared. Give a tokenizer that was trimmed from the teacher's."
            )
        found = _windows(mine, sizes, [bool(count) for count in counts], max_length, _speller(processor))
        for row, size in zip(found, bytes_, strict=True):
            if len(row["input_ids"]) > longest:
                raise InputError(
                    f"data.max_length is {max_length}; with the trimmed vocabulary the same text is up to "
                    f"{len(row['input_ids'])} tokens, and this model takes at most {longest}. Use "
                    f"data.max_length={max(4, max_length // 2)}."
                )
            result.append({**row, "document": number, "bytes": size})
    return result


def _windows(
    mine: Spelled, sizes: Sequence[int], counts: Sequence[bool], max_length: int, spell: Speller
) -> list[dict[str, Any]]:
    """The teacher's windows of one document in which a token counts, in these tokens. sizes, counts: of the teacher's
    tokens."""
    ends = [0, *itertools.accumulate(sizes)]
    found = []
    for start in range(0, len(sizes), max_length):
        last = min(start + max_length, len(sizes))
        judged = [False, *counts[start + 1 : last]]
        if not any(judged):
            continue
        # Of each character of the window whether it counts: not those of its first token, of which nobody is asked.
        counted = np.repeat(judged, sizes[start:last])
        edges = ends[start] + 1 + np.flatnonzero(counted[1:] != counted[:-1])
        pieces = _between(mine, [ends[start], *edges.tolist(), ends[last]], spell)
        begins = [begin for begin, _ in pieces]
        after = [number if counted[begin - ends[start]] else NOT_JUDGED for begin, number in pieces[1:]]
        theirs = {token: at for at, token in enumerate(itertools.pairwise(ends[start + 1 : last + 1]))}
        found.append(
            {
                "input_ids": [number for _, number in pieces],
                "attention_mask": [1] * len(pieces),
                "next": [*after, NOT_JUDGED],
                "counted": sum(judged),
                "teacher": [*(theirs.get(token, -1) for token in itertools.pairwise([*begins[1:], ends[last]])), -1],
                "teacher_length": last - start,
            }
        )
    return found


def _between(mine: Spelled, edges: Sequence[int], spell: Speller) -> list[tuple[int, int]]:
    """Where each token from the first of these places to the last begins, and its number; one that lies across one of
    them is spelled so that none does."""
    found, begin = [], 0
    for number, name in zip(mine.tokens, mine.names, strict=True):
        end = begin + len(name)
        within = [edge for edge in edges if begin < edge < end]
        if begin >= edges[0] and end <= edges[-1] and not within:
            found.append((begin, number))
        elif end > edges[0] and begin < edges[-1]:
            for first, last in itertools.pairwise([begin, *within, end]):
                if first < edges[0] or last > edges[-1]:
                    continue
                place = first
                for piece, size in spell(name[first - begin : last - begin]):
                    found.append((place, piece))
                    place += size
        begin = end
    return found


def _speller(processor: Any) -> Speller:
    merge = processor.backend_tokenizer.model.tokenize
    return lambda name: [(token.id, len(token.value)) for token in merge(name)]
