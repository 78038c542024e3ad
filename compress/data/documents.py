"""Texts of any length for language models: documents, of which no two are read together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from compress.core.checks import require_choice, require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.assemble import assemble
from compress.data.formats import read_file, read_text, require_file
from compress.data.splits import require_share


@dataclass(frozen=True, kw_only=True)
class Documents(SourceDefaults):
    """train, validation, test: paths of files. Of a `.txt` file `separator` is what stands between two documents; other
    files have one in each row. Where validation is None, `validation_share` of the documents (0 to 1), drawn by `seed`,
    are that split. text: what its column is called. group: the column whose equal values mark documents that belong
    together, or None. repeated: `keep` or `drop` documents that are there more than once.
    """

    train: str
    validation: str | None
    test: str | None
    text: str
    separator: str
    group: str | None
    repeated: str
    validation_share: float
    seed: int

    def __post_init__(self) -> None:
        require_share("data.validation_share", self.validation_share)
        require_integer("seed", self.seed, 0, "Use 0, for example.")
        require_choice("data.repeated", self.repeated, ("keep", "drop"))
        if not isinstance(self.separator, str) or not self.separator:
            raise InputError(
                f"data.separator is {self.separator!r}; it is what stands between two documents of a .txt file. Use "
                r'"\n\n" for an empty line.'
            )

    def files(self) -> list[Path]:
        """The files that are read."""
        return [Path(name).expanduser() for name in self._named().values()]

    def check_files(self) -> None:
        """Raise InputError for a file that is not there, before any is read."""
        for split, name in self._named().items():
            require_file(f"data.{split}", name, plain_text=True)

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        self.check_files()
        parts = {split: self._read(f"data.{split}", name) for split, name in self._named().items()}
        return assemble(
            parts,
            group=self.group,
            validation_share=self.validation_share,
            seed=self.seed,
            reads=(self.text,),
            repeated=self.repeated,
        )

    def _read(self, setting: str, name: str) -> Dataset:
        if Path(name).suffix.lower() != ".txt":
            return read_file(setting, name)
        found = [part.strip() for part in read_text(setting, name).split(self.separator)]
        documents = [part for part in found if part]
        if not documents:
            raise InputError(f"{setting} is {name!r}; it holds no text. Give a file with some.")
        return Dataset.from_dict({"text": documents})

    def _named(self) -> Mapping[str, str]:
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: name for split, name in given.items() if name is not None}
