"""Images that get a label each, prepared by Pillow and numpy as the model card says it."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Hashable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.content import require_inside
from compress.core.errors import InputError
from compress.core.json_file import read_json
from compress.deploy.answers import Answer, labelled
from compress.deploy.export import Export
from compress.deploy.reading import Reading
from compress.deploy.texts import label_names

SETTINGS = "preprocessor_config.json"
STEPS = ("pillow_mode", "pillow_size", "pillow_box", "resample", "rescale_factor", "image_mean", "image_std")
DIGEST_BYTES = 65
# Of an image as a model reads it, in pixels: more than any takes, and less than a machine's memory.
LARGEST_SIDE = 8192


class LabelledImages:
    """A label for each image: the bytes of a file, or its path."""

    most = 1

    def __init__(self, export: Export) -> None:
        if find_spec("PIL") is None:
            raise InputError(f"{export.folder} reads images by Pillow, which is not installed: pip install pillow")
        self._names = label_names(export.folder)
        require_inside(export.folder, export.folder / SETTINGS)
        settings = read_json(export.folder / SETTINGS, way_out="Copy the export again.")
        missing = [step for step in STEPS if step not in settings]
        if missing:
            raise InputError(
                f"{export.folder / SETTINGS} does not say {missing[0]}, without which images are prepared by "
                "Transformers only: another release made it. Export it again."
            )
        self._steps = _looked_at({step: settings[step] for step in STEPS}, export.folder / SETTINGS)

    def given(self, example: Any, place: int, prompt: str | None) -> tuple[int, bytes]:
        """See Form."""
        if prompt is not None:
            raise InputError(f"prompt is {prompt!r}; an image has none. Leave it out.")
        if isinstance(example, bytes):
            return place, example
        if not isinstance(example, str | Path):
            raise InputError(
                f"example {place} is {example!r:.60}; it must be the bytes of an image's file, or its path."
            )
        try:
            return place, Path(example).read_bytes()
        except OSError as error:
            raise InputError(f"example {place} is {example}, which cannot be read ({error.strerror}).") from error

    def key(self, given: tuple[int, bytes]) -> tuple[Hashable, int]:
        """SHA-256 of the file."""
        return hashlib.sha256(given[1]).digest(), DIGEST_BYTES

    def read(self, given: Sequence[Any]) -> list[Reading]:
        """See Form. Raises InputError for what is no whole image."""
        return [Reading(*self.key(image), (self._pixels(*image),), (1,)) for image in given]

    def batch(self, rows: Sequence[Any], width: int) -> dict[str, np.ndarray]:
        """(rows, channels, height, width), float32."""
        return {"pixel_values": np.stack(rows)}

    def answer(self, reading: Reading, outputs: Sequence[np.ndarray]) -> Answer:
        """Labels with their scores."""
        return labelled(outputs[0], self._names)

    def _pixels(self, place: int, data: bytes) -> np.ndarray:
        import PIL.Image
        import PIL.ImageOps

        use = self._steps
        unreadable = (
            *(OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error),
            PIL.Image.DecompressionBombError,
        )
        try:
            with PIL.Image.open(io.BytesIO(data)) as opened:
                image = PIL.ImageOps.exif_transpose(opened).convert(use["pillow_mode"])
        except unreadable as error:
            raise InputError(f"example {place} cannot be opened as an image ({error}).") from error
        shown = image.resize(use["pillow_size"], use["resample"]).crop(use["pillow_box"])
        values = np.atleast_3d(np.asarray(shown))
        pixels = (values * use["rescale_factor"] - use["image_mean"]) / use["image_std"]
        return pixels.transpose(2, 0, 1).astype(np.float32)


def _looked_at(steps: dict[str, Any], path: Path) -> dict[str, Any]:
    """The steps. Raises InputError for one that no image can be prepared by."""
    mode, channels = steps["pillow_mode"], {"L": 1, "RGB": 3}.get(str(steps["pillow_mode"]))
    fits = {
        "pillow_mode": channels is not None and isinstance(mode, str),
        "pillow_size": _whole(steps["pillow_size"], 2, 1, LARGEST_SIDE),
        "pillow_box": _whole(steps["pillow_box"], 4, -LARGEST_SIDE, 2 * LARGEST_SIDE),
        "resample": _whole([steps["resample"]], 1, 0, 5),
        "rescale_factor": _numbers([steps["rescale_factor"]], 1),
        "image_mean": _numbers(steps["image_mean"], channels),
        "image_std": _numbers(steps["image_std"], channels) and all(steps["image_std"]),
    }
    wrong = next((step for step, right in fits.items() if not right), None)
    if wrong is not None:
        raise InputError(
            f"{path} sets {wrong} to {steps[wrong]!r:.80}, by which no image is prepared. Export it again."
        )
    return steps


def _whole(values: Any, count: int, least: int, most: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int) and not isinstance(value, bool) and least <= value <= most for value in values)
    )


def _numbers(values: Any, count: int | None) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    )
