"""Run folders written by hand: a teacher of 90 MB, then `prune` and `quantize`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from compress.report.sweep.runs import Run, find_runs

MakeRun = Callable[..., Path]

TEACHER = {"stage": "teacher", "verdict": "baseline", "decision": "keep", "artifact": "t", "accuracy": 0.9,
           "latency_ms_p50": 20.0, "latency_ms_p90": 22.0, "speedup": 1.0, "size_bytes": 90_000_000}  # fmt: skip


def line(stage: str, verdict: str = "passed", decision: str = "keep", **measured: Any) -> dict[str, Any]:
    """One line of a ledger, as far as the report reads it."""
    return {"stage": stage, "verdict": verdict, "decision": decision, "reasons": [], "notes": [], **measured}


def measured(difference: float, speedup: float, megabytes: float, artifact: str, half: float = 0.002) -> dict[str, Any]:
    """A model's numbers; the interval of the difference reaches `half` to either side."""
    return {
        "artifact": artifact, "accuracy": 0.9 + difference, "accuracy_difference": difference,
        "accuracy_interval": [difference - half, difference + half], "latency_ms_p50": 20.0 / speedup,
        "latency_ms_p90": 22.0 / speedup, "speedup": speedup, "speedup_interval": [speedup * 0.9, speedup * 1.1],
        "size_bytes": int(megabytes * 1e6),
    }  # fmt: skip


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    def make(
        name: str,
        rows: list[dict[str, Any]],
        *,
        exported: str | None = "quantize",
        finished: bool = True,
        settings: dict[str, Any] | None = None,
        overrides: tuple[str, ...] = (),
        **summary: Any,
    ) -> Path:
        folder = tmp_path / "sweep" / name
        (folder / ".hydra").mkdir(parents=True)
        lines = [{"reasons": [], "notes": [], **row} for row in (TEACHER, *rows)]
        (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
        known = {"objective": {"max_accuracy_drop": 0.01}, **(settings or {})}
        job = {"job": {"config_name": "mine"}, "runtime": {"cwd": "/data/my news", "config_sources": []}}
        for file, content in (("overrides", list(overrides)), ("hydra", {"hydra": job}), ("config", known)):
            (folder / ".hydra" / f"{file}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        if finished:
            told = {
                "recipe": "mine", "task": {"name": "text_classification"}, "metric": "accuracy", "gates": {},
                "runtime_label": "ONNX Runtime", "teacher": {"artifact": "t"}, "settings": known,
                "exported": None if exported is None else {"stage": exported, "proven": True},
                "student": {"test": {"difference": -0.002, "interval": [-0.006, 0.002], "examples": 700}},
                "examples": {"validation": 900, "test": 700},
                "fingerprints": {"validation": "v" * 64, "test": "w" * 64}, **summary,
            }  # fmt: skip
            (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def runs(make_run: MakeRun, tmp_path: Path) -> list[Run]:
    """Six jobs: two proven, one unproven, one without a model, one that broke, one cut short while it wrote.

    0: -0.2 points, 3 times, 30 MB. 1: -0.4 points, 4 times, 20 MB. 2: -0.9 points, 6 times, 20 MB, and its interval
    ends at -1.1. 3: nothing passed, -5 points. 4: broke in quantize. 5: nothing after prune.
    """

    def settings(heads: float, scheme: str) -> dict[str, Any]:
        return {"stages": {"prune": {"heads": heads}, "quantize": {"scheme": scheme}}}

    def overrides(heads: float, scheme: str) -> tuple[str, ...]:
        return (f"stages.prune.heads={heads}", f"stages.quantize.scheme={scheme}", 'data.train="my file.csv"')

    wide, narrow = measured(-0.001, 2.0, 60.0, "p1"), measured(-0.005, 3.0, 50.0, "p2")
    given: list[tuple[float, str, list[dict[str, Any]], dict[str, Any]]] = [
        (0.75, "static", [line("prune", **wide), line("quantize", **measured(-0.002, 3.0, 30.0, "q0"))], {}),
        (0.75, "dynamic", [line("prune", **wide), line("quantize", **measured(-0.004, 4.0, 20.0, "q1"))], {}),
        (0.5, "dynamic",
         [line("prune", **narrow), line("quantize", "inconclusive", **measured(-0.009, 6.0, 20.0, "q2"))], {}),
        (0.5, "static",
         [line("prune", "failed", "roll_back", **narrow),
          line("quantize", "failed", "roll_back", **measured(-0.05, 3.0, 30.0, "q3"))],
         {"exported": None, "student": None}),
        (0.25, "dynamic",
         [line("prune", **narrow), line("quantize", "error", "stop", reasons=["the loss is not finite"])],
         {"finished": False}),
        (0.25, "static", [line("prune", **wide)], {"finished": False}),
    ]  # fmt: skip
    for number, (heads, scheme, rows, more) in enumerate(given):
        make_run(str(number), rows, settings=settings(heads, scheme), overrides=overrides(heads, scheme), **more)
    with (tmp_path / "sweep" / "5" / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"stage": "quantize", "verd')
    return find_runs([tmp_path / "sweep"])
