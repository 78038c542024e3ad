"""`runtime.json`: read as it was written, and refused where it is another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.deploy.export import read_export
from compress.deploy.predictor import Predictor
from compress.deploy.settings import Batching, OnnxServing, Settings
from compress.deploy.tuned import Tuned, read_tuned, write_tuned

from .conftest import HOLDS

SETTINGS = Settings(
    session=OnnxServing(
        threads=1, inter_op_threads=2, spinning=False, pinned=True, memory_arena=False, memory_pattern=False
    ),
    batching=Batching(batch_size=8, padding="powers"),
)


@pytest.fixture
def folder(export_copy: Path) -> Path:
    write_tuned(read_export(export_copy), Tuned(settings=SETTINGS, batch_effect=HOLDS, record={"a": 1}))
    return export_copy


def test_it_is_read_as_it_was_written(folder: Path) -> None:
    assert read_tuned(read_export(folder)) == Tuned(settings=SETTINGS, batch_effect=HOLDS, record={"a": 1})
    assert not list(folder.glob(".*unfinished"))


def test_a_predictor_uses_it_and_what_is_said_by_hand_comes_first(folder: Path) -> None:
    assert Predictor(folder).settings == SETTINGS
    by_hand = Predictor(folder, batch_size=2)
    assert by_hand.settings.batching == Batching(batch_size=2, padding="powers")
    assert by_hand.settings.session == SETTINGS.session
    assert [answer.label for answer in by_hand(["kas", "lon mit", "per"])] == [  # type: ignore[union-attr]
        answer.label
        for text in ("kas", "lon mit", "per")
        for answer in Predictor(folder)([text])  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(export="another"), r"is of another export \(another, and this is a key\). Tune it again"),
        (lambda c: c.update(format=2), "has format 2; this release reads 1"),
        (lambda c: c.pop("session"), "is malformed"),
        (lambda c: c.update(runtime="tensorrt"), "is malformed"),
        (lambda c: c["session"].update(spinning="yes"), "spinning is 'yes'; it must be true or false"),
        (lambda c: c["session"].update(threads=0), "threads is 0; it must be a whole number of at least 1"),
        (lambda c: c["batching"].update(padding="most"), "padding is 'most'; it must be one of"),
        (lambda c: c.update(runtime="openvino", session={"threads": 1, "precision": "f32"}), "is for openvino"),
    ],
)
def test_what_is_no_such_file(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    path = folder / "runtime.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Predictor(folder)
