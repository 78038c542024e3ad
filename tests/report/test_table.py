"""The terminal's table: every line fits, values are rounded, nothing that is missing looks like a number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from rich.console import Console

from compress.core.blame import Blame
from compress.core.evaluation import PredictionPowered
from compress.core.ledger import Row
from compress.core.metric import ACCURACY
from compress.report.table import StageTable


def printed(rows: list[Row], width: int) -> list[str]:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        table = StageTable(console)
        table.header(ACCURACY)
        for row in rows:
            table.row(row)
    return capture.get().splitlines()


def words(lines: list[str], stage: str) -> str:
    return " ".join(next(line for line in lines if line.startswith(stage)).split())


def test_wide_lines_hold_every_column(rows: list[Row]) -> None:
    lines = printed(rows, 120)
    assert max(map(len, lines)) <= 120
    assert words(lines, "teacher") == "teacher 92.0% - 20.0 / 22.0 1.00 1.50 90.0 baseline"
    assert words(lines, "distill") == "distill 91.7% -0.3 [-0.8, +0.2] 10.0 / 11.0 2.00 [1.90, 2.10] 3.00 60.0 passed"
    assert words(lines, "prune_heads").endswith("55.0 failed, rolled back")
    assert words(lines, "prune_neurons").endswith("50.0 unproven")
    assert words(lines, "factorize") == "factorize - - - - - - error, rolled back"
    assert words(lines, "quantize") == "quantize 91.6% -0.4 [-0.9, +0.1] 2.94 / 3.30 6.80 [6.50, 7.10] 10.2 18.0 passed"


def test_reasons_follow_what_did_not_pass(rows: list[Row]) -> None:
    text = "\n".join(printed(rows, 120))
    assert "  rank 192 saves nothing" in text
    assert "2000 examples cannot tell" in text
    assert "limit 4.00" not in text


def test_advice_is_one_line_to_be_copied(rows: list[Row], blame: Blame) -> None:
    long = f"'stages.quantize.keep_float=[{','.join(['bert.encoder.layer.4.attention.self.key'] * 4)}]'"
    blame = dataclasses.replace(blame, advice=dataclasses.replace(blame.advice, overrides=(long,)))
    lines = printed([dataclasses.replace(rows[2], blame=blame)], 80)
    assert lines[lines.index("  to try:".ljust(80)) + 1] == f"    {long}"
    assert any(line.startswith("  Shown to be worse than the teacher") for line in lines)


def test_narrow_lines_keep_what_decides(rows: list[Row]) -> None:
    lines = printed(rows, 80)
    assert max(map(len, lines)) <= 80
    assert words(lines, "quantize") == "quantize 91.6% -0.4 [-0.9, +0.1] 2.94 6.80 18.0 passed"
    heads = next(index for index, line in enumerate(lines) if line.startswith("prune_heads"))
    assert lines[heads].split()[-1] == "failed,"
    assert lines[heads + 1].split() == ["rolled", "back"]


def test_markup_and_long_names_are_printed_as_they_are(rows: list[Row]) -> None:
    row = dataclasses.replace(rows[1], stage="[red]a_very_long_stage_name[/red]", value=math.nan)
    text = "".join(line[:15] for line in printed([row], 120)[-3:])
    assert "".join(text.split()) == "[red]a_very_long_stage_name[/red]"


@pytest.mark.parametrize(("index", "colour"), [(1, "32"), (2, "31"), (3, "33"), (4, "31")])
def test_verdicts_have_colours(rows: list[Row], index: int, colour: str) -> None:
    console = Console(width=120, force_terminal=True, color_system="standard", no_color=False)
    with console.capture() as capture:
        StageTable(console).row(rows[index])
    assert f"\x1b[{colour}m" in capture.get()


def test_a_stop_is_visible(rows: list[Row]) -> None:
    stopped = dataclasses.replace(rows[2], decision="stop")
    assert words(printed([stopped], 120), "prune_heads").endswith("failed, stopped")
    undecided = dataclasses.replace(rows[3], decision="roll_back")
    assert words(printed([undecided], 120), "prune_neurons").endswith("unproven, rolled back")


def test_further_figures_follow_a_row(make_row: Callable[..., Row]) -> None:
    row = make_row("distill", "passed", "keep", value=0.9, figures={"f1_macro": 0.5, "matthews_correlation": math.nan})
    assert "  macro F1 0.500, Matthews' correlation -" in [line.rstrip() for line in printed([row], 120)]


def test_a_warning_about_the_teacher_follows_its_row(make_row: Callable[..., Row]) -> None:
    row = make_row("teacher", "baseline", "keep", value=0.5, findings=("warning: the teacher is a guess",))
    assert "  warning: the teacher is a guess" in [line.rstrip() for line in printed([row], 120)]


def test_both_intervals_and_what_the_texts_are_worth_are_told(rows: list[Row]) -> None:
    found = PredictionPowered(12000, 500, None, 0.7, (0.5, 0.4), -0.004, (-0.019, 0.011), 640)
    text = " ".join(" ".join(printed([dataclasses.replace(rows[1], prediction_powered=found)], 120)).split())
    assert "-0.3 [-0.8, +0.2]" in text
    assert "the 500 labels alone: -0.4 [-1.9, +1.1] points; 12,000 texts without labels make them worth 640" in text
