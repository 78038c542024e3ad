import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_matthews_corrcoef

from compress.core.metric import Metric
from compress.tasks.metrics.accuracy import Accuracy
from compress.tasks.metrics.entity_f1 import EntityF1, count, count_by_type
from compress.tasks.metrics.log_likelihood import LogLikelihood
from compress.tasks.metrics.macro_f1 import MacroF1
from compress.tasks.metrics.matthews import matthews
from compress.tasks.metrics.ndcg import Ndcg, ndcg_of, ndcg_of_any_order
from compress.tasks.metrics.spearman import Spearman
from compress.tasks.metrics.token_accuracy import TokenAccuracy

METRICS: list[Metric] = [Accuracy(), EntityF1(), LogLikelihood(), MacroF1(), Ndcg(), Spearman(), TokenAccuracy()]


def array(*lines: tuple[float, ...]) -> np.ndarray:
    return np.array(lines, dtype=float)


def test_accuracy_is_a_share_of_examples() -> None:
    statistics = array((1, 1), (0, 1), (1, 1), (1, 1))
    assert Accuracy().value(statistics) == 0.75
    # Without the first two: 2 of 2. Without the last two: 1 of 2.
    assert Accuracy().without(statistics, np.array([0, 0, 1, 1])).tolist() == [1.0, 0.5]
    assert Accuracy().one_lost(statistics) == 0.25


def test_token_accuracy_weighs_examples_by_their_tokens() -> None:
    statistics = array((3, 4), (1, 1), (0, 5))
    assert TokenAccuracy().value(statistics) == 0.4
    assert TokenAccuracy().without(statistics, np.array([0, 1, 2])).tolist() == pytest.approx([1 / 6, 3 / 9, 4 / 5])


def test_log_likelihood_is_a_mean_over_tokens() -> None:
    statistics = array((-6.0, 3), (-2.0, 2), (-8.0, 3))
    assert LogLikelihood().value(statistics) == -2.0
    assert LogLikelihood().without(statistics, np.array([0, 1, 2])).tolist() == [-2.0, -14 / 6, -8 / 5]
    # One of eight tokens, sure before, loses ten nats.
    assert LogLikelihood().one_lost(statistics) == 10 / 8


def test_entity_f1_adds_up_before_it_divides() -> None:
    # 3 found of 5, 4 named: precision 3/4, recall 3/5, F1 2 * 3 / (4 + 5).
    statistics = array((2, 2, 3), (1, 2, 2), (0, 0, 0))
    assert EntityF1().value(statistics) == 6 / 9
    # Without the first 2/4, without the second 4/5, without the third as with it.
    assert EntityF1().without(statistics, np.array([0, 1, 2])).tolist() == pytest.approx([0.5, 0.8, 6 / 9])
    # One more that is found, 8 / 11, against one more that is not, 6 / 10.
    assert EntityF1().one_lost(statistics) == pytest.approx(8 / 11 - 6 / 10)


def test_entity_f1_of_nothing_is_0() -> None:
    assert EntityF1().value(array((0, 0, 0))) == 0.0
    assert EntityF1().without(array((0, 0, 0), (1, 1, 1)), np.array([0, 1])).tolist() == [1.0, 0.0]


def test_entities_are_counted_where_type_and_both_ends_agree() -> None:
    truth = {("PER", 0, 1), ("LOC", 3, 3), ("LOC", 5, 6)}
    answer = {("PER", 0, 1), ("ORG", 3, 3), ("LOC", 5, 7), ("LOC", 9, 9)}
    assert count(truth, answer) == (1, 4, 3)
    assert count_by_type([truth, set()], [answer, {("PER", 0, 0)}]) == {
        "LOC": [(0, 0, 2, 2)],
        "ORG": [(0, 0, 1, 0)],
        "PER": [(0, 1, 1, 1), (1, 0, 1, 0)],
    }


def test_macro_f1_counts_each_class_alike() -> None:
    # Class 0: 2 of 3 right, 2 named: 4/5. Class 1: 1 of 1 right, 2 named: 2/3. Class 2 never comes.
    statistics = array((0, 0), (0, 0), (0, 1), (1, 1))
    assert MacroF1().value(statistics) == pytest.approx((4 / 5 + 2 / 3) / 2)
    # Without the last, class 1 is named once and never there: (4/5 + 0) / 2. Without the first two: (0 + 2/3) / 2.
    assert MacroF1().without(statistics, np.array([0, 0, 1, 2])).tolist() == pytest.approx([1 / 3, 1.0, 0.4])


def test_a_lost_example_of_a_rare_class_costs_macro_f1_most() -> None:
    # Classes 0 and 1, all right: 2 (n + 1) / (2 n + 2) = 1 against 2 n / (2 n + 1).
    statistics = array(*[(0, 0)] * 9, (1, 1))
    lost = [1 - 18 / 19, 1 - 2 / 3]
    assert MacroF1().one_lost(statistics) == pytest.approx(math.hypot(*lost) / 2)


def test_spearman_is_pearsons_correlation_of_ranks() -> None:
    # Ranks of the scores 1, 3, 2, 4 against 1, 2, 3, 4: 1 - 6 * 2 / (4 * 15).
    statistics = array((10, 0.1), (20, 0.8), (30, 0.5), (40, 7.0))
    assert Spearman().value(statistics) == pytest.approx(0.8)
    # Without the first and last the other two are the wrong way round.
    assert Spearman().without(statistics, np.array([0, 1, 1, 0])).tolist() == pytest.approx([-1.0, 1.0])
    assert Spearman().value(array((1, 5), (2, 5), (3, 5))) == 0.0


def test_ndcg_discounts_by_rank() -> None:
    # The order by score is 0, 3, 1: 0 / 1 + 3 / log2(3) + 1 / 2; the best is 3 + 1 / log2(3).
    found = ndcg_of(np.array([0, 1, 3]), np.array([3.0, 1.0, 2.0]))
    assert found == pytest.approx((3 / math.log2(3) + 0.5) / (3 + 1 / math.log2(3)))
    assert ndcg_of(np.array([1, 1]), np.array([0.0, 0.0])) == 1.0
    assert ndcg_of(np.array([0, 0]), np.array([0.0, 1.0])) == 0.0
    # A document beyond the first ten gains nothing.
    assert ndcg_of(np.array([0] * 10 + [1]), np.arange(11, 0, -1)) == 0.0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_without_a_group_is_the_value_of_the_rest(metric: Metric) -> None:
    generator = np.random.default_rng(3)
    statistics = generator.integers(0, 4, (40, len(metric.columns))).astype(float)
    statistics[:, 1:] += 3.0
    groups = np.arange(40) % 7
    expected = [metric.value(statistics[groups != group]) for group in range(7)]
    assert metric.without(statistics, groups).tolist() == pytest.approx(expected)


def test_matthews_correlation_by_hand() -> None:
    # 2 true and 1 false positive, 2 true negatives, 1 miss: (2 * 2 - 1 * 1) / sqrt(3 * 3 * 3 * 3).
    assert matthews([1, 1, 1, 0, 0, 0], [1, 1, 0, 1, 0, 0]) == pytest.approx(3 / 9)
    assert matthews([0, 1, 2], [0, 1, 2]) == 1.0
    assert matthews([0, 1], [1, 0]) == -1.0


def test_a_constant_has_no_correlation() -> None:
    assert matthews([0, 0, 1], [0, 0, 0]) == 0.0
    assert matthews([0, 0, 0], [0, 1, 2]) == 0.0
    assert matthews([0] * 16 + [1] * 15, [0] * 31) == 0.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_matthews_correlation_is_that_of_torchmetrics_where_neither_is_constant(pairs: list[tuple[int, int]]) -> None:
    labels, answers = ([pair[side] for pair in pairs] for side in (0, 1))
    assume(len(set(labels)) > 1 and len(set(answers)) > 1)
    expected = float(multiclass_matthews_corrcoef(torch.tensor(answers), torch.tensor(labels), num_classes=4))
    assert matthews(labels, answers) == pytest.approx(expected, abs=1e-5)


def test_what_any_order_of_candidates_is_worth() -> None:
    """One of two is relevant: first in half of the orders (1), else second, 1 / log2(3). And what `ndcg_of` gives on
    average over all orders of five."""
    assert ndcg_of_any_order(np.array([1.0, 0.0])) == pytest.approx((1 + 1 / math.log2(3)) / 2)
    gains = np.array([3.0, 0.0, 1.0, 0.0, 1.0])
    found = [ndcg_of(gains, np.array(scores), first=3) for scores in itertools.permutations(range(5))]
    assert ndcg_of_any_order(gains, first=3) == pytest.approx(np.mean(found))
    assert ndcg_of_any_order(np.zeros(4)) == 0.0
