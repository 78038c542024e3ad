"""Texts, or lists of words, of which each word gets a tag."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from compress.core.errors import InputError
from compress.deploy.answers import Answer, TaggedWord, softmax
from compress.deploy.export import Export
from compress.deploy.reading import Reading, packed, token_batch
from compress.deploy.texts import label_names
from compress.deploy.tokenizer import StockTokenizer
from compress.tasks.words import Document, Window, windows_of


class TaggedTexts:
    """A tag for each word; long texts are read in windows, as the run measured it."""

    def __init__(self, export: Export) -> None:
        self._tokenizer = StockTokenizer(export.folder)
        self._names = label_names(export.folder)
        self._stride = int(export.task_settings["stride"])
        self.most = self._tokenizer.max_length

    def given(self, example: Any, place: int, prompt: str | None) -> str | tuple[str, ...]:
        """See Form: a text, or a list of words."""
        if prompt is not None:
            raise InputError(f"prompt is {prompt!r}; a tagger has none. Leave it out.")
        if isinstance(example, str):
            return example
        if isinstance(example, list | tuple) and all(isinstance(word, str) for word in example):
            return tuple(example)
        raise InputError(f"example {place} is {example!r:.60}; it must be a text, or a list of words.")

    def key(self, given: str | tuple[str, ...]) -> tuple[Hashable, int]:
        """The text, or the words."""
        return given, sum(map(sys.getsizeof, (given,) if isinstance(given, str) else given))

    def read(self, given: Sequence[Any]) -> list[Reading]:
        """See Form. Answers name words, so texts with the same tokens and other words have other keys."""
        return [self._reading(text) for text in given]

    def batch(self, rows: Sequence[Any], width: int) -> dict[str, np.ndarray]:
        """See Form."""
        return token_batch(rows, width, self._tokenizer)

    def answer(self, reading: Reading, outputs: Sequence[np.ndarray]) -> Answer:
        """A tagged word for each word, each by the window that shows most around it. outputs: (length, labels)."""
        document, windows = reading.detail
        found: dict[int, tuple[str, float]] = {}
        for window, output in zip(windows, outputs, strict=True):
            shares, best = softmax(output), output.argmax(axis=-1)
            for place, word in enumerate(window.judged):
                if word >= 0:
                    found[word] = self._names[int(best[place])], float(shares[place, best[place]])
        spans = document.spans or [(None, None)] * len(document.words)
        return tuple(
            TaggedWord(word, *found.get(number, (None, 0.0)), *spans[number])
            for number, word in enumerate(document.words)
        )

    def _reading(self, given: str | tuple[str, ...]) -> Reading:
        document = Document.of_text(given) if isinstance(given, str) else Document(given)
        windows: list[Window] = []
        if document.words:
            windows = windows_of([document], self._tokenizer, max_length=self.most, stride=self._stride)
        rows = tuple(window.ids for window in windows)
        key, size = self.key(given)
        ids = b"".join(map(packed, rows))
        return Reading((key, ids), size + len(ids), rows, tuple(map(len, rows)), (document, windows))
