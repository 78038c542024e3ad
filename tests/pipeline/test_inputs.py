"""Data and teacher are read once for recipes that read the same, and anew where a file has changed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.core.context import Splits
from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.core.words import SourceDefaults
from compress.data.bbc import BbcPassages
from compress.data.hub import Hub
from compress.methods.teachers.fine_tuned import FineTunedTeacher
from compress.pipeline.inputs import InputsCache

Make = Callable[..., Recipe]


@pytest.fixture
def recipe_of(checkpoint: Path, examples: Path) -> Make:
    """`recipe_of(*overrides)`: a recipe on the tiny model and the example file."""
    given = (f"model.path={checkpoint}", f"data.train={examples}", "device=cpu", "data.max_length=16")
    return lambda *overrides: compress.recipe("text_classification", *given, *overrides)


def test_recipes_that_differ_in_their_stages_share_it(recipe_of: Make) -> None:
    cache = InputsCache(most=1)
    first = cache.read(recipe_of())
    assert cache.read(recipe_of("stages.quantize.scheme=static", "order=[quantize]", "objective.speedup=2")) is first


@pytest.mark.parametrize("change", ["data.max_length=12", "data.validation_share=0.3", "seed=1"])
def test_recipes_that_read_something_else_do_not(recipe_of: Make, change: str) -> None:
    cache = InputsCache(most=None)
    first, other = cache.read(recipe_of()), cache.read(recipe_of(change))
    assert other is not first
    # Both are kept.
    assert cache.read(recipe_of()) is first and cache.read(recipe_of(change)) is other


def test_the_latest_are_kept(recipe_of: Make) -> None:
    cache = InputsCache(most=1)
    first = cache.read(recipe_of())
    cache.read(recipe_of("seed=1"))
    assert cache.read(recipe_of()) is not first


def test_data_that_changed_are_read_again(recipe_of: Make, examples: Path) -> None:
    cache = InputsCache(most=1)
    first = cache.read(recipe_of())
    text = examples.read_text(encoding="utf-8")
    examples.write_text(text.replace("cold", "warm", 1), encoding="utf-8")
    second = cache.read(recipe_of())
    assert second.labelled.fingerprint("train") != first.labelled.fingerprint("train")


def test_as_many_bytes_of_the_same_date_are_read_again(recipe_of: Make, examples: Path) -> None:
    cache, before = InputsCache(most=1), examples.stat()
    first = cache.read(recipe_of())
    text = examples.read_text(encoding="utf-8")
    examples.write_text(text.replace("cold", "warm", 1), encoding="utf-8")
    os.utime(examples, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (examples.stat().st_size, examples.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert cache.read(recipe_of()) is not first


def test_a_teacher_that_changed_is_looked_at_again(
    recipe_of: Make, checkpoint: Path, make_model: Callable[..., Any]
) -> None:
    cache = InputsCache(most=1)
    before = dict(cache.read(recipe_of()).identity)
    make_model(seed=1).save_pretrained(checkpoint)
    second = cache.read(recipe_of())
    assert dict(second.identity) != before
    (checkpoint / "structure.txt").touch()
    assert cache.read(recipe_of()) is not second


def test_a_file_that_is_not_there_is_told_by_whoever_reads_it(recipe_of: Make, examples: Path) -> None:
    cache = InputsCache(most=1)
    cache.read(recipe_of())
    examples.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        cache.read(recipe_of())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elsewhere(SourceDefaults):
    """A source of the user's own, which says nothing of files."""

    splits: Splits

    def load(self) -> Splits:
        return self.splits


def test_a_source_that_names_no_files_is_read_each_time(recipe_of: Make) -> None:
    recipe = recipe_of()
    recipe = dataclasses.replace(recipe, data=Elsewhere(splits=recipe.data.load()))
    cache = InputsCache(most=1)
    assert cache.read(recipe) is not cache.read(recipe)


def test_the_files_of_each_source(recipe_of: Make, checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.txt"
    more.write_text("kas kat", encoding="utf-8")
    assert recipe_of(f"data.unlabelled={more}").data.files() == [examples, more]
    assert {path.name for path in recipe_of().teacher.files()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    learns = recipe_of("model=fine_tuned", f"model.path={checkpoint}").teacher
    assert isinstance(learns, FineTunedTeacher) and sorted(learns.files()) == sorted(recipe_of().teacher.files())
    settings = ("train", "validation", "test", "unlabelled", "unlabelled_validation", "group", "config", "label")
    named = dict.fromkeys(settings)
    named |= {"train": "train", "reads": "text", "repeated": "keep"}
    hub = Hub(name="a/set", **named, validation_share=0.2, seed=0)
    assert hub.files() is None
    folder = dataclasses.replace(hub, name=str(checkpoint), unlabelled=str(more))
    assert sorted(folder.files() or ()) == sorted([*recipe_of().teacher.files(), more])
    passages = BbcPassages(passages=10, words=[15, 45], validation_share=0.2, test_share=0.2, seed=0)
    assert len(passages.files()) == 2225
