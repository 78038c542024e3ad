"""Examples without labels: kept apart from those that judge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from datasets import Dataset

from compress.core.errors import InputError


def only_new(unlabelled: Dataset, splits: Mapping[str, Dataset], columns: Sequence[str]) -> tuple[list[int], str]:
    """Numbers of the encoded examples that are in none of the splits and not repeated, and a sentence that says so.

    Examples are the same where they are equal in `columns`, the model's inputs. A text that judges the student, even
    one without its label, would make the student look better on that very text than on new ones. Raises InputError
    where nothing is left.
    """
    judging = {row for name in ("validation", "test") if name in splits for row in rows_of(splits[name], columns)}
    known = set(rows_of(splits["train"], columns))
    kept, judged = [], 0
    for number, row in enumerate(rows_of(unlabelled, columns)):
        if row in judging:
            judged += 1
        elif row not in known:
            known.add(row)
            kept.append(number)
    repeated = len(unlabelled) - judged - len(kept)
    if not kept:
        raise InputError(
            f"data.unlabelled holds {len(unlabelled)} examples, and every one is in the train, validation or test "
            "split already, so nothing is left to learn from. Give other text, or null."
        )
    note = (
        f"data.unlabelled: {len(kept)} of {len(unlabelled)} examples are imitated; {judged} are left out because the "
        f"validation or test split holds them, {repeated} because the train split does or they are repeated"
    )
    return kept, note


def rows_of(part: Dataset, columns: Sequence[str]) -> Iterator[bytes]:
    """What stands for each row of encoded examples; equal where they are in `columns`."""
    # Batch by batch, and what stands for a row instead of the row: images are large.
    for batch in part.select_columns(list(columns)).iter(batch_size=1000):
        for row in zip(*(batch[column] for column in columns), strict=True):
            yield hashlib.sha256(repr(row).encode()).digest()
