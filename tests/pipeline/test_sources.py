"""A file that changes has a part in the keys of what is computed by it, and in no other's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from compress.cli.config import build, compose_settings, settings_root
from compress.core.recipe import Recipe
from compress.pipeline import keys, sources
from compress.report.drawing import Drawing

METHODS = [(path.parent.name, path.stem) for path in sorted((settings_root() / "conf" / "stage").glob("*/*.yaml"))]
Change = Callable[[str], None]


@pytest.fixture
def change(monkeypatch: pytest.MonkeyPatch) -> Change:
    """`change(module)`: from now on its file reads otherwise."""

    def pretend(module: str) -> None:
        known = sources._known
        assert sources.file_of(module) is not None
        other = {module: ("other", known(module)[1])}
        monkeypatch.setattr(sources, "_known", lambda name: other.get(name) or known(name))

    return pretend


@pytest.fixture(scope="module")
def every_method(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A recipe with each method of conf/stage as a stage of its own."""
    stages = [f"+stage/{kind}@stages.{kind}_{method}={method}" for kind, method in METHODS]
    given = ["model.path=unread", "data.train=unread.jsonl", "device=cpu", *stages]
    return build(compose_settings("text_classification", given), "text_classification")


def keys_of(recipe: Recipe, model_type: str = "bert") -> dict[str, str]:
    """The key of what each method makes."""
    names = [f"{kind}_{method}" for kind, method in METHODS]
    return {name: keys.artifact_key(recipe, name, "p", "t", model_type, "f", "u") for name in names}


def changed_by(module: str, recipe: Recipe, change: Change) -> set[str]:
    """The methods that have another key once a module has changed."""
    before = keys_of(recipe)
    change(module)
    after = keys_of(recipe)
    return {name for name in before if before[name] != after[name]}


def modules_of(recipe: Recipe) -> dict[str, str]:
    """Where each method's class lies."""
    return {f"{kind}_{method}": type(recipe.stages[f"{kind}_{method}"]).__module__ for kind, method in METHODS}


@pytest.mark.parametrize(("kind", "method"), METHODS, ids=["/".join(method) for method in METHODS])
def test_a_method_that_is_edited_has_new_keys_and_no_other(
    every_method: Recipe, change: Change, kind: str, method: str
) -> None:
    modules = modules_of(every_method)
    edited = modules[f"{kind}_{method}"]
    assert changed_by(edited, every_method, change) == {name for name in modules if modules[name] == edited}


def test_a_new_file_changes_nothing_and_an_edited_one_does(
    every_method: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "compress"
    shutil.copytree(sources.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "ROOT", root)

    def now() -> tuple[dict[str, str], str]:
        sources._known.cache_clear()
        return keys_of(every_method), keys.teacher_key(every_method, {}, "bert", "f")

    before = now()
    for folder in ("methods/prune", "methods/training", "nn/families", "nn/ops", "tasks"):
        (root / folder / "added.py").write_text("FAMILIES: list = []\n", encoding="utf-8")
    assert now() == before
    edited = root / "methods" / "fuse" / "layers.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\n# Edited.\n", encoding="utf-8")
    after = now()
    assert {name for name, key in after[0].items() if key != before[0][name]} == {"fuse_layers"}
    sources._known.cache_clear()


@pytest.mark.parametrize(
    ("module", "by"),
    [
        # What only some are built on.
        ("compress.methods.importance.fisher", {"prune_budget", "prune_structured"}),
        ("compress.methods.layer_sizes", {"prune_budget"}),
        ("compress.methods.training.sensitivity", {"quantize_blocks", "quantize_dynamic", "quantize_static"}),
        # Another criterion, another task, a gate, a report, a runtime, a command, messages.
        ("compress.methods.importance.reconstruction", set()),
        ("compress.methods.importance.magnitude", set()),
        ("compress.methods.teachers.folder", set()),
        ("compress.nn.families.distilbert", set()),
        ("compress.core.gate", set()),
        ("compress.core.errors", set()),
        ("compress.report.page", set()),
        ("compress.runtimes.onnxruntime.runtime", set()),
        ("compress.measure.evaluate", set()),
    ],
)
def test_what_a_file_has_a_part_in(every_method: Recipe, change: Change, module: str, by: set[str]) -> None:
    assert changed_by(module, every_method, change) == by


@pytest.mark.parametrize("module", ["nn.checkpoint", "nn.family", "nn.families.bert", "tasks.text_classification"])
def test_what_everything_is_built_on(every_method: Recipe, change: Change, module: str) -> None:
    teacher = keys.teacher_key(every_method, {}, "bert", "f")
    assert changed_by(f"compress.{module}", every_method, change) == keys_of(every_method).keys()
    assert keys.teacher_key(every_method, {}, "bert", "f") != teacher


def test_a_table_counts_for_models_of_its_family(
    every_method: Recipe, change: Change, checkpoint: Path, tmp_path: Path
) -> None:
    before = keys_of(every_method), keys_of(every_method, "distilbert")
    change("compress.nn.families.distilbert")
    assert keys_of(every_method) == before[0]
    assert not set(keys_of(every_method, "distilbert").values()) & set(before[1].values())


def test_the_table_of_a_students_family_counts_for_distilling_it(every_method: Recipe, checkpoint: Path) -> None:
    given = {"student_path": str(checkpoint), "imitation": {"temperature": 2.0}}
    assert keys._model_types_in(given) == ["bert"]
    assert keys._model_types_in({"student_path": None, "imitation": {"other_path": ""}}) == []


def others(recipe: Recipe) -> dict[str, str]:
    """The keys of all that is no artifact."""
    summary = {"exported": {"stage": "prune"}, "gates": {"prune": {"max_accuracy_drop": 0.01}}, "metric": "accuracy"}
    return {
        "export": keys.export_key(recipe, "a"),
        "evaluation": keys.evaluation_key(recipe, "a", "b", "s", timed=True),
        "table": keys.latency_table_key(recipe, "t", [3], {}),
        "batches": keys.batches_key(recipe, "r", "p"),
        "plots": keys.plots_key(Drawing.of([], summary)),
        "blame": keys.blame_key(recipe, ["t", "b", "a"], "s", {"name": "quantize"}),
    }


@pytest.mark.parametrize(
    ("module", "by"),
    [
        ("compress.runtimes.onnxruntime.runtime", {"export", "evaluation", "table"}),
        ("compress.runtimes.onnx.export", {"export", "evaluation", "table"}),
        ("compress.measure.prove", {"export", "evaluation"}),
        ("compress.measure.worker", {"batches", "export", "evaluation", "table"}),
        ("compress.measure.latency", {"evaluation", "table"}),
        ("compress.measure.accuracy", {"batches", "evaluation"}),
        ("compress.measure.latency_table", {"table"}),
        ("compress.core.latency_table", {"table", "blame"}),
        # What a head reads decides whether a last layer of one position is timed.
        ("compress.nn.head", {"table"}),
        ("compress.nn.layers.fused_layer", {"batches", "export", "evaluation", "table", "blame"}),
        ("compress.tasks.text_classification", {"batches", "evaluation", "blame"}),
        ("compress.methods.quantize.int8", {"blame"}),
        ("compress.pipeline.blame.restore", {"blame"}),
        ("compress.report.plots", {"plots"}),
        ("compress.report.wording", {"plots"}),
        ("compress.runtimes.openvino.runtime", set()),
        ("compress.report.page", set()),
        ("compress.core.gate", set()),
        ("compress.methods.distill.layers", set()),
        ("compress.nn.families.bert", set()),
    ],
)
def test_what_exports_and_measurements_are_made_by(
    every_method: Recipe, change: Change, module: str, by: set[str]
) -> None:
    before = others(every_method)
    change(module)
    after = others(every_method)
    assert {name for name in before if before[name] != after[name]} == by


def test_all_that_python_imports_is_followed() -> None:
    """Whatever a method's module has imported once it is there, it is computed by; contracts apart."""
    module = "compress.methods.prune.budget"
    loaded = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('compress.')))"
    answer = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    imported = {name for name in answer.stdout.split() if not name.startswith("compress.core")}
    assert imported and imported <= sources.closure([module])


def test_what_only_a_type_checker_sees_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"""
from typing import TYPE_CHECKING
import compress.nn.family
from compress.nn import surgery
if TYPE_CHECKING:
    from compress.nn.fusion import fuse_layers
else:
    from compress.nn.ops import low_rank
def later():
    from compress.nn.ops.int8 import rounded
"""
    found = set(sources._imports(text))
    named = {"nn", "nn.family", "nn.surgery", "nn.ops", "nn.ops.low_rank", "nn.ops.int8"}
    assert found == {f"compress.{name}" for name in named}
