"""The user's own files: `.jsonl`, `.csv`, `.tsv` or `.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from datasets import Dataset

from compress.core.context import Splits
from compress.data.formats import read_file, require_file
from compress.data.named_splits import NamedSplits, same_file


@dataclass(frozen=True, kw_only=True)
class Files(NamedSplits):
    """One file per split: train, validation and test are paths. plain_text: whether `.txt` is read."""

    plain_text: ClassVar[bool] = False

    def files(self) -> list[Path]:
        """The files that are read."""
        names = (*self.named.values(), self.unlabelled, self.spare_file)
        return [Path(name).expanduser() for name in names if name is not None]

    def check_files(self) -> None:
        """Raise InputError for a file that is not there, before any is read."""
        for split, path in self.named.items():
            require_file(f"data.{split}", path, plain_text=self.plain_text)
        others = {"unlabelled": self.unlabelled, "unlabelled_validation": self.spare_file}
        for setting, name in others.items():
            if name is not None:
                require_file(f"data.{setting}", name, plain_text=True)

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        return self.assembled({split: self.read(f"data.{split}", path) for split, path in self.named.items()})

    def read(self, setting: str, name: str) -> Dataset:
        """All columns of one file. Raises InputError, which names `setting`, where it cannot be read."""
        return read_file(setting, name)

    def _same(self, one: str, other: str) -> bool:
        return same_file(one, other)
