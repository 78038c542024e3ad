"""Images of classes: folders that hold a folder for each class, or `.parquet` files that hold the images' bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from compress.core.checks import nearest
from compress.core.context import FILE, Splits
from compress.core.errors import InputError
from compress.data.formats import read_file, require_file
from compress.data.named_splits import NamedSplits

# What people call the parts of a data set. A folder of such folders is one level too high.
SPLITS = {"train", "training", "validation", "valid", "val", "dev", "test", "testing"}


@dataclass(frozen=True, kw_only=True)
class Images(NamedSplits):
    """A folder or a `.parquet` file per split: train, validation and test are paths.

    In a folder every image lies in the folder of its class, at any depth; the class's name is the folder's. What begins
    with a dot is passed over. unlabelled: a folder of images, at any depth, or a `.parquet` file.
    """

    def files(self) -> list[Path]:
        """The files that are read."""
        names = (*self.named.values(), self.unlabelled, self.spare_file)
        paths = [Path(name).expanduser() for name in names if name is not None]
        return [file for path in paths for file in (_files(path) if path.is_dir() else [path])]

    def check_files(self) -> None:
        """Raise InputError for a file or a folder that is not there, before any is read."""
        for split, path in self.named.items():
            if not Path(path).expanduser().is_dir():
                _require_parquet(f"data.{split}", path)
        for setting, name in {"unlabelled": self.unlabelled, "unlabelled_validation": self.spare_file}.items():
            if name is not None and not Path(name).expanduser().is_dir():
                _require_parquet(f"data.{setting}", name)

    def load(self) -> Splits:
        """Read the images' bytes. Columns of a folder: image, label. Raises InputError where one cannot be used."""
        self.check_files()
        return self.assembled(
            {
                split: read_classes(f"data.{split}", path)
                if Path(path).expanduser().is_dir()
                else read_file(f"data.{split}", path)
                for split, path in self.named.items()
            }
        )

    def read_unlabelled(self, setting: str, path: str) -> Dataset:
        """Column of a folder: image."""
        folder = Path(path).expanduser()
        if not folder.is_dir():
            return super().read_unlabelled(setting, path)
        files = _files(folder)
        if not files:
            raise InputError(f"{setting} is {path!r}; that folder holds no images. Check the path, or use null.")
        return Dataset(_table(setting, folder, files))

    def _same(self, one: str, other: str) -> bool:
        return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()


def read_classes(setting: str, name: str) -> Dataset:
    """The images of a folder that holds a folder for each class. Columns: image, label, FILE. Raises InputError, which
    names `setting`, where it is none, or where one cannot be read."""
    folder = Path(name).expanduser()
    classes = _classes(setting, name)
    files = {label: _files(folder / label) for label in classes}
    empty = [label for label, found in files.items() if not found]
    if empty:
        raise InputError(f"{setting} is {name!r}; its folder {empty[0]!r} holds no images. Remove it, or fill it.")
    labels = [label for label, found in files.items() for _ in found]
    every = [file for found in files.values() for file in found]
    return Dataset(_table(setting, folder, every).append_column("label", pa.array(labels, pa.string())))


def _classes(setting: str, name: str) -> list[str]:
    """The names of a folder's folders, sorted. Raises InputError where they are no classes."""
    layout = "Put a folder for each class in it, and the images into those."
    entries = sorted(_shown(Path(name).expanduser().iterdir()))
    stray = [entry.name for entry in entries if not entry.is_dir()]
    classes = [entry.name for entry in entries if entry.is_dir()]
    if not classes:
        held = f"holds {stray[0]!r} but no folders" if stray else "is empty"
        raise InputError(f"{setting} is {name!r}; that folder {held}, so there are no classes. {layout}")
    if stray:
        raise InputError(f"{setting} is {name!r}; {stray[0]!r} lies beside its folders, so it has no class. {layout}")
    if set(classes) <= SPLITS:
        split = setting.removeprefix("data.")
        inner = nearest(split, classes).removeprefix("Did you mean ").strip("'?") or classes[0]
        raise InputError(
            f"{setting} is {name!r}; its folders ({', '.join(classes)}) are splits and no classes. "
            f"Name them one by one: {setting}={Path(name) / inner}, and so on."
        )
    if len(classes) == 1:
        raise InputError(
            f"{setting} is {name!r}; it holds one folder ({classes[0]!r}), so there is a single class; two are needed. "
            "Give the folder that holds a folder for each class."
        )
    return classes


def _table(setting: str, folder: Path, files: Iterable[Path]) -> pa.Table:
    contents, names = [], []
    for file in files:
        try:
            contents.append(file.read_bytes())
        except OSError as error:
            raise InputError(
                f"{setting} is {str(folder)!r}; {file} cannot be read ({error.strerror}). Check its permissions."
            ) from error
        names.append(file.relative_to(folder).as_posix())
    return pa.table({"image": pa.array(contents, pa.large_binary()), FILE: pa.array(names, pa.string())})


def _files(folder: Path) -> list[Path]:
    """The files of a folder and of the folders in it, sorted by name, without those that begin with a dot."""
    found: list[Path] = []
    for entry in sorted(_shown(folder.iterdir())):
        found += _files(entry) if entry.is_dir() else [entry]
    return found


def _shown(entries: Iterable[Path]) -> Iterator[Path]:
    return (entry for entry in entries if not entry.name.startswith("."))


def _require_parquet(setting: str, name: str) -> None:
    path = Path(name).expanduser()
    if not path.exists() and path.parent.is_dir():
        offer = nearest(path.name, (other.name for other in path.parent.iterdir()))
        raise InputError(
            f"{setting} is {name!r}; there is no such file or folder in {str(path.parent.resolve())!r}. "
            f"{offer or 'Check the name.'}"
        )
    require_file(setting, name)
    suffix = Path(name).suffix.lower()
    if suffix != ".parquet":
        raise InputError(
            f"{setting} is {name!r}; its suffix is {suffix!r}, which holds no images. Give a folder with a folder for "
            "each class, or a .parquet file with a column of bytes."
        )
