"""An evaluation's score is the mean of its examples' scores."""

from __future__ import annotations

import dataclasses

import pytest

from compress.core.evaluation import Evaluation


def test_score() -> None:
    evaluation = Evaluation(
        artifact="a", split="test", metric="accuracy", figures={}, groups=(0, 1, 2, 3),
        statistics=((1.0, 1.0), (0.0, 1.0), (1.0, 1.0), (1.0, 1.0)), value=0.75,
        latency=None, size=None, proof=None, torch_ratio=None, environment={},
    )  # fmt: skip
    assert evaluation.score == 0.75
    assert evaluation.scores == (1.0, 0.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="entity_f1 is a value of many examples together"):
        _ = dataclasses.replace(evaluation, metric="entity_f1").scores
