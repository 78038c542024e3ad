"""Which settings differ, by which name, and in which groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compress.report.sweep.factors import factors_of
from compress.report.sweep.runs import Run, find_runs

from .conftest import MakeRun


def made(make_run: MakeRun, tmp_path: Path, settings: list[dict[str, Any]], typed: tuple[str, ...] = ()) -> list[Run]:
    for number, own in enumerate(settings):
        make_run(str(number), [], settings=own, overrides=typed)
    return find_runs([tmp_path])


def test_settings_that_differ_broken_runs_included(runs: list[Run]) -> None:
    heads, scheme = factors_of(runs)
    assert (heads.name, heads.short, heads.choices) == ("stages.prune.heads", "heads", ("0.25", "0.5", "0.75"))
    assert heads.values == ("0.75", "0.75", "0.5", "0.5", "0.25", "0.25")
    assert (scheme.short, scheme.choices, scheme.together) == ("scheme", ("dynamic", "static"), ())


def test_what_changes_in_step_is_one_factor_named_as_it_was_typed(make_run: MakeRun, tmp_path: Path) -> None:
    settings = [
        {"a": {"limit": drop}, "objective": {"max_accuracy_drop": drop}, "store": f"/{number}"}
        for number, drop in enumerate((0.01, 0.02, 0.02))
    ]
    found = factors_of(made(make_run, tmp_path, settings, ("objective.max_accuracy_drop=0.01",)))
    assert [(factor.name, factor.together) for factor in found] == [("objective.max_accuracy_drop", ("a.limit",))]


def test_a_method_is_named_by_its_file(make_run: MakeRun, tmp_path: Path) -> None:
    stages = [
        {"_target_": "compress.methods.prune.budget.PruneToBudget", "scope": "layer"},
        {"_target_": "compress.methods.prune.structured.PruneStructured", "heads": 0.5},
    ]
    typed = ("stage/prune@stages.prune=structured",)
    found = factors_of(made(make_run, tmp_path, [{"stages": {"prune": stage}} for stage in stages], typed))
    assert [(factor.name, factor.values) for factor in found] == [("stages.prune", ("budget", "structured"))]
    assert found[0].together == ("stages.prune.scope", "stages.prune.heads")


def test_names_end_where_they_differ(make_run: MakeRun, tmp_path: Path) -> None:
    settings = [{"a": {"epochs": one}, "b": {"epochs": other}} for one, other in ((1, 1), (1, 2), (2, 1))]
    assert [factor.short for factor in factors_of(made(make_run, tmp_path, settings))] == ["a.epochs", "b.epochs"]


def test_many_numbers_are_grouped_in_thirds(make_run: MakeRun, tmp_path: Path) -> None:
    found = factors_of(made(make_run, tmp_path, [{"rate": rate} for rate in (0.1, 0.6, 0.2, 0.5, 0.3, 0.4)]))
    assert found[0].choices == ("0.1 to 0.2", "0.3 to 0.4", "0.5 to 0.6")
    assert found[0].levels[:2] == ("0.1 to 0.2", "0.5 to 0.6")
    assert found[0].values[:2] == ("0.1", "0.6")


def test_runs_alike_have_none(make_run: MakeRun, tmp_path: Path) -> None:
    assert factors_of(made(make_run, tmp_path, [{"seed": 0}, {"seed": 0}])) == []
