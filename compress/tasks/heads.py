"""Models with a head: which recipe is for which, and how one is loaded, or an encoder given a new one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How the names of Transformers' classes end, and the recipe for what they do.
RECIPES: Mapping[str, str] = {
    "ForSequenceClassification": "text_classification",
    "ForTokenClassification": "token_classification",
    "ForImageClassification": "image_classification",
}
# What a configuration's problem_type says of the answers.
KINDS: Mapping[str, str] = {
    "multi_label_classification": "it gives an example any number of labels",
    "regression": "it gives an example a number, such as a score",
}


def load_with_head(loader: Any, folder: Path, recipe: str) -> PreTrainedModel:
    """The model of `folder`, all of it from there, in FP32 and evaluation mode. loader: the library's Auto class for
    the head. Raises InputError where the head is not there, is for another recipe, or weights are missing."""
    import torch

    require_head(folder, recipe)
    require_one_label(folder, recipe)
    model, loading = loader.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    missing = ", ".join(sorted(loading["missing_keys"])[:4])
    if any(key.startswith(f"{model.base_model_prefix}.") for key in loading["missing_keys"]):
        raise InputError(
            f"model.path is {folder}, whose weights are incomplete (missing: {missing}). Copy or save it again."
        )
    if missing:
        raise InputError(
            f"model.path is {folder}, which has no trained classification head (missing: {missing}). "
            "Fine-tune it first, or let this run do it: model=fine_tuned."
        )
    return model.eval()


def load_with_new_head(loader: Any, folder: Path, config: Any) -> PreTrainedModel:
    """A pretrained encoder with a head for `config`: its own where the labels are as many."""
    import torch

    model, loading = loader.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        # A head for another number of labels is made anew. Nothing else may be: see below.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    wrong = sorted(str(key[0]) for key in loading["mismatched_keys"])
    encoder = [name for name in wrong if name.startswith(f"{model.base_model_prefix}.")]
    if encoder:
        raise InputError(f"{folder}: the weight {encoder[0]} has another shape than config.json says. Copy it again.")
    return model


def require_head(folder: Path, recipe: str) -> None:
    """Raise InputError where the model of `folder`, by its configuration, has a head that another recipe than `recipe`
    is for. A model without a head, or with one that no recipe knows, is left to its loader."""
    architectures = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    found = {_recipe_of(str(name)): str(name) for name in architectures}
    others = {other: name for other, name in found.items() if other is not None}
    if others and recipe not in others:
        other, name = next(iter(others.items()))
        raise InputError(
            f"model.path is {folder}, a {name}: this model has a {_words(other)} head; use -cn {other}. "
            f"Or give one with a {_words(recipe)} head."
        )


def require_one_label(folder: Path, recipe: str) -> None:
    """Raise InputError where the answer of the model of `folder`, by its configuration, is not the label with the
    largest logit. Judged as if it were, a model that gives an example several labels, or a number, gets a score that
    means nothing."""
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    names = settings.get("id2label")
    count = len(names) if isinstance(names, Mapping) and names else settings.get("num_labels", 2)
    problem = settings.get("problem_type")
    if problem in (None, "single_label_classification") and count != 1:
        return
    where, kind = f"problem_type is {problem!r}", KINDS.get(str(problem), "nobody here knows such answers")
    if problem in (None, "single_label_classification"):
        where, kind = "num_labels is 1", KINDS["regression"]
    raise InputError(
        f"model.path is {folder}, in whose config.json {where}: {kind}, and {recipe} chooses one of two or more "
        "labels. Give a model that was trained for that, or let this run train your encoder to: model=fine_tuned."
    )


def _recipe_of(architecture: str) -> str | None:
    return next((recipe for end, recipe in RECIPES.items() if architecture.endswith(end)), None)


def _words(recipe: str) -> str:
    """`text_classification` is a text-classification head."""
    return recipe.replace("_", "-")
