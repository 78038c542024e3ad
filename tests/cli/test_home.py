"""`~` is the home folder wherever a path is given."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import compress
from compress.cli.config import at_home
from compress.cli.hydra_errors import quoted


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def test_on_the_command_line(tmp_path: Path) -> None:
    given = ["model.path=~/teacher", "hydra.run.dir=~/a/run", "--config-dir=~/mine", "store='~/s t'", "data.label=~"]
    place = str(tmp_path)
    told = [f"model.path={place}/teacher", f"hydra.run.dir={place}/a/run", f"--config-dir={place}/mine"]
    assert quoted(given) == [*told, f"store='{place}/s t'", f"data.label={place}"]


@pytest.mark.parametrize("left", ["~stages.prune", "+a=b~c", "a=[1,2]", "-m", "a="])
def test_what_names_no_folder_is_left(left: str) -> None:
    assert quoted([left]) == [left]
    assert at_home("~nobody-is-called-so") == "~nobody-is-called-so"


def test_in_a_recipe(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    assert checkpoint.parent == examples.parent == tmp_path
    recipe = compress.recipe(
        "text_classification",
        *(f'model.path="~/{checkpoint.name}"', f'data.train="~/{examples.name}"', 'store="~/store"'),
        'student.path="~/student"',
    )
    assert recipe.teacher.files() and recipe.data.files() == [examples]
    assert recipe.store == tmp_path / "store"
    assert recipe.settings["stages"]["distill"]["student_path"] == str(tmp_path / "student")


@pytest.mark.parametrize("name", ["export", "label", "place", "report", "tune"])
def test_in_the_arguments_of_every_other_command(name: str, tmp_path: Path) -> None:
    actions = import_module(f"compress.cli.commands.{name}")._parser()._actions
    taken = [
        action.type for action in actions if action.metavar in ("DIR", "FILE", "FOLDER", "DATA", "MODEL", "EXPORT")
    ]
    assert taken and all(kind("~/a") == tmp_path / "a" for kind in taken)
    assert not any(action.type is Path for action in actions)
