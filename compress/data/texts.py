"""The user's own texts, without labels, and judgements where there are some."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from compress.core.checks import require_choice, require_integer
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.words import SourceDefaults
from compress.data.assemble import assemble
from compress.data.formats import read_file, require_file
from compress.data.named_splits import require_different, same_file
from compress.data.retrieval import judged_splits
from compress.data.splits import require_share


@dataclass(frozen=True, kw_only=True)
class Texts(SourceDefaults):
    """train, validation, test: paths of files; `.txt` holds a text per line. Where validation and retrieval are None,
    `validation_share` of the texts (0 to 1), drawn by `seed`, are the validation split. retrieval: a folder of
    judgements in the place of both: see `compress.data.retrieval`. text: what its column of texts is called. group: the
    column whose equal values mark texts that belong together, or None. repeated: `keep` or `drop` texts that are there
    more than once; not those of a folder of judgements.
    """

    train: str
    validation: str | None
    test: str | None
    retrieval: str | None
    text: str
    group: str | None
    repeated: str
    validation_share: float
    seed: int

    def __post_init__(self) -> None:
        require_share("data.validation_share", self.validation_share)
        require_integer("seed", self.seed, 0, "Use 0, for example.")
        require_choice("data.repeated", self.repeated, ("keep", "drop"))
        if self.retrieval is not None and (self.validation is not None or self.test is not None):
            raise InputError(
                f"data.retrieval is {self.retrieval!r}, and data.validation or data.test is given too; both would "
                "judge. Leave one out."
            )
        require_different(self._named(), same_file)

    def files(self) -> list[Path]:
        """The files that are read."""
        folder = [] if self.retrieval is None else sorted(Path(self.retrieval).expanduser().rglob("*.*"))
        return [*(Path(name).expanduser() for name in self._named().values()), *folder]

    def check_files(self) -> None:
        """Raise InputError for a file or folder that is not there, before any is read."""
        for split, name in self._named().items():
            require_file(f"data.{split}", name, plain_text=True)
        if self.retrieval is not None and not Path(self.retrieval).expanduser().is_dir():
            raise InputError(f"data.retrieval is {self.retrieval!r}; there is no such folder. Check the path.")

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        self.check_files()
        parts = {split: read_file(f"data.{split}", name, plain_text=True) for split, name in self._named().items()}
        if self.retrieval is None:
            return assemble(
                parts,
                group=self.group,
                validation_share=self.validation_share,
                seed=self.seed,
                reads=(self.text,),
                repeated=self.repeated,
            )
        splits, notes = judged_splits(self.retrieval, self.text)
        return Splits(
            train=_without_groups(parts["train"]),
            validation=splits["validation"],
            test=splits.get("test"),
            notes=(*notes, *([] if "test" in splits else ["data.test is null: there is no test split"])),
        )

    def _named(self) -> dict[str, str]:
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: name for split, name in given.items() if name is not None}


def _without_groups(part: Dataset) -> Dataset:
    """Judgements split what judges; groups of the training texts say nothing."""
    return part.remove_columns("group") if "group" in part.column_names else part
