"""In which order a model is cut and trained, and how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.methods.training import gradual as module
from compress.methods.training.gradual import Gradual, cut_and_recover
from compress.methods.training.imitation import Imitation


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was done, in order: a number for a cut, settings for a training."""
    events: list[Any] = []
    monkeypatch.setattr(module, "imitate", lambda model, context, settings, **how: events.append(how))
    return events


def run(gradual: Gradual, epochs: float, happened: list[Any], make_model: Callable, imitation: Imitation) -> None:
    def cut(progress: float) -> list[int]:
        happened.append(progress)
        return [len(happened)]

    model, nothing = make_model().train(), Any
    found = cut_and_recover(model, nothing, gradual, cut, imitation=imitation, epochs=epochs, title="mending")  # type: ignore[arg-type]
    assert found is model and not found.training


def test_at_once(happened: list[Any], make_model: Callable, imitation: Imitation) -> None:
    run(Gradual(cuts=1, between=0.5), 6, happened, make_model, imitation)
    assert happened == [1.0, {"epochs": 6, "title": "mending", "layer_map": [1], "share": 1.0}]


def test_in_three_cuts(happened: list[Any], make_model: Callable, imitation: Imitation) -> None:
    run(Gradual(cuts=3, between=0.5), 6, happened, make_model, imitation)
    # 1 - (2/3)³ and 1 - (1/3)³. Half of the recovery lies between the cuts, a quarter each.
    assert happened[::2] == pytest.approx([19 / 27, 26 / 27, 1.0])
    assert happened[1::2] == [
        {"epochs": 6, "title": "mending 1 of 3", "layer_map": [1], "share": 0.25},
        {"epochs": 6, "title": "mending 2 of 3", "layer_map": [3], "share": 0.25},
        {"epochs": 6, "title": "mending", "layer_map": [5], "share": 0.5},
    ]


@pytest.mark.parametrize("settings", [{"epochs": 0, "between": 0.5}, {"epochs": 6, "between": 0}])
def test_nothing_between(
    settings: dict[str, float], happened: list[Any], make_model: Callable, imitation: Imitation
) -> None:
    run(Gradual(cuts=3, between=settings["between"]), settings["epochs"], happened, make_model, imitation)
    assert happened[0] == 1.0
    assert [event["share"] for event in happened[1:]] == ([1.0] if settings["epochs"] else [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cuts": 0}, r"gradual.cuts is 0; it must be a whole number of at least 1"),
        ({"between": 1}, r"gradual.between is 1; it must lie in \[0, 1\). Use 0.5"),
        ({"between": -0.1}, r"gradual.between is -0.1"),
        ({"between": "half"}, r"gradual.between is half"),
    ],
)
def test_settings_are_checked_when_built(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Gradual(**({"cuts": 2, "between": 0.5} | change))
