"""What may be asked for."""

from __future__ import annotations

from typing import Any

import pytest

from compress.core.errors import InputError
from compress.core.objective import Objective


@pytest.mark.parametrize("speedup", [None, 1.5, 10])
def test_accepted(speedup: float | None) -> None:
    assert Objective(speedup=speedup, max_accuracy_drop=0.01).speedup == speedup


@pytest.mark.parametrize(("speedup", "rule"), [(0, "greater than 0"), (1, "greater than 1"), (0.5, "greater than 1")])
def test_refused(speedup: Any, rule: str) -> None:
    with pytest.raises(InputError, match=rf"^objective\.speedup is {speedup}; it must be {rule}"):
        Objective(speedup=speedup, max_accuracy_drop=0.01)
