"""Numbers worked out by hand, and simulations of what an interval promises."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from compress.core.evaluation import BatchEffect, Disturbance, Evaluation, Latency
from compress.measure.evaluate import bulk_figures
from compress.measure.paired import paired_interval
from compress.measure.statistics import (
    _times,
    compare,
    estimate,
    examples_to_decide,
    lost_classes,
    percentiles,
    speedup,
)
from compress.tasks.metrics.accuracy import Accuracy
from compress.tasks.metrics.entity_f1 import EntityF1
from compress.tasks.metrics.token_accuracy import TokenAccuracy


def evaluation(scores: list[float], latency: Latency | None = None, torch_ratio: float | None = None) -> Evaluation:
    return Evaluation(
        artifact="a",
        split="validation",
        metric="accuracy",
        statistics=tuple((score, 1.0) for score in scores),
        value=sum(scores) / len(scores),
        figures={},
        groups=tuple(range(len(scores))),
        latency=latency,
        size=None,
        proof=None,
        torch_ratio=torch_ratio,
        environment={},
    )


def statistics_of(scores: list[float]) -> np.ndarray:
    return np.array([(score, 1.0) for score in scores])


def test_of_examples_timed_together_each_has_its_share() -> None:
    """Calls of four examples each, 8 and 12 ms: 2 and 3 ms an example."""
    timed = Latency(rounds=((8.0, 12.0),) * 2, at_once=4)
    assert percentiles(timed) == pytest.approx((2.5, 3.0))
    assert bulk_figures(timed) == {"examples_per_second": pytest.approx(400.0)}
    assert bulk_figures(Latency(rounds=((8.0,),))) == {} == bulk_figures(dataclasses.replace(timed, disturbed=True))


def test_interval_of_four_differences_by_hand() -> None:
    # Mean -1/4; squared deviations 3 x 1/16 + 9/16 = 3/4, plus 1 for the pseudo-examples; 4/3 for 4 groups;
    # 4 + 2 examples.
    low, high = paired_interval(np.array([0.0, 0.0, 0.0, -1.0]), range(4), 0.95)
    variance = (4 / 3) * (3 / 4 + 1) / 6**2
    half = stats.t.ppf(0.95, 3) * math.sqrt(variance)
    assert (low + high) / 2 == pytest.approx(-1 / 6)
    assert (high - low) / 2 == pytest.approx(half)


def test_interval_of_two_groups_of_two_by_hand() -> None:
    # Mean -1/2; the groups' deviations add up to 1 and -1, squares to 2, plus 1; 2/1 for two groups; 4 + 2 examples.
    low, high = paired_interval(np.array([0.0, 0.0, -1.0, -1.0]), [3, 3, 8, 8], 0.95)
    assert (low + high) / 2 == pytest.approx(-1 / 3)
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.95, 1) * math.sqrt(2 * 3 / 36))


def test_a_handful_of_examples_that_agree_prove_nothing() -> None:
    low, high = paired_interval(np.zeros(10), range(10), 0.95)
    assert low < -0.1
    assert high > 0.1


def test_examples_of_one_group_count_as_one() -> None:
    differences = np.array([1.0, 1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0] * 8)
    alone = paired_interval(differences, range(64), 0.95)
    together = paired_interval(differences, np.repeat(np.arange(16), 4), 0.95)
    assert together[1] - together[0] > 1.8 * (alone[1] - alone[0])


@pytest.mark.parametrize("count", [1, 20, 2000])
def test_one_group_proves_nothing_however_large(count: int) -> None:
    # Student's t on one degree of freedom is 6.314 at 95%, and the standard error is all that scores can differ by.
    low, high = paired_interval(np.full(count, -0.1), [7] * count, 0.95)
    assert (high - low) / 2 == pytest.approx(6.314, abs=1e-3)
    assert (low + high) / 2 == pytest.approx(-0.1 * count / (count + 2))
    before, after = statistics_of([1.0] * count), statistics_of([0.9] * count)
    assert estimate(before, after, [7] * count, Accuracy()).chance_of_no_loss() > 0.4


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=60))
def test_swapping_the_models_mirrors_the_interval(differences: list[float]) -> None:
    low, high = paired_interval(np.array(differences), range(len(differences)), 0.9)
    mirrored = paired_interval(-np.array(differences), range(len(differences)), 0.9)
    assert mirrored == pytest.approx((-high, -low))


def test_the_lower_bound_holds_as_often_as_it_promises() -> None:
    # True difference -1 point: 4% answered worse, 3% better. The bound must lie below it in about 95 of 100 data sets.
    draw = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        differences = draw.choice([-1.0, 0.0, 1.0], size=1000, p=[0.04, 0.93, 0.03])
        held += paired_interval(differences, range(1000), 0.95)[0] <= -0.01
    assert 0.92 <= held / 400 <= 0.98


def test_examples_to_decide_by_hand() -> None:
    # Half width 0.02 at 100 examples, distance to the limit 0.01: four times as many bring the end onto it, and
    # (1 + 0.8416 / 1.6449)² = 2.2851 times as many again put it beyond four times of five.
    assert examples_to_decide(0.0, (-0.02, 0.02), 0.01, 100, 0.95) == 915
    assert examples_to_decide(-0.01, (-0.03, 0.01), 0.01, 100, 0.95) is None


def test_nobody_labels_so_many_more_for_a_difference_on_the_limit() -> None:
    # Half width 0.02, distance 0.0061: 24.6 times as many. 0.0060: 25.4 times. On either side of the limit.
    for sign in (1, -1):
        assert examples_to_decide(-0.01 + sign * 0.0061, (-0.03, 0.01), 0.01, 100, 0.95) == 2457
        assert examples_to_decide(-0.01 + sign * 0.0060, (-0.03, 0.01), 0.01, 100, 0.95) is None
    # 2,999 examples, half width 0.77 points, 0.05 points from the limit: 711,000 examples, said nobody.
    assert examples_to_decide(-0.0095, (-0.0172, -0.0018), 0.01, 2999, 0.95) is None
    # On the limit itself there is nothing to divide by, however sure one is.
    assert examples_to_decide(-0.25, (-0.25, -0.25), 0.25, 100, 0.95) is None


def test_speedup_by_hand() -> None:
    latency = Latency(rounds=((1.0, 2.0), (1.0, 2.0), (9.0, 2.0)), baseline_rounds=((4.0, 5.0), (4.0, 5.0), (4.0, 5.0)))
    ratio, (low, high) = speedup(latency, 0.95)
    assert ratio == pytest.approx(9 / 3)
    assert low <= ratio <= high


def test_of_one_launch_rounds_are_resampled_by_hand() -> None:
    """Three rounds, of which one takes twice as long: it is the median of three draws where at least two of them are
    it, 3 * (1/3)² * 2/3 + (1/3)³ = 7/27 or 26% of the time."""
    latency = Latency(rounds=((1.0,), (1.0,), (2.0,)), baseline_rounds=((4.0,),) * 3)
    assert speedup(latency, 0.7) == (4.0, (4.0, 4.0))
    assert speedup(latency, 0.8) == (4.0, (2.0, 4.0))


def test_a_launch_counts_as_one_by_hand() -> None:
    """Within a launch all rounds agree; of three launches one is twice as fast as the others are."""
    latency = Latency(
        rounds=((1.0,), (1.0,), (1.0,), (1.0,), (0.5,), (0.5,)), baseline_rounds=((2.0,),) * 6, launches=3
    )
    ratio, (low, high) = speedup(latency, 0.95)
    # All six rounds' median takes 1.0, which is also that of two launches; the third's is 0.5, four times as fast.
    assert ratio == pytest.approx(2.0)
    # Logarithms 1, 1 and 2 times log 2: a standard deviation of log 2 / sqrt(3), over three launches log 2 / 3.
    half = stats.t.ppf(0.95, 2) * math.log(2) / 3
    assert (math.log(low), math.log(high)) == pytest.approx((math.log(2) - half, math.log(2) + half))
    one, (low_of_one, high_of_one) = speedup(dataclasses.replace(latency, launches=1), 0.95)
    assert one == ratio and high_of_one / low_of_one < high / low


def test_what_ran_one_after_the_other_is_compared_by_hand() -> None:
    """In the second launch, or round, both took twice as long: nothing that a ratio knows of."""
    for launches in (1, 2):
        latency = Latency(rounds=((1.0,), (2.0,)), baseline_rounds=((3.0,), (6.0,)), launches=launches)
        ratio, interval = speedup(latency, 0.95)
        assert (ratio, *interval) == pytest.approx((3.0, 3.0, 3.0))


def test_launches_of_different_lengths_are_refused() -> None:
    rounds = ((1.0,),) * 7
    with pytest.raises(ValueError, match="7 rounds are not 3 launches"):
        speedup(Latency(rounds=rounds, baseline_rounds=rounds, launches=3), 0.95)


def test_the_speedups_bounds_hold_as_often_as_they_promise() -> None:
    """Launches that differ by 5%, and rounds by as much, as on a shared machine; the truth is 1."""
    draw = np.random.default_rng(0)
    outside = {1: 0, 6: 0}
    for _ in range(400):
        launch, turn = draw.normal(0, 0.05, (2, 6, 1, 1)), draw.normal(0, 0.05, (2, 6, 6, 1))
        before, after = np.exp(launch + turn + draw.normal(0, 0.01, (2, 6, 6, 5))).reshape(2, 36, 5)
        for launches in outside:
            latency = Latency(rounds=after, baseline_rounds=before, launches=launches)  # type: ignore[arg-type]
            outside[launches] += speedup(latency, 0.95)[1][0] > 1
    assert 0.02 <= outside[6] / 400 <= 0.08
    # As if rounds of one launch were not alike.
    assert outside[1] / 400 > 0.1


def test_percentiles_by_hand() -> None:
    assert percentiles(Latency(rounds=((1.0, 2.0, 3.0, 4.0, 5.0),) * 2)) == pytest.approx((3.0, 5.0))
    # Of 0 to 10 ms nine tenths lie at 9 or below.
    assert percentiles(Latency(rounds=(tuple(map(float, range(11))),))) == pytest.approx((5.0, 9.0))


@given(
    arrays(float, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(0.01, 100)), st.integers(0, 99)
)
def test_times_of_resampled_rounds_are_sums_of_medians(rounds: np.ndarray, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, len(rounds), (7, len(rounds)))
    expected = [np.median(rounds[rows], axis=0).sum() for rows in drawn]
    assert _times(rounds, drawn) == pytest.approx(expected, rel=1e-12)


def test_speedup_against_torch_multiplies_the_baselines_own() -> None:
    timed = Latency(rounds=((1.0,), (1.0,)), baseline_rounds=((4.0,), (4.0,)))
    found = compare(
        evaluation([1, 1, 0], torch_ratio=2.5),
        evaluation([1, 0, 0], latency=timed),
        Accuracy(),
        confidence=0.95,
        margin=0.01,
    )
    assert found.speedup == pytest.approx(4)
    assert found.speedup_vs_torch == pytest.approx(10)
    assert found.score_difference == pytest.approx(-1 / 3)
    assert found.examples == 3


def test_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        compare(evaluation([1, 1]), evaluation([1, 1, 1]), Accuracy(), confidence=0.95, margin=0.01)


def test_examples_that_belong_together_otherwise_are_refused() -> None:
    together = dataclasses.replace(evaluation([1, 1]), groups=(0, 0))
    with pytest.raises(ValueError, match="same examples"):
        compare(evaluation([1, 1]), together, Accuracy(), confidence=0.95, margin=0.01)


def test_a_candidate_that_was_timed_alone_has_no_speedup() -> None:
    alone = evaluation([1, 0], latency=Latency(rounds=((1.0,), (1.0,))))
    found = compare(evaluation([1, 1]), alone, Accuracy(), confidence=0.95, margin=0.01)
    assert (found.speedup, found.speedup_interval, found.speedup_vs_torch) == (None, None, None)


def test_what_a_busy_machine_disturbed_is_told_and_is_no_speedup() -> None:
    timed = Latency(
        rounds=((1.0,), (1.0,)),
        baseline_rounds=((4.0,), (4.0,)),
        disturbed=True,
        disturbed_rounds=1,
        repeated_rounds=3,
        foreign_share=0.4,
    )
    found = compare(
        evaluation([1, 1], torch_ratio=2.5), evaluation([1, 1], timed), Accuracy(), confidence=0.95, margin=0.01
    )
    assert (found.speedup, found.speedup_interval, found.speedup_vs_torch) == (None, None, None)
    assert found.disturbance == Disturbance(1, 2, 3, 0.4, 4.0, (4.0, 4.0))


def classified(labels: list[str], answers: list[str]) -> Evaluation:
    """One answer for each label, with the counts of each class: example, found, answered, there."""
    counts = {
        name: tuple((i, int(label == name == answer), int(answer == name), int(label == name)) for i, (label, answer) in
                    enumerate(zip(labels, answers, strict=True)))
        for name in ("pos", "neg")
    }  # fmt: skip
    found = evaluation([float(label == answer) for label, answer in zip(labels, answers, strict=True)])
    return dataclasses.replace(found, counts=counts)


def test_what_is_said_of_classes_is_said_of_the_candidate() -> None:
    labels = ["pos"] * 4 + ["neg"] * 96
    teacher = classified(labels, labels)
    student = dataclasses.replace(classified(labels, ["neg"] * 100), batch_effect=BatchEffect(10, 5, 0.1, 1))
    found = compare(teacher, student, Accuracy(), confidence=0.95, margin=0.01, recall_margin=0.2)
    assert found.lost == (("class pos", 4, 4),)
    assert (found.constant, found.baseline_constant) == ("neg", None)
    assert found.batch_effect == student.batch_effect
    # Four of four lost are at least 0.05 (see test_classes.py): more than one point, and not more than 20.
    assert [(one.name, one.difference, one.interval is None) for one in found.recalls] == [
        ("class pos", -1.0, True),
        ("class neg", 0.0, False),
    ]
    back = compare(student, teacher, Accuracy(), confidence=0.95, margin=0.01)
    assert (back.lost, back.constant, back.baseline_constant, back.batch_effect, back.recalls) == (
        (),
        None,
        "neg",
        None,
        (),
    )


def test_another_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="compared by entity_f1"):
        compare(evaluation([1]), evaluation([1]), EntityF1(), confidence=0.95, margin=0.01)
    other = dataclasses.replace(evaluation([1]), metric="entity_f1")
    for pair in ((other, evaluation([1])), (evaluation([1]), other)):
        with pytest.raises(ValueError, match="compared by accuracy"):
            compare(*pair, Accuracy(), confidence=0.95, margin=0.01)


def test_the_jackknife_by_hand() -> None:
    # Tokens right of 4 in each of three groups: 4, 4, 4 before and 4, 4, 1 after. Without a group the values are
    # 5/8, 5/8 and 1, the difference is -1/4: away from it by -1/8, -1/8 and 1/4.
    before, after = np.full((3, 2), 4.0), np.array([(4.0, 4.0), (4.0, 4.0), (1.0, 4.0)])
    found = estimate(before, after, [0, 1, 2], TokenAccuracy())
    assert found.difference == found.centre == pytest.approx(-1 / 4)
    assert found.error == pytest.approx(math.sqrt(2 / 3 * 6 / 64))
    # 2 (6/64)² / (18/4096 - (6/64)²/3) is 12, more than two groups less one.
    assert (found.one, found.freedom) == (pytest.approx(1 / 3), 2.0)
    low, high = found.interval(0.95)
    half = (high - low) / 2
    assert half == pytest.approx(stats.t.ppf(0.95, 2) * math.sqrt(found.error**2 + half / 3))


def test_one_thing_lost_costs_as_much_as_it_costs_the_model_that_it_costs_most() -> None:
    # Nine of nine entities found, and four: F1 of one more found, less that of one more missed, is 1 - 18/19, and
    # 10/20 - 8/19.
    before, after = np.full((3, 3), 3.0), np.array([(3.0, 3.0, 3.0), (1.0, 3.0, 3.0), (0.0, 3.0, 3.0)])
    for first, second in ((before, after), (after, before)):
        assert estimate(first, second, range(3), EntityF1()).one == pytest.approx(1 / 2 - 8 / 19)


def test_where_both_models_agree_three_things_more_may_be_lost() -> None:
    entities = np.full((1000, 3), 1.0)
    found = estimate(entities, entities, range(1000), EntityF1())
    # 1.65² things, an entity costing about a thousandth.
    assert found.interval(0.95)[0] == pytest.approx(-(stats.t.ppf(0.95, 199) ** 2) * found.one)
    assert -0.0028 < found.interval(0.95)[0] < -0.0013


def test_few_groups_that_make_up_the_spread_count_as_few() -> None:
    # Two of a hundred groups differ, alike: 2 * 2 / (1 - 2 / 100) degrees of freedom.
    before = np.full((100, 2), 10.0)
    after = before.copy()
    after[:2, 0] = 5.0
    assert estimate(before, after, range(100), TokenAccuracy()).freedom == pytest.approx(4 / 0.98, rel=0.05)


def test_the_freedom_of_one_group_among_ten_by_hand() -> None:
    # Ten groups, of which one loses all: away from the difference by 1/10, the nine others by -1/90. The squares add up
    # to 1/90: 2 / 90² / ((1 + 9 / 9⁴) / 10⁴ - 1 / 90² / 10) is 1800 / 640.
    before = np.full((10, 2), 4.0)
    after = before.copy()
    after[3, 0] = 0.0
    assert estimate(before, after, range(10), TokenAccuracy()).freedom == pytest.approx(1800 / 640)


def test_more_than_two_hundred_groups_are_left_out_in_blocks_of_every_two_hundredth() -> None:
    # Groups 0 and 200, one block, make up all the spread: 2 / (1 - 1 / 200) degrees of freedom. Groups 0 and 199 are
    # two blocks: 2 * 2 / (1 - 2 / 200).
    before = np.full((201, 2), 10.0)
    for others, freedom in ((200, 2 / (1 - 1 / 200)), (199, 4 / (1 - 2 / 200))):
        after = before.copy()
        after[[0, others], 0] = 5.0
        assert estimate(before, after, range(201), TokenAccuracy()).freedom == pytest.approx(freedom, rel=0.05)


def test_one_group_proves_nothing_by_any_metric() -> None:
    entities = np.full((1000, 3), 1.0)
    assert estimate(entities, entities, [0] * 1000, EntityF1()).interval(0.95)[0] < -6


def test_a_class_that_is_no_longer_found_is_told() -> None:
    teacher = {"PER": (9.0, 9.0, 10.0), "EMAIL": (12.0, 13.0, 14.0), "IBAN": (0.0, 0.0, 2.0), "CITY": (1.0, 1.0, 1.0)}
    student = {"PER": (8.0, 9.0, 10.0), "EMAIL": (0.0, 2.0, 14.0), "IBAN": (0.0, 0.0, 2.0)}
    assert lost_classes(teacher, student, "entity") == (("entity EMAIL", 12, 14), ("entity CITY", 1, 1))
