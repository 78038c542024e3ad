"""A recipe made ready for work: its data read and encoded, its teacher looked at, its checks passed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from compress.core.metric import Metric
from compress.core.recipe import Recipe
from compress.core.signature import Signature
from compress.measure.effort import Effort
from compress.measure.environment import describe_machine
from compress.measure.evaluate import first_of_each
from compress.nn.checkpoint import read_config
from compress.pipeline.encoded_data import EncodedData
from compress.pipeline.inputs import RecipeInputs
from compress.pipeline.keys import teacher_key
from compress.pipeline.preflight import check_decoding, check_examples, check_groups, check_timed
from compress.pipeline.store import Entry, Store

Check = Callable[[Any, Any], None]


class LoadedRecipe:
    """A recipe and its inputs.

    `check(model, processor)` sees a model of the teacher's shape, and its processor, before the examples are encoded.
    config, parameters: the teacher's. teacher_encoded: all examples as the teacher's processor encodes them; examples:
    those of the splits that have labels. timed: the keys of the latency tables that were measured since, none of them
    to be measured once more. Raises InputError where data or teacher cannot be used.
    """

    def __init__(self, recipe: Recipe, check: Check, inputs: RecipeInputs) -> None:
        self.recipe, self.inputs, self.config = recipe, inputs, inputs.config
        self.timed: set[str] = set()
        check(inputs.shape, inputs.given.processor)
        check_decoding(recipe, self.signature)
        encoded = inputs.labelled
        self.examples = {name: encoded.split(name) for name in encoded.names}
        check_timed(recipe, len(self.examples["validation"]))
        check_groups(self.examples["validation"]["group"][:])
        check_examples(recipe, inputs.shape, self.examples["train"]["length"][:])
        self.parameters = sum(parameter.numel() for parameter in inputs.shape.parameters())
        self.teacher_encoded, self.notes = inputs.encoded

    def encoded(self, artifact: Entry) -> EncodedData:
        """The examples as an artifact's own processor encodes them."""
        source, folder = artifact.facts["processor"], artifact.folder
        if source is None:
            return self.teacher_encoded
        return self.inputs.encoded_by(source, lambda: (self.recipe.task.load_processor(folder), read_config(folder)))

    @cached_property
    def teacher_key(self) -> str:
        """The key of the teacher's artifact."""
        train = self.teacher_encoded.fingerprint("train")
        return teacher_key(self.recipe, self.inputs.identity, self.config.model_type, train)

    def groups(self, split: str) -> list[int]:
        """Of each example of a split the group that it belongs to: of each judged one, see `Task.units`."""
        rows = self.examples[split]
        return first_of_each(rows["group"][:], self.recipe.task.units(rows))

    @property
    def signature(self) -> Signature:
        """Of the teacher, and of all that is made of it."""
        return self.recipe.task.signature(self.config)

    @property
    def metric(self) -> Metric:
        """What the models are judged by."""
        return self.recipe.task.metric(self.config)

    @property
    def tokens(self) -> int:
        """Of all examples to learn from, with labels and without, as the teacher reads them."""
        return sum(self._learned_from)

    def effort(self, work: str) -> Effort:
        """What the time of a stage goes with; of the `teacher`, too, and of an `evaluation` of it or of a student."""
        return Effort.of(
            self.recipe,
            work,
            examples=len(self._learned_from),
            tokens=self.tokens,
            judged_tokens=sum(self.examples["validation"]["length"][:]),
            parameters=self.parameters,
            machine=str(describe_machine(self.recipe.runtime)["cpu"]),
        )

    @property
    def _learned_from(self) -> list[int]:
        # A column by itself is read row by row, as it is gone through; cut out, at once.
        unlabelled = self.teacher_encoded.unlabelled
        return self.examples["train"]["length"][:] + ([] if unlabelled is None else unlabelled["length"][:])


def load(
    recipe: Recipe,
    *,
    warn: Callable[[str], None],
    check: Check,
    read: Callable[[Recipe], RecipeInputs] = RecipeInputs.read,
) -> tuple[LoadedRecipe, Store]:
    """The recipe made ready, and its store. Raises InputError where either cannot be used, and leaves no empty folder.

    warn: is told what the store warns of. check: see LoadedRecipe. read: gives the inputs, read now or before.
    """
    store = Store(recipe.store, warn)
    try:
        loaded = LoadedRecipe(recipe, check, read(recipe))
        loaded.inputs.keep_answers(store)
    except BaseException:
        store.leave_none_empty()
        raise
    return loaded, store
