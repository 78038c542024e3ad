"""Real worker processes on a real graph. No time is asserted, only who was asked what, and when."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compress.core.errors import InputError, StageError
from compress.core.recipe import Measurement
from compress.measure import processes
from compress.measure.accuracy import logits_of
from compress.measure.environment import allowed_cpus
from compress.measure.latency import measure_in_turns, representative
from compress.measure.processes import Candidate, Worker
from compress.measure.worker import load_batches, save_batches
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE


@pytest.fixture
def doubling(tmp_path: Path) -> Candidate:
    """A graph that returns twice its input as logits."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["logits"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", "width"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", "width"])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "model.onnx"
    )
    return Candidate(runtime=OnnxRuntime(threads=1), folder=tmp_path, signature=SIGNATURE)


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
