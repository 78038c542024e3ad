"""What is printed is text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.table import Table

import compress
from compress.report.terminal import terminal


def test_brackets_and_colons_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "out[/b]x [red]y[/red] :smile: [link=http://e]z[/link]"
    console = terminal()
    console.print(f"exported to {hostile}", soft_wrap=True)
    table = Table()
    table.add_column(hostile)
    table.add_row(hostile)
    console.print(table)
    assert capsys.readouterr().out.count(hostile) == 3


def test_nothing_prints_past_it() -> None:
    """Whoever makes a console of their own would have to think of markup again."""
    root = Path(compress.__file__).parent
    own = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Console"
    ]
    assert own == ["report/terminal.py"]
