"""A checkpoint's content as hashes: the same model in another folder is the same model."""

from __future__ import annotations

import hashlib
from pathlib import Path

from compress.core.errors import InputError
from compress.core.json_file import read_json

SUFFIXES = {".json", ".safetensors", ".txt", ".model"}
INDEX = "model.safetensors.index.json"


def hashes_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides what a checkpoint is, by name: those of the folder, and those below it that
    its index names. Links are followed."""
    names = {path.name for path in folder.iterdir() if path.is_file() and path.suffix in SUFFIXES}
    if (folder / INDEX).is_file():
        names |= {path.relative_to(folder).as_posix() for path in indexed_files(folder)}
    return {name: sha256_of(folder / name) for name in sorted(names)}


def indexed_files(folder: Path) -> list[Path]:
    """The files that a folder's index names as those of its weights. Raises InputError for an index that cannot be
    read, and for a file that is missing, or outside the folder."""
    index = folder / INDEX
    names = read_json(index, way_out="Save the model again.").get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f"{index} is malformed: it has no weight_map. Save the model again.")
    for name in names.values():
        if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(
                f"{index} is malformed: it names {name!r}, which leaves its folder. Do not use this checkpoint."
            )
        if not (folder / name).is_file():
            raise InputError(f"{index} names {name!r}, which does not exist. Copy the model again.")
        require_inside(folder, folder / name)
    return [folder / name for name in sorted(set(names.values()))]


def require_inside(folder: Path, path: Path) -> None:
    """Raise InputError where `path`, in `folder`, is a link to a place outside it, or is no regular file.

    The hub's own cache is the exception: there a snapshot's files are links into `blobs`, beside `snapshots`.
    """
    place, found = folder.resolve(), path.resolve()
    allowed = [place, *([place.parents[1] / "blobs"] if place.parent.name == "snapshots" else [])]
    if not any(found.is_relative_to(root) for root in allowed):
        raise InputError(f"{path} is a link to {found}, outside its folder. Copy the file itself into the folder.")
    if not found.is_file():
        raise InputError(f"{path} is no regular file. Copy the folder again.")


def require_all_inside(folder: Path) -> None:
    """Raise InputError where a file that decides what a checkpoint is lies elsewhere: see `require_inside`."""
    for path in sorted(folder.iterdir()):
        if path.suffix in {*SUFFIXES, ".jinja", ".onnx", ".data"} and not path.is_dir():
            require_inside(folder, path)


def files_below(folder: Path) -> list[Path]:
    """Every file of a folder that may be one of a checkpoint's."""
    return [path for path in folder.rglob("*") if path.is_file()]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
