"""A recipe's examples as one processor encodes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from datasets import Dataset, List

from compress.core.context import TeacherReading
from compress.core.errors import ExampleError, InputError, TooLittleError
from compress.core.task import Task
from compress.data.assemble import SPARE
from compress.data.repeats import alike_once_encoded
from compress.data.spare import apart_from
from compress.data.splits import fingerprint
from compress.data.unlabelled import only_new, rows_read
from compress.measure.evaluate import timed
from compress.measure.spare_text import SpareRows

UNLABELLED = "unlabelled"
# Columns of encoded examples that say something about them, such as where in a longer document a row lies, and are not
# what the model reads.
ABOUT = ("labels", "length", "group", "document", "words", "together", "question")
Origins = Mapping[str, tuple[str, Sequence[int]]]


class EncodedData:
    """Each split encoded, when it is first asked for. The splits `unlabelled` and `unlabelled_validation`, where there
    are any, have no labels. spare: what the second one judges beside; None where there is none."""

    spare: SpareRows | None = None

    def __init__(
        self, task: Task, splits: Mapping[str, Dataset], processor: Any, config: Any, origins: Origins | None = None
    ) -> None:
        """processor, config: of the model that will see the rows. origins: see Splits."""
        self.processor, self.config = processor, config
        self._origins: Origins = origins or {}
        self._task, self._splits = task, splits
        self._encoded: dict[str, Dataset] = {}
        self._fingerprints: dict[str, str] = {}
        self._contents: dict[str, str] = {}
        self._spliced: dict[tuple[int, int], Dataset] = {}

    def encoded_by(self, processor: Any, config: Any) -> EncodedData:
        """The same examples as another processor encodes them."""
        again = EncodedData(self._task, self._splits, processor, config, self._origins)
        again.spare = self.spare
        return again

    def with_unlabelled(self, examples: Dataset) -> tuple[EncodedData, str]:
        """The same and those of `examples` that this processor reads as nothing else here, with a sentence about them.

        Raises InputError where none is left.
        """
        encoded = self._task.encode_unlabelled(examples, self.processor, self.config)
        told = [column for column in encoded.column_names if column not in ABOUT]
        kept, note = only_new(encoded, {name: self.split(name) for name in self._splits}, told)
        units = self._task.units(encoded)
        if units is None:
            examples, encoded = examples.select(kept), encoded.select(kept)
        else:
            # Of several rows that are one example each must be new: none may be known from what judges.
            gone = {units[row] for row in set(range(len(encoded))) - set(kept)}
            examples = examples.select([unit for unit in range(len(examples)) if unit not in gone])
            encoded = encoded.select([row for row, unit in enumerate(units) if unit not in gone])
        splits = {**self._splits, UNLABELLED: examples}
        more = EncodedData(self._task, splits, self.processor, self.config, self._origins)
        more._encoded = {**self._encoded, UNLABELLED: encoded}
        return more, note

    def looked_at(self, read: Mapping[str, Sequence[bytes]], *, once: bool) -> tuple[EncodedData, tuple[str, ...]]:
        """The same and sentences about examples that are written in different ways and encoded alike; without them
        where only one of each is wanted. Of what is no text, and of what is read in windows, nothing is said. read: see
        Splits. Raises InputError where none of a split is left."""
        parts = {name: self.split(name) for name in self._splits}
        columns = [name for name in next(iter(parts.values())).column_names if name not in ABOUT]
        if not all(
            _of_tokens(part, columns) and _row_by_row(part, len(read.get(name, ()))) for name, part in parts.items()
        ):
            return self, ()
        seen = {name: list(rows_read(self.split(name), columns)) for name in self._splits}
        alike = {name: rows for name, rows in alike_once_encoded(seen, read).items() if rows}
        outcome = "are left out" if once else "stay"
        notes = tuple(
            f"{len(rows)} examples of {name} are encoded like others, of it or of another split, that are written "
            f"otherwise; they {outcome}"
            for name, rows in alike.items()
        )
        return self._without(alike) if once and alike else self, notes

    def _without(self, rows: Mapping[str, Sequence[int]]) -> EncodedData:
        splits, origins, encoded = {**self._splits}, {**self._origins}, {**self._encoded}
        for name, gone in rows.items():
            kept = sorted(set(range(len(splits[name]))) - set(gone))
            if not kept:
                raise InputError(
                    f"data.repeated is drop; every example of data.{name} is encoded like one of another split, so "
                    "none is left. Give other examples, or use data.repeated=keep."
                )
            splits[name], encoded[name] = splits[name].select(kept), encoded[name].select(kept)
            whole, places = origins.get(name, (name, range(len(self._splits[name]))))
            origins[name] = whole, [places[row] for row in kept]
        fewer = EncodedData(self._task, splits, self.processor, self.config, origins)
        fewer._encoded = encoded
        return fewer

    def with_spare(self, examples: Dataset) -> tuple[EncodedData, str]:
        """The same and those of `examples` that judge without labels, with a sentence about them: those that neither
        training nor the test split holds, as this processor reads them. Nothing that is learned from changes.

        Raises InputError where none is left.
        """
        encoded, labelled = self._encoded_without_labels(SPARE, examples), self.split("validation")
        told = [column for column in encoded.column_names if column not in ABOUT]
        apart, names = ("train", UNLABELLED, "test"), examples.column_names
        known = [self.split(name) for name in apart if name in self._splits]
        grouped = "group" in names
        groups = [group for name in ("train", "test") if name in self._splits for group in self.split(name)["group"][:]]
        found = apart_from(
            encoded, labelled, known, told, examples["group"][:] if grouped else None, groups if grouped else ()
        )
        more = EncodedData(
            self._task, {**self._splits, SPARE: examples.select(found.kept)}, self.processor, self.config, self._origins
        )
        more._encoded = {**self._encoded, SPARE: encoded.select(found.kept)}
        more.spare = SpareRows(
            usable=found.usable,
            groups=found.groups,
            lengths=labelled["length"][:],
            text_lengths=more.split(SPARE)["length"][:],
            unit=self._task.size_unit,
        )
        gone, alone = len(examples) - len(found.kept), len(found.usable) - sum(found.usable)
        note = f"data.unlabelled_validation: {len(found.kept)} of {len(examples)} examples judge without labels"
        if gone:
            note += f"; {gone} are left out because they, or their groups, are in the train, unlabelled or test split"
        if alone:
            note += f"; {alone} of the validation split are in one of these, and their labels alone judge them"
        return more, note

    @property
    def names(self) -> tuple[str, ...]:
        """The splits that there are."""
        return tuple(self._splits)

    def examples(self, name: str) -> Dataset:
        """The examples of a split, as they were read."""
        return self._splits[name]

    def split(self, name: str) -> Dataset:
        """The encoded rows of a split."""
        if name not in self._encoded:
            self._encoded[name] = self._encode(name)
        return self._encoded[name]

    def timed_lengths(self, name: str) -> list[int]:
        """The lengths of a split's rows that are timed, its first ones: see `Task.units`."""
        rows = self.split(name)
        return timed(rows["length"][:], self._task.units(rows))

    @property
    def unlabelled(self) -> Dataset | None:
        """The encoded rows without labels, where there are any."""
        return self.split(UNLABELLED) if UNLABELLED in self._splits else None

    def fingerprint(self, name: str) -> str:
        """The content of the encoded rows; "" where there is no such split."""
        if name not in self._splits:
            return ""
        if name not in self._fingerprints:
            self._fingerprints[name] = fingerprint(self.split(name))
        return self._fingerprints[name]

    def content(self, name: str) -> str:
        """The content of a split's examples, whoever reads them; "" where there is no such split."""
        if name not in self._splits:
            return ""
        if name not in self._contents:
            self._contents[name] = fingerprint(self._splits[name])
        return self._contents[name]

    def spliced(self, count: int, seed: int) -> Dataset:
        """At most `count` encoded rows, each made of parts of two training examples; no row's example is one of a split
        that there is."""
        if (count, seed) not in self._spliced:
            judging = [split for name, split in self._splits.items() if name not in ("train", UNLABELLED, SPARE)]
            examples = self._task.splice(self._splits["train"], count, seed, apart_from=judging)
            nothing_new = self.split("train").select([])
            self._spliced[count, seed] = (
                self._task.encode_unlabelled(examples, self.processor, self.config) if len(examples) else nothing_new
            )
        return self._spliced[count, seed]

    def for_student(self, student: EncodedData, seed: int) -> TeacherReading | None:
        """This, the teacher's, as a stage is told of it; None where `student`, its model's, is the same.
        seed: draws what is spliced."""
        if student is self:
            return None

        def aligned(spliced: int) -> list[bool]:
            pairs = [(self.split(name), student.split(name)) for name in ("train", UNLABELLED) if name in self._splits]
            pairs += [(self.spliced(spliced, seed), student.spliced(spliced, seed))] if spliced else []
            same = [self._task.same_tokens(mine, self.processor, its, student.processor) for mine, its in pairs]
            return [equal for part in same for equal in part]

        return TeacherReading(
            train=self.split("train"),
            train_fingerprint=self.fingerprint("train"),
            unlabelled=self.unlabelled,
            unlabelled_fingerprint=self.fingerprint(UNLABELLED),
            aligned=aligned,
            spliced=partial(self.spliced, seed=seed),
            collate=self.collate,
        )

    def collate(self, rows: Any) -> dict[str, Any]:
        """One padded batch."""
        return self._task.collate(rows, self.processor)

    def _encode(self, name: str) -> Dataset:
        examples = self._splits[name]
        if name in (UNLABELLED, SPARE):
            return self._encoded_without_labels(name, examples)
        try:
            return self._task.encode(examples, self.processor, self.config, name)
        except (ExampleError, TooLittleError) as error:
            if name not in self._origins:
                raise
            # The user knows the file, and not how it was cut.
            whole, rows = self._origins[name]
            if isinstance(error, ExampleError):
                raise error.at(whole, rows[error.row]) from None
            raise InputError(
                f"{error} Its {len(rows)} examples were cut from data.{whole}, by data.validation_share and seed."
            ) from None

    def _encoded_without_labels(self, name: str, examples: Dataset) -> Dataset:
        try:
            return self._task.encode_unlabelled(examples, self.processor, self.config)
        except ExampleError as error:
            raise error.at(name, error.row) from None
        except InputError as error:
            # A task knows one setting of such examples; the user typed this one.
            raise InputError(re.sub(rf"\bdata\.{UNLABELLED}\b", f"data.{name}", str(error))) from None


def _of_tokens(part: Dataset, columns: Sequence[str]) -> bool:
    # Images are the bytes that they were read as, and their pixels are many.
    features = [part.features[name] for name in columns]
    return all(isinstance(feature, List) and feature.feature.dtype.startswith("int") for feature in features)


def _row_by_row(part: Dataset, examples: int) -> bool:
    """Whether each row is an example, in their order, and no window of one."""
    own = "document" not in part.column_names or part["document"][:] == list(range(len(part)))
    return len(part) == examples and own


def joined_fingerprint(split: str, ours: EncodedData, theirs: EncodedData) -> str:
    """What a split contains as two processors encode it: one fingerprint where they are one."""
    return "+".join(dict.fromkeys((ours.fingerprint(split), theirs.fingerprint(split))))
