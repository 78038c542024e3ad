"""Each technique alone, the chain of all, and two controls: the quickstart's teacher and data, one table.

    python -m benchmarks.techniques --out outputs/techniques

Every model is made by the command `compress` itself, with one store, and kept whatever its gate says. Then all of them
are scored on the test split in pairs with the teacher, and timed in turns with it, each in its own process. What was
found is written to benchmarks/results/techniques.json, from which `python -m benchmarks.render` writes a table and a
picture. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import transformers

from benchmarks import peer_models as forms
from benchmarks import record
from benchmarks.contest import Contender, Contest
from benchmarks.render.contests import contest
from compress.core.recipe import Measurement
from compress.measure.processes import Candidate
from compress.runtimes.onnxruntime.runtime import OnnxRuntime
from compress.tasks.text_task import SIGNATURE

EPOCHS = 5
REFITTED = (
    *("stage/prune@stages.prune=structured", "stages.prune.scope=model"),
    *("stages.prune.refit=true", "stages.prune.recovery_epochs=0"),
)
STRUCTURED = ("order=[prune]", "stage/prune@stages.prune=structured", f"stages.prune.recovery_epochs={EPOCHS}")
DEEP = ("order=[distill]", "stages.distill.layers=3")
LABELS_ONLY = (
    *("stages.distill.imitation.logits_weight=0", "stages.distill.imitation.hidden_weight=0"),
    "stages.distill.imitation.labels_weight=1",
)
TECHNIQUES: Mapping[str, Sequence[str]] = {
    "distillation: 3 of 6 layers": DEEP,
    "control: the same layers, plain fine-tuning": (*DEEP, *LABELS_ONLY),
    "structured pruning: half of heads and neurons": STRUCTURED,
    "control: the same, chosen at random": (*STRUCTURED, "importance@stages.prune.importance=random"),
    "structured pruning, least squares, no training": ("order=[prune]", *REFITTED),
    "unstructured pruning: half of the weights": (
        *("order=[prune]", "stage/prune@stages.prune=magnitude"),
        f"stages.prune.recovery_epochs={EPOCHS}",
    ),
    "low rank: half of the values": (
        *("order=[factorize]", "stages.factorize.kept_energy=null", "stages.factorize.ratio=0.5"),
        # Else what saves 48 % of a product of an FFN is left whole.
        "stages.factorize.min_saving=0",
        *(f"stages.factorize.recovery_epochs={EPOCHS}", "stages.factorize.one_token_products=true"),
    ),
    "INT8": ("order=[quantize]",),
    "fused and INT8": ("order=[fuse,quantize]",),
    "no training: cut, fitted, fused, INT8 (`post_training`)": ("order=[prune,fuse,quantize]", *REFITTED),
    "the chain, 10 times asked": (),
    "the chain, 15 times asked (ten and ten epochs)": (
        *("objective.speedup=15", "stages.distill.epochs=10", "stages.prune.recovery_epochs=10"),
    ),
}
GATES = ("distill", "prune", "factorize", "fuse", "quantize")


def main() -> int:
    """Make the models, measure them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where runs and store go")
    parser.add_argument("--only", nargs="+", choices=sorted(TECHNIQUES), default=list(TECHNIQUES), help="some of them")
    parser.add_argument("--examples", type=int, default=24, help="timed at their real lengths")
    parser.add_argument("--long", type=int, default=8, help="timed at 128 tokens")
    parser.add_argument("--launches", type=int, default=6, help="how often all processes are started anew")
    parser.add_argument("--rounds", type=int, default=2, help="turns per launch")
    parser.add_argument("overrides", nargs="*", help="settings for every run; nothing is kept then")
    arguments = parser.parse_args()
    out: Path = arguments.out.resolve()
    runs = {name: _run(name, out, arguments.overrides) for name in TECHNIQUES if name in arguments.only}
    transformers.utils.logging.disable_progress_bar()
    measurement = Measurement(
        examples=arguments.examples, launches=arguments.launches, rounds=arguments.rounds, warmup=2
    )
    with tempfile.TemporaryDirectory() as temporary:
        result = Techniques(runs, Path(temporary), measurement, long=arguments.long).hold()
    result["title"] = "Each technique alone, and all together"
    if arguments.only == list(TECHNIQUES) and not arguments.overrides:
        record.keep(result, "techniques")
    print(contest(result))
    return 0


class Techniques(Contest):
    """One teacher, and a finished run by each name."""

    script = "techniques"
    reference = baseline = "the teacher, FP32"

    def __init__(self, runs: Mapping[str, Path], work: Path, measurement: Measurement, *, long: int) -> None:
        super().__init__(list(runs.values()), work, measurement, long=long, scored=None)
        self.names = list(runs)

    def contenders(self) -> Iterator[Contender]:
        """The teacher, then what each run exported."""
        example = self.task.collate(list(self.reading.examples.select(range(2))), self.processor)
        size = forms.as_onnx(self.model, SIGNATURE, example, self.work / "onnx")
        candidate = Candidate(runtime=OnnxRuntime(threads=self.threads), folder=self.work / "onnx", signature=SIGNATURE)
        yield Contender(self.baseline, candidate, size, self.reading)
        for name, run in zip(self.names, self.runs, strict=True):
            yield dataclasses.replace(self.own(run, name), ours=name.startswith("the chain"))


def _run(name: str, out: Path, overrides: Sequence[str]) -> Path:
    folder = out / "".join(letter if letter.isalnum() else "_" for letter in name)
    if (folder / "summary.json").is_file():
        return folder
    command = [str(Path(sys.executable).parent / "compress"), f"hydra.run.dir={folder}", f"store={out / 'store'}"]
    gates = [f"gates.{gate}.on_failure=warn" for gate in GATES] + [
        f"gates.{gate}.on_inconclusive=keep" for gate in GATES
    ]
    print(f"{name}: {folder}", file=sys.stderr, flush=True)
    subprocess.run([*command, *gates, *TECHNIQUES[name], *overrides], check=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
