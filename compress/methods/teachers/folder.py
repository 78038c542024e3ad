"""The user's own fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset
from transformers import PreTrainedModel

from compress.core.content import files_below, hashes_of
from compress.core.context import TeacherContext
from compress.core.errors import CompressError, InputError
from compress.core.task import Task
from compress.core.words import TeacherDefaults
from compress.methods.teachers.converted import plain_folder, told_by_its_name
from compress.methods.teachers.place import folder_of
from compress.nn.checkpoint import STRUCTURE, check_checkpoint, doubts_about, load_model, read_config, require_finite
from compress.tasks.heads import ANSWERS, require_answers, require_head


@dataclass(frozen=True, kw_only=True)
class FolderTeacher(TeacherDefaults):
    """path: a folder that Transformers' save_pretrained wrote, or one that an earlier run exported, or minimind's own;
    or a GGUF file; or `package:NAME/FOLDER` for a folder inside an installed Python package."""

    path: str

    learns: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """Where the model lies, in the form that Transformers knows."""
        return plain_folder(folder_of(self.path))

    def identity(self) -> Mapping[str, Any]:
        """The content of the folder's files."""
        return {"files": hashes_of(self.folder)}

    def files(self) -> list[Path]:
        """The files of the folder."""
        return files_below(self.folder)

    def check_files(self) -> None:
        """Raise InputError where the folder is no checkpoint."""
        folder = self.folder
        with told_by_its_name(folder_of(self.path)):
            check_checkpoint(folder)

    def doubts(self) -> list[str]:
        """Settings in config.json that the library does not know."""
        return doubts_about(self.folder)

    def read(self, task: Task, train: Dataset) -> tuple[Any, Any]:
        """Its configuration and processor."""
        self.check_files()
        with told_by_its_name(folder_of(self.path)):
            return read_config(self.folder), task.load_processor(self.folder)

    def look(self, task: Task, config: Any) -> PreTrainedModel:
        """The model itself: reading it takes no longer than checking it."""
        with told_by_its_name(folder_of(self.path)):
            return self._load(task)

    def make(self, context: TeacherContext) -> PreTrainedModel:
        """The model, every weight of it from the folder."""
        with told_by_its_name(folder_of(self.path)):
            return self._load(context.task)

    def _load(self, task: Task) -> PreTrainedModel:
        folder = self.folder
        if (folder / STRUCTURE).exists():
            if task.name in ANSWERS:
                require_head(folder, task.name)
                require_answers(folder, task.name)
            return load_model(folder, verify=True)
        try:
            model = task.load_model(folder)
        except CompressError:
            raise
        except Exception as error:
            # A file from elsewhere can fail anywhere in the library.
            raise InputError(f"model.path is {folder}, which Transformers cannot load ({error}).") from error
        require_finite(model, folder)
        return model
