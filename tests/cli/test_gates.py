"""Every stage has a gate: its own, or the recipe's, or some of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.core.gate import Gate
from compress.core.recipe import Recipe

Make = Callable[..., Recipe]


@pytest.fixture
def recipe_of(checkpoint: Path) -> Make:
    """`recipe_of(*overrides)`: the recipe text_classification for the tiny model."""

    def make(*overrides: str) -> Recipe:
        given = [f"model.path={checkpoint}", "data.train=unread.jsonl", "device=cpu"]
        return build(compose_settings("text_classification", [*given, *overrides]), "text_classification")

    return make


def test_the_recipes_gate_is_every_stages(recipe_of: Make) -> None:
    recipe = recipe_of("gate.confidence=0.9", "objective.max_accuracy_drop=0.03")
    assert recipe.gates.keys() == recipe.stages.keys()
    assert {(gate.confidence, gate.max_accuracy_drop) for gate in recipe.gates.values()} == {(0.9, 0.03)}


def test_a_stage_may_have_limits_of_its_own(recipe_of: Make) -> None:
    recipe = recipe_of("gate.confidence=0.9", "gates.quantize.max_accuracy_drop=0.02")
    drops = {name: gate.max_accuracy_drop for name, gate in recipe.gates.items()}
    assert drops == dict.fromkeys(recipe.stages, 0.01) | {"quantize": 0.02}
    assert recipe.gates["quantize"].confidence == 0.9


def test_a_stage_without_a_gate_gets_the_recipes(recipe_of: Make) -> None:
    recipe = recipe_of("+stages.again=${stages.prune}", "gate.on_failure=stop", "~gates.fuse")
    stop = Gate(
        name="gates.again",
        max_accuracy_drop=0.01,
        min_speedup=None,
        max_batch_effect=None,
        max_recall_drop=0.2,
        confidence=0.95,
        on_failure="stop",
        on_inconclusive="keep",
    )
    assert recipe.gates["again"] == stop
    assert recipe.gates["fuse"].on_failure == "stop"
    # The record says what held.
    assert recipe.settings["gates"]["again"]["on_failure"] == "stop"


def test_what_a_new_stages_gate_does_not_say_is_the_recipes(recipe_of: Make) -> None:
    recipe = recipe_of("+stages.again=${stages.prune}", "gate.confidence=0.9", "+gates.again.max_accuracy_drop=0.05")
    assert (recipe.gates["again"].confidence, recipe.gates["again"].max_accuracy_drop) == (0.9, 0.05)


def test_a_whole_gate_stands_alone(recipe_of: Make) -> None:
    recipe = recipe_of("gate@gates.prune=non_inferiority", "gate.confidence=0.9")
    assert recipe.gates["prune"].confidence == 0.95 and recipe.gates["fuse"].confidence == 0.9


def test_limit_has_one_value_under_both_of_its_names() -> None:
    given = ["model.path=model", "data.train=texts.txt", "objective.speedup=null"]

    def limit(*overrides: str) -> float:
        recipe = build(compose_settings("sentence_embedding", [*given, *overrides]), "sentence_embedding")
        return recipe.gates["fuse"].max_accuracy_drop

    assert limit("objective.max_drop=0.02") == 0.02
    with pytest.raises(InputError, match=r"objective\.max_drop is 0\.01, and objective\.max_accuracy_drop is 0\.02"):
        limit("objective.max_accuracy_drop=0.02")
