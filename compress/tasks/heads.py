"""Models with a head: which recipe is for which, and how one is loaded, or an encoder given a new one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.errors import InputError
from compress.core.json_file import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# How the names of Transformers' classes end, and the recipe for what they do.
RECIPES: Mapping[str, str] = {
    "ForSequenceClassification": "text_classification",
    "ForTokenClassification": "token_classification",
    "ForImageClassification": "image_classification",
    "ForCausalLM": "causal_lm",
}
# What a configuration's problem_type says of the answers.
KINDS: Mapping[str, str] = {
    "multi_label_classification": "it gives an example any number of labels",
    "regression": "it gives an example a number, such as a score",
}
# What releases have stored besides weights, and the pooler of a model whose head reads every position.
UNREAD = re.compile(r"(^|\.)(position_ids|token_type_ids|inv_freq|masked_bias)$|(^|\.)pooler\.")
# Heads for pretraining and other tasks: a model may still carry them, and its own head does not read them.
OTHER_HEADS = re.compile(
    r"(cls|lm_head|qa_outputs|mlm_head|vocab_transform|vocab_layer_norm|vocab_projector|generator_predictions|"
    r"generator_lm_head|discriminator_predictions)\."
)


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
    _require_own_class(folder, model)
    require_all_read(folder, [name for name in loading["unexpected_keys"] if not OTHER_HEADS.match(name)])
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
    inside = {model.base_model_prefix, *(name for name, _ in model.base_model.named_children())}
    require_all_read(folder, [name for name in loading["unexpected_keys"] if name.split(".")[0] in inside])
    absent = sorted(
        name
        for name in loading["missing_keys"]
        # A pooler is part of the head that is learned here.
        if name.startswith(f"{model.base_model_prefix}.") and ".pooler." not in name
    )
    if absent:
        raise InputError(f"{folder}: the encoder's weights are incomplete (missing: {_few(absent)}). Copy it again.")
    return model


def _require_own_class(folder: Path, model: PreTrainedModel) -> None:
    """Raise InputError where the configuration names another class than the one that is loaded."""
    named = list(model.config.architectures or [])
    if named and type(model).__name__ not in named:
        raise InputError(
            f"model.path is {folder}, whose config.json names {' and '.join(named)}; this recipe would load it as a "
            f"{type(model).__name__}, which computes something else. Save it as one first."
        )


def require_all_read(folder: Path, unexpected: Iterable[str]) -> None:
    """Raise InputError where weights are stored that the model of the configuration has no place for."""
    dropped = sorted(name for name in unexpected if not UNREAD.search(name))
    if dropped:
        raise InputError(
            f"{folder} holds weights that a model of its config.json does not have ({_few(dropped)}): it would compute "
            "something else than the model that was saved. Mend config.json (its number of layers, for example), or "
            "save the model again."
        )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def require_head(folder: Path, recipe: str) -> None:
    """Raise InputError where the model of `folder`, by its configuration, has a head that another recipe than `recipe`
    is for. A model without a head, or with one that no recipe knows, is left to its loader."""
    architectures = read_json(folder / "config.json", way_out="Save the model again.").get("architectures") or []
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
    settings = read_json(folder / "config.json", way_out="Save the model again.")
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
