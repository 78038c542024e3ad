"""The gate's verdicts from hand-made comparisons, and what a run does with each."""

from __future__ import annotations

import dataclasses
import math

import pytest

from compress.core.errors import InputError
from compress.core.evaluation import BatchEffect, Comparison, Disturbance, PredictionPowered
from compress.core.gate import Gate, Verdict
from compress.core.metric import PERPLEXITY, SHARE, Label
from compress.core.recall import Recall

GATE = Gate(
    name="gates.prune",
    max_accuracy_drop=0.01,
    min_speedup=None,
    max_batch_effect=None,
    max_recall_drop=0.2,
    confidence=0.95,
    on_failure="roll_back",
    on_inconclusive="keep",
)


def comparison(
    difference: float, low: float, high: float, speedup: tuple[float, float, float] | None = None
) -> Comparison:
    return Comparison(
        score_difference=difference,
        score_interval=(low, high),
        speedup=None if speedup is None else speedup[0],
        speedup_interval=None if speedup is None else speedup[1:],
        speedup_vs_torch=None,
        examples=1000,
        examples_to_decide=4000,
        confidence=0.95,
    )


@pytest.mark.parametrize(
    ("difference", "low", "high", "outcome", "within_limits"),
    [
        (-0.005, -0.009, -0.001, "passed", True),
        (0.002, -0.0099, 0.01, "passed", True),
        (-0.005, -0.010, 0.0, "inconclusive", True),  # the bound must lie above the limit, not on it
        (-0.010, -0.020, 0.0, "inconclusive", True),  # the measured value lies on the limit
        (-0.011, -0.020, 0.0, "inconclusive", False),
        (-0.020, -0.030, -0.010, "inconclusive", False),
        (-0.020, -0.030, -0.011, "failed", False),
    ],
)
def test_accuracy(difference: float, low: float, high: float, outcome: str, within_limits: bool) -> None:
    verdict = GATE.judge(comparison(difference, low, high))
    assert (verdict.outcome, verdict.within_limits) == (outcome, within_limits)


def test_reasons_name_the_value_the_interval_and_the_limit() -> None:
    assert GATE.judge(comparison(-0.005, -0.009, -0.001)).reasons == (
        "accuracy -0.0050 [-0.0090, -0.0010], limit -0.0100",
    )
    assert GATE.judge(comparison(-0.02, -0.03, -0.011)).reasons == (
        "accuracy -0.0200 [-0.0300, -0.0110], limit -0.0100: 0.0100 below",
    )
    assert GATE.judge(comparison(-0.005, -0.03, 0.02)).reasons == (
        "accuracy -0.0050 [-0.0300, +0.0200], limit -0.0100: 1000 examples cannot tell, about 4000 validation examples "
        "would decide it",
    )
    on_the_limit = dataclasses.replace(comparison(-0.01, -0.03, 0.01), examples_to_decide=None)
    assert GATE.judge(on_the_limit).reasons == (
        "accuracy -0.0100 [-0.0300, +0.0100], limit -0.0100: 1000 examples cannot tell, the difference lies on the "
        "limit, and no number of examples that one would label decides it",
    )


def test_texts_without_labels_are_named_where_they_judge_too() -> None:
    powered = PredictionPowered(12000, 1000, None, 0.7, (0.5, 0.4), -0.004, (-0.019, 0.011), 1300)
    refused = PredictionPowered(12000, 1000, "they are unlike the labelled examples")
    for texts, judged in ((powered, "1000 labels and 12000 texts without"), (refused, "1000 examples")):
        found = dataclasses.replace(comparison(-0.005, -0.03, 0.02), prediction_powered=texts)
        assert GATE.judge(found).reasons == (
            f"accuracy -0.0050 [-0.0300, +0.0200], limit -0.0100: {judged} cannot tell, about 4000 validation examples "
            "would decide it",
        )


@pytest.mark.parametrize(
    ("speedup", "outcome", "within_limits", "reason"),
    [
        ((2.2, 2.0, 2.4), "passed", True, "speed-up 2.20 [2.00, 2.40], limit 2.00"),
        ((2.1, 1.9, 2.3), "inconclusive", True, "speed-up 2.10 [1.90, 2.30], limit 2.00: too noisy to tell"),
        ((2.0, 1.9, 2.3), "inconclusive", True, "speed-up 2.00 [1.90, 2.30], limit 2.00: too noisy to tell"),
        ((1.9, 1.8, 2.0), "inconclusive", False, "speed-up 1.90 [1.80, 2.00], limit 2.00: too noisy to tell"),
        ((1.8, 1.7, 1.9), "failed", False, "speed-up 1.80 [1.70, 1.90], limit 2.00: 0.20 below"),
    ],
)
def test_speedup(speedup: tuple[float, float, float], outcome: str, within_limits: bool, reason: str) -> None:
    gate = dataclasses.replace(GATE, min_speedup=2)
    verdict = gate.judge(comparison(0.0, -0.001, 0.001, speedup))
    assert (verdict.outcome, verdict.within_limits) == (outcome, within_limits)
    assert verdict.reasons[1:] == (reason,)


def test_one_failure_fails_and_one_doubt_leaves_a_doubt() -> None:
    gate = dataclasses.replace(GATE, min_speedup=2)
    slow, noisy, fast = (1.5, 1.4, 1.6), (2.1, 1.9, 2.3), (3.0, 2.9, 3.1)
    accurate, unclear, wrong = (0.0, -0.001, 0.001), (0.0, -0.02, 0.02), (-0.1, -0.11, -0.09)
    outcomes = {
        (accuracy, speed): gate.judge(comparison(*accuracy, speed)).outcome
        for accuracy in (accurate, unclear, wrong)
        for speed in (slow, noisy, fast)
    }
    assert outcomes == {
        (accurate, fast): "passed",
        (accurate, noisy): "inconclusive",
        (unclear, fast): "inconclusive",
        (unclear, noisy): "inconclusive",
        (accurate, slow): "failed",
        (unclear, slow): "failed",
        (wrong, fast): "failed",
        (wrong, noisy): "failed",
        (wrong, slow): "failed",
    }


def test_a_speedup_that_was_not_measured_is_no_verdict() -> None:
    with pytest.raises(ValueError, match=r"latency"):
        dataclasses.replace(GATE, min_speedup=2).judge(comparison(0.0, -0.001, 0.001))


BUSY_SPEED = Disturbance(30, 36, 20, 0.55, 19.1, (16.8, 21.7))
TOLD = "speed not measured: the machine was busy (others made it wait in 30 of 36 rounds, 20 more were taken again)"


def test_a_speed_that_a_busy_machine_kept_from_being_measured_leaves_a_limit_open() -> None:
    found = dataclasses.replace(comparison(0.0, -0.001, 0.001), disturbance=BUSY_SPEED)
    # 19.1 was seen, and counts for nothing: neither for a limit of 2 nor against one of 100.
    for limit in (2, 100):
        verdict = dataclasses.replace(GATE, min_speedup=limit).judge(found)
        assert (verdict.outcome, verdict.within_limits, verdict.findings) == ("inconclusive", True, ())
        assert verdict.reasons[1] == f"{TOLD}, limit {limit:.2f}"
    wrong = dataclasses.replace(comparison(-0.1, -0.11, -0.09), disturbance=BUSY_SPEED)
    assert dataclasses.replace(GATE, min_speedup=2).judge(wrong).outcome == "failed"


def test_where_no_limit_asks_for_speed_a_busy_machine_is_told_all_the_same() -> None:
    verdict = GATE.judge(dataclasses.replace(comparison(0.0, -0.001, 0.001), disturbance=BUSY_SPEED))
    assert verdict.outcome == "passed" and verdict.findings == (TOLD,)
    assert verdict.reasons == ("accuracy +0.0000 [-0.0010, +0.0010], limit -0.0100", TOLD)


def test_values_that_are_not_numbers_never_pass() -> None:
    verdict = GATE.judge(comparison(math.nan, math.nan, math.nan))
    assert verdict.outcome != "passed"
    assert GATE.decide(verdict) == "roll_back"


@pytest.mark.parametrize("on_failure", ["stop", "roll_back", "warn"])
@pytest.mark.parametrize("on_inconclusive", ["keep", "fail"])
def test_decide(on_failure: str, on_inconclusive: str) -> None:
    gate = dataclasses.replace(GATE, on_failure=on_failure, on_inconclusive=on_inconclusive)
    fails = {"stop": "stop", "roll_back": "roll_back", "warn": "keep"}[on_failure]
    assert gate.decide(Verdict("passed", (), True)) == "keep"
    assert gate.decide(Verdict("failed", (), False)) == fails
    assert gate.decide(Verdict("failed", (), True)) == fails
    assert gate.decide(Verdict("inconclusive", (), False)) == fails
    assert gate.decide(Verdict("inconclusive", (), True)) == ("keep" if on_inconclusive == "keep" else fails)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("max_accuracy_drop", 1.5, r"gates.prune.max_accuracy_drop is 1.5; it is a fraction in \[0, 1\]"),
        ("max_accuracy_drop", -0.1, "max_accuracy_drop is -0.1"),
        ("max_accuracy_drop", math.nan, "max_accuracy_drop is nan"),
        ("max_accuracy_drop", "1%", "max_accuracy_drop is 1%"),
        ("max_accuracy_drop", True, "max_accuracy_drop is True"),
        ("min_speedup", 0, "gates.prune.min_speedup is 0; it must be greater than 0"),
        ("confidence", 0.5, "confidence is 0.5; it must lie between 0.5 and 1"),
        ("confidence", 95, "confidence is 95"),
        ("confidence", 1, "confidence is 1; it must lie between 0.5 and 1"),
        ("confidence", "95%", "confidence is 95%"),
        ("max_batch_effect", True, "max_batch_effect is True; it is a share"),
        ("max_batch_effect", -0.1, "max_batch_effect is -0.1; it is a share"),
        ("max_recall_drop", 0, r"gates.prune.max_recall_drop is 0; it must lie in \(0, 1\]"),
        ("max_recall_drop", 20, "max_recall_drop is 20"),
        ("on_failure", "rollback", "on_failure is 'rollback'.*Did you mean 'roll_back'"),
        ("on_inconclusive", "stop", "on_inconclusive is 'stop'; it must be one of fail, keep"),
    ],
)
def test_settings_are_checked_when_built(setting: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(GATE, **{setting: value})


@pytest.mark.parametrize("setting", ["max_accuracy_drop", "max_batch_effect"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_limit_may_lie_on_either_end(setting: str, value: float) -> None:
    assert getattr(dataclasses.replace(GATE, **{setting: value}), setting) == value


def test_a_class_that_the_model_no_longer_finds_is_told_whatever_the_outcome() -> None:
    found = dataclasses.replace(
        comparison(0.0, -0.005, 0.005), metric=Label("entity_f1", "entity F1", SHARE), lost=(("entity EMAIL", 12, 14),)
    )
    verdict = GATE.judge(found)
    told = "entity EMAIL: the teacher finds 12 of 14, the model none"
    assert verdict.outcome == "passed" and verdict.findings == (told,)
    assert verdict.reasons == ("entity F1 +0.0000 [-0.0050, +0.0050], limit -0.0100", told)


def test_a_perplexity_is_judged_as_a_ratio() -> None:
    # exp(0.002) and the ends exp(-0.005) and exp(0.009), limit exp(0.01).
    found = dataclasses.replace(
        comparison(-0.002, -0.009, 0.005), metric=Label("log_likelihood", "perplexity", PERPLEXITY)
    )
    assert GATE.judge(found).reasons == ("perplexity 1.0020 [0.9950, 1.0090], limit 1.0101",)
    worse = dataclasses.replace(
        comparison(-0.05, -0.06, -0.04), metric=Label("log_likelihood", "perplexity", PERPLEXITY)
    )
    # exp(0.05) is 1.0513, exp(0.01) 1.0101.
    assert GATE.judge(worse).reasons == ("perplexity 1.0513 [1.0408, 1.0618], limit 1.0101: 0.0412 above",)


@pytest.mark.parametrize(("changed", "outcome"), [(0, "passed"), (2, "passed"), (3, "failed")])
def test_answers_that_change_in_a_batch_are_judged_where_a_limit_asks(changed: int, outcome: str) -> None:
    effect = BatchEffect(rows=200, batch=32, largest_difference=0.1, changed=changed)
    seen = dataclasses.replace(comparison(0.0, -0.005, 0.005), batch_effect=effect)
    verdict = dataclasses.replace(GATE, max_batch_effect=0.01).judge(seen)
    assert (verdict.outcome, verdict.within_limits) == (outcome, outcome == "passed")
    assert verdict.reasons[1] == (
        f"in batches of 32 {changed} of 200 examples get another answer than alone, limit 0.01 of them"
    )
    assert GATE.judge(seen).outcome == "passed"


def test_a_batch_effect_that_was_not_measured_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="max_batch_effect needs a comparison in which it was measured"):
        dataclasses.replace(GATE, max_batch_effect=0.01).judge(comparison(0.0, -0.001, 0.001))


def test_limit_of_the_batch_effect_is_a_share() -> None:
    with pytest.raises(InputError, match=r"gates\.prune\.max_batch_effect is 2; it is a share"):
        dataclasses.replace(GATE, max_batch_effect=2)


WELL = comparison(-0.002, -0.006, 0.002)
SPAM = Recall("class spam", 20, 0.8, 0.0, (-0.95, -0.55))
HAM = Recall("class ham", 3980, 0.999, 1.0, (-0.001, 0.002))
RARE = Recall("class scam", 2, 1.0, 0.0, None)


def test_a_class_that_collapsed_fails_whatever_the_metric_says() -> None:
    verdict = GATE.judge(dataclasses.replace(WELL, recalls=(HAM, SPAM)))
    assert (verdict.outcome, verdict.within_limits) == ("failed", False)
    assert verdict.missed == ("recall of class spam -0.8000 [-0.9500, -0.5500], limit -0.2000",)
    assert verdict.reasons[1:] == verdict.missed
    nobody_asks = dataclasses.replace(GATE, max_recall_drop=None)
    assert nobody_asks.judge(dataclasses.replace(WELL, recalls=(HAM, SPAM))).outcome == "passed"


def test_a_class_that_may_have_lost_less_than_the_limit_passes() -> None:
    on_the_limit = dataclasses.replace(SPAM, interval=(-0.6, -0.2))
    assert GATE.judge(dataclasses.replace(WELL, recalls=(on_the_limit,))).outcome == "passed"


def test_a_class_with_too_few_examples_is_named_and_fails_nothing() -> None:
    verdict = GATE.judge(dataclasses.replace(WELL, recalls=(HAM, RARE)))
    assert (verdict.outcome, verdict.missed) == ("passed", ())
    assert verdict.notes == ("recall is not judged where too few examples could show a loss: class scam (2)",)
    many = tuple(Recall(f"class {i}", 1, 1.0, 1.0, None) for i in range(10))
    (note,) = GATE.judge(dataclasses.replace(WELL, recalls=many)).notes
    assert "class 7 (1) and 2 more" in note and "class 8" not in note
    (all_of_them,) = GATE.judge(dataclasses.replace(WELL, recalls=many[:8])).notes
    assert all_of_them.endswith("class 7 (1)")


def test_one_answer_for_all_is_never_passed() -> None:
    for gate in (GATE, dataclasses.replace(GATE, max_recall_drop=None)):
        verdict = gate.judge(dataclasses.replace(WELL, constant="ham"))
        assert (verdict.outcome, verdict.within_limits) == ("failed", False)
        assert verdict.missed == ("every example is answered with ham: that is no classifier",)
        both = gate.judge(dataclasses.replace(WELL, constant="ham", baseline_constant="ham"))
        assert both.outcome == "inconclusive" and "the teacher is none" in both.reasons[-1]
        # Nothing that was measured lies outside of the limits.
        assert both.within_limits and both.missed == ()
