"""Main effects by hand: eight runs over three settings of two values each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest

from compress.core.metric import ACCURACY
from compress.report.sweep.effect_words import lines, sentences
from compress.report.sweep.effects import Effect, main_effects
from compress.report.sweep.factors import Factor

CORNERS = list(itertools.product((0, 1), repeat=3))


def factor(name: str, levels: Sequence[object]) -> Factor:
    words = tuple(str(level) for level in levels)
    return Factor(name, name, words, words, tuple(sorted(set(words))), ())


FACTORS = [factor(name, [corner[place] for corner in CORNERS]) for place, name in enumerate("abc")]


def by_name(effects: Sequence[Effect]) -> dict[str, Effect]:
    return {effect.factor.name: effect for effect in effects}


def test_shares_and_changes_of_what_adds_up() -> None:
    found = main_effects(FACTORS, [1 + 2 * a - 4 * b for a, b, _ in CORNERS])
    # Sums of squares about the mean: 8 x 1 for a, 8 x 4 for b, nothing for c.
    assert [effect.factor.name for effect in found[:2]] == ["b", "a"]
    assert [effect.share for effect in found] == pytest.approx([0.8, 0.2, 0.0])
    assert (found[0].low, found[0].high, found[0].change) == ("1", "0", pytest.approx(4.0))
    assert found[0].interval == pytest.approx((4.0, 4.0))
    assert found[0].runs == {"0": 4, "1": 4}


def test_the_interval_by_hand() -> None:
    # What all three settings do together is left over: 8 runs x 1 = 8, over 8 - 4 spare runs: 2. The difference of two
    # means of four has the standard error sqrt(2 / 4 + 2 / 4) = 1; Student's quantile with 4 spare runs is 2.7764.
    found = by_name(main_effects(FACTORS, [2 * a + (1 - 2 * a) * (1 - 2 * b) * (1 - 2 * c) for a, b, c in CORNERS]))
    assert found["a"].change == pytest.approx(2.0)
    assert found["a"].interval == pytest.approx((2 - 2.7764, 2 + 2.7764), abs=1e-4)
    assert found["a"].share == pytest.approx(0.5)
    assert not found["a"].clear


def test_three_values_share_the_error_among_three_pairs() -> None:
    levels = ["x", "x", "y", "y", "z", "z"]
    found = main_effects([factor("f", levels)], [0.0, 2.0, 1.0, 3.0, 5.0, 7.0])[0]
    # Means 1, 2, 6; left over 3 x 2 = 6 over 3 spare runs: 2; sqrt(2 / 2 + 2 / 2); Student's 1 - 0.05 / 6, 3 spare.
    assert (found.low, found.high, found.change) == ("x", "z", pytest.approx(5.0))
    assert found.interval[0] == pytest.approx(5 - math.sqrt(2) * 4.8566, abs=1e-3)


def test_settings_that_are_not_spread_evenly_are_told_apart() -> None:
    # a is 1 mostly where b is 1: the plain means of a would differ by 2 although a does nothing.
    a, b = [0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1]
    found = by_name(main_effects([factor("a", a), factor("b", b)], [4.0 * level for level in b]))
    assert found["a"].change == pytest.approx(0.0, abs=1e-9)
    assert found["b"].change == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("factors", "numbers", "reason"),
    [
        (FACTORS[:2], [1.0, None, 2.0, None, 3.0, None, 4.0, None],
         "too few runs: 4 for 2 differences between values, 6 are the least"),
        ([factor("a", [0, 0, 0, 0, 0, 0, 0, 1])], [1.0] * 8, "too few runs: 1 with 1, 2 are the least"),
        ([factor("a", [0, 1] * 4), factor("b", [1, 0] * 4)], [1.0, 2.0] * 4,
         "it cannot be told apart: other settings changed together with it"),
        (FACTORS, [3.0] * 8, "all runs came out the same"),
        (FACTORS[:1], [1.0, 2.0, 3.0, 4.0, None, None, None, None], "only one of its values has measured runs"),
        (FACTORS[:1], [None] * 8, "only one of its values has measured runs"),
    ],
)  # fmt: skip
def test_nothing_is_claimed_without_grounds(factors: list[Factor], numbers: list[float | None], reason: str) -> None:
    found = main_effects(factors, numbers)
    assert [effect.reason for effect in found] == [reason] * len(factors)
    assert not any(effect.clear for effect in found)


def test_effects_in_words() -> None:
    speed = [math.log(2.0) * a + math.log(1.1) * b for a, b, _ in CORNERS]
    accuracy = [-0.004 * b + 0.02 * (1 - 2 * a) * (1 - 2 * b) * (1 - 2 * c) for a, b, c in CORNERS]
    effects = {
        "speed": main_effects(FACTORS, speed),
        "metric": main_effects(FACTORS, accuracy),
        "bytes": main_effects(FACTORS, [None] * 8),
    }
    assert sentences(effects, ACCURACY) == [
        "Speed: a matters most, 98% of the differences. 1 instead of 0: 2.00 [2.00, 2.00] times as fast.",
        "Accuracy: no setting stands out from what the others and chance do.",
        "Bytes: nothing is claimed, for the reasons below.",
    ]
    told = lines(effects, FACTORS, ACCURACY)
    assert (told[0].factor.name, told[0].counts) == ("a", "0 (4), 1 (4)")
    assert told[1].cells["metric"].text.startswith("0 instead of 1: +0.40 [\N{MINUS SIGN}")
    assert not told[1].cells["metric"].clear and told[0].cells["speed"].clear
    assert told[0].cells["bytes"].share is None
