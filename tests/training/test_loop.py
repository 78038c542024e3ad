"""The order of batches, the number of steps, the newest whole checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.training.loop import Optimization, SimilarLengths, last_checkpoint, steps_of

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


def test_every_row_once_in_an_order_that_follows_from_seed_and_epoch() -> None:
    sampler = SimilarLengths(LENGTHS, 10, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(100))
    sampler.set_epoch(1)
    second = list(sampler)
    assert second != first
    again = SimilarLengths(LENGTHS, 10, seed=3)
    again.set_epoch(1)
    assert list(again) == second
    again.set_epoch(0)
    assert list(again) == first
    assert list(SimilarLengths(LENGTHS, 10, seed=4)) != first


def test_batches_have_similar_lengths() -> None:
    order = list(SimilarLengths(LENGTHS, 10, seed=0))
    padded = sum(10 * max(LENGTHS[row] for row in order[i : i + 10]) for i in range(0, 100, 10))
    unsorted = sum(10 * max(LENGTHS[i : i + 10]) for i in range(0, 100, 10))
    assert sum(LENGTHS) <= padded < 0.8 * unsorted


def test_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nowhere") is None
    # The third was cut off before its last file, the fourth while it was written.
    states = {"checkpoint-9": "{}", "checkpoint-100": "{}", "checkpoint-200": None, "checkpoint-300": '{"epoch": '}
    for name, state in states.items():
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state, encoding="utf-8")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
