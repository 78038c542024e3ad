"""The one file of an export, looked at before a runtime reads it."""

from __future__ import annotations

from pathlib import Path

from compress.core.content import require_inside
from compress.core.errors import InputError


def onnx_file(folder: Path) -> Path:
    """`folder/model.onnx`. Raises InputError where it is missing, damaged or names a file elsewhere."""
    path = folder / "model.onnx"
    if not path.is_file():
        raise InputError(f"{folder} has no model.onnx. Give a folder that a run exported.")
    require_inside(folder, path)
    require_data_inside(path)
    return path


def require_data_inside(path: Path) -> None:
    """Raise InputError where an ONNX file keeps weights outside its own folder, or cannot be read at all."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx.external_data_helper import _get_all_tensors

    try:
        graph = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged or no ONNX file ({error}). Export the model again.") from error
    for tensor in _get_all_tensors(graph):
        for entry in tensor.external_data:
            outside = Path(entry.value).is_absolute() or ".." in Path(entry.value).parts
            if entry.key == "location" and outside:
                raise InputError(f"{path} keeps weights in {entry.value!r}, which leaves its folder. Do not use it.")
            if entry.key == "location":
                require_inside(path.parent, path.parent / entry.value)
