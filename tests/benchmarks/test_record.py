"""What a file of results says of how it was made."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.record import RESULTS, command_of


def test_a_command_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/mine.py", "--work", "/home/me/forms", "--times", "3"])
    assert command_of("mine") == "python -m benchmarks.mine --work DIR --times 3"


def test_no_results_do() -> None:
    commands = {
        path.name: json.loads(path.read_text(encoding="utf-8")).get("command", "") for path in RESULTS.glob("*.json")
    }
    assert commands and [name for name, typed in commands.items() if " /" in typed] == []
