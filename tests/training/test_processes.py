"""Two processes that train together make the student that one makes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from compress.config import build, compose_settings
from compress.core.errors import InputError
from compress.training import loop, processes
from compress.training.loop import Optimization, training_arguments
from compress.workshop import Workshop

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
    "stages.distill.imitation.optimization.batch_size=8",
    "stages.distill.imitation.optimization.mixed_precision=off",
)


def test_two_processes_make_the_student_that_one_makes(tmp_path: Path, checkpoint: Path, examples: Path) -> None:
    given = [f"model.path={checkpoint}", f"data.train={_of_one_length(examples)}", *SETTINGS]
    one = _made_by_one(given, tmp_path / "one")
    program = tmp_path / "program.py"
    program.write_text("from compress.commands.run import main\nmain()\n", encoding="utf-8")
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
    assert apart < 0.02 * learned, (apart, learned)


def _of_one_length(examples: Path) -> Path:
    """Each half of a batch takes the mean over its own tokens: with as many in each, that is the whole's."""
    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["text"] = " ".join((row["text"].split() * 6)[:6])
    path = examples.with_name("of-one-length.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def _made_by_one(given: list[str], store: Path) -> Path:
    recipe = build(compose_settings("text_classification", [*given, f"store={store}"]), "text_classification")
    torch.set_num_threads(1)
    workshop = Workshop(recipe, warn=print, check=lambda *given: None)
    teacher = workshop.teacher()
    return workshop.produce("distill", teacher, teacher).folder


def test_each_process_takes_its_part_of_the_same_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"width": 32, "steps": 3, "device": "cpu", "seed": 0, "folder": tmp_path}
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
