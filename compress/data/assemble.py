"""From examples as read to `Splits`: names for labels, numbers for groups, a missing split made, overlaps told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, List

from compress.core.checks import nearest
from compress.core.context import FILE, Splits
from compress.core.errors import InputError
from compress.data.image_bytes import with_image_bytes
from compress.data.splits import held_out, number_groups


def assemble(parts: Mapping[str, Dataset], *, group: str | None, validation_share: float, seed: int) -> Splits:
    """The splits from those that were read: `parts` holds train, validation or both, and perhaps test.

    Columns stay as read, except that class numbers become class names, images the bytes of their files, and that
    `group` (a column of each part) is numbered, across all parts, in a column `group`. Raises InputError where the
    column is missing or incomplete, and where there is too little to split.
    """
    parts = {name: with_image_bytes(with_class_names(part)) for name, part in parts.items()}
    notes: list[str] = []
    origins: dict[str, tuple[str, Sequence[int]]] = {}
    if group is not None:
        parts = _with_groups(parts, group)
    elif any("group" in part.column_names for part in parts.values()):
        parts = {name: _without(part, "group") for name, part in parts.items()}
        notes.append("the column 'group' is not used, because data.group is null: set data.group=group to use it")
    for wanted, given in (("train", "validation"), ("validation", "train")):
        if wanted not in parts:
            share = validation_share if wanted == "validation" else 1 - validation_share
            parts, origins, note = _with_split(parts, wanted, given, share, seed)
            notes.append(note)
    if "test" not in parts:
        notes.append("data.test is null: there is no test split")
    ordered: dict[str, Dataset] = {name: parts[name] for name in ("train", "validation", "test") if name in parts}
    told = (*notes, *_overlaps(ordered))
    return Splits(parts["train"], parts["validation"], parts.get("test"), told, origins=origins)


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
    parts: Mapping[str, Dataset], wanted: str, given: str, share: float, seed: int
) -> tuple[dict[str, Dataset], dict[str, tuple[str, Sequence[int]]], str]:
    """Split `share` of the part `given` off as the part `wanted`, groups whole; where both come from, and a sentence
    that says so."""
    whole = parts[given]
    groups = np.array(whole["group"][:]) if "group" in whole.column_names else np.arange(len(whole))
    if len(np.unique(groups)) < 2:
        kind = "group" if "group" in whole.column_names else "example"
        raise InputError(
            f"data.{wanted} is null and data.{given} holds one {kind}; it takes two to split. "
            f"Set data.{wanted} as well."
        )
    away = held_out(groups, share, seed)
    note = (
        f"data.{wanted} is null: {int(away.sum())} of the {len(whole)} examples of data.{given} were split off for it "
        f"({'whole groups, ' if 'group' in whole.column_names else ''}seed {seed})"
    )
    rows = {wanted: np.flatnonzero(away), given: np.flatnonzero(~away)}
    split = {name: whole.select(chosen) for name, chosen in rows.items()}
    return {**parts, **split}, {name: (given, chosen.tolist()) for name, chosen in rows.items()}, note


def _overlaps(parts: Mapping[str, Dataset]) -> list[str]:
    """A sentence for each two splits that share groups, and for each two that share identical examples."""
    groups = {name: set(part["group"][:]) for name, part in parts.items() if "group" in part.column_names}
    rows = {name: _rows(part) for name, part in parts.items()}
    notes = []
    for left, right in combinations(parts, 2):
        shared_groups = len(groups[left] & groups[right]) if groups else 0
        if shared_groups:
            notes.append(f"{shared_groups} groups of data.group occur in both {left} and {right}")
        known = set(rows[left])
        repeated = sum(row in known for row in rows[right])
        if repeated:
            notes.append(f"{repeated} examples of {right} occur in {left} too, identical in every column")
    return notes


def _rows(part: Dataset) -> list[str]:
    """Each example as one text: its columns' names and values, in alphabetical order; of bytes what stands for them."""
    names = sorted(name for name in part.column_names if name != FILE)
    columns = [_digests(part, name) if _is_bytes(part, name) else map(str, part[name][:]) for name in names]
    return [repr((names, values)) for values in zip(*columns, strict=True)]


def _is_bytes(part: Dataset, name: str) -> bool:
    kind = part.features.arrow_schema.field(name).type
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _digests(part: Dataset, name: str) -> Iterator[str]:
    # One after the other: as text, all images of a split would take four times their size.
    for row in part.select_columns([name]):
        value = row[name]
        yield "None" if value is None else hashlib.sha256(value).hexdigest()
