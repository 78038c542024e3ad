"""Everything that can be known to go wrong before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from compress.core.checks import nearest
from compress.core.errors import InputError, TooLittleError
from compress.core.recipe import Recipe
from compress.core.signature import Signature
from compress.core.structure import Structure
from compress.measure.environment import allowed_cpus
from compress.nn.structure import structure_of

# What the kinds of layer mean to a stage: see Stage.leaves and Stage.refuses.
MEANING = {
    "low_rank": frozenset({"low_rank"}),
    "low_rank_embedding": frozenset({"low_rank_embedding"}),
    "masked_linear": frozenset({"sparse"}),
    "fused_layer": frozenset({"fused"}),
    "fused_embeddings": frozenset({"fused"}),
    "int8_dynamic_linear": frozenset({"int8", "int8_dynamic"}),
    "int8_static_linear": frozenset({"int8", "int8_static"}),
    "int8_embedding": frozenset({"int8"}),
    "int4_embedding": frozenset({"int8"}),
    **dict.fromkeys(
        ("int8_block_linear", "int8_block_embedding", "tied_int8_block_head"), frozenset({"int8", "int8_blocks"})
    ),
    "int4_block_linear": frozenset({"int8", "int8_blocks", "int4_blocks"}),
    # Every stage takes a layer as it is, with or without one of its blocks.
    "no_attention": frozenset(),
    "nothing": frozenset(),
}


def check_order(recipe: Recipe) -> None:
    """Raise InputError for stages that do not exist, and for an order that would destroy earlier work."""
    if not recipe.order:
        raise InputError("order is empty; it must name at least one stage. Use order=[quantize], for example.")
    for name in recipe.order:
        if name not in recipe.stages:
            raise InputError(
                f"order names {name!r}, which is no stage (stages: {', '.join(recipe.stages)}). "
                f"{nearest(name, recipe.stages)}".rstrip()
            )
        if name not in recipe.gates:
            raise InputError(
                f"gates has no {name!r}; every stage in order needs a gate. Let compress.recipe make the recipe: it "
                "gives a stage without one the recipe's own."
            )
    left: dict[str, str] = {}
    for name in recipe.order:
        _require_accepted(recipe, name, left)
        left |= dict.fromkeys(recipe.stages[name].leaves, name)
    _require_table(recipe)
    _require_same_tokens(recipe)
    _require_runnable(recipe, left)
    twice = [name for name in recipe.order if recipe.order.count(name) > 1]
    if twice:
        raise InputError(
            f"{_order(recipe)} names {twice[0]} twice; each may stand there once. Give the second one a name and a "
            f"gate of its own in your recipe, such as stages.{twice[0]}_again and gates.{twice[0]}_again."
        )


def _require_table(recipe: Recipe) -> None:
    """Raise InputError where a stage reads the latency table and what it predicts would not be what is measured."""
    for position, name in enumerate(recipe.order):
        if not recipe.stages[name].uses_latency:
            continue
        if not recipe.runtime.has_latency_table:
            raise InputError(
                f"stages.{name} chooses sizes by the latency they would have, and runtime={recipe.runtime.name} has no "
                "latency table. Use runtime=onnxruntime, or give sizes: stage/prune@stages.prune=structured and "
                "stages.distill.layers=3."
            )
        fused = any("fused" in recipe.stages[later].leaves for later in recipe.order[position:])
        if not fused and not recipe.task.decodes:
            raise InputError(
                f"{_order(recipe)} has no fuse after {name}, which chooses sizes by the latency of fused layers. Add "
                "fuse before quantize, or give sizes: stage/prune@stages.prune=structured and stages.distill.layers=3."
            )


def _require_same_tokens(recipe: Recipe) -> None:
    """Raise InputError where a model that writes other tokens than its teacher would learn from it: the probabilities
    of their next tokens are of different things."""
    if not recipe.task.decodes:
        return
    for position, name in enumerate(recipe.order):
        learning = [later for later in recipe.order[position + 1 :] if recipe.stages[later].training(1) is not None]
        if recipe.stages[name].changes_processor and learning:
            raise InputError(
                f"{_order(recipe)} puts {learning[0]} after {name}: it learns from the teacher, which writes other "
                f"tokens than a model has left after {name}. Put {name} after it, or set "
                f"stages.{learning[0]}.recovery_epochs=0 where it has that."
            )


def check_files(recipe: Recipe) -> None:
    """Let data and teacher say whether the files are there, without reading what is in them."""
    recipe.data.check_files()
    recipe.teacher.check_files()


def check_threads(recipe: Recipe) -> None:
    """Raise InputError for more threads than there are processors: they would wait for each other."""
    available = len(allowed_cpus())
    if recipe.runtime.threads > available:
        raise InputError(
            f"runtime.threads is {recipe.runtime.threads}; this process may use {available} processors, and more "
            f"threads would wait for each other. Use {available} or fewer."
        )


def check_model(recipe: Recipe, folder: Path, teacher: PreTrainedModel, processor: Any) -> None:
    """Raise InputError for what does not fit a teacher of this shape, or does not fit on the disk."""
    check_teacher(recipe, structure_of(teacher))
    check_settings(recipe, teacher)
    check_processor(recipe, processor)
    tensors = teacher.state_dict().values()
    check_space(recipe, folder, sum(tensor.numel() * tensor.element_size() for tensor in tensors))


def check_decoding(recipe: Recipe, signature: Signature) -> None:
    """Raise InputError where a model is to go on with a text, and the runtime cannot. signature: the models'."""
    if signature.decoding is not None and not recipe.runtime.decodes:
        raise InputError(
            f"runtime is {recipe.runtime.name}, which does not yet go on with a text from what it has read. Use "
            "runtime=onnxruntime."
        )
    if signature.decoding is not None and recipe.objective.at_once > 1:
        raise InputError(
            f"objective.workload is {recipe.objective.workload}; what goes on with a text is timed one request at a "
            "time. Use objective.workload=one, and say with workload.prompt_tokens and workload.new_tokens "
            "what a request is."
        )


def check_teacher(recipe: Recipe, structure: Structure) -> None:
    """Raise InputError where a stage cannot be applied to a teacher of this structure."""
    words = frozenset().union(*(MEANING[kind] for kind in structure.kinds() if kind in MEANING))
    left = dict.fromkeys(words, "the teacher")
    for name in recipe.order:
        _require_accepted(recipe, name, left)
    _require_runnable(recipe, left)


def check_settings(recipe: Recipe, teacher: PreTrainedModel) -> None:
    """Let every stage look at the shapes of the model it will be given, and of the teacher, and say whether its
    settings fit. Raises InputError also where what it makes would read other inputs than the examples have."""
    model = teacher
    for name in recipe.order:
        recipe.stages[name].check(model)
        try:
            recipe.stages[name].check_teacher(teacher)
        except InputError as error:
            raise InputError(f"stages.{name}.{error}") from None
        model = recipe.stages[name].foresee(model)
        _require_same_inputs(recipe, model, teacher)


def foreseen(recipe: Recipe, teacher: PreTrainedModel) -> Iterator[tuple[str, PreTrainedModel]]:
    """Each stage's name, and a model of the shape it will be given, as far as the stages before it can say."""
    model = teacher
    for name in recipe.order:
        yield name, model
        model = recipe.stages[name].foresee(model)


def check_timed(recipe: Recipe, rows: int) -> None:
    """Raise InputError where the examples that are timed do not fill one batch. rows: of the validation split."""
    at_once = recipe.objective.at_once
    if rows < at_once:
        raise TooLittleError(
            f"objective.workload is {recipe.objective.workload}, which times {at_once} examples at once, and the "
            f"validation split has {rows}. Give more, or use objective.workload=one."
        )


def check_examples(recipe: Recipe, teacher: PreTrainedModel, lengths: Sequence[int]) -> None:
    """Let every stage say whether the training examples are enough. lengths: each one's tokens."""
    for name in recipe.order:
        recipe.stages[name].check_examples(teacher, lengths, recipe.seed)


def check_groups(groups: Sequence[int]) -> None:
    """Raise InputError where nothing could be judged. groups: each validation example's."""
    if len(groups) > 1 and len(set(groups)) == 1:
        raise InputError(
            f"data.group puts all {len(groups)} validation examples into one group, and how much groups differ cannot "
            "be seen in one. Give data.validation more groups, split more of them off (data.validation_share), or use "
            "null for no groups."
        )


def check_processor(recipe: Recipe, processor: Any) -> None:
    """Let every stage that reads or changes the processor say whether it can."""
    for name in recipe.order:
        recipe.stages[name].check_processor(recipe.task, processor)


def check_space(recipe: Recipe, folder: Path, teacher_bytes: int) -> None:
    """Raise InputError where the disk cannot hold what the run will write."""
    # Per stage: an artifact, its export, and a checkpoint with the optimizer's two moments while it trains.
    needed = teacher_bytes * (2 * len(recipe.order) + 4)
    for setting, place in (("store", recipe.store), ("hydra.run.dir", folder)):
        if setting == "store" and place.is_dir() and not os.access(place, os.W_OK):
            # What is in it can be used; nothing will be written.
            continue
        existing = next(parent for parent in (place.resolve(), *place.resolve().parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        if free < needed:
            raise InputError(
                f"{setting} is {place}, on a disk with {free / 1e9:.2f} GB free; the run needs about "
                f"{needed / 1e9:.2f} GB, {(needed - free) / 1e9:.2f} GB more. Free some, or name another folder."
            )


def _require_accepted(recipe: Recipe, name: str, left: dict[str, str]) -> None:
    for word, reason in recipe.stages[name].refuses.items():
        if word in left:
            raise InputError(f"{_order(recipe)} puts {name} after {left[word]}: {reason}.")


def _require_runnable(recipe: Recipe, left: dict[str, str]) -> None:
    for word, reason in recipe.runtime.refuses.items():
        if word in left:
            raise InputError(f"runtime is {recipe.runtime.name}, which is to run what {left[word]} makes: {reason}.")


def _order(recipe: Recipe) -> str:
    return f"order=[{','.join(recipe.order)}]"


def _require_same_inputs(recipe: Recipe, model: PreTrainedModel, teacher: PreTrainedModel) -> None:
    """Raise InputError where a model that a stage will give reads what no example has."""
    read = recipe.task.signature(teacher.config).names
    more = [name for name in recipe.task.signature(model.config).names if name not in read]
    if more:
        raise InputError(
            f"student.path holds a {model.config.model_type} that reads {', '.join(more)}; the teacher, a "
            f"{teacher.config.model_type}, does not, and so no example has it. Use a student of a family that reads no "
            f"more than {', '.join(read)}."
        )
