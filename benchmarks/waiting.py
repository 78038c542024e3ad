"""How the threads of a training wait for each other: spinning, spinning briefly as in our runs, or asleep. Steps of a
student of two layers, alone and beside others, the ways taking turns in processes of their own.

python -m benchmarks.waiting
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, Self

import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.busy_machine import OTHERS, running
from benchmarks.record import code_facts, commit, keep
from compress.core.waiting import BRIEF, OURS, POLICY, SPINS
from compress.measure.environment import allowed_cpus, describe_processor, versions

WAYS: dict[str, dict[str, str]] = {"spinning": {}, "asleep": {POLICY: "PASSIVE"}, "brief": {SPINS: BRIEF}}
SPINNING, NICE = "a spinning process", "a spinning process of nice 19"
# What runs beside, and how many trainings of one way run at once.
CASES: dict[str, tuple[str | None, int]] = {
    "nothing": (None, 1),
    NICE: (OTHERS[NICE], 1),
    SPINNING: (OTHERS[SPINNING], 1),
    "another training": (None, 2),
}


def main() -> int:
    """Print a line for each turn, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="turns of each way in each case")
    parser.add_argument("--seconds", type=float, default=10, help="of training in each turn")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        train_when_asked()
        return 0
    found: dict[str, dict[str, list[float]]] = {case: {way: [] for way in WAYS} for case in CASES}
    with contextlib.ExitStack() as stack:
        trainings = {way: [stack.enter_context(Training(more)) for _ in range(2)] for way, more in WAYS.items()}
        for number in range(arguments.rounds):
            for case, (program, trained) in CASES.items():
                # In turns, and each first at times.
                for way in [*WAYS][number % len(WAYS) :] + [*WAYS][: number % len(WAYS)]:
                    with running(program):
                        for training in trainings[way][:trained]:
                            training.ask(arguments.seconds)
                        taken = [training.answer() for training in trainings[way][:trained]]
                    found[case][way].append(taken[0])
                    print(f"{case}, {way}: {1000 * taken[0]:.0f} ms a step", flush=True)
    told: dict[str, Any] = {
        "command": f"python -m benchmarks.waiting --rounds {arguments.rounds} --seconds {arguments.seconds:g}",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "machine": {**describe_processor(), "threads": len(allowed_cpus())},
        "versions": versions(("torch", "transformers")),
        **code_facts("waiting"),
        "rows": [row_of(case, ways) for case, ways in found.items()],
    }
    keep(told, "waiting")
    return 0


class Training:
    """A process that trains for some seconds when it is asked to."""

    def __init__(self, more: Mapping[str, str]) -> None:
        free = {name: value for name, value in os.environ.items() if name not in (POLICY, SPINS, OURS)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.waiting", "--train"],
            env={**free, **more},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def ask(self, seconds: float) -> None:
        """Have it train."""
        assert self._process.stdin is not None
        print(seconds, file=self._process.stdin, flush=True)

    def answer(self) -> float:
        """Seconds of a step, the median; of nothing, once it is ready."""
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()


def row_of(case: str, ways: dict[str, list[float]]) -> dict[str, Any]:
    """Of a case: milliseconds of a step in each way, the medians of the turns, and how many times as fast as spinning
    the others are, round by round."""
    return {
        "case": case,
        "milliseconds": {way: round(1000 * statistics.median(seconds), 1) for way, seconds in ways.items()},
        "gains": {
            way: [round(spun / taken, 3) for spun, taken in zip(ways["spinning"], seconds, strict=True)]
            for way, seconds in ways.items()
            if way != "spinning"
        },
    }


def train_when_asked() -> None:
    """Say that all is ready, then train for as many seconds as each line says, and tell the median of a step's."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 1536}
    model = BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=5, **sizes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    step(model, optimizer)
    print(0.0, flush=True)
    for line in sys.stdin:
        taken: list[float] = []
        began = time.perf_counter()
        while len(taken) < 3 or time.perf_counter() - began < float(line):
            start = time.perf_counter()
            step(model, optimizer)
            taken.append(time.perf_counter() - start)
        print(statistics.median(taken), flush=True)


def step(model: BertForSequenceClassification, optimizer: torch.optim.Optimizer) -> None:
    """One of a batch of texts, with a loss of output and hidden states."""
    tokens = torch.randint(0, 30522, (32, 40))
    answer = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
    loss = answer.logits.pow(2).mean() + torch.stack([state.pow(2).mean() for state in answer.hidden_states]).sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


if __name__ == "__main__":
    sys.exit(main())
