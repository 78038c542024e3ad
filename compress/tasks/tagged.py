"""Tagged examples as they are given, lists of tokens or texts with spans of characters, to words with a tag each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.core.checks import is_missing, nearest
from compress.core.errors import ExampleError, InputError
from compress.tasks.metrics.entities import Entity, Scheme, entities, scheme_of
from compress.tasks.words import Document

if TYPE_CHECKING:
    from datasets import Dataset

OUTSIDE = "O"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Where the words and tags of examples are: see TokenClassification."""

    tokens: str
    tags: str
    text: str
    spans: str

    def documents(self, examples: Dataset, split: str) -> list[Document]:
        """The words of each example. Raises InputError for one that has none, or has something else than text."""
        if self.tokens in examples.column_names:
            return _of_lists(examples[self.tokens][:], self.tokens, split)
        column = self._text(examples, split)
        documents = []
        for row, text in enumerate(examples[column][:]):
            if not isinstance(text, str) or not text.strip():
                raise ExampleError(
                    f"data.text={column}: ",
                    split,
                    row,
                    f"has no text ({text!r}); every example needs some. Remove the row, or name another column.",
                )
            documents.append(Document.of_text(text))
        return documents

    def tagged(self, examples: Dataset, documents: Sequence[Document], scheme: Scheme, split: str) -> list[list[str]]:
        """The tag of every word. scheme: how spans are written as tags. Raises InputError where they do not fit."""
        if self.tags in examples.column_names:
            return _tag_lists(examples[self.tags][:], documents, self.tags, split)
        if self.tokens not in examples.column_names and self.spans in examples.column_names:
            found = zip(documents, examples[self.spans][:], strict=True)
            return [
                _tags_of_spans(document, spans or [], scheme, _Place(self.spans, split, row))
                for row, (document, spans) in enumerate(found)
            ]
        raise InputError(
            f"data.tags is {self.tags!r}, a column that data.{split} does not have, nor is there one of spans "
            f"(data.spans is {self.spans!r}; found: {', '.join(_own(examples))}). "
            f"{nearest(self.tags, _own(examples)) or 'Name the column: data.tags=COLUMN.'}"
        )

    def _text(self, examples: Dataset, split: str) -> str:
        if self.text in examples.column_names:
            return self.text
        if split == "unlabelled" and len(examples.column_names) == 1:
            return examples.column_names[0]
        raise InputError(
            f"data.tokens is {self.tokens!r} and data.text is {self.text!r}; data.{split} has no such column (found: "
            f"{', '.join(_own(examples))}). {nearest(self.tokens, _own(examples)) or 'Name it: data.tokens=COLUMN.'}"
        )


@dataclass(frozen=True)
class _Place:
    """Where an example is, for messages about it."""

    column: str
    split: str
    row: int

    def error(self, what: str) -> ExampleError:
        return ExampleError(f"data.spans={self.column}: ", self.split, self.row, what)


def _own(examples: Dataset) -> list[str]:
    return [name for name in examples.column_names if name != "group"]


def _of_lists(lists: Sequence[Any], column: str, split: str) -> list[Document]:
    documents = []
    for row, tokens in enumerate(lists):
        where = f"data.tokens={column}: "
        if not isinstance(tokens, list | tuple) or not tokens:
            raise ExampleError(
                where,
                split,
                row,
                f"has no tokens ({tokens!r}); it must be a list of words. Remove the row, or mend it.",
            )
        for number, token in enumerate(tokens, start=1):
            if not isinstance(token, str) or not token.strip():
                raise ExampleError(
                    where,
                    split,
                    row,
                    f"has {token!r} as token {number}; every token must be text that is not empty. Remove it with its "
                    "tag, or write it as text.",
                )
        documents.append(Document(tuple(tokens)))
    return documents


def _tag_lists(lists: Sequence[Any], documents: Sequence[Document], column: str, split: str) -> list[list[str]]:
    for row, (tags, document) in enumerate(zip(lists, documents, strict=True)):
        count = len(tags) if isinstance(tags, list | tuple) else 0
        if count != len(document.words):
            raise ExampleError(
                f"data.tags={column}: ",
                split,
                row,
                f"has {count} tags for {len(document.words)} tokens; each token needs one. Mend the line.",
            )
        missing = next((number for number, tag in enumerate(tags) if is_missing(tag)), None)
        if missing is not None:
            raise ExampleError(
                f"data.tags={column}: ",
                split,
                row,
                f"has no tag ({tags[missing]!r}) for token {missing + 1}, {document.words[missing]!r}; what nobody "
                f"tagged is no tag of its own. Write {OUTSIDE!r} where there is nothing to tag, or remove the line.",
            )
    return [[str(tag).strip() for tag in tags] for tags in lists]


def _tags_of_spans(document: Document, spans: Sequence[Mapping[str, Any]], scheme: Scheme, place: _Place) -> list[str]:
    """The tags that say what the spans say: each has `start`, `end` (the first character behind it) and `label`."""
    assert document.text is not None
    tags = [OUTSIDE] * len(document.words)
    for span in spans:
        begin, end, label = _checked(span, document.text, place)
        inside = [i for i, (first, last) in enumerate(document.spans) if first < end and last > begin]
        for edge, cut in ((begin, document.spans[inside[0]][0] < begin), (end, document.spans[inside[-1]][1] > end)):
            if cut:
                word = document.words[inside[0] if edge == begin else inside[-1]]
                raise place.error(
                    f"has a span of {label!r} from {begin} to {end}, whose edge {edge} lies within the word {word!r}; "
                    "a word has one tag. Let the span begin and end where words do."
                )
        if any(tags[i] != OUTSIDE for i in inside):
            raise place.error(
                f"has a span of {label!r} from {begin} to {end} that overlaps another; a word has one tag. Keep one of "
                "them."
            )
        for i, tag in zip(inside, written(label, len(inside), scheme), strict=True):
            tags[i] = tag
    return tags


def _checked(span: Mapping[str, Any], text: str, place: _Place) -> tuple[int, int, str]:
    """First character and the one after the last, without spaces at the ends, and the label."""
    begin, end, label = (span.get(name) for name in ("start", "end", "label"))
    if (
        isinstance(begin, int)
        and isinstance(end, int)
        and 0 <= begin < end <= len(text)
        and text[begin:end].strip()
        and isinstance(label, str)
        and label
    ):
        found = text[begin:end]
        return begin + len(found) - len(found.lstrip()), begin + len(found.rstrip()), label
    raise place.error(
        f"has the span {dict(span)}; it must have start and end within the text's {len(text)} characters, end behind "
        'start, and a label, such as {"start": 0, "end": 5, "label": "PERSON"}. Mend it.'
    )


def written(label: str, words: int, scheme: Scheme) -> list[str]:
    """The tags of an entity of so many words."""
    if scheme == "plain":
        return [label] * words
    if scheme == "bio":
        return [f"B-{label}", *[f"I-{label}"] * (words - 1)]
    return [f"S-{label}"] if words == 1 else [f"B-{label}", *[f"I-{label}"] * (words - 2), f"E-{label}"]


def completed(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """All tags that a model must know which is to learn `tags`, in alphabetical order: of each type the beginning and
    the inside, and so on, even where one of them is not among the examples."""
    if scheme == "plain":
        return sorted(set(tags))
    prefixes = "BI" if scheme == "bio" else "BIES"
    endings = {tag[1:] for tag in tags if tag != OUTSIDE}
    return sorted({OUTSIDE, *(f"{prefix}{ending}" for ending in endings for prefix in prefixes)})


def scheme_asked(setting: str, labels: Sequence[str]) -> Scheme:
    """How these labels mark entities, where data.scheme is `setting`. Raises InputError where they do not so."""
    found = scheme_of(labels)
    if setting == "plain":
        return "plain"
    if setting not in ("auto", found):
        prefixes = "O, B-TYPE and I-TYPE" if setting == "bio" else "O, B-TYPE, I-TYPE, E-TYPE and S-TYPE"
        raise InputError(
            f"data.scheme is {setting}; entity F1 needs labels that are {prefixes}, and the labels are "
            f"{', '.join(labels[:8])}{', ...' if len(labels) > 8 else ''} ({found}). Use data.scheme={found}, or "
            "rename the labels in the data, or in the model's id2label."
        )
    return found


def marks(tags: Sequence[str], scheme: Scheme) -> set[Entity]:
    """The entities of a document; where tags are plain, each word as one, of its tag's type."""
    return {(tag, i, i) for i, tag in enumerate(tags)} if scheme == "plain" else entities(tags, scheme)
