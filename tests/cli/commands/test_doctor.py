"""The command as a user types it, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from compress.cli.commands.doctor import main


def _type(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["compress-doctor", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def test_facts_and_findings_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    store = tmp_path / "taken"
    store.write_text("no folder", encoding="utf-8")
    status = _type(monkeypatch, "--json", "--store", str(store))
    told = json.loads(capfd.readouterr().out)
    noise, findings = told["facts"]["noise"], told["findings"]
    low, high = noise["interval"]
    assert 0 < low <= noise["ratio"] <= high
    assert noise["milliseconds"] > 0 and noise["drift"] > 0
    assert {"torch", "onnxruntime"} <= {need["package"] for need in told["facts"]["requirements"]}
    # A file stands where the store should be.
    assert status == 1
    [wrong] = [one for one in findings if one["severity"] == "wrong" and one["what"].startswith("store")]
    assert str(store) in wrong["what"] and "store=DIR" in wrong["way_out"]
    assert store.read_text(encoding="utf-8") == "no folder"


def test_a_typo_is_refused(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    assert _type(monkeypatch, "--jsno") == 2
    assert "--jsno" in capfd.readouterr().err
