"""Texts without labels that judge: kept apart from what was learned from, and beside which labelled examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasets import Dataset

from compress.core.errors import InputError
from compress.data.unlabelled import rows_read


@dataclass(frozen=True)
class Apart:
    """kept: numbers of the texts that judge. usable: of each labelled example whether such texts are like it. groups:
    of each text that is kept, numbered as the labelled examples' groups are, and equal for those that belong together.
    """

    kept: list[int]
    usable: list[bool]
    groups: list[int]


def apart_from(
    texts: Dataset,
    labelled: Dataset,
    known: Sequence[Dataset],
    columns: Sequence[str],
    text_groups: Sequence[int] | None,
    known_groups: Sequence[int] = (),
) -> Apart:
    """Which of the encoded texts judge, and beside which of the labelled examples.

    A student knows the texts that it has learned from, so there it differs from its teacher by another amount than on
    new ones. So texts that are in `known`, or of a group in `known_groups`, are left out, and labelled examples of
    which that is true are judged by their labels alone: what is left on both sides is alike again. What is in both
    sides stays in both, and counts as one group: whoever gives all of their texts gives the labelled ones too.
    text_groups: of each text, numbered as the labelled examples' are; None where nobody said which belong together:
    then equal texts do. columns: the model's inputs. Raises InputError where nothing is left.
    """
    seen = {row for part in known for row in rows_read(part, columns)}
    theirs, mine = list(rows_read(texts, columns)), list(rows_read(labelled, columns))
    groups_seen, of_labelled = set(known_groups), labelled["group"][:]

    def is_known(row: bytes, group: int | None) -> bool:
        return row in seen or group in groups_seen

    of_texts: Sequence[int | None] = [None] * len(theirs) if text_groups is None else text_groups
    kept = [number for number, row in enumerate(theirs) if not is_known(row, of_texts[number])]
    if not kept:
        raise InputError(
            f"data.unlabelled_validation holds {len(texts)} examples, and every one is in the train, unlabelled or "
            "test split, so none is left to judge by. Give text that nothing learns from, or null."
        )
    grouped = text_groups is not None
    usable = [not is_known(row, group if grouped else None) for row, group in zip(mine, of_labelled, strict=True)]
    if text_groups is not None:
        return Apart(kept, usable, [text_groups[number] for number in kept])
    place = dict(zip(reversed(mine), reversed(of_labelled), strict=True))
    return Apart(kept, usable, _numbered([theirs[number] for number in kept], place, 1 + max(of_labelled)))


def _numbered(rows: Sequence[bytes], place: dict[bytes, int], first: int) -> list[int]:
    """The number in `place` of each row; numbers from `first` on for those that have none there, equal where rows
    are."""
    new: dict[bytes, int] = {}
    return [place[row] if row in place else new.setdefault(row, first + len(new)) for row in rows]
