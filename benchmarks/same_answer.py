"""Which INT8 form gives a text the same answer whatever stands beside it in a batch, and how fast each form is.

    python -m benchmarks.same_answer --work DIR            # the classifier, its forms, and what they answer
    python -m benchmarks.same_answer --work DIR --times    # how fast the forms are, on a machine that does nothing else

MiniLM-L6 is fine-tuned on BBC passages and distilled to three layers with ReLU, fused, and quantized in each form.
2,000 passages that no training saw are answered alone, in batches of 8 and of 32 (as drawn: short ones are padded to
long ones), and padded to twice their length; with one thread and with all. Counted are those that get another class
than alone with one thread. Times: one text at a time, and 32 of like length, each form in a process of its own, in
turns. Kept as benchmarks/results/same_answer.json; `--times` adds to what is there, and does not ask the models again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

import compress
from benchmarks import int8_products, record
from benchmarks.render.forms import same_answer
from compress.core.evaluation import Latency
from compress.core.recipe import Measurement
from compress.core.signature import Signature
from compress.measure.accuracy import logits_of
from compress.measure.bystanders import Bystanders
from compress.measure.environment import allowed_cpus
from compress.measure.latency import alike, measure_each_in_turns, representative
from compress.measure.processes import Candidate
from compress.measure.statistics import speedup
from compress.measure.worker import save_batches
from compress.nn.checkpoint import load_model
from compress.nn.forward import numpy_batch
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store
from compress.runtimes.onnxruntime.runtime import OnnxRuntime

NAME, SEED, TEXTS = "same_answer", 23, 2000
CLASSIFIER = ("data.passages=6000", "stages.distill.layers=3", "stages.distill.epochs=2")
CONTROL = "dynamic"
TURNS = Measurement(examples=16, launches=4, rounds=6, warmup=3, retry_seconds=20.0)
TOGETHER, BATCHES_TIMED, CONFIDENCE = 32, 6, 0.975
TIMED, ALONE = "timed.json", "one text"


@dataclass(frozen=True)
class Form:
    """label: for people. stage: of `stage/quantize`; None for FP32. rewrite: of the exported graph."""

    label: str
    stage: str | None
    rewrite: Callable[[onnx.ModelProto], None] | None = None


FORMS: Mapping[str, Form] = {
    "fp32": Form("FP32", None),
    "dynamic": Form("a range for each batch (`dynamic`)", "dynamic"),
    "rows": Form("a range for each row, its scale outside the product", "static", int8_products.ranges_of_rows),
    "static": Form("fixed ranges (`static`)", "static"),
    "static_integers": Form("fixed ranges, no Gemm", "static", int8_products.integers_everywhere),
    "static_inside": Form("fixed ranges, no Gemm, bias inside, no ReLU", "static", int8_products.bias_inside),
    "blocks": Form("weights in blocks of 32, `MatMulNBits` (`blocks`)", "blocks"),
}
Rows = Sequence[Mapping[str, Any]]


def main() -> int:
    """Answer, or time; print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where the models are kept")
    parser.add_argument("--times", action="store_true", help="only time the forms: 3 minutes, on a quiet machine")
    arguments = parser.parse_args()
    work: Path = arguments.work.resolve()
    path = record.RESULTS / f"{NAME}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if arguments.times:
        found = {**before, "times": timed(work)}
    else:
        found = {**Laboratory(work).answers(), **{name: before[name] for name in ("times",) if name in before}}
    record.keep(found, NAME)
    print(same_answer(found))
    return 0


class Laboratory:
    """One classifier in all forms, and the texts that they answer."""

    def __init__(self, work: Path) -> None:
        self.work = work
        loaded, _, parent, _ = self._made(CONTROL)
        self.task, self.signature = loaded.recipe.task, loaded.signature
        self.processor = loaded.encoded(parent).processor
        self.rows: Rows = drawn([*loaded.examples["test"], *loaded.examples["validation"]])
        self.labels = [int(row["labels"]) for row in self.rows]

    def answers(self) -> dict[str, Any]:
        """What each form answers, and how much that depends on."""
        self.keep_timed()
        threads = sorted({1, len(allowed_cpus())})
        batches = arrangements(len(self.rows))
        rows, float_answers = [], None
        for name, form in FORMS.items():
            folder = self.exported(name)
            outputs = {
                (count, way): self._outputs(folder, count, parts, double=way == "padded to twice")
                for count in threads
                for way, parts in batches.items()
            }
            alone = outputs[1, "alone"]
            float_answers = alone if float_answers is None else float_answers
            rows.append(
                {
                    "form": name,
                    "label": form.label,
                    "bytes": (folder / "model.onnx").stat().st_size,
                    "right": int((alone.argmax(axis=1) == self.labels).sum()),
                    "other_than_fp32": changed(float_answers, alone),
                    "changed": [
                        {
                            "threads": count,
                            "way": way,
                            "changed": changed(alone, found),
                            "largest_difference": float(np.abs(found - alone).max()),
                        }
                        for (count, way), found in outputs.items()
                    ],
                }
            )
            print(rows[-1], flush=True)
        facts = record.machine_facts(NAME, OnnxRuntime(threads=threads[-1]))
        told = {"texts": len(self.rows), "largest_logit": float(np.abs(float_answers).max()), "rows": rows}
        return {**facts, **told}

    def keep_timed(self) -> None:
        """Write what is timed, and of what signature, so that timing needs nothing but the folder."""
        lengths = [row["length"] for row in self.rows]
        groups = alike(lengths, TOGETHER)
        timed = {
            ALONE: [[i] for i in representative(lengths, TURNS.examples)],
            f"{TOGETHER} of like length": [groups[i] for i in representative(list(range(len(groups))), BATCHES_TIMED)],
        }
        for number, parts in enumerate(timed.values()):
            save_batches([self._batch(part, double=False) for part in parts], self.work / f"timed{number}.npz")
        told = {"ways": {way: len(parts) for way, parts in timed.items()}, "signature": self.signature.to_json()}
        (self.work / TIMED).write_text(json.dumps(told), encoding="utf-8")

    def exported(self, name: str) -> Path:
        """The folder of a form, made where it is not there."""
        folder = self.work / "forms" / name
        if not (folder / "model.onnx").is_file():
            form = FORMS[name]
            loaded, store, parent, teacher = self._made(form.stage or CONTROL)
            entry = parent
            if form.stage is not None:
                entry = make_or_find(store, stage_artifact(loaded, "quantize", parent, teacher))
            folder.mkdir(parents=True, exist_ok=True)
            batch = self.task.collate([self.rows[0], self.rows[1]], self.processor)
            inputs: dict[str, torch.Tensor] = {port: batch[port] for port in self.signature.names}
            OnnxRuntime(threads=1).export(load_model(entry.folder), self.signature, inputs, folder)
            if form.rewrite is not None:
                model = onnx.load(folder / "model.onnx")
                form.rewrite(model)
                onnx.save(model, folder / "model.onnx")
        return folder

    def _made(self, stage: str) -> tuple[LoadedRecipe, Store, Entry, Entry]:
        """The recipe with this way to quantize, its store, the classifier in FP32, and its teacher."""
        settings = (*CLASSIFIER, "order=[distill,fuse,quantize]", f"stage/quantize@stages.quantize={stage}")
        recipe = compress.recipe("quickstart", *settings, f"store={self.work / 'store'}")
        loaded, store = load(recipe, warn=print, check=lambda *given: None)
        teacher = made = make_or_find(store, teacher_artifact(loaded))
        for each in ("distill", "fuse"):
            made = make_or_find(store, stage_artifact(loaded, each, made, teacher))
        return loaded, store, made, teacher

    def _outputs(self, folder: Path, threads: int, parts: Sequence[Sequence[int]], *, double: bool) -> np.ndarray:
        """The logits of all texts, in their own order."""
        candidate = Candidate(runtime=OnnxRuntime(threads=threads), folder=folder, signature=self.signature)
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "batches.npz"
            save_batches([self._batch(part, double=double) for part in parts], path)
            outputs = np.concatenate(logits_of(candidate, path))
        return outputs[np.argsort([i for part in parts for i in part])]

    def _batch(self, part: Sequence[int], *, double: bool) -> dict[str, np.ndarray]:
        batch = numpy_batch(self.signature, self.task.collate([self.rows[i] for i in part], self.processor))
        return doubled(batch, self.signature) if double else batch


def timed(work: Path) -> dict[str, Any]:
    """How fast each form is. Raises SystemExit where the forms were not made."""
    if not (work / TIMED).is_file():
        raise SystemExit(f"{work} has no {TIMED}: make the forms first, python -m benchmarks.{NAME} --work {work}")
    told = json.loads((work / TIMED).read_text(encoding="utf-8"))
    runtime, signature = OnnxRuntime(threads=len(allowed_cpus())), Signature.from_json(told["signature"])
    candidates = [Candidate(runtime=runtime, folder=work / "forms" / name, signature=signature) for name in FORMS]
    ways = []
    for number, (way, calls) in enumerate(told["ways"].items()):
        watch = Bystanders(allowed_cpus()[: runtime.threads])
        files, chosen = [work / f"timed{number}.npz"] * len(candidates), [range(calls)] * len(candidates)
        rounds = measure_each_in_turns(candidates, files, chosen, TURNS, watch)
        ways.append({"way": way, "disturbed": watch.disturbed, "rows": compared(rounds)})
    return {**record.machine_facts(NAME, runtime), "ways": ways}


def drawn(rows: Rows) -> Rows:
    """The texts that are answered."""
    return [rows[i] for i in np.random.default_rng(SEED).permutation(len(rows))[:TEXTS]]


def arrangements(count: int) -> dict[str, list[list[int]]]:
    """Which texts stand together, by the arrangement's name. They come as they were drawn, so that lengths mix."""
    alone = [[i] for i in range(count)]

    def of(size: int) -> list[list[int]]:
        return [list(range(start, min(start + size, count))) for start in range(0, count, size)]

    return {"alone": alone, "batches of 8": of(8), "batches of 32": of(32), "padded to twice": alone}


def doubled(batch: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Padded with zeros to twice the length."""
    return {
        name: np.pad(values, ((0, 0), (0, values.shape[1]))) if name in signature.names else values
        for name, values in batch.items()
    }


def changed(alone: np.ndarray, others: np.ndarray) -> int:
    """How many texts get another class. alone, others: (texts, classes)."""
    return int((alone.argmax(axis=1) != others.argmax(axis=1)).sum())


def compared(rounds: Sequence[Any]) -> list[dict[str, Any]]:
    """For each form its median time of a call, and how many times as fast as the control it is, with a 95% interval.
    rounds: of each form, as `measure_each_in_turns` gives them."""
    control = rounds[list(FORMS).index(CONTROL)]
    rows = []
    for name, own in zip(FORMS, rounds, strict=True):
        ratio, interval = speedup(Latency(rounds=own, baseline_rounds=control, launches=TURNS.launches), CONFIDENCE)
        milliseconds = float(np.median(np.asarray(own)))
        rows.append({"form": name, "milliseconds": milliseconds, "times_as_fast": ratio, "interval": list(interval)})
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
