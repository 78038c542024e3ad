"""The user's own texts, without labels, and judgements where there are some."""

from __future__ import annotations

from collections.abc import Sequence
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
from compress.data.rated_pairs import rated_split
from compress.data.retrieval import judged_splits
from compress.data.splits import require_share


@dataclass(frozen=True, kw_only=True)
class Texts(SourceDefaults):
    """train, validation, test: paths of files; `.txt` holds a text per line. Where validation and retrieval are None,
    `validation_share` of the texts (0 to 1), drawn by `seed`, are the validation split. retrieval: a folder of
    judgements in the place of both: see `compress.data.retrieval`. pairs, test_pairs: instead, files of pairs that
    people rated, whose columns are `pair_columns`: see `compress.data.rated_pairs`. text: what its column of texts is
    called. group: the column whose equal values mark texts that belong together, or None. repeated: `keep` or `drop`
    texts that are there more than once; not those that somebody judged.
    """

    train: str
    validation: str | None
    test: str | None
    retrieval: str | None
    pairs: str | None
    test_pairs: str | None
    pair_columns: Sequence[str]
    text: str
    group: str | None
    repeated: str
    validation_share: float
    seed: int

    def __post_init__(self) -> None:
        require_share("data.validation_share", self.validation_share)
        require_integer("seed", self.seed, 0, "Use 0, for example.")
        require_choice("data.repeated", self.repeated, ("keep", "drop"))
        self._require_one_judge()
        if not _names_three(self.pair_columns):
            raise InputError(
                f"data.pair_columns is {self.pair_columns!r}; it must name three different columns: the two of texts "
                "and the one of ratings. Use [sentence1, sentence2, score], for example."
            )
        require_different(self._named(), same_file)
        require_different(self._rated(), same_file)

    def files(self) -> list[Path]:
        """The files that are read."""
        folder = [] if self.retrieval is None else sorted(Path(self.retrieval).expanduser().rglob("*.*"))
        named = [*self._named().values(), *self._rated().values()]
        return [*(Path(name).expanduser() for name in named), *folder]

    def check_files(self) -> None:
        """Raise InputError for a file or folder that is not there, before any is read."""
        for split, name in self._named().items():
            require_file(f"data.{split}", name, plain_text=True)
        for setting, name in self._rated().items():
            require_file(f"data.{setting}", name)
        if self.retrieval is not None and not Path(self.retrieval).expanduser().is_dir():
            raise InputError(f"data.retrieval is {self.retrieval!r}; there is no such folder. Check the path.")

    def load(self) -> Splits:
        """Read the files, all columns. Raises InputError where one cannot be used."""
        self.check_files()
        parts = {split: read_file(f"data.{split}", name, plain_text=True) for split, name in self._named().items()}
        if self.retrieval is None and self.pairs is None:
            return assemble(
                parts,
                group=self.group,
                validation_share=self.validation_share,
                seed=self.seed,
                reads=(self.text,),
                repeated=self.repeated,
            )
        splits, notes = self._judged()
        return Splits(
            train=_without_groups(parts["train"]),
            validation=splits["validation"],
            test=splits.get("test"),
            notes=(*notes, *([] if "test" in splits else [f"{self._last}: there is no test split"])),
        )

    def _judged(self) -> tuple[dict[str, Dataset], tuple[str, ...]]:
        if self.retrieval is not None:
            return judged_splits(self.retrieval, self.text)
        files = {"validation": "pairs", "test": "test_pairs"}
        rated = self._rated()
        return {
            split: rated_split(f"data.{setting}", rated[setting], self.pair_columns, self.text)
            for split, setting in files.items()
            if setting in rated
        }, ()

    @property
    def _last(self) -> str:
        """What is missing where no test split is there."""
        return "data.test is null" if self.pairs is None else "data.test_pairs is null"

    def _require_one_judge(self) -> None:
        given = {"data.retrieval": self.retrieval, "data.pairs": self.pairs}
        judges = [f"{setting} is {value!r}" for setting, value in given.items() if value is not None]
        if self.validation is not None or self.test is not None:
            judges.append("data.validation or data.test is given too")
        if len(judges) > 1 and (self.retrieval or self.pairs):
            raise InputError(f"{', and '.join(judges)}; both would judge. Leave one out.")
        if self.test_pairs is not None and self.pairs is None:
            raise InputError(
                f"data.test_pairs is {self.test_pairs!r}, and data.pairs is null; stages are judged by data.pairs, and "
                "data.test_pairs is read once, at the end. Give both, or the one as data.pairs."
            )

    def _rated(self) -> dict[str, str]:
        given = {"pairs": self.pairs, "test_pairs": self.test_pairs}
        return {setting: name for setting, name in given.items() if name is not None}

    def _named(self) -> dict[str, str]:
        given = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: name for split, name in given.items() if name is not None}


def _names_three(columns: object) -> bool:
    if isinstance(columns, str) or not isinstance(columns, Sequence) or len(columns) != 3:
        return False
    return all(isinstance(name, str) and name for name in columns) and len(set(columns)) == 3


def _without_groups(part: Dataset) -> Dataset:
    """Judgements split what judges; groups of the training texts say nothing."""
    return part.remove_columns("group") if "group" in part.column_names else part
