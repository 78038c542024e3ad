"""Folders of images by class, and `.parquet` files with bytes: what is read, what is passed over, what is refused."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image

from compress.core.context import FILE
from compress.core.errors import InputError
from compress.data.hub import Hub
from compress.data.images import Images
from compress.data.splits import fingerprint


def images(**changes: Any) -> Images:
    given: dict[str, Any] = dict.fromkeys(
        ("train", "validation", "test", "unlabelled", "unlabelled_validation", "group")
    )
    return Images(
        **{
            **given,
            "reads": "image",
            "label": "label",
            "repeated": "keep",
            "validation_share": 0.5,
            "seed": 0,
            **changes,
        }
    )


def tree(folder: Path, files: Mapping[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return str(folder)


def png(grey: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", (2, 2), grey).save(file, "PNG")
    return file.getvalue()


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    files = {"shoe/b.png": b"4", "shoe/a/z.png": b"3", "bag/2.png": b"2", "bag/1.png": b"1"}
    hidden = {".cache/x.png": b"9", "bag/.DS_Store": b"9", "shoe/.thumbnails/x.png": b"9", ".info": b"9"}
    train = tree(tmp_path / "train", {**files, **hidden})
    test = tree(tmp_path / "test", {"bag/1.jpg": b"5", "shoe/1.jpg": b"1"})
    source = images(train=train, validation=tree(tmp_path / "v", {"bag/1": b"6", "shoe/1": b"7"}), test=test)
    splits = source.load()
    assert splits.train.to_dict() == {
        "image": [b"1", b"2", b"3", b"4"],
        "label": ["bag", "bag", "shoe", "shoe"],
        FILE: ["bag/1.png", "bag/2.png", "shoe/a/z.png", "shoe/b.png"],
    }
    assert splits.test is not None and splits.test["image"][:] == [b"5", b"1"]
    # Neither files' names nor labels are part of what is compared: b"1" is a bag here and a shoe there.
    (note,) = splits.notes
    assert note == "1 examples of test occur in train too, as the model reads them, 1 of them with another label"
    assert sorted(path.name for path in source.files()) == [
        "1",
        "1",
        "1.jpg",
        "1.jpg",
        "1.png",
        "2.png",
        "b.png",
        "z.png",
    ]


def test_the_content_is_compared_and_not_the_name(tmp_path: Path) -> None:
    one = tree(tmp_path / "one", {"bag/1.png": b"1", "shoe/1.png": b"2"})
    other = tree(tmp_path / "other", {"bag/one.png": b"1", "shoe/two.png": b"2"})
    splits = images(train=one, validation=other).load()
    assert "2 examples of validation occur in train too, as the model reads them" in splits.notes
    assert fingerprint(splits.train) == fingerprint(splits.validation)


def test_validation_is_split_off(tmp_path: Path) -> None:
    train = tree(tmp_path / "t", {f"{label}/{n}.png": f"{label}{n}".encode() for label in "ab" for n in range(4)})
    splits = images(train=train).load()
    assert len(splits.train) == len(splits.validation) == 4
    assert sorted(splits.train["image"][:] + splits.validation["image"][:]) == sorted(
        f"{label}{n}".encode() for label in "ab" for n in range(4)
    )
    assert splits.origins["validation"][0] == "train"


def test_images_without_labels(tmp_path: Path) -> None:
    train = tree(tmp_path / "t", {"a/1": b"1", "b/1": b"2"})
    more = tree(tmp_path / "more", {"x.png": b"8", "deep/er/y.png": b"7"})
    splits = images(train=train, unlabelled=more).load()
    assert splits.unlabelled is not None and splits.unlabelled["image"][:] == [b"7", b"8"]
    pq.write_table(pa.table({"image": [b"5"]}), tmp_path / "more.parquet")
    splits = images(train=train, unlabelled=str(tmp_path / "more.parquet")).load()
    assert splits.unlabelled is not None and splits.unlabelled.to_dict() == {"image": [b"5"]}


def test_parquet_as_the_library_writes_it(tmp_path: Path) -> None:
    """Images that are never decoded, classes by name, groups."""
    contents = [png(grey) for grey in (0, 1, 2, 3)]
    features = Features({"image": Image(), "label": ClassLabel(names=["bag", "shoe"])})
    given = {"image": [{"bytes": content, "path": None} for content in contents], "label": [0, 1, 0, 1]}
    whole = Dataset.from_dict(given, features=features).add_column("who", ["x", "x", "y", "y"])
    whole.to_parquet(tmp_path / "a.parquet")
    splits = images(train=str(tmp_path / "a.parquet"), group="who").load()
    assert sorted(splits.train["image"][:] + splits.validation["image"][:]) == sorted(contents)
    assert set(splits.train["label"][:]) == {"bag", "shoe"}
    assert len(set(splits.train["group"][:])) == 1
    # The same images as plain bytes, and as a data set that was saved.
    pq.write_table(pa.table({"image": contents, "label": ["bag", "shoe"] * 2}), tmp_path / "b.parquet")
    DatasetDict(train=whole.remove_columns("who")).save_to_disk(str(tmp_path / "saved"))
    hub = Hub(
        name=str(tmp_path / "saved"),
        config=None,
        **{**vars(images(train="train")), "validation_share": 0.5},
    )
    plain = images(train=str(tmp_path / "b.parquet")).load()
    assert fingerprint(hub.load().train) == fingerprint(plain.train)


def test_images_that_a_data_set_only_points_to(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(1))
    paths = [str(tmp_path / "1.png"), str(tmp_path / "2.png")]
    table = pa.table({"image": [{"bytes": None, "path": path} for path in paths], "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"the image '.*2.png' cannot be read \(No such file"):
        images(train=str(tmp_path / "c.parquet")).load()
    (tmp_path / "2.png").write_bytes(png(2))
    splits = images(train=str(tmp_path / "c.parquet")).load()
    assert sorted(splits.train["image"][:] + splits.validation["image"][:]) == sorted([png(1), png(2)])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"is '.*'; that folder is empty, so there are no classes. Put a folder for each class in it"),
        ({".x/1": b"1"}, r"that folder is empty"),
        ({"1.png": b"1"}, r"that folder holds '1.png' but no folders"),
        ({"a/1": b"1", "b/1": b"1", "list.txt": b"1"}, r"'list.txt' lies beside its folders, so it has no class"),
        ({"a/1": b"1"}, r"it holds one folder \('a'\), so there is a single class; two are needed"),
        ({"a/1": b"1", "b/.x": b"1"}, r"its folder 'b' holds no images. Remove it, or fill it"),
        ({"train/a/1": b"1", "val/a/1": b"1"}, r"\(train, val\) are splits and no classes.*data.train=.*/t/train"),
    ],
)
def test_folders_that_are_refused(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(InputError, match=rf"data.train .*{message}"):
        images(train=tree(tmp_path / "t", files)).load()


def test_paths_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}\n")
    tree(tmp_path / "images", {"a/1": b"1", "b/1": b"2"})
    with pytest.raises(InputError, match=r"data.train is '.*train.jsonl'; its suffix is '.jsonl', which holds no"):
        images(train=str(tmp_path / "train.jsonl")).check_files()
    with pytest.raises(InputError, match=r"data.test is '.*imges'; there is no such file or folder in .* 'images'\?"):
        images(train=str(tmp_path / "images"), test=str(tmp_path / "imges")).check_files()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"data.unlabelled is '.*empty'; that folder holds no images"):
        images(train=str(tmp_path / "images"), unlabelled=str(tmp_path / "empty")).load()
    with pytest.raises(InputError, match=r"data.group is 'who'; data.train has no such column"):
        images(train=str(tmp_path / "images"), group="who").load()
