"""From examples as read to `Splits`: names for labels, numbers for groups, a missing split made, overlaps told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from datasets import ClassLabel, Dataset, List

from compress.core.checks import is_missing, nearest
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.image_bytes import with_image_bytes
from compress.data.repeats import kept_together, repeats_told, what_is_read, without_repeats
from compress.data.splits import held_out, number_groups

# The setting of examples without labels that judge; they are no split of the labelled ones.
SPARE = "unlabelled_validation"


def assemble(
    parts: Mapping[str, Dataset],
    *,
    group: str | None,
    validation_share: float,
    seed: int,
    reads: Sequence[str] = (),
    label: str | None = None,
    repeated: str = "keep",
    spare: Dataset | None = None,
) -> Splits:
    """The splits from those that were read: `parts` holds train, validation or both, and perhaps test.

    Columns stay as read, except that class numbers become class names, images the bytes of their files, and that
    `group` (a column of each part) is numbered, across all parts, in a column `group`. reads: the columns that the
    model reads; examples that are alike there stay on one side of a split, and are told, or left out where `repeated`
    is `drop`. label: the column of the labels. spare: examples without labels that judge; their groups are numbered
    with those of the parts. Raises InputError where a column is missing or incomplete, and where
    there is too little to split.
    """
    parts = {name: with_image_bytes(with_class_names(part)) for name, part in parts.items()}
    notes: list[str] = []
    origins: dict[str, tuple[str, Sequence[int]]] = {}
    if label is not None:
        notes += [note for name, part in parts.items() for note in _labels_looked_at(name, part, label)]
    groups: frozenset[str] = frozenset()
    if group is not None:
        numbered = _with_groups(parts if spare is None else {**parts, SPARE: spare}, group)
        grouped = [*parts.values(), *([] if spare is None else [spare])]
        groups = frozenset(str(value) for part in grouped for value in part[group][:])
        spare = numbered.pop(SPARE, None)
        parts = numbered
    elif any("group" in part.column_names for part in parts.values()):
        parts = {name: _without(part, "group") for name, part in parts.items()}
        notes.append("the column 'group' is not used, because data.group is null: set data.group=group to use it")
    if group is None and spare is not None:
        spare = _without(spare, "group")
    about = [name for name in (label, group) if name is not None]
    read: dict[str, Sequence[bytes]] = {name: what_is_read(part, reads, about) for name, part in parts.items()}
    if repeated == "drop":
        parts, read, origins, dropped = _without_repeats(parts, read)
        notes += dropped
    for wanted, given in (("train", "validation"), ("validation", "train")):
        if wanted not in parts:
            share = validation_share if wanted == "validation" else 1 - validation_share
            parts, read, origins, note = _with_split(parts, read, origins, wanted, given, share, seed)
            notes.append(note)
    if "test" not in parts:
        notes.append("data.test is null: there is no test split")
    ordered: dict[str, Dataset] = {name: parts[name] for name in ("train", "validation", "test") if name in parts}
    labels = {name: part[label][:] for name, part in ordered.items() if label in part.column_names}
    read = {name: read[name] for name in ordered}
    told = (*notes, *_shared_groups(ordered), *repeats_told(read, labels))
    return Splits(
        parts["train"],
        parts["validation"],
        parts.get("test"),
        told,
        unlabelled_validation=spare,
        origins=origins,
        read=read,
        once=repeated == "drop",
        groups=groups,
    )


def _labels_looked_at(name: str, part: Dataset, label: str) -> list[str]:
    """A sentence about white space around labels. Raises InputError where one is missing."""
    if label not in part.column_names:
        return []
    values = part[label][:]
    missing = [row for row, value in enumerate(values) if is_missing(value)]
    if missing:
        raise InputError(
            f"data.label is {label!r}; {len(missing)} examples of data.{name} have no value there, the first is number "
            f"{missing[0] + 1}; what nobody labelled is no class. Label them, remove them, or give their texts as "
            "data.unlabelled."
        )
    loose = sum(isinstance(value, str) and value != value.strip() for value in values)
    return [f"data.label: white space around {loose} labels of {name} is left out"] if loose else []


def _without_repeats(
    parts: Mapping[str, Dataset], read: Mapping[str, Sequence[bytes]]
) -> tuple[dict[str, Dataset], dict[str, Sequence[bytes]], dict[str, tuple[str, Sequence[int]]], list[str]]:
    kept = without_repeats(read)
    empty = [name for name in parts if not kept[name]]
    if empty:
        raise InputError(
            f"data.repeated is drop; every example of data.{empty[0]} is in another split too, so none is left. Give "
            "other examples, or use data.repeated=keep."
        )
    gone = {name: len(part) - len(kept[name]) for name, part in parts.items()}
    notes = [
        f"data.repeated is drop: {count} examples of {name} are left out, because others read the same"
        for name, count in gone.items()
        if count
    ]
    shorter = {name: part.select(kept[name]) if gone[name] else part for name, part in parts.items()}
    origins: dict[str, tuple[str, Sequence[int]]] = {name: (name, kept[name]) for name in parts if gone[name]}
    return shorter, {name: [read[name][row] for row in kept[name]] for name in parts}, origins, notes


def with_class_names(part: Dataset) -> Dataset:
    """Numbers of classes, and of lists of them, become their names, so that labels match a model's by name; -1
    (unlabelled) becomes None."""
    for column, feature in part.features.items():
        if isinstance(feature, ClassLabel):
            part = part.remove_columns(column).add_column(column, _names(feature, part[column][:]))
        elif isinstance(feature, List) and isinstance(feature.feature, ClassLabel):
            lists = [None if numbers is None else _names(feature.feature, numbers) for numbers in part[column][:]]
            part = part.remove_columns(column).add_column(column, lists)
    return part


def _names(classes: ClassLabel, numbers: Sequence[int | None]) -> list[str | None]:
    return [classes.names[number] if number is not None and number >= 0 else None for number in numbers]


def _with_groups(parts: Mapping[str, Dataset], group: str) -> dict[str, Dataset]:
    for name, part in parts.items():
        if group not in part.column_names:
            found = ", ".join(part.column_names)
            raise InputError(
                f"data.group is {group!r}; data.{name} has no such column, but {found}. "
                f"{nearest(group, part.column_names) or 'Use one of these, or null for no groups.'}"
            )
        missing = [row for row, value in enumerate(part[group][:]) if value is None]
        if missing:
            raise InputError(
                f"data.group is {group!r}; {len(missing)} examples of data.{name} have no value there, the first is "
                f"number {missing[0] + 1}; each must have one. Fill the column, or use null for no groups."
            )
    numbers = number_groups([part[group][:] for part in parts.values()])
    return {
        name: _without(part, "group").add_column("group", column)
        for (name, part), column in zip(parts.items(), numbers, strict=True)
    }


def _without(part: Dataset, column: str) -> Dataset:
    return part.remove_columns(column) if column in part.column_names else part


def _with_split(
    parts: Mapping[str, Dataset],
    read: Mapping[str, Sequence[bytes]],
    origins: Mapping[str, tuple[str, Sequence[int]]],
    wanted: str,
    given: str,
    share: float,
    seed: int,
) -> tuple[dict[str, Dataset], dict[str, Sequence[bytes]], dict[str, tuple[str, Sequence[int]]], str]:
    """Split `share` of the part `given` off as the part `wanted`, groups whole, and examples that read the same on one
    side; what stands for them likewise, where both come from, and a sentence that says so."""
    whole = parts[given]
    groups = np.array(whole["group"][:]) if "group" in whole.column_names else np.arange(len(whole))
    together = kept_together(groups, read[given])
    if len(np.unique(together)) < 2:
        kind = "group" if "group" in whole.column_names else "example"
        same = "" if len(np.unique(groups)) < 2 else ", counting those as one that read the same"
        raise InputError(
            f"data.{wanted} is null and data.{given} holds one {kind}{same}; it takes two to split. "
            f"Set data.{wanted} as well."
        )
    away = held_out(together, share, seed)
    note = (
        f"data.{wanted} is null: {int(away.sum())} of the {len(whole)} examples of data.{given} were split off for it "
        f"({'whole groups, ' if 'group' in whole.column_names else ''}seed {seed})"
    )
    rows = {wanted: np.flatnonzero(away).tolist(), given: np.flatnonzero(~away).tolist()}
    split = {name: whole.select(chosen) for name, chosen in rows.items()}
    seen = {name: [read[given][row] for row in chosen] for name, chosen in rows.items()}
    before = origins.get(given, (given, range(len(whole))))[1]
    places = {name: (given, [before[row] for row in chosen]) for name, chosen in rows.items()}
    return {**parts, **split}, {**read, **seen}, {**origins, **places}, note


def _shared_groups(parts: Mapping[str, Dataset]) -> list[str]:
    """A sentence for each two splits that share groups."""
    groups = {name: set(part["group"][:]) for name, part in parts.items() if "group" in part.column_names}
    shared = {(left, right): len(groups[left] & groups[right]) for left, right in combinations(groups, 2)}
    return [
        f"{count} groups of data.group occur in both {left} and {right}"
        for (left, right), count in shared.items()
        if count
    ]
