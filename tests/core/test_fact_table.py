"""Tables of what a stage did: they survive a file, and what is none is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from compress.core.fact_table import FactTable

TABLE = FactTable.of(
    "kept",
    [("layer", "count"), ("part", "text"), ("share", "share"), ("ms", "milliseconds")],
    [(0, "heads", 0.5, None)],
)


def test_survives_a_file() -> None:
    assert FactTable.from_json(json.loads(json.dumps(TABLE.to_json()))) == TABLE
    assert TABLE.to_json() == {
        "title": "kept",
        "columns": [["layer", "count"], ["part", "text"], ["share", "share"], ["ms", "milliseconds"]],
        "rows": [[0, "heads", 0.5, None]],
    }


def test_a_column_that_nothing_fills_is_not_shown() -> None:
    assert TABLE.shown == FactTable.of(
        "kept", [("layer", "count"), ("part", "text"), ("share", "share")], [(0, "heads", 0.5)]
    )
    filled = FactTable.of("kept", [("layer", "count"), ("ms", "milliseconds")], [(0, None), (1, 0.5)])
    assert filled.shown == filled


@pytest.mark.parametrize(
    "change",
    [
        {"rows": [[0, "heads", 0.5]]},
        {"rows": [[0, ["heads"], 0.5, None]]},
        {"columns": [["layer", "count"], ["part", "text"], ["share", "share"], ["ms", "hours"]]},
        {"columns": [["layer"], ["part", "text"], ["share", "share"], ["ms", "milliseconds"]]},
    ],
)
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        FactTable.from_json({**TABLE.to_json(), **change})
