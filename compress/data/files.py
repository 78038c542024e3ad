"""The user's own files: `.jsonl`, `.csv`, `.tsv` or `.parquet`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from compress.core.context import Splits
from compress.data.formats import read_file, require_file
from compress.data.named_splits import NamedSplits


@dataclass(frozen=True, kw_only=True)
class Files(NamedSplits):
    """One file per split: train, validation and test are paths."""

    def files(self) -> list[Path]:
        """The files that are read."""
        return [Path(name).expanduser() for name in (*self.named.values(), self.unlabelled) if name is not None]

    def check_files(self) -> None:
        """Raise InputError for a file that is not there, before any is read."""
        for split, path in self.named.items():
            require_file(f"data.{split}", path)
        if self.unlabelled is not None:
            require_file("data.unlabelled", self.unlabelled, plain_text=True)

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        return self.assembled({split: read_file(f"data.{split}", path) for split, path in self.named.items()})

    def _same(self, one: str, other: str) -> bool:
        return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
