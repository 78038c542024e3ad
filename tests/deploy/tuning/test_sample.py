"""A sample as it lies in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.core.errors import InputError
from compress.deploy.tuning.sample import read_images, read_texts


def test_lines_in_their_order_with_their_repeats(tmp_path: Path) -> None:
    path = tmp_path / "sample.txt"
    path.write_text("\ufeffone\n\n  \ntwo\r\none\n", encoding="utf-8")
    assert read_texts(path, pairs=False) == ["one", "two", "one"]


def test_pairs_have_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "sample.txt"
    path.write_text("one\ttwo\nthree\tfour\tfive\n", encoding="utf-8")
    assert read_texts(path, pairs=True) == [("one", "two"), ("three", "four\tfive")]
    path.write_text("one\ttwo\nthree\n", encoding="utf-8")
    with pytest.raises(InputError, match="whose text 2 has no tab; this export reads pairs"):
        read_texts(path, pairs=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\n \n", "holds no text"), (b"gr\xfcn\n", "byte 2 is not UTF-8")],
)
def test_a_sample_without_texts(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "sample.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_texts(path, pairs=False)


def test_images_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/2.png", "1.JPG", "text.txt"):
        (tmp_path / name).touch()
    assert read_images(tmp_path) == [str(tmp_path / "1.JPG"), str(tmp_path / "a" / "2.png")]
    with pytest.raises(InputError, match="holds no image"):
        read_images(tmp_path / "no")
