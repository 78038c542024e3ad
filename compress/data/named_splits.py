"""What sources that name a split each have in common: the settings, and how what was read becomes `Splits`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from datasets import Dataset

from compress.core.checks import require_choice, require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.assemble import assemble
from compress.data.formats import read_file
from compress.data.image_bytes import with_image_bytes
from compress.data.splits import require_share


@dataclass(frozen=True, kw_only=True)
class NamedSplits(SourceDefaults):
    """train, validation, test: where each split is, or None. One of train and validation may be missing: it is split
    off the other, so that `validation_share` of the examples (0 to 1) are the validation split, drawn by `seed`.

    group: the column whose equal values mark examples that belong together, or None; such examples stay on one side of
    a split. reads: the column, or columns, that the model reads; a part need not have all. label: the column of labels.
    repeated: `keep` or `drop`, what happens to examples that the model reads alike. unlabelled: path of a file of
    examples without labels, or None; `.txt` holds one text per line.
    """

    train: str | None
    validation: str | None
    test: str | None
    unlabelled: str | None
    reads: str | Sequence[Any]
    label: str | None
    group: str | None
    repeated: str
    validation_share: float
    seed: int

    def __post_init__(self) -> None:
        for name, value in {**self._splits(), "unlabelled": self.unlabelled, "group": self.group}.items():
            if value is not None and (not isinstance(value, str) or not value):
                raise InputError(f"data.{name} is {value!r}; it must be text that is not empty. Use null for none.")
        if self.train is None and self.validation is None:
            raise InputError(
                "data.train is null, and so is data.validation; at least one of the two is needed. "
                "Set data.train: the validation examples are then split off it."
            )
        require_different(self.named, self._same)
        require_choice("data.repeated", self.repeated, ("keep", "drop"))
        require_share("data.validation_share", self.validation_share)
        require_integer("seed", self.seed, 0, "Use 0, for example.")

    @property
    def named(self) -> dict[str, str]:
        """The splits that are given, by name."""
        return {name: value for name, value in self._splits().items() if value is not None}

    def assembled(self, parts: Mapping[str, Dataset]) -> Splits:
        """All splits, from those given. Raises InputError where they, or the unlabelled text, cannot be used."""
        splits = assemble(
            parts,
            group=self.group,
            validation_share=self.validation_share,
            seed=self.seed,
            reads=_flat(self.reads),
            label=self.label,
            repeated=self.repeated,
        )
        if self.unlabelled is None:
            return splits
        return dataclasses.replace(splits, unlabelled=self.read_unlabelled(self.unlabelled))

    def read_unlabelled(self, path: str) -> Dataset:
        """The examples without labels, all columns. Raises InputError where they cannot be read."""
        return with_image_bytes(read_file("data.unlabelled", path, plain_text=True))

    def _same(self, one: str, other: str) -> bool:
        """Whether two settings name the same examples."""
        return one == other

    def _splits(self) -> dict[str, str | None]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def require_different(named: Mapping[str, str], same: Callable[[str, str], bool]) -> None:
    """Raise InputError where two splits are the same examples. named: what each is given as. same: says so of two."""
    for one, other in combinations(named, 2):
        if same(named[one], named[other]):
            raise InputError(
                f"data.{other} is {named[other]!r}, and so is data.{one}; what has been used cannot judge. "
                f"Give other examples, or use null for data.{other}."
            )


def same_file(one: str, other: str) -> bool:
    """Whether two paths are one place."""
    return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def _flat(names: str | Sequence[Any]) -> list[str]:
    """Names of columns from one, a list, or a list of such."""
    return [names] if isinstance(names, str) else [name for part in names for name in _flat(part)]
