"""What is kept of an output that is too large."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.measure.kept import kept

WHOLE = Signature(
    inputs=(Port("input_ids", (BATCH, SEQUENCE), "int64"),),
    output=Port("logits", (BATCH, SEQUENCE, "vocabulary"), "float32"),
    mask=None,
)
ASKED = Signature(inputs=WHOLE.inputs, output=WHOLE.output, mask=None, asked="asked")


def test_an_output_of_which_nothing_is_asked_is_kept_as_it_is() -> None:
    output = np.ones((1, 2, 3), dtype=np.float32)
    assert kept(WHOLE, output, {}) is output


def test_log_probabilities_by_hand() -> None:
    # exp: 1, 2, 1 of 4, and 1, 1, 2 of 4.
    output = np.log(np.array([[[1, 2, 1], [1, 1, 2]]], dtype=np.float32))
    found = kept(ASKED, output, {"asked": np.array([[[0, 1], [1, 1]]])})
    assert np.exp(found) == pytest.approx(np.array([[[0.25, 0.5, 0.5], [0.25, 0.25, 0.5]]]))


def test_large_logits_do_not_overflow() -> None:
    output = np.array([[[1000.0, 0.0]]], dtype=np.float32)
    assert kept(ASKED, output, {"asked": np.array([[[0, 1]]])})[0, 0].tolist() == [0.0, -1000.0, 0.0]


@given(st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=9), st.floats(-50, 50, width=32))
def test_adding_a_number_to_all_logits_changes_nothing_and_probabilities_add_up_to_1(
    logits: list[float], more: float
) -> None:
    output, asked = np.array([[logits]], dtype=np.float32), np.arange(len(logits))[None, None]
    found = kept(ASKED, output, {"asked": asked})
    assert np.exp(found[0, 0, :-1]).sum() == pytest.approx(1, abs=1e-4)
    assert found[0, 0, -1] == found[0, 0, :-1].max()
    assert kept(ASKED, output + np.float32(more), {"asked": asked}) == pytest.approx(found, abs=1e-3)
