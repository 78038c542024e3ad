"""How far one distribution of next tokens is from another."""

from __future__ import annotations

import numpy as np
import pytest

from compress.tasks.likeliest import divergence


def test_the_divergence_of_a_few_tokens_and_the_rest_is_no_more_than_that_of_all() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        one, other = (np.log(draw.dirichlet(np.full(12, 0.3), size=3) + 1e-9) for _ in range(2))
        one, other = (values - np.log(np.exp(values).sum(axis=1, keepdims=True)) for values in (one, other))
        whole = (np.exp(one) * (one - other)).sum(axis=1)
        assert (divergence(one[:, :4], other[:, :4]) <= whole + 1e-9).all()
        assert divergence(one, other) == pytest.approx(whole, abs=1e-6)
        assert divergence(one[:, :4], one[:, :4]) == pytest.approx(0, abs=1e-9)
