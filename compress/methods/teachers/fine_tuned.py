"""A teacher made here: a pretrained encoder, fine-tuned on the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset
from transformers import PreTrainedModel, set_seed

from compress.core.checks import require_positive
from compress.core.content import files_below, hashes_of
from compress.core.context import TeacherContext
from compress.core.errors import CompressError, InputError
from compress.core.stage import Training
from compress.core.task import Task
from compress.core.words import TeacherDefaults
from compress.methods.teachers.place import folder_of
from compress.methods.training.loop import Optimization, ResumableTrainer, run_training, steps_of, training_arguments
from compress.nn.checkpoint import check_checkpoint, doubts_about, read_config, require_finite


@dataclass(frozen=True, kw_only=True)
class FineTunedTeacher(TeacherDefaults):
    """path: a pretrained checkpoint's folder, or `package:NAME/FOLDER` for one inside an installed Python package.

    epochs: passes over the training split.
    """

    path: str
    epochs: float
    optimization: Optimization

    learns: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive("model.epochs", self.epochs, "Use 2, for example.")

    def identity(self) -> Mapping[str, Any]:
        """The content of the pretrained folder and the training's settings."""
        return {
            "files": hashes_of(self._folder()),
            "epochs": self.epochs,
            "optimization": asdict(self.optimization),
        }

    def files(self) -> list[Path]:
        """The files of the folder."""
        return files_below(self._folder())

    def check_files(self) -> None:
        """Raise InputError where the folder is no checkpoint."""
        check_checkpoint(self._folder())

    def training(self, examples: int) -> Training | None:
        """The fine-tuning."""
        batch_size = self.optimization.batch_size
        return Training(steps_of(examples, batch_size, self.epochs), batch_size)

    def doubts(self) -> list[str]:
        """Settings in config.json that the library does not know."""
        return doubts_about(self._folder())

    def read(self, task: Task, train: Dataset) -> tuple[Any, Any]:
        """Configuration with the labels of the training split, and processor."""
        folder = self._folder()
        self.check_files()
        return task.fit_config(read_config(folder), train), task.load_processor(folder)

    def look(self, task: Task, config: Any) -> PreTrainedModel:
        """The pretrained encoder with a head that has learned nothing yet."""
        folder = self._folder()
        try:
            model = task.load_pretrained(folder, config)
        except CompressError:
            raise
        except Exception as error:
            # A file from elsewhere can fail anywhere in the library.
            raise InputError(f"model.path is {self.path}, which Transformers cannot load ({error}).") from error
        require_finite(model, folder)
        return model

    def make(self, context: TeacherContext) -> PreTrainedModel:
        """The fine-tuned model."""
        set_seed(context.seed)
        model = context.task.load_pretrained(self._folder(), context.config)
        folder = context.work_folder / "fine-tuning"
        arguments = training_arguments(
            self.optimization,
            model=model,
            steps=steps_of(len(context.train), self.optimization.batch_size, self.epochs),
            device=context.device,
            seed=context.seed,
            folder=folder,
        )
        read = {*context.task.signature(context.config).names, "labels"}

        def collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
            # The model's own loss takes nothing else.
            return {name: values for name, values in context.collate(rows).items() if name in read}

        trainer = ResumableTrainer(
            model=model,
            args=arguments,
            train_dataset=context.train,
            data_collator=collate,
        )
        run_training(trainer, folder, "fine-tuning the teacher")
        # Mixed precision wraps the model's forward; what is saved later must be the plain one.
        return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).cpu().eval()

    def _folder(self) -> Path:
        return folder_of(self.path)
