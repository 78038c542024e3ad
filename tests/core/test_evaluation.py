"""An evaluation's score is the mean of its examples' scores."""

from __future__ import annotations

from compress.core.evaluation import Evaluation


def test_score() -> None:
    evaluation = Evaluation(
        artifact="a", split="test", metric="accuracy", scores=(1.0, 0.0, 1.0, 1.0), figures={}, groups=(0, 1, 2, 3),
        score_range=1.0, latency=None, size=None, proof=None, torch_ratio=None, environment={},
    )  # fmt: skip
    assert evaluation.score == 0.75
