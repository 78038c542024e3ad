"""A data set of the Hugging Face hub, or a folder that the `datasets` library wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, DatasetDict, load_dataset, load_from_disk

from compress.core.checks import nearest
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.named_splits import NamedSplits


@dataclass(frozen=True, kw_only=True)
class Hub(NamedSplits):
    """Splits of one data set: train, validation and test are their names.

    name: a name on the hub, or a folder written by `save_to_disk`. config: one of the configurations that some data
    sets have, or None. Class numbers become class names. No code that comes with a data set is run.
    """

    name: str
    config: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(
                f"data.name is {self.name!r}; it must name a data set. Use its name on the hub, or a folder written by "
                "save_to_disk."
            )
        super().__post_init__()

    def files(self) -> list[Path] | None:
        """The files of the folder; None for a data set of the hub, which can change there."""
        folder = Path(self.name).expanduser()
        if not folder.is_dir():
            return None
        others = (self.unlabelled, self.spare_file)
        unlabelled = [Path(name).expanduser() for name in others if name is not None]
        return [*(path for path in folder.rglob("*") if path.is_file()), *unlabelled]

    def load(self) -> Splits:
        """Read the splits, all columns. Raises InputError where the data set or a split of it cannot be had."""
        found = self._read()
        return self.assembled({split: _pick(found, split, source, self.name) for split, source in self.named.items()})

    def _read(self) -> Mapping[str, Dataset]:
        folder = Path(self.name).expanduser()
        try:
            if (folder / "dataset_dict.json").is_file():
                return load_from_disk(str(folder))
            if (folder / "state.json").is_file():
                return DatasetDict(train=load_from_disk(str(folder)))
            return load_dataset(str(folder) if folder.is_dir() else self.name, self.config)
        except Exception as error:
            # The library wraps what was wrong with a file into an error that says only that it gave up.
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            raise InputError(
                f"data.name is {self.name!r} (data.config {self.config!r}); it cannot be loaded "
                f"({type(cause).__name__}: {cause}). Check the name, the files and the connection, or save it "
                "elsewhere with save_to_disk and give that folder."
            ) from error


def _pick(found: Mapping[str, Dataset], split: str, source: str, name: str) -> Dataset:
    if source not in found:
        raise InputError(
            f"data.{split} is {source!r}; {name!r} has no such split, but {', '.join(found)}. "
            f"{nearest(source, found) or 'Use one of these, or null.'}"
        )
    if len(found[source]) == 0:
        raise InputError(f"data.{split} is {source!r}; that split of {name!r} is empty. Use another, or null.")
    return found[source]
