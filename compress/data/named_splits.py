"""What sources that name a split each have in common: the settings, and how what was read becomes `Splits`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.checks import require_choice, require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.assemble import assemble
from compress.data.formats import read_file
from compress.data.image_bytes import with_image_bytes
from compress.data.repeats import kept_together, what_is_read, without_repeats
from compress.data.splits import held_out, number_groups, require_share


@dataclass(frozen=True, kw_only=True)
class NamedSplits(SourceDefaults):
    """train, validation, test: where each split is, or None. One of train and validation may be missing: it is split
    off the other, so that `validation_share` of the examples (0 to 1) are the validation split, drawn by `seed`.

    group: the column whose equal values mark examples that belong together, or None; such examples stay on one side of
    a split. reads: the column, or columns, that the model reads; a part need not have all. label: the column of labels.
    repeated: `keep` or `drop`, what happens to examples that the model reads alike. unlabelled: path of a file of
    examples without labels, or None; `.txt` holds one text per line. unlabelled_validation: such a file of others,
    which judge and are never learned from, or the share of `unlabelled` (0 to 1) that is kept for that, drawn by
    `seed`, or None.
    """

    train: str | None
    validation: str | None
    test: str | None
    unlabelled: str | None
    unlabelled_validation: str | float | None
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
        self._require_spare()
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
        unlabelled, spare, notes = self._without_labels()
        splits = assemble(
            parts,
            spare=spare,
            group=self.group,
            validation_share=self.validation_share,
            seed=self.seed,
            reads=_flat(self.reads),
            label=self.label,
            repeated=self.repeated,
        )
        return dataclasses.replace(splits, unlabelled=unlabelled, notes=(*splits.notes, *notes))

    @property
    def spare_file(self) -> str | None:
        """The file of `unlabelled_validation`; None where there is none, or where it is a share."""
        return self.unlabelled_validation if isinstance(self.unlabelled_validation, str) else None

    def read_unlabelled(self, setting: str, path: str) -> Dataset:
        """The examples without labels that a setting names, all columns. Raises InputError where they cannot be
        read."""
        return with_image_bytes(read_file(setting, path, plain_text=True))

    def _require_spare(self) -> None:
        given = self.unlabelled_validation
        if given is None or (isinstance(given, str) and given):
            return
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given < 1:
            raise InputError(
                f"data.unlabelled_validation is {given!r}; it must be the path of a file, or a share of "
                "data.unlabelled in (0, 1), both ends excluded. Use 0.3 to keep so much of it from training, or null."
            )
        if self.unlabelled is None:
            raise InputError(
                f"data.unlabelled_validation is {given}, a share of data.unlabelled, which is null. Set "
                "data.unlabelled, or name a file of texts that nothing learns from."
            )

    def _without_labels(self) -> tuple[Dataset | None, Dataset | None, tuple[str, ...]]:
        """What is learned from without labels, what judges without, and a sentence where one was split off the
        other."""
        unlabelled = None if self.unlabelled is None else self.read_unlabelled("data.unlabelled", self.unlabelled)
        share = self.unlabelled_validation
        if isinstance(share, str):
            return unlabelled, self._each_once(self.read_unlabelled("data.unlabelled_validation", share)), ()
        if share is None or unlabelled is None:
            return unlabelled, None, ()
        read = what_is_read(unlabelled, _flat(self.reads), [])
        named: Sequence[object] = range(len(unlabelled))
        if self.group is not None and self.group in unlabelled.column_names:
            named = unlabelled[self.group][:]
        together = kept_together(np.array(number_groups([named])[0]), read)
        if len(np.unique(together)) < 2:
            raise InputError(
                f"data.unlabelled_validation is {share} of data.unlabelled, which holds one example or one group; it "
                "takes two to split. Give more text, or null."
            )
        away = held_out(together, share, self.seed)
        note = (
            f"data.unlabelled_validation is {share:g}: {int(away.sum())} of the {len(unlabelled)} examples of "
            f"data.unlabelled are kept from training, to judge without labels (seed {self.seed})"
        )
        spare = self._each_once(unlabelled.select(np.flatnonzero(away)))
        return unlabelled.select(np.flatnonzero(~away)), spare, (note,)

    def _each_once(self, spare: Dataset) -> Dataset:
        """Without repeats where the labelled examples have none: else what is frequent would count more here."""
        if self.repeated != "drop":
            return spare
        read = what_is_read(spare, _flat(self.reads), [])
        return spare.select(without_repeats({"validation": read})["validation"])

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
