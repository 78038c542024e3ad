"""Examples that the model reads alike, within splits and across them: found, kept on one side, or left out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from datasets import Dataset

from compress.core.context import FILE

# Of a split's rows in this order the first is kept: what judges stays as it was given, what is learned from gives way.
KEPT_FIRST = ("test", "validation", "train")


def what_is_read(part: Dataset, columns: Collection[str], apart_from: Collection[str]) -> list[bytes]:
    """For each example what stands for the values that the model reads; equal where they are.

    columns: that hold them, as far as the part has them. Where it has none of them, all but `apart_from`. White space
    in texts counts once, and not at their ends.
    """
    every = [name for name in part.column_names if name != FILE]
    own = [name for name in every if name not in {"group", *apart_from}]
    return list(_digests(part, sorted(set(columns) & set(every) or own or every)))


def _digests(part: Dataset, names: Sequence[str]) -> Iterator[bytes]:
    # Batch by batch, and what stands for a row instead of the row: images are large.
    for batch in part.select_columns(list(names)).iter(batch_size=1000):
        for row in zip(*(batch[name] for name in names), strict=True):
            plain = [(name, _plain(value)) for name, value in zip(names, row, strict=True)]
            yield hashlib.sha256(repr(plain).encode("utf-8", "surrogatepass")).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return hashlib.sha256(value).digest()
    return " ".join(value.split()) if isinstance(value, str) else value


def kept_together(groups: np.ndarray, read: Sequence[bytes]) -> np.ndarray:
    """The groups, (rows,), with those made one that share an example: by the smallest of their numbers."""
    parent = {int(number): int(number) for number in np.unique(groups)}

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    first: dict[bytes, int] = {}
    for group, text in zip(groups.tolist(), read, strict=True):
        one, other = root(group), root(first.setdefault(text, group))
        parent[max(one, other)] = min(one, other)
    return np.array([root(number) for number in groups.tolist()])


def without_repeats(read: Mapping[str, Sequence[bytes]]) -> dict[str, list[int]]:
    """For each split the rows that stay where every example is there once. read: see `what_is_read`."""
    known: set[bytes] = set()
    kept: dict[str, list[int]] = {}
    for name in sorted(read, key=KEPT_FIRST.index):
        kept[name] = []
        for row, text in enumerate(read[name]):
            if text not in known:
                known.add(text)
                kept[name].append(row)
    return kept


def alike_once_encoded(
    encoded: Mapping[str, Sequence[bytes]], read: Mapping[str, Sequence[bytes]]
) -> dict[str, list[int]]:
    """For each split the rows that the model sees as it sees one before them, which is written otherwise: capitals that
    the tokenizer takes for small letters, or an end that is cut off.

    encoded, read: for each example what stands for its encoded inputs, and for the values that they were made of. The
    test split comes first, the train split last.
    """
    known: dict[bytes, set[bytes]] = {}
    alike: dict[str, list[int]] = {}
    for name in sorted(encoded, key=KEPT_FIRST.index):
        alike[name] = []
        for row, (seen, written) in enumerate(zip(encoded[name], read[name], strict=True)):
            before = known.setdefault(seen, set())
            if before and written not in before:
                alike[name].append(row)
            before.add(written)
    return alike


def repeats_told(read: Mapping[str, Sequence[bytes]], labels: Mapping[str, Sequence[Any]]) -> list[str]:
    """A sentence for each split that holds examples more than once, and for each two that share some.

    labels: of each example, of the splits that have any: the same text with another label is told too.
    """
    notes = []
    for name, of_split in read.items():
        repeated = len(of_split) - len(set(of_split))
        if repeated:
            notes.append(f"{repeated} examples of {name} repeat others of it{_otherwise(name, name, read, labels)}")
    for left, right in combinations(read, 2):
        known = set(read[left])
        shared = sum(text in known for text in read[right])
        if shared:
            told = _otherwise(left, right, read, labels)
            notes.append(f"{shared} examples of {right} occur in {left} too, as the model reads them{told}")
    return notes


def _otherwise(left: str, right: str, read: Mapping[str, Sequence[bytes]], labels: Mapping[str, Sequence[Any]]) -> str:
    """`, 3 of them with another label`, or nothing."""
    if left not in labels or right not in labels:
        return ""
    first: dict[bytes, str] = {}
    for text, label in zip(read[left], labels[left], strict=True):
        first.setdefault(text, str(label))
    other = sum(
        first.get(text, str(label)) != str(label) for text, label in zip(read[right], labels[right], strict=True)
    )
    return f", {other} of them with another label" if other else ""
