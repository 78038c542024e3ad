"""What a product of two thin INT8 matrices takes, against the one it replaces.

    python benchmarks/low_rank.py [--threads 1] [--lengths 32,128] [--precision dynamic]

Products of the shapes of MiniLM (384, 1536) and BERT-base (768, 3072) are exported as compress exports them, whole and
at several ranks, and timed by ONNX Runtime in turns. Printed is the time of the two thin products as a share of the
whole one's, beside the share of multiply-adds: where the first is above 1, the rank saves no time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from compress.core.signature import BATCH, SEQUENCE, Port, Signature
from compress.nn.layers import Int8DynamicLinear, Int8StaticLinear, LowRankLinear
from compress.runtimes.onnx.export import export_module

# in, out: query, key and value in one; the attention's output; FFN in; FFN out.
SHAPES = [(384, 1152), (384, 384), (384, 1536), (1536, 384), (768, 2304), (768, 768), (768, 3072), (3072, 768)]
# Of the smaller side. At break-even of multiply-adds it is out / (in + out) and more: a half for a square.
SHARES = (0.0625, 0.125, 0.25, 0.375, 0.5)
RUNS, TURNS = 60, 7


class Product(nn.Module):
    """A product by itself."""

    def __init__(self, product: nn.Module) -> None:
        super().__init__()
        self.product = product

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """inputs: `states`, (batch, length, in)."""
        return self.product(inputs["states"])


def main() -> int:
    """Print a line per shape and length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--lengths", default="32,128", help="tokens of the one example")
    parser.add_argument("--precision", default="dynamic", choices=("dynamic", "static"))
    options = parser.parse_args()
    lengths = [int(length) for length in options.lengths.split(",")]
    print(f"{'in x out':>12} {'tokens':>7} {'whole ms':>9}   time (multiply-adds) at rank")
    for inner, outer in SHAPES:
        ranks = [round(share * min(inner, outer)) for share in SHARES]
        with tempfile.TemporaryDirectory() as name:
            sessions = [session(whole(inner, outer, options.precision), inner, Path(name), options.threads)]
            for rank in ranks:
                module = thin(inner, outer, rank, options.precision)
                sessions.append(session(module, inner, Path(name), options.threads))
        for length in lengths:
            times = timed(sessions, inner, length)
            found = ", ".join(
                f"{rank}: {taken / times[0]:.2f} ({rank * (inner + outer) / (inner * outer):.2f})"
                for rank, taken in zip(ranks, times[1:], strict=True)
            )
            print(f"{f'{inner} x {outer}':>12} {length:7d} {times[0]:9.4f}   {found}", flush=True)
    return 0


def whole(inner: int, outer: int, precision: str) -> nn.Module:
    """One product."""
    return rounded(nn.Linear(inner, outer), precision)


def thin(inner: int, outer: int, rank: int, precision: str) -> nn.Module:
    """Two in its place."""
    module = LowRankLinear(inner, outer, rank, bias=True)
    module.down, module.up = rounded(module.down, precision), rounded(module.up, precision)
    return module


def rounded(linear: nn.Linear, precision: str) -> nn.Module:
    """In INT8."""
    if precision == "dynamic":
        return Int8DynamicLinear.of(linear)
    return Int8StaticLinear.of(linear).fix_inputs(torch.tensor(0.05), torch.tensor(128.0))


def session(module: nn.Module, inner: int, folder: Path, threads: int) -> onnxruntime.InferenceSession:
    """It on the runtime."""
    states, results = (Port(name, (BATCH, SEQUENCE, name), "float32") for name in ("states", "results"))
    signature = Signature(inputs=(states,), output=results, mask=None, fixed={"states": inner})
    path = export_module(Product(module).eval(), signature, {"states": torch.randn(2, 8, inner)}, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def timed(sessions: list[onnxruntime.InferenceSession], inner: int, length: int) -> list[float]:
    """Milliseconds of each: the median over turns of a turn's lower quartile."""
    inputs = {"states": np.random.default_rng(0).standard_normal((1, length, inner), dtype=np.float32)}
    turns: list[list[float]] = [[] for _ in sessions]
    for _ in range(TURNS):
        for taken, opened in zip(turns, sessions, strict=True):
            times = []
            for _ in range(RUNS):
                start = time.perf_counter_ns()
                opened.run(None, inputs)
                times.append((time.perf_counter_ns() - start) / 1e6)
            taken.append(float(np.quantile(times[RUNS // 6 :], 0.25)))
    return [float(np.median(taken)) for taken in turns]


if __name__ == "__main__":
    raise SystemExit(main())
