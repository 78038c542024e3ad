"""What was predicted of the model in the end, stage by stage."""

from __future__ import annotations

import pytest

from compress.pipeline.steps import PREDICTED, expected_speedup

NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("expected", "facts", "made", "kept", "then"),
    [
        (None, {}, NOTHING, True, None),
        (None, {PREDICTED: 10.5}, NOTHING, True, 10.5),
        # Of the stages to come none changes what the prediction is of: fused, and with the integers that it counted on.
        (10.5, {}, frozenset({"fused_layer"}), True, 10.5),
        (10.5, {}, frozenset({"int8_dynamic_linear"}), True, 10.5),
        (10.5, {PREDICTED: 8.0}, NOTHING, True, 8.0),
        # Without one of them it is another model's.
        (10.5, {}, frozenset({"int8_dynamic_linear"}), False, None),
        (10.5, {PREDICTED: 8.0}, NOTHING, False, None),
        # Products became thin ones; where none did, such as none that would save enough, it is as it was.
        (10.5, {}, frozenset({"low_rank"}), True, None),
        (10.5, {}, NOTHING, True, 10.5),
    ],
)
def test_a_prediction_holds_as_long_as_its_stages_are_kept(
    expected: float | None, facts: dict[str, float], made: frozenset[str], kept: bool, then: float | None
) -> None:
    assert expected_speedup(expected, facts, made, kept=kept) == then
