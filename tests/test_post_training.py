"""The recipe without training: no optimizer, and a smaller model that is nearer to the teacher than an unfitted one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import Trainer

import compress
from compress.pipeline.spine import RunResult

QUICK = (
    *("data.max_length=32", "device=cpu", "runtime.threads=1", "stages.prune.layers=[0,1,3]"),
    *(
        "stages.prune.importance.examples=16",
        "measurement.launches=1",
        "measurement.rounds=2",
        "measurement.examples=4",
    ),
    *(f"gates.{stage}.on_failure=warn" for stage in ("prune", "fuse", "quantize")),
)


@pytest.fixture
def run(checkpoint: Path, examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunResult]:
    """`run(*overrides)`: the recipe on the tiny model, in a process where nothing can take a step."""

    def forbidden(*values: object, **named: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(Trainer, "train", forbidden)
    monkeypatch.setattr(torch.optim.Optimizer, "__init__", forbidden)
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", *QUICK)
    return lambda *overrides: compress.run(
        compress.recipe("post_training", *given, *overrides), tmp_path / "run" / str(len(overrides))
    )


def test_it_cuts_fits_and_quantizes_without_a_step(run: Callable[..., RunResult]) -> None:
    result = run()
    assert [row.stage for row in result.rows] == ["teacher", "prune", "fuse", "quantize"]
    notes = result.rows[1].notes
    assert any(note.startswith("importance from 16 examples") for note in notes)
    assert any(note.startswith("refitted on") for note in notes)
    assert result.rows[1].size_bytes < 0.8 * result.rows[0].size_bytes
    assert result.rows[3].notes[0].endswith("in int8, dynamic activations")
    assert result.summary["objective"] is None
    model = compress.load(result.export)
    assert model.config.num_hidden_layers == 3
