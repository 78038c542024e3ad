"""The user's own queries and passages: a passage, or a list of passages, in each row of a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from compress.core.context import Splits
from compress.core.errors import InputError
from compress.data.files import Files
from compress.tasks.candidates import candidates_of, judged_rows


@dataclass(frozen=True, kw_only=True)
class Pairs(Files):
    """columns: of queries and of passages. relevance: the column of how relevant passages are, or None. The rest is as
    in `Files`."""

    columns: Sequence[str]
    relevance: str | None

    def load(self) -> Splits:
        """Read the files. Raises InputError where one cannot be used. Notes say which queries cannot judge: no passage
        is relevant for them, or they have but one."""
        splits = super().load()
        judging = {"validation": splits.validation, "test": splits.test}
        notes = [note for name, part in judging.items() if part is not None for note in self._told(name, part)]
        return dataclasses.replace(splits, notes=(*splits.notes, *notes))

    def _told(self, split: str, part: Dataset) -> list[str]:
        try:
            found = candidates_of(part, self.columns, self.relevance, split)
        except InputError:
            # The task says so, and of which example of which file.
            return []
        queries = set(found.queries)
        notes = []
        if self.relevance is None:
            counts: dict[str, int] = {}
            for query in found.queries:
                counts[query] = counts.get(query, 0) + 1
            left = sum(count < 2 for count in counts.values())
            reason = "have a single passage"
        else:
            assert found.labels is not None
            kept: Any = judged_rows(found.queries, found.labels, teacher=False)
            left = len(queries) - len({found.queries[row] for row in kept})
            reason = "have no relevant passage, or no other"
        if left:
            told = f"{left} of {len(queries)} queries of {split} {reason}"
            notes.append(f"{told}: nothing can be ordered, so they are left out")
        return notes
