"""Two processes that train together make the student that one makes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, prepare_data_loader, skip_first_batches
from datasets import Dataset
from safetensors.torch import load_file
from torch.utils.data import BatchSampler, DataLoader
from transformers import TrainerState

from compress.cli.config import build, compose_settings
from compress.core.errors import InputError
from compress.methods.training import loop, processes
from compress.methods.training.loop import Mean, Optimization, ResumableTrainer, own_rows, training_arguments
from compress.pipeline.loaded_recipe import load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find

SETTINGS = (
    "order=[distill]",
    "device=cpu",
    "data.max_length=32",
    "measurement.launches=1",
    "measurement.rounds=2",
    "measurement.examples=4",
    "gates.distill.max_accuracy_drop=1",
    "stages.distill.layers=2",
    "stages.distill.epochs=2",
    "stages.distill.imitation.shortest_epoch=1",
    # Each process draws its own.
    "stages.distill.imitation.dropout=0",
    "stages.distill.imitation.relation_weight=1",
    "stages.distill.imitation.labels_weight=1",
    "stages.distill.imitation.optimization.batch_size=8",
    "stages.distill.imitation.optimization.mixed_precision=off",
)


def test_two_processes_make_the_student_that_one_makes(tmp_path: Path, checkpoint: Path, examples: Path) -> None:
    # Each row has a length of its own, some have no label, and the last batch of an epoch is short.
    more = examples.with_name("more.txt")
    more.write_text("kas kat lon mir\nnus pet rar\nkan\n", encoding="utf-8")
    given = [f"model.path={checkpoint}", f"data.train={examples}", f"data.unlabelled={more}", *SETTINGS]
    one = _made_by_one(given, tmp_path / "one")
    program = tmp_path / "program.py"
    program.write_text("from compress.cli.commands.run import main\nmain()\n", encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # With --cpu accelerate starts several processes through MPI alone; device=cpu keeps these two on the processors.
    launch = ["--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", *launch, f"--main_process_port={port}"),
            *(str(program), "-cn", "text_classification", *given),
            *(f"store={tmp_path / 'two'}", f"hydra.run.dir={tmp_path / 'run'}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    # One of the two prints, writes the ledger, and publishes.
    assert done.stdout.count("exported to") == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["stage"] for row in rows] == ["teacher", "distill"]
    two = tmp_path / "two" / "artifacts" / rows[-1]["artifact"]
    assert two.name == one.name
    ours, theirs = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    start = load_file(checkpoint / "model.safetensors")
    learned = max(float((ours[name] - start[name]).abs().max()) for name in ours if name in start)
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    assert apart < 0.001 * learned, (apart, learned)


def _made_by_one(given: list[str], store: Path) -> Path:
    recipe = build(compose_settings("text_classification", [*given, f"store={store}"]), "text_classification")
    torch.set_num_threads(1)
    loaded, store = load(recipe, warn=print, check=lambda *given: None)
    teacher = make_or_find(store, teacher_artifact(loaded))
    return make_or_find(store, stage_artifact(loaded, "distill", teacher, teacher)).folder


def test_each_process_takes_its_part_of_the_same_batches(
    make_model: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"model": make_model(), "steps": 3, "device": "cpu", "seed": 0, "folder": tmp_path}
    optimization = Optimization(
        learning_rate=1e-3, reference_width=None, batch_size=8, warmup_share=0, weight_decay=0, mixed_precision="off"
    )
    assert training_arguments(optimization, **settings).per_device_train_batch_size == 8
    monkeypatch.setattr(loop, "count", lambda: 4)
    assert training_arguments(optimization, **settings).per_device_train_batch_size == 2
    monkeypatch.setattr(loop, "count", lambda: 3)
    with pytest.raises(InputError, match="batch_size is 8, which 3 processes cannot share evenly"):
        training_arguments(optimization, **settings)


def test_one_process_is_the_main_one_and_waits_for_nobody() -> None:
    assert processes.is_main() and processes.count() == 1
    processes.join("cpu")
    assert processes.same("x") == "x" and processes.once(lambda: 3) == 3
    with processes.main_first():
        pass
    processes.leave()


@pytest.mark.parametrize(
    ("step", "rows"),
    [
        (0, [4, 4, 4]),
        (1, [4, 4, 4]),
        # 29 examples are 12, 12 and 5: the last batch fills one part, and the next with three rows that count already.
        (2, [4, 1, 0]),
        (3, [4, 4, 4]),
        (5, [4, 1, 0]),
    ],
)
def test_rows_that_fill_up_the_last_batch_do_not_count(step: int, rows: list[int]) -> None:
    assert [own_rows(29, 12, step, 3, process) for process in range(3)] == rows


@pytest.mark.parametrize("examples", [5, 8, 17, 24])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_the_rows_that_count_are_the_first_of_what_accelerate_hands_out(examples: int, processes: int) -> None:
    batches = BatchSampler(range(examples), 8 // processes, drop_last=False)
    parts = [list(BatchSamplerShard(batches, processes, process)) for process in range(processes)]
    seen = [
        row
        for step in range(-(-examples // 8))
        for process, part in enumerate(parts)
        for row in part[step][: own_rows(examples, 8, step, processes, process)]
    ]
    assert seen == list(range(examples))


@pytest.mark.parametrize("process", [0, 1])
def test_a_resumed_epoch_has_the_rows_that_were_left_in_each_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process: int
) -> None:
    """Of 30 rows in batches of 8 an epoch has four steps. Stopped after the sixth, the third and fourth of the second
    epoch are left, as they would have been."""
    monkeypatch.setattr(loop, "count", lambda: 2)
    rows = Dataset.from_list([{"row": row, "length": 7 * row % 31 + 3} for row in range(30)])

    def seen(step: int) -> list[list[int]]:
        """What the Trainer does at the start of an epoch, or in its middle."""
        trainer = ResumableTrainer.__new__(ResumableTrainer)
        trainer.args = SimpleNamespace(train_batch_size=4, seed=3)  # type: ignore[assignment]
        trainer.train_dataset, trainer.state = rows, TrainerState(global_step=step)
        loader = prepare_data_loader(
            DataLoader(rows, batch_size=4, sampler=trainer._get_train_sampler(), collate_fn=list),
            num_processes=2,
            process_index=process,
            put_on_device=False,
        )
        if step % 4:
            loader = skip_first_batches(loader, step % 4)
        loader.set_epoch(step // 4)
        return [[row["row"] for row in batch] for batch in loader]

    first, second = seen(0), seen(4)
    assert len(second) == 4 and first != second
    assert seen(6) == second[2:]


def test_the_means_of_two_processes_are_those_of_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values 1, 2 | 6 have the mean 3. Here 1.5 over two, there 6 over one: 2 * 1.5 * 2/3 = 2 and 2 * 6 * 1/3 = 4.
    Their average is 3."""
    trainer = ResumableTrainer.__new__(ResumableTrainer)
    monkeypatch.setattr(loop, "count", lambda: 2)
    monkeypatch.setattr(loop, "totals", lambda own: [3.0, 0.0])
    monkeypatch.setattr(ResumableTrainer, "_own_rows", lambda self: 2)
    means = [Mean(torch.tensor(1.5), lambda: 2.0), Mean(torch.tensor(0.0), lambda: 0.0)]
    assert [float(value) for value in trainer.of_whole_batch(means)] == pytest.approx([2.0, 0.0])
    # A part that holds nothing but what fills it up adds nothing.
    monkeypatch.setattr(ResumableTrainer, "_own_rows", lambda self: 0)
    assert [float(value) for value in trainer.of_whole_batch(means)] == [0.0, 0.0]
