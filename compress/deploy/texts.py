"""Texts that get a label or a vector each."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.checks import nearest
from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.deploy.answers import Answer, labelled, vector
from compress.deploy.export import Export
from compress.deploy.reading import Reading, packed, token_batch
from compress.deploy.tokenizer import StockTokenizer
from compress.tasks.beginnings import CHARACTERS, beginnings


class Texts:
    """What both share. pairs: whether an example is two texts."""

    def __init__(self, export: Export) -> None:
        self._tokenizer = StockTokenizer(export.folder)
        columns = export.task_settings.get("text")
        self._pairs = isinstance(columns, list) and len(columns) == 2
        self._prompts: Mapping[str, str] = {}
        self.most = self._tokenizer.max_length

    def given(self, example: Any, place: int, prompt: str | None) -> str | tuple[str, str]:
        """See Form. prompt: the name of what is put before a text."""
        if prompt is not None and prompt not in self._prompts:
            known = ", ".join(self._prompts) or "none"
            raise InputError(
                f"prompt is {prompt!r}; this export knows {known}. {nearest(prompt, self._prompts)}".strip()
            )
        if self._pairs:
            if (
                isinstance(example, tuple | list)
                and len(example) == 2
                and all(isinstance(part, str) for part in example)
            ):
                return example[0], example[1]
            raise InputError(
                f"example {place} is {example!r:.60}; this export reads pairs. Give two texts: (FIRST, SECOND)."
            )
        if not isinstance(example, str):
            raise InputError(f"example {place} is {example!r:.60}; it must be a text.")
        return example if prompt is None else self._prompts[prompt] + example

    def key(self, given: str | tuple[str, str]) -> tuple[Hashable, int]:
        """The text itself."""
        parts = (given,) if isinstance(given, str) else given
        return given, sum(sys.getsizeof(part) for part in parts)

    def read(self, given: Sequence[Any]) -> list[Reading]:
        """See Form. Of a text that is far too long the beginning is enough."""
        most = self.most
        if any(
            len(part) > CHARACTERS * most for text in given for part in ((text,) if isinstance(text, str) else text)
        ):
            columns = list(zip(*given, strict=True)) if self._pairs else [list(given)]
            cut = beginnings(columns, self._tokenizer, most)
            given = list(zip(*cut, strict=True)) if self._pairs else cut[0]
        found = []
        for encoded in self._tokenizer.backend.encode_batch_fast(list(given)):
            ids = encoded.ids
            found.append(Reading(packed(ids), 33 + 4 * len(ids), (ids,), (len(ids),)))
        return found

    def batch(self, rows: Sequence[Any], width: int) -> dict[str, np.ndarray]:
        """See Form."""
        return token_batch(rows, width, self._tokenizer)


class LabelledTexts(Texts):
    """A label for each text."""

    def __init__(self, export: Export) -> None:
        super().__init__(export)
        self._names = label_names(export.folder)

    def answer(self, reading: Reading, outputs: Sequence[np.ndarray]) -> Answer:
        """Labels with their scores."""
        return labelled(outputs[0], self._names)


class EmbeddedTexts(Texts):
    """A vector for each text."""

    def __init__(self, export: Export) -> None:
        super().__init__(export)
        require_inside(export.folder, export.folder / "config.json")
        readout = read_json(export.folder / "config.json").get("sentence_encoder") or {}
        self._prompts = {str(name): str(text) for name, text in (readout.get("prompts") or {}).items()}

    def answer(self, reading: Reading, outputs: Sequence[np.ndarray]) -> Answer:
        """(dimensions,)."""
        return vector(outputs[0])


def label_names(folder: Path) -> list[str]:
    """The names of the model's labels, in their order. Raises InputError where `config.json` has none."""
    require_inside(folder, folder / "config.json")
    names = read_json(folder / "config.json", way_out="Copy the export again.").get("id2label")
    try:
        return [str(names[str(number)]) for number in range(len(names))]
    except (TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{folder / 'config.json'} has no names for labels (id2label). Export it again.") from error
