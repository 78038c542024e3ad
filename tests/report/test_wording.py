"""Numbers as people read them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from compress.core.blame import Advice, Blame
from compress.core.evaluation import PredictionPowered
from compress.core.metric import CORRELATION, PERPLEXITY, SHARE
from compress.report import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [(117.4, "117"), (19.14, "19.1"), (8.3, "8.30"), (99.97, "100"), (0.042, "0.0420"), (1234.0, "1230"), (0, "0")],
)
def test_three_digits(value: float, text: str) -> None:
    assert wording.three_digits(value) == text


def test_points_are_signed_and_zero_is_not() -> None:
    assert wording.difference_with_interval(-0.004, (-0.0112, 0.0023), SHARE, 1) == "-0.4 [-1.1, +0.2]"
    assert wording.points(-0.0004, 1) == "0.0"


def test_a_plain_number_reads_as_it_is() -> None:
    assert wording.value(0.8712, CORRELATION, 1) == "0.871"
    assert wording.difference_with_interval(-0.004, (-0.0112, 0.0023), CORRELATION, 1) == "-0.004 [-0.011, +0.002]"
    assert wording.heading("against the teacher", CORRELATION) == "against the teacher"
    assert wording.counted("-0.004", CORRELATION) == "-0.004"


def test_a_perplexity_is_compared_as_a_ratio() -> None:
    # exp(3), and exp(0.02) times that.
    assert wording.value(-3.0, PERPLEXITY, 1) == "20.1"
    assert wording.difference_with_interval(-0.02, (-0.03, -0.01), PERPLEXITY, 1) == "1.020 [1.010, 1.030]"
    assert wording.counted("1.020", PERPLEXITY) == "1.020 times"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_a_missing_value_is_a_dash(value: float | None) -> None:
    assert wording.percent(value, 1) == "-"
    assert wording.points(value, 1) == "-"
    assert wording.three_digits(value) == "-"
    assert wording.megabytes(value) == "-"
    assert wording.duration(value) == "-"
    assert wording.latency(value, value) == "-"
    assert wording.factor_with_interval(value, (1.0, math.nan)) == "-"


def test_a_figure_stands_with_its_interval() -> None:
    figures = {"bits_per_byte": 0.9, "choices_right": 0.5, "choices_right_lower": 0.4, "choices_right_upper": 0.61}
    assert wording.figure_names(figures) == ["bits_per_byte", "choices_right"]
    assert wording.figure_of(figures, "choices_right") == "0.500 [0.400, 0.610]"
    assert wording.figures_sentence(figures) == "bits per byte 0.900, share of choices right 0.500 [0.400, 0.610]"
    assert wording.figure_of({"choices_right_lower": 0.1, "choices_right_upper": 0.2}, "choices_right") == "-"
    # An end alone is a figure like others.
    assert wording.figure_names({"a_lower": 1.0}) == ["a_lower"]


def test_shares_in_words() -> None:
    assert wording.share_of_bytes(18, 90) == "about one fifth of the bytes"
    assert wording.share_of_bytes(17.4, 90) == "about one fifth of the bytes"  # 0.1933 * 5 = 0.967
    assert wording.share_of_bytes(70, 90) == "78% of the bytes"
    assert wording.share_of_bytes(108, 90) == "1.20 times the bytes"


def test_durations() -> None:
    assert [wording.duration(seconds) for seconds in (41.6, 200, 3900)] == ["42 s", "3 min 20 s", "1 h 05 min"]


def test_blame_in_sentences(blame: Blame) -> None:
    assert wording.blame_sentences(blame) == [
        "Shown to be worse than the teacher, in points: class tech -3.1 [-4.2, -2.0] on 640 examples (9 classes and "
        "lengths compared, with Holm's correction).",
        "Of the distance from the teacher's answers that the stage added (KL of the logits; of vectors one minus their "
        "cosine), putting one part back to "
        "what it was takes away, on 128 validation examples: bert.encoder.layer.4.attention.self.key 41% "
        "(accuracy there +1.6 points); classifier 8%.",
        "The model before it does not pass this limit either.",
    ]


def test_nothing_is_named_that_is_not_shown(blame: Blame) -> None:
    quiet = dataclasses.replace(blame, slices=blame.slices[1:], compared=1, restored=blame.restored[2:], notes=())
    assert wording.blame_sentences(quiet) == [
        "No class or length is shown to be worse than the teacher's (1 classes and lengths compared, with Holm's "
        "correction); the lowest measured, in points: length 12 to 19 tokens -0.4 [-1.0, +0.2] on 1,250 examples.",
        "No part alone did it: put back to what it was, none brings the answers nearer to the teacher's, on 128 "
        "validation examples.",
    ]
    assert wording.blame_sentences(Blame()) == []


def test_what_advice_costs(blame: Blame, make_row: Callable) -> None:
    row = make_row("quantize", "failed", "roll_back", speedup=3.49)
    assert wording.advice_sentence(blame.advice, row) == (
        "expected speed-up 3.10 instead of 3.49, a prediction; on the sample it took away 62% of the distance that "
        "the stage added"
    )
    assert wording.advice_sentence(Advice(("a=1",), None, 1.5, None), row) == (
        "what it costs in speed is not known: at least 1.50 times the teacher's remain; what it brings was not measured"
    )


def test_first_letter_is_large_but_of_names() -> None:
    assert [wording.capitalized(text) for text in ("entity F1", "nDCG@10", "")] == ["Entity F1", "nDCG@10", ""]


@pytest.mark.parametrize(
    ("value", "kind", "told"),
    [
        (0.0684, "share", "6.8%"),
        (0.1654, "milliseconds", "0.165"),
        (1536, "count", "1,536"),
        (0.00123, "number", "0.00123"),
        ("two products", "text", "two products"),
        (None, "share", ""),
    ],
)
def test_a_fact_is_written_by_its_kind(value: Any, kind: Any, told: str) -> None:
    assert wording.fact(value, kind) == told


@pytest.mark.parametrize(
    ("value", "text"), [(0.8714, "0.871"), (999.5, "999.500"), (32196.236, "32,196"), (-1250.0, "-1,250"), (None, "-")]
)
def test_a_figure_has_decimals_where_they_say_something(value: float | None, text: str) -> None:
    assert wording.figure(value) == text


def test_texts_without_labels_in_words() -> None:
    found = PredictionPowered(12000, 500, None, 0.708, (0.5, 0.4), -0.004, (-0.0191, 0.0111), 640)
    assert wording.prediction_powered_sentence(found, SHARE, 1) == (
        "the 500 labels alone: -0.4 [-1.9, +1.1] points; 12,000 texts without labels make them worth 640 (predictions "
        "have the weight 0.71)"
    )
    refused = PredictionPowered(
        12000, 500, refused="they are unlike the labelled examples: mean length 31.2 against 9.0"
    )
    assert wording.prediction_powered_sentence(refused, SHARE, 1) == (
        "12,000 texts without labels do not judge, the 500 labels alone do: they are unlike the labelled examples: "
        "mean length 31.2 against 9.0"
    )
