"""Examples without labels are shown to the teacher once, and its answers found by every later run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification

import compress
from compress.core.errors import InputError
from compress.core.recipe import Recipe
from compress.pipeline.inputs import RecipeInputs
from compress.pipeline.loaded_recipe import load
from compress.pipeline.plan.planner import Planner
from compress.tasks.sentence_embedding import SentenceEmbedding
from compress.tasks.token_classification import TokenClassification

WORDS = {"train": [["kas", "kat"], ["los"], ["kam", "los"]], "validation": [["kat", "los"], ["kas"]]}


@pytest.fixture
def recipe_of(checkpoint: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """`recipe_of(*overrides)`: taggers of texts that nobody has tagged."""
    AutoModelForTokenClassification.from_config(AutoConfig.from_pretrained(checkpoint)).save_pretrained(checkpoint)
    for name, texts in WORDS.items():
        write(tmp_path / f"{name}.jsonl", texts)
    files = [f"data.{name}={tmp_path / name}.jsonl" for name in WORDS]
    given = (*files, f"model.path={checkpoint}", f"store={tmp_path / 'store'}", "data.tags=null", "device=cpu")
    given = (*given, "data.max_length=16", "data.stride=4")
    return lambda *overrides: compress.recipe("token_classification", *given, *overrides)


def write(path: Path, texts: list[list[str]]) -> None:
    path.write_text("".join(json.dumps({"tokens": words}) + "\n" for words in texts), encoding="utf-8")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The splits that the teacher was shown."""
    shown: list[str] = []
    real = TokenClassification.answered

    def answered(self: TokenClassification, *given: Any) -> Any:
        shown.append(given[-1])
        return real(self, *given)

    monkeypatch.setattr(TokenClassification, "answered", answered)
    return shown


def prints_of(inputs: RecipeInputs) -> list[str]:
    data = inputs.labelled
    return [*(data.content(name) for name in WORDS), *(data.fingerprint(name) for name in WORDS)]


def test_they_are_asked_for_once(recipe_of: Callable[..., Recipe], asked: list[str]) -> None:
    loaded, _ = load(recipe_of(), warn=print, check=lambda *given: None)
    assert asked == ["train", "validation"]
    again, store = load(recipe_of("order=[quantize]", "seed=3"), warn=print, check=lambda *given: None)
    assert asked == ["train", "validation"]
    assert prints_of(again.inputs) == prints_of(loaded.inputs)
    tags = again.inputs.labelled.split("train")["labels"][:]
    assert tags == loaded.inputs.labelled.split("train")["labels"][:] and any(tag >= 0 for row in tags for tag in row)
    assert len(list((store.root / "teacher-answers").glob("[!.]*"))) == 2


def test_other_texts_and_another_teacher_are_asked_for_anew(
    recipe_of: Callable[..., Recipe], asked: list[str], tmp_path: Path, checkpoint: Path
) -> None:
    load(recipe_of(), warn=print, check=lambda *given: None)
    asked.clear()
    write(tmp_path / "train.jsonl", [["kam"], *WORDS["train"]])
    load(recipe_of(), warn=print, check=lambda *given: None)
    assert asked == ["train"]
    load(recipe_of("data.max_length=8"), warn=print, check=lambda *given: None)
    assert asked == ["train", "train", "validation"]
    (checkpoint / "note.txt").touch()
    asked.clear()
    load(recipe_of(), warn=print, check=lambda *given: None)
    assert asked == ["train", "validation"]


def test_whoever_only_reads_writes_nothing(recipe_of: Callable[..., Recipe], asked: list[str], tmp_path: Path) -> None:
    RecipeInputs.read(recipe_of())
    assert asked == ["train", "validation"] and not (tmp_path / "store").exists()


def test_a_recipe_that_is_refused_leaves_no_store(recipe_of: Callable[..., Recipe], tmp_path: Path) -> None:
    def refuse(model: Any, processor: Any) -> None:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        load(recipe_of(), warn=print, check=refuse)
    assert not (tmp_path / "store").exists()


@pytest.fixture
def search(checkpoint: Path, tmp_path: Path) -> Recipe:
    """Texts that a sentence encoder ranks for each other."""
    AutoModel.from_config(AutoConfig.from_pretrained(checkpoint)).save_pretrained(checkpoint)
    texts = [f"{first} {second}" for first in ("kas", "los", "mis", "nut") for second in ("kat", "lon", "mir", "pes")]
    (tmp_path / "texts.txt").write_text("\n".join(texts), encoding="utf-8")
    given = (f"data.train={tmp_path / 'texts.txt'}", f"model.path={checkpoint}", f"store={tmp_path / 'store'}")
    given = (*given, "model.pooling=mean", "data.max_length=16", "order=[quantize]", "device=cpu")
    return compress.recipe("sentence_embedding", *given)


def test_a_plan_asks_for_no_vectors(search: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    real = SentenceEmbedding.answered

    def answered(self: SentenceEmbedding, *given: Any) -> Any:
        shown.append(given[-1])
        return real(self, *given)

    monkeypatch.setattr(SentenceEmbedding, "answered", answered)
    plan = Planner().plan(search, tmp_path / "run")
    assert shown == [] and [piece.need for piece in plan.pieces] == ["all", "all"]
    loaded, store = load(search, warn=print, check=lambda *given: None)
    assert shown == ["train", "validation"]
    assert plan.examples == {"train": 13, "validation": 3}
    assert {name: len(loaded.groups(name)) for name in loaded.examples} == plan.examples
    ahead, known = RecipeInputs.read(search, ahead=True), loaded.inputs
    # What is in the store is not foreseen: what was made with it is found.
    assert ahead.labelled.fingerprint("validation") == known.labelled.fingerprint("validation")
    for entry in (store.root / "teacher-answers").iterdir():
        shutil.rmtree(entry)
    ahead = RecipeInputs.read(search, ahead=True)
    assert shown == ["train", "validation"]
    assert ahead.labelled.fingerprint("train") == known.labelled.fingerprint("train")
    # Nothing can have been made with answers that are foreseen.
    assert ahead.labelled.fingerprint("validation") != known.labelled.fingerprint("validation")
