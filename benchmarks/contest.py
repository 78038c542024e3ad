"""Who takes part, and how they are measured: with compress's own workers, scores, turns and intervals."""

from __future__ import annotations

import dataclasses
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from omegaconf import OmegaConf

from benchmarks.record import machine_facts
from compress.cli.config import build, register
from compress.core.evaluation import Latency
from compress.core.recipe import Measurement, Recipe
from compress.measure.accuracy import write_batches
from compress.measure.environment import versions
from compress.measure.evaluate import score
from compress.measure.latency import measure_in_turns, representative
from compress.measure.paired import paired_interval
from compress.measure.processes import Candidate, Worker
from compress.measure.statistics import percentiles, speedup
from compress.nn.checkpoint import load_model, read_config
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

CONFIDENCE = 0.95
LONG = 128


@dataclass(frozen=True)
class Reading:
    """The examples as one tokenizer reads them: encoded, all of them for scores, and those that are timed."""

    examples: Dataset
    scored: Path
    timed: Path


@dataclass(frozen=True)
class Contender:
    """A model in one form, on one runtime. seconds: what its stages took, with their gates, where compress made it."""

    name: str
    candidate: Candidate
    size_bytes: int
    reading: Reading
    ours: bool = False
    seconds: float | None = None


@dataclass(frozen=True)
class Run:
    """A finished run of compress."""

    folder: Path
    recipe: Recipe
    summary: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Its settings and summary. Raises SystemExit where they are not there."""
        paths = (folder / ".hydra" / "config.yaml", folder / "summary.json", folder / "export" / "model.onnx")
        for path in paths:
            if not path.is_file():
                raise SystemExit(f"{folder} has no {path.relative_to(folder)}; give the folder of a finished run.")
        register()
        summary = json.loads(paths[1].read_text(encoding="utf-8"))
        return cls(folder, build(OmegaConf.load(paths[0]), summary["recipe"]), summary)

    @property
    def teacher(self) -> Path:
        """The teacher's artifact."""
        folder = self.recipe.store / "artifacts" / self.summary["teacher"]["artifact"]
        if not folder.is_dir():
            raise SystemExit(f"{folder} is gone, the teacher of {self.folder}; run compress again, or from its folder.")
        return folder

    @property
    def stages(self) -> list[dict[str, Any]]:
        """The ledger's rows after the teacher's."""
        lines = (self.folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
        return [row for row in map(json.loads, lines) if row["stage"] != "teacher"]

    @property
    def seconds(self) -> float | None:
        """What the stages took with their gates, or None where the store had some of them."""
        return None if any(row["reused"] for row in self.stages) else sum(row["seconds"] for row in self.stages)

    @property
    def name(self) -> str:
        """The stages that the exported model went through."""
        kept = [row["stage"] for row in self.stages if row["decision"] == "keep"]
        return f"compress: {', '.join(kept)}; {self.recipe.runtime.label}"


class Contest(ABC):
    """Forms of one teacher. long: rows of 128 tokens that are timed. scored: at most so many test examples.

    script: which benchmark this is. reference: the contender whose answers the others' are compared with; baseline: the
    one whose time is.
    """

    script: ClassVar[str]
    reference: ClassVar[str]
    baseline: ClassVar[str]

    def __init__(
        self,
        folders: Sequence[Path],
        work: Path,
        measurement: Measurement,
        *,
        long: int,
        scored: int | None,
    ) -> None:
        self.runs = [Run.read(folder) for folder in folders]
        first = self.runs[0]
        for run in self.runs[1:]:
            if run.summary["teacher"]["artifact"] != first.summary["teacher"]["artifact"]:
                raise SystemExit(f"{run.folder} and {first.folder} have two teachers; only one can be compared.")
        self.work, self.measurement, self.long = work, measurement, long
        self.task, self.threads = first.recipe.task, first.recipe.runtime.threads
        self.model, self.processor = load_model(first.teacher), self.task.load_processor(first.teacher)
        splits = first.recipe.data.load()
        self.train = splits.train
        self.split = "validation" if splits.test is None else "test"
        self.raw = splits.validation if splits.test is None else splits.test
        if scored is not None:
            self.raw = self.raw.select(range(min(scored, len(self.raw))))
        self.chosen: list[int] = []
        self.reading = self.read(first.teacher)

    def hold(self) -> dict[str, Any]:
        """Everything that was measured, in plain values; the contenders in the order of `contenders`."""
        contenders = list(self.contenders())
        evaluations = {}
        for contender in contenders:
            tell(f"scores: {contender.name}")
            evaluations[contender.name] = score(
                contender.candidate,
                "",
                contender.reading.examples,
                contender.reading.scored,
                self.task,
                read_config(contender.candidate.folder),
                split=self.split,
            )
        memory = {contender.name: self.memory(contender) for contender in contenders}
        tell("latency")
        timed = range(len(self.chosen) + self.long)
        paths = [contender.reading.timed for contender in contenders]
        rounds = measure_in_turns([c.candidate for c in contenders], paths, timed, self.measurement)
        real = {c.name: self.part(r, slice(None, len(self.chosen))) for c, r in zip(contenders, rounds, strict=True)}
        long = {c.name: self.part(r, slice(len(self.chosen), None)) for c, r in zip(contenders, rounds, strict=True)}
        reference = np.asarray(evaluations[self.reference].scores)
        rows = []
        for contender in contenders:
            name, evaluation = contender.name, evaluations[contender.name]
            differences = np.asarray(evaluation.scores) - reference
            rows.append(
                {
                    "name": name,
                    "ours": contender.ours,
                    "score": float(evaluation.score),
                    "difference": float(differences.mean()),
                    "interval": list(map(float, paired_interval(differences, evaluation.groups, CONFIDENCE))),
                    "real": self.times(real[self.baseline], real[name]),
                    "long": self.times(long[self.baseline], long[name]),
                    "size_bytes": contender.size_bytes,
                    "memory_bytes": memory[name],
                    "seconds": contender.seconds,
                }
            )
        told = machine_facts(self.script, OnnxRuntime(threads=self.threads))
        return {
            **told,
            "versions": told["versions"] | versions(("openvino", "nncf", "ctranslate2")),
            "metric": evaluations[self.reference].metric,
            "split": self.split,
            "examples": len(self.raw),
            "confidence": CONFIDENCE,
            "reference": self.reference,
            "baseline": self.baseline,
            "long_tokens": self.long_task.max_length,
            "measurement": dataclasses.asdict(self.measurement),
            "rows": rows,
        }

    @abstractmethod
    def contenders(self) -> Iterator[Contender]:
        """The models that take part, made as they go. Two are named by `reference` and `baseline`."""

    def own(self, run: Run, name: str | None = None) -> Contender:
        """What a run exported, by its stages where it has no other name."""
        folder = run.folder / "export"
        candidate = Candidate(runtime=run.recipe.runtime, folder=folder, signature=SIGNATURE)
        size = (folder / "model.onnx").stat().st_size
        return Contender(name or run.name, candidate, size, self.read(folder), ours=True, seconds=run.seconds)

    def read(self, folder: Path) -> Reading:
        """The examples as the tokenizer in `folder` reads them: a smaller model may have one of its own."""
        processor, config = self.task.load_processor(folder), read_config(folder)
        examples = self.task.encode(self.raw, processor, config, self.split)
        if not self.chosen:
            self.chosen = representative(examples["length"], self.measurement.examples)
        long = self.long_task.encode(self.joined(), processor, config, self.split)
        if set(long["length"]) != {self.long_task.max_length}:
            raise SystemExit(f"the test examples are too few to fill {self.long} rows of {LONG} tokens.")
        timed = Dataset.from_list([*examples.select(self.chosen), *long])
        number = len(list(self.work.glob("*.npz")))
        reading = Reading(examples, self.work / f"{number}.npz", self.work / f"{number + 1}.npz")
        write_batches(examples, self.task, processor, SIGNATURE, reading.scored)
        write_batches(timed, self.task, processor, SIGNATURE, reading.timed)
        return reading

    @property
    def long_task(self) -> Any:
        """The task at 128 tokens."""
        return dataclasses.replace(self.task, max_length=min(LONG, self.model.config.max_position_embeddings))

    def joined(self) -> Dataset:
        """Texts of several test examples together, far longer than 128 tokens."""
        columns = self.task.text_columns
        parts = np.array_split(np.arange(len(self.raw)), self.long)
        texts = {name: [" ".join(self.raw.select(part[:LONG])[name]) for part in parts] for name in columns}
        labels = list(self.raw[self.task.label])
        other = next(i for i, label in enumerate(labels) if label != labels[0])
        return Dataset.from_dict({**texts, self.task.label: [labels[0], *[labels[other]] * (self.long - 1)]})

    def memory(self, contender: Contender) -> int | None:
        """The most memory that a process held which opened the model and answered what is timed, in bytes."""
        with Worker(contender.candidate, contender.reading.timed) as worker:
            worker.ask({"time": list(range(len(self.chosen) + self.long)), "warmup": 0})
            status = Path(f"/proc/{worker.pid}/status")
            if not status.exists():
                return None
            lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
            return int(lines["VmHWM"].split()[0]) * 1024

    def part(self, rounds: Any, which: slice) -> Any:
        """Of every round these examples."""
        return tuple(values[which] for values in rounds)

    def times(self, baseline: Any, own: Any) -> dict[str, Any]:
        """p50, p90, and the ratio of the baseline's time to this one's."""
        latency = Latency(rounds=own, baseline_rounds=baseline, launches=self.measurement.launches)
        (p50, p90), (ratio, interval) = percentiles(latency), speedup(latency, CONFIDENCE)
        return {"p50": p50, "p90": p90, "speedup": float(ratio), "interval": list(map(float, interval))}


def tell(message: str) -> None:
    """To people who wait."""
    print(message, file=sys.stderr, flush=True)
