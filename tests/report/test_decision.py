"""The outcome in one sentence, with the numbers of the run in conftest.py."""

from __future__ import annotations

import dataclasses
from typing import Any

from compress.core.ledger import Row
from compress.core.metric import PERPLEXITY, Label
from compress.report.decision import FEW_LABELS, decide
from compress.report.limits import limits_missed, shortfall


def test_a_proven_export(rows: list[Row], summary: dict[str, Any]) -> None:
    decision = decide(rows, summary)
    assert decision.headline == (
        "6.80 times faster than the teacher in ONNX Runtime, 0.30 points less accurate on the test split "
        "(interval -0.79 to +0.19), about one fifth of the bytes."
    )
    assert decision.tone == "good"
    assert decision.details == (
        "Proven: 2,000 validation examples place the whole interval above the accuracy limit of -1.00 points.",
        "The test split confirms it: on 2,000 unseen examples the whole interval lies above -1.00 points.",
    )


def test_a_speed_of_batches_says_so(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["at_once"] = 32
    assert decide(rows, summary).headline.startswith(
        "6.80 times faster than the teacher in ONNX Runtime, in batches of 32, 0.30 points less accurate"
    )


def test_an_unproven_export_says_so_and_why(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["exported"].update(stage="prune_neurons", proven=False)
    summary["student"].update(stage="prune_neurons", test=None, speedup=2.5, size_bytes=50_000_000)
    decision = decide(rows[:4], summary)
    assert decision.headline == (
        "2.50 times faster than the teacher in ONNX Runtime, 0.60 points less accurate on the validation split "
        "(interval -1.15 to +0.05), 56% of the bytes. Unproven."
    )
    assert decision.tone == "unsure"
    assert "the interval reaches down to -1.15, 0.15 points below -1.00" in decision.details[0]
    assert decision.details[1].startswith("The test split was not used")


def _labelled(summary: dict[str, Any], outcome: str) -> dict[str, Any]:
    summary["labelled"] = {"outcome": outcome, "told": "accuracy -0.20 points, by 300 labels"}
    return summary


def test_labels_of_further_texts_prove_what_the_split_left_open(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["exported"].update(stage="prune_neurons", proven=False)
    summary["student"].update(stage="prune_neurons", test=None, speedup=2.5, size_bytes=50_000_000)
    decision = decide(rows[:4], _labelled(summary, "passed"))
    assert decision.headline.endswith("56% of the bytes. Proven by labels of further texts.")
    assert (decision.tone, decision.badge) == ("good", "proven by labels")
    told = "Labels of further texts, where teacher and student differ: accuracy -0.20 points, by 300 labels."
    assert decision.details[0] == told and FEW_LABELS not in decision.details
    assert decision.details[1].startswith("The validation split alone leaves it open: 2,000 validation examples do not")
    assert not any("Unproven" in sentence for sentence in decision.details)

    decision = decide(rows[:4], _labelled(summary, "inconclusive"))
    assert decision.headline.endswith("Unproven.") and (decision.tone, decision.badge) == ("unsure", "unproven")
    assert decision.details[-1] == told

    # They say nothing of speed, of classes, or of what a doubtful teacher is worth.
    slow = summary | {
        "gates": summary["gates"] | {"prune_neurons": summary["gates"]["prune_neurons"] | {"min_speedup": 2.5}}
    }
    other = [*rows[:3], dataclasses.replace(rows[3], speedup=2.5, speedup_interval=(2.4, 2.6))]
    assert decide(other, _labelled(slow, "passed")).badge == "unproven"
    other = [*rows[:3], dataclasses.replace(rows[3], missed=("the class b is not found any more",))]
    assert decide(other, _labelled(summary, "passed")).badge == "unproven"
    assert decide(rows[:4], _labelled(summary | {"doubts": ["a guess"]}, "passed")).badge == "unproven"
    tested = {"difference": -0.03, "interval": [-0.04, -0.02], "examples": 500, "confidence": 0.95}
    against = summary | {"student": summary["student"] | {"test": tested}}
    decision = decide(rows[:4], _labelled(against, "passed"))
    assert (decision.badge, decision.tone) == ("unproven", "bad")


def test_labels_of_further_texts_may_contradict_the_split(rows: list[Row], summary: dict[str, Any]) -> None:
    decision = decide(rows, _labelled(summary, "failed"))
    assert (decision.tone, decision.badge) == ("bad", "proven on validation")


def test_a_test_split_below_the_limit_contradicts(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["student"]["test"].update(difference=-0.03, interval=[-0.04, -0.02])
    decision = decide(rows, summary)
    assert decision.tone == "bad"
    assert decision.details[1].startswith("The test split contradicts it")


def test_a_test_split_across_the_limit_does_not_decide(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["student"]["test"]["interval"] = [-0.012, 0.004]
    assert decide(rows, summary).details[1].startswith("The test split alone does not decide it")


def _as_perplexity(rows: list[Row], summary: dict[str, Any]) -> list[Row]:
    summary.update(metric="log_likelihood", metric_title="perplexity", metric_unit="ratio")
    return [dataclasses.replace(row, metric=Label("log_likelihood", "perplexity", PERPLEXITY)) for row in rows]


def test_a_perplexity_rises_and_its_limit_is_above(rows: list[Row], summary: dict[str, Any]) -> None:
    decision = decide(_as_perplexity(rows, summary), summary)
    # exp(0.003) of the test split, and its ends exp(-0.0019) and exp(0.0079).
    assert "1.0030 times the perplexity on the test split (interval 0.9981 to 1.0079)" in decision.headline
    # exp(0.01).
    assert decision.details[0].endswith("place the whole interval below the perplexity limit of 1.0101 times.")
    assert "the whole interval lies below 1.0101 times" in decision.details[1]


def test_a_perplexity_that_rose_too_far(rows: list[Row], summary: dict[str, Any]) -> None:
    told = shortfall(_as_perplexity(rows, summary)[2], summary["gates"]["prune_heads"])
    # exp(0.027) and exp(0.01).
    assert told.endswith("perplexity rose above its limit (measured 1.0274 times the teacher's, limit 1.0101)")


def test_nothing_exported_names_the_limit_and_the_distance(rows: list[Row], summary: dict[str, Any]) -> None:
    summary.update(exported=None, student=None, stopped_at="prune_heads")
    stopped = dataclasses.replace(rows[2], decision="stop")
    decision = decide([*rows[:2], stopped], summary)
    assert decision.headline == (
        "Nothing was exported: at stage prune_heads, accuracy fell 1.70 points below its limit "
        "(measured -2.70, limit -1.00)."
    )
    assert decision.tone == "bad"


def test_every_other_miss_is_told(rows: list[Row], summary: dict[str, Any]) -> None:
    summary.update(exported=None, student=None)
    decision = decide([rows[0], rows[2], rows[4]], summary)
    assert decision.headline == "Nothing was exported: at stage factorize, it broke: rank 192 saves nothing."
    assert len(decision.details) == 1
    assert decision.details[0].startswith("At stage prune_heads, accuracy fell 1.70 points")


def test_a_missed_speedup(rows: list[Row], summary: dict[str, Any]) -> None:
    gate = summary["gates"]["quantize"]
    slow = dataclasses.replace(rows[5], speedup=2.8, speedup_interval=(2.7, 2.9))
    assert shortfall(slow, gate) == (
        "at stage quantize, the speed-up is 1.20 short of its limit (measured 2.80, limit 4.00)"
    )
    noisy = dataclasses.replace(rows[5], speedup=4.1, speedup_interval=(3.9, 4.3))
    assert shortfall(noisy, gate).endswith("reaches down to 3.90, 0.10 short of 4.00")


def test_slower_and_more_accurate(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["student"].update(speedup=0.8, size_bytes=108_000_000)
    summary["student"]["test"].update(difference=0.002)
    headline = decide(rows, summary).headline
    assert headline.startswith("1.25 times slower than the teacher in ONNX Runtime, 0.20 points more accurate")
    assert headline.endswith("1.20 times the bytes.")


def test_a_failed_gate_that_only_warned_is_not_called_undecided(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["exported"].update(stage="prune_heads", proven=False)
    summary["student"].update(stage="prune_heads", test=None)
    decision = decide([*rows[:2], dataclasses.replace(rows[2], decision="keep")], summary)
    assert decision.headline.endswith("Unproven: it failed its gate.")
    assert decision.tone == "bad"
    assert decision.details[0] == (
        "Unproven: the model misses its limits. At stage prune_heads, accuracy fell 1.70 points below its limit "
        "(measured -2.70, limit -1.00)."
    )


def test_an_export_that_missed_its_limits_is_warned_of(rows: list[Row], summary: dict[str, Any]) -> None:
    assert limits_missed(rows, summary) is None
    summary["exported"].update(stage="prune_heads", proven=False)
    warned, rolled_back = (
        dataclasses.replace(rows[2], decision="keep"),
        dataclasses.replace(rows[5], decision="roll_back"),
    )
    missed = (
        "the exported model missed its limits: at stage prune_heads, accuracy fell 1.70 points below its limit "
        "(measured -2.70, limit -1.00). It is exported because gates.prune_heads.on_failure is warn"
    )
    way_out = ". To have nothing exported that misses them: gates.prune_heads.on_failure=roll_back."
    assert limits_missed([*rows[:2], warned], summary) == missed + way_out
    assert limits_missed([*rows[:2], warned, rolled_back], summary) == (
        f"{missed}, and what was made of it (quantize) did not pass either{way_out}"
    )
    summary["exported"] = None
    assert limits_missed(rows, summary) is None


def test_what_missed_its_limits_perhaps_by_chance_is_warned_of_too(rows: list[Row], summary: dict[str, Any]) -> None:
    """Kept by on_failure=warn: measured outside of its limit of one point, with an interval that reaches inside."""
    row = dataclasses.replace(
        rows[2],
        decision="keep",
        verdict="inconclusive",
        difference=-0.016,
        interval=(-0.025, -0.007),
    )
    summary["exported"].update(stage="prune_heads", proven=False)
    summary["student"].update(stage="prune_heads", test=None)
    decision = decide([*rows[:2], row], summary)
    assert decision.headline.endswith("Unproven: measured, it misses its limits.") and decision.tone == "bad"
    assert decision.details[0].startswith("Unproven: the model misses its limits. At stage prune_heads, accuracy fell")
    missed = limits_missed([*rows[:2], row], summary)
    assert missed is not None and "accuracy fell 0.60 points below its limit" in missed
    within = dataclasses.replace(row, difference=-0.01)
    assert limits_missed([*rows[:2], within], summary) is None
    summary["gates"]["prune_heads"]["min_speedup"] = 50.0
    assert "the speed-up is" in str(limits_missed([*rows[:2], within], summary))


def asked_for(summary: dict[str, Any], speedup: float, reached: float | None) -> dict[str, Any]:
    """The summary of a run with this objective."""
    return {**summary, "objective": {"speedup": speedup, "reached": reached, "max_accuracy_drop": 0.01}}


def test_an_objective_that_was_reached(rows: list[Row], summary: dict[str, Any]) -> None:
    plain = decide(rows, summary)
    decision = decide(rows, asked_for(summary, 6.5, 6.8))
    assert decision.details[0] == "Asked for: 6.50 times the teacher's speed; reached: 6.80."
    assert (decision.headline, decision.tone, decision.details[1:]) == (plain.headline, plain.tone, plain.details)


def test_an_objective_that_was_not_reached(rows: list[Row], summary: dict[str, Any]) -> None:
    decision = decide(rows, asked_for(summary, 10, 6.8))
    assert decision.details[0] == (
        "10.0 times the teacher's speed was not reached within the limits; the best that was is 6.80 times."
    )


def test_a_twentieth_less_still_counts_as_reached(rows: list[Row], summary: dict[str, Any]) -> None:
    # 0.95 x 7.15 = 6.79 and 0.95 x 7.17 = 6.81.
    assert decide(rows, asked_for(summary, 7.15, 6.8)).details[0].startswith("Asked for: 7.15 times")
    assert decide(rows, asked_for(summary, 7.17, 6.8)).details[0].startswith("7.17 times the teacher's speed was not")


def test_no_sentence_where_nothing_was_asked_or_measured(rows: list[Row], summary: dict[str, Any]) -> None:
    plain = decide(rows, summary)
    assert decide(rows, {**summary, "objective": None}) == plain
    assert decide(rows, asked_for(summary, 10, None)) == plain
    assert decide(rows, asked_for(summary, 10, float("nan"))) == plain


def test_nothing_is_proven_against_a_doubtful_teacher(rows: list[Row], summary: dict[str, Any]) -> None:
    summary["doubts"] = ["the teacher is no better than answering 'neg' every time"]
    summary["exported"]["proven"] = False
    decision = decide(rows, summary)
    assert decision.tone == "unsure" and decision.headline.endswith("Unproven.")
    assert "Unproven: the teacher is no better than answering 'neg' every time." in decision.details
    assert not any(detail.startswith("Proven") for detail in decision.details)


def test_a_class_that_was_lost_is_the_reason(rows: list[Row], summary: dict[str, Any]) -> None:
    lost = "recall of class spam -0.8000 [-0.9500, -0.5500], limit -0.2000"
    failed = dataclasses.replace(
        rows[5], verdict="failed", decision="roll_back", reasons=("accuracy", lost), missed=(lost,)
    )
    summary["exported"], summary["student"] = None, None
    assert decide([rows[0], failed], summary).headline == f"Nothing was exported: at stage quantize, {lost}."


def test_a_constant_is_never_as_accurate(rows: list[Row], summary: dict[str, Any]) -> None:
    lost = "every example is answered with ham: that is no classifier"
    rows[5] = dataclasses.replace(rows[5], verdict="failed", reasons=("accuracy +0.0000", lost), missed=(lost,))
    summary["exported"]["proven"] = False
    summary["student"]["test"].update(difference=0.0, interval=[-0.004, 0.004])
    decision = decide(rows, summary)
    assert f"not as good: {lost}" in decision.headline and "as accurate" not in decision.headline
    assert decision.tone == "bad" and lost in " ".join(decision.details)


def test_few_labels_are_offered_where_they_would_decide(rows: list[Row], summary: dict[str, Any]) -> None:
    assert FEW_LABELS not in decide(rows, summary).details
    summary["student"]["test"]["interval"] = [-0.012, 0.004]
    assert decide(rows, summary).details[-1] == FEW_LABELS
    # Of a perplexity nothing is known without the text's own continuation, and a contradiction is decided.
    assert FEW_LABELS not in decide(_as_perplexity(rows, summary), summary).details
    summary["student"]["test"].update(difference=-0.03, interval=[-0.04, -0.02])
    assert FEW_LABELS not in decide(rows, summary).details
