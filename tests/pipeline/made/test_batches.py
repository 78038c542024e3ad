"""What workers read is what the artifact's own processor makes of the rows, whatever else lies in the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import compress
from compress.measure.worker import load_batches
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.batches import batch_file_of, timed_batches_of
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store
from compress.tasks.vocabulary.tokenizer import TokenizerVocabulary

TEACHER = Entry("teacher", Path("unread"), {"processor": None}, reused=False)
# It reads as the teacher does.
STUDENT = Entry("student", Path("unread"), {"processor": None}, reused=False)


def loaded_of(recipe: str, *overrides: str) -> tuple[LoadedRecipe, Store]:
    return load(compress.recipe(recipe, *overrides, "device=cpu"), warn=print, check=lambda *given: None)


def test_each_artifacts_processor_reads_for_itself(
    checkpoint: Path, examples: Path, tmp_path: Path, tokenizer: Any, make_model: Callable[..., Any]
) -> None:
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", "data.max_length=16")
    loaded, store = loaded_of("text_classification", *given)
    make_model().save_pretrained(tmp_path / "trimmed")
    trimmed = TokenizerVocabulary(tokenizer).keep([0, 1, 2, 3, 4, 7])
    loaded.recipe.task.save_processor(trimmed, tmp_path / "trimmed")
    student = Entry("student", tmp_path / "trimmed", {"processor": "student"}, reused=False)
    whole, cut = (
        [row["input_ids"][0].tolist() for row in load_batches(make_or_find(store, batch_file_of(loaded, one, "train")))]
        for one in (TEACHER, student)
    )
    assert whole == loaded.examples["train"]["input_ids"][:]
    # `kas` and `kam` stay words, 4 and 5 of six; all others are [UNK], 1.
    kept = {0: 0, 2: 2, 3: 3, 4: 4, 7: 5}
    assert cut == [[kept.get(number, 1) for number in row] for row in whole] != whole


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two of each class, all of one colour: 51, or 0.2 of 255."""
    for split in ("train", "validation"):
        for name in ("one", "other"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(2):
                PIL.Image.new("RGB", (8, 8), (51, 51, 51)).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def test_what_becomes_of_a_photograph_is_the_processors(photographs: Path) -> None:
    """The rows are the files' bytes, the same for every teacher."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=8, patch_size=4, id2label={0: "one", 1: "other"}, **sizes)
    found, prints = [], []
    for mean in (0.0, 0.5):
        model = photographs / f"model-{mean}"
        ViTForImageClassification(config).save_pretrained(model)
        normalized = {"image_mean": [mean] * 3, "image_std": [0.5] * 3}
        ViTImageProcessorPil(size={"height": 8, "width": 8}, **normalized).save_pretrained(model)
        files = [f"data.{split}={photographs / split}" for split in ("train", "validation")]
        loaded, store = loaded_of("image_classification", *files, f"model.path={model}", f"store={photographs}/store")
        batches = load_batches(make_or_find(store, batch_file_of(loaded, TEACHER, "validation")))
        found.append(np.unique(np.stack([batch["pixel_values"] for batch in batches])))
        prints.append(loaded.encoded(TEACHER).fingerprint("validation"))
    assert prints[0] == prints[1]
    # (0.2 - mean) / 0.5
    assert np.stack(found) == pytest.approx(np.array([[0.4], [-0.6]]))


def test_in_bulk_both_models_read_the_same_batches(checkpoint: Path, examples: Path, tmp_path: Path) -> None:
    given = (f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", "data.max_length=16")
    one, store = loaded_of("text_classification", *given, "data.validation_share=0.4")
    many, _ = loaded_of("text_classification", *given, "data.validation_share=0.4", "objective.workload=bulk")
    (alone,), alone_lengths = timed_batches_of(one, TEACHER)
    assert alone.key == batch_file_of(one, TEACHER, "validation").key
    assert alone_lengths == one.encoded(TEACHER).timed_lengths("validation")
    (work, of_student), lengths = timed_batches_of(many, TEACHER, STUDENT)
    batches = load_batches(make_or_find(store, work))
    assert work.key == of_student.key != alone.key and len(batches) == len(alone_lengths) // 32 == len(lengths) > 1
    # Each as long as its longest, the shortest first, and nothing lost: whole rows, but for padding.
    assert [batch["input_ids"].shape for batch in batches] == [(32, length) for length in lengths]
    assert lengths == sorted(lengths)
    tokens = [int(batch["attention_mask"].sum()) for batch in batches]
    assert sum(tokens) == sum(sorted(alone_lengths)[: 32 * len(lengths)])
