"""IDX bytes to arrays, arrays to splits and files, on images made up here. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import PIL.Image
import pytest
import torch

from compress.tasks.image_processor import load_image_processor
from compress.tasks.image_processor import pixel_values as measured

PATH = Path(__file__).parents[2] / "benchmarks" / "fashion.py"


@pytest.fixture(scope="module")
def fashion() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("fashion", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_idx(fashion: ModuleType) -> None:
    header = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
    assert fashion.read_idx(header + bytes(range(6))).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    with pytest.raises(ValueError, match="begins with 1f8b0800"):
        fashion.read_idx(b"\x1f\x8b\x08\0")


def test_no_image_that_judges_is_learned_from(fashion: ModuleType) -> None:
    known = np.zeros((10, 28, 28), np.uint8), np.arange(10, dtype=np.uint8)
    parts = fashion.split(known, 3, 4, seed=0)
    assert {name: len(labels) for name, (_, labels) in parts.items()} == {"validation": 4, "teacher": 6, "train": 3}
    assert set(parts["train"][1]) < set(parts["teacher"][1])
    assert not set(parts["teacher"][1]) & set(parts["validation"][1])
    with pytest.raises(SystemExit, match="more than the 10 there are"):
        fashion.split(known, 8, 4, seed=0)


def test_a_row_of_a_file(fashion: ModuleType) -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    row = fashion.table((pixels, np.array([9], np.uint8))).to_pylist()[0]
    assert row["label"] == "ankle boot"
    assert (np.array(PIL.Image.open(io.BytesIO(row["image"]))) == pixels[0]).all()


def test_the_learning_rate(fashion: ModuleType) -> None:
    # A tenth of 20 steps is 2; half of the 18 after it is 11.
    assert [fashion.share_of_rate(step, 20) for step in (0, 1, 2, 11, 20)] == pytest.approx([0.5, 1, 1, 0.5, 0])


def test_the_teacher_learns_from_what_compress_measures(fashion: ModuleType, tmp_path: Path) -> None:
    """The pixels that it is trained on are those that the processor beside it makes of the file."""
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(256, size=(8, 28, 28), dtype=np.uint8)
    part = images, np.arange(8, dtype=np.uint8)
    model = fashion.ViTForImageClassification(fashion.config())
    before = model.classifier.weight.clone()
    fashion.learn(model, part, epochs=1, steps=None, batch=4)
    assert not torch.equal(model.classifier.weight, before)
    assert 0 <= fashion.accuracy(model, (np.repeat(images, 3, axis=0), np.repeat(part[1], 3))) <= 1
    fashion.save(model, tmp_path)
    processor = load_image_processor(tmp_path, model.config)
    found = measured([fashion.png(pixels) for pixels in images], processor)
    torch.testing.assert_close(found, fashion.pixel_values(images))
