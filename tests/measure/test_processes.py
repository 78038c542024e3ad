"""One measurement at a time on a machine, whoever makes it, and whatever happened to the one before."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from compress.core.errors import StageError
from compress.core.signature import Signature
from compress.measure.processes import Candidate, Worker, one_measurement_at_a_time
from compress.measure.worker import save_batches
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files as systems have it: everybody may write, nobody may remove what is not theirs."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    shutil.rmtree(folder)


def measure(said: Path, *, seconds: float = 0.0, user: int | None = None) -> int:
    """A process that measures for so long, as another user perhaps; it writes what happened. Returns its number."""
    number = os.fork()
    if number == 0:
        try:
            if user is not None:
                os.setuid(user)
            with one_measurement_at_a_time():
                said.write_text("measuring", encoding="utf-8")
                time.sleep(seconds)
            said.write_text(f"done at {time.monotonic()}", encoding="utf-8")
        except BaseException as error:  # noqa: BLE001 - a forked process must not return into the tests
            said.write_text(repr(error), encoding="utf-8")
        finally:
            os._exit(0)
    return number


def wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


def test_the_second_waits_for_the_first(shared: Path) -> None:
    said = shared / "said"
    other = measure(said, seconds=0.3)
    wait_for(said.exists)
    with one_measurement_at_a_time():
        began = time.monotonic()
    os.waitpid(other, 0)
    assert began > float(said.read_text(encoding="utf-8").removeprefix("done at ")) - 0.3
    assert said.read_text(encoding="utf-8").startswith("done at ")


def test_a_dead_measurement_blocks_nobody(shared: Path) -> None:
    said = shared / "said"
    other = measure(said, seconds=600)
    # A file is there before what is written to it.
    wait_for(lambda: said.exists() and said.read_text(encoding="utf-8"))
    os.kill(other, signal.SIGKILL)
    os.waitpid(other, 0)
    with one_measurement_at_a_time():
        assert said.read_text(encoding="utf-8") == "measuring"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("first", "second"), [(0, 65534), (65534, 0), (65533, 65534)])
def test_users_share_the_lock(shared: Path, first: int, second: int) -> None:
    for user in (first, second):
        said = shared / f"said-{user}"
        os.waitpid(measure(said, user=user), 0)
        assert said.read_text(encoding="utf-8").startswith("done at "), user


@dataclass(frozen=True, kw_only=True)
class Talkative:
    """A runtime that says more than a pipe holds, and then, with `end`, ends the process."""

    name: ClassVar[str] = "talkative"
    end: bool
    threads: int = 1

    def open(self, folder: Path, signature: Signature) -> Any:
        return self

    def run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        os.write(2, b"so much to say\n" * 100_000)
        if self.end:
            os.write(2, b"and no more\n")
            os._exit(3)
        return batch["input_ids"]


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # The worker builds its runtime by name.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    save_batches([{"input_ids": np.ones((1, 4), dtype=np.int64)}], tmp_path / "batches.npz")
    return tmp_path / "batches.npz"


@pytest.mark.timeout(60)
def test_a_library_that_talks_much_does_not_block_the_measurement(inputs: Path, tmp_path: Path) -> None:
    with Worker(Candidate(runtime=Talkative(end=False), folder=tmp_path, signature=SIGNATURE), inputs) as worker:
        for _ in range(3):
            assert len(worker.ask({"time": [0], "warmup": 1})["milliseconds"]) == 1


@pytest.mark.timeout(60)
def test_the_last_words_of_a_process_that_ended(inputs: Path, tmp_path: Path) -> None:
    candidate = Candidate(runtime=Talkative(end=True), folder=tmp_path, signature=SIGNATURE)
    said = r"ended by itself: (?s:.*)and no more"
    with Worker(candidate, inputs) as worker, pytest.raises(StageError, match=said):
        worker.ask({"time": [0], "warmup": 1})


def decoys(folder: Path) -> Path:
    """A folder with files named like libraries, each of which leaves a trace when it is run."""
    folder.mkdir()
    for name in (
        "numpy",
        "torch",
        "transformers",
        "onnxruntime",
        "json",
        "runpy",
        "multiprocessing",
        "joblib",
        "compress",
    ):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'run')!r}, 'a').write('{name} ')", encoding="utf-8")
    return folder


@pytest.mark.timeout(120)
def test_a_worker_runs_no_file_of_the_current_folder(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = decoys(tmp_path / "data")
    monkeypatch.chdir(folder)
    with Worker(Candidate(runtime=Talkative(end=False), folder=tmp_path, signature=SIGNATURE), inputs) as worker:
        worker.ask({"time": [0], "warmup": 0})
    assert not (folder / "run").exists()


@pytest.mark.timeout(120)
def test_a_class_of_the_users_own_is_found_where_it_was_imported_from(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = decoys(tmp_path / "own")
    (folder / "a_runtime_of_mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    threads: int = 1\n"
        "    def open(self, folder, signature):\n        return self\n"
        "    def run(self, batch):\n        return batch['input_ids']\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(folder)
    runtime = importlib.import_module("a_runtime_of_mine").Mine()
    with Worker(Candidate(runtime=runtime, folder=tmp_path, signature=SIGNATURE), inputs) as worker:
        worker.ask({"time": [0], "warmup": 0})
    assert not (folder / "run").exists()
