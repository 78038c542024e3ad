"""Each rule names the setting, the value, the rule and a way out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from compress.core.checks import (
    is_missing,
    nearest,
    require_at_least,
    require_boolean,
    require_choice,
    require_fraction,
    require_integer,
    require_positive,
)
from compress.core.errors import CompressError, InputError, NothingPassedError, StageError

WAY_OUT = "Use 0.5 to keep half."


def test_whole_messages() -> None:
    expected = {
        (require_fraction, (1.5,)): "prune.heads is 1.5; it must lie in (0, 1]. Use 0.5 to keep half.",
        (require_at_least, (-1, 0)): "prune.heads is -1; it must be at least 0. Use 0.5 to keep half.",
        (require_positive, (0,)): "prune.heads is 0; it must be greater than 0. Use 0.5 to keep half.",
        (require_positive, (math.nan,)): "prune.heads is nan; it must be finite. Use 0.5 to keep half.",
        (require_positive, (math.inf,)): "prune.heads is inf; it must be finite. Use 0.5 to keep half.",
        (require_positive, (-math.inf,)): "prune.heads is -inf; it must be finite. Use 0.5 to keep half.",
        (require_integer, (0, 1)): ("prune.heads is 0; it must be a whole number of at least 1. Use 0.5 to keep half."),
    }
    for (rule, values), message in expected.items():
        with pytest.raises(InputError) as caught:
            rule("prune.heads", *values, WAY_OUT)  # type: ignore[operator]
        assert str(caught.value) == message


@pytest.mark.parametrize(
    ("rule", "bounds", "accepted", "refused"),
    [
        (require_fraction, (), (0.001, 0.5, 1, 1.0), (0, -0.1, 1.001, math.nan, math.inf, True, "0.5", None)),
        (require_at_least, (2,), (2, 2.5, 100), (1.99, math.nan, math.inf, True, "3", None)),
        (require_positive, (), (1e-9, 3), (0, -1, math.nan, math.inf, True, "1", None)),
        (require_integer, (2,), (2, 3), (1, 2.0, True, "2", None)),
        # True is 1 to Python, and no number to a user.
        (require_integer, (0,), (0, 1), (-1, True, False)),
    ],
)
def test_bounds(rule: Callable[..., None], bounds: tuple[Any, ...], accepted: Any, refused: Any) -> None:
    for value in accepted:
        rule("x", value, *bounds, WAY_OUT)
    for value in refused:
        with pytest.raises(InputError, match=r"^x is "):
            rule("x", value, *bounds, WAY_OUT)


def test_true_and_false_are_no_numbers() -> None:
    for value in (True, False):
        require_boolean("fuse.layers", value)
    for refused in (1, 0, "true", None):
        with pytest.raises(InputError) as caught:
            require_boolean("fuse.layers", refused)
        assert str(caught.value) == f"fuse.layers is {refused!r}; it must be true or false."


def test_what_nobody_gave_is_missing() -> None:
    assert [is_missing(value) for value in (None, "", " \t", math.nan)] == [True] * 4
    assert [is_missing(value) for value in ("a", " a ", 0, 0.0, False, [])] == [False] * 6


def test_choice_offers_the_nearest() -> None:
    require_choice("scope", "layer", ("layer", "model"))
    with pytest.raises(InputError) as caught:
        require_choice("scope", "layers", ("model", "layer"))
    assert str(caught.value) == "scope is 'layers'; it must be one of layer, model. Did you mean 'layer'?"
    with pytest.raises(InputError) as caught:
        require_choice("scope", "zzz", ("layer", "model"))
    assert str(caught.value) == "scope is 'zzz'; it must be one of layer, model."


def test_nearest() -> None:
    assert nearest("heds", ["heads", "layers"]) == "Did you mean 'heads'?"
    assert nearest("xyz", ["heads", "layers"]) == ""


def test_exit_statuses() -> None:
    statuses = {kind.__name__: kind.exit_status for kind in (CompressError, InputError, NothingPassedError, StageError)}
    assert statuses == {"CompressError": 1, "InputError": 2, "NothingPassedError": 3, "StageError": 1}


def test_another_name_is_no_slip_of_typing() -> None:
    assert nearest("modernbert", ["bert-like", "roberta"]) == ""
    assert nearest("auhtor", ["author", "text"]) == "Did you mean 'author'?"
    # Six letters of six and of twelve: 2 * 6 / 18 is two thirds, and near enough.
    assert nearest("distil", ["distillation", "prune"]) == "Did you mean 'distillation'?"
    assert nearest("roll-back", ["roll_back", "stop", "warn"]) == "Did you mean 'roll_back'?"
