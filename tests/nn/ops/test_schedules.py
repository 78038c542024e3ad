"""Numbers worked out by hand."""

from __future__ import annotations

import pytest

from compress.nn.ops.schedules import cubic_progress, share_left


def test_cubic_progress() -> None:
    # 1 - (1 - 1/4)³ = 1 - 27/64, and so on.
    assert [cubic_progress(step, 4) for step in range(5)] == [0, 37 / 64, 56 / 64, 63 / 64, 1]
    assert cubic_progress(1, 1) == 1


@pytest.mark.parametrize(("step", "steps"), [(-1, 3), (4, 3), (0, 0)])
def test_no_such_step(step: int, steps: int) -> None:
    with pytest.raises(ValueError, match=f"step {step} of {steps} is none"):
        cubic_progress(step, steps)


def test_share_left() -> None:
    assert [share_left(0.5, progress) for progress in (0, 0.5, 1)] == [1, 0.75, 0.5]
    assert share_left(1, 37 / 64) == 1
