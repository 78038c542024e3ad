from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compress.core.errors import InputError
from compress.pipeline.run_folder import check_folders, forget_earlier_run, only_run_in


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    """A recipe whose teacher lies in `model`, and whose store is `store`."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    return recipe_of(model, tmp_path / "store")


def recipe_of(model: Path, store: Path) -> Any:
    def files() -> list[Path]:
        return [path for path in model.rglob("*") if path.is_file()]

    return SimpleNamespace(teacher=SimpleNamespace(files=files), store=store)


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["report.html"], "replace report.html, which no run wrote"),
        (["summary.json", "export/notes.txt"], "replace export and summary.json, which no run wrote"),
        (["ledger.jsonl", "summary.json", "export/notes.txt"], "replace export, which no run wrote"),
        (["ledger.jsonl", "report.html", "summary.json"], None),
        (["ledger.jsonl", "export/manifest.json"], None),
        (["notes.txt"], None),
    ],
)
def test_only_what_a_run_wrote_is_replaced(recipe: Any, tmp_path: Path, names: list[str], told: str | None) -> None:
    folder = write(tmp_path / "run", *names)
    if told is None:
        check_folders(recipe, folder)
    else:
        with pytest.raises(InputError, match=told):
            check_folders(recipe, folder)
    assert all((folder / name).read_text(encoding="utf-8") == "mine" for name in names)


def test_no_run_writes_among_the_teachers_files(recipe: Any, tmp_path: Path) -> None:
    model = tmp_path / "model"
    with pytest.raises(InputError, match=r"hydra.run.dir is .*model, the folder that holds the teacher"):
        check_folders(recipe, model)
    with pytest.raises(InputError, match=r"store is .*model, the folder that holds the teacher"):
        check_folders(recipe_of(model, model), tmp_path / "run")
    # Whoever works in the model's folder has runs and store below it, and files of theirs from then on.
    write(model / "outputs" / "run", "ledger.jsonl")
    check_folders(recipe_of(model, model / "outputs" / "store"), model / "outputs" / "run")


def test_an_earlier_export_that_is_the_teacher_is_not_replaced(tmp_path: Path) -> None:
    run = write(tmp_path / "run", "ledger.jsonl", "export/manifest.json", "export/config.json")
    recipe = recipe_of(run / "export", tmp_path / "store")
    with pytest.raises(InputError, match="a run there would replace the teacher"):
        check_folders(recipe, run)
    check_folders(recipe, tmp_path / "next")


def test_what_an_earlier_run_left_goes(tmp_path: Path) -> None:
    run = write(tmp_path / "run", "ledger.jsonl", "summary.json", "report.html", "export/manifest.json", "notes.txt")
    forget_earlier_run(run)
    assert sorted(path.name for path in run.iterdir()) == ["ledger.jsonl", "notes.txt"]


@pytest.mark.parametrize("fill", [lambda folder: None, lambda folder: write(folder, "ledger.jsonl")])
def test_a_folder_is_one_runs_at_a_time(tmp_path: Path, fill: Callable[[Path], Any]) -> None:
    folder = tmp_path / "run"
    with only_run_in(folder):
        with pytest.raises(InputError, match="in use by a run that is still alive"), only_run_in(folder):
            pass
        fill(folder)
    assert folder.exists() == (folder / "ledger.jsonl").exists()
