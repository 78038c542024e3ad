"""Columns of images as the bytes of their files: never decoded, so that it is content that is compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Dataset, Image

from compress.core.errors import InputError


def with_image_bytes(part: Dataset) -> Dataset:
    """`part` with bytes for each column of images, which the `datasets` library writes as `{bytes, path}`.

    Bytes that are not there are read from the file at `path`. Raises InputError where it is not there either.
    """
    columns = [name for name, feature in part.features.items() if _is_image(feature)]
    if not columns:
        return part
    table = part.with_format("arrow")[:].replace_schema_metadata(None)
    for column in columns:
        images = [_bytes(image, column) for image in table[column].to_pylist()]
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(images, pa.large_binary()))
    return Dataset(table)


def _is_image(feature: Any) -> bool:
    return isinstance(feature, Image) or (isinstance(feature, dict) and set(feature) == {"bytes", "path"})


def _bytes(image: dict[str, Any] | None, column: str) -> bytes | None:
    if image is None or image["bytes"] is not None or image["path"] is None:
        return None if image is None else image["bytes"]
    try:
        return Path(image["path"]).read_bytes()
    except OSError as error:
        raise InputError(
            f"data.image={column}: the image {image['path']!r} cannot be read ({error.strerror}). Save the data set "
            "with its images inside, by save_to_disk."
        ) from error
