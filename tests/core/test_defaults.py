"""A part that lacks optional verbs is given them, and keeps what it has."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest

from compress.core.defaults import with_defaults
from compress.core.errors import InputError
from compress.core.stage import StageDefaults


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A stage of the user's own."""

    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Slotted:
    """One without a dictionary."""

    share: float


class Own:
    """One that has some of the verbs, in ways of its own."""

    changes_processor = True

    def __init__(self) -> None:
        self.uses_latency = True

    @property
    def unread(self) -> set[str]:
        return {"share"}

    def foresee(self, model: Any) -> Any:
        return model + 1


@pytest.mark.parametrize("kind", [Plain, Slotted])
def test_what_is_missing_is_given(kind: Any) -> None:
    stage = kind(share=0.5)
    assert with_defaults("stages.mine", stage, StageDefaults) is stage
    assert (stage.uses_latency, stage.changes_processor, stage.unread) == (False, False, frozenset())
    assert stage.check(3) is None and stage.foresee(3) == 3 and stage.training(100) is None and stage.together(3) == ()
    assert stage.relax(None) is None
    # It is still what it was: for keys, for the time it took, for whoever copies it.
    assert (type(stage).__module__, type(stage).__qualname__) == (kind.__module__, kind.__qualname__)
    assert inspect.getsourcefile(type(stage)) == __file__
    assert isinstance(stage, kind) and replace(stage, share=0.25).share == 0.25
    with pytest.raises(FrozenInstanceError):
        stage.share = 1


def test_what_is_there_stays() -> None:
    stage: Any = with_defaults("stages.mine", Own(), StageDefaults)
    assert (stage.uses_latency, stage.changes_processor, stage.unread, stage.foresee(3)) == (True, True, {"share"}, 4)
    assert stage.relax(None) is None


def test_what_has_them_all_is_left_as_it_is() -> None:
    class Whole(StageDefaults):
        """A method."""

    stage = Whole()
    assert type(with_defaults("stages.mine", stage, StageDefaults)) is Whole


def test_what_cannot_be_given_anything_is_refused() -> None:
    with pytest.raises(InputError, match=r"^stages\.mine is made by SimpleNamespace, .*compress\.core\.stage\.Stage"):
        with_defaults("stages.mine", SimpleNamespace(apply=None), StageDefaults)
