"""One label per image. The metric is accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm.auto import tqdm

from compress.core.checks import nearest
from compress.core.context import FILE
from compress.core.errors import ExampleError, InputError
from compress.core.signature import BATCH, Port, Signature
from compress.core.task import Counts, TaskDefaults
from compress.nn.checkpoint import read_config
from compress.tasks.heads import load_with_head, load_with_new_head, require_head
from compress.tasks.image_processor import (
    UNREADABLE,
    decoded,
    load_image_processor,
    mode_of,
    pixel_values,
    save_image_processor,
    sides_of,
)
from compress.tasks.labels import (
    NO_LABEL,
    counts_of_labels,
    label_figures,
    label_numbers,
    labelled,
    labelled_loss,
    with_labels,
)
from compress.tasks.metrics.accuracy import Accuracy

if TYPE_CHECKING:
    import torch
    from datasets import Dataset
    from transformers import PreTrainedModel

    from compress.core.metric import Metric
    from compress.core.runtime import Runtime

# Tokens that a model puts before those of the patches, where it is not a class token alone.
EXTRA_TOKENS = {"deit": 2}
INPUTS = '{"pixel_values": numpy.float32([pixels.transpose(2, 0, 1)])}'
USAGE = (
    "import json, numpy, PACKAGE, PIL.Image, PIL.ImageOps\n"
    'use = json.load(open("preprocessor_config.json"))\n'
    "OPEN\n"
    "image = PIL.ImageOps.exif_transpose(PIL.Image.open("
    '"Put the name of an image file here.")).convert(use["pillow_mode"])\n'
    'pixels = (numpy.atleast_3d(image.resize(use["pillow_size"], use["resample"]).crop(use["pillow_box"])) '
    '* use["rescale_factor"] - use["image_mean"]) / use["image_std"]\n'
    'print(json.load(open("config.json"))["id2label"][str(numpy.argmax(RUN))])\n'
)


@dataclass(frozen=True, kw_only=True)
class ImageClassification(TaskDefaults):
    """image: the column that holds the bytes of an image's file. label: the column."""

    image: str
    label: str

    name: ClassVar[str] = "image_classification"
    pipeline_tag: ClassVar[str] = "image-classification"
    size_unit: ClassVar[str] = "patches"

    def load_model(self, folder: Path) -> PreTrainedModel:
        """The classifier of `folder`. Raises InputError where it has no classification head of its own."""
        from transformers import AutoModelForImageClassification

        return load_with_head(AutoModelForImageClassification, folder, self.name)

    def load_pretrained(self, folder: Path, config: Any) -> PreTrainedModel:
        """A pretrained encoder with a classification head for `config`: its own where the labels are as many."""
        from transformers import AutoModelForImageClassification

        return load_with_new_head(AutoModelForImageClassification, folder, config)

    def load_processor(self, folder: Path) -> Any:
        """The model's own image processor, by Pillow and numpy. Raises InputError where there is none, or where it does
        not give images of the one size that the model takes."""
        require_head(folder, self.name)
        return load_image_processor(folder, read_config(folder))

    def save_processor(self, processor: Any, folder: Path) -> None:
        """Write `preprocessor_config.json`."""
        save_image_processor(processor, folder)

    def fit_config(self, config: Any, examples: Dataset) -> Any:
        """`config` with one label per distinct label of `examples`, in alphabetical order."""
        return with_labels(config, self._column(examples, self.label, "train"), self.label)

    def signature(self, config: Any) -> Signature:
        """pixel_values to logits: images of one size, any number of them."""
        height, width = sides_of(config.image_size)
        return Signature(
            inputs=(Port("pixel_values", (BATCH, "channels", "height", "width"), "float32"),),
            output=Port("logits", (BATCH, "labels"), "float32"),
            mask=None,
            fixed={"channels": int(config.num_channels), "height": height, "width": width},
        )

    def metric(self, config: Any) -> Metric:
        """The share of images whose largest logit is the label's."""
        return Accuracy()

    def encode(self, examples: Dataset, processor: Any, config: Any, split: str) -> Dataset:
        """Columns `image`, the bytes as they are, `labels`, `length`, `group`. Raises InputError for an image that
        cannot be opened, unknown labels and single-class data. Pixel values are left to `collate`."""
        labels = label_numbers(self._column(examples, self.label, split), config, self.label, split)
        groups = examples["group"][:] if "group" in examples.column_names else list(range(len(labels)))
        return self._encoded(examples, split, labels, groups, processor, config)

    def encode_unlabelled(self, examples: Dataset, processor: Any, config: Any) -> Dataset:
        """The same columns, with `NO_LABEL` for labels. Raises InputError as `encode` does."""
        count = len(examples)
        return self._encoded(examples, "unlabelled", [NO_LABEL] * count, list(range(count)), processor, config)

    def collate(self, rows: Sequence[Mapping[str, Any]], processor: Any) -> dict[str, torch.Tensor]:
        """pixel_values (rows, channels, height, width), float32, and labels (rows,), int64."""
        import torch

        return {
            "pixel_values": pixel_values([row["image"] for row in rows], processor),
            "labels": torch.tensor([row["labels"] for row in rows], dtype=torch.long),
        }

    def label_loss(self, output: torch.Tensor, batch: Mapping[str, Any]) -> torch.Tensor:
        """Mean cross-entropy of the rows that have a label, 0 where none has."""
        return labelled_loss(output, batch)

    def labelled(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """How many rows have a label."""
        return labelled(batch)

    def statistics(self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any) -> np.ndarray:
        """(rows, 2): 1 where the largest logit is the label's, else 0; and 1."""
        right = [float(int(np.argmax(logits)) == row["labels"]) for logits, row in zip(outputs, rows, strict=True)]
        return np.stack([right, np.ones(len(right))], axis=1)

    def figures(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, float]:
        """Macro F1 and Matthews' correlation; and where there are more than five labels the share of images whose label
        is among the five with the largest logits."""
        logits, labels = np.stack(outputs), [row["labels"] for row in rows]
        figures = label_figures(logits, labels)
        if logits.shape[1] > 5:
            best = np.argsort(-logits, axis=1)[:, :5]
            figures["top_5_accuracy"] = float((best == np.array(labels)[:, None]).any(axis=1).mean())
        return figures

    def by_class(
        self, outputs: Sequence[np.ndarray], rows: Sequence[Mapping[str, Any]], config: Any
    ) -> dict[str, list[Counts]]:
        """For each label the images that have it, or are answered with it."""
        answers = [int(np.argmax(logits)) for logits in outputs]
        return counts_of_labels([row["labels"] for row in rows], answers, config)

    def classes(self, rows: Dataset) -> list[int]:
        """The label of each image."""
        return list(rows["labels"])

    def kinds(self, rows: Dataset, config: Any) -> list[str]:
        """The label's name."""
        return [str(config.id2label[label]) for label in rows["labels"]]

    def usage(self, runtime: Runtime, config: Any) -> str:
        """Six lines of Python that run an exported folder on `runtime`."""
        package, opening, run = runtime.snippet
        return USAGE.replace("PACKAGE", package).replace("OPEN", opening).replace("RUN", run.replace("INPUTS", INPUTS))

    def _encoded(
        self, examples: Dataset, split: str, labels: list[int], groups: list[int], processor: Any, config: Any
    ) -> Dataset:
        from datasets import Dataset as DatasetType

        images = self._images(examples, split)
        files = examples[FILE][:] if FILE in examples.column_names else None
        mode = mode_of(processor)
        shown = tqdm(images, f"opening the images of data.{split}", unit="image", leave=False, delay=1)
        for row, image in enumerate(shown):
            try:
                decoded(image.as_py(), mode)
            except UNREADABLE as error:
                place = "" if files is None else f"({files[row]}) "
                raise ExampleError(
                    f"data.image={self.image}: ",
                    split,
                    row,
                    f"{place}cannot be opened as an image ({error}). Remove it, or save it again.",
                ) from error
        length = [_positions(config)] * len(labels)
        return DatasetType(pa.table({"image": images, "labels": labels, "length": length, "group": groups}))

    def _images(self, examples: Dataset, split: str) -> pa.ChunkedArray:
        """The bytes of each image's file."""
        self._column(examples.select([]), self.image, split)
        found = examples.select_columns([self.image]).with_format("arrow")[:][self.image]
        if not (pa.types.is_binary(found.type) or pa.types.is_large_binary(found.type)):
            raise InputError(
                f"data.image is {self.image!r}, a column of data.{split} that holds {found.type}; it must hold the "
                "bytes of image files. Write them so, or give a folder with a folder for each class."
            )
        missing = pc.index(pc.is_null(found), True).as_py()
        if missing >= 0:
            raise ExampleError(
                f"data.image={self.image}: ", split, missing, "has no image; every example needs one. Remove the row."
            )
        return found.cast(pa.large_binary())

    def _column(self, examples: Dataset, column: str, split: str) -> list[Any]:
        if column not in examples.column_names:
            found = [name for name in examples.column_names if name not in ("group", FILE)]
            which = "data.label" if column == self.label else "data.image"
            raise InputError(
                f"{which} is {column!r}, a column that data.{split} does not have (found: {', '.join(found)}). "
                f"{nearest(str(column), found) or f'Name the column: {which}=COLUMN.'}"
            )
        return examples[column][:]


def _positions(config: Any) -> int:
    """Patches and the tokens before them: what the model computes on, the same for every image."""
    height, width = sides_of(config.image_size)
    patch_height, patch_width = sides_of(config.patch_size)
    return (height // patch_height) * (width // patch_width) + EXTRA_TOKENS.get(config.model_type, 1)
