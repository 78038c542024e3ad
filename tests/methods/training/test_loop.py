"""The order of batches, the number of steps, the newest whole checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from compress.core.errors import DiskFullError
from compress.methods.training import loop
from compress.methods.training.loop import (
    Optimization,
    SetsOfSimilarLengths,
    SimilarLengths,
    _require_room,
    last_checkpoint,
    steps_of,
    sums_of,
    trains_in_bfloat16,
)

LENGTHS = [(7 * i) % 31 + 3 for i in range(100)]


@pytest.mark.parametrize(
    ("examples", "batch_size", "epochs", "steps"),
    [(24, 8, 3, 9), (25, 8, 1, 4), (25, 8, 0.5, 2), (3, 8, 1, 1), (100, 10, 0.01, 1)],
)
def test_steps(examples: int, batch_size: int, epochs: float, steps: int) -> None:
    assert steps_of(examples, batch_size, epochs) == steps


@pytest.mark.parametrize(
    ("reference", "width", "rate"), [(None, 768, 2e-4), (384, 384, 2e-4), (384, 768, 1e-4), (384, 96, 8e-4)]
)
def test_the_learning_rate_falls_with_the_width(reference: int | None, width: int, rate: float) -> None:
    optimization = Optimization(
        learning_rate=2e-4,
        reference_width=reference,
        batch_size=8,
        warmup_share=0,
        weight_decay=0,
        mixed_precision="off",
    )
    assert optimization.learning_rate_at(width) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("model_type", "hardware", "expected"), [("bert", True, True), ("bert", False, False), ("deberta", True, False)]
)
def test_bfloat16_is_of_the_hardware_and_the_models_code(
    model_type: str, hardware: bool, expected: bool, make_model: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "computes_bfloat16", lambda device: hardware)
    assert trains_in_bfloat16(make_model(model_type), "cpu") is expected


def test_every_row_once_in_an_order_that_follows_from_seed_and_epoch() -> None:
    epoch = 0
    sampler = SimilarLengths(LENGTHS, 10, seed=3, epoch=lambda: epoch)
    first = list(sampler)
    assert sorted(first) == list(range(100))
    epoch = 1
    second = list(sampler)
    assert second != first
    assert list(SimilarLengths(LENGTHS, 10, seed=3, epoch=lambda: 1)) == second
    epoch = 0
    assert list(sampler) == first
    assert list(SimilarLengths(LENGTHS, 10, seed=4, epoch=lambda: 0)) != first


def test_rows_of_a_set_follow_each_other() -> None:
    sets = [row % 25 for row in range(100)]
    sampler = SetsOfSimilarLengths(LENGTHS, sets, 8, seed=3, epoch=lambda: 0)
    order = list(sampler)
    assert sorted(order) == list(range(100)) and len(sampler) == 100
    # Four rows each: two whole sets in every batch of eight.
    assert all(len({sets[row] for row in order[i : i + 4]}) == 1 for i in range(0, 100, 4))
    assert order == list(SetsOfSimilarLengths(LENGTHS, sets, 8, seed=3, epoch=lambda: 0))
    assert order != list(SetsOfSimilarLengths(LENGTHS, sets, 8, seed=3, epoch=lambda: 1))


def test_batches_have_similar_lengths() -> None:
    order = list(SimilarLengths(LENGTHS, 10, seed=0, epoch=lambda: 0))
    padded = sum(10 * max(LENGTHS[row] for row in order[i : i + 10]) for i in range(0, 100, 10))
    unsorted = sum(10 * max(LENGTHS[i : i + 10]) for i in range(0, 100, 10))
    assert sum(LENGTHS) <= padded < 0.8 * unsorted


def test_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nowhere") is None
    # The third was cut off after its last file, before it was known to be on the disk.
    for name in ("checkpoint-9", "checkpoint-100", "checkpoint-200"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "trainer_state.json").write_text("{}", encoding="utf-8")
    for name in ("checkpoint-9", "checkpoint-100"):
        sums = json.dumps(sums_of(tmp_path / name))
        (tmp_path / name / "whole").write_text(sums, encoding="utf-8")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    # A byte that changed, and a marker that did: neither is gone on from.
    (tmp_path / "checkpoint-100" / "trainer_state.json").write_text("{ ", encoding="utf-8")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    (tmp_path / "checkpoint-9" / "whole").write_text(sums.replace("trainer", "Trainer"), encoding="utf-8")
    assert last_checkpoint(tmp_path) is None


def test_a_checkpoint_that_does_not_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 500,000 weights of 4 bytes, and the optimizer's two moments of each.
    model, free = torch.nn.Linear(1000, 500, bias=False), [5_999_999]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free[0]))
    with pytest.raises(DiskFullError, match=r"a checkpoint needs about 6\.0 MB, and 6\.0 MB are free, 0\.0 MB too few"):
        _require_room(model, tmp_path / "work")
    free[0] = 6_000_000
    _require_room(model, tmp_path / "work")
