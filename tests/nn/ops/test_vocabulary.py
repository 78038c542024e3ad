import numpy as np
import pytest

from compress.nn.ops.vocabulary import changed_shares, most_frequent, token_counts, unseen_shares


def test_counts() -> None:
    assert token_counts([[0, 2, 2], [4]], 6).tolist() == [1, 0, 2, 0, 1, 0]


def test_the_most_frequent_come_first_and_equals_in_order() -> None:
    counts = np.array([1, 0, 5, 2, 2])
    assert most_frequent(counts, 1) == [2, 3, 4, 0]
    assert most_frequent(counts, 2) == [2, 3, 4]
    assert most_frequent(counts, 0) == [2, 3, 4, 0]
    # Of many, too, which another way of sorting would mix.
    assert most_frequent(np.array([1, 2] * 20), 1) == [*range(1, 40, 2), *range(0, 40, 2)]


def test_a_row_changes_with_any_of_its_tokens() -> None:
    kept = np.array([True, True, False])
    texts, tokens = changed_shares([[0, 1], [2, 2, 0], [1], [2]], kept)
    assert texts == 2 / 4
    assert tokens == pytest.approx(3 / 7)


def test_what_is_unseen_is_counted_on_the_other_groups() -> None:
    # Groups 7 and 9 are dealt to two parts. Of group 9 token 3 is unseen, of group 7 tokens 1 and 2.
    rows, groups = [[0, 1], [0, 2], [0, 3, 3], [0]], [7, 7, 9, 9]
    texts, tokens = unseen_shares(rows, groups, 4, lambda counts: counts > 0, folds=5) or (0, 0)
    assert texts == (2 + 1) / 4
    assert tokens == pytest.approx((2 + 2) / 8)


def test_several_groups_may_share_a_part() -> None:
    # Two parts: groups 0 and 2, whose token 1 only the other of the two has, and group 1, whose token 2 nobody has.
    rows, groups = [[0, 1], [0, 2], [0, 1]], [0, 1, 2]
    assert unseen_shares(rows, groups, 3, lambda counts: counts > 0, folds=2) == (3 / 3, 3 / 6)
    # Each a part of its own: of the first and third nothing is unseen then.
    assert unseen_shares(rows, groups, 3, lambda counts: counts > 0, folds=3) == (1 / 3, 1 / 6)


def test_nothing_can_be_said_of_one_group() -> None:
    assert unseen_shares([[0], [1]], [4, 4], 2, lambda counts: counts > 0, folds=5) is None
