"""An evaluation's score is the mean of its examples' scores."""

from __future__ import annotations

import dataclasses

import pytest

from compress.core.evaluation import BatchEffect, Disturbance, Evaluation, Latency


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
    # Each example's first column over its second; one without anything to find has 0.
    tokens = dataclasses.replace(evaluation, metric="token_accuracy", statistics=((1.0, 4.0), (0.0, 0.0)))
    assert tokens.scores == (0.25, 0.0)
    for metric in ("ndcg_at_10", "log_likelihood"):
        assert dataclasses.replace(tokens, metric=metric).scores == (0.25, 0.0)


@pytest.mark.parametrize(
    ("busy", "told"),
    [
        (Disturbance(30, 36, 20, 0.5), "others made it wait in 30 of 36 rounds, 20 more were taken again"),
        (Disturbance(0, 36, 0, 0.5), "others made it wait in 0 of 36 rounds"),
        (Disturbance(None, 36, 1, 0.5), "others used 50% of the processors, 1 more were taken again"),
        (Disturbance(None, 36, 0, None), "others used 0% of the processors"),
    ],
)
def test_what_is_told_in_the_place_of_a_speed(busy: Disturbance, told: str) -> None:
    assert busy.told == f"speed not measured: the machine was busy ({told})"


@pytest.mark.parametrize("disturbed", [None, False, True])
def test_rounds_are_no_evidence_where_others_disturbed_them(disturbed: bool | None) -> None:
    timed = Latency(
        rounds=((1.0,),) * 6, launches=2, disturbed=disturbed, disturbed_rounds=4, repeated_rounds=3, foreign_share=0.2
    )
    assert timed.disturbance == (Disturbance(4, 6, 3, 0.2) if disturbed else None)


def test_a_batch_effect_that_is_none_is_refused() -> None:
    told = {"rows": 10, "batch": 5, "largest_difference": 0.1, "changed": 1}
    assert BatchEffect.from_json(told) == BatchEffect(10, 5, 0.1, 1)
    with pytest.raises(ValueError, match="changed is 'one'"):
        BatchEffect.from_json({**told, "changed": "one"})
