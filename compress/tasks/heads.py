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

# How the names of Transformers' classes end, and the recipes for what they do; the first where nothing says which.
RECIPES: Mapping[str, tuple[str, ...]] = {
    "ForSequenceClassification": ("text_classification", "multi_label_classification", "regression", "reranker"),
    "ForTokenClassification": ("token_classification",),
    "ForImageClassification": ("image_classification",),
    "ForCausalLM": ("causal_lm",),
}
# What models answer an example with.
KINDS: Mapping[str, str] = {
    "label": "it gives an example one of its labels",
    "labels": "it gives an example any number of labels",
    "number": "it gives an example a number, such as a score",
    "numbers": "it gives an example several numbers",
    "": "nobody here knows such answers",
}
# Which of these each recipe is for, and what it does with it.
ANSWERS: Mapping[str, tuple[str, str]] = {
    "text_classification": ("label", "chooses one of two or more labels"),
    "token_classification": ("label", "chooses one of two or more labels"),
    "image_classification": ("label", "chooses one of two or more labels"),
    "causal_lm": ("label", "chooses the next token"),
    "multi_label_classification": ("labels", "judges each of two or more labels by itself"),
    "regression": ("number", "reads one number"),
    "reranker": ("number", "reads one number"),
}
SAY_SO = (
    ' Where each of its labels was learned by itself, say so in its config.json: "problem_type": '
    '"multi_label_classification".'
)
SINGLE = (None, "single_label_classification")
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
    require_answers(folder, recipe)
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
    found = [(other, str(name)) for name in architectures for other in _recipes_of(str(name))]
    if found and recipe not in {other for other, _ in found}:
        other, name = found[0]
        raise InputError(
            f"model.path is {folder}, a {name}: this model has a {_words(other)} head; use -cn {other}. "
            f"Or give one with a {_words(recipe)} head."
        )


def require_answers(folder: Path, recipe: str) -> None:
    """Raise InputError where the model of `folder`, by its configuration, answers an example with something else than
    `recipe` is for: one label, several, or a number. Judged as if it did, it gets a score that means nothing."""
    settings = read_json(folder / "config.json", way_out="Save the model again.")
    names, problem = settings.get("id2label"), settings.get("problem_type")
    count = len(names) if isinstance(names, Mapping) and names else settings.get("num_labels", 2)
    kind, (wanted, does) = _kind(problem, count), ANSWERS[recipe]
    if kind == wanted:
        return
    where = f"problem_type is {problem!r}"
    if problem in SINGLE and kind == "number":
        where = "num_labels is 1"
    others = [other for other in _same_head(settings, recipe) if ANSWERS[other][0] == kind]
    unsaid = (wanted, kind, problem) == ("labels", "label", None)
    use = f"use -cn {' or -cn '.join(others)} for this one, or " if others else ""
    raise InputError(
        f"model.path is {folder}, in whose config.json {where}: {KINDS[kind]}, and {recipe} {does}. Give a model that "
        f"was trained for that, {use}let this run train your encoder to: model=fine_tuned.{SAY_SO * unsaid}"
    )


def _kind(problem: Any, count: Any) -> str:
    """What a model answers with, of KINDS, by its configuration's problem_type and number of outputs."""
    known = {**dict.fromkeys(SINGLE, "label"), "multi_label_classification": "labels", "regression": "numbers"}
    kind = known.get(problem, "")
    return "number" if kind and count == 1 else kind


def _same_head(settings: Mapping[str, Any], recipe: str) -> tuple[str, ...]:
    """The recipes for models with the head that a configuration names, or else with that of `recipe`."""
    named = [recipes for name in settings.get("architectures") or [] if (recipes := _recipes_of(str(name)))]
    return named[0] if named else next(recipes for recipes in RECIPES.values() if recipe in recipes)


def _recipes_of(architecture: str) -> tuple[str, ...]:
    return next((recipes for end, recipes in RECIPES.items() if architecture.endswith(end)), ())


def _words(recipe: str) -> str:
    """`text_classification` is a text-classification head."""
    return recipe.replace("_", "-")
