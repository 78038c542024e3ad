"""Make a fine-tuned Hugging Face model fast and small on a CPU, with evidence.

recipe = compress.recipe("text_classification", "model.path=DIR", "data.train=train.jsonl", ...)
result = compress.run(recipe, "OUT")
model = compress.load("OUT/export")
evaluation = compress.evaluate("OUT/export", "test.jsonl")
answers = compress.Predictor("OUT/export")(["a text"])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# torch takes seconds to import; nothing here does so before it is needed.
if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from compress.core.evaluation import Evaluation
    from compress.core.recipe import Recipe
    from compress.deploy.predictor import Predictor
    from compress.pipeline.spine import RunResult

__all__ = ["Predictor", "evaluate", "load", "recipe", "run"]


def __getattr__(name: str) -> Any:
    """`Predictor`, imported when it is first asked for."""
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from compress.deploy.predictor import Predictor

    return Predictor


def recipe(name: str, *overrides: str, folder: str | Path | None = None) -> Recipe:
    """A recipe by name with settings changed, written as on the command line. folder: a recipe folder of your own."""
    from compress.cli.config import build, compose_settings

    return build(compose_settings(name, overrides, None if folder is None else Path(folder).expanduser()), name)


def run(recipe: Recipe, folder: str | Path) -> RunResult:
    """Run a recipe; `folder` receives what a run folder holds. Raises CompressError where the command would fail."""
    from compress.deploy.forms.of_run import write_forms
    from compress.pipeline.spine import run

    result = run(recipe, Path(folder).expanduser(), command="compress.run(...)")
    write_forms(result.folder, recipe.forms)
    return result


def load(folder: str | Path, *, verify: bool = True) -> PreTrainedModel:
    """The torch model of an artifact or export: rebuilt from its structure, loaded strictly, FP32, evaluation mode.

    verify: whether the folder's files are compared with its manifest first, where there is one: a single bit that has
    changed is another model. Without a manifest, sizes and shapes are all that can be compared. Raises InputError where
    the folder is damaged, or is no model.
    """
    from compress.nn.checkpoint import load_model

    return load_model(Path(folder).expanduser(), verify=verify)


def evaluate(folder: str | Path, data: str | Path, *, threads: int | None = None, **columns: str) -> Evaluation:
    """Scores and latency of an exported folder on a file of labelled examples, or a folder of images with a folder for
    each class, measured in a process of its own, on the runtime that the export was made for.

    columns: the task's own, such as `text` and `label`, where they differ from the run's. threads: all cores of this
    process where None.
    Raises InputError where the folder or the data cannot be used.
    """
    from compress.pipeline.evaluate_folder import evaluate_folder

    return evaluate_folder(Path(folder).expanduser(), Path(data).expanduser(), threads=threads, columns=columns)
