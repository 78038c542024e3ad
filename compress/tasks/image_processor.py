"""What turns an image's bytes into pixel values, with nothing left to what a library takes for granted."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from compress.core.errors import InputError
from compress.tasks.text import refused_as, require_plain_settings

if TYPE_CHECKING:
    import torch

# What Pillow raises for bytes that are no whole image of a kind that it knows.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, PIL.Image.DecompressionBombError)
MODES = {1: "L", 3: "RGB"}
WAY_OUT = "Save it beside the model: processor.save_pretrained(DIR)."


def decoded(data: bytes, mode: str) -> PIL.Image.Image:
    """The whole image, upright, in colour (`RGB`) or grey (`L`), whatever it was before: grey, a palette, with alpha.

    As the library's own pipeline reads a file: turned as its EXIF data say, an alpha channel left out. Raises one of
    UNREADABLE.
    """
    with PIL.Image.open(io.BytesIO(data)) as image:
        return PIL.ImageOps.exif_transpose(image).convert(mode)


def mode_of(processor: Any) -> str:
    """What images become before `processor` sees them."""
    return MODES[len(processor.image_mean)]


def pixel_values(images: Sequence[bytes], processor: Any) -> torch.Tensor:
    """(images, channels, height, width), float32."""
    mode = mode_of(processor)
    return processor([decoded(image, mode) for image in images], return_tensors="pt")["pixel_values"].float()


def load_image_processor(folder: Path, config: Any) -> Any:
    """The image processor of `folder`, by Pillow and numpy, with every step said for a model of `config`.

    A step that it leaves out is one that changes nothing: to the size that images have already, times 1, minus 0.
    Raises InputError where there is none, or where it gives other images than the model takes.
    """
    from transformers import AutoImageProcessor

    if not (hasattr(config, "num_channels") and hasattr(config, "image_size")):
        raise InputError(
            f"model.path is {folder}, a {config.model_type} model, which takes no images. Use a recipe for text, such "
            "as -cn text_classification."
        )
    if not (folder / "preprocessor_config.json").is_file():
        raise InputError(f"model.path is {folder}, which has no preprocessor_config.json. {WAY_OUT}")
    require_plain_settings(folder / "preprocessor_config.json", "image processor", WAY_OUT)
    with refused_as(f"model.path is {folder}, whose image processor cannot be loaded", WAY_OUT):
        # The other backend needs torchvision.
        processor = AutoImageProcessor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
        complete = _complete(processor, folder, channels=int(config.num_channels), sides=sides_of(config.image_size))
        _try(complete, folder, channels=int(config.num_channels), sides=sides_of(config.image_size))
        return complete


def save_image_processor(processor: Any, folder: Path) -> None:
    """Write `preprocessor_config.json`, which the library reads, with three more keys for who has Pillow alone: see
    `pillow_steps`."""
    processor.save_pretrained(folder)
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | pillow_steps(processor)
    path.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def pillow_steps(processor: Any) -> dict[str, Any]:
    """What Pillow's `convert`, `resize` and `crop` take to do what the processor does: the mode; width and height;
    left, upper, right and lower end of what stays, which is everything where nothing is cropped."""
    width, height = processor.size.width, processor.size.height
    crop = processor.crop_size if processor.do_center_crop else processor.size
    left, upper = (width - crop.width) // 2, (height - crop.height) // 2
    return {
        "pillow_mode": mode_of(processor),
        "pillow_size": [width, height],
        "pillow_box": [left, upper, left + crop.width, upper + crop.height],
    }


def sides_of(size: Any) -> tuple[int, int]:
    """Height and width, where a configuration gives both or one number for the two."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _complete(processor: Any, folder: Path, *, channels: int, sides: tuple[int, int]) -> Any:
    if channels not in MODES:
        raise InputError(
            f"model.path is {folder}, whose config.json has num_channels {channels}; images are read in grey (1) or "
            "in colour (3). Use a model for one of these."
        )
    if not processor.do_resize:
        processor.do_resize, processor.size = True, _size(processor, *sides)
    if not processor.do_rescale:
        processor.do_rescale, processor.rescale_factor = True, 1.0
    if not processor.do_normalize:
        processor.do_normalize, processor.image_mean, processor.image_std = True, 0.0, 1.0
    for name in ("image_mean", "image_std"):
        values = getattr(processor, name)
        values = [float(values)] * channels if isinstance(values, int | float) else [float(value) for value in values]
        if len(values) != channels:
            raise InputError(
                f"model.path is {folder}, whose preprocessor_config.json has {len(values)} values for {name}; the "
                f"model takes images of {channels} (num_channels in config.json). Write one for each channel."
            )
        setattr(processor, name, values)
    found = _resized_to(processor)
    if found != sides:
        raise InputError(
            f"model.path is {folder}, whose preprocessor_config.json makes images of {_written(found)}; the model "
            f"takes {_written(sides)} pixels (image_size in config.json). Write size as "
            f'{{"height": {sides[0]}, "width": {sides[1]}}}.'
        )
    return processor


def _try(processor: Any, folder: Path, *, channels: int, sides: tuple[int, int]) -> None:
    """Raise InputError where an image of white becomes no numbers, or others than the model takes."""
    image = PIL.Image.new(mode_of(processor), (8, 8), "white")
    found = np.asarray(processor([image], return_tensors="pt")["pixel_values"])
    if found.shape != (1, channels, *sides) or not np.isfinite(found).all():
        raise InputError(
            f"model.path is {folder}, whose preprocessor_config.json makes of an image what no model reads: "
            f"{found.shape} with values from {found.min():.3g} to {found.max():.3g}. {WAY_OUT}"
        )


def _resized_to(processor: Any) -> tuple[int, int] | None:
    """Height and width of every image; None where they depend on the image."""
    sizes = [processor.size] + ([processor.crop_size] if processor.do_center_crop else [])
    if processor.do_pad or any(size is None or not (size.height and size.width) for size in sizes):
        return None
    return int(sizes[-1].height), int(sizes[-1].width)


def _size(processor: Any, height: int, width: int) -> Any:
    from transformers.image_utils import SizeDict

    return SizeDict(height=height, width=width)


def _written(sides: tuple[int, int] | None) -> str:
    return "no fixed size" if sides is None else f"{sides[0]} x {sides[1]}"
