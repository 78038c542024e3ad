"""Texts of any length for language models: documents, of which no two are read together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasets import Dataset

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.choices import require_choices, with_choices
from compress.data.files import Files
from compress.data.formats import read_file, read_text

# What columns of chats are called.
CHATS = ("messages", "conversations")


@dataclass(frozen=True, kw_only=True)
class Documents(Files):
    """One file per split. Of a `.txt` file `separator` is what stands between two documents; other files have one in
    each row: a text, or a chat, turns in a column `messages` or `conversations`. choices, choices_separator: see
    `compress.data.choices`."""

    separator: str
    choices: str | None
    choices_separator: str

    plain_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(
                f"data.separator is {self.separator!r}; it is what stands between two documents of a .txt file. Use "
                r'"\n\n" for an empty line.'
            )

    def files(self) -> list[Path]:
        """The files that are read."""
        return [*super().files(), *([] if self.choices is None else [Path(self.choices).expanduser()])]

    def check_files(self) -> None:
        """Raise InputError for a file that is not there, before any is read."""
        super().check_files()
        require_choices(self.choices, self.choices_separator)

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        require_choices(self.choices, self.choices_separator)
        return with_choices(super().load(), self.choices, self.choices_separator)

    def read(self, setting: str, name: str) -> Dataset:
        """A document in each row. Raises InputError, which names `setting`, where there is none."""
        if not name.lower().endswith(".txt"):
            return self._with_chats(read_file(setting, name))
        found = [part.strip() for part in read_text(setting, name).split(self.separator)]
        documents = [part for part in found if part]
        if not documents:
            raise InputError(f"{setting} is {name!r}; it holds no text. Give a file with some.")
        return Dataset.from_dict({"text": documents})

    def _with_chats(self, rows: Dataset) -> Dataset:
        """The same rows; turns of a chat stand for the text where there is none."""
        if not isinstance(self.reads, str) or self.reads in rows.column_names:
            return rows
        found = next((name for name in CHATS if name in rows.column_names), None)
        return rows if found is None else rows.rename_column(found, self.reads)

    def read_unlabelled(self, setting: str, path: str) -> Dataset:
        """Documents too: what comes next is in every text itself."""
        return self.read(setting, path)
