"""The forms that a run is asked for: refused before any work, written beside the export, replaced by the next run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compress
from compress.core.errors import InputError
from compress.core.manifest import require_undamaged
from compress.core.recipe import Recipe
from compress.deploy.forms.known import known_forms
from compress.deploy.forms.of_run import require_forms


@pytest.fixture
def asked(checkpoint: Path, examples: Path, tmp_path: Path) -> Callable[..., Recipe]:
    def recipe(name: str, *overrides: str) -> Recipe:
        return compress.recipe(
            name,
            f"model.path={checkpoint}",
            f"data.train={examples}",
            "data.max_length=16",
            f"store={tmp_path / 'store'}",
            "order=[fuse]",
            "device=cpu",
            "runtime.threads=1",
            "measurement.launches=1",
            "measurement.rounds=1",
            *overrides,
        )

    return recipe


def test_a_run_writes_them_and_the_next_one_replaces_them(
    asked: Callable[..., Recipe], tmp_path: Path, in_this_process: None
) -> None:
    result = compress.run(asked("text_classification", "export.forms=[torch_export]"), tmp_path / "run")
    form = result.folder / "forms" / "torch_export"
    require_undamaged(form)
    assert (form / "model.pt2").is_file() and "compress-export --to torch_export" in (form / "README.md").read_text()
    # Models are found, whatever forms are asked for; what the last run was not asked for does not stay.
    again = compress.run(asked("text_classification"), tmp_path / "run")
    assert all(row.reused for row in again.rows) and not (again.folder / "forms").exists()


@pytest.mark.parametrize(
    ("forms", "message"),
    [
        ("[onxx]", r"export\.forms is 'onxx'; forms are .*"),
        ("[torch_exporter]", r"Did you mean 'torch_export'\?"),
        ("torch_export", r"export\.forms is 'torch_export'; it must be a list of forms"),
        ("[torch_export,torch_export]", r"which has torch_export twice\. Name it once\."),
        ("[1]", r"it must be a list of forms"),
    ],
)
def test_what_is_no_form_is_refused_with_the_recipe(asked: Callable[..., Recipe], forms: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked("text_classification", f"export.forms={forms}")


def test_other_settings_of_the_group_are_refused(asked: Callable[..., Recipe]) -> None:
    with pytest.raises(InputError, match=r"it has two settings, export\.forms and export\.vectors"):
        asked("text_classification", "+export.form=[torch_export]")


def test_what_cannot_carry_the_task_is_refused() -> None:
    carry = " or ".join(name for name, kind in known_forms().items() if kind.decodes)
    with pytest.raises(InputError, match=rf"export\.forms has torch_export, .* goes on with a text\. Use {carry}\."):
        require_forms(["torch_export"], decodes=True)
    assert require_forms(["torch_export"], decodes=False) == ("torch_export",)


def test_one_that_fails_leaves_the_others(asked: Callable[..., Recipe], tmp_path: Path, in_this_process: None) -> None:
    recipe = asked("text_classification", "export.forms=[transformers,torch_export]")
    with pytest.raises(InputError, match=r"^export\.forms: transformers: .* no plain loader knows fused"):
        compress.run(recipe, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "forms").iterdir()] == ["torch_export"]
    assert (tmp_path / "run" / "export" / "model.onnx").is_file()
