"""Every command says which installation it is."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(("command", "place"), sorted(PROJECT["scripts"].items()))
def test_version(command: str, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, name = place.partition(":")
    monkeypatch.setattr(sys, "argv", [command, "--version"])
    try:
        getattr(importlib.import_module(module), name)()
    except SystemExit as done:
        assert not done.code
    told = capsys.readouterr().out
    assert told.startswith(f"compress {PROJECT['version']} (Python ")
    assert "torch 2." in told and "hydra-core 1." in told
