"""ONNX Runtime: each thread of a session's pool has a processor of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from compress.core.signature import BATCH, Port, Signature
from compress.runtimes.onnx.export import export_module
from compress.runtimes.onnxruntime.session import pool_processors

LINUX = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not say which processors")


@pytest.mark.parametrize(
    ("allowed", "threads", "expected"),
    [({0, 1}, 2, [1]), ({3, 5, 9}, 3, [5, 9]), ({3, 5, 9}, 2, [5]), ({4}, 1, []), ({4}, 2, [])],
)
def test_a_pool_gets_the_processors_after_the_first(
    monkeypatch: pytest.MonkeyPatch, allowed: set[int], threads: int, expected: list[int]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    assert pool_processors(threads) == expected


class Product(nn.Module):
    """Something that a pool is made for."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.dense(inputs["states"])


OPEN = """
import json, os, sys
from pathlib import Path
from compress.core.signature import Signature
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

signature = Signature.from_json(json.loads(sys.argv[2]))
before = set(os.listdir("/proc/self/task"))
session = OnnxRuntime(threads=2).open(Path(sys.argv[1]), signature)
for task in set(os.listdir("/proc/self/task")) - before:
    print(sorted(os.sched_getaffinity(int(task))))
"""


@LINUX
def test_the_pool_of_a_real_session_is_pinned(tmp_path: Path) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("one processor: nothing to pin")
    states, vectors = (Port(name, (BATCH, "width"), "float32") for name in ("states", "vectors"))
    signature = Signature(inputs=(states,), output=vectors, mask=None, fixed={"width": 4})
    export_module(Product(), signature, {"states": torch.zeros(2, 4)}, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path), json.dumps(signature.to_json())],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert str([allowed[1]]) in done.stdout.splitlines(), done.stdout + done.stderr
