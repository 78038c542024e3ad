"""Plans for one recipe or several."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from compress.core.recipe import Recipe
from compress.measure.effort import Effort
from compress.measure.pace import seconds_per_step
from compress.pipeline.inputs import InputsCache, RecipeInputs
from compress.pipeline.loaded_recipe import LoadedRecipe
from compress.pipeline.plan.chain import Chain
from compress.pipeline.plan.disk import require_writable
from compress.pipeline.plan.past import efforts
from compress.pipeline.plan.plan import Plan
from compress.pipeline.preflight import check_model, check_order, check_threads
from compress.pipeline.run_folder import check_folders, require_unused


class Planner:
    """Makes plans, and reads for several recipes once what they share."""

    def __init__(self) -> None:
        self._inputs = InputsCache(most=None, ahead=True)
        self._paces: dict[tuple[RecipeInputs, str, int, float], float] = {}
        self._earlier: dict[Path, list[tuple[Effort, float]]] = {}

    def plan(self, recipe: Recipe, folder: Path) -> Plan:
        """What `run(recipe, folder)` would do. Raises InputError where it would; writes nothing."""
        check_order(recipe)
        check_threads(recipe)
        check_folders(recipe, folder)
        require_writable("hydra.run.dir", folder)
        require_unused(folder)
        require_writable("store", recipe.store)
        torch.set_num_threads(recipe.runtime.threads)
        inputs = self._inputs.read(recipe)
        loaded = LoadedRecipe(recipe, partial(check_model, recipe, folder), inputs)
        store = recipe.store.resolve()
        if store not in self._earlier:
            self._earlier[store] = list(efforts(store))
        return Chain(loaded, store, self._earlier[store], partial(self._pace, recipe, inputs)).plan()

    def _pace(self, recipe: Recipe, inputs: RecipeInputs, tokens: float) -> float:
        """Seconds for a step on batches of so many tokens."""
        key = (inputs, recipe.device, recipe.runtime.threads, tokens)
        if key not in self._paces:
            rows = inputs.labelled.split("train")
            length = sum(rows["length"]) / len(rows)
            middle = sorted(range(len(rows)), key=lambda row: abs(rows["length"][row] - length))
            chosen = [middle[i % len(middle)] for i in range(max(1, round(tokens / length)))]
            batch = inputs.labelled.collate([rows[row] for row in chosen])
            self._paces[key] = seconds_per_step(inputs.shape, batch, recipe.task, recipe.device)
        return self._paces[key]
