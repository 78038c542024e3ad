"""Real worker processes on a real graph. No time is asserted, only who was asked what, and when."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.core.errors import InputError, StageError
from compress.core.recipe import Measurement
from compress.measure import latency, processes
from compress.measure.accuracy import logits_of
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus
from compress.measure.latency import Rounds, Turns, alike, measure_in_turns, representative, uses_in_turns
from compress.measure.processes import Candidate, Worker
from compress.measure.waits import read_counters
from compress.measure.worker import load_batches, save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def batches(tmp_path: Path) -> Path:
    path = tmp_path / "batches.npz"
    save_batches([{"x": np.full((1, n), n, dtype=np.float32)} for n in (1, 2, 3)], path)
    return path


def test_batches_survive_the_file(batches: Path) -> None:
    assert [batch["x"].tolist() for batch in load_batches(batches)] == [[[1]], [[2, 2]], [[3, 3, 3]]]


def test_logits_come_from_a_process_of_their_own(doubling: Candidate, batches: Path) -> None:
    assert [values.tolist() for values in logits_of(doubling, batches)] == [[[2]], [[4, 4]], [[6, 6, 6]]]


def test_turns_give_every_candidate_the_same_examples(doubling: Candidate, batches: Path) -> None:
    measurement = Measurement(examples=2, launches=2, rounds=3, warmup=1)
    first, second = measure_in_turns([doubling, doubling], [batches, batches], [0, 2], measurement)
    assert len(first) == len(second) == 6
    assert all(len(times) == 2 and min(times) > 0 for times in (*first, *second))


@pytest.fixture
def pooled(tmp_path: Path) -> Candidate:
    """A product that is large enough for two threads to share."""
    folder = tmp_path / "pooled"
    folder.mkdir()
    weight = helper.make_tensor("w", TensorProto.FLOAT, [256, 256], np.ones(256 * 256, dtype=np.float32))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 256])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 256])],
        [weight],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    return Candidate(runtime=OnnxRuntime(threads=2), folder=folder, signature=SIGNATURE)


@pytest.mark.skipif(len(allowed_cpus()) < 2 or not Path("/proc").exists(), reason="needs two processors, and Linux")
def test_a_turn_begins_when_the_threads_of_the_one_before_sleep(pooled: Candidate, tmp_path: Path) -> None:
    path = tmp_path / "wide.npz"
    save_batches([{"x": np.ones((256, 256), dtype=np.float32)}], path)
    with Worker(pooled, path) as worker:
        before, after = [], []
        for _ in range(20):
            worker.ask({"time": [0] * 5, "warmup": 0})
            before.append(running(worker))
            worker.wait_until_asleep()
            after.append(running(worker))
        # The pool's second thread still looks for work when the answer is there.
        assert any(before) and not any(after)


def running(worker: Worker) -> int:
    """How many threads of the process are on a processor or wait for one."""
    stats = [path.read_text("utf-8") for path in Path(f"/proc/{worker.pid}/task").glob("*/stat")]
    return sum(stat.rpartition(")")[2].split()[0] == "R" for stat in stats)


@pytest.mark.parametrize("blind", [True, False])
def test_the_wait_ends_where_nothing_says_who_runs(
    pooled: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: bool
) -> None:
    path = tmp_path / "wide.npz"
    save_batches([{"x": np.ones((2, 256), dtype=np.float32)}], path)
    waited: list[float] = []
    with Worker(pooled, path) as worker:
        monkeypatch.setattr(processes.time, "sleep", waited.append)
        if blind:
            monkeypatch.setattr(processes.Path, "exists", lambda path: False)
        else:
            monkeypatch.setattr(processes, "_runs", lambda tasks: True)
            monkeypatch.setattr(processes, "LONGEST_REST_S", 0.01)
        worker.wait_until_asleep()
    assert waited == [processes.BLIND_REST_S] if blind else waited and set(waited) == {0.001}


def test_representative_lengths() -> None:
    assert representative([5, 1, 4, 2, 3, 6], 3) == [3, 2, 5]  # lengths 2, 4, 6: the middles of three equal parts
    assert representative([3, 1, 2], 5) == [1, 2, 0]


def test_a_missing_model_is_bad_input(tmp_path: Path, batches: Path) -> None:
    with pytest.raises(InputError, match=r"no model\.onnx"):
        Worker(Candidate(runtime=OnnxRuntime(threads=1), folder=tmp_path / "none", signature=SIGNATURE), batches)


def test_a_worker_that_dies_is_reported(doubling: Candidate, batches: Path) -> None:
    with Worker(doubling, batches) as worker:
        worker._process.kill()
        worker._process.wait()
        with pytest.raises(StageError, match="ended by itself"):
            worker.ask({"time": [0], "warmup": 0})


class Scripted:
    """A worker that waits in its turns as it is told: milliseconds of 100, one after the other for all of them."""

    pid = 0
    waited: ClassVar[list[float]] = []
    asked: ClassVar[list[str]] = []

    def __init__(self, candidate: Candidate, batches: Path) -> None:
        self._name = candidate.folder.name

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *reason: object) -> None:
        pass

    def wait_until_asleep(self) -> None:
        """It sleeps."""

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """The first of each launch is no turn."""
        self.asked.append(self._name)
        waited = self.waited.pop(0) if self.waited else 0.0
        numbers = [float(len(self.asked))] * len(command["time"])
        return {"milliseconds": numbers, "first": numbers, "peak_bytes": 0, "waits": [waited * 1e6, 100e6]}


@pytest.fixture
def scripted(doubling: Candidate, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Bystanders, list[Rounds]]]:
    """`scripted(waited, measurement)`: two candidates, A and B, that wait as told. A round takes a second, and others
    run all the while."""

    def measure(waited: list[float], measurement: Measurement) -> tuple[Bystanders, list[Rounds]]:
        monkeypatch.setattr(Scripted, "waited", list(waited))
        monkeypatch.setattr(Scripted, "asked", [])
        monkeypatch.setattr(latency, "Worker", Scripted)
        clock = count()
        monkeypatch.setattr(latency, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
        watch = Bystanders([0])
        monkeypatch.setattr(watch, "_others", lambda processes: 1e9)
        both = [dataclasses.replace(doubling, folder=Path(name)) for name in "AB"]
        return watch, measure_in_turns(both, [Path("none")] * 2, [0], measurement, watch)

    return measure


# Of each launch: A and B are asked once, then in turns.
QUIET = [0.0, 0.0]


@pytest.mark.usefixtures("this_machine_counts")
def test_a_disturbed_round_is_thrown_away_as_a_whole_and_taken_again(scripted: Callable) -> None:
    measurement = Measurement(examples=1, launches=1, rounds=2, warmup=0, retry_seconds=10)
    # Round 1: A B, quiet. Round 2: B A, in which A waits. Once more B A, quiet.
    watch, (first, second) = scripted([*QUIET, 0.0, 0.0, 0.0, 50.0, 0.0, 0.0], measurement)
    assert "".join(Scripted.asked) == "AB" + "AB" + "BA" + "BA"
    # What was asked fifth and sixth is gone.
    assert (first, second) == (((3.0,), (8.0,)), ((4.0,), (7.0,)))
    assert (watch.disturbed, watch.disturbed_rounds, watch.repeated_rounds, watch.kept) == (False, 0, 1, 2)


@pytest.mark.usefixtures("this_machine_counts")
def test_when_the_time_is_up_what_is_disturbed_stays_and_is_known(scripted: Callable) -> None:
    measurement = Measurement(examples=1, launches=1, rounds=2, warmup=0, retry_seconds=2)
    watch, (first, second) = scripted([50.0] * 20, measurement)
    # Two rounds of a second each were thrown away.
    assert "".join(Scripted.asked) == "AB" + "AB" * 3 + "BA"
    assert len(first) == len(second) == 2
    assert (watch.disturbed, watch.disturbed_rounds, watch.repeated_rounds) == (True, 2, 2)


@pytest.mark.usefixtures("this_machine_counts")
def test_each_launch_has_its_share_of_the_time(scripted: Callable) -> None:
    measurement = Measurement(examples=1, launches=2, rounds=1, warmup=0, retry_seconds=4)
    watch, _ = scripted([50.0] * 40, measurement)
    # Two seconds in the first; in the second its own two.
    assert "".join(Scripted.asked) == "AB" + "AB" * 3 + "BA" + "AB" * 3
    # What a quiet one leaves, the next may spend.
    watch, _ = scripted([*QUIET, 0.0, 0.0, *[50.0] * 40], measurement)
    assert "".join(Scripted.asked) == "AB" + "AB" + "BA" + "AB" * 5
    assert (watch.disturbed_rounds, watch.repeated_rounds) == (1, 4)


@pytest.mark.usefixtures("this_machine_counts")
def test_without_time_for_it_nothing_is_taken_again(scripted: Callable) -> None:
    watch, _ = scripted([50.0] * 40, Measurement(examples=1, launches=1, rounds=3, warmup=0))
    assert len(Scripted.asked) == 2 + 3 * 2
    assert (watch.disturbed, watch.disturbed_rounds, watch.repeated_rounds) == (True, 3, 0)


@pytest.mark.usefixtures("this_machine_counts")
def test_what_stays_disturbed_is_left_out_where_enough_is_left(scripted: Callable) -> None:
    measurement = Measurement(examples=1, launches=2, rounds=3, warmup=0)
    # Each launch: A B, B A, A B. In the first B waits in its second round; in the second nobody does.
    first = [*QUIET, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0]
    watch, (of_a, of_b) = scripted([*first, *[0.0] * 8], measurement)
    assert (watch.disturbed, watch.disturbed_rounds, watch.kept, watch.left_out_rounds) == (False, 0, 4, 2)
    # Of both launches two: without the disturbed one, and without the last.
    assert len(of_a) == len(of_b) == 4
    assert of_a[:2] == ((3.0,), (7.0,)) and of_b[:2] == ((4.0,), (8.0,))


def test_the_rounds_that_count() -> None:
    def launch(*disturbed: bool | None) -> list[tuple[dict, bool | None]]:
        return [({0: {"milliseconds": [number]}}, told) for number, told in enumerate(disturbed)]

    def counted(*launches: list[tuple[dict, bool | None]]) -> list[list[int]]:
        return [[answers[0]["milliseconds"][0] for answers, _ in one] for one in latency.quiet_rounds(launches)]

    assert counted(launch(False, True, False), launch(False, False, False)) == [[0, 2], [0, 1]]
    # One of three is less than two thirds; of what nobody knows nothing is left out.
    assert counted(launch(True, True, False), launch(False, False, False)) == [[0, 1, 2], [0, 1, 2]]
    assert counted(launch(None, True), launch(None, False)) == [[0, 1], [0, 1]]
    # Nor is a round of which nobody knows one that counts, though others are left out.
    assert counted(launch(None, False, False), launch(False, False, False)) == [[1, 2], [0, 1]]
    assert counted() == []


def test_a_turn_is_over_when_its_worker_sleeps_and_a_launch_begins_before_its_workers(
    doubling: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Telling(Scripted):
        """Says when it is made, asked and asleep; uses 99, 98, ... bytes, and half of a use until the first answer."""

        def __init__(self, candidate: Candidate, batches: Path) -> None:
            super().__init__(candidate, batches)
            events.append(f"{self._name} made")

        def wait_until_asleep(self) -> None:
            events.append(f"{self._name} asleep")

        def ask(self, command: dict[str, Any]) -> dict[str, Any]:
            events.append(f"{self._name} asked")
            (whole,) = super().ask(command)["milliseconds"]
            told = {"milliseconds": [whole], "first": [whole / 2], "peak_bytes": 100 - int(whole)}
            return {**told, "waits": [0, 100e6]}

    monkeypatch.setattr(Scripted, "asked", [])
    monkeypatch.setattr(latency, "Worker", Telling)
    watch = Bystanders([0])
    monkeypatch.setattr(watch, "begin_launch", lambda: events.append("launch"))
    both = [dataclasses.replace(doubling, folder=Path(name)) for name in "AB"]
    measurement = Measurement(examples=1, launches=2, rounds=2, warmup=0)
    found = uses_in_turns(both, [Path("none")] * 2, [0], measurement, watch)
    first = ["launch", "A made", "B made", "A asked", "A asleep", "B asked", "B asleep"]
    turns = ["A asked", "A asleep", "B asked", "B asleep", "B asked", "B asleep", "A asked", "A asleep"]
    second = ["launch", "B made", "A made", "B asked", "B asleep", "A asked", "A asleep"]
    assert events == [*first, *turns, *second, *turns]
    # The calls in their order: 1 and 2 are no turns, nor are 7 and 8.
    assert found == [
        Turns(whole=((3.0,), (6.0,), (9.0,), (12.0,)), first=((1.5,), (3.0,), (4.5,), (6.0,)), peak_bytes=97),
        Turns(whole=((4.0,), (5.0,), (10.0,), (11.0,)), first=((2.0,), (2.5,), (5.0,), (5.5,)), peak_bytes=96),
    ]


def test_watched_are_as_many_processors_as_the_candidate_with_most_threads_uses(
    doubling: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: list[list[int]] = []

    def watch(cpus: list[int]) -> Bystanders:
        watched.append(cpus)
        return Bystanders(cpus)

    monkeypatch.setattr(latency, "Worker", Scripted)
    monkeypatch.setattr(latency, "Bystanders", watch)
    monkeypatch.setattr(latency, "allowed_cpus", lambda: [3, 5, 7])
    two = dataclasses.replace(doubling, runtime=OnnxRuntime(threads=2))
    measurement = Measurement(examples=1, launches=1, rounds=1, warmup=0)
    measure_in_turns([doubling, two], [Path("none")] * 2, [0], measurement)
    assert watched == [[3, 5]]


def test_a_worker_tells_what_its_threads_waited(doubling: Candidate, batches: Path) -> None:
    with Worker(doubling, batches) as worker:
        waits = worker.ask({"time": [0, 1, 2] * 50, "warmup": 0})["waits"]
    if read_counters() is None:
        assert waits is None
    else:
        waited, wall = waits
        assert waited >= 0 and wall > 0


def test_alike_are_those_of_like_length() -> None:
    """Of 5, 2, 9, 2, 7 and 3 tokens the shortest two are places 1 and 3, then 5 and 0, then 4 and 2."""
    assert alike([5, 2, 9, 2, 7, 3], 2) == [[1, 3], [5, 0], [4, 2]]
    # Four fill no second batch of three, and two not even one.
    assert alike([4, 1, 3, 2], 3) == [[1, 3, 2]] and alike([4, 1], 3) == []
