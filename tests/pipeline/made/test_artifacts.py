"""What a stage is given, and what its artifact's key follows from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compress.cli.config import build, compose_settings
from compress.core.context import Context
from compress.core.errors import InputError
from compress.core.latency_table import LatencyTable
from compress.methods.quantize.int8 import QuantizeInt8
from compress.nn.fusion import widest_sizes
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store

Produce = Callable[..., tuple[Entry, LoadedRecipe, Store]]


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[Context]:
    """What the stage was given; it does nothing."""
    seen: list[Context] = []

    def apply(self: QuantizeInt8, model: Any, context: Context) -> Any:
        seen.append(context)
        return model

    monkeypatch.setattr(QuantizeInt8, "apply", apply)
    return seen


@pytest.fixture
def produce(checkpoint: Path, examples: Path, tmp_path: Path, contexts: list[Context]) -> Produce:
    """`produce(*settings)`: the artifact of the stage `quantize`."""

    def make(*settings: str) -> tuple[Entry, LoadedRecipe, Store]:
        given = [f"model.path={checkpoint}", f"data.train={examples}", f"store={tmp_path / 'store'}", *settings]
        length, threads = "data.max_length=16", "runtime.threads=1"
        recipe = build(compose_settings("text_classification", [*given, length, threads, "device=cpu"]), "a test")
        loaded, store = load(recipe, warn=print, check=lambda model, processor: None)
        teacher = make_or_find(store, teacher_artifact(loaded))
        return make_or_find(store, stage_artifact(loaded, "quantize", teacher, teacher)), loaded, store

    return make


def test_unlabelled_text_reaches_the_stage_but_not_what_judges_it(
    produce: Produce, contexts: list[Context], examples: Path, tmp_path: Path
) -> None:
    produce()
    assert contexts[0].unlabelled is None
    rows = [json.loads(line)["text"] for line in examples.read_text(encoding="utf-8").splitlines()]
    more = tmp_path / "more.txt"
    more.write_text("\n".join([*rows, "kas kat", "kas  kat", "lon"]), encoding="utf-8")
    _, loaded, _ = produce(f"data.unlabelled={more}")
    unlabelled = contexts[1].unlabelled
    assert unlabelled is not None
    # [CLS] kas kat [SEP], [CLS] lon [SEP]: all others are in the train or the validation split, or repeated.
    assert unlabelled["input_ids"][:] == [[2, 4, 5, 3], [2, 11, 3]]
    assert unlabelled["labels"][:] == [-100, -100]
    assert [note for note in loaded.notes if note.startswith("data.unlabelled: 2 of 163 examples are imitated; 32 ")]
    assert len(contexts[1].train) == 128


def test_the_key_follows_the_unlabelled_text_and_not_its_path(produce: Produce, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.jsonl"
    first.write_text("kas kat\nlon\n", encoding="utf-8")
    second.write_text('{"text": "kas kat"}\n{"text": "lon"}\n', encoding="utf-8")
    key = produce(f"data.unlabelled={first}")[0].key
    assert produce(f"data.unlabelled={second}")[0].key == key
    assert produce()[0].key != key
    second.write_text('{"text": "kas kat"}\n{"text": "los"}\n', encoding="utf-8")
    assert produce(f"data.unlabelled={second}")[0].key != key


def test_unlabelled_text_that_adds_nothing(produce: Produce, examples: Path) -> None:
    with pytest.raises(InputError, match=r"data.unlabelled holds 160 examples, and every one is in the train"):
        produce(f"data.unlabelled={examples}")


def test_a_resumed_stage_reads_the_table_that_it_began_with(produce: Produce, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = [{0: 0.0, 4: 1.0}] * 4
    # Two of a busy machine, and one of a quiet one.
    left = [LatencyTable(time, 0.1, *curves, foreign_share=share) for time, share in ((1.0, 0.5), (2.0, 0.4), (3.0, 0))]
    monkeypatch.setattr("compress.pipeline.made.latency_tables.measure_table", lambda *_, **__: left.pop(0))
    read: list[float] = []

    def apply(self: QuantizeInt8, model: Any, context: Context) -> Any:
        read.append(context.latency(widest_sizes(model)).teacher)
        if len(read) == 1:
            (context.work_folder / "checkpoint").touch()
            raise RuntimeError("killed")
        return model

    monkeypatch.setattr(QuantizeInt8, "apply", apply)
    with pytest.raises(RuntimeError, match="killed"):
        produce("stages.quantize.weight_bits=8")
    # Another stage's work begins meanwhile, when the machine is quiet.
    _, _, store = produce("stages.quantize.weight_bits=7")
    resumed, _, _ = produce("stages.quantize.weight_bits=8")
    assert read == [2.0, 3.0, 2.0] and left == []
    assert any("layers were timed" in note for note in resumed.facts["notes"])
    assert list((store.root / "work").glob("*/*")) == []


def test_a_stage_that_refuses_leaves_no_table_behind(produce: Produce, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = [{0: 0.0, 4: 1.0}] * 4
    monkeypatch.setattr(
        "compress.pipeline.made.latency_tables.measure_table", lambda *_, **__: LatencyTable(1.0, 0.1, *curves)
    )
    asked: list[Path] = []

    def apply(self: QuantizeInt8, model: Any, context: Context) -> Any:
        context.latency(widest_sizes(model))
        asked.extend(context.work_folder.iterdir())
        raise InputError("nothing is fast enough")

    monkeypatch.setattr(QuantizeInt8, "apply", apply)
    with pytest.raises(InputError, match="nothing is fast enough"):
        produce()
    assert len(asked) == 1 and not asked[0].parent.exists()


def test_an_artifact_with_a_tokenizer_of_its_own(
    produce: Produce, contexts: list[Context], tmp_path: Path, tokenizer: Any
) -> None:
    more = tmp_path / "more.txt"
    more.write_text("kas kat\nlon", encoding="utf-8")
    trimming = ["+stage/prune@stages.vocabulary=vocabulary", "stages.vocabulary.min_count=35"]
    plain, loaded, store = produce(f"data.unlabelled={more}", *trimming)
    teacher = make_or_find(store, teacher_artifact(loaded))
    trimmed = make_or_find(store, stage_artifact(loaded, "vocabulary", teacher, teacher))
    found = make_or_find(store, stage_artifact(loaded, "quantize", trimmed, teacher))
    first, second = contexts
    assert first.teacher_reading is None
    assert plain.facts["processor"] is None and found.facts["processor"] == trimmed.key
    reading = second.teacher_reading
    assert reading is not None and reading.unlabelled is not None and second.unlabelled is not None
    kept = second.processor.get_vocab()
    assert 4 < len(kept) < 34
    # The teacher reads as ever; the artifact reads every word that it does not know as [UNK], 1.
    assert reading.train["input_ids"][:] == first.train["input_ids"][:]
    assert reading.unlabelled["input_ids"][:] == [[2, 4, 5, 3], [2, 11, 3]]
    texts = [tokenizer.decode(row).split() for row in (*first.train["input_ids"], *reading.unlabelled["input_ids"])]
    assert [*second.train["input_ids"], *second.unlabelled["input_ids"]] == [
        [kept.get(word, 1) for word in text] for text in texts
    ]
    assert reading.aligned(0) == [all(word in kept for word in text) for text in texts]
    assert 0 < sum(reading.aligned(0)) < len(texts) == 130
