"""Whatever a stage raises, the ledger says so before the run breaks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import compress
from compress.core.errors import CompressError, InputError, StageError
from compress.core.stage import StageDefaults
from compress.pipeline.spine import run

CHEAP = (
    *("data.max_length=16", "order=[quantize]", "device=cpu", "runtime=torch", "runtime.threads=1"),
    *("measurement.launches=1", "measurement.rounds=1", "measurement.examples=2", "measurement.warmup=0"),
)


@dataclass(frozen=True, kw_only=True)
class Raises(StageDefaults):
    """A stage of the user's own."""

    error: BaseException
    leaves: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[dict[str, str]] = {}

    def apply(self, model: Any, context: Any) -> Any:
        raise self.error


Break = Callable[[BaseException], tuple[BaseException, list[dict[str, Any]], list[Any]]]


@pytest.fixture
def broken_by(checkpoint: Path, examples: Path, tmp_path: Path, in_this_process: None) -> Break:
    """`broken_by(error)`: what a run ends with whose stage raises it, the ledger's lines, and the rows as told."""
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}")

    def start(error: BaseException) -> tuple[BaseException, list[dict[str, Any]], list[Any]]:
        recipe = compress.recipe("text_classification", *given, *CHEAP)
        recipe = dataclasses.replace(recipe, stages={"quantize": Raises(error=error)})
        told: list[Any] = []
        with pytest.raises(BaseException) as raised:
            run(recipe, tmp_path / "run", on_row=told.append)
        lines = (tmp_path / "run" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        assert not list((tmp_path / "store" / "work").glob("*"))
        return raised.value, [json.loads(line) for line in lines], told

    return start


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("the stage broke"), "RuntimeError: the stage broke"),
        (MemoryError(), "MemoryError:"),
        (torch.OutOfMemoryError("out of\n  memory"), "OutOfMemoryError: out of memory"),
        (KeyError("weight"), "KeyError: 'weight'"),
        (StageError("the loss is nan"), "the loss is nan"),
        (InputError("share is 2"), "share is 2"),
    ],
)
def test_a_stage_that_raises_leaves_a_row_with_the_reason(broken_by: Break, error: Exception, reason: str) -> None:
    raised, lines, told = broken_by(error)
    assert raised is error
    assert [line["stage"] for line in lines] == ["teacher", "quantize"] == [row.stage for row in told]
    row = lines[-1]
    assert (row["verdict"], row["decision"], row["reasons"]) == ("error", "stop", [reason])
    assert row["artifact"] is None and row["accuracy"] is None and row["seconds"] >= 0


def test_a_stage_that_would_end_the_process_breaks_the_run(broken_by: Break) -> None:
    raised, lines, _ = broken_by(SystemExit(0))
    assert isinstance(raised, CompressError) and raised.exit_status == 1
    assert str(raised) == "the stage quantize called for an end of the process (SystemExit: 0)"
    assert lines[-1]["reasons"] == ["SystemExit: 0"]


def test_a_run_that_is_interrupted_goes_on_later_and_says_nothing(broken_by: Break) -> None:
    raised, lines, _ = broken_by(KeyboardInterrupt())
    assert isinstance(raised, KeyboardInterrupt)
    assert [line["stage"] for line in lines] == ["teacher"]
