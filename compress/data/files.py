"""The user's own files: `.jsonl`, `.csv` or `.parquet`."""

from __future__ import annotations

from dataclasses import dataclass

from compress.core.words import Splits
from compress.data.assemble import assemble, check_settings
from compress.data.formats import read_file
from compress.data.unlabelled import with_unlabelled


@dataclass(frozen=True, kw_only=True)
class Files:
    """One file per split.

    train, validation, test: paths, or None. One of train and validation may be missing: it is split off the other,
    so that `validation_share` of the examples (0 to 1) are the validation split, drawn by `seed`. group: the column
    whose equal values mark examples that belong together, or None; such examples stay on one side of a split.
    unlabelled: path of a file of examples without labels, or None; `.txt` holds one text per line.
    """

    train: str | None
    validation: str | None
    test: str | None
    unlabelled: str | None
    group: str | None
    validation_share: float
    seed: int

    def __post_init__(self) -> None:
        check_settings(
            train=self.train,
            validation=self.validation,
            test=self.test,
            unlabelled=self.unlabelled,
            group=self.group,
            validation_share=self.validation_share,
            seed=self.seed,
        )

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        files = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = {split: read_file(f"data.{split}", path) for split, path in files.items() if path is not None}
        splits = assemble(parts, group=self.group, validation_share=self.validation_share, seed=self.seed)
        return with_unlabelled(splits, self.unlabelled)
