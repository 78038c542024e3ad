"""Plans for one recipe or several."""

from __future__ import annotations

from pathlib import Path

import torch

from compress.core.recipe import Recipe
from compress.measure.effort import Effort
from compress.measure.pace import seconds_per_step
from compress.pipeline.inputs import Materials
from compress.pipeline.loaded_recipe import Material, Prepared
from compress.pipeline.plan.chain import Chain
from compress.pipeline.plan.disk import require_writable
from compress.pipeline.plan.past import efforts
from compress.pipeline.plan.plan import Plan
from compress.pipeline.preflight import check_model, check_order, check_threads
from compress.pipeline.run_folder import check_folders, require_unused


class Planner:
    """Makes plans, and reads for several recipes once what they share."""

    def __init__(self) -> None:
        self._materials = Materials(most=None)
        self._paces: dict[tuple[Material, str, int, float], float] = {}
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
        material = self._materials.of(recipe)
        prepared = Prepared(recipe, lambda *given: check_model(recipe, folder, *given), material)
        store = recipe.store.resolve()
        if store not in self._earlier:
            self._earlier[store] = list(efforts(store))
        return Chain(prepared, store, self._earlier[store], lambda tokens: self._pace(recipe, material, tokens)).plan()

    def _pace(self, recipe: Recipe, material: Material, tokens: float) -> float:
        """Seconds for a step on batches of so many tokens."""
        key = (material, recipe.device, recipe.runtime.threads, tokens)
        if key not in self._paces:
            rows = material.reading.split("train")
            length = sum(rows["length"]) / len(rows)
            middle = sorted(range(len(rows)), key=lambda row: abs(rows["length"][row] - length))
            chosen = [middle[i % len(middle)] for i in range(max(1, round(tokens / length)))]
            batch = material.reading.collate([rows[row] for row in chosen])
            self._paces[key] = seconds_per_step(material.shape, batch, recipe.task, recipe.device)
        return self._paces[key]
