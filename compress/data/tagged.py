"""Readers of text that is tagged word by word: a line per word, an empty line between sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

# What stands in the ten columns of CoNLL-U, by our names; FORM and UPOS have those that tasks read.
CONLLU = ("id", "tokens", "lemma", "tags", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLLU_KEPT = ("tokens", "tags", "lemma", "xpos", "feats", "deprel", "misc")
DOCUMENT = "-DOCSTART-"

Columns = dict[str, list[object]]


class LineError(ValueError):
    """A line that cannot be read; the message names it, and says what to write instead."""


def read_iob(text: str) -> Columns:
    """Columns with a list per sentence: `tokens` from the first column of each line and `tags` from the last; those
    between are `column_2`, `column_3` and so on.

    A tab separates columns, or, in lines without one, spaces. Lines that begin with `-DOCSTART-` are left out; where
    there are any, the column `document` counts them, so that sentences of one document can be a group.
    """
    sentences: list[list[list[str]]] = []
    documents: list[int] = []
    document, width, first = 0, 0, 0
    for block in _blocks(text):
        words = [(number, _columns(line)) for number, line in block]
        starts = sum(values[0] == DOCUMENT for _, values in words)
        document += starts
        rows = [(number, values) for number, values in words if values[0] != DOCUMENT]
        for number, values in rows:
            first, width = (first, width) if width else (number, len(values))
            if len(values) < 2:
                raise LineError(f"line {number} has one column ({values[0]!r}). Write a word and its tag on each line")
            if len(values) != width:
                raise LineError(f"line {number} has {len(values)} columns, line {first} has {width}. Write as many")
        if rows:
            sentences.append([values for _, values in rows])
            documents.append(document)
    between = {f"column_{column + 1}": column for column in range(1, width - 1)}
    return _table(sentences, {"tokens": 0, "tags": width - 1, **between}, documents if document else None)


def read_conllu(text: str) -> Columns:
    """Columns with a list per sentence: `tokens` (FORM), `tags` (UPOS), `lemma`, `xpos`, `feats`, `deprel`, `misc`.

    Syntactic words are the words: the lines of what is written as one (`1-2`) and of what is not written at all (`1.1`)
    are left out. Where there are `# newdoc` lines, the column `document` counts them.
    """
    sentences: list[list[list[str]]] = []
    documents: list[int] = []
    document = 0
    for block in _blocks(text):
        document += sum(line.startswith("# newdoc") for _, line in block)
        rows = []
        for number, line in block:
            if line.startswith("#"):
                continue
            values = line.split("\t")
            if len(values) != len(CONLLU):
                raise LineError(
                    f"line {number} has {len(values)} columns; CoNLL-U has {len(CONLLU)}, separated by tabs. "
                    "Rename a file of other columns to .conll"
                )
            if values[0].isdigit():
                rows.append(values)
        if rows:
            sentences.append(rows)
            documents.append(document)
    places = {name: CONLLU.index(name) for name in CONLLU_KEPT}
    return _table(sentences, places, documents if document else None)


def _blocks(text: str) -> Iterator[list[tuple[int, str]]]:
    """Lines with their numbers, from 1, up to an empty one."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            block.append((number, line.rstrip("\r")))
        elif block:
            yield block
            block = []
    if block:
        yield block


def _columns(line: str) -> list[str]:
    return [value.strip() for value in line.split("\t")] if "\t" in line else line.split()


def _table(
    sentences: Sequence[Sequence[Sequence[str]]], places: Mapping[str, int], documents: Sequence[int] | None
) -> Columns:
    columns: Columns = {name: [[word[place] for word in rows] for rows in sentences] for name, place in places.items()}
    return columns if documents is None else {**columns, "document": list(documents)}
