"""What is read back is what the teacher says."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset

from compress.core.context import TeacherReading
from compress.core.errors import DiskFullError
from compress.methods.training import teacher_outputs
from compress.methods.training.teacher_outputs import TeacherOutputs, answer_of
from compress.tasks.text_task import SIGNATURE


def direct(context: Any, rows: list[int]) -> Any:
    """The teacher's answer to one padded batch of these rows."""
    batch = context.collate([context.train[row] for row in rows])
    return batch, answer_of(context.teacher, SIGNATURE, batch)[0]


def test_as_running_the_teacher(bert_type: str, make_model: Callable, make_context: Callable) -> None:
    context = make_context(make_model(bert_type))
    outputs = TeacherOutputs(context, [2, 4])
    rows = [7, 0, 15]
    batch, expected = direct(context, rows)
    assert outputs.stores_vectors
    torch.testing.assert_close(outputs.output(rows, 1), expected.output, rtol=1e-5, atol=1e-6)
    mask = batch["attention_mask"].bool()
    for layer in (2, 4):
        found = outputs.hidden(layer, rows, batch["input_ids"].shape[1])
        assert found.dtype == torch.float16
        assert found.shape == expected.hidden_states[layer].shape
        # Half precision keeps 11 bits.
        torch.testing.assert_close(found.float()[mask], expected.hidden_states[layer][mask], rtol=1e-3, atol=1e-4)
        assert bool((found[~mask] == 0).all())


def test_queries_keys_and_values_are_stored_too(bert_type: str, make_model: Callable, make_context: Callable) -> None:
    context = make_context(make_model(bert_type))
    outputs, rows = TeacherOutputs(context, [], relation_layer=3), [7, 0, 15]
    batch = context.collate([context.train[row] for row in rows])
    mask = batch["attention_mask"].bool()
    _, expected = answer_of(context.teacher, SIGNATURE, batch, 3)
    found = outputs.relations(rows, batch["input_ids"].shape[1])
    assert list(found) == ["query", "key", "value"]
    for part, vectors in found.items():
        torch.testing.assert_close(vectors.float()[mask], expected[part][mask], rtol=1e-3, atol=1e-4)
        assert bool((vectors[~mask] == 0).all())


def test_unlabelled_examples_follow_the_labelled_ones(make_model: Callable, make_context: Callable) -> None:
    whole = make_context(make_model())
    rows = list(whole.train)
    context = dataclasses.replace(
        whole,
        train=Dataset.from_list(rows[:10]),
        unlabelled=Dataset.from_list([row | {"labels": -100} for row in rows[10:]]),
        unlabelled_fingerprint="u",
    )
    outputs = TeacherOutputs(context, [2])
    torch.testing.assert_close(outputs.output([3, 20], 1), direct(whole, [3, 20])[1].output, rtol=1e-5, atol=1e-6)
    other = dataclasses.replace(context, unlabelled=context.unlabelled.select([5]), unlabelled_fingerprint="other")
    again = TeacherOutputs(other, [2]).output([3, 10], 1)
    torch.testing.assert_close(again, direct(whole, [3, 15])[1].output, rtol=1e-5, atol=1e-6)


def test_hidden_states_are_counted_from_the_embeddings(make_model: Callable, make_context: Callable) -> None:
    """Number 1 is what the first layer gives, number 4 what the head reads."""
    context = make_context(make_model())
    outputs, seen = TeacherOutputs(context, [1, 4]), {}
    layers = context.teacher.bert.encoder.layer
    for number in (0, 3):
        layers[number].register_forward_hook(
            lambda module, inputs, output, number=number: seen.update(
                {number + 1: output[0] if isinstance(output, tuple) else output}
            )
        )
    batch, _ = direct(context, [5])
    for number in (1, 4):
        found = outputs.hidden(number, [5], batch["input_ids"].shape[1])
        torch.testing.assert_close(found.float(), seen[number], rtol=1e-3, atol=1e-4)


def test_the_teacher_runs_once_for_each_data_set(
    make_model: Callable, make_context: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(make_model())
    calls: list[int] = []

    def counted(model: Any, signature: Any, batch: Any, layer: Any) -> Any:
        calls.append(len(batch["input_ids"]))
        return answer_of(model, signature, batch, layer)

    monkeypatch.setattr(teacher_outputs, "answer_of", counted)
    first = TeacherOutputs(context, [1])
    assert sum(calls) == 24
    TeacherOutputs(context, [1])
    TeacherOutputs(context, [])
    assert sum(calls) == 24
    # Another layer is another pass; other examples are others.
    TeacherOutputs(context, [1, 2])
    assert sum(calls) == 48
    other = make_context(context.teacher, count=16)
    assert sum(calls) + 16 == (TeacherOutputs(other, [1]) and sum(calls))
    assert not torch.equal(TeacherOutputs(other, [1]).output([3, 4, 5], 1), first.output([4, 5, 6], 1))


def test_no_room_for_hidden_states(
    make_model: Callable, make_context: Callable, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(make_model())
    tokens = sum(context.train["length"])
    needed = 2 * tokens * 32 * 2
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * needed - 1, total=real(path).total))
    outputs = TeacherOutputs(context, [1, 4])
    assert not outputs.stores_vectors
    assert len(notes) == 1
    assert "the teacher runs again for every batch" in notes[0]
    assert {path.name for path in context.cache_folder.rglob("*") if path.is_file()} == {
        "logits.npy",
        "logits.xxh3",
        ".lock",
    }
    torch.testing.assert_close(outputs.output([3], 1), direct(context, [3])[1].output, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * needed, total=real(path).total))
    assert TeacherOutputs(context, [1, 4]).stores_vectors


def test_a_disk_that_fills_up_ends_with_an_error_and_not_the_process(
    make_model: Callable, make_context: Callable, small_disk: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = dataclasses.replace(make_context(make_model()), cache_folder=small_disk("size=16k"))
    needed = 2 * sum(context.train["length"]) * 32 * 2
    assert needed > 16 * 1024
    real = shutil.disk_usage
    # Free when it was looked, taken by another process since.
    told = iter([SimpleNamespace(free=10**9)])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: next(told, None) or real(path))
    with pytest.raises(DiskFullError, match=r"the teacher's inner state needs about 0\.0 MB"):
        TeacherOutputs(context, [1, 4])
    assert not list(context.cache_folder.rglob("*.tmp"))


def test_what_a_killed_process_left_is_written_over(make_model: Callable, make_context: Callable) -> None:
    context = make_context(make_model())
    first = TeacherOutputs(context, [1])
    expected = first.hidden(1, [3], 4)
    (first._folder / "hidden-1.npy").rename(first._folder / "hidden-1.tmp")
    (first._folder / "hidden-1.tmp").write_bytes(b"half")
    assert torch.equal(TeacherOutputs(context, [1]).hidden(1, [3], 4), expected)
    found = {path.name for path in first._folder.iterdir()}
    assert found == {"hidden-1.npy", "hidden-1.xxh3", "logits.npy", "logits.xxh3", ".lock"}


@pytest.mark.parametrize("name", ["hidden-1.npy", "hidden-1.xxh3", "logits.npy", "logits.xxh3"])
def test_what_a_disk_has_changed_is_computed_again(
    make_model: Callable, make_context: Callable, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    context = make_context(make_model())
    first = TeacherOutputs(context, [1])
    expected = first.hidden(1, [3], 4), first.output([3], 1)
    path = first._folder / name
    whole = path.read_bytes()
    # The file itself is replaced: the first one has it mapped.
    path.unlink()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    again = TeacherOutputs(context, [1])
    assert torch.equal(again.hidden(1, [3], 4), expected[0]) and torch.equal(again.output([3], 1), expected[1])
    assert path.read_bytes() == whole
    assert f"{path.with_suffix('.npy')} is damaged" in capsys.readouterr().err


def test_the_teacher_reads_with_its_own_processor(make_model: Callable, make_context: Callable) -> None:
    whole = make_context(make_model())
    expected = TeacherOutputs(whole, [4], 4)
    rows = list(whole.train)
    reading = TeacherReading(
        train=Dataset.from_list(rows[:20]),
        train_fingerprint="t",
        unlabelled=Dataset.from_list(rows[20:]),
        unlabelled_fingerprint="u",
        aligned=lambda spliced: [False] * 24,
        spliced=whole.spliced,
        collate=whole.collate,
    )
    # A student's numbers, which would mean other words to the teacher, and one token more.
    strange = whole.train.map(lambda row: {"input_ids": [4, *row["input_ids"]], "length": row["length"] + 1})
    context = dataclasses.replace(
        whole,
        train=strange.select(range(20)),
        unlabelled=strange.select(range(20, 24)),
        teacher_reading=reading,
        collate=lambda rows: pytest.fail("the student's reading"),
    )
    outputs = TeacherOutputs(context, [4], 4)
    assert outputs.batch([3])["input_ids"][0].tolist() == rows[3]["input_ids"]
    for row in (3, 22):
        torch.testing.assert_close(outputs.output([row], 1), expected.output([row], 1))
        torch.testing.assert_close(outputs.hidden(4, [row], 6), expected.hidden(4, [row], 6))
        torch.testing.assert_close(outputs.relations([row], 6), expected.relations([row], 6))
    # Cut where the student's batch is narrower.
    assert outputs.hidden(4, [3], 2).shape == (1, 2, 32)
    torch.testing.assert_close(outputs.hidden(4, [3], 2), expected.hidden(4, [3], 6)[:, :2])
    # Students with whatever tokens share what was computed for the teacher's.
    same = dataclasses.replace(context, train=reading.train, unlabelled=reading.unlabelled, train_fingerprint="t")
    same = dataclasses.replace(same, unlabelled_fingerprint="u", teacher_reading=None)
    assert TeacherOutputs(same, [4], 4)._folder == outputs._folder


def test_made_up_examples_come_last_and_have_a_place_of_their_own(make_model: Callable, make_context: Callable) -> None:
    context = make_context(make_model())
    plain, more = TeacherOutputs(context, [4]), TeacherOutputs(context, [4], spliced=5)
    batch = context.collate([context.spliced(5)[4]])
    with torch.no_grad():
        expected = context.teacher(**{name: batch[name] for name in SIGNATURE.names}).logits
    torch.testing.assert_close(more.output([28], 1), expected)
    torch.testing.assert_close(more.output([23], 1), plain.output([23], 1))
    assert more._folder != plain._folder
    assert TeacherOutputs(context, [4], spliced=6)._folder != more._folder
    assert TeacherOutputs(context, [4], spliced=5)._folder == more._folder
