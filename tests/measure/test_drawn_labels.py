"""The difference of two models from the labels of texts that they answer differently, against numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from compress.measure.drawn_labels import (
    Pool,
    estimate_drawn,
    half_width,
    labels_alone,
    labels_for,
    pool_of,
)
from compress.measure.paired import mean_and_error


def test_a_pool_counts_texts_groups_and_what_is_answered_alike() -> None:
    differ = np.array([False, True, True, False, False, False, True])
    # Groups 5, 7 and 9: three texts of which one differs, two that are alike, two of which both differ.
    assert pool_of(differ, [5, 9, 9, 7, 5, 7, 5]) == Pool(texts=7, groups=3, different=3, differing=2, alike_squares=4)


def test_the_mean_difference_by_hand() -> None:
    # 1,000 texts, 40 answered differently, 4 of them labelled: 1 won, 2 lost, 1 neither: -1/4 of 40 in 1,000.
    found = estimate_drawn(Pool(1000, 1000, 40, 40, 960), [1, -1, -1, 0], [1, 1, 1, 1])
    assert found.difference == pytest.approx(-0.01)
    assert found.centre == pytest.approx(-0.01 * 1000 / 1002)
    # All groups: 10 times the squares of (sum + 0.01) of the four, and 960 of 0.01, one more for the two pseudo-groups.
    squares = 10 * (1.01**2 + 2 * 0.99**2 + 0.01**2) + 960 * 0.0001
    between = 1000 / 999 * (squares + 1) / 1002**2
    # The four: squares of their distance from -1/4, and one more, over (4 + 2)², for 36 that nobody labelled.
    spread = 4 / 3 * (1.25**2 + 2 * 0.75**2 + 0.25**2 + 1) / 36
    within = 40**2 * (36 / 40) * spread / 1002**2
    assert found.error == pytest.approx((between + within) ** 0.5)
    # Three degrees of freedom in each of the two parts, which are of unlike size.
    assert found.freedom == pytest.approx((between + within) ** 2 / (between**2 / 3 + within**2 / 3))


def test_a_group_counts_with_all_its_texts_by_hand() -> None:
    # Four groups of two texts, two of which differ, both labelled: -1/8. Deviations 1 + 2/8, -2 + 2/8, and of the alike
    # 2/8 twice; squares 1.5625 + 3.0625 + 0.125, one more, over (8 + 2)².
    found = estimate_drawn(Pool(8, 4, 4, 2, 8), [1, -2], [2, 2])
    assert (found.difference, found.freedom) == (-1 / 8, 3)
    assert found.error == pytest.approx((4 / 3 * 5.75 / 100) ** 0.5)


def test_half_of_the_labels_are_taken_to_be_won_by_hand() -> None:
    # Two of four, one won and one lost: squares 2 * 2, one more; spread 2 * (2 + 1) / (2 + 2)², for half of 4².
    between, within = 100 / 99 * 5 / 102**2, 16 / 2 * 6 / 16 / 102**2
    freedom = (between + within) ** 2 / (between**2 + within**2)
    half = float(stdtrit(freedom, 0.95)) * (between + within) ** 0.5
    assert half_width(Pool(100, 100, 4, 4, 96), 2, 0.95) == pytest.approx(half)


@given(
    differences=st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=2, max_size=60),
    together=st.integers(1, 5),
    data=st.data(),
)
def test_with_all_labelled_it_is_the_usual_interval(differences: list[int], together: int, data: st.DataObject) -> None:
    """A text answered alike has a difference of 0; of those answered differently each label is known."""
    values, groups = np.array(differences), np.arange(len(differences)) // together
    wrong_alike = np.array(data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values))))
    # Some of those with a difference of 0 are answered differently, and both wrongly.
    differ = (values != 0) | wrong_alike
    pool = pool_of(differ, groups.tolist())
    drawn = [group for group in range(int(groups.max()) + 1) if differ[groups == group].any()]
    found = estimate_drawn(
        pool, [float(values[groups == g].sum()) for g in drawn], [int((groups == g).sum()) for g in drawn]
    )
    centre, error, freedom = mean_and_error(values.astype(float), groups.tolist())
    if groups.max() == 0:
        assert found.error == error == 1.0
        return
    assert (found.difference, found.centre) == pytest.approx((values.mean(), centre))
    assert (found.error, found.freedom) == pytest.approx((error, freedom))


def test_at_the_margin_few_pass() -> None:
    """5% of 4,000 texts differ, and the student loses 1% on the whole; 80 labels. Drawn 600 times."""
    generator, passed, halves = np.random.default_rng(3), 0, []
    for _ in range(600):
        differ = generator.random(4000) < 0.05
        chance = generator.random(int(differ.sum()))
        # 30% won, 50% lost, 20% neither.
        values = np.where(chance < 0.3, 1.0, np.where(chance < 0.8, -1.0, 0.0))
        drawn = generator.permutation(values)[:80]
        low, high = estimate_drawn(pool_of(differ, range(4000)), drawn.tolist(), [1] * 80).interval(0.95)
        passed += low > -0.01
        halves.append((high - low) / 2)
    # 5%, and three standard errors of what 600 draws tell.
    assert passed / 600 < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    # Not for want of sharpness: 0.9 of a standard deviation, 1.66 quantile, 5% of the texts, 80 labels: 0.0083.
    assert np.mean(halves) == pytest.approx(0.0085, rel=0.1)


def test_few_labels_that_agree_are_no_certainty() -> None:
    pool = Pool(10_000, 10_000, 300, 300, 9_700)
    low, high = estimate_drawn(pool, [0.0] * 5, [1] * 5).interval(0.95)
    assert low < -0.01 < 0.01 < high
    assert estimate_drawn(pool, [1.0], [1]).error == 1.0


def test_where_all_is_answered_alike_nothing_was_lost() -> None:
    found = estimate_drawn(Pool(1000, 1000, 0, 0, 1000), [], [])
    low, high = found.interval(0.95)
    assert found.difference == 0 and low == pytest.approx(-1.6464 / 1002, rel=1e-2) and high == -low


@pytest.mark.parametrize("drawn", [0, 5])
def test_more_than_differ_or_none_is_a_mistake(drawn: int) -> None:
    with pytest.raises(ValueError, match=f"{drawn} groups were drawn, of 4 that differ"):
        estimate_drawn(Pool(100, 100, 4, 4, 96), [0.0] * drawn, [1] * drawn)


def test_how_many_to_label() -> None:
    pool = Pool(20_000, 20_000, 800, 800, 19_200)
    count = labels_for(pool, 0.01, 0.95)
    assert half_width(pool, count, 0.95) <= 0.005 < half_width(pool, count - 1, 0.95)
    # 4% of the texts differ, by one each: (1.65 * 0.04 / 0.005)² = 174, less what the finite number takes off.
    assert 140 < count < 180
    assert labels_for(pool, 0.0001, 0.95) == 800
    # Four texts in each differing group: 100 such groups tell as much as 400 texts by themselves.
    fourfold = Pool(20_000, 5_000, 800, 200, 19_200)
    assert half_width(fourfold, 100, 0.95) == pytest.approx(half_width(pool, 400, 0.95), rel=0.05)
    assert labels_for(Pool(500, 500, 12, 12, 488), 0.01, 0.95) == 12
    # Thirty are the fewest, also where less would do; and none where nothing differs.
    assert labels_for(pool, 0.1, 0.95) == 30
    assert labels_for(Pool(1000, 1000, 0, 0, 1000), 0.01, 0.95) == 0
    assert half_width(Pool(1000, 1000, 0, 0, 1000), 0, 0.95) == pytest.approx(1.6464 / 1002, rel=1e-2)
    # Drawn from all, 4% differ: (1.64485 / 0.005)² * 0.04 = 4328.8.
    assert labels_alone(0.005, 0.04, 0.95) == 4329
