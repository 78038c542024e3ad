"""The user's own encoder, which makes a vector of each text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from compress.core.content import hashes_of
from compress.core.task import Task
from compress.methods.teachers.folder import FolderTeacher
from compress.tasks.sentence_folder import read_folder, with_readout


@dataclass(frozen=True, kw_only=True)
class EncoderFolder(FolderTeacher):
    """path: a folder of sentence-transformers, a plain encoder's, one that an earlier run exported, or
    `package:NAME/FOLDER` for one inside an installed Python package.

    pooling: how one vector is made of a plain encoder's; None where the folder says it.
    """

    pooling: str | None

    def identity(self) -> Mapping[str, Any]:
        """The content of the folder's files, and how vectors are made, which lies in folders inside."""
        said = read_folder(self.folder, self.pooling)
        dense = {} if said.dense is None else {"dense": hashes_of(said.dense)}
        return {**super().identity(), **dense, "readout": said.readout.to_json(), "max_length": said.max_length}

    def read(self, task: Task, train: Dataset) -> tuple[Any, Any]:
        """Its configuration, with how vectors are made, and processor."""
        config, processor = super().read(task, train)
        return with_readout(config, read_folder(self.folder, self.pooling).readout), processor
